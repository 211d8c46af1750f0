"""Small files that ask for much: pixels, frames, scans, memory, time. Each is what somebody might send."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from . import gif, jpeg, png, scene, tiff, webp

_ADLER: Final = 65_521


@dataclass(frozen=True, slots=True)
class Bomb:
    """A file, and why it is refused; no reason: it is rendered all the same, or damaged."""

    name: str
    what: str
    make: Callable[[], bytes]
    refused: str = "SourceTooLarge"


@cache
def _deflated(mebibytes: int) -> bytes:
    """So many MiB of zeros (RFC 1950): one compressed MiB again and again, since nothing looks back."""
    compress = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    piece = compress.compress(bytes(1 << 20)) + compress.flush(zlib.Z_FULL_FLUSH)
    checksum = (mebibytes << 20) % _ADLER << 16 | 1
    return b"\x78\x9c" + piece * mebibytes + b"\x03\0" + struct.pack(">I", checksum)


def _png(width: int, height: int, depth: int, colour: int, data: bytes, *chunks: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (png.chunk(b"IHDR", head), *chunks, png.chunk(b"IDAT", data), png.chunk(b"IEND"))
    return png.SIGNATURE + b"".join(parts)


def _small_png(*chunks: bytes) -> bytes:
    return png.write(scene.colour(), before=chunks)


def _jpeg_of_size(width: int, height: int, marker: int = 0xC0) -> bytes:
    """A header of this size before scans of a small picture."""
    data = bytearray(jpeg.write(scene.colour(), progressive=marker == 0xC2))
    at = data.index(bytes([0xFF, marker])) + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _jpeg_of_scans(scans: int, width: int, height: int, *, progressive: bool) -> bytes:
    """Scans without any data, of which a decoder goes through every block all the same."""
    data = _jpeg_of_size(width, height, 0xC2 if progressive else 0xC0)
    start = data.index(b"\xff\xda")
    spectral = b"\0\0\0" if progressive else b"\0\x3f\0"
    empty = b"\xff\xda\0\x08\x01\x01\x00" + spectral
    return data[:start] + empty * scans + data[-2:]


def _apng_of_frames(frames: int, width: int, height: int) -> bytes:
    """Each frame is a single pixel on a large canvas."""
    pixel = zlib.compress(b"\0\0")
    parts = [
        png.SIGNATURE,
        png.chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        png.chunk(b"acTL", struct.pack(">II", frames, 0)),
        png.chunk(b"IDAT", _deflated(-(-width * height >> 20))),
    ]
    for number in range(min(frames, 2_000)):
        parts.append(png.chunk(b"fcTL", struct.pack(">IIIIIHHBB", 2 * number, 1, 1, 0, 0, 1, 10, 1, 0)))
        parts.append(png.chunk(b"fdAT", struct.pack(">I", 2 * number + 1) + pixel))
    return b"".join((*parts, png.chunk(b"IEND")))


def _webp_of_size(width: int, height: int) -> bytes:
    """A lossless picture that says that it is this large."""
    data = bytearray(webp.write(scene.colour(), lossless=True))
    data[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14 | (data[24] & 0xF0) << 24)
    return bytes(data)


def _webp_of_frames(frames: int, width: int, height: int) -> bytes:
    pixel = np.zeros((1, 1, 4), np.uint8)
    whole = webp.write_animation([webp.Frame(pixel)], (width, height), lossless=True)
    parts = [webp.chunk(name, content) for name, content in webp.chunks(whole)]
    return webp.riff(*parts[:2], *parts[2:] * frames)


def _gif_of_frames(frames: int, width: int, height: int) -> bytes:
    pixel = gif.Frame(np.zeros((1, 1), np.uint8), hundredths=1)
    table = np.zeros((2, 3), np.uint8)
    whole = gif.write([pixel], table, (width, height), end=b"")
    block = gif.frame_blocks(pixel, 2)
    return whole + block * (frames - 1) + b";"


def _gif_of_size(width: int, height: int, frame_width: int, frame_height: int) -> bytes:
    """A frame that ends at once, on a canvas."""
    table = np.zeros((2, 3), np.uint8)
    head = gif.write([], table, (width, height), end=b"")
    return head + b"," + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0) + b"\x02\x02\x4c\x01\0;"


def _tiff_of_size(width: int, height: int, **tags: int) -> bytes:
    """A strip of a few bytes that says that it is this large."""
    sizes = {256: (4, [width]), 257: (4, [height]), 278: (4, [height])}
    more = {int(number[1:]): (4, [value]) for number, value in tags.items()}
    page = tiff.Page(np.zeros((1, 1, 1), np.uint8), tiff.BLACK_IS_ZERO, compression=8, tags=sizes | more)
    return tiff.write(page)


def _tiff_of_deflate(width: int, height: int) -> bytes:
    """A strip that inflates to all its pixels."""
    strip = _deflated(-(-width * height >> 20))
    tags = {
        256: (4, [width]), 257: (4, [height]), 278: (4, [height]), 273: (4, [8]), 279: (4, [len(strip)]),
    }  # fmt: skip
    data = tiff.write(tiff.Page(np.zeros((1, 1, 1), np.uint8), tiff.BLACK_IS_ZERO, compression=8, tags=tags))
    # The directory stays where it is; the strip takes its place behind it.
    tags[273] = (4, [len(data)])
    data = tiff.write(tiff.Page(np.zeros((1, 1, 1), np.uint8), tiff.BLACK_IS_ZERO, compression=8, tags=tags))
    return data + strip


def _tiff_of_strips(strips: int) -> bytes:
    """A strip for each row, all of them at the same place."""
    page = tiff.Page(np.zeros((1, 8, 1), np.uint8), tiff.BLACK_IS_ZERO, tags={
        257: (4, [strips]), 278: (4, [1]), 273: (4, [8] * strips), 279: (4, [8] * strips),
    })  # fmt: skip
    return tiff.write(page)


def _with_comments(count: int) -> bytes:
    """A GIF with so many empty comments before its picture."""
    frame = gif.Frame(np.zeros((8, 8), np.uint8))
    return gif.write([frame], np.zeros((2, 3), np.uint8), (8, 8), extra=b"!\xfe\0" * count)


def _jpeg_of_segments(count: int) -> bytes:
    return jpeg.insert(jpeg.write(scene.colour()), jpeg.segment(0xFE, b"") * count)


def _webp_of_chunks(count: int) -> bytes:
    data = webp.with_metadata(scene.colour())
    parts = [webp.chunk(name, content) for name, content in webp.chunks(data)]
    return webp.riff(parts[0], *[webp.chunk(b"huh?", b"")] * count, *parts[1:])


def _tiff_with_a_loop() -> bytes:
    """A directory whose next one, EXIF and sub-directory are itself."""
    page = tiff.Page(scene.colour(), tiff.RGB, tags={330: (4, [0]), 34_665: (4, [0]), 34_853: (4, [0])})
    data = bytearray(tiff.write(page))
    at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[at : at + 2], "little")
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if int.from_bytes(data[entry : entry + 2], "little") in (330, 34_665, 34_853):
            data[entry + 8 : entry + 12] = struct.pack("<I", at)
    data[at + 2 + 12 * count : at + 6 + 12 * count] = struct.pack("<I", at)
    return bytes(data)


def _tiff_with_many_tags() -> bytes:
    """A directory of 65,535 entries, each of which points to the whole file."""
    entries = b"".join(
        struct.pack("<HHII", 40_000 + number % 20_000, 1, 1 << 20, 8) for number in range(65_535)
    )
    return b"II*\0" + struct.pack("<IH", 8, 65_535) + entries + bytes(4)


def _exif_of_loops() -> bytes:
    start = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 3)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in (0x8769, 0x8825, 0xA005))
    return jpeg.insert(jpeg.write(scene.colour()), jpeg.segment(0xE1, start + entries + struct.pack("<I", 8)))


def _exif_of_counts() -> bytes:
    start = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 4_000)
    entries = b"".join(struct.pack("<HHII", number, 5, 0x0FFF_FFFF, 8) for number in range(4_000))
    return jpeg.insert(jpeg.write(scene.colour()), jpeg.segment(0xE1, start + entries + bytes(4)))


BOMBS: Final = (
    Bomb(
        "PNG of 900 megapixels", "30,000 x 30,000, 1 bit", lambda: _png(30_000, 30_000, 1, 0, _deflated(108))
    ),
    Bomb("PNG of 4 x 10^18 pixels", "the header alone", lambda: _png(0x7FFF_FFFF, 0x7FFF_FFFF, 8, 6, b"")),
    Bomb("PNG of 16 bit", "121 megapixels of 8 bytes", lambda: _png(11_000, 11_000, 16, 6, _deflated(924))),
    Bomb(
        "PNG profile",
        "iCCP of 1 GiB",
        lambda: _small_png(png.chunk(b"iCCP", b"bomb\0\0" + _deflated(1_024))),
        "",
    ),
    Bomb(
        "PNG text",
        "30 texts of 64 MiB",
        lambda: _small_png(*[png.chunk(b"zTXt", b"bomb\0\0" + _deflated(64))] * 30),
        "",
    ),
    Bomb(
        "PNG with too much",
        "pixels, and 512 MiB behind them",
        lambda: _png(100, 100, 8, 0, _deflated(512)),
        "",
    ),
    Bomb("APNG of 2^31 frames", "said in its header", lambda: _apng_of_frames(0x7FFF_FFFF, 64, 64)),
    Bomb(
        "APNG of 900 large frames",
        "a pixel each, on 9 megapixels",
        lambda: _apng_of_frames(900, 3_000, 3_000),
    ),
    Bomb("JPEG of 4 gigapixels", "65,500 x 65,500", lambda: _jpeg_of_size(65_500, 65_500)),
    Bomb(
        "JPEG of 127 megapixels, progressive",
        "383 MB of coefficients",
        lambda: _jpeg_of_size(11_300, 11_300, 0xC2),
    ),
    Bomb(
        "JPEG of 5,000 scans, progressive",
        "scans without data",
        lambda: _jpeg_of_scans(5_000, 4_000, 4_000, progressive=True),
    ),
    Bomb(
        "JPEG of 5,000 scans, sequential",
        "scans without data",
        lambda: _jpeg_of_scans(5_000, 4_000, 4_000, progressive=False),
    ),
    Bomb("JPEG with EXIF that loops", "directories that point to themselves", _exif_of_loops, ""),
    Bomb("JPEG with EXIF of 8 TiB", "4,000 entries of 2 GiB", _exif_of_counts, ""),
    Bomb("WebP of 268 megapixels", "16,383 x 16,383", lambda: _webp_of_size(16_383, 16_383)),
    Bomb("WebP of 120 megapixels", "480 MB of pixels", lambda: _webp_of_size(12_000, 10_000)),
    Bomb("WebP of 50,000 frames", "a pixel each", lambda: _webp_of_frames(50_000, 64, 64)),
    Bomb(
        "WebP of 900 large frames",
        "a pixel each, on 9 megapixels",
        lambda: _webp_of_frames(900, 3_000, 3_000),
    ),
    Bomb("GIF of 4 gigapixels", "a canvas of 65,535 x 65,535", lambda: _gif_of_size(65_535, 65_535, 1, 1)),
    Bomb(
        "GIF with a frame of 4 gigapixels",
        "on a canvas of 10 x 10",
        lambda: _gif_of_size(10, 10, 65_535, 65_535),
        "",
    ),
    Bomb("GIF of 100,000 frames", "a pixel each", lambda: _gif_of_frames(100_000, 64, 64)),
    Bomb(
        "GIF of 900 large frames", "a pixel each, on 9 megapixels", lambda: _gif_of_frames(900, 3_000, 3_000)
    ),
    Bomb("TIFF of 4 x 10^18 pixels", "in one strip", lambda: _tiff_of_size(0x7FFF_FFFF, 0x7FFF_FFFF)),
    Bomb("TIFF of 900 megapixels", "deflated", lambda: _tiff_of_deflate(30_000, 30_000)),
    Bomb(
        "TIFF with a tile of 4 gigapixels",
        "of 100 x 100 pixels",
        lambda: _tiff_of_size(100, 100, t322=65_536, t323=65_536, t324=8, t325=64),
        "",
    ),
    Bomb(
        "TIFF of 65,535 channels",
        "of 1,000 x 1,000 pixels",
        lambda: _tiff_of_size(1_000, 1_000, t277=65_535),
        "",
    ),
    Bomb("TIFF that loops", "directories that point to themselves", _tiff_with_a_loop, ""),
    Bomb("TIFF of 65,535 tags", "a megabyte each", _tiff_with_many_tags, ""),
    Bomb("PNG of 500,000 chunks", "empty ones", lambda: _small_png(png.chunk(b"voId") * 500_000), ""),
    Bomb("JPEG of 500,000 segments", "empty comments", lambda: _jpeg_of_segments(500_000), ""),
    Bomb("WebP of 500,000 chunks", "empty ones", lambda: _webp_of_chunks(500_000), ""),
    Bomb("GIF of 2,000,000 comments", "empty ones", lambda: _with_comments(2_000_000), ""),
    Bomb("TIFF of 1,000,000 strips", "a row each, all at one place", lambda: _tiff_of_strips(1_000_000), ""),
    Bomb("GIF of 100 frames", "a pixel each, on a megapixel", lambda: _gif_of_frames(100, 1_000, 1_000), ""),
    Bomb(
        "APNG of 100 frames",
        "a pixel each, on a megapixel",
        lambda: _apng_of_frames(100, 1_000, 1_000),
        "",
    ),
    Bomb(
        "WebP of 100 frames",
        "a pixel each, on a megapixel",
        lambda: _webp_of_frames(100, 1_000, 1_000),
        "",
    ),
)
