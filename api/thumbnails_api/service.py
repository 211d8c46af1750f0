"""Puts the app behind its server, with what both share: for every process that serves the API."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from thumbnails_common.jobstore import JobStore
from thumbnails_common.objectstore import ObjectStore

from .accounts import Authenticator
from .app import create_app
from .job_cache import JobCache
from .links import NO_LINKS, LinkSigner
from .metrics import ApiMetrics
from .quotas import AccountLimits
from .resources.health import Ready
from .server import Server
from .settings import ApiSettings
from .spool import Budget
from .thumbnail_cache import ThumbnailCache


@dataclass(frozen=True, slots=True)
class Service:
    """What `create_service` made. The caller runs and stops the server."""

    server: Server
    metrics: ApiMetrics


def create_service(
    store: JobStore,
    objects: ObjectStore,
    jobs: JobCache,
    settings: ApiSettings,
    sockets: Sequence[socket.socket],
    *,
    authenticator: Authenticator | None = None,
    signer: LinkSigner = NO_LINKS,
    ready: Ready | None = None,
) -> Service:
    """The API on these sockets, which listen. See `create_app` for who starts and stops what."""
    cache = ThumbnailCache.of(settings)
    metrics = ApiMetrics(jobs, cache)
    limits = AccountLimits.of(settings, jobs, counted_alone=metrics.counted_alone)
    spool = Budget(settings.max_spool_bytes)
    app = create_app(
        store,
        objects,
        jobs,
        settings,
        authenticator=authenticator,
        limits=limits,
        signer=signer,
        ready=ready,
        cache=cache,
        metrics=metrics,
        spool=spool,
    )
    server = Server(
        app,
        settings,
        sockets,
        authenticator=authenticator,
        limits=limits,
        spool=spool,
        on_refusal=metrics.refused,
    )
    return Service(server, metrics)
