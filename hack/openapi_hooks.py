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
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import ComponentInfo
from schemathesis.transport.serialization import Binary

from thumbnails_api.options import OUTPUT_OPTION_NAMES
from thumbnails_api.pages import encode_cursor
from thumbnails_contract.history import Position

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

    Each valid upload has pictures, and a key of its own, since a key of another upload is a 422; and
    `outputs` has no options of one thumbnail beside it, in the form or in the query, which is a 400.
    """
    if case.meta is None:
        return
    form = case.body if isinstance(case.body, dict) else {}
    places = [place for place in (case.query, form) if place]
    for place in places:
        if str(place.get("webhookUrl")).startswith("https://example.com"):
            place["webhookUrl"] = NOWHERE
    is_valid = case.meta.generation.mode.is_positive
    if is_valid and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
    for word, others in (("outputs", ("preset", *OUTPUT_OPTION_NAMES)), ("preset", OUTPUT_OPTION_NAMES)):
        if is_valid and any(word in place for place in places):
            for place in places:
                for name in others:
                    place.pop(name, None)
    # Without a half of the signatures, which are all wrong, more thumbnails are seen.
    if is_valid and len(str((case.query or {}).get("signature", ""))) % 2:
        for name in ("owner", "expires", "signature"):
            case.query.pop(name, None)
    body = case.meta.components.get(ParameterLocation.BODY)
    if "image" in form and (is_valid if body is None else body.mode.is_positive):
        put_pictures(case, GenerationMode(case.meta.generation.mode))


def put_pictures(case: Any, mode: GenerationMode) -> None:
    """Pictures in place of texts. To schemathesis no body with bytes is valid, unless it made it itself."""
    case.body["image"] = [
        Binary(PICTURES[(len(text) + index) % len(PICTURES)])
        for index, text in enumerate(case.body["image"][:3])
    ]
    meta = case.meta  # judged anew by this
    meta.generation.mode = mode
    if ParameterLocation.BODY in meta.components:
        meta.components[ParameterLocation.BODY] = ComponentInfo(GenerationMode.POSITIVE)
