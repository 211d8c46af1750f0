"""An S3 server behind TLS, with a certificate of an authority that nobody else knows."""

import contextlib
import io
import os
import socket
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from PIL import Image

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract.errors import ObjectStoreUnavailable
from thumbnails_contract.keys import META_NAMES, META_PREFIX
from thumbnails_local import leash
from thumbnails_local.weed import WeedServer
from thumbnails_worker.store import Store

HOST = "127.0.0.1"


@dataclass
class SecureServer:
    """The S3 server, and files of authorities: its own, and another."""

    settings: S3Settings
    ca_file: Path
    other_ca_file: Path

    def store(self, ca_file: Path | None) -> S3ObjectStore:
        return S3ObjectStore(
            replace(self.settings, ca_file=str(ca_file) if ca_file else None, retry_seconds=0.0)
        )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, eventually: Callable[..., Any]
) -> Iterator[SecureServer]:
    """SeaweedFS, with a gateway that speaks TLS."""
    folder = tmp_path_factory.mktemp("s3")
    authority, another = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert(HOST)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    another.cert_pem.write_to_path(folder / "other.pem")
    weed = WeedServer(folder / "data")
    plain, secure = weed.start(), free_port()
    settings = replace(plain, endpoint=f"https://{HOST}:{secure}", ca_file=str(folder / "ca.pem"))
    command = leash.command(
        str(Path(sysconfig.get_path("scripts")) / "weed"),
        "s3",
        f"-filer={HOST}:{weed._ports[3]}",
        f"-ip.bind={HOST}",
        f"-port={free_port()}",
        f"-port.grpc={free_port()}",
        f"-localSocket={folder / 's3.sock'}",
        f"-port.https={secure}",
        f"-cert.file={folder / 'cert.pem'}",
        f"-key.file={folder / 'key.pem'}",
        f"-config={folder / 'data' / 's3.json'}",
        "-iam=false",
        "-port.iceberg=0",
        "-port.lance=0",
    )
    with (folder / "log").open("wb") as log:
        gateway = subprocess.Popen(command, stdout=log, stderr=log, env={"HOME": str(folder)}, cwd=folder)
    try:

        def answers() -> bool:
            assert gateway.poll() is None, (folder / "log").read_text()
            with (
                contextlib.suppress(ObjectStoreUnavailable),
                contextlib.closing(S3ObjectStore(replace(settings, retry_seconds=0.0))) as store,
            ):
                store.ensure_bucket()
                return True
            return False

        eventually(answers, "the S3 server answers behind TLS")
        yield SecureServer(settings, folder / "ca.pem", folder / "other.pem")
    finally:
        gateway.kill()
        gateway.wait()
        weed.stop(grace_seconds=0)


def test_an_object_is_written_and_read_by_who_knows_the_authority(server: SecureServer) -> None:
    with contextlib.closing(server.store(server.ca_file)) as store:
        store.put("sources/a", io.BytesIO(b"picture"), 7)
        assert store.get("sources/a").read() == b"picture"


@pytest.mark.parametrize("known", ["system", "another"])
def test_a_server_of_an_unknown_authority_is_told_nothing(
    server: SecureServer, caplog: pytest.LogCaptureFixture, known: str
) -> None:
    ca_file = server.other_ca_file if known == "another" else None
    with contextlib.closing(server.store(ca_file)) as store, pytest.raises(ObjectStoreUnavailable):
        store.put("sources/a", io.BytesIO(b"picture"), 7)
    assert "its certificate is not trusted (THUMBNAILS_S3_CA_FILE" in caplog.text


def test_a_worker_gets_and_puts_by_presigned_addresses(server: SecureServer) -> None:
    with contextlib.closing(server.store(server.ca_file)) as objects:
        objects.put("sources/b", io.BytesIO(b"original"), 8)
        url = objects.presign_get("sources/b", expires_seconds=60)
        upload = objects.presign_upload(
            "thumbnails/b", content_type_prefix="image/", max_bytes=100, expires_seconds=60
        )
        fields = {f"x-amz-meta-{META_PREFIX}{name}": "1" for name in META_NAMES}
        store = Store(lambda: True, str(server.ca_file))
        file, size = store.get(url, 100, 30)
        try:
            assert os.pread(file, 100, 0) == b"original"
            assert store.put(upload, {"Content-Type": "image/webp", **fields}, file, size)
        finally:
            os.close(file)
            store.close()
        assert objects.get("thumbnails/b").read() == b"original"
        for unknowing in (None, str(server.other_ca_file), "/nowhere"):
            with pytest.raises(ObjectStoreUnavailable):
                Store(lambda: True, unknowing).get(url, 100, 30)


@pytest.fixture
def environment(server: SecureServer) -> dict[str, str]:
    """Of a service on that server."""
    return {
        "THUMBNAILS_S3_ENDPOINT": server.settings.endpoint,
        "THUMBNAILS_S3_ACCESS_KEY": server.settings.access_key,
        "THUMBNAILS_S3_SECRET_KEY": server.settings.secret_key,
    }


def test_a_picture_goes_all_the_way(
    server: SecureServer, environment: dict[str, str], start_service: Callable[..., Any]
) -> None:
    service = start_service(**environment, THUMBNAILS_S3_CA_FILE=str(server.ca_file))
    file = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(file, "PNG")
    job = service.upload(file.getvalue())
    path = f"/jobs/{job['id']}"
    ended = service.request("GET", path, headers={"Prefer": "wait=50"}).json()
    assert ended["status"] == "complete", ended
    thumbnail = service.request("GET", f"/thumbnails/{job['id']}")
    assert Image.open(io.BytesIO(thumbnail.content)).size == (100, 100)


def test_a_service_that_does_not_know_the_authority_does_not_start(
    environment: dict[str, str], start_service: Callable[..., Any]
) -> None:
    with pytest.raises(AssertionError, match="the S3 server there cannot be used"):
        start_service(**environment, THUMBNAILS_S3_RETRY_SECONDS="0")
