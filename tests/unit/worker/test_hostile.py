"""Files that are broken or meant to hurt end with a reason, and before pixels are decoded where possible."""

import io
import random
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from thumbnails_contract.errors import (
    CorruptSource,
    OutputTooLarge,
    SourceTooLarge,
    UnsupportedFormat,
)
from thumbnails_contract.spec import Format
from thumbnails_contract.wire import Limits
from thumbnails_worker.render import jpeg
from thumbnails_worker.render.pipeline import Rendered

Encode = Callable[..., bytes]
Render = Callable[..., Rendered]
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_an_empty_file_is_damaged(render: Render) -> None:
    with pytest.raises(CorruptSource, match="empty"):
        render(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am a text",
        b"%PDF-1.7\n",
        b"BM" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x20ftypheic",
        b"RIFF\0\0\0\0WAVE",
        b"\xff",
        b"%!PS-Adobe",
    ],
)
def test_other_files_are_unsupported_whatever_they_are_called(data: bytes, render: Render) -> None:
    with pytest.raises(UnsupportedFormat):
        render(data)


@pytest.fixture
def detailed() -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((160, 120), level) for level in (60, 70, 80)])


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_damaged_and_never_half_a_picture(
    source: str, share: float, detailed: Image.Image, encode: Encode, render: Render
) -> None:
    data = encode(detailed, source)
    with pytest.raises(CorruptSource):
        render(data[: int(len(data) * share)])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_progressive_jpeg_is_damaged(
    share: float, detailed: Image.Image, encode: Encode, render: Render
) -> None:
    data = encode(detailed, "JPEG", progressive=True)
    with pytest.raises(CorruptSource):
        render(data[: int(len(data) * share)])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_a_truncated_compressed_tiff_is_damaged(
    compression: str, detailed: Image.Image, encode: Encode, render: Render
) -> None:
    data = encode(detailed, "TIFF", compression=compression)
    with pytest.raises(CorruptSource):
        render(data[: len(data) // 2])


@pytest.mark.parametrize(("source", "trailer_bytes"), [("JPEG", 2), ("PNG", 12), ("GIF", 1), ("GIF", 2)])
def test_a_missing_trailer_alone_does_no_harm(
    source: str, trailer_bytes: int, detailed: Image.Image, encode: Encode, render: Render
) -> None:
    data = encode(detailed, source)
    whole = Image.open(io.BytesIO(render(data, Format.PNG).pictures[0].data))
    cut = Image.open(io.BytesIO(render(data[:-trailer_bytes], Format.PNG).pictures[0].data))
    assert cut.tobytes() == whole.tobytes()


@pytest.mark.parametrize("source", FORMATS)
def test_rubbish_behind_the_picture_does_no_harm(
    source: str, detailed: Image.Image, encode: Encode, render: Render
) -> None:
    assert render(encode(detailed, source) + b"rubbish" * 99).pictures[0].width == 100


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def test_a_bomb_is_refused_by_its_header(render: Render) -> None:
    with pytest.raises(SourceTooLarge, match=r"60000 x 60000 = 3600000000 pixels; the limit is 128000000"):
        render(_png_header(60_000, 60_000))


def test_a_webp_bomb_is_refused_before_its_decoder_sees_it(render: Render) -> None:
    side = (16_383).to_bytes(3, "little")
    head = b"RIFF" + struct.pack("<I", 4096) + b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(4)
    with pytest.raises(SourceTooLarge, match="16384 x 16384"):
        render(head + side + side + bytes(64))


def test_memory_is_checked_before_decoding(encode: Encode, render: Render) -> None:
    with pytest.raises(SourceTooLarge, match=r"needs about \d+ MiB of memory; a worker has 1 MiB"):
        render(encode(Image.new("RGB", (1000, 1000)), "WEBP"), available_bytes=1 << 20)
    # a JPEG that is decoded at an eighth needs no more than that
    assert render(encode(Image.new("RGB", (1000, 1000)), "JPEG"), available_bytes=1 << 20).pictures
    # and a PNG is decoded in bands, each shrunk at once
    assert render(encode(Image.new("RGB", (1000, 1000)), "PNG"), available_bytes=1 << 20).pictures


def test_the_coefficients_of_a_progressive_jpeg_count(encode: Encode, render: Render) -> None:
    picture = Image.new("RGB", (2000, 1000))
    assert render(encode(picture, "JPEG"), available_bytes=4 << 20).pictures
    with pytest.raises(SourceTooLarge, match="MiB of memory"):
        render(encode(picture, "JPEG", progressive=True), available_bytes=4 << 20)


def test_every_limit_is_named_with_its_number(encode: Encode, render: Render) -> None:
    frames = [Image.new("L", (50, 50), level) for level in range(0, 60, 10)]
    for source in ("GIF", "PNG", "WEBP"):
        data = encode(frames[0], source, save_all=True, append_images=frames[1:], duration=50)
        with pytest.raises(SourceTooLarge, match="more than 5 frames"):
            render(data, limits=Limits(frames=5))
        with pytest.raises(SourceTooLarge, match="the limit is 2000"):
            render(data, limits=Limits(frame_pixels=2_000))
        with pytest.raises(SourceTooLarge, match="all together is 14000"):
            render(data, limits=Limits(total_pixels=14_000))
        assert render(data, limits=Limits(frames=6, frame_pixels=2_500, total_pixels=15_000)).pictures
    with pytest.raises(OutputTooLarge, match="600 x 600; a side may have 500"):
        render(encode(frames[0]), width=600, height=600, limits=Limits(output_side=500))
    with pytest.raises(SourceTooLarge, match="more than 3 scans"):
        render(encode(frames[0].convert("RGB"), "JPEG", progressive=True), limits=Limits(scans=3))


def test_an_animation_that_does_not_fit_as_a_whole_is_refused(encode: Encode, render: Render) -> None:
    frames = [Image.new("L", (50, 50), level) for level in range(0, 60, 10)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    with pytest.raises(OutputTooLarge, match=r"The 6 frames .* need 22 MiB of memory; a worker has 10 MiB"):
        render(data, width=1000, height=1000, available_bytes=10 << 20)


def test_scans_are_those_of_the_picture_and_not_of_what_it_carries(encode: Encode) -> None:
    inner = encode(Image.new("RGB", (16, 16)), "JPEG", progressive=True)
    data = encode(Image.new("RGB", (16, 16)), "JPEG", exif=b"Exif\0\0" + inner)
    assert jpeg.count_scans(data, 3) == 1
    assert jpeg.count_scans(data + 5 * inner, 3) == 1
    assert jpeg.count_scans(inner, 100) > 3
    assert jpeg.count_scans(inner, 2) == 3


@pytest.mark.parametrize("source", FORMATS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_gives_a_picture_or_a_reason(
    source: str, data: st.DataObject, encode: Encode, render: Render
) -> None:
    noise = random.Random(1)  # the same file at every run, or hypothesis could not repeat anything
    frames = [Image.frombytes("L", (40, 30), noise.randbytes(1200)) for _ in range(2)]
    options = {} if source == "JPEG" else {"save_all": True, "append_images": frames[1:]}
    broken = bytearray(encode(frames[0], source, **options))
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(8, len(broken) - 1))] = data.draw(st.integers(0, 255))
    small = Limits(pixels=1_000_000, frames=10, frame_pixels=100_000, total_pixels=1_000_000)
    try:
        rendered = render(bytes(broken), Format.PNG, limits=small)
    except (CorruptSource, SourceTooLarge, UnsupportedFormat):
        return
    assert rendered.pictures[0].width == 100


def png_with_rows(rows: int, *, height: int = 100) -> bytes:
    """A white, grey PNG of 100 x `height` whose stream is well formed but has only so many rows."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 100, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\xff" * 100) * rows)
    half = len(pixels) // 2
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            chunk(b"IHDR", head),
            chunk(b"IDAT", pixels[:half]),
            chunk(b"IDAT", pixels[half:]),
            chunk(b"IEND", b""),
        )
    )


def test_a_png_whose_stream_ends_before_its_rows_is_damaged(render: Render) -> None:
    assert render(png_with_rows(100)).pictures[0].width == 100
    with pytest.raises(CorruptSource):
        render(png_with_rows(60))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_black_or_transparent_end_is_no_damage(mode: str, encode: Encode, render: Render) -> None:
    assert render(encode(Image.new(mode, (37, 50)), "PNG")).pictures[0].width == 100
