"""`/` for people with a browser, and the files that the page is made of.

Public: nothing here is of any account. The page itself asks the REST API, as everybody does.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Self

import falcon

from thumbnails_api.answers import write_json
from thumbnails_api.ranges import matches_etag
from thumbnails_contract.errors import NotFound

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_NO_WEIGHT: Final = re.compile(r"q\s*=\s*0(\.0*)?", re.ASCII)
# Everything comes from here and nothing is inline; blob: are copies of pictures that need a key.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file of a page, in memory, as it is sent; `is_gzip` tells that this is compressed."""

    data: bytes
    content_type: str
    policy: str = CONTENT_SECURITY_POLICY
    is_gzip: bool = False
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        """What tells this version from others."""
        object.__setattr__(self, "etag", hashlib.sha256(self.data).hexdigest()[:32])

    def serve(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with it; a browser asks each time whether its copy is still good."""
        resp.set_header("Cache-Control", "no-cache")
        resp.set_header("Content-Security-Policy", self.policy)
        resp.set_header("Referrer-Policy", "no-referrer")
        if self.is_gzip:
            resp.append_header("Vary", "Accept-Encoding")
            if not accepts_gzip(req.get_header("Accept-Encoding")):
                # No browser: it is unpacked each time, and has no validator, since these are other bytes.
                resp.content_type = self.content_type
                resp.data = gzip.decompress(self.data)
                return
            resp.set_header("Content-Encoding", "gzip")
        resp.set_header("ETag", f'"{self.etag}"')
        if_none_match = req.get_header("If-None-Match")
        if if_none_match is not None and matches_etag(if_none_match, self.etag, weakly=True):
            resp.status = falcon.HTTP_304
            return
        resp.content_type = self.content_type
        resp.data = self.data


@dataclass(frozen=True, slots=True)
class WebFiles:
    """`GET /assets/{name}`."""

    by_name: dict[str, WebFile]

    @classmethod
    def load(cls, folder: Traversable | None = None) -> Self:
        """From the package, without what is in folders of their own."""
        return cls(read_folder(folder or web_folder()))

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """One of the files."""
        file = self.by_name.get(name)
        if file is None:
            raise NotFound
        file.serve(req, resp)

    on_head = on_get


def web_folder() -> Traversable:
    """Where all pages are, in the package."""
    return files("thumbnails_api") / "web"


def read_folder(folder: Traversable, policy: str = CONTENT_SECURITY_POLICY) -> dict[str, WebFile]:
    """The files of a folder by the names that they are served under: `a.css.gz` is `a.css`, compressed."""
    found = {}
    for file in folder.iterdir():
        name = file.name.removesuffix(".gz")
        content_type = _TYPES.get(name.rpartition(".")[2])
        if content_type is not None:
            found[name] = WebFile(file.read_bytes(), content_type, policy, is_gzip=name != file.name)
    return found


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether this Accept-Encoding allows gzip (RFC 9110 section 12.5.3)."""
    for item in (accept_encoding or "").lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in {"gzip", "*"}:
            return not _NO_WEIGHT.fullmatch(weight.strip())
    return False


@dataclass(frozen=True, slots=True)
class Index:
    """`GET /`: the page for browsers, and for programs what this is and where to go."""

    page: WebFile
    version: str

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Whoever prefers HTML is a browser."""
        resp.append_header("Vary", "Accept")
        if req.client_prefers((falcon.MEDIA_JSON, falcon.MEDIA_HTML)) == falcon.MEDIA_HTML:
            self.page.serve(req, resp)
            return
        document = {
            "name": "thumbnails",
            "version": self.version,
            "links": {
                "images": "/images",
                "jobs": "/jobs",
                "health": "/healthz",
                "ready": "/readyz",
                "openapi": "/openapi.json",
                "docs": "/docs",
            },
        }
        write_json(resp, document)

    on_head = on_get
