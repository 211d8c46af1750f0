"""Wires the REST API: which resource answers where, with which collaborators. No I/O, no environment."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import falcon
import uuid_utils

from thumbnails_common.history import History
from thumbnails_common.jobstore import JobStore
from thumbnails_common.objectstore import ObjectStore
from thumbnails_contract.errors import ThumbnailsError

from .accounts import AnonymousAuthenticator, Authenticator
from .archives import ArchiveLimits
from .catalogue import Catalogue
from .deletion import Deletion
from .erasures import Erasures
from .idempotency import Idempotency
from .intake import Intake
from .job_cache import JobCache
from .links import NO_LINKS, LinkSigner
from .metrics import ApiMetrics
from .middleware import Authentication, OriginGuard, RateLimiting, RequestLog
from .openapi import openapi_document
from .pictures import PictureLimits
from .problems import handle_http_error, handle_thumbnails_error, handle_unexpected
from .quotas import AccountLimits
from .rate_limits import FailedLogins
from .redirects import Redirects
from .resources.accounts import Account, AccountErasure
from .resources.docs import Docs, OpenApi
from .resources.events import Events, Following, JobEvents
from .resources.health import Alive, Ready
from .resources.images import Image, Images
from .resources.jobs import Job, Jobs
from .resources.links import JobLinks
from .resources.metrics import MetricsPage
from .resources.page import Index, WebFiles
from .resources.presets import PresetList
from .resources.thumbnails import Thumbnail
from .settings import ApiSettings
from .spool import Budget
from .thumbnail_cache import ThumbnailCache
from .uploads import UploadLimits
from .waiting import Waiting

# After so long without an answer, a request that comes again takes over the one before it: a replica that
# died must not keep its client waiting, and two that work on one upload do no harm.
_IDEMPOTENCY_HOLD_SECONDS: Final = 15

App = falcon.App[falcon.Request, falcon.Response]


def utc_now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


def new_uuid7() -> str:
    """A new UUIDv7: names of jobs order by when they were made (RFC 9562 section 5.7)."""
    return str(uuid_utils.uuid7())


def create_app(
    store: JobStore,
    objects: ObjectStore,
    jobs: JobCache,
    settings: ApiSettings,
    *,
    authenticator: Authenticator | None = None,
    limits: AccountLimits | None = None,
    signer: LinkSigner = NO_LINKS,
    ready: Ready | None = None,
    cache: ThumbnailCache | None = None,
    metrics: ApiMetrics | None = None,
    spool: Budget | None = None,
    clock: Callable[[], datetime] = utc_now,
    new_id: Callable[[], str] = new_uuid7,
    sleep: Callable[[float], None] = time.sleep,
) -> App:
    """The WSGI application. The caller starts `jobs` afterwards, stops it, and gives `store` and `objects`.

    `ready`, when it is shared with other ports, or says that we are about to end; `metrics` (with its
    `cache`), `limits` and `spool`, when they are shared, too.
    """
    authenticator = authenticator or AnonymousAuthenticator()
    cache = cache or ThumbnailCache.of(settings)
    metrics = metrics or ApiMetrics(jobs, cache)
    jobs.on_removed(lambda job: cache.erase(output.object_key for output in job.status.outputs))
    middleware: list[Any] = [RequestLog(metrics)]
    if not authenticator.requires_login:
        middleware.append(OriginGuard())
    limits = limits or AccountLimits.of(settings, jobs, counted_alone=metrics.counted_alone)
    failed_logins = FailedLogins(settings.failed_logins_per_minute if authenticator.requires_login else 0)
    if not settings.link_max_seconds:
        signer = NO_LINKS
    middleware += [
        Authentication(
            authenticator,
            signer,
            clock,
            failed_logins=failed_logins,
            trusted_proxies=settings.trusted_proxies,
        ),
        RateLimiting(limits.requests),
    ]

    app: App = falcon.App(middleware=middleware)
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, handle_unexpected)
    app.add_error_handler(falcon.HTTPError, handle_http_error)
    app.add_error_handler(ThumbnailsError, handle_thumbnails_error)

    catalogue = Catalogue(jobs, History(objects))
    waiting = Waiting(
        catalogue, max_requests=settings.max_waiting_requests, max_seconds=settings.max_wait_seconds
    )
    erasures = Erasures(objects, clock, new_id, sleep)
    intake = Intake(
        store=store,
        objects=objects,
        jobs=jobs,
        erasures=erasures,
        new_id=new_id,
        create_deadline_seconds=settings.create_deadline_seconds,
        sleep=sleep,
    )
    upload_limits = UploadLimits(
        PictureLimits(settings.max_upload_bytes, settings.max_pixels),
        images=settings.max_images,
        archives=ArchiveLimits(
            settings.max_archive_entries, settings.max_archive_bytes, settings.max_archive_ratio
        ),
    )
    idempotency = Idempotency(
        objects,
        clock,
        new_id,
        hold=timedelta(seconds=_IDEMPOTENCY_HOLD_SECONDS),
        retention=timedelta(seconds=settings.idempotency_seconds),
    )
    thumbnail = Thumbnail(
        catalogue,
        objects,
        cache,
        Redirects(objects, settings.redirect_seconds) if settings.redirect_seconds else None,
    )
    web = WebFiles.load()
    app.add_route("/", Index(web.by_name["index.html"], _version()))
    description = openapi_document(settings, version=_version(), requires_login=authenticator.requires_login)
    app.add_route("/openapi.json", OpenApi.of(description))
    docs = Docs.load()
    app.add_route("/docs", docs)
    app.add_route("/docs/{name}", docs.files)
    app.add_route("/assets/{name}", web)
    app.add_route(
        "/images",
        Images(
            intake,
            waiting,
            upload_limits,
            spool or Budget(settings.max_spool_bytes),
            settings.max_output_side_pixels,
            settings.presets,
            limits.uploads,
            idempotency,
            erasures,
        ),
    )
    app.add_route("/images/{job_id}", Image(catalogue, objects))
    app.add_route("/thumbnails/{job_id}", thumbnail)
    app.add_route("/thumbnails/{job_id}/{output}", thumbnail)
    app.add_route("/jobs", Jobs(catalogue))
    app.add_route(
        "/jobs/{job_id}",
        Job(catalogue, Deletion(store, objects, jobs, History(objects), clock, sleep), waiting),
    )
    app.add_route(
        "/jobs/{job_id}/links",
        JobLinks(catalogue, signer, settings.link_seconds, settings.link_max_seconds, clock),
    )
    following = Following(jobs, settings.max_following_requests)
    app.add_route("/jobs/{job_id}/events", JobEvents(catalogue, following))
    app.add_route("/events", Events(catalogue, following))
    app.add_route("/accounts/{account}", Account(erasures))
    app.add_route("/accounts/{account}/erasure", AccountErasure(erasures))
    app.add_route("/presets", PresetList(settings.presets))
    app.add_route("/healthz", Alive())
    app.add_route("/readyz", ready or Ready(store, objects, jobs, authenticator))
    if not authenticator.requires_login:  # in a cluster they have a port of their own
        app.add_route("/metrics", MetricsPage(metrics))
    return app


def _version() -> str:
    try:
        return version("thumbnails")
    except PackageNotFoundError:
        return "0"
