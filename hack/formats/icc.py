"""ICC profiles written by hand (ICC.1:2022), and pictures in their colours."""

import struct
from functools import cache
from typing import Final

import numpy as np
import pyvips

from . import scene
from .kind import Pixels

# Columns: red, green, blue in XYZ relative to D50, as profiles have them (ICC.1, Annex F).
_SRGB: Final = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
_DISPLAY_P3: Final = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
_ADOBE_RGB: Final = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
_ADOBE_GAMMA: Final = 563 / 256
_D50: Final = (0.9642, 1.0, 0.8249)
# Red is green, green is blue, blue is red: nobody makes such pictures, but they show best what happened.
_TURNED: Final = _SRGB[:, [1, 2, 0]]


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65_536))


def _xyz(values: np.ndarray | tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(float(value)) for value in values)


def _gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"


def _srgb_curve() -> bytes:
    parameters = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, parameters))


def _text(text: str) -> bytes:
    return (
        b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", 2 * len(text), 28) + text.encode("utf-16-be")
    )


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    position = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", position + len(body), len(data))
        body += padded
    head = bytearray(128)
    head[8:12] = b"\x04\x30\0\0"
    head[12:24] = b"mntr" + space + b"XYZ "
    head[24:36] = struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    head[36:40] = b"acsp"
    head[68:80] = b"".join(map(_fixed, _D50))
    head[0:4] = struct.pack(">I", position + len(body))
    return bytes(head) + table + body


def _matrix_profile(name: str, colours: np.ndarray, curve: bytes) -> bytes:
    tags = {b"desc": _text(name), b"cprt": _text("none"), b"wtpt": _xyz(_D50)}
    for index, letter in enumerate((b"r", b"g", b"b")):
        tags[letter + b"XYZ"] = _xyz(colours[:, index])
        tags[letter + b"TRC"] = curve
    return _profile(b"RGB ", tags)


def srgb() -> bytes:
    """The profile of sRGB itself."""
    return _matrix_profile("sRGB IEC61966-2.1", _SRGB, _srgb_curve())


def display_p3() -> bytes:
    """What phones write."""
    return _matrix_profile("Display P3", _DISPLAY_P3, _srgb_curve())


def adobe_rgb() -> bytes:
    """What cameras write."""
    return _matrix_profile("Adobe RGB (1998)", _ADOBE_RGB, _gamma(_ADOBE_GAMMA))


def turned() -> bytes:
    """RGB whose channels have each other's colours."""
    return _matrix_profile("channels in another order", _TURNED, _srgb_curve())


def linear_grey() -> bytes:
    """Grey in proportion to light."""
    tags = {b"desc": _text("grey"), b"cprt": _text("none"), b"wtpt": _xyz(_D50), b"kTRC": _gamma(1.0)}
    return _profile(b"GRAY", tags)


@cache
def cmyk() -> bytes:
    """Printing inks: libvips has such a profile in it, of nearly a megabyte."""
    return bytes(pyvips.Operation.call("profile_load", "cmyk"))


def _seen_by(pixels: Pixels, colours: np.ndarray) -> np.ndarray:
    """Light, 0..1, of the picture's pixels in other primaries."""
    light: np.ndarray = scene.linear(pixels) @ (np.linalg.inv(colours) @ _SRGB).T
    return light


def in_display_p3(pixels: Pixels) -> Pixels:
    """The levels that show the picture with this profile."""
    return scene.levels(scene.encoded(_seen_by(pixels, _DISPLAY_P3)))


def in_adobe_rgb(pixels: Pixels) -> Pixels:
    """The levels that show the picture with this profile."""
    return scene.levels(np.clip(_seen_by(pixels, _ADOBE_RGB), 0, 1) ** (1 / _ADOBE_GAMMA))


def in_turned(pixels: Pixels) -> Pixels:
    """The levels that show the picture with this profile."""
    return pixels[..., [1, 2, 0]]


def in_linear_grey(pixels: Pixels, most: int = 255) -> Pixels:
    """The levels that show the picture with this profile."""
    return scene.levels(scene.linear(pixels), most)


def in_cmyk(pixels: Pixels) -> Pixels:
    """Inks, 0 (none)..255, that show the picture with this profile, as near as inks come."""
    height, width, channels = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, channels, "uchar")
    inks = image.copy(interpretation="srgb").icc_export(output_profile="cmyk")
    return np.frombuffer(inks.write_to_memory(), np.uint8).reshape(height, width, 4)
