"""Uploads are never whole in memory: many large ones at once, in a process that is measured.

`THUMBNAILS_TEST_UPLOADS` says how many; they need 100 MiB of disk each.
"""

import http.client
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEBIBYTE = 1 << 20
UPLOADS = int(os.environ.get("THUMBNAILS_TEST_UPLOADS", "12"))
UPLOAD_BYTES = 100 * MEBIBYTE
GIF = b"GIF89a\x0a\x00\x0a\x00\x00\x00\x00"
FORM_HEAD = b'--delimiter\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\n'
FORM_END = b"\r\n--delimiter--\r\n"


@pytest.fixture
def process() -> Iterator[tuple[int, int]]:
    """Process id and port of a server of its own."""
    script = Path(__file__).with_name("discarding_server.py")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.pid, int(server.stdout.readline())
        server.terminate()
        assert server.wait(60) == 0


def memory_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise AssertionError(f"no {field}")


def post(port: int, content_type: str, head: bytes, size: int, end: bytes) -> int:
    def body() -> Iterator[bytes]:
        yield head + GIF
        block = bytes(MEBIBYTE)
        for _ in range(size // MEBIBYTE):
            yield block
        yield end

    length = len(head) + len(GIF) + size // MEBIBYTE * MEBIBYTE + len(end)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {"Content-Type": content_type, "Content-Length": str(length)}
    connection.request("POST", "/images", body=body(), headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("content_type", "head", "end"),
    [("image/gif", b"", b""), ("multipart/form-data; boundary=delimiter", FORM_HEAD, FORM_END)],
    ids=["raw", "form"],
)
def test_many_large_uploads_take_little_memory(
    process: tuple[int, int], content_type: str, head: bytes, end: bytes
) -> None:
    pid, port = process
    assert post(port, content_type, head, MEBIBYTE, end) == 201
    idle = memory_bytes(pid, "VmRSS")
    statuses: list[int] = []
    uploads = [
        threading.Thread(target=lambda: statuses.append(post(port, content_type, head, UPLOAD_BYTES, end)))
        for _ in range(UPLOADS)
    ]
    for upload in uploads:
        upload.start()
    for upload in uploads:
        upload.join()
    assert statuses == [201] * UPLOADS
    more = memory_bytes(pid, "VmHWM") - idle
    print(f"{UPLOADS} uploads at once: {more / MEBIBYTE:.1f} MiB above the {idle / MEBIBYTE:.1f} MiB of idle")
    assert more < 64 * MEBIBYTE


@pytest.mark.slow
def test_many_zips_of_large_pictures_take_little_memory(process: tuple[int, int], tmp_path: Path) -> None:
    """Each inflates to 300 MB, one file after the other."""
    pid, port = process
    path = tmp_path / "album.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            picture = GIF + os.urandom(MEBIBYTE) + bytes(99 * MEBIBYTE)
            archive.writestr(f"{number}.gif", picture, zipfile.ZIP_DEFLATED, compresslevel=1)

    def post_zip() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=110)
        with path.open("rb") as body:
            connection.request("POST", "/images", body=body, headers={"Content-Type": "application/zip"})
            response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    assert post(port, "image/gif", b"", MEBIBYTE, b"") == 201
    idle = memory_bytes(pid, "VmRSS")
    statuses: list[int] = []
    uploads = [threading.Thread(target=lambda: statuses.append(post_zip())) for _ in range(4)]
    for upload in uploads:
        upload.start()
    for upload in uploads:
        upload.join()
    assert statuses == [201] * 4
    assert memory_bytes(pid, "VmHWM") - idle < 64 * MEBIBYTE
