"""`/images`: takes pictures in, and gives an original back as long as it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO, cast

import falcon

from thumbnails_api.accounts import Caller
from thumbnails_api.answers import write_json
from thumbnails_api.intake import Intake
from thumbnails_api.job_cache import JobCache
from thumbnails_api.job_json import job_document
from thumbnails_api.options import Options, merge_fields, parse_options, parse_query
from thumbnails_api.presets import Presets
from thumbnails_api.problems import PROBLEM_TYPE, problem_document, public_error
from thumbnails_api.serving import StoredFile, serve_file
from thumbnails_api.uploads import Picture, Rejected, UploadLimits, receive
from thumbnails_api.waiting import Waiting
from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_contract.errors import ForbiddenSource, ImageNotFound
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.keys import check_source_key
from thumbnails_contract.names import FILE_NAME_ANNOTATION
from thumbnails_contract.spec import Batch

Outcome = ThumbnailJob | Rejected


@dataclass(frozen=True, slots=True)
class Images:
    """`POST /images`."""

    intake: Intake
    waiting: Waiting
    limits: UploadLimits
    max_side_pixels: int
    presets: Presets

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """One picture is answered with its job, several with a batch of jobs and problems."""
        query = parse_query(req.query_string)
        # The server knows the length of a whole body, whether it came in chunks or not.
        body = cast("BinaryIO", req.env["wsgi.input"])
        received = receive(body, req.content_type, req.content_length or 0, self.limits)
        try:
            options = parse_options(
                merge_fields(query, received.fields),
                max_side_pixels=self.max_side_pixels,
                presets=self.presets,
            )
            caller: Caller = req.context.caller
            prefer = req.get_header("Prefer")
            if len(received.images) == 1:
                self._answer_one(resp, received.images[0], options, caller, prefer)
            else:
                self._answer_batch(resp, received.images, options, caller, prefer)
        finally:
            received.close()

    def _answer_one(
        self,
        resp: falcon.Response,
        image: Picture | Rejected,
        options: Options,
        caller: Caller,
        prefer: str | None,
    ) -> None:
        if isinstance(image, Rejected):
            raise image.error
        job = self.intake.accept(image, options, caller, None)
        (job,), applied = self.waiting.wait([job], prefer)
        resp.status = falcon.HTTP_201
        resp.location = f"/jobs/{job.key.name}"
        write_json(resp, job_document(job), applied)

    def _answer_batch(
        self,
        resp: falcon.Response,
        images: Sequence[Picture | Rejected],
        options: Options,
        caller: Caller,
        prefer: str | None,
    ) -> None:
        batch_id = self.intake.new_id()
        outcomes: list[Outcome] = []
        for index, image in enumerate(images):
            if isinstance(image, Rejected):
                outcomes.append(image)
                continue
            try:
                batch = Batch(batch_id, index, len(images))
                outcomes.append(self.intake.accept(image, options, caller, batch))
            except Exception as error:  # noqa: BLE001 - logged; the pictures before this one are stored
                outcomes.append(Rejected(image.file_name, public_error(error)))
        taken = [outcome for outcome in outcomes if isinstance(outcome, ThumbnailJob)]
        latest, applied = self.waiting.wait(taken, prefer) if taken else ([], None)
        by_key = {job.key: job for job in latest}
        items = [
            _rejected_document(outcome)
            if isinstance(outcome, Rejected)
            else job_document(by_key[outcome.key])
            for outcome in outcomes
        ]
        document: dict[str, Any] = {"batchId": batch_id, "items": items}
        if taken:
            resp.status = HTTPStatus.CREATED if len(taken) == len(outcomes) else HTTPStatus.MULTI_STATUS
            write_json(resp, document, applied)
            return
        worst = max(
            (outcome.error for outcome in outcomes if isinstance(outcome, Rejected)),
            key=lambda error: error.status,
        )
        resp.status = worst.status
        write_json(resp, problem_document(worst) | document, None)
        resp.content_type = PROBLEM_TYPE
        if worst.retry_after_seconds is not None:
            resp.set_header("Retry-After", str(worst.retry_after_seconds))


@dataclass(frozen=True, slots=True)
class Image:
    """`GET /images/{id}`."""

    jobs: JobCache
    objects: ObjectStore

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        """The original, as it was uploaded."""
        job = self.jobs.get(req.context.caller, job_id)
        if job is None:
            raise ImageNotFound
        try:
            # A job that was not made here may name anything; see `check_source_key`.
            check_source_key(job.spec.object_key, job.key.namespace)
            facts = self.objects.head(job.spec.object_key)
            file = StoredFile(
                object_key=facts.key,
                etag=facts.etag,
                bytes=facts.bytes,
                content_type=facts.content_type,
                file_name=job.annotations.get(FILE_NAME_ANNOTATION) or job.key.name,
                # It is gone some time after the job has ended: to be asked for again each time.
                cache_control="private, no-cache",
            )
            serve_file(req, resp, file, self.objects)
        except (NoSuchObject, ForbiddenSource):
            raise ImageNotFound from None

    on_head = on_get


def _rejected_document(rejected: Rejected) -> dict[str, Any]:
    return problem_document(rejected.error) | {"fileName": rejected.file_name}
