"""The port for the kubelet and Prometheus."""

import asyncio

import aiohttp

from thumbnails_operator.metrics import CONTENT_TYPE
from thumbnails_operator.probes import Probes


def ask(probes: Probes, path: str) -> tuple[int, str, str]:
    async def run() -> tuple[int, str, str]:
        port = await probes.start("127.0.0.1", 0)
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}{path}") as answer,
            ):
                return answer.status, answer.headers["Content-Type"], await answer.text()
        finally:
            await probes.stop()

    return asyncio.run(run())


def test_a_process_that_answers_is_healthy() -> None:
    assert ask(Probes(lambda: b"", lambda: "starting"), "/healthz")[0] == 200


def test_ready_or_why_not() -> None:
    assert ask(Probes(lambda: b"", lambda: None), "/readyz")[0] == 200
    status, _, text = ask(Probes(lambda: b"", lambda: "starting"), "/readyz")
    assert (status, text) == (503, "starting\n")


def test_metrics() -> None:
    assert ask(Probes(lambda: b"up 1\n", lambda: None), "/metrics") == (200, CONTENT_TYPE, "up 1\n")
