"""Pictures out of a request's body, for `POST /images`: spooled, hashed, sniffed, held against limits.

The server has the whole body in an unlinked file before it calls us. A raw body is hashed and stored
from that very file; `image` parts of a form are copied to unlinked files of their own (in memory
below a mebibyte), since the form's delimiters lie between them. Nothing here is ever whole in memory.
"""

import contextlib
import hashlib
import io
import logging
import tempfile
import unicodedata
from dataclasses import dataclass, field
from typing import BinaryIO, Final, cast

import falcon
from falcon.media.multipart import BodyPart, MultipartFormHandler, MultipartParseOptions
from falcon.util import BufferedReader

from thumbnails_contract.errors import (
    InvalidOption,
    InvalidRequest,
    MissingImage,
    Overloaded,
    PayloadTooLarge,
    SourceTooLarge,
    ThumbnailsError,
    UnsupportedFormat,
)
from thumbnails_contract.spec import Format

from .options import OPTION_NAMES
from .sniff import HEAD_BYTES, read_dimensions, sniff_format

log = logging.getLogger(__name__)

IMAGE_FIELD: Final = "image"
MAX_FILE_NAME_LENGTH: Final = 255

# Measured: larger chunks leave the CPU's caches.
_FORM_CHUNK_BYTES: Final = 64 * 1024
_COPY_CHUNK_BYTES: Final = 256 * 1024
_SPOOL_IN_MEMORY_BYTES: Final = 1 << 20
_MAX_FIELD_BYTES: Final = 8 * 1024
_MAX_PART_HEADER_BYTES: Final = 8 * 1024
_MALFORMED: Final = "The form cannot be read: check its boundary, and that it was sent whole."
# Declared types that say "this is no picture": without one inside, the picture is missing.
_NOT_PICTURE_TYPES: Final = frozenset({"application/json", "application/x-www-form-urlencoded"})


class _TooManyBytes(Exception):
    """The stream goes on beyond the limit."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one request may bring."""

    picture_bytes: int
    pixels: int
    images: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is within the limits. `data` is seekable, holds it from offset 0, and stands there."""

    file_name: str | None
    data: BinaryIO
    bytes: int
    sha256: str
    format: Format


@dataclass(frozen=True, slots=True)
class Rejected:
    """An `image` part that is not taken, and why."""

    file_name: str | None
    error: ThumbnailsError


@dataclass(slots=True)
class Received:
    """A request's body, taken apart. `close` gives the disk space back."""

    images: list[Picture | Rejected] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    _spools: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def close(self) -> None:
        """Forget the spooled pictures."""
        self._spools.close()

    def new_spool(self, max_bytes: int) -> BinaryIO:
        """A file for at most `max_bytes`: in memory, or unlinked in TMPDIR as the server's own."""
        in_memory = max_bytes <= _SPOOL_IN_MEMORY_BYTES
        spool = io.BytesIO() if in_memory else cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - `close`
        self._spools.callback(spool.close)
        return spool


def receive(body: BinaryIO, content_type: str | None, length: int, limits: UploadLimits) -> Received:
    """The pictures and form fields of a body of `length` bytes. The caller closes what it gets.

    Raises MissingImage when there is no picture at all and InvalidRequest for a malformed form; what
    is wrong with one picture is in `Received.images`.
    """
    media_type, _ = falcon.parse_header(content_type or "")
    media_type = media_type.strip().lower()
    if media_type == "multipart/form-data":
        return _receive_form(body, content_type or "", length, limits)
    return _receive_raw(body, media_type, length, limits)


def clean_file_name(name: str | None) -> str | None:
    """What a client calls its file, fit to be shown to people: no folders, no control characters, short."""
    if name is None:
        return None
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    # Controls, and formats such as the right-to-left override that makes "gpj.exe" of "exe.jpg".
    visible = "".join(
        char for char in base if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    )
    return visible.strip()[:MAX_FILE_NAME_LENGTH] or None


def _receive_raw(body: BinaryIO, media_type: str, length: int, limits: UploadLimits) -> Received:
    if length == 0:
        raise MissingImage
    if length > limits.picture_bytes:
        return Received(images=[Rejected(None, _too_many_bytes(limits))])
    received = Received()
    # waitress gives a file, whose bytes are used where they lie; other servers give a stream.
    spool = None if hasattr(body, "seek") else received.new_spool(length)
    try:
        size, digest, head = _digest(body, spool, max_bytes=length)
        if sniff_format(head) is None and _is_no_picture_type(media_type):
            received.images.append(Rejected(None, MissingImage()))
        else:
            received.images.append(_judge(None, spool or body, size, digest, head, limits))
    except BaseException:
        received.close()
        raise
    return received


def _receive_form(body: BinaryIO, content_type: str, length: int, limits: UploadLimits) -> Received:
    options = MultipartParseOptions()
    options.max_body_part_count = limits.images + len(OPTION_NAMES) + 1
    options.max_body_part_headers_size = _MAX_PART_HEADER_BYTES
    options.max_body_part_buffer_size = _MAX_FIELD_BYTES
    handler = MultipartFormHandler(options)
    received = Received()
    strange_file: str | None = None
    with contextlib.ExitStack() as on_error:
        on_error.callback(received.close)
        try:
            reader = BufferedReader(body.read, length, _FORM_CHUNK_BYTES)
            for part in handler.deserialize(reader, content_type, length):
                _decode_disposition(part)
                if part.name is None:
                    raise InvalidRequest(_MALFORMED)
                if part.name == IMAGE_FIELD:
                    received.images.append(_receive_part(received, part, length, limits))
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
        if len(received.images) > limits.images:
            raise InvalidRequest(f"There are more than {limits.images} pictures in one request.")
        on_error.pop_all()
    return received


def _receive_part(
    received: Received, part: BodyPart, length: int, limits: UploadLimits
) -> Picture | Rejected:
    name = _file_name(part)
    file_name = clean_file_name(name)
    spool = received.new_spool(length)
    try:
        stream = cast("BinaryIO", part.stream)
        size, digest, head = _digest(stream, spool, max_bytes=limits.picture_bytes)
    except _TooManyBytes:
        spool.close()
        return Rejected(file_name, _too_many_bytes(limits))
    if size == 0 or (name is None and sniff_format(head) is None):
        return Rejected(file_name, MissingImage())
    return _judge(file_name, spool, size, digest, head, limits)


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


def _digest(stream: BinaryIO, spool: BinaryIO | None, *, max_bytes: int) -> tuple[int, str, bytes]:
    """Read all of a stream, into `spool` if there is one: its size, SHA-256 and first bytes."""
    digest = hashlib.sha256()
    head, size = b"", 0
    try:
        while chunk := stream.read(_COPY_CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise _TooManyBytes
            head = head or chunk[:HEAD_BYTES]
            digest.update(chunk)
            if spool is not None:
                spool.write(chunk)
        if spool is not None:
            spool.flush()
    except OSError as error:
        log.error("cannot spool an upload: %s", error.strerror)  # noqa: TRY400 - a full disk needs no traceback
        raise Overloaded("There is no room for the upload just now.", retry_after_seconds=10) from error
    return size, digest.hexdigest(), head


def _judge(
    file_name: str | None, data: BinaryIO, size: int, sha256: str, head: bytes, limits: UploadLimits
) -> Picture | Rejected:
    format_ = sniff_format(head)
    if format_ is None:
        return Rejected(file_name, UnsupportedFormat())
    dimensions = read_dimensions(data)
    if dimensions is not None and dimensions[0] * dimensions[1] > limits.pixels:
        width, height = dimensions
        message = f"{width} x {height} is more than the limit of {limits.pixels} pixels."
        return Rejected(file_name, SourceTooLarge(message))
    data.seek(0)
    return Picture(file_name, data, size, sha256, format_)


def _read_text(part: BodyPart) -> str:
    try:
        data: bytes = part.get_data()
        return data.decode()
    except falcon.MultipartParseError:
        raise InvalidOption(f"{part.name} is longer than {_MAX_FIELD_BYTES} bytes.") from None
    except UnicodeDecodeError:
        raise InvalidOption(f"{part.name} is no UTF-8 text.") from None


def _is_no_picture_type(media_type: str) -> bool:
    return media_type in _NOT_PICTURE_TYPES or media_type.startswith("multipart/")


def _too_many_bytes(limits: UploadLimits) -> PayloadTooLarge:
    return PayloadTooLarge(f"A picture may have at most {limits.picture_bytes} bytes.")
