"""What the fuzzer found, as small as it can be: each of these once killed a renderer, or had no reason.

New ones come from the folder `.cache/fuzz/findings` of `make fuzz`.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hack.formats import jpeg, png, scene, tiff

from thumbnails_contract.errors import SourceError
from thumbnails_contract.spec import Format
from thumbnails_worker.render.pipeline import Rendered

Render = Callable[..., Rendered]


def _progressive_without_sampling() -> bytes:
    """A header whose components have sampling factors of zero (T.81, B.2.2 allows 1 to 4)."""
    data = bytearray(jpeg.write(scene.grey(), progressive=True))
    data[data.index(b"\xff\xc2") + 11] = 0
    return bytes(data)


def _tiff_of_more_rows_than_strips() -> bytes:
    """A height that strips do not reach, and an orientation: Pillow turned a picture of another size."""
    page = tiff.Page(scene.colour(), tiff.RGB, tags={257: (4, [16_384]), 274: (3, [4])})
    return tiff.write(page)


def _palette_of_more_alphas_than_colours() -> bytes:
    """A palette has 256 colours at most; Pillow stops at the 257th alpha."""
    return png.write_palette(*scene.palette(16), 4, bytes(range(256)) + bytes(8))


def _truncated_big_tiff() -> bytes:
    """A strip that is not all there: its memory stayed in use by the error that said so."""
    tags = {279: (4, [1 << 20] * 8)}
    return tiff.write(tiff.Page(scene.colour(), tiff.RGB, tags=tags), order=">", big=True)


def _profile_that_is_a_number() -> bytes:
    return tiff.write(tiff.Page(scene.colour(), tiff.RGB, tags={34_675: (3, [5])}))


FOUND = {
    "a TIFF whose profile is a number": _profile_that_is_a_number,
    "a big-endian BigTIFF whose strips are not all there": _truncated_big_tiff,
    "a TIFF of more rows than its strips hold": _tiff_of_more_rows_than_strips,
    "a PNG of more alphas than colours": _palette_of_more_alphas_than_colours,
    "a progressive JPEG with sampling factors of zero": _progressive_without_sampling,
}


@pytest.mark.parametrize("name", FOUND)
def test_it_is_a_picture_or_a_reason(name: str, render: Render) -> None:
    with suppress(SourceError):
        assert render(FOUND[name](), Format.PNG).pictures
