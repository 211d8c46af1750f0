"""The REST API in Python: one method a request, for programs and for the command `thumbnails`.

Uploads and downloads are streamed. What failed for a reason that may pass (no connection, 429, 502, 503, 504)
is tried again; an upload carries an `Idempotency-Key`, so that one whose answer was lost makes no second job.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import requests
from requests.adapters import HTTPAdapter
from requests_toolbelt.multipart.encoder import MultipartEncoder, MultipartEncoderMonitor
from urllib3.util.retry import Retry

DEFAULT_URL: Final = "http://localhost:3000"
DEFAULT_TRIES: Final = 5
_BACKOFF_SECONDS: Final = 0.5
_LONGEST_BACKOFF_SECONDS: Final = 30.0
_MAY_PASS: Final = frozenset({429, 502, 503, 504})
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 120.0
_CHUNK_BYTES: Final = 1 << 16
_LONGEST_POLL_SECONDS: Final = 20.0
_PAGE: Final = 100
FINISHED: Final = frozenset({"complete", "failed", "cancelled"})


class ClientError(Exception):
    """What a request may end with; the message is fit for people."""


class NotAnswered(ClientError):
    """The server was not reached, or did not answer in HTTP, however often it was tried."""


class TimedOut(ClientError):
    """A job has not ended in the time that `wait` was given."""


class Problem(ClientError):
    """The server's refusal: an RFC 9457 problem document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(document.get("reason") or f"HTTP {status}")
        self.title = str(document.get("title") or "")
        self.detail = str(document.get("detail") or "")
        super().__init__(f"{self.reason}: {self.detail or self.title}".rstrip(": "))


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the server describes it; `document` is all of it."""

    id: str
    status: str  # pending, processing, complete, failed, cancelled
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """From the server's JSON."""
        return cls(str(document["id"]), str(document["status"]), document)

    @property
    def finished(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.status in FINISHED

    @property
    def file_name(self) -> str | None:
        """What the picture was called when it was uploaded."""
        return self.document.get("fileName")

    @property
    def error(self) -> str | None:
        """Why it failed, in one line."""
        error = self.document.get("error")
        return f"{error['reason']}: {error['message']}" if error else None

    @property
    def outputs(self) -> list[Mapping[str, Any]]:
        """Its thumbnails, when it is complete."""
        return list(self.document.get("outputs") or [])


class Client:
    """A server, and the account whose key it is. May be shared by threads."""

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None, *, tries: int = DEFAULT_TRIES) -> None:
        self.url = url.rstrip("/")
        self._tries = max(1, tries)
        self._session = requests.Session()
        retry = Retry(
            total=self._tries - 1,
            backoff_factor=_BACKOFF_SECONDS,
            backoff_max=_LONGEST_BACKOFF_SECONDS,
            status_forcelist=_MAY_PASS,
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        # POST is not in Retry's methods: its body has to be read again from the start, see `put`.
        self._session.mount(self.url, HTTPAdapter(max_retries=retry, pool_maxsize=32))
        self._session.auth = _Bearer(key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def put(
        self,
        picture: str | Path | BinaryIO,
        *,
        file_name: str | None = None,
        idempotency_key: str | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Any,
    ) -> Job:
        """Upload a picture: a path, or a seekable binary file. `options` are the API's (`width=320`).

        `progress` is called with the number of bytes that were sent since the last call (negative when it
        begins anew). Raises Problem, NotAnswered, OSError.
        """
        if isinstance(picture, str | Path):
            with Path(picture).open("rb") as file:
                return self.put(
                    file,
                    file_name=file_name or Path(picture).name,
                    idempotency_key=idempotency_key,
                    progress=progress,
                    **options,
                )
        fields = {name: _text(value) for name, value in options.items() if value is not None}
        headers = {"Idempotency-Key": f'"{idempotency_key or uuid.uuid4()}"'}
        start = picture.tell()
        for attempt in range(1, self._tries + 1):
            picture.seek(start)
            body = MultipartEncoder(
                {**fields, "image": (file_name or "image", picture, "application/octet-stream")}
            )
            counted = _Counted(body, progress)
            try:
                answer = self._session.post(
                    f"{self.url}/images",
                    data=counted.monitor,
                    headers={**headers, "Content-Type": body.content_type},
                    timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                )
            except requests.RequestException as error:
                counted.undo()
                if attempt == self._tries or isinstance(error, requests.exceptions.InvalidURL):
                    raise self._not_answered(error) from error
                time.sleep(_pause(attempt, None))
                continue
            if (answer.status_code in _MAY_PASS or _is_in_flight(answer)) and attempt < self._tries:
                counted.undo()
                time.sleep(_pause(attempt, answer.headers.get("Retry-After")))
                continue
            return Job.parse(_json(answer))
        raise AssertionError("unreachable")  # pragma: no cover

    def job(self, job_id: str, *, wait_seconds: float = 0) -> Job:
        """One job; with `wait_seconds`, as soon as it has ended. Raises Problem (404 when there is none)."""
        prefer = {"Prefer": f"wait={int(wait_seconds)}"} if wait_seconds >= 1 else {}
        return Job.parse(_json(self._request("GET", f"/jobs/{job_id}", headers=prefer)))

    def wait(self, job_id: str, timeout_seconds: float | None = None) -> Job:
        """The job when it has ended. Raises TimedOut."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause = 0.05
        while True:
            left = _LONGEST_POLL_SECONDS if deadline is None else deadline - time.monotonic()
            began = time.monotonic()
            job = self.job(job_id, wait_seconds=min(_LONGEST_POLL_SECONDS, max(0.0, left)))
            if job.finished:
                return job
            if left <= 0:
                raise TimedOut(f"The job {job_id} is {job.status} after {timeout_seconds:g} s.")
            if time.monotonic() - began < 1:  # the server has no place for one more who waits
                time.sleep(min(pause, max(0.0, left)))
                pause = min(pause * 2, 2.0)

    def jobs(self, *, status: str | None = None) -> Iterator[Job]:
        """The account's jobs, newest first; pages are asked for as they are needed."""
        path: str | None = "/jobs"
        params: Mapping[str, str] | None = {"limit": str(_PAGE)} | ({"status": status} if status else {})
        while path is not None:
            try:
                answer = self._request("GET", path, params=params)
                documents = _json(answer)
            except Problem as problem:
                if problem.reason == "NoJobs":
                    return
                raise
            yield from map(Job.parse, documents)
            path, params = answer.links.get("next", {}).get("url"), None

    def get(
        self,
        job_id: str,
        target: str | Path | BinaryIO,
        *,
        output: str | None = None,
        format: str | None = None,  # noqa: A002 - the API's word
    ) -> str:
        """Write a thumbnail to a file, whole or not at all; its content type."""
        path = f"/thumbnails/{job_id}" + (f"/{output}" if output else "")
        answer = self._request("GET", path, params={"format": format} if format else None, stream=True)
        with answer:
            if not answer.ok:
                raise _problem(answer)
            try:
                if isinstance(target, str | Path):
                    _write_whole(Path(target), answer.iter_content(_CHUNK_BYTES))
                else:
                    for chunk in answer.iter_content(_CHUNK_BYTES):
                        target.write(chunk)
            except requests.RequestException as error:
                raise self._not_answered(error) from error
            return str(answer.headers.get("Content-Type", ""))

    def remove(self, job_id: str) -> None:
        """Delete a job, with its original and its thumbnails. Raises Problem (404 when there is none)."""
        answer = self._request("DELETE", f"/jobs/{job_id}")
        if not answer.ok:
            raise _problem(answer)

    def _request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        try:
            return self._session.request(
                method, self.url + path, timeout=(_CONNECT_SECONDS, _READ_SECONDS), **arguments
            )
        except requests.RequestException as error:
            raise self._not_answered(error) from error

    def _not_answered(self, error: requests.RequestException) -> NotAnswered:
        return NotAnswered(f"{self.url} does not answer ({type(error).__name__}).")


class _Bearer(requests.auth.AuthBase):
    """Shows the key, if there is one; a .netrc does not take its place."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class _Counted:
    """A body that tells how much of it was read."""

    def __init__(self, body: MultipartEncoder, progress: Callable[[int], None] | None) -> None:
        self._told = 0
        self._progress = progress
        self.monitor = MultipartEncoderMonitor(body, self._on_read)

    def undo(self) -> None:
        """All of it will be sent again."""
        if self._progress is not None:
            self._progress(-self._told)
        self._told = 0

    def _on_read(self, monitor: MultipartEncoderMonitor) -> None:
        if self._progress is not None:
            self._progress(monitor.bytes_read - self._told)
        self._told = monitor.bytes_read


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pause(attempt: int, retry_after: str | None) -> float:
    if retry_after is not None and retry_after.isdecimal():
        return min(float(retry_after), _LONGEST_BACKOFF_SECONDS)
    return float(min(_BACKOFF_SECONDS * 2 ** (attempt - 1), _LONGEST_BACKOFF_SECONDS))


def _is_in_flight(answer: requests.Response) -> bool:
    """Whether an earlier try of this upload, whose answer was lost, is still being worked on."""
    return answer.status_code == requests.codes.conflict and "Retry-After" in answer.headers


def _json(answer: requests.Response) -> Any:
    if not answer.ok:
        raise _problem(answer)
    try:
        return answer.json()
    except ValueError as error:
        raise NotAnswered(f"{answer.url} does not answer as the thumbnail service does.") from error


def _problem(answer: requests.Response) -> Problem:
    try:
        document = answer.json()
    except ValueError:
        document = None
    return Problem(answer.status_code, document if isinstance(document, dict) else {})


def _write_whole(target: Path, chunks: Iterator[bytes]) -> None:
    """Under another name until it is all there."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
