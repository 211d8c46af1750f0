"""ZIPs of pictures: what is in one, what is refused before it costs anything, and names that lead nowhere."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thumbnails_api.archives import ArchiveLimits, Entry, Unpacking
from thumbnails_api.pictures import Picture, PictureLimits, Rejected
from thumbnails_api.spool import Budget
from thumbnails_contract.errors import ArchiveTooLarge, InvalidArchive, ThumbnailsError

LIMITS = ArchiveLimits(entries=20, bytes=1_000_000, ratio=200)
PICTURES = PictureLimits(bytes=200_000, pixels=1_000_000)
SHA256 = "ab" * 32
SPOOL = Budget(1 << 30)
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00"


def pack(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def look(data: bytes, limits: ArchiveLimits = LIMITS) -> list[Entry | Rejected]:
    return Unpacking(limits, PICTURES, SPOOL).open(io.BytesIO(data), len(data), SHA256)


def unpack(data: bytes) -> list[Picture | Rejected]:
    return [item.unpack() if isinstance(item, Entry) else item for item in look(data)]


def reasons(items: list[Any]) -> dict[str | None, str]:
    return {item.file_name: item.error.reason for item in items if isinstance(item, Rejected)}


def patched(data: bytes, *, method: int | None = None, flags: int = 0, size: int | None = None) -> bytes:
    """The ZIP of one entry with another method, flags or size in its headers."""
    changed = bytearray(data)
    at = changed.index(b"PK\x01\x02")
    for flags_at, method_at, size_at in ((6, 8, 22), (at + 8, at + 10, at + 24)):
        changed[flags_at] |= flags
        if method is not None:
            struct.pack_into("<H", changed, method_at, method)
        if size is not None:
            struct.pack_into("<I", changed, size_at, size)
    return bytes(changed)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_each_entry_is_a_picture_as_it_was_packed(picture: Callable[..., bytes], method: int) -> None:
    packed = {"a.jpg": picture("JPEG"), "b.png": picture("PNG", (7, 9)), "folder/c.gif": picture("GIF")}
    found = unpack(pack(packed, method))
    assert all(isinstance(item, Picture) for item in found)
    assert [
        (item.file_name, item.data.read(), item.bytes) for item in found if isinstance(item, Picture)
    ] == [
        ("a.jpg", packed["a.jpg"], len(packed["a.jpg"])),
        ("b.png", packed["b.png"], len(packed["b.png"])),
        ("c.gif", packed["folder/c.gif"], len(packed["folder/c.gif"])),
    ]
    assert len({item.sha256 for item in found if isinstance(item, Picture)}) == 3


def test_an_archive_as_programs_write_it_while_they_read(picture: Callable[..., bytes]) -> None:
    """Its sizes come after the data: only the directory knows them at the beginning."""

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", picture("JPEG"))
    assert [type(item) for item in unpack(stream.data)] == [Picture]


def test_folders_and_what_systems_leave_behind_are_passed_over(picture: Callable[..., bytes]) -> None:
    data = pack(
        {
            "album/": b"",
            "album/photo.png": picture("PNG"),
            "__MACOSX/album/._photo.png": b"\x00\x05\x16\x07",
            "album/.DS_Store": b"\x00\x00\x00\x01Bud1",
            "album/Thumbs.db": b"thumbs",
            "album/._photo.png": b"\x00\x05\x16\x07",
            "desktop.ini": b"[x]",
        }
    )
    assert [item.file_name for item in look(data)] == ["photo.png"]


def test_what_is_no_picture_is_refused_by_its_name(picture: Callable[..., bytes]) -> None:
    data = pack(
        {
            "notes.txt": b"notes",
            "empty.png": b"",
            "more.zip": pack({"a.png": picture("PNG")}),
            "photo.png": picture("PNG"),
        }
    )
    found = look(data)
    assert reasons(found) == {
        "notes.txt": "UnsupportedFormat",
        "empty.png": "MissingImage",
        "more.zip": "UnsupportedFormat",
    }
    assert [item.file_name for item in found if isinstance(item, Entry)] == ["photo.png"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("/etc/photo.png", "photo.png"),
        ("C:\\Users\\me\\photo.png", "photo.png"),
        ("a\x1b[31m\u202egnp.png", "a[31mgnp.png"),
        ("Stra\u00dfe \U0001f600.png", "Stra\u00dfe \U0001f600.png"),
        ("x" * 300 + ".png", "x" * 255),
    ],
)
def test_a_name_is_shown_and_leads_nowhere(picture: Callable[..., bytes], name: str, shown: str) -> None:
    assert [item.file_name for item in look(pack({name: picture("PNG")}))] == [shown]


def test_names_of_macos_are_utf_8_although_they_do_not_say_so(picture: Callable[..., bytes]) -> None:
    data = bytearray(pack({"Kuchen fu\u0308r O\u0301scar.png": picture("PNG")}))
    for flags_at in (7, data.index(b"PK\x01\x02") + 9):
        data[flags_at] &= ~0x08
    assert [item.file_name for item in look(bytes(data))] == ["Kuchen f\u00fcr \u00d3scar.png"]


def test_old_names_are_of_the_code_page_of_dos(picture: Callable[..., bytes]) -> None:
    data = pack({"xx.png": picture("PNG")}).replace(b"xx.png", b"\x81x.png")
    assert [item.file_name for item in look(data)] == ["\u00fcx.png"]


def test_an_encrypted_entry_is_refused_and_the_others_are_taken(picture: Callable[..., bytes]) -> None:
    (found,) = look(patched(pack({"secret.png": picture("PNG")}), flags=0x1))
    assert isinstance(found, Rejected)
    assert (found.file_name, found.error.reason) == ("secret.png", "UnsupportedFormat")
    assert "password" in found.error.message


@pytest.mark.parametrize("method", [1, 6, 9, 12, 14, 93, 95, 98, 99])
def test_methods_whose_memory_the_file_decides_are_refused(
    picture: Callable[..., bytes], method: int
) -> None:
    found = look(patched(pack({"a.png": picture("PNG")}), method=method))
    assert reasons(found) == {"a.png": "UnsupportedFormat"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_bytes_cost_one_picture(picture: Callable[..., bytes], method: int) -> None:
    broken = picture("PNG", (100, 100))
    data = bytearray(pack({"a.png": picture("PNG"), "b.png": broken, "c.png": picture("PNG")}, method))
    at = data.index(b"b.png") + 5 + len(broken) // 2
    data[at : at + 8] = bytes(byte ^ 0xFF for byte in data[at : at + 8])
    first, second, third = unpack(bytes(data))
    assert isinstance(first, Picture)
    assert isinstance(second, Rejected)
    assert (second.file_name, second.error.reason) == ("b.png", "CorruptSource")
    assert isinstance(third, Picture)


def test_an_entry_longer_than_its_directory_says_is_damaged(picture: Callable[..., bytes]) -> None:
    """Its bytes are never read beyond what was accounted for."""
    (item,) = unpack(patched(pack({"a.png": picture("PNG")}), size=50))
    assert isinstance(item, Rejected)
    assert item.error.reason == "CorruptSource"


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04",
        b"PK\x03\x04" + b"\x00" * 100,
        pack({"a.gif": GIF})[:-10],
        pack({"a.gif": GIF})[:-30],
        pack({"a.gif": GIF})[:40],
        pack({"a.gif": GIF}).replace(b"PK\x01\x02", b"PK\x01\x03"),
        pack({"\u00e4.gif": GIF}).replace(b"\xc3\xa4", b"\xff\xff"),
    ],
    ids=["head", "zeros", "end", "directory's end", "half", "directory", "name"],
)
def test_what_is_no_whole_zip_is_an_invalid_archive(data: bytes) -> None:
    with pytest.raises(InvalidArchive):
        look(data)


def test_an_empty_archive_has_no_picture() -> None:
    for data in (pack({}), pack({"a/": b"", ".DS_Store": b"x"})):
        with pytest.raises(ThumbnailsError) as caught:
            look(data)
        assert caught.value.reason == "MissingImage"


@pytest.mark.parametrize(
    "name", ["[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF"], ids=["docx", "odt", "jar"]
)
def test_a_document_that_is_a_zip_within_is_no_batch(picture: Callable[..., bytes], name: str) -> None:
    with pytest.raises(ThumbnailsError) as caught:
        look(pack({name: b"x", "word/media/image1.png": picture("PNG")}))
    assert caught.value.reason == "UnsupportedFormat"


# ---- bombs ----


def test_too_many_files_are_refused() -> None:
    assert len(look(pack({f"{number}.gif": GIF for number in range(20)}))) == 20
    with pytest.raises(ArchiveTooLarge):
        look(pack({f"{number}.gif": GIF for number in range(21)}))


def test_the_files_and_bytes_of_several_archives_count_together() -> None:
    limits = ArchiveLimits(entries=3, bytes=40, ratio=200)
    data = pack({"a.gif": GIF, "b.gif": GIF})
    unpacking = Unpacking(limits, PICTURES, SPOOL)
    unpacking.open(io.BytesIO(data), len(data), SHA256)
    with pytest.raises(ArchiveTooLarge):
        unpacking.open(io.BytesIO(data), len(data), SHA256)
    small = pack({"a.gif": GIF})
    unpacking = Unpacking(ArchiveLimits(entries=9, bytes=2 * len(GIF), ratio=200), PICTURES, SPOOL)
    unpacking.open(io.BytesIO(data), len(data), SHA256)
    with pytest.raises(ArchiveTooLarge):
        unpacking.open(io.BytesIO(small), len(small), SHA256)


def test_an_endless_directory_is_not_read() -> None:
    """Every ZipInfo of it would be some 500 bytes in memory."""
    entry = pack({"a.gif": GIF})
    start, end = entry.index(b"PK\x01\x02"), entry.index(b"PK\x05\x06")
    directory = entry[start:end] * 40_000
    tail = bytearray(entry[end:])
    struct.pack_into("<I", tail, 12, len(directory))
    with pytest.raises(ArchiveTooLarge):
        look(entry[:start] + directory + bytes(tail))


def test_an_entry_over_a_picture_s_limit_is_refused_uninflated() -> None:
    bomb = GIF + bytes(PICTURES.bytes)
    found = look(pack({"bomb.gif": bomb, "a.gif": GIF}))
    assert reasons(found) == {"bomb.gif": "PayloadTooLarge"}


def test_what_inflates_too_far_is_refused_uninflated() -> None:
    """One by itself costs no more than any picture."""
    bomb = GIF + bytes(PICTURES.bytes - 100)
    assert len(bomb) / len(zlib.compress(bomb)) > LIMITS.ratio
    assert reasons(look(pack({"bomb.gif": bomb}))) == {}
    with pytest.raises(ArchiveTooLarge):
        look(pack({f"{number}.gif": bomb for number in range(3)}))


def test_entries_that_share_their_bytes_are_a_bomb() -> None:
    """As in "A better zip bomb" (Fifield 2019): each entry by itself is innocent."""
    entry = pack({"a.gif": GIF + bytes(range(256)) + bytes(20_000)})
    start, end = entry.index(b"PK\x01\x02"), entry.index(b"PK\x05\x06")
    directory = entry[start:end] * 20
    tail = bytearray(entry[end:])
    struct.pack_into("<HHI", tail, 8, 20, 20, len(directory))
    assert len(look(entry)) == 1
    with pytest.raises(ArchiveTooLarge):
        look(entry[:start] + directory + bytes(tail))


@given(st.data())
@example(None)
def test_whatever_bytes_there_are_the_words_are_ours(data: Any) -> None:
    """A ZIP with bytes changed anywhere: refused, or read, and nothing else."""
    original = pack({"a.gif": GIF * 30, "b.gif": GIF, "c/d.gif": GIF})
    changed = bytearray(original)
    if data is not None:
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(changed) - 1))
            changed[at] = data.draw(st.sampled_from([0, 1, 8, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
        if data.draw(st.booleans()):
            del changed[data.draw(st.integers(0, len(changed))) :]
    try:
        items = unpack(bytes(changed))
    except ThumbnailsError as error:
        refused = [error]
    else:
        refused = [item.error for item in items if isinstance(item, Rejected)]
    assert {error.status for error in refused} <= {400, 413, 415, 422}
