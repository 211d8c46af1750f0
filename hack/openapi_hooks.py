"""What schemathesis must know to make requests that the service takes: pictures, cursors, lists of outputs.

Loaded by its command line (`SCHEMATHESIS_HOOKS`). Data that is wrong on purpose is left as it is.
"""

import io
import json
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies
from PIL import Image

from thumbnails_api.options import OUTPUT_OPTION_NAMES
from thumbnails_api.pages import Position, encode_cursor

# Nobody listens there, and no other machine is asked for its address.
NOWHERE = "http://127.0.0.1:9/hook"
PICTURE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/tiff", "image/webp")


def picture(format_: str, side: int) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", (side, side + 1), (side, 0, 0)).save(file, format_)
    return file.getvalue()


PICTURES = [picture(name.removeprefix("image/"), side) for name in PICTURE_TYPES for side in (1, 7)]
schemathesis.openapi.media_type(
    PICTURE_TYPES[0],
    strategies.sampled_from(PICTURES),
    aliases=[*PICTURE_TYPES[1:], "application/octet-stream"],
)

schemathesis.openapi.format(
    "thumbnails-cursor",
    strategies.builds(
        lambda seconds, number: encode_cursor(Position(seconds, str(uuid.UUID(int=number)))),
        strategies.integers(0, 2**33),
        strategies.integers(0, 2**128 - 1),
    ),
)
schemathesis.openapi.format(
    "thumbnails-webhook-url",
    strategies.integers(1, 9).map(lambda number: f"{NOWHERE}/{number}"),
)
schemathesis.openapi.format(
    "thumbnails-outputs",
    strategies.lists(
        strategies.fixed_dictionaries(
            {"name": strategies.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)},
            optional={
                "width": strategies.integers(1, 200),
                "height": strategies.integers(1, 200),
                "fit": strategies.sampled_from(["cover", "inside"]),
                "format": strategies.sampled_from(["auto", "webp", ["webp", "jpeg"]]),
                "animated": strategies.booleans(),
            },
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda output: output["name"],
    ).map(json.dumps),
)


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Send webhooks nowhere, and make of what single schemas allow what they allow together.

    Each valid upload has a key of its own, since a key of another upload is a 422; and `outputs` has no
    options of one thumbnail beside it, in the form or in the query, which is a 400.
    """
    form = case.body if isinstance(case.body, dict) else {}
    places = [place for place in (case.query, form) if place]
    for place in places:
        if str(place.get("webhookUrl")).startswith("https://example.com"):
            place["webhookUrl"] = NOWHERE
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
    for word, others in (("outputs", ("preset", *OUTPUT_OPTION_NAMES)), ("preset", OUTPUT_OPTION_NAMES)):
        if any(word in place for place in places):
            for place in places:
                for name in others:
                    place.pop(name, None)
