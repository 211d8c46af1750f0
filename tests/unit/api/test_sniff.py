"""Format and pixels of a file from its first bytes: real headers, and headers that lie."""

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_api.sniff import HEAD_BYTES, read_dimensions, sniff_format
from thumbnails_contract.spec import Format


class CountingFile(io.BytesIO):
    """Counts the bytes and calls of read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


def segments(jpeg: bytes, kind: Any, count: Any, content: Any) -> Any:
    """`jpeg` with `count` segments of this marker after its first two bytes."""
    segment = bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content
    return jpeg[:2] + segment * count + jpeg[2:]


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"mode": "L"}),
        ("JPEG", {"mode": "CMYK"}),
        ("JPEG", {"exif": b"Exif\x00\x00" + b"\xff\xd8\xff\xc0" * 15_000}),
        ("JPEG", {"icc_profile": bytes(2_000_000)}),
        ("PNG", {}),
        ("PNG", {"mode": "P"}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00abc"}),
        ("WEBP", {"mode": "RGBA"}),
        ("GIF", {"mode": "P"}),
        ("TIFF", {}),
        ("TIFF", {"big_tiff": True}),
        ("TIFF", {"mode": "I;16B"}),
    ],
    ids=str,
)
def test_real_headers(picture: Any, format_: Any, options: Any) -> None:
    content = picture(format_, (123, 77), **options)
    assert sniff_format(content[:HEAD_BYTES]) is Format(format_.lower())
    assert read_dimensions(io.BytesIO(content)) == (123, 77)


def test_animations(picture: Any) -> None:
    from PIL import Image

    for format_ in ("PNG", "WEBP", "GIF"):
        file = io.BytesIO()
        frame = Image.new("RGB", (123, 77), "red")
        Image.new("RGB", (123, 77)).save(file, format_, save_all=True, append_images=[frame])
        assert read_dimensions(file) == (123, 77)


def test_hints_how_to_scale_a_webp_are_no_pixels(picture: Any) -> None:
    content = bytearray(picture("WEBP", (123, 77)))
    sides = content.index(b"\x9d\x01\x2a") + 3
    content[sides + 1] |= 0x40
    content[sides + 3] |= 0x80
    assert read_dimensions(io.BytesIO(content)) == (123, 77)


def test_big_endian_tiff(picture: Any) -> None:
    content = picture("TIFF", (123, 77), mode="I;16B")
    assert content.startswith(b"MM\x00*")
    assert read_dimensions(io.BytesIO(content)) == (123, 77)


def test_orientation_does_not_matter(picture: Any) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_dimensions(io.BytesIO(picture("JPEG", (123, 77), exif=exif))) == (123, 77)


def test_many_segments_before_the_picture(jpeg: bytes) -> None:
    assert read_dimensions(io.BytesIO(segments(jpeg, 0xE1, 500, bytes(65_533)))) == (60, 40)
    # A thumbnail within a segment has a header of its own, which is not the picture's.
    inner = b"\xff\xc0\x00\x11\x08\x00\x01\x00\x01\x03" + bytes(100)
    assert read_dimensions(io.BytesIO(segments(jpeg, 0xE2, 3, inner))) == (60, 40)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff" + bytes(5_000_000),
        b"II+\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, 2**63) + bytes(5_000_000),
        b"II*\x00\x08\x00\x00\x00\xff\xff" + bytes(5_000_000),
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000,
        b"\xff\xd8" + b"\xff" * 5_000_000,
    ],
)
def test_endless_headers_are_unknown_after_a_bounded_walk(content: Any) -> None:
    file = CountingFile(content)
    assert read_dimensions(file) is None
    assert file.reads < 10_000


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_truncated_headers_are_unknown_or_right(picture: Any, format_: Any) -> None:
    content = picture(format_)
    for length in range(min(len(content), 700)):
        assert read_dimensions(io.BytesIO(content[:length])) in {None, (60, 40)}


def test_no_pixels_are_unknown() -> None:
    assert read_dimensions(io.BytesIO(b"GIF89a" + bytes(20))) is None


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"RIFF"]),
)
def test_hostile_bytes_never_raise(content: Any, head: Any) -> None:
    sniff_format((head + content)[:HEAD_BYTES])
    read_dimensions(io.BytesIO(head + content))


@pytest.mark.parametrize(
    "head",
    [b"", b"G", b"GIF", b"GIF90a", b"RIFF\x00\x00\x00\x00WAVE", b"II\x00*", b"\x89PNG", b"BM", b"<svg"],
)
def test_what_is_none_of_the_five(head: Any) -> None:
    assert sniff_format(head) is None
