"""A file whose pixels can all be decoded is rendered, whatever else in it is damaged."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from thumbnails_contract.errors import CorruptSource, SourceTooLarge, UnsupportedFormat
from thumbnails_contract.spec import Format
from thumbnails_contract.wire import Limits
from thumbnails_worker.render import jpeg, png
from thumbnails_worker.render.pipeline import Rendered

Encode = Callable[..., bytes]
Render = Callable[..., Rendered]
Make = Callable[..., Any]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def noise() -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((80, 60), level) for level in (60, 70, 80)])


def _chunk(kind: bytes, content: bytes, *, damaged: bool = False) -> bytes:
    check = zlib.crc32(kind + content) ^ damaged
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _with_chunk(data: bytes, chunk: bytes, *, at_end: bool = False) -> bytes:
    position = len(data) - 12 if at_end else 33
    return data[:position] + chunk + data[position:]


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"tEXt", b"Comment\0hello", damaged=True),
        _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20 << 20))),
        _chunk(b"zTXt", b"Comment\0\x07nonsense"),
        _chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(20 << 20))),
        _chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(20 << 20))),
        _chunk(b"iCCP", b"name"),
        _chunk(b"gAMA", b"\0"),
        _chunk(b"cHRM", b"\0" * 7),
        _chunk(b"sRGB", b""),
        _chunk(b"pHYs", b"\0"),
        _chunk(b"eXIf", b"nonsense"),
        _chunk(b"teSt", b"nobody knows this", damaged=True),
    ],
    ids=lambda chunk: f"{chunk[4:8].decode()} {len(chunk)}",
)
def test_what_is_wrong_beside_the_pixels_of_a_png_does_no_harm(
    chunk: bytes, at_end: bool, noise: Image.Image, encode: Encode, thumbnail: Make
) -> None:
    data = encode(noise)
    result = thumbnail(_with_chunk(data, chunk, at_end=at_end), width=40)
    assert result.tobytes() == thumbnail(data, width=40).tobytes()


def test_a_wrong_checksum_of_whole_pixels_does_no_harm(
    noise: Image.Image, encode: Encode, thumbnail: Make
) -> None:
    data = encode(noise)
    found = next(chunk for chunk in png.chunks(data) if chunk.kind == b"IDAT")
    stream = bytearray(found.data(data))
    stream[-1] ^= 1
    broken = data[: found.start - 8] + _chunk(b"IDAT", bytes(stream)) + _chunk(b"IEND", b"")
    assert thumbnail(broken, width=40).tobytes() == thumbnail(data, width=40).tobytes()
    # ... but where the chunk itself was damaged on its way, nobody knows what else is wrong
    with pytest.raises(CorruptSource):
        thumbnail(
            data[: found.start - 8] + _chunk(b"IDAT", bytes(stream), damaged=True) + _chunk(b"IEND", b"")
        )


def test_an_animation_with_a_damaged_chunk_of_its_own_is_a_still_picture(
    encode: Encode, render: Render
) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    data = encode(frames[0], save_all=True, append_images=frames[1:], duration=50)
    position = data.index(b"fcTL") + 4 + 26
    broken = data[:position] + b"\0\0\0\0" + data[position + 4 :]
    assert render(broken, Format.PNG, width=20).source.frames == 1


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


@pytest.mark.parametrize(
    "segment",
    [
        _segment(0xE0, b"JFIF\0"),
        _segment(0xEE, b"Adobe"),
        _segment(0xEE, b"Adobe\0d\0\0\0\0"),
        _segment(0xE2, b"ICC_PROFILE\0"),
        _segment(0xE2, b"ICC_PROFILE\0\1"),
        _segment(0xE1, b"Exif\0\0"),
        _segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0"),
        _segment(0xFE, b""),
        b"\xff\xef\0\0",
    ],
    ids=lambda segment: segment.hex()[:16],
)
def test_a_segment_that_is_too_short_counts_for_nothing(
    segment: bytes, noise: Image.Image, encode: Encode, thumbnail: Make
) -> None:
    data = encode(noise, "JPEG")
    result = thumbnail(data[:2] + segment + data[2:], width=40)
    assert result.tobytes() == thumbnail(data, width=40).tobytes()


def test_metadata_of_any_size_does_no_harm(noise: Image.Image, encode: Encode, thumbnail: Make) -> None:
    data = encode(noise, "JPEG")
    exif = _segment(0xE1, b"Exif\0\0" + bytes(65_000))
    result = thumbnail(data[:2] + exif * 200 + data[2:], width=40)
    assert result.tobytes() == thumbnail(data, width=40).tobytes()


@pytest.mark.parametrize(("at", "value", "words"), [(4, 12, "12 bits a sample"), (9, 2, "2 components")])
def test_a_jpeg_that_the_decoder_does_not_know_is_unsupported(
    at: int, value: int, words: str, noise: Image.Image, encode: Encode, render: Render
) -> None:
    data = bytearray(encode(noise, "JPEG"))
    data[data.index(b"\xff\xc0") + at] = value
    with pytest.raises(UnsupportedFormat, match=words):
        render(bytes(data))


def test_a_jpeg_whose_scan_ends_before_its_rows_is_damaged(
    noise: Image.Image, encode: Encode, render: Render
) -> None:
    for progressive in (False, True):
        data = bytearray(encode(noise, "JPEG", progressive=progressive))
        frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
        data[frame + 5 : frame + 7] = struct.pack(">H", 600)
        with pytest.raises(CorruptSource):
            render(bytes(data))
    grey = Image.new("RGB", (80, 60), (128, 128, 128))  # what missing blocks look like
    assert render(encode(grey, "JPEG")).pictures


def test_a_sequential_jpeg_has_few_scans(noise: Image.Image, encode: Encode, render: Render) -> None:
    data = encode(noise, "JPEG")
    scan = next(segment for segment in jpeg.segments(data) if segment.marker == 0xDA)
    header = data[scan.start - 4 : scan.end]
    with pytest.raises(SourceTooLarge, match="more than 4 scans"):
        render(data[:-2] + header * 50 + data[-2:])


def test_a_component_without_samples_is_damaged(noise: Image.Image, encode: Encode, render: Render) -> None:
    data = bytearray(encode(noise, "JPEG"))
    data[data.index(b"\xff\xc0") + 11] = 0
    with pytest.raises(CorruptSource):
        render(bytes(data))


@pytest.mark.parametrize(("source", "share"), [("JPEG", 0.5), ("PNG", 0.5), ("GIF", 0.5), ("TIFF", 0.5)])
def test_what_is_there_of_a_truncated_file_is_rendered_when_that_is_set(
    source: str, share: float, noise: Image.Image, encode: Encode, thumbnail: Make
) -> None:
    data = encode(noise.quantize(64), source, interlace=0) if source == "GIF" else encode(noise, source)
    whole = thumbnail(data, width=80).convert("RGBA")
    result = thumbnail(data[: int(len(data) * share)], limits=Limits(render_truncated=True), width=80)
    result = result.convert("RGBA")
    assert result.crop((0, 0, 80, 12)).tobytes() == whole.crop((0, 0, 80, 12)).tobytes()
    missing = (0, 0, 0, 0) if source == "GIF" else (128, 128, 128, 255)
    assert result.getpixel((70, 58)) == missing


def test_missing_pixels_are_transparent_where_they_can_be(
    noise: Image.Image, encode: Encode, thumbnail: Make
) -> None:
    noise.putalpha(255)
    data = encode(noise)
    result = thumbnail(data[: len(data) // 2], limits=Limits(render_truncated=True), width=80)
    assert (result.getpixel((70, 58))[3], result.getpixel((40, 2))[3]) == (0, 255)


@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG"])
def test_the_whole_frames_of_a_truncated_animation_are_rendered_when_that_is_set(
    source: str, encode: Encode, render: Render
) -> None:
    frames = [Image.effect_noise((60, 40), level) for level in (30, 60, 90)]
    data = encode(frames[0], source, save_all=True, append_images=frames[1:], duration=50)
    cut = data[: int(len(data) * 0.8)]
    with pytest.raises(CorruptSource):
        render(cut, Format.WEBP)
    rendered = render(cut, Format.WEBP, limits=Limits(render_truncated=True))
    assert rendered.pictures[0].frames == (3 if source == "GIF" else 2)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_of_nothing_there_is_no_picture(
    source: str, noise: Image.Image, encode: Encode, render: Render
) -> None:
    data = encode(noise, source)
    for count in (12, 60):
        with pytest.raises(CorruptSource):
            render(data[:count], limits=Limits(render_truncated=True))


def test_a_palette_has_no_more_alphas_than_colours(encode: Encode, thumbnail: Make) -> None:
    picture = Image.new("P", (40, 40), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    data = encode(picture)
    start = data.index(b"IDAT") - 4
    result = thumbnail(data[:start] + _chunk(b"tRNS", bytes([0, 100] + [7] * 298)) + data[start:], width=20)
    assert result.getpixel((9, 9)) == (255, 0, 0, 100)


def test_a_png_may_not_hold_more_than_its_rows(noise: Image.Image, encode: Encode, render: Render) -> None:
    data = encode(noise)
    found = next(chunk for chunk in png.chunks(data) if chunk.kind == b"IDAT")
    rows = zlib.decompress(found.data(data))
    for more, is_taken in ((1_000, True), (300 << 20, False)):
        stream = zlib.compressobj(1)
        content = stream.compress(rows) + b"".join(stream.compress(bytes(1 << 20)) for _ in range(more >> 20))
        content += stream.compress(bytes(more % (1 << 20))) + stream.flush()
        file = data[: found.start - 8] + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")
        if is_taken:
            assert render(file).pictures
        else:
            with pytest.raises(CorruptSource):
                render(file)


def test_a_jpeg_has_no_more_segments_than_the_limit(
    noise: Image.Image, encode: Encode, render: Render
) -> None:
    data = encode(noise, "JPEG")
    comment = _segment(0xFE, b"")
    assert render(data[:2] + comment * 2_000 + data[2:]).pictures
    with pytest.raises(SourceTooLarge, match="more than 1000 chunks"):
        render(data[:2] + comment * 2_000 + data[2:], limits=Limits(parts=1_000))


def test_what_is_not_there_at_all(render: Render) -> None:
    with pytest.raises(CorruptSource):
        render(png.SIGNATURE + _chunk(b"IEND", b""))
    assert png.mended(png.SIGNATURE) is None
    assert jpeg.mended(b"\xff\xd8\xff\xd9") is None


def test_an_open_file_is_not_changed(encode: Encode, noise: Image.Image) -> None:
    data = encode(noise)
    assert Image.open(io.BytesIO(png.mended(data) or b"")).tobytes() == noise.tobytes()
