"""Runs a worker: takes items, fetches, has them rendered, stores, and reports, each in threads of its own.

    poll ──items──▶ fetch ──originals──▶ feed ──▶ renderer ──▶ collect ──▶ store ──results──▶ poll, deliver

A renderer has its next original in its socket before it is done with the one before: between two pictures it
waits for nobody.

One lock guards all state; no thread holds it while it does I/O.
"""

import json
import logging
import os
import queue
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from thumbnails_contract import keys
from thumbnails_contract.errors import (
    Cancelled,
    OutputTooLarge,
    RenderError,
    SourceError,
    ThumbnailsError,
    Unavailable,
    error_classes,
)
from thumbnails_contract.status import SourceFacts
from thumbnails_contract.tracing import TraceContext
from thumbnails_contract.wire import Poll, RenderedOutput, Result, WorkAnswer, WorkRequest

from . import outcome
from .backoff import delays
from .exchange import Exchange, ExchangeUnavailable
from .holdings import Held, Holdings, Stage
from .messages import MAX_FILES, MAX_MESSAGE_BYTES, Picture, RenderReply, RenderRequest
from .nursery import Nursery, NurseryLost, Renderer
from .occupation import Occupation
from .settings import MIB, Settings
from .store import Store

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_OPERATOR_LOST: Final = 3
EXIT_NURSERY_LOST: Final = 4

_AHEAD_BYTES: Final = 32 * MIB
# Bytes of an original that the reserve covers; what it has more is taken off the renderer's memory.
_RESERVED_SOURCE_BYTES: Final = 16 * MIB
_LONGEST_POLL_SECONDS: Final = 20.0
# A worker that wanted nothing for so long, because its pictures take long, polls all the same: for so long it
# can be told to drop what it has, or to stop, and the operator hears that it is alive.
_BUSY_SECONDS: Final = 0.25
_BUSY_POLL_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 15.0  # for the operator to answer, beyond what it was told to wait
# A poll that began so recently may return at once with more items, and takes results along then.
_YOUNG_POLL_SECONDS: Final = 0.010
_GRACE_SECONDS: Final = 0.003
_FINISH_SECONDS: Final = 5.0  # after a signal: for what is being rendered and stored
_DELIVER_SECONDS: Final = 2.0  # after that: for the last results
_TICK_SECONDS: Final = 0.25
_DEADLINE_SHARE: Final = 0.2  # of its time a worker keeps for draining, at most a minute
_MOST_DRAIN_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seat:
    """One place to render: a renderer, whom it has served, and what was sent to it: the first is rendered."""

    renderer: Renderer
    # Held while something is sent to the renderer, or it is replaced; taken before the supervisor's lock.
    changing: threading.Lock = field(default_factory=threading.Lock)
    owner: tuple[str, str] | None = None
    in_hand: deque[Held] = field(default_factory=deque)
    killed_for: outcome.KilledFor | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    """A rendered item on its way to the object store."""

    held: Held
    source: SourceFacts
    pictures: tuple[tuple[Picture, int], ...]  # each with the descriptor of its bytes
    seconds: float


class Supervisor:
    """One worker process."""

    def __init__(self, settings: Settings, nursery: Nursery) -> None:
        threads = settings.renderers + 1
        self._settings = settings
        self._nursery = nursery
        self._exchange = Exchange(settings.exchange_url, settings.exchange_token_file)
        self._store = Store(give_up=lambda: self._leaving, ca_file=settings.s3_ca_file)
        self._threads = threads
        self._state = threading.Condition()
        # Everything below is guarded by _state, but for the queues, which guard themselves.
        self._holdings = Holdings(settings.renderers, _AHEAD_BYTES)
        self._to_fetch: queue.SimpleQueue[Held] = queue.SimpleQueue()
        self._ready: deque[Held] = deque()
        self._to_store: queue.SimpleQueue[_Made] = queue.SimpleQueue()
        self._seats: list[_Seat] = []
        # With several renderers, what waits goes to the one that is free first.
        self._most_in_hand = 2 if settings.renderers == 1 else 1
        self._occupation = Occupation()
        self._begun = time.monotonic()
        self._answered = self._begun
        self._generation = -1
        self._poll_begun: float | None = None
        self._draining = False  # takes no more items
        self._leaving = False  # a signal came, or time is up: finish nothing that takes long
        self._lost = False  # the nursery
        self._failed = False  # one of the threads, which must not happen

    def run(self) -> int:
        """Work until there is a reason to end; gives the exit code.

        SIGTERM and SIGINT must be blocked in all threads.
        """
        code = self._run()
        done = self._occupation
        _log.info(
            "renderers",
            extra={
                "pictures": done.pictures,
                "busySeconds": round(done.busy_seconds, 3),
                "waitingShare": round(done.waiting_share, 4),
            },
        )
        return code

    def _run(self) -> int:
        self._start("poll", self._poll)
        self._start("deliver", self._deliver)
        self._start("seat", self._take_seats)
        for _ in range(self._threads):
            self._start("fetch", self._fetch)
            self._start("store", self._put)
        while True:
            if signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, _TICK_SECONDS) is not None:
                _log.info("draining: a signal came")
                return self._leave()
            code = self._look_around()
            if code is not None:
                return code

    def _look_around(self) -> int | None:
        """What the main thread checks a few times a second."""
        now = time.monotonic()
        settings = self._settings
        if self._lost or not self._nursery.is_alive():
            _log.error("the fork server ended; a worker cannot go on without it")
            self._leave()
            return EXIT_NURSERY_LOST
        if self._failed:
            self._leave()
            return EXIT_FAILED
        with self._state:
            if now - self._answered > settings.operator_lost_seconds:
                _log.error("no answer from the operator for too long; this worker ends")
                return EXIT_OPERATOR_LOST
            if self._draining and not self._holdings.leases():
                _log.info("all is done")
                return EXIT_DONE
        if settings.deadline_seconds is not None:
            left = self._begun + settings.deadline_seconds - now
            margin = min(_MOST_DRAIN_SECONDS, settings.deadline_seconds * _DEADLINE_SHARE)
            if left < margin / 2:
                _log.info("leaving: the deadline is near")
                return self._leave()
            if left < margin:
                self._drain()
        return None

    # ---- ending ----------------------------------------------------------------------------

    def _drain(self) -> None:
        with self._state:
            if not self._draining:
                self._draining = True
                self._state.notify_all()

    def _leave(self) -> int:
        """Give back what was not begun, finish what is quick, deliver; bounded in time."""
        with self._state:
            self._draining = self._leaving = True
            self._give_back(Stage.FETCHING, Stage.READY)
            self._holdings.send_again()  # a poll that waits may not be answered in time
            self._state.notify_all()
            self._state.wait_for(
                lambda: not self._holdings.at(Stage.RENDERING, Stage.STORING), _FINISH_SECONDS
            )
            for seat in self._seats:
                if seat.in_hand:
                    seat.killed_for = outcome.KilledFor.DRAIN
            self._give_back(Stage.READY, Stage.RENDERING, Stage.STORING)
            self._state.notify_all()
            delivered = self._state.wait_for(lambda: not self._holdings.leases(), _DELIVER_SECONDS)
            if not delivered:
                _log.warning("results could not be delivered", extra={"count": len(self._holdings.leases())})
        return EXIT_DONE

    def _give_back(self, *stages: Stage) -> None:
        for held in self._holdings.at(*stages):
            self._holdings.finish(held, outcome.returned(held.item.lease))
        self._ready = deque(held for held in self._ready if held.stage is Stage.READY)

    # ---- the exchange ----------------------------------------------------------------------

    def _poll(self) -> None:
        """The long polls, one after the other."""
        waits = delays(0.1, 5.0)
        longest = min(_LONGEST_POLL_SECONDS, self._settings.operator_lost_seconds / 3)
        busy = min(_BUSY_POLL_SECONDS, longest)
        while True:
            with self._state:
                wants = self._state.wait_for(self._should_poll, _BUSY_SECONDS)
                capacity = self._capacity() if wants else 0
                wait_seconds = longest if capacity else busy
                poll = Poll(capacity, self._holdings.leases(), wait_seconds)
                request = self._request(poll)
                self._poll_begun = time.monotonic()
            answered = self._send(request, wait_seconds + _ANSWER_SECONDS)
            with self._state:
                self._poll_begun = None
                self._state.notify_all()
            if answered:
                waits = delays(0.1, 5.0)
            else:
                time.sleep(next(waits))

    def _should_poll(self) -> bool:
        """Whether to ask for more now: when a renderer would soon have nothing, or a result goes along."""
        holdings = self._holdings
        if self._draining or self._capacity() == 0:
            return False
        ahead = len(holdings.at(Stage.FETCHING, Stage.READY))
        return ahead < self._settings.renderers or holdings.has_results()

    def _capacity(self) -> int:
        return self._holdings.capacity(self._occupation.pace_seconds)

    def _deliver(self) -> None:
        """Results that cannot wait for the next poll."""
        waits = delays(0.1, 5.0)
        while True:
            with self._state:
                self._state.wait_for(self._should_deliver)
                if self._poll_is_young():
                    self._state.wait_for(lambda: self._poll_begun is None, _GRACE_SECONDS)
                if not self._should_deliver():
                    continue
                request = self._request(None)
            if self._send(request, _ANSWER_SECONDS):
                waits = delays(0.1, 5.0)
            else:
                time.sleep(next(waits))

    def _should_deliver(self) -> bool:
        """Whether there are results that no poll is about to take along."""
        return self._holdings.has_results() and not (self._poll_begun is None and self._should_poll())

    def _poll_is_young(self) -> bool:
        begun = self._poll_begun
        return begun is not None and time.monotonic() - begun < _YOUNG_POLL_SECONDS

    def _request(self, poll: Poll | None) -> WorkRequest:
        return WorkRequest(
            keys.RENDERER_VERSION, tuple(self._holdings.next_results()), poll, draining=self._draining
        )

    def _send(self, request: WorkRequest, timeout_seconds: float) -> bool:
        """One request and what its answer brings; False when there was no answer that counts."""
        try:
            answer = self._exchange.send(request, timeout_seconds)
        except ExchangeUnavailable as error:
            _log.warning("no answer from the exchange", extra={"detail": str(error)})
            answer = None
        with self._state:
            if answer is None or answer.generation < self._generation:
                self._holdings.not_acknowledged(request.results)
                return False
            self._answered = time.monotonic()
            self._generation = answer.generation
            self._holdings.acknowledged(request.results)
            self._take(answer)
            self._state.notify_all()
        return True

    def _take(self, answer: WorkAnswer) -> None:
        if answer.stop and not self._draining:
            _log.info("draining: the operator says stop")
            self._draining = True
        for held in self._holdings.take(answer.items):
            if self._draining:  # the answer to a poll from before
                self._holdings.finish(held, outcome.returned(held.item.lease))
            else:
                self._to_fetch.put(held)
        for lease in answer.drop:
            if self._holdings.drop(lease) is not None:
                _log.debug("dropped", extra={"lease": lease})
        for seat in self._seats:
            self._kill_for_nobody(seat)

    # ---- originals -------------------------------------------------------------------------

    def _fetch(self) -> None:
        while True:
            held = self._to_fetch.get()
            item = held.item
            file = None
            try:
                with self._state:
                    if not self._holdings.holds(held) or held.stage is not Stage.FETCHING:
                        continue
                file, size = self._store.get(
                    item.source_url, item.limits.source_bytes, item.limits.wall_seconds
                )
            except ThumbnailsError as error:
                if isinstance(error, Unavailable):
                    _log.warning("the original could not be fetched", extra=_about(held))
                self._finish(held, outcome.failed(item.lease, error, retry=error.retryable))
                continue
            with self._state:
                if self._holdings.holds(held) and held.stage is Stage.FETCHING:
                    held.source_file, held.source_bytes, held.stage = file, size, Stage.READY
                    self._ready.append(held)
                    self._state.notify_all()
                else:
                    os.close(file)

    # ---- rendering -------------------------------------------------------------------------

    def _take_seats(self) -> None:
        """Have renderers, as soon as the nursery is ready, and threads that work with them."""
        try:
            seats = [
                _Seat(self._nursery.spawn(self._settings.renderer_bytes))
                for _ in range(self._settings.renderers)
            ]
        except NurseryLost:
            self._lost = True
            return
        with self._state:
            self._seats += seats
        for seat in seats:
            self._start("feed", partial(self._feed, seat))
            self._start("collect", partial(self._collect, seat))

    def _feed(self, seat: _Seat) -> None:
        """Send originals to a renderer."""
        try:
            while True:
                with self._state:
                    self._state.wait_for(lambda: self._is_hungry(seat))
                    held = self._ready.popleft()
                    if not self._holdings.holds(held) or held.stage is not Stage.READY:
                        _close([held.source_file])
                        continue
                    held.stage = Stage.RENDERING
                with seat.changing:
                    if seat.owner not in (None, held.owner):  # nothing is in its hand then
                        self._replace(seat)
                    seat.owner = held.owner
                    with self._state:
                        seat.in_hand.append(held)
                        self._state.notify_all()
                    self._send_one(seat, held)
        except NurseryLost:
            self._lost = True

    def _is_hungry(self, seat: _Seat) -> bool:
        """Whether the next original is for this seat."""
        if not self._ready:
            return False
        if not seat.in_hand:
            return True
        following = self._ready[0]
        return (
            len(seat.in_hand) < self._most_in_hand
            and following.owner == seat.owner
            and following.source_bytes <= _RESERVED_SOURCE_BYTES
        )

    def _send_one(self, seat: _Seat, held: Held) -> None:
        request = RenderRequest(
            tuple((output.output, output.format) for output in held.item.outputs),
            held.item.limits,
            self._settings.renderer_bytes - max(0, held.source_bytes - _RESERVED_SOURCE_BYTES),
        )
        assert held.source_file is not None
        try:
            socket.send_fds(seat.renderer.connection, [request.to_bytes()], [held.source_file])
        except OSError as error:  # `_collect` sees its end as well
            _log.debug("the renderer's connection broke", extra={"detail": type(error).__name__})

    def _collect(self, seat: _Seat) -> None:
        """Take what a renderer makes, in the order in which it got it."""
        try:
            while True:
                with self._state:
                    self._state.wait_for(lambda: seat.in_hand)
                    held = seat.in_hand[0]
                    self._kill_for_nobody(seat)
                reply, files = self._receive(seat, held)
                if reply is None:
                    self._bury(seat, held)
                    continue
                with self._state:
                    seat.in_hand.popleft()
                    self._occupation.add(reply.seconds, reply.waited_seconds)
                    self._state.notify_all()
                _close([held.source_file])
                self._pass_on(held, reply, files)
                if reply.error is not None and reply.error.reason == "OutOfMemory":  # its heap is in pieces
                    with seat.changing:
                        self._replace(seat)
        except NurseryLost:
            self._lost = True

    def _receive(self, seat: _Seat, held: Held) -> tuple[RenderReply | None, list[int]]:
        """Wait for the reply to an item; None: the renderer died, or has to."""
        files: list[int] = []
        try:
            seat.renderer.connection.settimeout(held.item.limits.wall_seconds)
            data, files, _flags, _address = socket.recv_fds(
                seat.renderer.connection, MAX_MESSAGE_BYTES, MAX_FILES
            )
            if data:
                reply = RenderReply.from_bytes(data)
                _check_reply(reply, len(files), len(held.item.outputs))
                return reply, files
        except TimeoutError:
            seat.killed_for = outcome.KilledFor.DEADLINE
        except OSError as error:
            _log.debug("the renderer's connection broke", extra={"detail": type(error).__name__})
        except ValueError:
            _log.exception("a renderer's reply cannot be read", extra=_about(held))
        _close(files)
        return None, []

    def _bury(self, seat: _Seat, held: Held) -> None:
        """Put another renderer in the place of one that died, and say what that means for its item."""
        self._nursery.kill(seat.renderer)  # whoever waits to send something to it need not wait any more
        with seat.changing:
            with self._state:
                seat.in_hand.popleft()
            death = outcome.explain_death(self._replace(seat), seat.killed_for)
            seat.killed_for = None
        _close([held.source_file])
        if death.error is not None and self._holdings.holds(held):
            _log.warning("the renderer died", extra=_about(held) | {"reason": death.error.reason})
        self._finish(held, outcome.ended(held.item.lease, death))

    def _pass_on(self, held: Held, reply: RenderReply, files: list[int]) -> None:
        """Have thumbnails stored, or report why there are none."""
        lease = held.item.lease
        if reply.error is not None:
            _log.info("failed", extra=_about(held) | {"reason": reply.error.reason, "detail": reply.detail})
            error = error_classes().get(reply.error.reason, RenderError)(reply.error.message)
            self._finish(held, outcome.failed(lease, error, retry=reply.retry, seconds=reply.seconds))
            return
        assert reply.source is not None
        pictures = tuple(zip(reply.pictures, files, strict=True))
        with self._state:
            if self._holdings.holds(held) and held.stage is Stage.RENDERING:
                held.stage = Stage.STORING
                self._to_store.put(_Made(held, reply.source, pictures, reply.seconds))
                self._state.notify_all()
                return
        _close(files)

    def _replace(self, seat: _Seat) -> int:
        """End the seat's renderer and put a new one there; gives the wait status of the old one.

        What is still in its hand waits again, for the new one. The caller holds `seat.changing`.
        """
        status = self._nursery.reap(seat.renderer)
        seat.renderer = self._nursery.spawn(self._settings.renderer_bytes)
        seat.owner = None
        with self._state:
            while seat.in_hand:
                held = seat.in_hand.pop()
                held.stage = Stage.READY if held.stage is Stage.RENDERING else held.stage
                self._ready.appendleft(held)
            self._state.notify_all()
        return status

    def _kill_for_nobody(self, seat: _Seat) -> None:
        """Kill the renderer of an item that nobody wants; `_collect` sees that and makes another."""
        if seat.in_hand and not self._holdings.holds(seat.in_hand[0]):
            try:
                self._nursery.kill(seat.renderer)
            except NurseryLost:
                self._lost = True

    # ---- thumbnails ------------------------------------------------------------------------

    def _put(self) -> None:
        while True:
            made = self._to_store.get()
            lease = made.held.item.lease
            try:
                outputs = tuple(
                    self._put_one(made, index, picture, file)
                    for index, (picture, file) in enumerate(made.pictures)
                )
                result = Result(lease, made.source, outputs, render_seconds=made.seconds)
                _log.debug("rendered", extra=_about(made.held) | {"seconds": round(made.seconds, 4)})
            except ThumbnailsError as error:
                if isinstance(error, Unavailable):
                    _log.warning("the thumbnails could not be stored", extra=_about(made.held))
                retry = not isinstance(error, SourceError)
                result = outcome.failed(lease, error, retry=retry, seconds=made.seconds)
            finally:
                _close([file for _picture, file in made.pictures])
            self._finish(made.held, result)

    def _put_one(self, made: _Made, index: int, picture: Picture, file: int) -> RenderedOutput:
        wanted, limit = made.held.item.outputs[index], made.held.item.limits.output_bytes
        size = os.fstat(file).st_size
        if size > limit:  # the object store would refuse it, without a word that helps
            raise OutputTooLarge(
                f"Output '{wanted.output.name}' would have {size} bytes; at most {limit} are allowed."
            )
        with self._state:
            if not self._holdings.holds(made.held):
                raise Cancelled
        values = {
            "width": str(picture.width),
            "height": str(picture.height),
            "frames": str(picture.frames),
            "thumbhash": picture.thumbhash,
            "source": json.dumps(made.source.to_manifest(), separators=(",", ":")),
        }
        fields = {f"x-amz-meta-{keys.META_PREFIX}{name}": values[name] for name in keys.META_NAMES}
        etag = self._store.put(wanted.upload, {"Content-Type": picture.content_type, **fields}, file, size)
        return RenderedOutput(
            wanted.object_key,
            picture.width,
            picture.height,
            picture.frames,
            size,
            picture.content_type,
            etag,
            picture.thumbhash,
        )

    # ---- common ----------------------------------------------------------------------------

    def _finish(self, held: Held, result: Result) -> None:
        with self._state:
            self._holdings.finish(held, result)
            self._state.notify_all()

    def _start(self, name: str, life: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                life()
            except Exception:  # noqa: BLE001 - whatever it is, the worker ends
                # A worker that lacks a thread would hold items and never finish them.
                _log.exception("the thread '%s' failed", name)
                self._failed = True

        threading.Thread(target=guarded, name=name, daemon=True).start()


def _check_reply(reply: RenderReply, files: int, outputs: int) -> None:
    """Raise ValueError unless the reply is whole: a failure, or everything that was asked for."""
    if reply.error is None and not (reply.source and len(reply.pictures) == files == outputs):
        raise ValueError("pictures are missing")
    if reply.error is not None and files:
        raise ValueError("a failure with pictures")


def _about(held: Held) -> dict[str, object]:
    item = held.item
    about: dict[str, object] = {"job": f"{item.namespace}/{item.job_name}", "lease": item.lease}
    trace = TraceContext.parse(item.traceparent)
    return about | ({"traceId": trace.trace_id} if trace else {})


def _close(files: Iterable[int | None]) -> None:
    for file in files:
        if file is not None:
            os.close(file)
