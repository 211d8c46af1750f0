"""Pictures out of a request's body, for `POST /images`: a picture, a ZIP of pictures, or a form with either.

The server has the whole body in an unlinked file before it calls us. A raw body is hashed and stored
from that very file; `image` parts of a form are copied to unlinked files of their own (in memory
below a mebibyte), since the form's delimiters lie between them. Nothing here is ever whole in memory.
"""

import contextlib
from dataclasses import dataclass, field
from typing import BinaryIO, Final, cast

import falcon
from falcon.media.multipart import BodyPart, MultipartFormHandler, MultipartParseOptions
from falcon.util import BufferedReader

from thumbnails_contract.errors import (
    InvalidArchive,
    InvalidOption,
    InvalidRequest,
    MissingImage,
    ThumbnailsError,
)

from .archives import ArchiveLimits, Entry, Unpacking
from .options import OPTION_NAMES
from .pictures import (
    Picture,
    PictureLimits,
    Rejected,
    TooManyBytes,
    clean_file_name,
    digest,
    judge,
)
from .sniff import is_archive, sniff_format
from .spool import IN_MEMORY_BYTES, Budget, new_spool, no_room

IMAGE_FIELD: Final = "image"

# Measured: larger chunks leave the CPU's caches.
_FORM_CHUNK_BYTES: Final = 64 * 1024
_MAX_FIELD_BYTES: Final = 8 * 1024
_MAX_PART_HEADER_BYTES: Final = 8 * 1024
_MALFORMED: Final = "The form cannot be read: check its boundary, and that it was sent whole."
# Declared types that say "this is no picture": without one inside, the picture is missing.
_NOT_PICTURE_TYPES: Final = frozenset({"application/json", "application/x-www-form-urlencoded"})
ARCHIVE_TYPES: Final = ("application/zip", "application/x-zip-compressed")

Item = Picture | Entry | Rejected


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one request may bring."""

    picture: PictureLimits
    images: int
    archives: ArchiveLimits


@dataclass(slots=True)
class Received:
    """A request's body, taken apart. `close` gives the disk space back."""

    limits: UploadLimits
    spool: Budget
    unpacking: Unpacking = field(init=False)
    images: list[Item] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    has_archives: bool = False
    _spools: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        """What is in ZIPs is counted from here on."""
        self.unpacking = Unpacking(self.limits.archives, self.limits.picture, self.spool)

    @property
    def is_batch(self) -> bool:
        """Whether it is answered with a list: what comes in a ZIP always is."""
        return self.has_archives or len(self.images) > 1

    def close(self) -> None:
        """Forget the spooled pictures."""
        self._spools.close()

    def reserve(self, count: int) -> None:
        """Room on disk for copies of so many bytes. Raises Overloaded."""
        if count > IN_MEMORY_BYTES:
            if not self.spool.take(count):
                raise no_room()
            self._spools.callback(self.spool.give_back, count)

    def new_spool(self, max_bytes: int) -> BinaryIO:
        """A file for at most `max_bytes`, closed with this; room for it was reserved."""
        return self._spools.enter_context(contextlib.closing(new_spool(max_bytes)))

    def take(
        self,
        file_name: str | None,
        data: BinaryIO,
        digested: tuple[int, str, bytes],
    ) -> None:
        """Take in a file, of which `digest` said this: a picture, or a ZIP of them."""
        size, sha256, head = digested
        if not is_archive(head):
            self.images.append(judge(file_name, data, size, sha256, head, self.limits.picture))
            return
        try:
            entries = self.unpacking.open(data, size, sha256)
        except ThumbnailsError as error:
            self.images.append(Rejected(file_name, error))
        else:
            self.has_archives = True
            self.images.extend(entries)


def receive(
    body: BinaryIO, content_type: str | None, length: int, limits: UploadLimits, spool: Budget
) -> Received:
    """The pictures and form fields of a body of `length` bytes. The caller closes what it gets.

    Raises Overloaded when `spool` is spent, MissingImage when there is no picture at all, and InvalidRequest
    for a malformed form; what is wrong with one picture is in `Received.images`.
    """
    media_type, _ = falcon.parse_header(content_type or "")
    media_type = media_type.strip().lower()
    if media_type == "multipart/form-data":
        return _receive_form(body, content_type or "", length, Received(limits, spool))
    return _receive_raw(body, media_type, length, Received(limits, spool))


def _receive_raw(body: BinaryIO, media_type: str, length: int, received: Received) -> Received:
    if length == 0:
        raise MissingImage
    limits = received.limits
    with contextlib.ExitStack() as on_error:
        on_error.callback(received.close)
        # waitress gives a file, whose bytes are used where they lie; other servers give a stream.
        spool = None
        if not hasattr(body, "seek"):
            received.reserve(length)
            spool = received.new_spool(length)

        def max_bytes(head: bytes) -> int:
            most = length if is_archive(head) else limits.picture.bytes
            # Known beforehand: what is too long need not be read.
            return most if length <= most else 0

        try:
            digested = digest(body, spool, max_bytes)
        except TooManyBytes:
            received.images.append(Rejected(None, limits.picture.too_many_bytes()))
        else:
            head = digested[2]
            if sniff_format(head) is not None or is_archive(head) or not _is_no_picture_type(media_type):
                received.take(None, spool or body, digested)
            else:
                error = InvalidArchive() if media_type in ARCHIVE_TYPES else MissingImage()
                received.images.append(Rejected(None, error))
        on_error.pop_all()
    return received


def _receive_form(body: BinaryIO, content_type: str, length: int, received: Received) -> Received:
    limits = received.limits
    options = MultipartParseOptions()
    options.max_body_part_count = limits.images + len(OPTION_NAMES) + 1
    options.max_body_part_headers_size = _MAX_PART_HEADER_BYTES
    options.max_body_part_buffer_size = _MAX_FIELD_BYTES
    handler = MultipartFormHandler(options)
    strange_file: str | None = None
    parts = 0
    with contextlib.ExitStack() as on_error:
        on_error.callback(received.close)
        received.reserve(length)
        try:
            reader = BufferedReader(body.read, length, _FORM_CHUNK_BYTES)
            for part in handler.deserialize(reader, content_type, length):
                _decode_disposition(part)
                if part.name is None:
                    raise InvalidRequest(_MALFORMED)
                if part.name == IMAGE_FIELD:
                    parts += 1
                    _receive_part(received, part, length)
                elif part.name not in OPTION_NAMES and _file_name(part) is not None:
                    strange_file = part.name
                    received.fields.append((part.name, ""))
                else:
                    received.fields.append((part.name, _read_text(part)))
        # Falcon decodes names and file names of parts as UTF-8.
        except (falcon.HTTPError, UnicodeDecodeError) as error:
            raise InvalidRequest(_MALFORMED) from error
        if not received.images:
            hint = f" (a file came as {strange_file[:40]!r})" if strange_file is not None else ""
            raise MissingImage(f"Send the picture as the form field '{IMAGE_FIELD}'{hint}.")
        if parts > limits.images:
            raise InvalidRequest(f"There are more than {limits.images} pictures in one request.")
        on_error.pop_all()
    return received


def _receive_part(received: Received, part: BodyPart, length: int) -> None:
    picture_limits = received.limits.picture
    name = _file_name(part)
    file_name = clean_file_name(name)
    spool = received.new_spool(length)
    try:
        stream = cast("BinaryIO", part.stream)
        digested = digest(stream, spool, lambda head: length if is_archive(head) else picture_limits.bytes)
    except TooManyBytes:
        spool.close()
        received.images.append(Rejected(file_name, picture_limits.too_many_bytes()))
        return
    size, _, head = digested
    if size == 0 or (name is None and sniff_format(head) is None and not is_archive(head)):
        received.images.append(Rejected(file_name, MissingImage()))
    else:
        received.take(file_name, spool, digested)


def _decode_disposition(part: BodyPart) -> None:
    """Take names that are no UTF-8 for Latin-1, as old clients mean them; Falcon would refuse the part."""
    raw = part._headers.get(b"content-disposition", b"")  # noqa: SLF001 - Falcon has no other way in
    try:
        raw.decode()
    except UnicodeDecodeError:
        part._headers[b"content-disposition"] = raw.decode("latin-1").encode()  # noqa: SLF001 - as above


def _file_name(part: BodyPart) -> str | None:
    """What the client calls its file: for show, so "" when it says that in an encoding that is none."""
    try:
        return part.filename
    except (falcon.HTTPError, UnicodeDecodeError, LookupError):
        return ""


def _read_text(part: BodyPart) -> str:
    try:
        data: bytes = part.get_data()
        return data.decode()
    except falcon.MultipartParseError:
        raise InvalidOption(f"{part.name} is longer than {_MAX_FIELD_BYTES} bytes.") from None
    except UnicodeDecodeError:
        raise InvalidOption(f"{part.name} is no UTF-8 text.") from None


def _is_no_picture_type(media_type: str) -> bool:
    return media_type in {*_NOT_PICTURE_TYPES, *ARCHIVE_TYPES} or media_type.startswith("multipart/")
