"""`/images`: takes pictures in, and gives an original back as long as it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, BinaryIO, cast

import falcon

from thumbnails_api.accounts import Caller
from thumbnails_api.answers import Answer, json_body
from thumbnails_api.batches import take_batch
from thumbnails_api.catalogue import Catalogue
from thumbnails_api.erasures import Erasures
from thumbnails_api.idempotency import Idempotency, Plan, fingerprint, parse_key
from thumbnails_api.intake import Intake
from thumbnails_api.job_json import job_document
from thumbnails_api.options import Options, merge_fields, parse_options, parse_query
from thumbnails_api.pictures import Picture, Rejected
from thumbnails_api.presets import Presets
from thumbnails_api.problems import PROBLEM_TYPE, problem_document
from thumbnails_api.quotas import UploadQuotas
from thumbnails_api.serving import StoredFile, serve_file
from thumbnails_api.spool import Budget
from thumbnails_api.uploads import Item, UploadLimits, receive
from thumbnails_api.waiting import Waiting
from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_contract.errors import ForbiddenSource, ImageNotFound
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.keys import check_source_key, parse_source_key
from thumbnails_contract.names import FILE_NAME_ANNOTATION
from thumbnails_contract.spec import Batch
from thumbnails_contract.tracing import TraceContext


@dataclass(frozen=True, slots=True)
class Images:
    """`POST /images`."""

    intake: Intake
    waiting: Waiting
    limits: UploadLimits
    spool: Budget
    max_side_pixels: int
    presets: Presets
    quotas: UploadQuotas
    idempotency: Idempotency
    erasures: Erasures

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """One picture is answered with its job, several with a batch of jobs and problems."""
        caller: Caller = req.context.caller
        self.erasures.check(caller)
        query = parse_query(req.query_string)
        key = parse_key(req.get_header("Idempotency-Key"))
        # The server knows the length of a whole body, whether it came in chunks or not.
        length = req.content_length or 0
        self.quotas.charge_bytes(caller, length, req.context.usages)
        received = receive(
            cast("BinaryIO", req.env["wsgi.input"]), req.content_type, length, self.limits, self.spool
        )
        try:
            if query and received.fields:
                # What a field takes the place of must be right, too: nobody misspells it on purpose.
                self._parse_options(merge_fields(query, ()))
            fields = merge_fields(query, received.fields)
            options = self._parse_options(fields)
            images = received.images
            if isinstance(images[0], Rejected) and not received.is_batch:
                raise images[0].error
            # A ZIP costs what is in it.
            self.quotas.charge_bytes(caller, received.unpacking.bytes - length, req.context.usages)
            upload = _Upload(
                images,
                received.is_batch,
                options,
                caller,
                prefer=req.get_header("Prefer"),
                trace=req.context.trace,
            )
            if key is None:
                answer = self._take_in(upload, None)
            else:
                answer = self.idempotency.run(
                    caller,
                    key,
                    fingerprint(images, fields),
                    len(images),
                    lambda plan: self._take_in(upload, plan),
                )
            answer.send(resp)
        finally:
            received.close()

    def _parse_options(self, fields: Mapping[str, str]) -> Options:
        return parse_options(fields, max_side_pixels=self.max_side_pixels, presets=self.presets)

    def _take_in(self, upload: "_Upload", plan: Plan | None) -> Answer:
        return self._take_batch(upload, plan) if upload.is_batch else self._take_one(upload, plan)

    def _take_one(self, upload: "_Upload", plan: Plan | None) -> Answer:
        (image,) = upload.images
        assert isinstance(image, Picture)
        with self.quotas.reserve_jobs(upload.caller, 1):
            name = plan.jobs[0] if plan else None
            job = self.intake.accept(image, upload.options, upload.caller, None, name, trace=upload.trace)
        (job,), applied = self.waiting.wait([job], upload.prefer)
        headers = {"Location": f"/jobs/{job.key.name}"} | _applied(applied)
        return Answer(HTTPStatus.CREATED, json_body(job_document(job)), headers=headers)

    def _take_batch(self, upload: "_Upload", plan: Plan | None) -> Answer:
        batch_id = plan.batch if plan else self.intake.new_id()
        with self.quotas.reserve_jobs(upload.caller, upload.promising):
            outcomes = take_batch(
                batch_id,
                upload.images,
                upload.options.batch_webhooks,
                partial(self._accept, upload, plan),
            )
        taken = [outcome for outcome in outcomes if isinstance(outcome, ThumbnailJob)]
        latest, applied = self.waiting.wait(taken, upload.prefer) if taken else ([], None)
        by_key = {job.key: job for job in latest}
        items = [
            _rejected_document(outcome)
            if isinstance(outcome, Rejected)
            else job_document(by_key[outcome.key])
            for outcome in outcomes
        ]
        document: dict[str, Any] = {"batchId": batch_id, "items": items}
        if taken:
            status = HTTPStatus.CREATED if len(taken) == len(outcomes) else HTTPStatus.MULTI_STATUS
            final = not any(isinstance(each, Rejected) and each.error.retryable for each in outcomes)
            return Answer(status, json_body(document), headers=_applied(applied), final=final)
        worst = max(
            (outcome.error for outcome in outcomes if isinstance(outcome, Rejected)),
            key=lambda error: error.status,
        )
        after = worst.retry_after_seconds
        headers = {} if after is None else {"Retry-After": str(after)}
        body = json_body(problem_document(worst) | document)
        return Answer(worst.status, body, PROBLEM_TYPE, headers, final=not worst.retryable)

    def _accept(self, upload: "_Upload", plan: Plan | None, picture: Picture, batch: Batch) -> ThumbnailJob:
        name = plan.jobs[batch.index] if plan else None
        return self.intake.accept(picture, upload.options, upload.caller, batch, name, trace=upload.trace)


@dataclass(frozen=True, slots=True)
class _Upload:
    """What a request brings, and from whom."""

    images: Sequence[Item]
    is_batch: bool
    options: Options
    caller: Caller
    prefer: str | None
    trace: TraceContext

    @property
    def promising(self) -> int:
        """How many jobs may be made of it."""
        return sum(not isinstance(image, Rejected) for image in self.images)


@dataclass(frozen=True, slots=True)
class Image:
    """`GET /images/{id}`."""

    jobs: Catalogue
    objects: ObjectStore

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        """The original, as it was uploaded."""
        job = self.jobs.get(req.context.caller, job_id)
        if job is None:
            raise ImageNotFound
        try:
            # A job that was not made here may name anything; see `check_source_key`.
            check_source_key(job.spec.object_key, job.key.namespace)
            uploaded = parse_source_key(job.spec.object_key)
            if uploaded is not None and uploaded.account != job.spec.account:
                raise ImageNotFound
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


def _applied(preference: str | None) -> dict[str, str]:
    return {} if preference is None else {"Preference-Applied": preference}


def _rejected_document(rejected: Rejected) -> dict[str, Any]:
    return problem_document(rejected.error) | {"fileName": rejected.file_name}
