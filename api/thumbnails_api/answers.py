"""Answers in JSON, for every resource that has no file to give."""

import json
from typing import Any

import falcon


def write_json(resp: falcon.Response, document: Any, preference_applied: str | None = None) -> None:
    """Answer with JSON about jobs, which change: nobody may keep it."""
    resp.data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    resp.content_type = falcon.MEDIA_JSON
    resp.set_header("Cache-Control", "no-store")
    if preference_applied is not None:
        resp.set_header("Preference-Applied", preference_applied)
