"""Events on their way to the controller, and what kopf is told to watch."""

import asyncio
import itertools
import threading
from typing import Any

import kopf
import pytest

from thumbnails_operator import handlers
from thumbnails_operator.cluster_feed import Bridge


def test_a_bridge_keeps_the_order_and_outlasts_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> list[int]:
        seen: list[int] = []
        done = asyncio.Event()

        def take(number: int) -> None:
            if number == 3:
                raise ValueError
            seen.append(number)
            if number == 99:
                done.set()

        bridge = Bridge(asyncio.get_running_loop())

        def send() -> None:
            for number in range(100):
                bridge.call(take, number)

        thread = threading.Thread(target=send)
        thread.start()
        await asyncio.wait_for(done.wait(), 30)
        thread.join()
        return seen

    assert asyncio.run(run()) == [number for number in range(100) if number != 3]
    assert "could not be taken in" in caplog.text


def test_a_bridge_to_a_closed_loop_leads_nowhere() -> None:
    loop = asyncio.new_event_loop()
    bridge = Bridge(loop)
    loop.close()
    bridge.call(lambda: None)


def test_kopf_writes_nothing_and_never_gives_up() -> None:
    settings = handlers.settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.process.ultimate_exiting_timeout is None
    backoffs: Any = settings.networking.error_backoffs
    for _ in range(2):  # it is read anew for each request
        delays = list(itertools.islice(iter(backoffs), 100))
        assert delays[0] < 1 and max(delays) <= 12


def test_only_events_are_handled_so_that_there_are_no_finalizers() -> None:
    listeners = handlers.Listeners(*(lambda _kind, _document: None for _ in range(3)))
    registry = handlers.registry(listeners)
    assert isinstance(registry, kopf.OperatorRegistry)
    assert not registry._changing.get_all_handlers() and not registry._spawning.get_all_handlers()
    selectors = [handler.selector for handler in registry._watching.get_all_handlers()]
    watched = {(each.group, each.version, each.any_name) for each in selectors if each}
    assert watched == {handlers.JOB, handlers.WORKER, handlers.POD}
