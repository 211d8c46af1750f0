"""The node's image store: what was loaded into it outlives the cluster, and what pods left there does not.

containerd notes images, layers, containers and their writable layers in two small databases. They are saved
after loading images, while no pod has run yet, and put back before the next start: whatever happened in
between, a store of images alone is what the node begins with.
"""

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from hack.cluster import node
from hack.cluster.components import CONTAINERD_SOCKET
from hack.cluster.layout import Layout
from hack.cluster.record import Record
from hack.cluster.shell import ClusterError, run

_NAMESPACE = "k8s.io"
_START_SECONDS = 30.0
_SNAPSHOTS = Path("io.containerd.snapshotter.v1.overlayfs")
_DATABASES = (Path("io.containerd.metadata.v1.bolt") / "meta.db", _SNAPSHOTS / "metadata.db")
_CONTENT = Path("io.containerd.content.v1.content")
# Beside containerd's own folders: the saved databases, and which archives are loaded, saved and now.
_SAVED = Path("saved")
_LOADED = Path("loaded")


def archives(layout: Layout, programs: Path) -> list[Path]:
    """What belongs into the store: the cluster's own images, and those that were built or loaded here."""
    return [programs / "pause.tar", programs / "coredns.tar", *sorted(layout.archives.glob("*.tar"))]


def prepare(layout: Layout, programs: Path) -> None:
    """Makes a store of images alone, and loads the new ones; to be called in the node, before containerd."""
    root = layout.containerd
    _restore(root)
    new = [archive for archive in archives(layout, programs) if not _is_loaded(root, archive)]
    if not new:
        return
    command = [str(programs / "containerd"), f"--config={layout.config / 'images-only.toml'}"]
    with (layout.logs / "containerd.log").open("a") as log:
        containerd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_for_socket(containerd)
        for archive in new:
            _import(root, (str(programs / "ctr"),), archive)
    finally:
        containerd.terminate()
        containerd.wait()
    _save(root)


def load(layout: Layout, record: Record) -> int:
    """Loads new archives while the node runs; gives their number."""
    ctr = (*node.in_node(record), str(Path(record.programs) / "ctr"))
    new = [
        archive
        for archive in archives(layout, Path(record.programs))
        if not _is_loaded(layout.containerd, archive)
    ]
    for archive in new:
        _import(layout.containerd, ctr, archive)
    return len(new)


def image_names(record: Record) -> list[str]:
    """The names of all images in the store, digests aside."""
    ctr = (*node.in_node(record), str(Path(record.programs) / "ctr"))
    lines = _ctr(ctr, "images", "list", "--quiet").splitlines()
    return sorted(line for line in lines if not line.startswith("sha256:") and "@" not in line)


def _restore(root: Path) -> None:
    saved = root / _SAVED
    if not saved.exists():
        # Nothing was saved: whatever is here is of a start that was cut short.
        shutil.rmtree(root)
        root.mkdir()
        return
    for database in _DATABASES:
        shutil.copyfile(saved / database.name, root / database)
    layers = set((saved / "layers").read_text().split())
    for folder in (root / _SNAPSHOTS / "snapshots").iterdir():
        if folder.name not in layers:
            shutil.rmtree(folder)
    shutil.rmtree(root / _LOADED, ignore_errors=True)
    shutil.copytree(saved / _LOADED, root / _LOADED)
    keep = {_SAVED, _LOADED, _CONTENT, *(database.parent for database in _DATABASES)}
    for folder in root.iterdir():
        if Path(folder.name) not in keep:
            shutil.rmtree(folder)


def _save(root: Path) -> None:
    new = root / "saving"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for database in _DATABASES:
        shutil.copyfile(root / database, new / database.name)
    names = [folder.name for folder in (root / _SNAPSHOTS / "snapshots").iterdir()]
    (new / "layers").write_text("\n".join(names))
    shutil.copytree(root / _LOADED, new / _LOADED)
    shutil.rmtree(root / _SAVED, ignore_errors=True)
    new.rename(root / _SAVED)


def _is_loaded(root: Path, archive: Path) -> bool:
    mark = root / _LOADED / archive.name
    return mark.exists() and mark.read_text() == _identity(archive)


def _import(root: Path, ctr: Sequence[str], archive: Path) -> None:
    _ctr(ctr, "images", "import", str(archive))
    (root / _LOADED).mkdir(exist_ok=True)
    (root / _LOADED / archive.name).write_text(_identity(archive))


def _identity(archive: Path) -> str:
    """Changes with the file, without reading all of it."""
    about = archive.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _wait_for_socket(containerd: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not Path(CONTAINERD_SOCKET).exists():
        if containerd.poll() is not None or time.monotonic() > give_up:
            raise ClusterError("containerd does not start; see .cluster/logs/containerd.log.")
        time.sleep(0.01)


def _ctr(ctr: Sequence[str], *arguments: str) -> str:
    return run(*ctr, "--address", CONTAINERD_SOCKET, "--namespace", _NAMESPACE, *arguments)
