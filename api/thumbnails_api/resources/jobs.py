"""`/jobs`: what became of uploads, one by one and in pages, and the end of them."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import falcon

from thumbnails_api.answers import write_json
from thumbnails_api.catalogue import Catalogue
from thumbnails_api.deletion import Deletion
from thumbnails_api.job_json import job_document
from thumbnails_api.options import check_names, parse_query
from thumbnails_api.pages import decode_cursor, encode_cursor, parse_batch, parse_limit, parse_statuses
from thumbnails_api.waiting import Waiting, applied, parse_wait
from thumbnails_contract.errors import InvalidOption, JobNotFound, NoJobs

_PARAMETERS: Final = ("status", "batch", "limit", "cursor")


@dataclass(frozen=True, slots=True)
class Jobs:
    """`GET /jobs`."""

    jobs: Catalogue

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """An array, newest first; 404 only when the caller has no job at all."""
        pairs = parse_query(req.query_string)
        check_names((name for name, _ in pairs), _PARAMETERS)
        query = dict(pairs)
        if len(query) < len(pairs):
            raise InvalidOption("A query parameter was given more than once.")
        cursor = query.get("cursor")
        page = self.jobs.page(
            req.context.caller,
            phases=parse_statuses(query.get("status")),
            batch=parse_batch(query.get("batch")),
            limit=parse_limit(query.get("limit")),
            before=decode_cursor(cursor) if cursor is not None else None,
        )
        if page is None:
            raise NoJobs
        if page.next is not None:
            following = query | {"cursor": encode_cursor(page.next)}
            resp.append_link(f"/jobs?{urlencode(following)}", "next")
        write_json(resp, [job_document(job) for job in page.jobs])

    on_head = on_get


@dataclass(frozen=True, slots=True)
class Job:
    """`GET` and `DELETE /jobs/{id}`."""

    jobs: Catalogue
    deletion: Deletion
    waiting: Waiting

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        """The job; with `Prefer: wait`, when it has ended."""
        job = self.jobs.get(req.context.caller, job_id)
        if job is None:
            raise JobNotFound
        (job,), applied = self.waiting.wait([job], req.get_header("Prefer"))
        write_json(resp, job_document(job), applied)

    on_head = on_get

    def on_delete(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        """Delete the job, with its original and its thumbnails.

        204: nothing of it can be had any more. With `Prefer: wait`, once its objects are gone as well; 202
        when that takes longer.
        """
        caller, prefer = req.context.caller, req.get_header("Prefer")
        self.deletion.delete(caller, job_id, again=parse_wait(prefer) is not None)
        resp.status = falcon.HTTP_204
        with self.waiting.place(prefer) as seconds:
            if seconds is None:
                return
            resp.set_header("Preference-Applied", applied(seconds))
            if not self.deletion.wait(caller, job_id, seconds):
                write_json(resp, {"id": job_id})
                resp.status = falcon.HTTP_202
