"""Damages files: blindly, and by what is known of each format's structure. Pure: a seed gives a file."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final

Mutation = Callable[[bytearray, random.Random], bytearray]

_BYTES: Final = (0, 1, 2, 4, 0x0F, 0x10, 0x20, 0x7F, 0x80, 0x81, 0xF0, 0xFE, 0xFF)
_NUMBERS: Final = (
    0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 1_000, 4_095, 4_096, 16_383, 16_384, 32_767, 32_768, 65_535, 65_536,
    1 << 20, (1 << 24) - 1, 1 << 24, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF,
)  # fmt: skip
_MARKERS: Final = b"\xc0\xc1\xc2\xc3\xc4\xc9\xca\xcc\xd0\xd8\xd9\xda\xdb\xdc\xdd\xe0\xe1\xe2\xee\xfe"
_TAGS: Final = (
    254, 256, 257, 258, 259, 262, 270, 273, 274, 277, 278, 279, 282, 284, 317, 320, 322, 323, 324, 325, 330,
    338, 339, 347, 513, 514, 529, 530, 532, 34_665, 34_675,
)  # fmt: skip
_WORDS: Final[dict[bytes, Sequence[bytes]]] = {  # by the first two bytes of a file
    b"\xff\xd8": (
        *(bytes((0xFF, marker)) for marker in _MARKERS),
        *(b"Exif\0\0", b"JFIF\0", b"Adobe\0", b"ICC_PROFILE\0", b"MPF\0"),
    ),
    b"\x89P": (
        b"IHDR PLTE IDAT IEND acTL fcTL fdAT tRNS iCCP gAMA cHRM sRGB cICP eXIf tEXt zTXt iTXt sBIT".split()
    ),
    b"RI": (*b"RIFF WEBP VP8L VP8X ALPH ANIM ANMF ICCP EXIF".split(), b"VP8 ", b"XMP ", b"\x9d\x01\x2a"),
    b"GI": (
        *(b"GIF87a", b"GIF89a", b"!\xf9\x04", b"!\xff\x0bNETSCAPE2.0\x03\x01"),
        *(b"!\xfe", b"!\x01\x0c", b",", b";", b"\0"),
    ),
    b"II": (b"II*\0", b"II+\0", *(struct.pack("<HH", tag, kind) for tag in _TAGS for kind in (3, 4))),
    b"MM": (b"MM\0*", b"MM\0+", *(struct.pack(">HH", tag, kind) for tag in _TAGS for kind in (3, 4))),
}
_MOST_BYTES: Final = 1 << 21


def mutate(seed: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """A damaged copy of a valid file; `others` are files of the same format, to take parts from."""
    data = bytearray(seed)
    if rng.random() < 0.6:
        data = _by_structure(data, rng)
        if rng.random() < 0.6:
            return bytes(data[:_MOST_BYTES])
    # Mostly little damage: what is broken everywhere is refused at its first byte.
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        if rng.random() < 0.08:
            data = _splice(data, rng.choice(others), rng)
        else:
            data = rng.choice(_BLIND)(data, rng)
    return bytes(data[:_MOST_BYTES])


# ---- blindly -------------------------------------------------------------------------------


def _place(data: bytearray, rng: random.Random) -> int:
    """Anywhere, but half of the time near the beginning, where headers are."""
    size = max(1, len(data))
    return rng.randrange(min(size, 600)) if rng.random() < 0.5 else rng.randrange(size)


def _flip(data: bytearray, rng: random.Random) -> bytearray:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return data


def _set_byte(data: bytearray, rng: random.Random) -> bytearray:
    if data:
        data[_place(data, rng)] = rng.choice(_BYTES)
    return data


def _set_number(data: bytearray, rng: random.Random) -> bytearray:
    """Where a length, a count or an offset may be."""
    at, size = _place(data, rng), rng.choice((2, 4, 4))
    number = rng.choice((*_NUMBERS, len(data), len(data) - at, max(0, len(data) - 1)))
    data[at : at + size] = (number & ((1 << 8 * size) - 1)).to_bytes(size, rng.choice(("big", "little")))
    return data


def _noise(data: bytearray, rng: random.Random) -> bytearray:
    at, size = _place(data, rng), rng.choice((1, 4, 16, 64))
    data[at : at + size] = rng.randbytes(size)
    return data


def _delete(data: bytearray, rng: random.Random) -> bytearray:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 16, 256, 4_096))]
    return data


def _repeat(data: bytearray, rng: random.Random) -> bytearray:
    at, size = _place(data, rng), rng.choice((1, 4, 32, 512))
    data[at:at] = data[at : at + size] * rng.choice((1, 1, 2, 20))
    return data


def _truncate(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data) + 1)]


def _append(data: bytearray, rng: random.Random) -> bytearray:
    return data + rng.randbytes(rng.choice((1, 8, 300)))


def _word(data: bytearray, rng: random.Random) -> bytearray:
    """A word of the format, over what is there or between."""
    words = _WORDS.get(bytes(data[:2]))
    if words is not None:
        word, at = rng.choice(words), _place(data, rng)
        data[at : at + len(word) * rng.randrange(2)] = word
    return data


def _splice(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    return data[: _place(data, rng)] + other[_place(bytearray(other), rng) :]


_BLIND: Final[Sequence[Mutation]] = (
    _flip, _flip, _flip, _set_byte, _set_byte, _set_number, _set_number, _set_number,
    _noise, _delete, _repeat, _truncate, _append, _word, _word,
)  # fmt: skip

# ---- by structure --------------------------------------------------------------------------


def _by_structure(data: bytearray, rng: random.Random) -> bytearray:
    start = bytes(data[:4])
    try:
        if start == b"\x89PNG":
            return _png(data, rng)
        if start[:3] == b"\xff\xd8\xff":
            return _jpeg(data, rng)
        if start == b"RIFF":
            return _webp(data, rng)
        if start[:3] == b"GIF":
            return _gif(data, rng)
        if start[:2] in (b"II", b"MM"):
            return _tiff(data, rng)
    except (struct.error, IndexError, ValueError, zlib.error):
        pass  # a seed that is damaged itself
    return data


def _shuffle(parts: list[bytes], rng: random.Random) -> None:
    """Drop, repeat or exchange a part."""
    one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    match rng.randrange(4):
        case 0:
            del parts[one]
        case 1:
            parts.insert(other, parts[one])
        case 2:
            parts[one], parts[other] = parts[other], parts[one]
        case _:
            parts[one:one] = [parts[one]] * rng.choice((2, 30, 300))


def _damage(content: bytes, rng: random.Random) -> bytes:
    return bytes(rng.choice(_BLIND)(bytearray(content), rng))


def _png(data: bytearray, rng: random.Random) -> bytearray:
    """Chunks with right checksums, whatever is in them; pixels damaged inside their compression."""
    position, chunks = 8, []
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append(
            (bytes(data[position + 4 : position + 8]), bytes(data[position + 8 : position + 8 + length]))
        )
        position += 12 + length
    choice = rng.randrange(4)
    if choice == 0:
        pixels = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
        packed = zlib.compress(_damage(pixels, rng), 1)
        first = next(index for index, (name, _) in enumerate(chunks) if name == b"IDAT")
        chunks = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
        chunks.insert(first, (b"IDAT", packed))
    elif choice == 1:  # the header, where most depends on most
        head = bytearray(chunks[0][1])
        head[rng.choice((8, 9, 12))] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16))
        chunks[0] = (chunks[0][0], bytes(head))
    else:
        index = rng.randrange(len(chunks))
        chunks[index] = (chunks[index][0], _damage(chunks[index][1], rng))
    parts = [
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    ]
    if choice == 3:
        _shuffle(parts, rng)
    return data[:8] + b"".join(parts)


def _jpeg(data: bytearray, rng: random.Random) -> bytearray:
    """Whole segments in disorder, or one of them damaged and its length right."""
    position, parts = 2, []
    while data[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        parts.append(bytes(data[position:end]))
        position = end
    scans = bytes(data[position:])
    if rng.random() < 0.5:
        _shuffle(parts, rng)
    else:
        index = rng.randrange(len(parts))
        content = _damage(parts[index][4:], rng)[:65_533]
        parts[index] = parts[index][:2] + struct.pack(">H", len(content) + 2) + content
    if rng.random() < 0.2:
        scans = scans[:-2] * rng.choice((2, 5)) + scans[-2:]
    return data[:2] + b"".join(parts) + scans


def _webp(data: bytearray, rng: random.Random) -> bytearray:
    """Chunks damaged inside, or in disorder; lengths are right."""
    position, parts = 12, []
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        content = bytes(data[position + 8 : position + 8 + length])
        parts.append((bytes(data[position : position + 4]), content))
        position += 8 + length + length % 2
    index = rng.randrange(len(parts))
    parts[index] = (parts[index][0], _damage(parts[index][1], rng))
    packed = [
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for name, content in parts
    ]
    if rng.random() < 0.4:
        _shuffle(packed, rng)
    body = b"WEBP" + b"".join(packed)
    return bytearray(b"RIFF" + struct.pack("<I", len(body)) + body)


def _gif(data: bytearray, rng: random.Random) -> bytearray:
    """A place, a size, a disposal, a code size: whatever is in a block's head."""
    heads = [at for at in range(13, len(data) - 10) if data[at : at + 3] == b"!\xf9\x04"]
    if not heads:
        return data
    at = rng.choice(heads)
    field = rng.randrange(3)
    if field == 0:
        data[at + 3] = rng.randrange(256)
    elif field == 1:
        place = at + 9 + 2 * rng.randrange(4)
        data[place : place + 2] = struct.pack("<H", rng.choice(_NUMBERS) & 0xFFFF)
    else:
        data[at + 17] = rng.randrange(256)
    return data


def _tiff(data: bytearray, rng: random.Random) -> bytearray:
    """An entry of the directory: its tag, type, count or value."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    if big:
        at = struct.unpack_from(f"{order}Q", data, 8)[0]
        count, first, size = struct.unpack_from(f"{order}Q", data, at)[0], at + 8, 20
    else:
        at = struct.unpack_from(f"{order}I", data, 4)[0]
        count, first, size = struct.unpack_from(f"{order}H", data, at)[0], at + 2, 12
    for _ in range(rng.choice((1, 1, 2, 3))):
        entry = first + size * rng.randrange(min(count, 40))
        match rng.randrange(5):
            case 0:
                struct.pack_into(f"{order}H", data, entry + 2, rng.randrange(20))
            case 1:
                struct.pack_into(f"{order}I", data, entry + 4, rng.choice(_NUMBERS))
            case 2:
                struct.pack_into(
                    f"{order}H", data, entry, rng.choice((256, 257, 258, 259, 262, 277, 284, 317, 338, 339))
                )
            case _:
                struct.pack_into(
                    f"{order}{rng.choice('HI')}",
                    data,
                    entry + size - 4 * (1 + big),
                    rng.choice((*_NUMBERS, 32_773, 34_675, 5, 6)) & 0xFFFF,
                )
    return data
