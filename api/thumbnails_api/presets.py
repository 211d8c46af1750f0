"""Names that an administrator gave to outputs, for `preset=` and for whoever asks which there are."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from thumbnails_contract.errors import InvalidOption
from thumbnails_contract.names import is_label_name
from thumbnails_contract.spec import MAX_SIDE_PIXELS

from .options import OutputFields, output_list, parse_outputs

Presets = Mapping[str, OutputFields]
NO_PRESETS: Final[Presets] = MappingProxyType({})


def parse_presets(text: str) -> Presets:
    """From a JSON object: name to one output, or to a list of them. Raises ValueError, naming the preset."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError("must be a JSON object of presets by name")  # noqa: TRY004 - of a setting
    presets: dict[str, OutputFields] = {}
    for name, outputs in document.items():
        if not is_label_name(name):
            raise ValueError("names of presets must be lower-case words of letters, digits and hyphens")
        try:
            presets[name] = output_list(outputs)
        except InvalidOption as error:
            raise ValueError(f"preset {name}: {error.message}") from None
    check_presets(presets, MAX_SIDE_PIXELS)
    return MappingProxyType(presets)


def check_presets(presets: Presets, max_side_pixels: int) -> None:
    """Raise ValueError for one that could never be asked for."""
    for name, items in presets.items():
        try:
            parse_outputs(items, max_side_pixels=max_side_pixels)
        except InvalidOption as error:
            raise ValueError(f"preset {name}: {error.message}") from None


def presets_document(presets: Presets) -> dict[str, list[dict[str, Any]]]:
    """All of them as clients see them: every option of every output."""
    return {
        name: [output.to_manifest() for output in parse_outputs(items, max_side_pixels=MAX_SIDE_PIXELS)]
        for name, items in presets.items()
    }
