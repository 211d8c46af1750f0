"""Counts what each account, or address, does in a period, and says it in RateLimit headers.

Periods are fixed windows of the `limits` library: they begin with the first request, and at their end all is
allowed again. With a storage in memory each replica counts for itself; with a shared one, all count together.
While a shared storage is away each replica counts for itself again: a limit must not take the service down.
"""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from thumbnails_contract.errors import RateLimited, ThumbnailsError

from .accounts import Caller
from .settings import IN_MEMORY

log = logging.getLogger(__name__)

_STORAGE_TIMEOUT_SECONDS: Final = 0.5
# A storage that is away is not asked again before: each request would wait for its timeout.
_AWAY_SECONDS: Final = 5.0
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """So many units in so many seconds; `unit` is a quota unit of the draft below."""

    name: str
    quota: int
    seconds: int
    unit: str = "requests"


@dataclass(frozen=True, slots=True)
class Usage:
    """What is left of a policy's quota after a request, and when it is whole again."""

    policy: Policy
    allowed: bool
    remaining: int
    reset_seconds: int


class Counters:
    """Windows in a storage. `storage` None: in memory, for this process alone."""

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        counted_alone: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`counted_alone` is told of each count that was to be shared and could not be."""
        self._counted_alone = counted_alone
        self._monotonic = monotonic
        self._here = FixedWindowRateLimiter(MemoryStorage())
        self._shared = None if storage is None else FixedWindowRateLimiter(storage)
        self._away_until = -math.inf
        self._is_away = False

    def hit(self, item: RateLimitItem, key: str, cost: int) -> tuple[bool, int, float]:
        """Count `cost`, if there is room: whether there was, how much is left, when (epoch) it is whole."""
        if self._shared is not None and self._monotonic() >= self._away_until:
            try:
                counted = _hit(self._shared, item, key, cost)
            except StorageError as error:
                self._away_until = self._monotonic() + _AWAY_SECONDS
                # Its text could hold the storage's address with a password.
                self._tell(away=True, why=type(error.storage_error).__name__)
            else:
                self._tell(away=False)
                return counted
        if self._shared is not None:
            self._counted_alone()
        return _hit(self._here, item, key, cost)

    def _tell(self, *, away: bool, why: str = "") -> None:
        """Once for each change."""
        if away and not self._is_away:
            log.warning("the shared counts of rate limits are away (%s): this replica counts alone", why)
        elif self._is_away and not away:
            log.info("the shared counts of rate limits are back")
        self._is_away = away


def _hit(
    limiter: FixedWindowRateLimiter, item: RateLimitItem, key: str, cost: int
) -> tuple[bool, int, float]:
    # A hit that is refused counts as well: one large upload must not use up the room of small ones.
    allowed = (cost == 1 or limiter.test(item, key, cost=cost)) and limiter.hit(item, key, cost=cost)
    stats = limiter.get_window_stats(item, key)
    return allowed, max(0, stats.remaining), stats.reset_time


class Window:
    """One policy, for all accounts."""

    def __init__(self, policy: Policy, counters: Counters) -> None:
        self.policy = policy
        self._counters = counters
        self._item = RateLimitItemPerSecond(
            policy.quota, policy.seconds, namespace=f"thumbnails-{policy.name}"
        )
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def hit(self, key: str, cost: int = 1) -> Usage:
        """Count a request of this account, or address."""
        allowed, remaining, reset = self._counters.hit(self._item, key, cost)
        with self._lock:
            self._known[key] = (remaining, reset)
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return self._usage(allowed, remaining, reset)

    def glance(self, key: str, cost: int = 1) -> Usage | None:
        """Without counting or asking: what refuses such a request for certain, or None.

        Within a window what is left only shrinks, so what was seen last is enough to say no.
        """
        remaining, reset = self._known.get(key, (cost, 0.0))
        if remaining >= cost or reset <= time.time():
            return None
        return self._usage(False, remaining, reset)

    def _usage(self, allowed: bool, remaining: int, reset: float) -> Usage:
        return Usage(self.policy, allowed, remaining, max(1, math.ceil(reset - time.time())))


class RequestLimit:
    """Requests of an account in a period; without a window there is no limit."""

    def __init__(self, window: Window | None = None) -> None:
        self._window = window

    def charge(self, caller: Caller, usages: MutableSequence[Usage]) -> None:
        """Count a request. Raises RateLimited."""
        if self._window is not None:
            usages.append(self._window.hit(key_of(caller)))
            refuse(usages[-1])

    def glance(self, caller: Caller) -> None:
        """Raise RateLimited for a request that `charge` would refuse for certain; counts nothing."""
        usage = None if self._window is None else self._window.glance(key_of(caller))
        if usage is not None:
            refuse(usage)


class FailedLogins:
    """Failed logins of an address in a minute; each replica counts its own."""

    def __init__(self, per_minute: int) -> None:
        policy = Policy("failed-logins", per_minute, 60)
        self._window = Window(policy, Counters()) if per_minute else None

    def check(self, address: str) -> None:
        """Raise RateLimited when this address had too many: before somebody else is asked about another."""
        usage = None if self._window is None else self._window.glance(address)
        if usage is not None:
            refuse(usage)

    def failed(self, address: str) -> None:
        """Count one. Raises RateLimited when it was one too many."""
        if self._window is not None:
            refuse(self._window.hit(address))


def refuse(usage: Usage, error: type[ThumbnailsError] = RateLimited, message: str = "") -> None:
    """Raise the error when there was no room."""
    if not usage.allowed:
        raise error(message, retry_after_seconds=usage.reset_seconds)


def key_of(caller: Caller) -> str:
    """What the counts of an account are kept under. Neither part has a slash."""
    return f"{caller.namespace}/{caller.account}"


def headers_of(usages: Iterable[Usage]) -> list[tuple[str, str]]:
    """`RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers-10 has them."""
    policies, limits = [], []
    for usage in usages:
        policy = usage.policy
        unit = "" if policy.unit == "requests" else f';qu="{policy.unit}"'
        policies.append(f'"{policy.name}";q={policy.quota};w={policy.seconds}{unit}')
        limits.append(f'"{policy.name}";r={usage.remaining};t={usage.reset_seconds}')
    if not policies:
        return []
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(limits))]


def open_storage(uri: str) -> Storage | None:
    """The storage at an address of the `limits` library; None for memory.

    Raises ValueError, whose text does not repeat the address: it may hold a password.
    """
    if uri == IN_MEMORY:
        return None
    scheme = uri.partition(":")[0]
    # Of all its storages Redis has timeouts by these names.
    timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), _STORAGE_TIMEOUT_SECONDS)
    try:
        options = timeouts if scheme.startswith("redis") else {}
        storage = storage_from_string(uri, wrap_exceptions=True, **options)
    except ConfigurationError:
        raise ValueError(
            "must be memory:// or an address such as redis://host:6379/0, with its client installed"
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever a client of a storage says may hold the address
        raise ValueError(f"is no address that can be used ({type(error).__name__})") from None
    assert isinstance(storage, Storage)
    return storage
