"""Wires the REST API: which resource answers where, with which collaborators. No I/O, no environment."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import falcon
import uuid_utils

from thumbnails_common.jobstore import JobStore
from thumbnails_common.objectstore import ObjectStore
from thumbnails_contract.errors import ThumbnailsError

from .accounts import AnonymousAuthenticator, Authenticator
from .deletion import Deletion
from .intake import Intake
from .job_cache import JobCache
from .middleware import Authentication, OriginGuard, RequestLog
from .problems import handle_http_error, handle_thumbnails_error, handle_unexpected
from .resources.events import Events, Following, JobEvents
from .resources.health import Alive, Ready
from .resources.images import Image, Images
from .resources.jobs import Job, Jobs
from .resources.page import Index, WebFiles
from .resources.presets import PresetList
from .resources.thumbnails import Thumbnail
from .settings import ApiSettings
from .uploads import UploadLimits
from .waiting import Waiting

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
    ready: Ready | None = None,
    clock: Callable[[], datetime] = utc_now,
    new_id: Callable[[], str] = new_uuid7,
    sleep: Callable[[float], None] = time.sleep,
) -> App:
    """The WSGI application. The caller starts and stops `jobs`, and gives `store` and `objects`.

    `ready`, when it is shared with other ports, or says that we are about to end.
    """
    authenticator = authenticator or AnonymousAuthenticator()
    middleware: list[Any] = [RequestLog()]
    if not authenticator.requires_login:
        middleware.append(OriginGuard())
    middleware.append(Authentication(authenticator))

    app: App = falcon.App(middleware=middleware)
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, handle_unexpected)
    app.add_error_handler(falcon.HTTPError, handle_http_error)
    app.add_error_handler(ThumbnailsError, handle_thumbnails_error)

    waiting = Waiting(jobs, max_requests=settings.max_waiting_requests, max_seconds=settings.max_wait_seconds)
    intake = Intake(
        store=store,
        objects=objects,
        jobs=jobs,
        new_id=new_id,
        create_deadline_seconds=settings.create_deadline_seconds,
        sleep=sleep,
    )
    limits = UploadLimits(
        picture_bytes=settings.max_upload_bytes, pixels=settings.max_pixels, images=settings.max_images
    )
    thumbnail = Thumbnail(jobs, objects)
    web = WebFiles.load()
    app.add_route("/", Index(web.by_name["index.html"], _version()))
    app.add_route("/assets/{name}", web)
    app.add_route(
        "/images", Images(intake, waiting, limits, settings.max_output_side_pixels, settings.presets)
    )
    app.add_route("/images/{job_id}", Image(jobs, objects))
    app.add_route("/thumbnails/{job_id}", thumbnail)
    app.add_route("/thumbnails/{job_id}/{output}", thumbnail)
    app.add_route("/jobs", Jobs(jobs))
    app.add_route("/jobs/{job_id}", Job(jobs, Deletion(store, objects, jobs, clock), waiting))
    following = Following(jobs, settings.max_following_requests)
    app.add_route("/jobs/{job_id}/events", JobEvents(jobs, following))
    app.add_route("/events", Events(following))
    app.add_route("/presets", PresetList(settings.presets))
    app.add_route("/healthz", Alive())
    app.add_route("/readyz", ready or Ready(store, objects, jobs, authenticator))
    return app


def _version() -> str:
    try:
        return version("thumbnails")
    except PackageNotFoundError:
        return "0"
