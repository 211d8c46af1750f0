"""Files that are out to hurt: each costs its own job, with a reason, while others go through."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG by hand."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = b"".join(chunk(b"IDAT", data) for data in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def gif_bomb(frames: int) -> bytes:
    """A large canvas with very many frames of one pixel each: a few bytes a frame, much memory each."""
    head = b"GIF89a" + struct.pack("<HHBBB", 3000, 3000, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b";"


# Unpleasant, but within the limits and with all their pixels: these may be rendered.
DECODABLE = {"a PNG bomb within the limit of pixels", "a TIFF whose next page is itself"}


def hostile_files(photo: Any) -> dict[str, tuple[bytes, str]]:
    whole_jpeg, whole_png = photo(800, 600), photo(800, 600, "PNG")
    generator = np.random.default_rng(7)
    flipped = bytearray(whole_png)
    for index in generator.integers(100, len(flipped), 50):
        flipped[index] ^= 0xFF
    zeros = zlib.compress(b"\0" * (9000 * 9000 + 9000), 9)
    tiff = io.BytesIO()
    Image.new("L", (64, 64)).save(tiff, "TIFF")
    looped_tiff = bytearray(tiff.getvalue())
    (directory,) = struct.unpack_from("<I", looped_tiff, 4)
    (entries,) = struct.unpack_from("<H", looped_tiff, directory)
    struct.pack_into("<I", looped_tiff, directory + 2 + 12 * entries, directory)
    return {
        "a truncated JPEG": (whole_jpeg[: len(whole_jpeg) // 2], "image/jpeg"),
        "a JPEG of a header alone": (whole_jpeg[:700], "image/jpeg"),
        "a truncated PNG": (whole_png[: len(whole_png) // 2], "image/png"),
        "a PNG with flipped bits": (bytes(flipped), "image/png"),
        "a PNG without pixels": (png(100, 100), "image/png"),
        "a PNG that is smaller than it says": (png(500, 500, zlib.compress(b"\0" * 100)), "image/png"),
        "a PNG bomb within the limit of pixels": (png(9000, 9000, zeros), "image/png"),
        "a GIF bomb of frames": (gif_bomb(5000), "image/gif"),
        "a TIFF whose next page is itself": (bytes(looped_tiff), "image/tiff"),
        "a WebP of noise": (b"RIFF\xff\xff\xff\x7fWEBPVP8 " + generator.bytes(3000), "image/webp"),
    }


def test_each_ends_with_a_reason_while_others_go_through(client: Any, photo: Any) -> None:
    files = hostile_files(photo)
    good = [photo() for _ in range(10)]
    with ThreadPoolExecutor(6) as pool:
        bad_answers = {
            name: pool.submit(client.post_image, data, type_) for name, (data, type_) in files.items()
        }
        good_answers = [pool.submit(client.post_image, data) for data in good]
    for name, future in bad_answers.items():
        answer = future.result()
        if answer.status_code == 201:
            job = answer.json()
            while job["status"] in {"pending", "processing"}:
                job = client.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=10"}).json()
            if job["status"] == "complete":
                assert name in DECODABLE, (name, job)
                continue
            error = job["error"]
            assert error["reason"] in {
                "CorruptSource",
                "SourceTooLarge",
                "OutOfMemory",
                "UnsupportedFormat",
            }, name
            assert error["message"], name
        else:
            assert answer.status_code in {413, 415, 422}, (name, answer.text)
            assert answer.json()["reason"], name
    for future in good_answers:
        assert future.result().json()["status"] == "complete"


def test_a_missing_trailer_is_no_reason_to_refuse(client: Any, photo: Any) -> None:
    jpeg, png_ = photo(), photo(format_="PNG")
    assert jpeg.endswith(b"\xff\xd9")
    assert client.render(jpeg[:-2]).size == (100, 100)
    assert client.render(jpeg + b"trailing garbage").size == (100, 100)
    assert client.render(png_[:-12], "image/png").size == (100, 100)
