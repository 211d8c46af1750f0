"""Settings of the API, read once from the environment, for everybody who runs or wires it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from thumbnails_contract.environment import Environment, InvalidSetting
from thumbnails_contract.spec import MAX_SIDE_PIXELS

from .addresses import Network, parse_networks
from .presets import NO_PRESETS, Presets, check_presets, parse_presets

IN_MEMORY: Final = "memory://"
MEBIBYTE: Final = 1 << 20
GIBIBYTE: Final = 1 << 30


def _setting(default: int, variable: str, least: int, most: int) -> Any:
    """A field with its environment variable and the range of its values beside it."""
    return field(default=default, metadata={"variable": f"THUMBNAILS_{variable}", "range": (least, most)})


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What an administrator can set; units are in the names."""

    max_upload_bytes: int = _setting(128 * MEBIBYTE, "MAX_UPLOAD_BYTES", 1, 1 << 40)
    """Bytes of one picture; more is a 413."""

    max_request_bytes: int = _setting(GIBIBYTE, "MAX_REQUEST_BYTES", 1024, 1 << 40)
    """Bytes of a whole request, all its pictures together; more is a 413."""

    max_images: int = _setting(64, "MAX_IMAGES", 1, 1000)
    """`image` parts of one request."""

    max_archive_entries: int = _setting(1000, "MAX_ARCHIVE_ENTRIES", 1, 100_000)
    """Files in the ZIPs of one request, whether they are pictures or not; more is a 413."""

    max_archive_bytes: int = _setting(4 * GIBIBYTE, "MAX_ARCHIVE_BYTES", 1, 1 << 40)
    """Bytes of their pictures, inflated; more is a 413."""

    max_archive_ratio: int = _setting(200, "MAX_ARCHIVE_RATIO", 1, 1032)
    """Times a ZIP's own bytes that it may inflate to, where that is more than one picture may have."""

    max_pixels: int = _setting(128_000_000, "MAX_PIXELS", 1, 1 << 40)
    """Width times height of a picture, as its header says; more is a 422."""

    max_output_side_pixels: int = _setting(4096, "MAX_OUTPUT_SIDE", 1, MAX_SIDE_PIXELS)
    """Width or height of a thumbnail that may be asked for."""

    max_wait_seconds: int = _setting(30, "MAX_WAIT_SECONDS", 0, 300)
    """What `Prefer: wait` is cut to."""

    max_waiting_requests: int = _setting(12, "MAX_WAITING_REQUESTS", 0, 999)
    """Requests held by `Prefer: wait` at once; beyond it they are answered without waiting."""

    max_following_requests: int = _setting(4, "MAX_FOLLOWING_REQUESTS", 0, 999)
    """Followers of events held at once until something happens; beyond it they are answered at once."""

    threads: int = _setting(24, "API_THREADS", 2, 1000)
    """Requests served at once. Greater than those that wait or follow, or these would starve the rest."""

    connection_limit: int = _setting(4096, "API_CONNECTIONS", 16, 100_000)
    """Open connections; beyond it new ones wait in the listen queue."""

    idle_timeout_seconds: int = _setting(120, "API_IDLE_SECONDS", 1, 3600)
    """A connection on which nothing moves for so long is closed."""

    head_timeout_seconds: int = _setting(30, "API_HEAD_SECONDS", 1, 3600)
    """How long a request's line and headers may take to come; then it is a 408."""

    max_spool_bytes: int = _setting(8 * GIBIBYTE, "MAX_SPOOL_BYTES", MEBIBYTE, 1 << 50)
    """Bytes of bodies that are being received or stored, and of copies out of them; beyond it a 503."""

    create_deadline_seconds: int = _setting(10, "CREATE_DEADLINE_SECONDS", 0, 120)
    """How long a create whose outcome is unknown is tried again."""

    shutdown_grace_seconds: int = _setting(5, "API_SHUTDOWN_SECONDS", 0, 300)
    """How long running requests may take to end at shutdown."""

    failed_logins_per_minute: int = _setting(60, "FAILED_LOGINS_PER_MINUTE", 0, 1_000_000)
    """Failed logins of one address; more are a 429, whatever is shown. 0: no limit."""

    rate_limit_requests: int = _setting(0, "RATE_LIMIT_REQUESTS", 0, 1_000_000_000)
    """Requests of an account in a period. 0: no limit."""

    rate_limit_seconds: int = _setting(60, "RATE_LIMIT_SECONDS", 1, 86_400)
    """That period."""

    rate_limit_upload_bytes: int = _setting(0, "RATE_LIMIT_UPLOAD_BYTES", 0, 1 << 50)
    """Bytes that an account uploads in a period. 0: no limit."""

    rate_limit_upload_seconds: int = _setting(3600, "RATE_LIMIT_UPLOAD_SECONDS", 1, 2_678_400)
    """That period."""

    max_unfinished_jobs: int = _setting(0, "MAX_UNFINISHED_JOBS", 0, 1_000_000)
    """Jobs of an account that have not ended. 0: no limit."""

    idempotency_seconds: int = _setting(86_400, "IDEMPOTENCY_SECONDS", 60, 31_536_000)
    """How long an Idempotency-Key is remembered."""

    link_seconds: int = _setting(3600, "LINK_SECONDS", 1, 315_360_000)
    """How long a signed link is valid when nothing is said."""

    link_max_seconds: int = _setting(604_800, "LINK_MAX_SECONDS", 0, 315_360_000)
    """How long at most. 0: no links are given out, and those that were are valid no more."""

    cache_bytes: int = _setting(32 * MEBIBYTE, "CACHE_BYTES", 0, 1 << 40)
    """Bytes of the thumbnails that are kept in memory, together. 0: none is."""

    cache_entries: int = _setting(4096, "CACHE_ENTRIES", 0, 10_000_000)
    """How many they are at most; each takes about a kilobyte beside its bytes."""

    cache_entry_bytes: int = _setting(256 * 1024, "CACHE_ENTRY_BYTES", 1, GIBIBYTE)
    """Greater thumbnails are not kept."""

    redirect_seconds: int = _setting(0, "REDIRECT_SECONDS", 0, 604_800)
    """How long an address of the object store is valid that a client is sent to for a thumbnail. 0: none."""

    rate_limit_storage: str = field(default=IN_MEMORY, repr=False)
    """Where requests and bytes are counted, an address of the `limits` library; memory: by each replica."""

    trusted_proxies: tuple[Network, ...] = ()
    """Whose `X-Forwarded-For` is believed."""

    presets: Presets = field(default_factory=lambda: NO_PRESETS, metadata={"variable": "THUMBNAILS_PRESETS"})
    """Outputs by name, for `preset=`."""

    def __post_init__(self) -> None:
        """Raise InvalidSetting for what cannot work together."""
        try:
            check_presets(self.presets, self.max_output_side_pixels)
        except ValueError as error:
            raise InvalidSetting(f"THUMBNAILS_PRESETS: {error}") from None
        held = self.max_waiting_requests + self.max_following_requests
        if held >= self.threads:
            raise InvalidSetting(
                "THUMBNAILS_API_THREADS: must be more than THUMBNAILS_MAX_WAITING_REQUESTS and"
                f" THUMBNAILS_MAX_FOLLOWING_REQUESTS together, but {self.threads} is not more than {held}"
            )

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From `THUMBNAILS_*` variables; what is not set keeps its default. Raises InvalidSetting."""
        read = Environment(env)
        defaults = cls()
        values: dict[str, Any] = {}
        for item in fields(cls):
            if "range" not in item.metadata:
                continue
            least, most = item.metadata["range"]
            values[item.name] = read.integer(
                item.metadata["variable"], getattr(defaults, item.name), least=least, most=most
            )
        values["rate_limit_storage"] = read.optional_secret(
            "THUMBNAILS_RATE_LIMIT_STORAGE", defaults.rate_limit_storage
        )
        values["trusted_proxies"] = read.value(
            "THUMBNAILS_TRUSTED_PROXIES", defaults.trusted_proxies, parse_networks
        )
        values["presets"] = read.value("THUMBNAILS_PRESETS", defaults.presets, parse_presets)
        return cls(**values)
