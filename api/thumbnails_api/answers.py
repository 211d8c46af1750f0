"""Answers in JSON, for every resource that has no file to give."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import falcon


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer as a value: to be sent, and to be kept and sent again."""

    status: int
    body: bytes
    content_type: str = falcon.MEDIA_JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    final: bool = True
    """Whether it stays so; not when a part of the request is worth another try."""

    def send(self, resp: falcon.Response) -> None:
        """Answer with it. It is about jobs, which change: nobody may keep it."""
        resp.status = self.status
        resp.data = self.body
        resp.content_type = self.content_type
        resp.set_header("Cache-Control", "no-store")
        for name, value in self.headers.items():
            resp.set_header(name, value)


def json_body(document: Any) -> bytes:
    """The text of a document, in as few bytes as it takes."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def write_json(resp: falcon.Response, document: Any, preference_applied: str | None = None) -> None:
    """Answer with JSON about jobs, which change: nobody may keep it."""
    resp.data = json_body(document)
    resp.content_type = falcon.MEDIA_JSON
    resp.set_header("Cache-Control", "no-store")
    if preference_applied is not None:
        resp.set_header("Preference-Applied", preference_applied)
