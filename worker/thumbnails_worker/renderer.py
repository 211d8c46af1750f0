"""The process that decodes pictures: it gets descriptors and recipes, and gives descriptors and facts.

It has no network connection, no environment, no token, and limits on memory and CPU. What it may not
do is stopped by the kernel, and the supervisor explains its death (`outcome.py`).
"""

import mmap
import os
import resource
import socket
import time
import warnings
from dataclasses import replace
from typing import BinaryIO, Final

from thumbnails_contract.errors import OutOfMemory, RenderError, ThumbnailsError
from thumbnails_contract.spec import Format, Output
from thumbnails_contract.status import ErrorFacts
from thumbnails_contract.wire import Limits

from . import linux
from .messages import MAX_MESSAGE_BYTES, Picture, RenderReply, RenderRequest
from .render.colour import forget_profiles
from .render.encode import Encoded, Recipe, encode
from .render.pipeline import Rendered, Wanted, render
from .render.resize import CykoozResize, load_cykooz, resize_with_pillow

_RESIZE: Final = load_cykooz() or resize_with_pillow
_MOST_DETAIL: Final = 200
_IDLE_SECONDS: Final = 1.0
# Kept of earlier pictures: with less than this, a failure has another cause.
_MUCH_BYTES: Final = 16 << 20


def warm_up() -> None:
    """Do once, before any fork, what Pillow does at its first picture: import, fill tables."""
    import io  # noqa: PLC0415 - used here only

    from PIL import AvifImagePlugin, Image  # noqa: PLC0415 - imported for its registration as a writer

    assert AvifImagePlugin.SUPPORTED
    warnings.simplefilter("ignore")  # Pillow warns about broken metadata: that is no news to anybody
    picture = Image.new("RGB", (16, 16))
    data = encode([picture], [0], 1, Recipe(Format.JPEG)).data
    for format_ in (Format.JPEG, Format.PNG):
        wanted = Wanted(Output(width=8, height=8), format_)
        render(io.BytesIO(data), data, [wanted], Limits(), _RESIZE)


def serve(connection: socket.socket, meter: linux.DataMeter) -> None:
    """Answer requests until the supervisor closes the connection; `meter` measures this process."""
    memory = _Memory(meter)
    replied = None
    while True:
        data, descriptors = _receive(connection)
        if not data:
            return
        waited_seconds = 0.0 if replied is None else time.monotonic() - replied
        request = RenderRequest.from_bytes(data)
        _limit(request)
        with os.fdopen(descriptors[0], "rb") as original:
            reply, encoded = _answer(request, original, memory)
        reply = replace(reply, waited_seconds=waited_seconds)
        files = []
        while encoded:  # none is kept twice
            files.append(_to_file(encoded.pop(0).data))
        try:
            socket.send_fds(connection, [reply.to_bytes()], files)
        finally:
            for file in files:
                os.close(file)
        replied = time.monotonic()


class _Memory:
    """What this process has without any picture, and what it keeps of one for the next."""

    def __init__(self, meter: linux.DataMeter) -> None:
        self._meter = meter
        self.at_rest_bytes = meter.data_bytes()

    @property
    def kept_bytes(self) -> int:
        """What is kept now: it counts against the limit of the next picture."""
        return self._meter.data_bytes() - self.at_rest_bytes

    def give_back(self) -> None:
        """Keep nothing."""
        forget_profiles()
        _give_back_working_memory()


def _give_back_working_memory() -> None:
    """Keep nothing but what is small and takes long to make."""
    if isinstance(_RESIZE, CykoozResize):
        _RESIZE.give_back()
    linux.give_back_freed_memory()


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """The next request, however long that takes; with nothing to do, nothing is kept for it."""
    connection.settimeout(_IDLE_SECONDS)
    try:
        data, descriptors, _flags, _address = socket.recv_fds(connection, MAX_MESSAGE_BYTES, 1)
    except TimeoutError:
        _give_back_working_memory()
        connection.settimeout(None)
        data, descriptors, _flags, _address = socket.recv_fds(connection, MAX_MESSAGE_BYTES, 1)
    connection.settimeout(None)
    return data, descriptors


def _limit(request: RenderRequest) -> None:
    """Bound this item's memory, and its CPU time on top of what earlier items took."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (request.memory_bytes, hard))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    _soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + request.limits.cpu_seconds, hard))


def _answer(request: RenderRequest, file: BinaryIO, memory: _Memory) -> tuple[RenderReply, list[Encoded]]:
    """Render; when that fails where much is kept of earlier pictures, once more without it.

    A decoder that gets no memory may say that its file is damaged: what becomes of a picture must not depend
    on those before it. Freed memory may lie in pieces that cannot be given back: then the reply is that there
    was no memory, and to try again, which a fresh process does.
    """
    kept_bytes = memory.kept_bytes
    available_bytes = request.memory_bytes - memory.at_rest_bytes
    if kept_bytes > _MUCH_BYTES and request.limits.render_truncated:  # it would be shown as far as it goes
        memory.give_back()
    begun = time.monotonic()
    reply, encoded = _attempt(request, file, available_bytes)
    if reply.error is None or kept_bytes <= _MUCH_BYTES:
        return reply, encoded
    memory.give_back()
    left_bytes = memory.kept_bytes
    if left_bytes < kept_bytes - _MUCH_BYTES:
        reply, encoded = _attempt(request, file, available_bytes)
    if reply.error is not None and left_bytes > _MUCH_BYTES:
        return replace(_failure(OutOfMemory(), None, begun), retry=True), []
    return reply, encoded


def _attempt(
    request: RenderRequest, file: BinaryIO, available_bytes: int
) -> tuple[RenderReply, list[Encoded]]:
    begun = time.monotonic()
    try:
        rendered = _render(request, file, available_bytes)
        pictures = tuple(
            Picture(p.width, p.height, p.frames, p.content_type, p.thumbhash) for p in rendered.pictures
        )
        reply = RenderReply(rendered.source, pictures, seconds=time.monotonic() - begun)
    except ThumbnailsError as error:
        reply = _failure(error, error.__cause__, begun)
    except MemoryError as error:
        reply = _failure(OutOfMemory(), error, begun)
    except Exception as error:  # noqa: BLE001 - the reply says it; this process goes on
        reply = _failure(RenderError("The picture could not be rendered."), error, begun)
    else:
        return reply, list(rendered.pictures)
    return reply, []


def _render(request: RenderRequest, file: BinaryIO, available_bytes: int) -> Rendered:
    size = os.fstat(file.fileno()).st_size
    file.seek(0)  # the position is shared with whoever wrote it
    wanted = [Wanted(output, format_) for output, format_ in request.outputs]
    if size == 0:  # mmap refuses it
        return render(file, b"", wanted, request.limits, _RESIZE, available_bytes)
    with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) as data:
        return render(file, data, wanted, request.limits, _RESIZE, available_bytes)


def _failure(error: ThumbnailsError, cause: BaseException | None, begun: float) -> RenderReply:
    detail = "" if cause is None else f"{type(cause).__name__}: {cause}"
    return RenderReply(
        error=ErrorFacts(error.reason, error.message),
        retry=error.retryable,
        seconds=time.monotonic() - begun,
        detail=ascii(detail)[1:-1][:_MOST_DETAIL],
    )


def _to_file(data: bytes) -> int:
    """A descriptor of memory that holds the data."""
    descriptor = os.memfd_create("thumbnail", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return descriptor
