"""Makes the ICC profile that a PNG describes without having one: by cICP, or by gAMA and cHRM.

What counts is said in section 4.3 of PNG (third edition): cICP before iCCP before sRGB before gAMA and
cHRM. Profiles are of ICC.1 version 2: three primaries, adapted to D50, and a curve.
"""

import struct
from collections.abc import Sequence
from typing import Final

from .png import GREY, Facts

Pair = tuple[float, float]

_D50: Final = (0.9642, 1.0, 0.8249)
_D65: Final[Pair] = (0.3127, 0.3290)
_BRADFORD: Final = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_BT709: Final[tuple[Pair, Pair, Pair]] = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
# ITU-T H.273: 1 is BT.709, whose primaries are sRGB's; 9 BT.2020; 12 Display P3. All are white at D65.
_PRIMARIES: Final = {
    1: _BT709,
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
# ITU-T H.273: BT.709's curve is for cameras, and displays show it by sRGB's; 8 is linear.
_TRANSFERS: Final = {1: None, 13: None, 8: 1.0}
_SRGB_GAMMA: Final = 45_455  # what gAMA says of sRGB (11.3.2.2)
_PNG_UNIT: Final = 100_000
_NEAR: Final = 0.002  # in x and y: roundings differ
_LEVELS: Final = 1_024


def described_profile(facts: Facts) -> bytes | None:
    """The profile for pixels of this PNG; None when they are sRGB, or it carries one that counts."""
    if facts.code_points is not None:
        primaries, transfer, matrix, full_range = facts.code_points
        if primaries in _PRIMARIES and transfer in _TRANSFERS and matrix == 0 and full_range == 1:
            return _profile(_PRIMARIES[primaries], _D65, _TRANSFERS[transfer], grey=facts.colour == GREY)
        return None
    if facts.has_profile or facts.is_srgb or not facts.gamma:
        return None
    gamma = None if abs(facts.gamma - _SRGB_GAMMA) < 100 else _PNG_UNIT / facts.gamma  # noqa: PLR2004 - 0.1 %
    white, chosen = _D65, _BT709
    if facts.chromaticities is not None:
        numbers = [number / _PNG_UNIT for number in facts.chromaticities]
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        if all(y > 0 for _x, y in pairs) and _area(pairs[1:]) > _NEAR:
            white, chosen = pairs[0], (pairs[1], pairs[2], pairs[3])
    if gamma is None and _is_near((white, *chosen), (_D65, *_BT709)):
        return None
    return _profile(chosen, white, gamma, grey=facts.colour == GREY)


def _is_near(ours: tuple[Pair, ...], others: tuple[Pair, ...]) -> bool:
    return all(
        abs(one - other) < _NEAR
        for pair, its in zip(ours, others, strict=True)
        for one, other in zip(pair, its, strict=True)
    )


def _area(corners: list[Pair]) -> float:
    """Of the triangle of three primaries: none for those that lie on a line."""
    (ax, ay), (bx, by), (cx, cy) = corners
    return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2


def _profile(
    primaries: tuple[Pair, Pair, Pair], white: Pair, gamma: float | None, *, grey: bool
) -> bytes | None:
    """An ICC profile (ICC.1:2001-04); `gamma` is the display's exponent, None for sRGB's curve."""
    curve = _curve(gamma)
    tags = [
        (b"desc", b"desc" + bytes(4) + struct.pack(">I", 4) + b"PNG\0" + bytes(78)),
        (b"cprt", b"text" + bytes(4) + b"\0"),
        (b"wtpt", _xyz(_D50)),
    ]
    if grey:
        tags.append((b"kTRC", curve))
    else:
        columns = _adapted(primaries, white)
        if columns is None:
            return None
        tags += [
            (name, _xyz(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
        ]
        tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags:
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s28s12s48s",
        128 + len(table) + len(body),
        bytes(4),
        0x02400000,
        b"mntr",
        b"GRAY" if grey else b"RGB ",
        b"XYZ ",
        struct.pack(">6H", 2000, 1, 1, 0, 0, 0),
        b"acsp",
        bytes(28),
        _xyz(_D50)[8:],
        bytes(48),
    )
    return header + table + body


def _curve(gamma: float | None) -> bytes:
    """A `curv` element: device level to light."""
    if gamma is not None and 1 / 16 <= gamma <= 16:  # noqa: PLR2004 - what 8.8 bits hold, and more than is real
        levels = [min(65_535, round(gamma * 256))]
    else:
        levels = [round(65_535 * _srgb_light(level / (_LEVELS - 1))) for level in range(_LEVELS)]
    return b"curv" + bytes(4) + struct.pack(f">I{len(levels)}H", len(levels), *levels)


def _srgb_light(level: float) -> float:
    """IEC 61966-2-1."""
    return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - the standard's


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65_536) for value in values))


def _adapted(
    primaries: tuple[Pair, Pair, Pair], white: Pair
) -> tuple[tuple[float, float, float], ...] | None:
    """XYZ of each primary at full level, as if the white were D50 (Bradford, ICC.1 annex E)."""
    if not all(value > 0 for value in (white[1], *(y for _x, y in primaries))):
        return None
    columns = [(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]
    target = (white[0] / white[1], 1.0, (1 - white[0] - white[1]) / white[1])
    amounts = _solve(columns, target)
    response, wanted = _times(_BRADFORD, target), _times(_BRADFORD, _D50)
    if amounts is None or not all(response):
        return None
    gains = tuple(to / of for to, of in zip(wanted, response, strict=True))
    adapted = []
    for column, amount in zip(columns, amounts, strict=True):
        cone = _times(_BRADFORD, tuple(value * amount for value in column))
        solved = _solve(
            [tuple(row[index] for row in _BRADFORD) for index in range(3)],
            tuple(value * gain for value, gain in zip(cone, gains, strict=True)),
        )
        assert solved is not None  # the Bradford matrix has an inverse
        if not all(abs(value) < 2 for value in solved):  # noqa: PLR2004 - far outside of what light is
            return None
        adapted.append(solved)
    return tuple(adapted)


def _times(rows: tuple[tuple[float, ...], ...], vector: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in rows)


def _solve(
    columns: Sequence[tuple[float, ...]], target: tuple[float, ...]
) -> tuple[float, float, float] | None:
    """Cramer's rule for three unknowns."""
    whole = _determinant(columns)
    if abs(whole) < 1e-9:  # noqa: PLR2004 - primaries on a line
        return None
    red, green, blue = (
        _determinant([target if index == at else column for at, column in enumerate(columns)]) / whole
        for index in range(3)
    )
    return red, green, blue


def _determinant(columns: Sequence[tuple[float, ...]]) -> float:
    (a, d, g), (b, e, h), (c, f, i) = columns
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
