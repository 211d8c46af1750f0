"""`/thumbnails/{id}`: what became of a picture."""

from dataclasses import dataclass
from urllib.parse import parse_qs

import falcon

from thumbnails_api.job_cache import JobCache
from thumbnails_api.serving import StoredFile, serve_file
from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_contract.errors import ThumbnailNotFound
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.names import FILE_NAME_ANNOTATION
from thumbnails_contract.status import OutputFacts

# The bytes under this address never change: another picture, or another recipe, is another job.
_CACHE_CONTROL = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """`GET /thumbnails/{id}`, and `/thumbnails/{id}/{output}`, with `?format=` to pick one of several."""

    jobs: JobCache
    objects: ObjectStore

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, job_id: str, output: str | None = None
    ) -> None:
        """The thumbnail, streamed; the first one unless the request says more."""
        job = self.jobs.get(req.context.caller, job_id)
        format_ = parse_qs(req.query_string).get("format", [None])[-1]
        found = find_output(job, output, format_) if job is not None else None
        if job is None or found is None:
            raise ThumbnailNotFound
        file = StoredFile(
            object_key=found.object_key,
            etag=found.etag,
            bytes=found.bytes,
            content_type=found.content_type,
            file_name=thumbnail_file_name(job, found),
            cache_control=_CACHE_CONTROL,
        )
        try:
            serve_file(req, resp, file, self.objects)
        except NoSuchObject:
            raise ThumbnailNotFound from None

    on_head = on_get
    on_get_output = on_get
    on_head_output = on_get


def find_output(job: ThumbnailJob, name: str | None, format_: str | None) -> OutputFacts | None:
    """The first output with this name and format; None for either means any.

    `format_` is what was asked for (`auto`), or what it is (`jpeg`).
    """
    for output in job.status.outputs:
        formats = (None, output.format, output.content_type.removeprefix("image/"))
        if name in {None, output.name} and format_ in formats:
            return output
    return None


def thumbnail_file_name(job: ThumbnailJob, output: OutputFacts) -> str:
    """`holiday-100x100.webp` for `holiday.jpg`: what a browser offers when it is saved."""
    original = job.annotations.get(FILE_NAME_ANNOTATION) or job.key.name
    stem = original.rpartition(".")[0] or original
    return f"{stem}-{output.width}x{output.height}.{output.content_type.removeprefix('image/')}"
