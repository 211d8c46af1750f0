"""Builds the project's images without Docker (buildah), on a base that is made here (debootstrap)."""

import configparser
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import archive, mounts, pins
from hack.cluster.layout import Layout
from hack.cluster.shell import ClusterError, CommandFailed, run

BASE_IMAGE = "localhost/thumbnails-cluster/python:slim"
_BASE_FORMAT = "1"  # another, when it is to be packed in another way
# The base stands in for python:slim, which no package registry has: python3 with venv, and little else.
_BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates", "tzdata")
_BASE_WITHOUT = (
    "etc/apt/sources.list",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "var/log",
)
_BASE_CONFIG = {
    "Cmd": ["python3"],
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
}
_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True)
class Image:
    """One image to build: its name with tag, its Dockerfile, and the folder that it copies from."""

    name: str
    dockerfile: Path
    context: Path

    @property
    def archive_name(self) -> str:
        """A file name that no other image has."""
        return self.name.replace("/", "_").replace(":", "_") + ".tar"


def project_images(checkout: Path, version: str, minio_programs: Path) -> tuple[Image, ...]:
    """The images of this project, by the names that the chart's defaults use.

    `localhost/` keeps a cluster from looking for them anywhere else, where they might be somebody else's.
    """
    parts = ("api", "operator", "worker")
    own = tuple(
        Image(f"localhost/thumbnails/{part}:{version}", checkout / part / "Dockerfile", checkout)
        for part in parts
    )
    minio = Image(
        f"localhost/thumbnails/minio:{version}", checkout / "hack" / "minio" / "Dockerfile", minio_programs
    )
    return (*own, minio)


def base_archive(layout: Layout) -> Path:
    return (
        layout.cache / f"base-{_codename()}-{pins.digest(_BASE_FORMAT, *_BASE_PACKAGES, *_BASE_WITHOUT)}.tar"
    )


def make_base(layout: Layout) -> Path:
    """The base image's archive, from the cache or made with debootstrap (a minute)."""
    target = base_archive(layout)
    if target.exists():
        return target
    layout.cache.mkdir(parents=True, exist_ok=True)
    for left in layout.cache.glob("base.*/"):  # by a run that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=layout.cache, prefix="base.") as scratch:
        root = Path(scratch) / "root"
        run(
            *_own_mounts(), "debootstrap", "--variant=minbase", f"--include={','.join(_BASE_PACKAGES)}",
            _codename(), root, _mirror(_codename()),
        )  # fmt: skip
        for name in _BASE_WITHOUT:
            path = root / name
            if path.is_dir():
                shutil.rmtree(path)
                path.mkdir()
            else:
                path.unlink(missing_ok=True)
        # By the names that python's own images have; Debian's guard is for machines, not for images.
        for name in ("python", "python3"):
            (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
        for guard in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            guard.unlink()
        # A place to put the machine's pip settings over while something is built.
        (root / "etc/pip.conf").touch()
        archive.tree_image(target, BASE_IMAGE, root, _BASE_CONFIG)
    return target


class Builder:
    """buildah with a store of its own in the cache, so that layers are reused.

    To be used in a mount namespace of its own (`agent build`): what buildah mounts then goes with the
    process, whatever happens to it.
    """

    def __init__(self, layout: Layout, environment: Mapping[str, str]) -> None:
        self._layout = layout
        self._environment = {**environment, "BUILDAH_ISOLATION": "chroot"}
        store = layout.cache / "buildah"
        self._runtime = layout.cache / "buildah-run"
        for folder in (store, self._runtime, layout.archives):
            folder.mkdir(parents=True, exist_ok=True)
        # Its notes on what is mounted are true for this namespace only.
        run("mount", "-t", "tmpfs", "thumbnails", self._runtime)
        # And it makes folders wherever it might need some.
        mounts.keep_from_machine(
            [Path("/etc"), Path("/var/lib")], [layout.checkout, layout.cache], self._runtime
        )
        self._command = (
            "buildah", "--root", str(store), "--runroot", str(self._runtime), "--storage-driver", "overlay",
        )  # fmt: skip

    def have_base(self, base: Path) -> None:
        """Puts the base image into buildah's store, unless exactly this one is there."""
        # What a build that was killed was at: it keeps old layers from being removed.
        self._buildah("rm", "--all")
        mark = self._layout.cache / "buildah" / "base"
        if mark.exists() and mark.read_text() == base.name:
            return
        pulled = self._buildah("pull", "--quiet", f"oci-archive:{base}").split()[-1]
        self._buildah("tag", pulled, BASE_IMAGE)
        mark.write_text(base.name)

    def build(self, image: Image) -> tuple[Path, int]:
        """Builds an image and packs it; gives the archive and its size in bytes.

        RUN steps see the machine's pip settings and its certificate authorities, which stay out of the image.
        """
        if not image.dockerfile.exists():
            raise ClusterError(f"{image.dockerfile} is missing.")
        settings = self._runtime / "pip.conf"
        settings.write_text(pip_settings(_pip_configuration(self._environment)))
        identity_file = self._runtime / "image-id"
        self._buildah(
            "build", "--quiet", "--layers", "--pull-never", "--build-arg", f"BASE_IMAGE={BASE_IMAGE}",
            "--volume", f"{settings}:/etc/pip.conf:ro", "--volume", f"{_CA_BUNDLE}:{_CA_BUNDLE}:ro",
            "--iidfile", str(identity_file), "--tag", image.name, "--file", str(image.dockerfile),
            str(image.context),
        )  # fmt: skip
        identity = identity_file.read_text()
        target = self._layout.archives / image.archive_name
        mark = target.with_suffix(".id")
        if not (target.exists() and mark.exists() and mark.read_text() == identity):
            new = target.with_suffix(".new")
            new.unlink(missing_ok=True)
            self._buildah("push", "--quiet", image.name, f"docker-archive:{new}:{image.name}")
            new.rename(target)
            mark.write_text(identity)
        return target, target.stat().st_size

    def forget_old(self) -> None:
        """Removes layers that no named image uses any more."""
        self._buildah("rmi", "--prune")

    def _buildah(self, *arguments: str) -> str:
        return run(*self._command, *arguments, environment=self._environment)


def build_in_own_mounts(images: Sequence[Image], source_folder: Path) -> None:
    """Runs `agent build` for these images in a mount namespace that ends with it; shows its output."""
    words = [word for image in images for word in (image.name, str(image.dockerfile), str(image.context))]
    done = subprocess.run(
        [*_own_mounts(), sys.executable, str(source_folder), "agent", "build", *words], check=False
    )
    if done.returncode != 0:
        raise ClusterError("The images were not built.")


def pip_settings(values: Mapping[str, str]) -> str:
    """A pip.conf with the given settings, as `pip config list` names them (`global.index-url`, `:env:.cert`).

    The environment comes last, since it wins. Folders of this machine mean nothing in an image.
    """
    written = configparser.RawConfigParser()
    written.add_section("global")
    for name in sorted(values, key=lambda name: name.startswith(":env:")):
        section, _, option = name.rpartition(".")
        section = "global" if section == ":env:" else section
        if option == "cert":
            continue
        if option in ("find-links", "cache-dir", "target", "prefix", "root", "user", "require-virtualenv"):
            continue
        if not written.has_section(section):
            written.add_section(section)
        written.set(section, option, values[name].replace("\n", "\n "))
    written.set("global", "cert", _CA_BUNDLE)
    with tempfile.SpooledTemporaryFile(mode="w+") as text:
        written.write(text)
        text.seek(0)
        return text.read()


def _pip_configuration(environment: Mapping[str, str]) -> dict[str, str]:
    try:
        lines = run(sys.executable, "-m", "pip", "config", "list").splitlines()
    except CommandFailed:
        # No pip here: then there is only what the environment tells one.
        return {
            f":env:.{name.removeprefix('PIP_').lower().replace('_', '-')}": value
            for name, value in environment.items()
            if name.startswith("PIP_")
        }
    # Each line is name='value', quoted as Python does.
    return {name: value.strip("'\"") for name, _, value in (line.partition("=") for line in lines)}


def _own_mounts() -> tuple[str, ...]:
    return ("unshare", "--mount", "--propagation", "private", "--")


def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise ClusterError("Images are built on Debian (or what is made from it) only.")


def _mirror(codename: str) -> str:
    """Where this machine gets its own packages."""
    targets = run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
    for line in targets.splitlines():
        name, _, address = line.partition(" ")
        if name == codename:
            return address
    raise ClusterError(f"This machine's apt sources have no {codename}.")
