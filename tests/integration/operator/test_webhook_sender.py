"""The webhook sender against real receivers on this machine."""

import asyncio
import base64
import json
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from thumbnails_contract.tracing import TraceContext
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.webhook import NO_SECRET, DeliverNow, DeliveryResult
from thumbnails_operator.webhook_sender import WebhookSender

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret of somebody else!").decode()
BODY = json.dumps({"type": "thumbnailjob.completed", "data": {"jobId": "ü"}}, ensure_ascii=False).encode()
NO_ADDRESS = "the host name leads to no address that may be called"
LOOPBACK = (ip_network("127.0.0.0/8"),)


@dataclass
class Receiver:
    """A server that keeps what it was sent, and answers as it is told."""

    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    requests: list[tuple[dict[str, str], bytes, str]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername"))
        local = request.transport.get_extra_info("sockname")[0]
        self.requests.append((dict(request.headers), body, local))
        return await self.answer(request)


def answer(status: int, headers: dict[str, str] | None = None) -> Callable[[web.Request], Any]:
    async def respond(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, text="fine")

    return respond


@asynccontextmanager
async def receiving(
    respond: Callable[[web.Request], Any] = answer(200),  # noqa: B008 - a constant in effect
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Receiver]:
    receiver = Receiver(respond)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=tls)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sending(**options: Any) -> AsyncIterator[WebhookSender]:
    look_up = options.pop("look_up", socket.getaddrinfo)
    options.setdefault("webhook_timeout_seconds", 30.0)
    sender = WebhookSender(OperatorSettings(**options), look_up=look_up)
    try:
        yield sender
    finally:
        await sender.close()


def delivery(url: str, *, trusted: bool = False, attempt: int = 1) -> DeliverNow:
    return DeliverNow(url, trusted, "msg_1", BODY, None, attempt)


async def send(sender: WebhookSender, url: str, *, trusted: bool = False) -> DeliveryResult:
    return await sender.send(delivery(url, trusted=trusted), SECRET, datetime.now(UTC))


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


# ---- what a receiver sees -----------------------------------------------------------------------


def test_a_receiver_can_verify_it_with_the_standards_own_library() -> None:
    async def scenario() -> None:
        async with receiving() as receiver, sending(webhook_allow=LOOPBACK) as sender:
            assert (await send(sender, receiver.url)).http_status == 200
            ((headers, body, _),) = receiver.requests
            assert body == BODY
            assert Webhook(SECRET).verify(body, headers) == json.loads(BODY)
            assert headers["webhook-id"] == "msg_1"
            assert headers["Content-Type"] == "application/json"
            assert headers["User-Agent"].startswith("Thumbnails/")
            with pytest.raises(WebhookVerificationError):
                Webhook(OTHER_SECRET).verify(body, headers)
            with pytest.raises(WebhookVerificationError):
                Webhook(SECRET).verify(body.replace(b"completed", b"failed"), headers)

    run(scenario())


def test_it_belongs_to_the_trace_of_the_request_that_made_the_job() -> None:
    async def scenario() -> None:
        async with receiving() as receiver, sending(webhook_allow=LOOPBACK) as sender:
            trace = TraceContext.begin(b"0123456789abcdef01234567")
            traced = replace(delivery(receiver.url), trace=replace(trace, state="a=1"))
            await sender.send(traced, SECRET, datetime.now(UTC))
            await sender.send(delivery(receiver.url), SECRET, datetime.now(UTC))
            (first, _, _), (second, _, _) = receiver.requests
            assert (first["traceparent"], first["tracestate"]) == (trace.parent, "a=1")
            assert "traceparent" not in second

    run(scenario())


def test_the_signed_time_is_the_time_of_the_attempt() -> None:
    async def scenario() -> None:
        async with receiving() as receiver, sending(webhook_allow=LOOPBACK) as sender:
            moment = datetime(2030, 1, 1, tzinfo=UTC)
            await sender.send(delivery(receiver.url), SECRET, moment)
            sent = datetime.fromtimestamp(int(receiver.requests[0][0]["webhook-timestamp"]), UTC)
            assert moment <= sent < moment + timedelta(minutes=2)

    run(scenario())


def test_cookies_are_neither_kept_nor_sent() -> None:
    async def scenario() -> None:
        respond = answer(200, {"Set-Cookie": "session=1; Path=/"})
        look_up, _ = names([["127.0.0.1"]])
        async with (
            receiving(respond) as receiver,
            sending(webhook_allow=LOOPBACK, look_up=look_up) as sender,
        ):
            url = f"http://receiver.example:{receiver.port}/"
            await send(sender, url)
            await send(sender, url)
            assert all("Cookie" not in headers for headers, _, _ in receiver.requests)
            assert len(receiver.requests) == 2

    run(scenario())


def test_a_burst_to_one_receiver_uses_connections_again() -> None:
    async def scenario() -> None:
        async with receiving() as receiver, sending(webhook_allow=LOOPBACK) as sender:
            for _ in range(5):
                await send(sender, receiver.url)
            assert len(receiver.requests) == 5
            assert len(receiver.connections) < 5

    run(scenario())


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a", "whsec_ü"])
def test_a_secret_that_is_none_sends_nothing(secret: str) -> None:
    async def scenario() -> None:
        async with receiving() as receiver, sending(webhook_allow=LOOPBACK) as sender:
            assert await sender.send(delivery(receiver.url), secret, datetime.now(UTC)) == NO_SECRET
            assert not receiver.requests

    run(scenario())


# ---- what the sender makes of answers -----------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 400, 404, 410, 500])
def test_the_status_is_handed_on(status: int) -> None:
    async def scenario() -> None:
        async with receiving(answer(status)) as receiver, sending(webhook_allow=LOOPBACK) as sender:
            assert await send(sender, receiver.url) == DeliveryResult(http_status=status)

    run(scenario())


def test_retry_after_is_handed_on() -> None:
    async def scenario() -> None:
        respond = answer(503, {"Retry-After": "120"})
        async with receiving(respond) as receiver, sending(webhook_allow=LOOPBACK) as sender:
            assert (await send(sender, receiver.url)).retry_after_seconds == 120

    run(scenario())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("trusted", [False, True])
def test_redirects_are_not_followed(status: int, trusted: bool) -> None:
    async def scenario() -> None:
        async with receiving() as other:
            respond = answer(status, {"Location": other.url})
            async with receiving(respond) as receiver, sending(webhook_allow=LOOPBACK) as sender:
                assert (await send(sender, receiver.url, trusted=trusted)).http_status == status
                assert not other.requests

    run(scenario())


def test_a_body_without_end_does_not_hold_the_sender() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async def scenario() -> None:
        async with receiving(endless) as receiver, sending(webhook_allow=LOOPBACK) as sender:
            assert (await send(sender, receiver.url)).http_status == 200

    run(scenario())


def test_a_receiver_that_does_not_answer_is_left() -> None:
    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    async def scenario() -> None:
        async with (
            receiving(silent) as receiver,
            sending(webhook_allow=LOOPBACK, webhook_timeout_seconds=0.2) as sender,
        ):
            assert await send(sender, receiver.url) == DeliveryResult(detail="no answer in time")

    run(scenario())


def test_a_silent_host_takes_no_more_than_its_share() -> None:
    async def scenario() -> None:
        released = asyncio.Event()

        async def silent(_request: web.Request) -> web.StreamResponse:
            await released.wait()
            return web.Response()

        async with (
            receiving(silent) as slow,
            receiving(host="127.0.0.2") as quick,
            sending(webhook_allow=LOOPBACK, webhook_concurrency=4, webhook_timeout_seconds=90.0) as sender,
        ):
            stuck = [asyncio.create_task(send(sender, slow.url)) for _ in range(10)]
            await asyncio.sleep(0)
            result = await send(sender, f"http://127.0.0.2:{quick.port}/")
            assert result.http_status == 200
            assert len(slow.requests) <= 2
            released.set()
            assert [done.http_status for done in await asyncio.gather(*stuck)] == [200] * 10

    run(scenario())


def test_waiting_for_a_turn_is_no_part_of_the_timeout() -> None:
    async def scenario() -> None:
        async def slow(_request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.5)
            return web.Response()

        async with (
            receiving(slow) as receiver,
            sending(webhook_allow=LOOPBACK, webhook_concurrency=1, webhook_timeout_seconds=3.0) as sender,
        ):
            results = await asyncio.gather(*(send(sender, receiver.url) for _ in range(8)))
            assert {result.http_status for result in results} == {200}

    run(scenario())


def test_nobody_listens() -> None:
    async def scenario() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
            async with sending(webhook_allow=LOOPBACK) as sender:
                assert await send(sender, url) == DeliveryResult(detail="the connection was refused")

    run(scenario())


@pytest.mark.parametrize(
    ("said", "detail"),
    [(b"", "the connection broke off"), (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is no HTTP")],
)
def test_what_is_no_http(said: bytes, detail: str) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()
        await writer.wait_closed()

    async def scenario() -> None:
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with server, sending(webhook_allow=LOOPBACK) as sender:
            port = server.sockets[0].getsockname()[1]
            assert await send(sender, f"http://127.0.0.1:{port}/") == DeliveryResult(detail=detail)

    run(scenario())


def test_a_name_that_does_not_resolve() -> None:
    def look_up(*_args: Any, **_options: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async def scenario() -> None:
        async with sending(look_up=look_up) as sender:
            result = await send(sender, "http://receiver.example/")
            assert result == DeliveryResult(detail=NO_ADDRESS)

    run(scenario())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_certificates_are_verified_for_everybody(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def scenario() -> None:
        async with receiving(tls=tls) as receiver, sending(webhook_allow=LOOPBACK) as sender:
            url = f"https://127.0.0.1:{receiver.port}/"
            for trusted in (False, True):
                result = await send(sender, url, trusted=trusted)
                assert result == DeliveryResult(detail="the certificate is not valid")
            assert not receiver.requests

    run(scenario())


# ---- where a client's URL may lead -----------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "user:password@127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
    ],
)
def test_an_address_that_is_not_allowed_is_final_in_every_spelling(host: str) -> None:
    async def scenario() -> None:
        async with receiving() as receiver, sending() as sender:
            result = await send(sender, f"http://{host}:{receiver.port}/hook")
            assert result == DeliveryResult(detail="the address is not allowed", forbidden=True)
            assert not receiver.requests

    run(scenario())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost."])
def test_a_name_that_leads_to_this_machine_is_not_connected_to(host: str) -> None:
    async def scenario() -> None:
        async with receiving() as receiver, sending() as sender:
            result = await send(sender, f"http://{host}:{receiver.port}/")
            assert not receiver.requests
            assert result.http_status is None
            assert not result.forbidden

    run(scenario())


# Full-width digits and dots, which IDNA turns into 127.0.0.1.
@pytest.mark.parametrize("host", ["①②⑦.⓪.⓪.①", "127。0。0。1", "\uff11\uff12\uff17.0.0.1", "%31%32%37.0.0.1"])
def test_unicode_does_not_hide_an_address(host: str) -> None:
    async def scenario() -> None:
        async with receiving() as receiver, sending() as sender:
            assert (await send(sender, f"http://{host}:{receiver.port}/")).http_status is None
            assert not receiver.requests

    run(scenario())


def names(answers: list[list[str]]) -> tuple[Callable[..., list[Any]], list[str]]:
    """A resolver that gives these addresses, one list for each look-up; and the names it was asked."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_options: Any) -> list[Any]:
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        found: list[Any] = []
        for address in addresses:
            if ":" in address:
                found.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)))
            else:
                found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)))
        return found

    return look_up, asked


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["127.0.0.1", "::1"], ["::ffff:127.0.0.1"], ["127.0.0.1", "127.0.0.2"]]
)
def test_a_name_is_judged_by_the_addresses_it_leads_to(addresses: list[str]) -> None:
    async def scenario() -> None:
        look_up, _ = names([addresses])
        async with receiving() as receiver, sending(look_up=look_up) as sender:
            result = await send(sender, f"http://receiver.example:{receiver.port}/")
            assert result == DeliveryResult(detail=NO_ADDRESS)  # not final: it may lead elsewhere later
            assert not receiver.requests

    run(scenario())


def test_only_the_allowed_one_of_several_addresses_is_connected_to() -> None:
    async def scenario() -> None:
        look_up, _ = names([["127.0.0.1", "::1", "127.0.0.2"]])
        allow = (ip_network("127.0.0.2/32"),)
        async with (
            receiving(host="0.0.0.0") as receiver,
            sending(look_up=look_up, webhook_allow=allow) as sender,
        ):
            assert (await send(sender, f"http://receiver.example:{receiver.port}/")).http_status == 200
            assert [local for _, _, local in receiver.requests] == ["127.0.0.2"]

    run(scenario())


def test_a_name_that_resolves_anew_to_another_address_gains_nothing() -> None:
    async def close(_request: web.Request) -> web.StreamResponse:
        return web.Response(headers={"Connection": "close"})

    async def scenario() -> None:
        look_up, asked = names([["127.0.0.2"], ["127.0.0.1"]])
        allow = (ip_network("127.0.0.2/32"),)
        async with (
            receiving(close, host="0.0.0.0") as receiver,
            sending(look_up=look_up, webhook_allow=allow) as sender,
        ):
            url = f"http://rebinding.example:{receiver.port}/"
            assert (await send(sender, url)).http_status == 200
            other = f"http://Rebinding.example.:{receiver.port}/"  # another key of every cache
            assert (await send(sender, other)).http_status is None
            assert len(asked) == 2
            assert [local for _, _, local in receiver.requests] == ["127.0.0.2"]

    run(scenario())


def test_the_admins_own_url_may_be_anywhere() -> None:
    async def scenario() -> None:
        look_up, _ = names([["127.0.0.1"]])
        async with receiving() as receiver, sending(look_up=look_up) as sender:
            assert (await send(sender, receiver.url, trusted=True)).http_status == 200
            url = f"http://receiver.internal:{receiver.port}/"
            assert (await send(sender, url, trusted=True)).http_status == 200

    run(scenario())


def test_a_connection_made_for_the_admin_is_not_used_for_a_client() -> None:
    async def scenario() -> None:
        look_up, _ = names([["127.0.0.1"]])
        async with receiving() as receiver, sending(look_up=look_up) as sender:
            url = f"http://receiver.internal:{receiver.port}/"
            assert (await send(sender, url, trusted=True)).http_status == 200
            assert (await send(sender, url)).http_status is None
            assert len(receiver.requests) == 1

    run(scenario())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with (
            receiving() as proxy,
            receiving() as receiver,
            sending(webhook_allow=LOOPBACK) as sender,
        ):
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            assert (await send(sender, receiver.url)).http_status == 200
            assert not proxy.requests

    run(scenario())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "/hook",
        "//127.0.0.1/",
        "ftp://receiver.example/",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "http+unix://%2Frun%2Fdocker.sock/",
        "http://",
        "http:///hook",
        "http://receiver.example:0/",
        "http://receiver.example:99999/",
        "http://receiver.example:port/",
        "http://[::1/",
        "http://receiver.example/" + "x" * 2048,
    ],
)
def test_what_is_no_url_of_a_receiver_is_final(url: str) -> None:
    async def scenario() -> None:
        async with sending() as sender:
            result = await send(sender, url)
            assert result == DeliveryResult(detail="the URL is not valid", forbidden=True)

    run(scenario())


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "http://a b.example/",
        "http://receiver.example\\@127.0.0.1/",
        "http://receiver.example\r\nX-Header: 1/",
        "http://" + "x" * 300 + ".example/",
        "http://.example/",
        "http://xn--a/",
        "http://\udcff.example/",
        "http://a..example/",
    ],
)
def test_odd_urls_are_failures_and_never_errors_of_ours(url: str, trusted: bool) -> None:
    def look_up(host: str, *_args: Any, **_options: Any) -> list[Any]:
        host.encode("idna")  # as the real one does
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async def scenario() -> None:
        async with sending(look_up=look_up) as sender:
            result = await send(sender, url, trusted=trusted)
            assert result.http_status is None
            assert result.detail

    run(scenario())


# ---- what is not told --------------------------------------------------------------------------------


def test_neither_logs_nor_results_hold_urls_or_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with receiving(answer(500)) as receiver, sending(webhook_allow=LOOPBACK) as sender:
            for host in (f"127.0.0.1:{receiver.port}", "127.0.0.1:1", "10.0.0.1"):
                url = f"http://user:password@{host}/private-path?token=private-query"
                result = await send(sender, url)
                assert not any(word in str(result) for word in ("127.0.0.1", "10.0.0.1", "private"))

    caplog.set_level(logging.DEBUG, logger="thumbnails_operator")
    run(scenario())
    assert "msg_1" in caplog.text
    for word in ("private-path", "private-query", "password", SECRET.removeprefix("whsec_")):
        assert word not in caplog.text
