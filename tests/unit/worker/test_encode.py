"""Files are written as their sizes and viewers want them: progressive, one palette, within memory."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageDraw

from thumbnails_contract.errors import OutputTooLarge
from thumbnails_contract.spec import Format
from thumbnails_worker.render.encode import Recipe, encode
from thumbnails_worker.render.pipeline import Rendered
from thumbnails_worker.render.quantize import to_palette

MIB = 1 << 20


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(("size", "progressive"), [((799, 799), False), ((800, 800), True)])
def test_large_jpegs_are_progressive_and_all_have_tables_of_their_own(
    size: tuple[int, int], progressive: bool
) -> None:
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    made = encode([picture], [0], 1, Recipe(Format.JPEG))
    assert bool(opened(made.data).info.get("progressive")) is progressive
    plain = io.BytesIO()
    picture.save(plain, "JPEG", quality=80)
    assert len(made.data) < plain.tell()


def moving(background: tuple[int, int, int, int]) -> list[Image.Image]:
    """The first frame is opaque; on later ones a square moves over the background."""
    frames = [Image.new("RGBA", (60, 40), (200, 30, 30, 255))]
    for x in (5, 25):
        frame = Image.new("RGBA", (60, 40), background)
        ImageDraw.Draw(frame).rectangle((x, 10, x + 10, 20), fill=(30, 30, 200, 255))
        frames.append(frame)
    return frames


def test_a_gif_that_becomes_transparent_later_is_so_for_every_viewer() -> None:
    for frames in (moving((0, 0, 0, 0)), moving((0, 0, 0, 0))[::-1]):
        image = opened(encode(frames, [50] * 3, 0, Recipe(Format.GIF)).data)
        for index, frame in enumerate(frames):
            image.seek(index)
            shown: Any = image.convert("RGBA")
            for place in ((0, 0), (10, 15), (30, 15), (59, 39)):
                wanted: Any = frame.getpixel(place)
                got: Any = shown.getpixel(place)
                assert got[3] == wanted[3]
                assert wanted[3] == 0 or all(abs(a - b) <= 4 for a, b in zip(got, wanted, strict=True))


def test_the_frames_of_a_gif_share_one_table_of_different_colours() -> None:
    frames = moving((10, 120, 10, 255))
    indexed = to_palette(frames)
    tables = {bytes(picture.getpalette("RGB") or []) for picture in indexed}
    (table,) = tables
    colours = [table[start : start + 3] for start in range(0, len(table), 3)]
    assert len(set(colours)) == len(colours) <= 256
    data = encode(frames, [50] * 3, 0, Recipe(Format.GIF)).data
    assert len(data) < 700


def test_an_avif_that_does_not_fit_is_refused_before_anything_is_decoded(
    render: Callable[..., Rendered], encode: Callable[..., bytes]
) -> None:
    data = encode(Image.new("RGB", (64, 64)))
    with pytest.raises(OutputTooLarge, match="640 MiB of memory; a worker has 384 MiB"):
        render(data, Format.AVIF, width=4096, height=4096, available_bytes=384 * MIB)
    assert render(data, Format.AVIF, width=200, height=200, available_bytes=384 * MIB).pictures
