"""The exchange as a worker sees it: who may ask, what is refused, and what a broken connection costs."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from thumbnails_contract.errors import Unavailable
from thumbnails_contract.wire import WorkAnswer, WorkRequest
from thumbnails_operator.exchange import IDENTITY_SECONDS, MAX_BODY_BYTES, Exchange
from thumbnails_operator.ports import WorkerIdentity

WORKER = WorkerIdentity("ns", "worker", "uid")
REQUEST = {"protocol": 1, "rendererVersion": 1}


class Source:
    def __init__(self) -> None:
        self.requests: list[WorkRequest] = []
        self.error: Exception | None = None
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.error_after_wait: Exception | None = None
        self.wait_for_ever = False
        self.go_on = asyncio.Event()

    async def work(self, worker: WorkerIdentity, request: WorkRequest) -> WorkAnswer:
        assert worker == WORKER
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        if self.wait_for_ever:
            self.waiting.set()
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            if self.error_after_wait is not None:
                raise self.error_after_wait
        return WorkAnswer(7)


class Identifier:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def identify(self, token: str) -> WorkerIdentity | None:
        self.asked.append(token)
        if self.away:
            raise Unavailable
        return WORKER if token == "good" else None


class Setup:
    def __init__(self) -> None:
        self.now = 0.0
        self.source, self.identifier = Source(), Identifier()
        self.exchange = Exchange(
            self.source, self.identifier, monotonic=lambda: self.now, heartbeat_seconds=0.02
        )
        self.url = ""

    async def post(self, body: Any = None, token: str | None = "Bearer good") -> tuple[int, bytes]:
        headers = {"Authorization": token} if token is not None else {}
        data = body if isinstance(body, bytes) else json.dumps(body or REQUEST).encode()
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/work", data=data, headers=headers) as response,
        ):
            return response.status, await response.read()


def with_exchange(scenario: Callable[[Setup], Awaitable[None]]) -> None:
    async def run() -> None:
        setup = Setup()
        port = await setup.exchange.start("127.0.0.1", 0)
        setup.url = f"http://127.0.0.1:{port}"
        try:
            await scenario(setup)
        finally:
            await setup.exchange.stop()

    asyncio.run(run())


def test_a_worker_is_answered() -> None:
    async def scenario(setup: Setup) -> None:
        status, body = await setup.post()
        assert status == 200
        assert WorkAnswer.parse(json.loads(body)) == WorkAnswer(7)

    with_exchange(scenario)


@pytest.mark.parametrize("token", [None, "", "good", "Bearer", "Bearer ", "Bearer bad", "Basic good"])
def test_nobody_else_is(token: str | None) -> None:
    async def scenario(setup: Setup) -> None:
        status, body = await setup.post(token=token)
        assert (status, body) == (401, b"")
        assert setup.source.requests == []

    with_exchange(scenario)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"protocol": 1}',
        b'{"protocol": 2, "rendererVersion": 1}',
        b'{"protocol": 1, "rendererVersion": 1, "poll": {"capacity": "x", "holding": []}}',
        b'{"protocol": 1, "rendererVersion": 1, "results": [{}]}',
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    async def scenario(setup: Setup) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{setup.url}/work", data=body, headers={"Authorization": "Bearer good"}
            ) as response,
        ):
            assert response.status == 400
        assert setup.source.requests == []

    with_exchange(scenario)


def test_a_body_over_the_limit_is_refused() -> None:
    async def scenario(setup: Setup) -> None:
        body = io.BytesIO(b" " * (MAX_BODY_BYTES + 1))
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{setup.url}/work", data=body, headers={"Authorization": "Bearer good"}
            ) as response,
        ):
            assert response.status == 413

    with_exchange(scenario)


def test_a_token_is_asked_about_every_few_seconds_only() -> None:
    async def scenario(setup: Setup) -> None:
        for _ in range(3):
            await setup.post()
        assert setup.identifier.asked == ["good"]
        setup.now += IDENTITY_SECONDS
        await setup.post()
        assert setup.identifier.asked == ["good", "good"]

    with_exchange(scenario)


def test_what_is_away_is_a_503() -> None:
    async def scenario(setup: Setup) -> None:
        setup.source.error = Unavailable("The operator is starting.")
        assert (await setup.post())[0] == 503
        setup.source.error = None
        setup.now += IDENTITY_SECONDS
        setup.identifier.away = True
        assert (await setup.post())[0] == 503

    with_exchange(scenario)


def test_a_worker_that_hangs_up_ends_its_wait() -> None:
    async def scenario(setup: Setup) -> None:
        setup.source.wait_for_ever = True
        call = asyncio.create_task(setup.post())
        await asyncio.wait_for(setup.source.waiting.wait(), 30)
        call.cancel()
        await asyncio.wait_for(setup.source.cancelled.wait(), 30)

    with_exchange(scenario)


async def wait_for_spaces(response: aiohttp.ClientResponse) -> None:
    assert (response.status, response.content_type) == (200, "application/json")
    for _ in range(3):
        assert set(await response.content.readany()) == set(b" ")


def waiting(setup: Setup, session: aiohttp.ClientSession) -> Any:
    setup.source.wait_for_ever = True
    return session.post(f"{setup.url}/work", json=REQUEST, headers={"Authorization": "Bearer good"})


def test_while_a_worker_waits_it_hears_that_the_operator_is_alive() -> None:
    async def scenario(setup: Setup) -> None:
        async with aiohttp.ClientSession() as session, waiting(setup, session) as response:
            await wait_for_spaces(response)
            setup.source.go_on.set()
            assert WorkAnswer.parse(json.loads(await response.read())) == WorkAnswer(7)
            assert (await setup.post())[0] == 200

    with_exchange(scenario)


def test_a_worker_that_hangs_up_while_it_hears_that_ends_its_wait() -> None:
    async def scenario(setup: Setup) -> None:
        async with aiohttp.ClientSession() as session, waiting(setup, session) as response:
            await wait_for_spaces(response)
        await asyncio.wait_for(setup.source.cancelled.wait(), 30)

    with_exchange(scenario)


def test_what_fails_while_a_worker_waits_breaks_its_answer() -> None:
    async def scenario(setup: Setup) -> None:
        setup.source.error_after_wait = Unavailable("The operator is ending.")
        async with aiohttp.ClientSession() as session, waiting(setup, session) as response:
            await wait_for_spaces(response)
            setup.source.go_on.set()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    with_exchange(scenario)


def test_health() -> None:
    async def scenario(setup: Setup) -> None:
        async with aiohttp.ClientSession() as session, session.get(f"{setup.url}/healthz") as response:
            assert response.status == 200

    with_exchange(scenario)
