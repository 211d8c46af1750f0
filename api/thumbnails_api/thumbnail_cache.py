"""Keeps the thumbnails that are asked for most in memory, for `/thumbnails/{id}`: bounded, the latest ones.

It knows nothing of jobs or accounts: who may see a thumbnail is decided before it is asked.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from .settings import ApiSettings


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What there is now, and what has happened since the start."""

    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int


class ThumbnailCache:
    """May be used from any thread. Both limits hold at any time; `max_bytes` 0 keeps nothing.

    An entry is the whole file of an object as it was under this ETag, so it is never out of date: an object
    that was written anew has another ETag.
    """

    def __init__(self, *, max_bytes: int, max_entries: int, max_entry_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._max_entry_bytes = min(max_entry_bytes, max_bytes)
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[str, bytes]] = OrderedDict()  # ETag and file, by object key
        self._bytes = 0
        self._hits = self._misses = self._evictions = 0

    @classmethod
    def of(cls, settings: ApiSettings) -> Self:
        """With the limits of the settings."""
        return cls(
            max_bytes=settings.cache_bytes,
            max_entries=settings.cache_entries,
            max_entry_bytes=settings.cache_entry_bytes,
        )

    def takes(self, size: int) -> bool:
        """Whether a file of so many bytes would be kept."""
        return 0 < size <= self._max_entry_bytes

    def get(self, object_key: str, etag: str, size: int) -> bytes | None:
        """The file, if it is here. Files that would not be kept are no misses."""
        with self._lock:
            entry = self._entries.get(object_key)
            if entry is not None and entry[0] == etag:
                self._entries.move_to_end(object_key)
                self._hits += 1
                return entry[1]
            if self.takes(size):
                self._misses += 1
            return None

    def put(self, object_key: str, etag: str, file: bytes) -> None:
        """Keep the file, and let go of those that nobody has asked for the longest."""
        if not self.takes(len(file)):
            return
        with self._lock:
            self._drop(object_key)
            self._entries[object_key] = etag, file
            self._bytes += len(file)
            while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
                self._drop(next(iter(self._entries)))
                self._evictions += 1

    def erase(self, object_keys: Iterable[str]) -> None:
        """Let go of these: who they belonged to is gone."""
        with self._lock:
            for object_key in object_keys:
                self._drop(object_key)

    def stats(self) -> CacheStats:
        """For the metrics."""
        with self._lock:
            return CacheStats(len(self._entries), self._bytes, self._hits, self._misses, self._evictions)

    def _drop(self, object_key: str) -> None:
        entry = self._entries.pop(object_key, None)
        if entry is not None:
            self._bytes -= len(entry[1])
