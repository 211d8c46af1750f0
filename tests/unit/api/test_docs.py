"""The page at `/docs`, and the files that it is made of."""

import gzip
import re
from importlib.resources import files
from typing import Any

import pytest

from thumbnails_api.resources.page import accepts_gzip

VENDORED = files("thumbnails_api") / "web" / "vendor" / "swagger-ui"


def test_the_page_names_only_files_of_this_service(service: Any) -> None:
    page = service.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "/docs/swagger-ui-bundle.js" in named
    for path in named:
        assert path.startswith("/")
        assert service.get(path).status_code == 200
    assert service.get("/docs/").text == page.text
    assert service.get("/docs/index.html").status_code == 404
    assert service.get("/docs/LICENSE").status_code == 404


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(service: Any) -> None:
    for path in ("/docs", "/docs/docs.js", "/docs/swagger-ui.css"):
        policy = dict(
            part.strip().split(" ", 1)
            for part in service.get(path).headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["img-src"] == "'self' data: blob:"
    assert "data:" not in service.get("/assets/app.js").headers["content-security-policy"]


@pytest.mark.parametrize("name", ["swagger-ui-bundle.js", "swagger-ui.css"])
def test_vendored_files_are_sent_compressed_to_whoever_takes_that(service: Any, name: str) -> None:
    stored = (VENDORED / f"{name}.gz").read_bytes()
    packed = service.get(f"/docs/{name}", headers={"Accept-Encoding": "deflate, gzip;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.content == stored
    etag = packed.headers["etag"]
    kept = service.get(f"/docs/{name}", headers={"Accept-Encoding": "gzip", "If-None-Match": etag})
    assert kept.status_code == 304
    plain = service.get(f"/docs/{name}", headers={"Accept-Encoding": "identity", "If-None-Match": etag})
    assert plain.content == gzip.decompress(stored)
    assert "content-encoding" not in plain.headers
    assert "etag" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, False),
        ("", False),
        ("br", False),
        ("gzip", True),
        ("br, GZIP ; q=0.1", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, br", False),
    ],
)
def test_what_accepts_gzip(header: str | None, accepted: bool) -> None:
    assert accepts_gzip(header) == accepted


def test_licences_are_beside_what_is_vendored() -> None:
    assert "Apache License" in (VENDORED / "LICENSE").read_text()
    assert "Copyright" in (VENDORED / "NOTICE").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", (VENDORED / "VERSION").read_text())
    assert (VENDORED / "swagger-ui-bundle.js.LICENSE.txt").is_file()
