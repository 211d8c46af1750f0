"""The work queue: each key once, never with two at a time, failures later and later."""

import asyncio
import random

from thumbnails_operator.queue import MAX_RETRY_SECONDS, WorkQueue


def make_queue() -> WorkQueue[str]:
    return WorkQueue(random.Random(1))


def test_a_key_is_in_it_once_and_in_order() -> None:
    async def scenario() -> None:
        queue = make_queue()
        for key in ("a", "b", "a"):
            queue.add(key)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 2  # both are worked on

    asyncio.run(scenario())


def test_a_key_that_is_worked_on_comes_once_more_afterwards() -> None:
    async def scenario() -> None:
        queue = make_queue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.add("a")
        getter = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        assert not getter.done()
        queue.done("a")
        assert await getter == "a"
        queue.done("a")
        assert len(queue) == 0

    asyncio.run(scenario())


def test_later_is_later_and_the_earliest_time_counts() -> None:
    async def scenario() -> None:
        queue = make_queue()
        queue.add_after("slow", 3600)
        queue.add_after("a", 0.05)
        queue.add_after("slow", 0.01)
        queue.add_after("slow", 3600)
        assert [await queue.get(), await queue.get()] == ["slow", "a"]
        queue.close()

    asyncio.run(scenario())


def test_failures_in_a_row_are_looked_at_later_and_later() -> None:
    async def scenario() -> None:
        queue = make_queue()
        loop = asyncio.get_running_loop()
        delays = []
        for _ in range(14):
            queue.retry("a")
            delays.append(queue._due.pop("a") - loop.time())
        assert delays[0] < 0.06
        assert MAX_RETRY_SECONDS / 2 < delays[-1] < MAX_RETRY_SECONDS + 1
        queue.succeeded("a")
        queue.retry("a")
        assert queue._due["a"] - loop.time() < 0.06
        queue.close()

    asyncio.run(scenario())


def test_a_cancelled_getter_takes_no_key_with_it() -> None:
    async def scenario() -> None:
        queue = make_queue()
        first = asyncio.create_task(queue.get())
        second = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await asyncio.wait_for(second, 5) == "a"

    asyncio.run(scenario())


def test_idle_is_when_nothing_is_worked_on() -> None:
    async def scenario() -> None:
        queue = make_queue()
        queue.add("a")
        idle = asyncio.create_task(queue.wait_idle())
        await queue.get()
        await asyncio.sleep(0)
        assert not idle.done()
        queue.done("a")
        await asyncio.wait_for(idle, 5)

    asyncio.run(scenario())
