"""The feed of the controller: a list, then every event, and a new list when the watch fell behind."""

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from thumbnails_common.jobstore import Document, Expired, JobPage, WatchEvent, WatchEventType
from thumbnails_contract.errors import JobStoreUnavailable
from thumbnails_local.job_feed import JobFeed

ADDED, BOOKMARK = WatchEventType.ADDED, WatchEventType.BOOKMARK


class ScriptedStore:
    """Lists and watches as it was told; after the script, watches wait until `close`."""

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self._closed = threading.Event()
        self.calls: list[str] = []

    def list(self, namespace: str | None = None, *, continue_token: str | None = None) -> JobPage:
        assert namespace is None
        self.calls.append(f"list {continue_token}")
        page = self._script.pop(0)
        if isinstance(page, Exception):
            raise page
        assert isinstance(page, JobPage)
        return page

    def watch(self, version: str) -> Iterator[WatchEvent]:
        self.calls.append(f"watch {version}")
        if not self._script:
            self._closed.wait(60)
            return
        for event in self._script.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self) -> None:
        self._closed.set()


def event(name: str, version: int, type_: WatchEventType = ADDED) -> WatchEvent:
    return WatchEvent(type_, {"name": name}, str(version))


def page(version: int, *names: str, token: str | None = None) -> JobPage:
    return JobPage(tuple({"name": name} for name in names), str(version), token)


def told(store: ScriptedStore, count: int) -> list[tuple[str, list[str]]]:
    """What the controller is told, once it was told `count` things."""
    seen: list[tuple[str, list[str]]] = []

    async def main() -> None:
        enough = asyncio.Event()

        def tell(kind: str, documents: Iterable[Document]) -> None:
            seen.append((kind, [document["name"] for document in documents]))
            if len(seen) == count:
                enough.set()

        feed = JobFeed(
            store,  # type: ignore[arg-type]  # what the feed needs of it
            asyncio.get_running_loop(),
            listed=lambda documents: tell("listed", documents),
            changed=lambda type_, document: tell(type_, [document]),
        )
        feed.start()
        async with asyncio.timeout(60):
            await enough.wait()
        deadline = time.monotonic() + 60
        while not store.calls[-1].startswith("watch"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        feed.stop()
        store.close()

    asyncio.run(main())
    return seen


def test_all_pages_are_one_list_and_events_follow_in_order() -> None:
    store = ScriptedStore(page(5, "a", token="t"), page(5, "b"), [event("c", 6), event("d", 7)])
    assert told(store, 3) == [("listed", ["a", "b"]), ("ADDED", ["c"]), ("ADDED", ["d"])]
    assert store.calls[:3] == ["list None", "list t", "watch 5"]


def test_the_next_watch_begins_where_the_last_one_ended() -> None:
    store = ScriptedStore(page(5), [event("a", 6), event("", 9, BOOKMARK)], [event("b", 10)])
    assert told(store, 3) == [("listed", []), ("ADDED", ["a"]), ("ADDED", ["b"])]
    assert store.calls == ["list None", "watch 5", "watch 9", "watch 10"]


def test_a_watch_that_fell_behind_is_a_new_list() -> None:
    store = ScriptedStore(page(5, "a"), [Expired()], page(50, "b"), [event("c", 51)])
    assert told(store, 3) == [("listed", ["a"]), ("listed", ["b"]), ("ADDED", ["c"])]


def test_pages_that_expire_are_begun_anew() -> None:
    store = ScriptedStore(page(5, "a", token="t"), Expired(), page(50, "b"))
    assert told(store, 1) == [("listed", ["b"])]


def test_a_store_that_is_away_is_asked_again() -> None:
    store = ScriptedStore(page(5), [JobStoreUnavailable("away")], page(6, "a"))
    assert told(store, 2) == [("listed", []), ("listed", ["a"])]
