"""ZIPs of pictures, for uploads: what is in one, said by its directory and the first bytes of each entry.

An entry is inflated only when its turn has come to be stored, into a spool of its own. It is read by
`zipfile` of the standard library, which gives no more bytes of an entry than the directory says, and which
checks them against its CRC. So what an entry costs is known, and refused, before it is inflated. What
`zipfile` leaves to its users is done here: its directory is bounded before it is read, only `stored` and
`deflate` are taken (the others want memory that the file decides), and names lead nowhere: they are shown.
"""

import struct
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, BinaryIO, Final, cast

from thumbnails_contract.errors import (
    ArchiveTooLarge,
    CorruptSource,
    InvalidArchive,
    MissingImage,
    ThumbnailsError,
    UnsupportedFormat,
)

from .pictures import Picture, PictureLimits, Rejected, clean_file_name, digest, judge
from .sniff import HEAD_BYTES, is_archive, sniff_format
from .spool import Budget, new_counted_spool

_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED: Final = 0x1
_UTF_8: Final = 0x800  # says that the name is UTF-8 (APPNOTE.TXT section 4.4.4)
# Of the directory for each entry: 46 of its own, its name and what else; systems write some 150.
_DIRECTORY_BYTES_AN_ENTRY: Final = 1024
_LEAST_DIRECTORY_BYTES: Final = 1 << 20

# What systems put beside people's files.
_LITTER_FOLDER: Final = "__macosx"
_LITTER: Final = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_LITTER_PREFIX: Final = "._"
# Files that are ZIPs within, but no packed folders: of Office, of OpenDocument and EPUB, of Java and Android.
_DOCUMENT_ENTRIES: Final = frozenset({"[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF"})

# What `zipfile` raises for files that are none, in its own words.
_BROKEN: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What the ZIPs of one request may hold together; `ratio`: inflated bytes to those of the ZIP."""

    entries: int
    bytes: int
    ratio: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture in a ZIP, as far as its first bytes tell. `origin`: which entry of which ZIP."""

    file_name: str | None
    bytes: int
    origin: str
    _archive: zipfile.ZipFile
    _info: zipfile.ZipInfo
    _limits: PictureLimits
    _spool: Budget

    def unpack(self) -> Picture | Rejected:
        """The picture, whose `data` the caller closes; or why it is not taken. Raises Overloaded."""
        spool = new_counted_spool(self.bytes, self._spool)
        image: Picture | Rejected | None = None
        try:
            with _open(self._archive, self._info) as stream:
                size, sha256, head = digest(stream, spool, lambda _head: self._limits.bytes)
            image = judge(self.file_name, spool, size, sha256, head, self._limits)
        except _BROKEN:
            image = Rejected(self.file_name, _damaged())
        finally:
            if not isinstance(image, Picture):
                spool.close()
        return image


class Unpacking:
    """Opens the ZIPs of one request, and counts what they hold together."""

    def __init__(self, limits: ArchiveLimits, picture_limits: PictureLimits, spool: Budget) -> None:
        self._limits = limits
        self._picture_limits = picture_limits
        self._spool = spool
        self._entries = 0
        self.bytes = 0
        """Of all entries that are to be inflated."""

    def open(self, file: BinaryIO, size: int, sha256: str) -> list[Entry | Rejected]:
        """What is in the ZIP of `size` bytes in `file`, which stays open until its entries were unpacked.

        Raises InvalidArchive, ArchiveTooLarge, MissingImage when it is empty, and UnsupportedFormat for
        documents that are ZIPs within.
        """
        archive = self._read_directory(file)
        names = {info.filename for info in archive.infolist()}
        if names & _DOCUMENT_ENTRIES:
            raise UnsupportedFormat("This is a document or a program, not a ZIP of pictures.")
        infos = [info for info in archive.infolist() if not _is_litter(info.filename)]
        self._entries += len(infos)
        if self._entries > self._limits.entries:
            raise ArchiveTooLarge(f"ZIPs of one request may hold at most {self._limits.entries} files.")
        if not infos:
            raise MissingImage("There are no files in the ZIP.")
        found = [self._look(archive, info, index, sha256) for index, info in enumerate(infos)]
        inflated = sum(entry.bytes for entry in found if isinstance(entry, Entry))
        self.bytes += inflated
        if self.bytes > self._limits.bytes:
            raise ArchiveTooLarge(
                f"ZIPs of one request may hold at most {self._limits.bytes} bytes of pictures."
            )
        # Entries may share their bytes. What makes no more than one picture may have is no bomb.
        if inflated > max(size * self._limits.ratio, self._picture_limits.bytes):
            raise ArchiveTooLarge(
                f"A ZIP may hold at most {self._limits.ratio} times its own bytes of pictures."
            )
        return found

    def _read_directory(self, file: BinaryIO) -> zipfile.ZipFile:
        most = max(_LEAST_DIRECTORY_BYTES, self._limits.entries * _DIRECTORY_BYTES_AN_ENTRY)
        try:
            return zipfile.ZipFile(cast("IO[bytes]", _BoundedReader(file, most)))
        except _TooMuchAtOnce:
            raise ArchiveTooLarge("The directory of the ZIP is too long.") from None
        except (*_BROKEN, OSError):  # OSError: a place before the file's beginning
            raise InvalidArchive from None

    def _look(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, index: int, sha256: str
    ) -> Entry | Rejected:
        name = _file_name(info)
        error = self._refusal(info) or _refusal_of_content(archive, info)
        if error is not None:
            return Rejected(name, error)
        return Entry(
            name, info.file_size, f"{sha256}/{index}", archive, info, self._picture_limits, self._spool
        )

    def _refusal(self, info: zipfile.ZipInfo) -> ThumbnailsError | None:
        """Why an entry is not taken, by the directory alone."""
        if info.flag_bits & _ENCRYPTED:
            return UnsupportedFormat("It is encrypted: pack it without a password.")
        if info.compress_type not in _METHODS:
            return UnsupportedFormat(
                "It is packed in a way that few programs read: pack it as an ordinary ZIP."
            )
        if info.file_size == 0:
            return MissingImage("The file is empty.")
        if info.file_size > self._picture_limits.bytes:
            return self._picture_limits.too_many_bytes()
        return None


def _refusal_of_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> ThumbnailsError | None:
    """Why an entry is not taken, by its first bytes."""
    try:
        with _open(archive, info) as stream:
            head = stream.read(HEAD_BYTES)
    except _BROKEN:
        return _damaged()
    if sniff_format(head) is not None:
        return None
    if is_archive(head):
        return UnsupportedFormat("A ZIP within a ZIP is not opened: send it by itself.")
    return UnsupportedFormat()


def _open(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    """The entry's bytes. Raises what is in `_BROKEN`."""
    try:
        return cast("BinaryIO", archive.open(info))
    except OSError as error:  # a place before the file's beginning
        raise zipfile.BadZipFile from error


def _damaged() -> CorruptSource:
    return CorruptSource("Its bytes in the ZIP are damaged; pack it anew from the original.")


def _is_litter(path: str) -> bool:
    """Whether an entry is a folder, or one of the files that systems leave beside those of people."""
    *folders, name = path.replace("\\", "/").lower().split("/")
    return not name or name in _LITTER or name.startswith(_LITTER_PREFIX) or _LITTER_FOLDER in folders


def _file_name(info: zipfile.ZipInfo) -> str | None:
    """The entry's name without its folders; macOS writes UTF-8, decomposed, and does not say so."""
    name = info.filename
    if not info.flag_bits & _UTF_8:
        try:
            name = info.filename.encode("cp437").decode()
        except UnicodeError:
            name = info.filename
    return clean_file_name(unicodedata.normalize("NFC", name))


class _TooMuchAtOnce(Exception):
    """A read of more bytes than there may be in one."""


class _BoundedReader:
    """A file for `zipfile`, which reads a directory in one go, however long it says that it is."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most

    def read(self, size: int = -1) -> bytes:
        if size > self._most:
            raise _TooMuchAtOnce
        data = self._file.read(size if size >= 0 else self._most + 1)
        if len(data) > self._most:
            raise _TooMuchAtOnce
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
