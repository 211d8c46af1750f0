# ruff: noqa: INP001 - a program, of no package
"""What `helm test` runs: uploads a tiny picture through the Service, and gets its thumbnail.

With the standard library alone, in the API's image. It says what it saw; the job is deleted again.
"""

import http.client
import json
import os
import struct
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from typing import Any, Final

# The first worker may have to be scheduled and its image be pulled.
PATIENCE_SECONDS: Final = 240
WAIT_SECONDS: Final = 20
SIDE: Final = 8
PNG: Final = b"\x89PNG\r\n\x1a\n"


class Failed(Exception):
    """What is not as it has to be; the text is one line for whoever ran the test."""


def tiny_png(width: int, height: int) -> bytes:
    """A picture in 8-bit RGB, a gradient (https://www.w3.org/TR/png-3/#11Chunks)."""
    rows = b"".join(
        b"\0" + b"".join(bytes((255 * x // width, 255 * y // height, 128)) for x in range(width))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height that a PNG's header says. Raises Failed when it is none."""
    if png[: len(PNG)] != PNG:
        raise Failed(f"the thumbnail is no PNG: it begins with {png[:8]!r}")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


class Api:
    """The REST API at an address, as the holder of a key."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer, whichever it is; Failed when there is none."""
        request = urllib.request.Request(  # noqa: S310 - the chart's own Service
            self._url + path, data=body, method=method, headers=dict(headers or {})
        )
        if self._key:
            request.add_header("Authorization", f"Bearer {self._key}")
        try:
            with urllib.request.urlopen(request, timeout=WAIT_SECONDS + 10) as answer:  # noqa: S310 - as above
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{method} {path}: no answer ({type(error).__name__})") from error


def check(api: Api, say: Any = print, patience_seconds: int = PATIENCE_SECONDS) -> None:
    """The whole way of a picture. Raises Failed."""
    status, body = api.ask("GET", "/healthz")
    if status != http.HTTPStatus.OK:
        raise Failed(f"GET /healthz: {status}")
    say("the API is there")
    status, body = api.ask("POST", "/images?width=4&height=4&format=png", tiny_png(SIDE, SIDE), _UPLOAD)
    if status != http.HTTPStatus.CREATED:
        raise Failed(f"POST /images: {status} {_reason(body)}")
    job = json.loads(body)
    say(f"the picture is taken: job {job['id']}")
    try:
        for _ in range(max(1, patience_seconds // WAIT_SECONDS)):
            if job["status"] not in ("pending", "processing"):
                break
            job = _later(api, job["id"])
        if job["status"] != "complete":
            raise Failed(f"job {job['id']} is {job['status']}: {json.dumps(job.get('error'))}")
        status, body = api.ask("GET", f"/thumbnails/{job['id']}")
        if status != http.HTTPStatus.OK:
            raise Failed(f"GET /thumbnails/{job['id']}: {status} {_reason(body)}")
        if size_of(body) != (4, 4):
            raise Failed(f"the thumbnail is {size_of(body)} large, not (4, 4)")
        say("the thumbnail is there, and right")
    finally:
        api.ask("DELETE", f"/jobs/{job['id']}")


_UPLOAD: Final = {"Content-Type": "image/png", "Prefer": f"wait={WAIT_SECONDS}"}


def _later(api: Api, name: str) -> dict[str, Any]:
    """The job as it is when something happened to it, or after a while."""
    api.ask("GET", f"/jobs/{name}/events", headers={"Accept": "text/event-stream"})
    status, body = api.ask("GET", f"/jobs/{name}")
    if status != http.HTTPStatus.OK:
        raise Failed(f"GET /jobs/{name}: {status} {_reason(body)}")
    document: dict[str, Any] = json.loads(body)
    return document


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body).get("reason", ""))
    except (ValueError, AttributeError):
        return ""


def main(environment: Mapping[str, str]) -> None:
    """Ends the process with a line that says what is wrong."""
    key = environment.get("THUMBNAILS_KEY", "").strip()
    if not key:
        sys.exit(
            "There is no API key to upload with: its Secret was deleted. Make one again, with the entry\n"
            "key, or name another with tests.keySecret:\n"
            f"  kubectl create secret generic {environment['KEY_SECRET']} --from-literal=key=..."
        )
    try:
        check(Api(environment["THUMBNAILS_URL"], key))
    except Failed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(os.environ)
