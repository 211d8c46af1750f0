"""Sends one attempt of a webhook, signed, and says how it ended: the I/O beside `webhook.py`.

Clients choose URLs, so nothing about a receiver is trusted: where a connection goes is checked when
its socket is made (`egress.py`), redirects are not followed, and the answer's body is not read. What
is said about a failure are our own words: no URL, address or text of a library.
"""

import asyncio
import binascii
import errno
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from .egress import is_allowed, literal_address
from .settings import IPNetwork, OperatorSettings
from .webhook import NO_SECRET, DeliverNow, DeliveryResult, parse_retry_after

logger = logging.getLogger(__name__)

MAX_URL_LENGTH: Final = 2048
# Shorter than the five seconds after which common servers close an idle connection: one that they
# close while we use it again would cost an attempt.
KEEPALIVE_SECONDS: Final = 4.0
# One receiver that does not answer may not keep all the others waiting.
HOST_SHARE: Final = 2

# The parameters and the results of `socket.getaddrinfo`.
AddrInfo = Any
LookUp = Callable[..., Iterable[AddrInfo]]


class ForbiddenAddressError(OSError):
    """The address of a connection that is not made."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is forbidden")


class WebhookSender:
    """Two HTTP clients: one for URLs of clients, one for the admin's own.

    It bounds by itself how many attempts run at once (`webhook_concurrency`, and half of that for one
    host); the time that an attempt waits for its turn is no part of its timeout.
    """

    def __init__(self, settings: OperatorSettings, *, look_up: LookUp = socket.getaddrinfo) -> None:
        self._settings = settings
        self._look_up = look_up
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._slots = asyncio.Semaphore(settings.webhook_concurrency)
        self._host_slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def send(self, delivery: DeliverNow, secret: str, now: datetime) -> DeliveryResult:
        """Make the attempt. Never raises for what a receiver, a URL or a secret is like."""
        host = _host(delivery.url)
        if host is None:
            return DeliveryResult(detail="the URL is not valid", forbidden=True)
        if not delivery.trusted:
            literal = literal_address(host)
            if literal is not None and not is_allowed(literal, self._settings.webhook_allow):
                return DeliveryResult(detail="the address is not allowed", forbidden=True)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._turn(host):
            # A signature is valid for minutes only, so its time is that of the request.
            sent = now + timedelta(seconds=loop.time() - asked)
            headers = _signed_headers(delivery, secret, sent)
            if headers is None:
                return NO_SECRET
            result = await self._post(delivery, headers, sent)
        logger.debug(
            "webhook %s attempt %d: %s",
            delivery.message_id,
            delivery.attempt,
            result.http_status or result.detail,
        )
        return result

    async def close(self) -> None:
        """Give all connections back; attempts under way end."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        # Held by its users alone, so hosts that nobody delivers to are forgotten.
        host_slots = self._host_slots.get(host)
        if host_slots is None:
            host_slots = asyncio.Semaphore(max(1, self._settings.webhook_concurrency // HOST_SHARE))
            self._host_slots[host] = host_slots
        async with host_slots, self._slots:
            yield

    async def _post(self, delivery: DeliverNow, headers: dict[str, str], now: datetime) -> DeliveryResult:
        try:
            async with self._session(trusted=delivery.trusted).post(
                delivery.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as response:
                # The body is left unread: the connection is used again only if it was short.
                return DeliveryResult(
                    http_status=response.status,
                    retry_after_seconds=parse_retry_after(response.headers.get("Retry-After"), now),
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if _is_forbidden(error):
                logger.warning(
                    "webhook %s: the host leads to an address that THUMBNAILS_WEBHOOK_ALLOW does not list",
                    delivery.message_id,
                )
            return _failure(error)

    def _session(self, *, trusted: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(trusted)
        if session is None:
            allow = self._settings.webhook_allow
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(self._look_up),
                    limit=0,
                    keepalive_timeout=KEEPALIVE_SECONDS,
                    socket_factory=None if trusted else lambda info: checked_socket(info, allow),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._settings.webhook_timeout_seconds),
                headers={"User-Agent": f"Thumbnails/{version('thumbnails')}"},
                trust_env=False,  # a proxy would connect for us, and nobody would check where
                auto_decompress=False,
            )
            self._sessions[trusted] = session
        return session


def checked_socket(info: AddrInfo, allow: tuple[IPNetwork, ...]) -> socket.socket:
    """A socket for this very address. Raises ForbiddenAddressError.

    Called for each address that is about to be connected to, so a name that resolves anew, an odd
    spelling of an address or a race between two of them make no difference.
    """
    family, kind, protocol, _, address = info
    try:
        target = ip_address(address[0])
    except ValueError:
        raise ForbiddenAddressError from None  # a name here would be resolved behind our back
    if not is_allowed(target, allow):
        raise ForbiddenAddressError
    return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """The system's resolver, in threads of its own.

    Names that never resolve hold a thread for half a minute; in the event loop's pool they would keep
    everything else waiting, and the process from ending.
    """

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Iterable[AddrInfo]] = loop.create_future()

        def settle(infos: Iterable[AddrInfo] | None) -> None:
            if found.done():
                return
            if infos is None:
                found.set_exception(socket.gaierror(socket.EAI_NONAME, "the name does not resolve"))
            else:
                found.set_result(infos)

        def run() -> None:
            infos: Iterable[AddrInfo] | None
            try:
                infos = self._look_up(host, port, family=family, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                infos = None
            with suppress(RuntimeError):  # the loop is closed: nobody waits for the answer any more
                loop.call_soon_threadsafe(settle, infos)

        threading.Thread(target=run, name="webhook-resolver", daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=int(family),
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, address in await found
        ]

    async def close(self) -> None:
        """Nothing to give back: threads end with their look-ups."""


def _host(url: str) -> str | None:
    """The host of a usable URL."""
    if len(url) > MAX_URL_LENGTH:
        return None
    try:
        parts = urlsplit(url)
        port_is_usable = parts.port != 0
    except ValueError:
        return None
    return parts.hostname if parts.scheme in {"http", "https"} and port_is_usable else None


def _signed_headers(delivery: DeliverNow, secret: str, now: datetime) -> dict[str, str] | None:
    """The headers of Standard Webhooks, and of the trace; None for a secret that is none."""
    try:
        signature = Webhook(secret).sign(delivery.message_id, now, delivery.body.decode())
    except (binascii.Error, EmptyWebhookSecretError, ValueError):
        return None
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
        **(delivery.trace.headers if delivery.trace else {}),
    }


# What somebody's name leads to is theirs to know where it is a public address. Of all others the same is
# said: that a name within the network exists is nobody's business outside. The log says it to administrators.
_NO_ADDRESS: Final = "the host name leads to no address that may be called"
# What is said of an error, by the first type that fits.
_FAILURES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "no answer in time"),
    (aiohttp.ClientConnectorDNSError, _NO_ADDRESS),
    (aiohttp.ClientConnectorCertificateError, "the certificate is not valid"),
    (aiohttp.ClientSSLError, "TLS failed"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ClientResponseError, "the answer is no HTTP"),
)


def _is_forbidden(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ForbiddenAddressError
    )


def _failure(error: Exception) -> DeliveryResult:
    """Why there was no answer, in our own words."""
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return DeliveryResult(detail="the URL is not valid", forbidden=True)
        case _ if _is_forbidden(error):
            # Not final: the name may lead elsewhere by the next attempt.
            return DeliveryResult(detail=_NO_ADDRESS)
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return DeliveryResult(detail="the connection was refused")
    for kind, detail in _FAILURES:
        if isinstance(error, kind):
            return DeliveryResult(detail=detail)
    return DeliveryResult(detail="the connection broke off")
