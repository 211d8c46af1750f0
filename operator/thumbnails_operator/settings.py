"""Everything that can be set about the operator, read once from the environment for all its modules."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final, Self, TypeVar

from thumbnails_common.namespaces import read_home_namespace
from thumbnails_contract.environment import Environment, InvalidSetting, shown
from thumbnails_contract.logs import LogSettings
from thumbnails_contract.names import DEFAULT_NAMESPACE
from thumbnails_contract.wire import Limits

from .worker_pod import WorkerPod

IPNetwork = IPv4Network | IPv6Network
T = TypeVar("T")

MILLICORES: Final = 1000  # of a CPU

# What else an admin may set, by the name of the field of `Limits`.
_LIMIT_VARIABLES: Final[Mapping[str, str]] = {
    "pixels": "THUMBNAILS_MAX_PIXELS",
    "frames": "THUMBNAILS_MAX_FRAMES",
    "frame_pixels": "THUMBNAILS_MAX_FRAME_PIXELS",
    "total_pixels": "THUMBNAILS_MAX_TOTAL_PIXELS",
    "scans": "THUMBNAILS_MAX_SCANS",
    "parts": "THUMBNAILS_MAX_PARTS",
    "output_side": "THUMBNAILS_MAX_OUTPUT_SIDE",
    "output_bytes": "THUMBNAILS_MAX_THUMBNAIL_BYTES",
    "output_pixels": "THUMBNAILS_MAX_OUTPUT_PIXELS",
    "cpu_seconds": "THUMBNAILS_RENDER_CPU_SECONDS",
    "wall_seconds": "THUMBNAILS_RENDER_WALL_SECONDS",
}


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The operator's settings; the defaults are those of a cluster."""

    limits: Limits = field(default_factory=Limits)

    # The pool of workers (plan.py)
    max_workers: int = 4
    min_workers: int = 0  # always warm, in `home_namespace`
    home_namespace: str = DEFAULT_NAMESPACE
    linger_seconds: float = 30.0
    items_per_worker: int = 0  # 0: no limit
    scale_up_seconds: float = 0.25  # how long an item waits for a live worker before it gets another one
    turn_seconds: float = 30.0  # how long a busy worker keeps its place from a namespace that has none

    # Handing out (dispatch.py)
    max_attempts: int = 3
    lease_seconds: float = 60.0  # a worker that is silent for so long is lost
    adoption_grace_seconds: float = 2.0  # after a start: workers say first what they hold

    # Worker Jobs (worker_job.py)
    worker_image: str = "thumbnails-worker:latest"
    worker_image_pull_policy: str = "IfNotPresent"
    worker_service_account: str = "thumbnails-worker"
    worker_memory_mib: int = 512
    worker_renderers: int = 1  # and CPUs, at most
    worker_cpu_request_millicores: int = 250  # for each renderer; they compute in bursts
    worker_deadline_seconds: int = 3600
    worker_labels: Mapping[str, str] = field(default_factory=dict)  # passed through, for Kueue and the like
    worker_pod: WorkerPod = field(default_factory=WorkerPod)
    s3_ca_file: str | None = None  # the object store's authorities, at the same path for operator and workers
    worker_s3_ca: tuple[str, str] | None = None  # the ConfigMap and its entry that workers have them from
    operator_lost_seconds: float = 120.0  # a worker that hears from no operator for so long ends
    token_audience: str = "thumbnails-exchange"  # noqa: S105 - a name, no secret
    log: LogSettings = field(default_factory=LogSettings)

    # The exchange (exchange.py)
    exchange_url: str = "http://thumbnails-exchange:8081"
    exchange_host: str = "0.0.0.0"  # noqa: S104 - in a pod; the local frame sets 127.0.0.1
    exchange_port: int = 8081
    presign_seconds: int = 900

    # Webhooks: webhook.py and its sender
    webhook_url: str | None = None
    webhook_allow: tuple[IPNetwork, ...] = ()
    webhook_timeout_seconds: float = 15.0
    webhook_concurrency: int = 16
    batch_grace_seconds: float = 300.0  # for jobs of a batch that are missing

    # What is kept and for how long: ttl.py, archivist.py and sweep.py
    ttl_seconds: int | None = None  # of finished jobs that say nothing themselves; None: for ever
    sweep_interval_seconds: float = 3600.0
    sweep_grace_seconds: float = 3600.0
    tombstone_seconds: float = 5.0
    source_retention_seconds: float = 86_400.0
    thumbnails_keep_days: float | None = None
    idempotency_seconds: int = 86_400  # what the API keeps of an Idempotency-Key
    erasure_poll_seconds: float = 5.0  # between two looks for accounts that are to be erased
    erasure_seconds: float = 15.0  # that it takes at least; longer than the API tries to create a job

    # The loop (controller.py)
    blocking_threads: int = 8
    reconcile_concurrency: int = 16
    resync_seconds: float = 60.0
    trouble_notice_seconds: float = 2.0  # a job says why it cannot go on once it is so for so long
    waiting_notice_seconds: float = 20.0  # and that it merely waits for its turn, after so long

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From `THUMBNAILS_*` (and `WEBHOOK_URL`). Raises InvalidSetting."""
        read = Environment(env)
        defaults = cls()
        settings = cls(
            limits=_limits(read, defaults.limits),
            max_workers=read.integer("THUMBNAILS_MAX_WORKERS", defaults.max_workers, least=1),
            min_workers=read.integer("THUMBNAILS_MIN_WORKERS", defaults.min_workers),
            home_namespace=read_home_namespace(read),
            linger_seconds=read.number("THUMBNAILS_LINGER_SECONDS", defaults.linger_seconds),
            items_per_worker=read.integer("THUMBNAILS_ITEMS_PER_WORKER", defaults.items_per_worker),
            scale_up_seconds=read.number("THUMBNAILS_SCALE_UP_SECONDS", defaults.scale_up_seconds),
            turn_seconds=read.number("THUMBNAILS_TURN_SECONDS", defaults.turn_seconds),
            max_attempts=read.integer("THUMBNAILS_MAX_ATTEMPTS", defaults.max_attempts, least=1),
            lease_seconds=read.number("THUMBNAILS_LEASE_SECONDS", defaults.lease_seconds, least=1),
            adoption_grace_seconds=read.number(
                "THUMBNAILS_ADOPTION_GRACE_SECONDS", defaults.adoption_grace_seconds
            ),
            worker_image=read.text("THUMBNAILS_WORKER_IMAGE", defaults.worker_image),
            worker_image_pull_policy=read.text(
                "THUMBNAILS_WORKER_IMAGE_PULL_POLICY", defaults.worker_image_pull_policy
            ),
            worker_service_account=read.text(
                "THUMBNAILS_WORKER_SERVICE_ACCOUNT", defaults.worker_service_account
            ),
            worker_memory_mib=read.integer(
                "THUMBNAILS_WORKER_MEMORY_MIB", defaults.worker_memory_mib, least=64
            ),
            worker_renderers=read.integer("THUMBNAILS_WORKER_RENDERERS", defaults.worker_renderers, least=1),
            worker_cpu_request_millicores=read.integer(
                "THUMBNAILS_WORKER_CPU_REQUEST_MILLICORES",
                defaults.worker_cpu_request_millicores,
                least=1,
                most=MILLICORES,
            ),
            worker_deadline_seconds=read.integer(
                "THUMBNAILS_WORKER_DEADLINE_SECONDS", defaults.worker_deadline_seconds, least=60
            ),
            worker_labels=read.value("THUMBNAILS_WORKER_LABELS", defaults.worker_labels, _labels),
            worker_pod=read.value("THUMBNAILS_WORKER_POD", defaults.worker_pod, WorkerPod.parse),
            s3_ca_file=read.text("THUMBNAILS_S3_CA_FILE", "") or None,
            worker_s3_ca=read.value("THUMBNAILS_WORKER_S3_CA", None, _config_map_entry),
            operator_lost_seconds=read.number(
                "THUMBNAILS_OPERATOR_LOST_SECONDS", defaults.operator_lost_seconds, least=1
            ),
            token_audience=read.text("THUMBNAILS_TOKEN_AUDIENCE", defaults.token_audience),
            log=LogSettings.from_environment(env),
            exchange_url=read.text("THUMBNAILS_EXCHANGE_URL", defaults.exchange_url),
            exchange_host=read.text("THUMBNAILS_EXCHANGE_HOST", defaults.exchange_host),
            exchange_port=read.integer("THUMBNAILS_EXCHANGE_PORT", defaults.exchange_port, most=65_535),
            presign_seconds=read.integer("THUMBNAILS_PRESIGN_SECONDS", defaults.presign_seconds, least=60),
            webhook_url=read.value("THUMBNAILS_WEBHOOK_URL", None, _http_url)
            or read.value("WEBHOOK_URL", None, _http_url),
            webhook_allow=read.value("THUMBNAILS_WEBHOOK_ALLOW", defaults.webhook_allow, _networks),
            webhook_timeout_seconds=read.number(
                "THUMBNAILS_WEBHOOK_TIMEOUT_SECONDS", defaults.webhook_timeout_seconds, least=1
            ),
            webhook_concurrency=read.integer(
                "THUMBNAILS_WEBHOOK_CONCURRENCY", defaults.webhook_concurrency, least=1
            ),
            batch_grace_seconds=read.number(
                "THUMBNAILS_BATCH_GRACE_SECONDS", defaults.batch_grace_seconds, least=1
            ),
            ttl_seconds=read.value("THUMBNAILS_TTL_SECONDS", None, _natural),
            sweep_interval_seconds=read.number(
                "THUMBNAILS_SWEEP_INTERVAL_SECONDS", defaults.sweep_interval_seconds, least=1
            ),
            idempotency_seconds=read.integer(
                "THUMBNAILS_IDEMPOTENCY_SECONDS", defaults.idempotency_seconds, least=60, most=31_536_000
            ),
            erasure_poll_seconds=read.number(
                "THUMBNAILS_ERASURE_POLL_SECONDS", defaults.erasure_poll_seconds, least=0.1
            ),
            erasure_seconds=read.number("THUMBNAILS_ERASURE_SECONDS", defaults.erasure_seconds),
            sweep_grace_seconds=read.number("THUMBNAILS_SWEEP_GRACE_SECONDS", defaults.sweep_grace_seconds),
            tombstone_seconds=read.number(
                "THUMBNAILS_TOMBSTONE_SECONDS", defaults.tombstone_seconds, least=1
            ),
            source_retention_seconds=read.number(
                "THUMBNAILS_KEEP_ORIGINALS_SECONDS", defaults.source_retention_seconds
            ),
            thumbnails_keep_days=read.value("THUMBNAILS_KEEP_DAYS", None, _positive),
            blocking_threads=read.integer("THUMBNAILS_OPERATOR_THREADS", defaults.blocking_threads, least=1),
            resync_seconds=read.number("THUMBNAILS_RESYNC_SECONDS", defaults.resync_seconds, least=1),
        )
        if settings.min_workers > settings.max_workers:
            raise InvalidSetting("THUMBNAILS_MIN_WORKERS: must not be above THUMBNAILS_MAX_WORKERS")
        if settings.worker_s3_ca and not (settings.s3_ca_file or "").startswith("/"):
            raise InvalidSetting(
                "THUMBNAILS_WORKER_S3_CA: needs THUMBNAILS_S3_CA_FILE, the full path that it is put to"
            )
        return settings


def _limits(read: Environment, defaults: Limits) -> Limits:
    upload_bytes = read.integer("THUMBNAILS_MAX_UPLOAD_BYTES", defaults.source_bytes, least=1)
    limits: dict[str, Any] = {
        name: read.integer(variable, getattr(defaults, name), least=1)
        for name, variable in _LIMIT_VARIABLES.items()
    }
    # What the API takes can be rendered, unless somebody says otherwise.
    limits["source_bytes"] = read.integer("THUMBNAILS_MAX_SOURCE_BYTES", upload_bytes, least=1)
    limits["render_truncated"] = (
        read.choice("THUMBNAILS_TRUNCATED", "refuse", ("refuse", "render")) == "render"
    )
    return replace(defaults, **limits)


def _natural(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"must be a whole number, not {shown(text)}")
    return int(text)


def _positive(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or float(text) == 0:
        raise ValueError("must be a number above 0; leave it unset for no limit")
    return float(text)


def _http_url(text: str) -> str | None:
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s]*", text):
        # A webhook's URL may hold a secret: it is not repeated in the message.
        raise ValueError("must be an http:// or https:// URL")
    return text


def _config_map_entry(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"([a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?)/([-._a-zA-Z0-9]{1,253})", text)
    if match is None:
        raise ValueError(f"must be the name of a ConfigMap, a slash and one of its keys, not {shown(text)}")
    return match[1], match[2]


def _networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(word, strict=False) for word in re.split(r"[,\s]+", text) if word)


def _labels(text: str) -> Mapping[str, str]:
    labels = {}
    for word in re.split(r"[,\s]+", text):
        name, separator, value = word.partition("=")
        if not (name and separator):
            raise ValueError(f"must be name=value pairs with commas in between, not {shown(text)}")
        labels[name] = value
    return labels
