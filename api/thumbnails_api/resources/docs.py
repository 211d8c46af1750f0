"""`/openapi.json`, and `/docs`, which shows it to people. Public: nothing here is of any account."""

from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, Final, Self

import falcon

from thumbnails_api.answers import json_body

from .page import CONTENT_SECURITY_POLICY, WebFile, WebFiles, read_folder, web_folder

# Swagger UI draws its signs as data: URLs; all else is as strict as for the page at `/`.
DOCS_POLICY: Final = CONTENT_SECURITY_POLICY.replace("img-src 'self'", "img-src 'self' data:")


@dataclass(frozen=True, slots=True)
class OpenApi:
    """`GET /openapi.json`."""

    file: WebFile

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """In memory, as it is sent."""
        return cls(WebFile(json_body(document), falcon.MEDIA_JSON))

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """All of it, or 304."""
        self.file.serve(req, resp)

    on_head = on_get


@dataclass(frozen=True, slots=True)
class Docs:
    """`GET /docs`; `files` are what it is made of, at `/docs/{name}`."""

    page: WebFile
    files: WebFiles

    @classmethod
    def load(cls, folder: Traversable | None = None) -> Self:
        """From the package: our own files, and those of Swagger UI."""
        folder = folder or web_folder()
        found = read_folder(folder / "docs", DOCS_POLICY)
        page = found.pop("index.html")
        return cls(page, WebFiles(found | read_folder(folder / "vendor" / "swagger-ui", DOCS_POLICY)))

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The page."""
        self.page.serve(req, resp)

    on_head = on_get
