"""Finds the pictures that paths name, and uploads many of them at once, for `thumbnails put`."""

import glob
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .client import Client, Job
from .errors import ClientError, NotAnswered, Problem
from .journal import Journal, recipe_of

# What is taken from a folder; a file that is named is uploaded whatever it is called.
SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff"}
)
_NOT_FOUND: Final = 404


class NothingFound(ClientError):
    """A path that names no file, or a folder or pattern without pictures."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: a job, or why there is none. `known`: it was uploaded before."""

    path: Path
    job: Job | None = None
    error: ClientError | None = None
    known: bool = False


def find_pictures(arguments: Iterable[str]) -> list[Path]:
    """Named files, pictures below folders, what patterns match: each once. Raises NothingFound."""
    found: dict[Path, None] = {}
    for argument in arguments:
        named = Path(argument)
        places = [named] if named.exists() else _matches(argument)
        files = [file for place in places for file in _files_of(place)]
        if not files:
            raise NothingFound(f"{argument}: no picture is there.")
        found.update(dict.fromkeys(files))
    return list(found)


def _matches(pattern: str) -> list[Path]:
    # Not Path.glob: a pattern may be absolute.
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def _files_of(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for file in sorted(place.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(place).parts)
        if not hidden and file.suffix.lower() in SUFFIXES and file.is_file():
            yield file


class Uploader:
    """Uploads files in threads; what was uploaded before, and is still there, is not sent again.

    A server that is away, or does not take the key, ends it: the other files would fare no better.
    """

    def __init__(
        self,
        client: Client,
        journal: Journal,
        options: Mapping[str, Any],
        *,
        key: str | None,
        again: bool = False,
        progress: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._options = dict(options)
        self._key = key
        self._again = again
        self._progress = progress
        self._stopped = threading.Event()

    def run(self, paths: Iterable[Path], *, parallel: int) -> Iterator[Outcome]:
        """Outcomes as they come; none of files that were not begun because it ended early."""
        with ThreadPoolExecutor(parallel, thread_name_prefix="upload") as pool:
            futures: list[Future[Outcome | None]] = [pool.submit(self._upload, path) for path in paths]
            try:
                for future in as_completed(futures):
                    outcome = future.result()
                    if outcome is not None:
                        yield outcome
            finally:
                self._stopped.set()
                for future in futures:
                    future.cancel()

    def _upload(self, path: Path) -> Outcome | None:
        if self._stopped.is_set():
            return None
        try:
            return self._put(path)
        except ClientError as error:
            if self._is_hopeless(error):
                self._stopped.set()
            return Outcome(path, error=error)
        except OSError as error:
            return Outcome(path, error=ClientError(error.strerror or type(error).__name__))

    def _is_hopeless(self, error: ClientError) -> bool:
        if isinstance(error, Problem):
            return error.no_access
        return isinstance(error, NotAnswered) and not self._client.alive()

    def _put(self, path: Path) -> Outcome:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            recipe = recipe_of(self._client.url, self._key, digest, self._options)
            entry = self._journal.begin(recipe, again=self._again)
            if entry.job is not None:
                known = self._find(entry.job)
                if known is not None and known.status not in {"failed", "cancelled"}:
                    self._progress(size)
                    return Outcome(path, known, known=True)
                entry = self._journal.begin(recipe, again=True)
            file.seek(0)
            job = self._client.put(
                file,
                file_name=path.name,
                idempotency_key=entry.idempotency_key,
                progress=self._progress,
                **self._options,
            )
        self._journal.finish(entry, job.id)
        return Outcome(path, job)

    def _find(self, job_id: str) -> Job | None:
        try:
            return self._client.job(job_id)
        except Problem as problem:
            if problem.status == _NOT_FOUND:
                return None
            raise
