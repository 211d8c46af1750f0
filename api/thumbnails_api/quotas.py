"""What an account may do: requests and uploaded bytes in a period, and jobs that have not ended."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.errors import JobStoreUnavailable, QuotaExceeded

from .accounts import Caller
from .job_cache import JobCache
from .rate_limits import Counters, Policy, RequestLimit, Usage, Window, key_of, open_storage, refuse
from .settings import ApiSettings

_RETRY_SECONDS = 5


class UploadQuotas:
    """Held by `POST /images`. Without a window, and with no jobs at most, there is no limit."""

    def __init__(self, jobs: JobCache, *, bytes_window: Window | None, max_unfinished_jobs: int) -> None:
        self._jobs = jobs
        self._bytes = bytes_window
        self._max_jobs = max_unfinished_jobs
        # Jobs that are about to be made here: the cache does not know them yet.
        self._reserved: Counter[Caller] = Counter()
        self._lock = threading.Lock()

    def charge_bytes(self, caller: Caller, count: int, usages: MutableSequence[Usage]) -> None:
        """Count bytes of a request, and tell in `usages` how things stand. Raises QuotaExceeded."""
        if self._bytes is not None and count > 0:
            usage = self._bytes.hit(key_of(caller), count)
            usages[:] = [*(other for other in usages if other.policy != usage.policy), usage]
            refuse(usage, QuotaExceeded, "So many bytes may not be uploaded in this period any more.")

    def glance(self, caller: Caller, count: int) -> None:
        """Raise QuotaExceeded for bytes that `charge_bytes` would refuse for certain; counts nothing."""
        usage = None if self._bytes is None else self._bytes.glance(key_of(caller), count)
        if usage is not None:
            refuse(usage, QuotaExceeded, "So many bytes may not be uploaded in this period any more.")

    @contextmanager
    def reserve_jobs(self, caller: Caller, count: int) -> Iterator[None]:
        """Room for so many jobs while they are made. Raises QuotaExceeded.

        Raises JobStoreUnavailable as long as the jobs were not listed: they are not none, after a restart.
        Jobs that other replicas make at the very same time are not seen.
        """
        if not self._max_jobs:
            yield
            return
        if not self._jobs.synced:
            raise JobStoreUnavailable
        with self._lock:
            if self._jobs.count_unfinished(caller) + self._reserved[caller] + count > self._max_jobs:
                raise QuotaExceeded(
                    f"An account may have {self._max_jobs} jobs that have not ended.",
                    retry_after_seconds=_RETRY_SECONDS,
                )
            self._reserved[caller] += count
        try:
            yield
        finally:
            with self._lock:
                self._reserved[caller] -= count
                if not self._reserved[caller]:
                    del self._reserved[caller]


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """All limits of accounts, for the app, which counts, and for the server, which only looks."""

    requests: RequestLimit
    uploads: UploadQuotas

    @classmethod
    def of(
        cls, settings: ApiSettings, jobs: JobCache, *, counted_alone: Callable[[], None] = lambda: None
    ) -> Self:
        """As the settings have them. Raises InvalidSetting for a storage that cannot be used."""
        policies = (
            Policy("requests", settings.rate_limit_requests, settings.rate_limit_seconds),
            Policy(
                "upload-bytes",
                settings.rate_limit_upload_bytes,
                settings.rate_limit_upload_seconds,
                "content-bytes",
            ),
        )
        windows: list[Window | None] = [None, None]
        if any(policy.quota for policy in policies):
            try:
                counters = Counters(open_storage(settings.rate_limit_storage), counted_alone=counted_alone)
            except ValueError as error:
                raise InvalidSetting(f"THUMBNAILS_RATE_LIMIT_STORAGE: {error}") from None
            windows = [Window(policy, counters) if policy.quota else None for policy in policies]
        return cls(
            RequestLimit(windows[0]),
            UploadQuotas(jobs, bytes_window=windows[1], max_unfinished_jobs=settings.max_unfinished_jobs),
        )

    def glance(self, caller: Caller, body_bytes: int) -> None:
        """Raise what would refuse a request with such a body for certain.

        It counts nothing, and asks nobody.
        """
        self.requests.glance(caller)
        self.uploads.glance(caller, body_bytes)
