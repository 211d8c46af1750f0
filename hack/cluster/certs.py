"""The certificates of the cluster: one authority, and a key and certificate for each party (openssl)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import network
from hack.cluster.shell import run

_DAYS = "3650"
# openssl knows curves by their names in SECG; this one is NIST's P-256.
_CURVE = "prime256v1"


@dataclass(frozen=True, slots=True)
class Party:
    """Whom a certificate is for: a client by user and group, a server by its names and addresses."""

    file: str
    user: str
    group: str | None = None
    server_names: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        organisation = f"/O={self.group}" if self.group else ""
        return f"{organisation}/CN={self.user}"

    @property
    def extensions(self) -> str:
        """The v3 extensions, in openssl's syntax."""
        usage = "clientAuth,serverAuth" if self.server_names else "clientAuth"
        lines = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", f"extendedKeyUsage={usage}"]
        if self.server_names:
            lines.append(f"subjectAltName={','.join(self.server_names)}")
        return "".join(f"{line}\n" for line in lines)


# Kubernetes' own names for its parties: https://kubernetes.io/docs/setup/best-practices/certificates/
PARTIES = (
    Party(
        "apiserver",
        "kube-apiserver",
        server_names=(
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            f"DNS:kubernetes.default.svc.{network.DNS_DOMAIN}",
            "DNS:localhost",
            "IP:127.0.0.1",
            f"IP:{network.NODE_ADDRESS}",
            f"IP:{network.API_SERVICE_ADDRESS}",
        ),
    ),
    Party("apiserver-kubelet", "kube-apiserver-kubelet-client", group="system:masters"),
    Party(
        "kubelet-serving",
        f"system:node:{network.NODE_NAME}",
        group="system:nodes",
        server_names=(f"DNS:{network.NODE_NAME}", f"IP:{network.NODE_ADDRESS}"),
    ),
    Party("kubelet", f"system:node:{network.NODE_NAME}", group="system:nodes"),
    Party("kube-controller-manager", "system:kube-controller-manager"),
    Party("kube-scheduler", "system:kube-scheduler"),
    Party("kube-proxy", "system:kube-proxy"),
    Party("network-policy", "thumbnails:network-policy"),
    Party("volumes", "thumbnails:volumes"),
    Party("admin", "admin", group="system:masters"),
)


def make_certificates(folder: Path) -> None:
    """Writes ca.crt, {party}.crt and {party}.key for each, and the key that signs service account tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{_CURVE}", "-nodes", "-days", _DAYS,
        "-subj", "/CN=thumbnails-cluster", "-addext", "keyUsage=critical,keyCertSign,digitalSignature",
        "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
    )  # fmt: skip
    for party in PARTIES:
        make_certificate(party, folder, folder)
    private = folder / "service-accounts.key"
    _openssl("ecparam", "-name", _CURVE, "-genkey", "-noout", "-out", private)
    _openssl("ec", "-in", private, "-pubout", "-out", folder / "service-accounts.pub")


def make_certificate(party: Party, authority: Path, folder: Path) -> None:
    """Writes {party}.crt and {party}.key into a folder, signed by the authority that lies in another one."""
    request = folder / f"{party.file}.csr"
    extensions = folder / f"{party.file}.ext"
    extensions.write_text(party.extensions)
    _openssl(
        "req", "-new", "-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{_CURVE}", "-nodes",
        "-subj", party.subject, "-keyout", folder / f"{party.file}.key", "-out", request,
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", request, "-CA", authority / "ca.crt", "-CAkey", authority / "ca.key",
        "-CAcreateserial", "-days", _DAYS, "-extfile", extensions, "-out", folder / f"{party.file}.crt",
    )  # fmt: skip
    request.unlink()
    extensions.unlink()


def _openssl(*arguments: str | Path) -> None:
    words: Sequence[str | Path] = ("openssl", *arguments)
    run(*words)
