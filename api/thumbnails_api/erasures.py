"""Has an account erased with all it has: writes down that it is to be, and takes no uploads until it is done.

The operator does the work (`eraser.py` there). What matters here is the order. The mark is in the object
store before the request is answered, so whatever crashes, somebody goes on. Every replica looks for marks
before it takes an upload; that there is none it believes for `KNOWN_SECONDS`, and a request for an erasure is
answered after that time: then no replica takes uploads any more that would be erased. One that was under way
is erased as well: the operator goes on for longer than an upload takes from its last look to its job.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from thumbnails_common.documents import write_document
from thumbnails_common.erasure import Erasure, InvalidErasure, read_erasure
from thumbnails_common.objectstore import NoSuchObject, ObjectExists, ObjectStore
from thumbnails_contract.errors import AccountBeingErased
from thumbnails_contract.keys import erasure_key

from .accounts import Caller

log = logging.getLogger(__name__)

KNOWN_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 5
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Erasures:
    """May be used from any thread."""

    objects: ObjectStore
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # Until when it is believed that an account is not being erased.
    _free_until: "OrderedDict[Caller, float]" = field(default_factory=OrderedDict)

    def request(self, caller: Caller) -> Erasure:
        """Have the account erased; one that is under way already is this one. Raises Unavailable."""
        erasure = Erasure(caller.namespace, caller.account, self.new_id(), self.clock())
        try:
            write_document(self.objects, erasure.key, erasure.to_bytes(), only_if_absent=True)
        except ObjectExists:
            running = self._read(caller, done=False)
            # None: it has come to its end at this very moment.
            return running or self._read(caller, done=True) or erasure
        finally:
            self._forget(caller)
        log.info("the account %s of %s is to be erased: %s", caller.account, caller.namespace, erasure.id)
        self.sleep(KNOWN_SECONDS)
        return erasure

    def last(self, caller: Caller) -> Erasure | None:
        """The erasure that is under way, or the last one that came to its end. Raises Unavailable."""
        return self._read(caller, done=False) or self._read(caller, done=True)

    def check(self, caller: Caller) -> None:
        """Raise AccountBeingErased; Unavailable when that cannot be known."""
        now = self.monotonic()
        with self._lock:
            if self._free_until.get(caller, now) > now:
                return
        try:
            self.objects.head(erasure_key(caller.namespace, caller.account))
        except NoSuchObject:
            with self._lock:
                self._free_until[caller] = now + KNOWN_SECONDS
                self._free_until.move_to_end(caller)
                while len(self._free_until) > _REMEMBERED:
                    self._free_until.popitem(last=False)
            return
        raise AccountBeingErased(retry_after_seconds=RETRY_SECONDS)

    def _forget(self, caller: Caller) -> None:
        with self._lock:
            self._free_until.pop(caller, None)

    def _read(self, caller: Caller, *, done: bool) -> Erasure | None:
        try:
            return read_erasure(self.objects, erasure_key(caller.namespace, caller.account, done=done))
        except InvalidErasure:
            log.warning("what is kept of an erasure of %s cannot be read", caller.account)
            return None
