"""The REST API in Python: one method a request, for programs and for the command `thumbnails`.

Uploads and downloads are streamed. What failed for a reason that may pass (no connection, 429, 502, 503, 504)
is tried again, when the server says so if it does; an upload carries an `Idempotency-Key`, so that one whose
answer was lost makes no second job; a download goes on where it was.
"""

import ssl
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
from urllib3.exceptions import NameResolutionError

from .downloads import Part, open_part
from .errors import ClientError, NotAnswered, Problem, TimedOut

DEFAULT_URL: Final = "http://localhost:3000"
DEFAULT_TRIES: Final = 5
DEFAULT_LONGEST_WAIT_SECONDS: Final = 600.0
_BACKOFF_SECONDS: Final = 0.5
_LONGEST_BACKOFF_SECONDS: Final = 30.0
_MAY_PASS: Final = frozenset({429, 502, 503, 504})
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 120.0
_CHUNK_BYTES: Final = 1 << 16
_LONGEST_POLL_SECONDS: Final = 20.0
_PAGE: Final = 100
FINISHED: Final = frozenset({"complete", "failed", "cancelled"})


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
    """A server, and the account whose key it is. May be shared by threads.

    `on_wait` is called with seconds, and why, before a request is tried again. A server that asks to wait
    longer than `longest_wait_seconds` is believed: the request fails.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        tries: int = DEFAULT_TRIES,
        longest_wait_seconds: float = DEFAULT_LONGEST_WAIT_SECONDS,
        on_wait: Callable[[float, ClientError], None] = lambda _seconds, _why: None,
    ) -> None:
        self.url = url.rstrip("/")
        self._tries = max(1, tries)
        self._longest_wait_seconds = longest_wait_seconds
        self._on_wait = on_wait
        self._session = requests.Session()
        self._session.mount(self.url, HTTPAdapter(pool_maxsize=32))
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
        sent = _Sent(progress)

        def attempt() -> requests.Response:
            sent.begin()
            picture.seek(start)
            body = MultipartEncoder(
                {**fields, "image": (file_name or "image", picture, "application/octet-stream")}
            )
            return self._session.post(
                f"{self.url}/images",
                data=MultipartEncoderMonitor(body, sent.on_read),
                headers={**headers, "Content-Type": body.content_type},
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            )

        return Job.parse(_json(self._persist(attempt)))

    def alive(self) -> bool:
        """Whether the server answers at all; it is asked once."""
        try:
            self._session.get(f"{self.url}/healthz", timeout=_CONNECT_SECONDS)
        except requests.RequestException:
            return False
        return True

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
        """Write a thumbnail to a file, whole or not at all; its content type.

        What has come of a file when the connection breaks, or this process ends, is kept beside it: the
        next call for the same file goes on from there. Raises Problem (404: there is none yet), NotAnswered,
        OSError.
        """
        path = f"/thumbnails/{job_id}" + (f"/{output}" if output else "")
        return self._download(path + (f"?format={format}" if format else ""), target)

    def original(self, job_id: str, target: str | Path | BinaryIO) -> str:
        """The same for the picture that was uploaded, while it is kept."""
        return self._download(f"/images/{job_id}", target)

    def check(self) -> None:
        """Raises Problem (401) when the server does not take the key, NotAnswered when it is not there."""
        answer = self._request("GET", "/presets")
        if not isinstance(_json(answer), dict):
            raise NotAnswered(f"{self.url} does not answer as the thumbnail service does.")

    def remove(self, job_id: str) -> None:
        """Delete a job, with its original and its thumbnails. Raises Problem (404 when there is none)."""
        answer = self._request("DELETE", f"/jobs/{job_id}")
        if not answer.ok:
            raise _problem(answer)

    def _download(self, path: str, target: str | Path | BinaryIO) -> str:
        if isinstance(target, str | Path):
            try:
                with open_part(Path(target), self.url + path) as part:
                    content_type = self._fetch(path, part)
                    part.finish(Path(target))
                    return content_type
            except BlockingIOError:
                raise ClientError(f"{target} is being downloaded by another process.") from None
        with self._request("GET", path, stream=True) as answer:
            if not answer.ok:
                raise _problem(answer)
            try:
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    target.write(chunk)
            except requests.RequestException as error:
                raise self._not_answered(error) from error
            return str(answer.headers.get("Content-Type", ""))

    def _fetch(self, path: str, part: Part) -> str:
        """All of it that is not there yet; its content type."""
        for tried in range(1, self._tries + 1):
            # Compressed on the way, its bytes could not be counted.
            headers = {"Accept-Encoding": "identity"} | part.headers()
            with self._request("GET", path, stream=True, headers=headers) as answer:
                if answer.status_code == requests.codes.requested_range_not_satisfiable:
                    part.begin("", at=0)
                    continue
                if not answer.ok:
                    raise _problem(answer)
                at = part.size if answer.status_code == requests.codes.partial_content else 0
                part.begin(answer.headers.get("ETag", ""), at=at)
                try:
                    part.extend(answer.iter_content(_CHUNK_BYTES))
                except requests.RequestException as error:
                    why = self._not_answered(error)
                    if tried == self._tries:
                        raise why from error
                    self._wait(_backoff(tried), why)
                else:
                    return str(answer.headers.get("Content-Type", ""))
        raise NotAnswered(f"{self.url} does not give all of it.")

    def _request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        return self._persist(
            lambda: self._session.request(
                method, self.url + path, timeout=(_CONNECT_SECONDS, _READ_SECONDS), **arguments
            )
        )

    def _persist(self, attempt: Callable[[], requests.Response]) -> requests.Response:
        """The answer, which may be a refusal; what may pass is tried again. Raises NotAnswered."""
        tried = 1
        while True:
            try:
                answer = attempt()
            except requests.RequestException as error:
                why: ClientError = self._not_answered(error)
                if tried == self._tries or isinstance(error, requests.exceptions.InvalidURL):
                    raise why from error
                seconds = _backoff(tried)
            else:
                asked = _retry_after(answer)
                seconds = _backoff(tried) if asked is None else asked
                may_pass = answer.status_code in _MAY_PASS or _is_in_flight(answer)
                if not may_pass or tried == self._tries or seconds > self._longest_wait_seconds:
                    return answer
                why = _problem(answer)
            self._wait(seconds, why)
            tried += 1

    def _wait(self, seconds: float, why: ClientError) -> None:
        self._on_wait(seconds, why)
        time.sleep(seconds)

    def _not_answered(self, error: requests.RequestException) -> NotAnswered:
        return NotAnswered(f"{self.url} does not answer ({_cause(error)}).")


class _Bearer(requests.auth.AuthBase):
    """Shows the key, if there is one; a .netrc does not take its place."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class _Sent:
    """Tells how much of a body was read."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self._told = 0
        self._progress = progress or (lambda _count: None)

    def begin(self) -> None:
        """All of it will be sent, perhaps again."""
        if self._told:
            self._progress(-self._told)
        self._told = 0

    def on_read(self, monitor: MultipartEncoderMonitor) -> None:
        self._progress(monitor.bytes_read - self._told)
        self._told = monitor.bytes_read


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _backoff(tried: int) -> float:
    return float(min(_BACKOFF_SECONDS * 2 ** (tried - 1), _LONGEST_BACKOFF_SECONDS))


def _retry_after(answer: requests.Response) -> float | None:
    """In seconds; the service never names a date."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _cause(error: BaseException) -> str:
    """In words, without the library's own."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, NameResolutionError):
            return "there is no host of that name"
        if isinstance(found, ssl.SSLError):
            return "its certificate is not trusted, or it does not speak TLS"
        if isinstance(found, OSError) and found.strerror and not isinstance(found, requests.RequestException):
            return found.strerror.lower()
        reason = getattr(found, "reason", None)
        found = reason if isinstance(reason, BaseException) else _first_error(found.args) or found.__context__
    return "it took too long" if isinstance(error, requests.Timeout) else type(error).__name__


def _first_error(arguments: tuple[object, ...]) -> BaseException | None:
    return next((each for each in arguments if isinstance(each, BaseException)), None)


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
