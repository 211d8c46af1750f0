"""Calls from threads on their way to the event loop."""

import asyncio
import threading

import pytest

from thumbnails_operator.bridge import Bridge


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
