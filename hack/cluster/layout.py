"""Where everything of the cluster lies: in the checkout, in the cache beside it, and on the machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders that the cluster of one checkout uses. `record` alone is shared by all checkouts."""

    checkout: Path
    cache: Path
    record: Path = Path("/run/thumbnails-cluster/owner.json")

    @property
    def state(self) -> Path:
        return self.checkout / ".cluster"

    @property
    def tools(self) -> Path:
        """Where people find kubectl and helm."""
        return self.state / "bin"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def etcd(self) -> Path:
        return self.state / "etcd"

    @property
    def kubelet(self) -> Path:
        return self.state / "kubelet"

    @property
    def volumes(self) -> Path:
        """The data of PersistentVolumes."""
        return self.state / "volumes"

    @property
    def containerd(self) -> Path:
        """The image store: the one folder that `down` keeps."""
        return self.state / "containerd"

    @property
    def archives(self) -> Path:
        """Images that were built here, as archives to be loaded."""
        return self.state / "images"

    @property
    def short_lived(self) -> tuple[Path, ...]:
        """What belongs to one run of the cluster and goes with it."""
        return (
            self.kubeconfig,
            self.tools,
            self.pki,
            self.config,
            self.logs,
            self.etcd,
            self.kubelet,
            self.volumes,
        )


def layout_from_environment(environment: Mapping[str, str]) -> Layout:
    """The folders of this checkout; THUMBNAILS_CACHE, XDG_CACHE_HOME and HOME say where the cache is."""
    if cache := environment.get("THUMBNAILS_CACHE"):
        base = Path(cache)
    elif xdg := environment.get("XDG_CACHE_HOME"):
        base = Path(xdg) / "thumbnails"
    else:
        home = environment.get("HOME")
        base = (Path(home) if home else Path.home()) / ".cache" / "thumbnails"
    return Layout(checkout=SOURCES.parent.parent, cache=base.absolute() / "cluster")
