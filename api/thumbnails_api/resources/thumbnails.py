"""`/thumbnails/{id}`: what became of a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

import falcon
from falcon import mediatypes

from thumbnails_api.catalogue import Catalogue
from thumbnails_api.redirects import Redirects
from thumbnails_api.serving import StoredFile, serve_file
from thumbnails_api.thumbnail_cache import ThumbnailCache
from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_contract.errors import ThumbnailNotFound
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.names import FILE_NAME_ANNOTATION
from thumbnails_contract.status import OutputFacts

# The bytes under this address never change: another picture, or another recipe, is another job.
_CACHE_CONTROL = "private, max-age=31536000, immutable"
_MAX_AGE_SECONDS = 31_536_000


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """`GET /thumbnails/{id}`, and `/thumbnails/{id}/{output}`, with `?format=` to pick one of several."""

    jobs: Catalogue
    objects: ObjectStore
    cache: ThumbnailCache
    redirects: Redirects | None

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, job_id: str, output: str | None = None
    ) -> None:
        """The thumbnail, streamed; the first one unless the request says more.

        Of several formats of one output, without `?format=`, it is what `Accept` says.
        """
        job = self.jobs.get(req.context.caller, job_id)
        format_ = parse_qs(req.query_string, keep_blank_values=True).get("format", [None])[-1]
        candidates = find_outputs(job, output, format_) if job is not None else []
        if job is None or not candidates:
            raise ThumbnailNotFound
        if len(candidates) > 1:
            resp.append_header("Vary", "Accept")
        found = choose(candidates, req.get_header("Accept"))
        file = StoredFile(
            object_key=found.object_key,
            etag=found.etag,
            bytes=found.bytes,
            content_type=found.content_type,
            file_name=thumbnail_file_name(job, found),
            cache_control=cache_control(req.context.link_seconds),
        )
        if req.context.link_seconds is not None:
            # Made to be shown by pages of any site.
            resp.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        if self.redirects is not None and self.redirects.answer(
            req, resp, file, link_seconds=req.context.link_seconds
        ):
            return
        try:
            was_there = self.jobs.holds(job)
            serve_file(req, resp, file, self.objects, self.cache)
            if was_there and not self.jobs.holds(job):
                # It was deleted meanwhile, and erased perhaps before it was put in.
                self.cache.erase([found.object_key])
        except NoSuchObject:
            raise ThumbnailNotFound from None

    on_head = on_get
    on_get_output = on_get
    on_head_output = on_get


def cache_control(link_seconds: int | None) -> str:
    """Who may keep a thumbnail: with a signed link everybody, for as long as it is valid."""
    if link_seconds is None:
        return _CACHE_CONTROL
    return f"public, max-age={min(link_seconds, _MAX_AGE_SECONDS)}, immutable"


def find_outputs(job: ThumbnailJob, name: str | None, format_: str | None) -> list[OutputFacts]:
    """All formats of the output with this name (None: of the first one), or the one that was asked for.

    `format_` is what was asked for in the job (`auto`), or what it is (`jpeg`).
    """
    found: list[OutputFacts] = []
    for output in job.status.outputs:
        formats = (None, output.format, output.content_type.removeprefix("image/"))
        if name in {None, output.name} and format_ in formats:
            if found and (format_ is not None or output.name != found[0].name):
                break
            found.append(output)
    return found


def choose(candidates: Sequence[OutputFacts], accept: str | None) -> OutputFacts:
    """The format that a client likes best; of those that it likes the same, the smallest file.

    Only formats that it names count: browsers name the new ones that they can show, and `*/*` is said by
    programs that know none of them. Otherwise it is the first one.
    """
    named = {part.partition(";")[0].strip().lower() for part in (accept or "").split(",")}
    likings = [
        (-_quality(each.content_type, accept or "*/*"), each.bytes, index)
        for index, each in enumerate(candidates)
        if each.content_type in named
    ]
    likings = [liking for liking in likings if liking[0] < 0]
    return candidates[min(likings)[-1]] if likings else candidates[0]


def _quality(content_type: str, accept: str) -> float:
    try:
        return mediatypes.quality(content_type, accept)
    except ValueError:
        return -math.inf


def thumbnail_file_name(job: ThumbnailJob, output: OutputFacts) -> str:
    """`holiday-100x100.webp` for `holiday.jpg`: what a browser offers when it is saved."""
    original = job.annotations.get(FILE_NAME_ANNOTATION) or job.key.name
    stem = original.rpartition(".")[0] or original
    return f"{stem}-{output.width}x{output.height}.{output.content_type.removeprefix('image/')}"
