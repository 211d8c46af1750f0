"""`/events` and `/jobs/{id}/events`: what happens to jobs, as Server-Sent Events (WHATWG HTML 9.2).

Each answer is short: what happened since `Last-Event-ID`, and `retry:` says when to come again, as every
EventSource does by itself. So followers hold no thread; a few of them are held until something happens.
"""

import re
import threading
from dataclasses import dataclass, field
from typing import Any, Final

import falcon

from thumbnails_api.answers import json_body
from thumbnails_api.catalogue import Catalogue
from thumbnails_api.job_cache import JobCache, News, version_of
from thumbnails_api.job_json import job_document
from thumbnails_contract.errors import JobNotFound

EVENT_STREAM: Final = "text/event-stream"
# Milliseconds until a follower comes again: soon while something is being made.
_RETRY, _IDLE_RETRY = 1_000, 5_000
_HELD_SECONDS: Final = 10.0
_EVENT_ID = re.compile(r"[0-9]{1,20}", re.ASCII)


class Following:
    """Holds a few followers until something happens; the others are answered at once."""

    def __init__(self, jobs: JobCache, max_requests: int) -> None:
        self._jobs = jobs
        self._places = threading.Semaphore(max_requests)

    def news(self, req: falcon.Request, after: int | None) -> News:
        """What happened to the caller's jobs since then."""
        held = after is not None and self._places.acquire(blocking=False)
        try:
            return self._jobs.news(req.context.caller, after, _HELD_SECONDS if held else 0.0)
        finally:
            if held:
                self._places.release()


@dataclass(frozen=True, slots=True)
class Events:
    """`GET /events`: all jobs of the caller, from now on, or from `Last-Event-ID` on."""

    jobs: Catalogue
    following: Following

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """`job` with the job as it is, `deleted` with its id, `reset` when too much was missed."""
        news = self.following.news(req, last_event_id(req))
        stream = _Stream(_RETRY if news.unfinished else _IDLE_RETRY)
        if news.items is None:
            stream.add("reset", {}, news.version)
        for version, name, job in news.items or ():
            if job is None:
                # For clients, a job that has become history is what it was.
                if not self.jobs.is_history(req.context.caller, name):
                    stream.add("deleted", {"id": name}, version)
            else:
                stream.add("job", job_document(job), version)
        stream.answer(resp, news.version)


@dataclass(frozen=True, slots=True)
class JobEvents:
    """`GET /jobs/{id}/events`: one job, as it is and whenever it changes, until it has ended."""

    jobs: Catalogue
    following: Following

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        """204, which ends an EventSource, once the follower has seen the end. Raises JobNotFound."""
        after = last_event_id(req)
        job = self.jobs.get(req.context.caller, job_id)
        if job is not None and after is not None and after >= version_of(job) and not job.status.finished:
            self.following.news(req, after)
            job = self.jobs.get(req.context.caller, job_id)
        if job is None:
            raise JobNotFound
        seen = after is not None and after >= version_of(job)
        if seen and job.status.finished:
            resp.status = falcon.HTTP_204
            resp.set_header("Cache-Control", "no-store")
            return
        stream = _Stream(_RETRY)
        if not seen:
            stream.add("job", job_document(job), version_of(job))
        stream.answer(resp, version_of(job))


def last_event_id(req: falcon.Request) -> int | None:
    """Where the follower is; -1 for what we never said, None when it begins."""
    text = req.get_header("Last-Event-ID")
    if not text:
        return None
    return int(text) if _EVENT_ID.fullmatch(text) else -1


@dataclass(slots=True)
class _Stream:
    """The body of an answer."""

    retry_milliseconds: int
    _parts: list[str] = field(default_factory=list)

    def add(self, event: str, data: dict[str, Any], version: int) -> None:
        text = json_body(data).decode()  # one line: JSON escapes breaks
        self._parts.append(f"id: {version}\nevent: {event}\ndata: {text}\n\n")

    def answer(self, resp: falcon.Response, version: int) -> None:
        # The last line moves the follower on, also past changes of others.
        body = f"retry: {self.retry_milliseconds}\n\n{''.join(self._parts)}id: {version}\n\n"
        resp.data = body.encode()
        resp.content_type = EVENT_STREAM
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Accel-Buffering", "no")
