"""Workers as child processes: what they get, what is told of them, how they end."""

import asyncio
import itertools
import json
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from thumbnails_contract.errors import Unavailable
from thumbnails_local.processes import ProcessExecutor
from thumbnails_operator.ports import WorkerPhase, WorkerState

Make = Callable[..., dict[str, Any]]
FOREVER = "import time\ntime.sleep(600)\n"


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


class World:
    """An executor, and what it told."""

    def __init__(self, folder: Path, **options: Any) -> None:
        numbers = itertools.count()
        self.folder = folder
        self.told: asyncio.Queue[WorkerState] = asyncio.Queue()
        self.executor = ProcessExecutor(
            folder, self.told.put_nowait, new_token=lambda: f"token-{next(numbers)}", **options
        )

    async def next(self) -> WorkerState:
        async with asyncio.timeout(60):
            return await self.told.get()

    async def end_of(self, manifest: dict[str, Any]) -> WorkerState:
        await self.executor.create(manifest)
        assert (await self.next()).phase is WorkerPhase.RUNNING
        return await self.next()


@asynccontextmanager
async def world(folder: Path, **options: Any) -> AsyncIterator[World]:
    one = World(folder, **options)
    try:
        yield one
    finally:
        await one.executor.close()


Test = Callable[..., Coroutine[Any, Any, None]]


def run(test: Callable[[World], Awaitable[None]], folder: Path, **options: Any) -> None:
    async def main() -> None:
        async with world(folder, **options) as one:
            await test(one)

    asyncio.run(main())


def test_a_worker_gets_the_environment_of_its_manifest_and_little_else(
    tmp_path: Path, manifest: Make
) -> None:
    code = (
        "import json, os\n"
        "token = open(os.environ['THUMBNAILS_EXCHANGE_TOKEN_FILE']).read()\n"
        "json.dump([dict(os.environ), token, os.getcwd()], open(os.environ['OUT'], 'w'))\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C",
        "THUMBNAILS_S3_SECRET_KEY": "key",
        "HOME": "/root",
    }

    async def test(one: World) -> None:
        sent = manifest(
            "w", code, OUT=str(tmp_path / "out"), MINE="1", THUMBNAILS_EXCHANGE_TOKEN_FILE="/elsewhere"
        )
        assert (await one.end_of(sent)).phase is WorkerPhase.ENDED

    run(test, tmp_path / ".", environment=environment)
    seen, token, folder = json.loads((tmp_path / "out").read_text())
    assert token == "token-0"
    assert folder == "/"
    assert seen["MINE"] == "1"
    assert seen.keys() - {"LC_CTYPE"} == {"PATH", "LANG", "OUT", "MINE", "THUMBNAILS_EXCHANGE_TOKEN_FILE"}


def test_the_token_is_for_its_owner_alone_and_goes_with_the_worker(tmp_path: Path, manifest: Make) -> None:
    async def test(one: World) -> None:
        await one.executor.create(manifest("w", FOREVER))
        (token_file,) = files(tmp_path)
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        await one.executor.delete("thumbnails", "w")
        await one.executor.close()
        assert files(tmp_path) == []

    run(test, tmp_path)


def test_workers_are_known_by_their_tokens_until_they_are_gone(tmp_path: Path, manifest: Make) -> None:
    async def test(one: World) -> None:
        for name in ("a", "b"):
            await one.executor.create(manifest(name, FOREVER))
        a, b = [await one.executor.identify(token) for token in ("token-0", "token-1")]
        assert a is not None
        assert b is not None
        assert (a.namespace, a.name, b.name) == ("thumbnails", "a", "b")
        assert a.uid != b.uid
        assert await one.executor.identify("token-2") is None
        assert await one.executor.identify("") is None
        assert await one.executor.identify("tökén") is None
        await one.executor.delete("thumbnails", "a")
        await one.executor.close()
        assert await one.executor.identify("token-0") is None

    run(test, tmp_path)


@pytest.mark.parametrize(
    ("code", "phase", "reason"),
    [
        ("", WorkerPhase.ENDED, ""),
        ("raise SystemExit(3)", WorkerPhase.FAILED, "Error"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", WorkerPhase.FAILED, "Error"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", WorkerPhase.FAILED, "Error"),
    ],
)
def test_how_a_worker_ended_is_told_in_the_words_of_kubernetes(
    tmp_path: Path, manifest: Make, code: str, phase: WorkerPhase, reason: str
) -> None:
    async def test(one: World) -> None:
        state = await one.end_of(manifest("w", code))
        assert (state.phase, state.reason) == (phase, reason)
        assert await one.executor.list() == (state,)

    run(test, tmp_path)


def test_the_deadline_of_a_job_ends_its_worker(tmp_path: Path, manifest: Make) -> None:
    async def test(one: World) -> None:
        state = await one.end_of(manifest("w", FOREVER, deadline=0.1))
        assert (state.phase, state.reason) == (WorkerPhase.FAILED, "DeadlineExceeded")

    run(test, tmp_path)


def test_both_calls_can_be_repeated(tmp_path: Path, manifest: Make) -> None:
    async def test(one: World) -> None:
        await one.executor.create(manifest("w", FOREVER))
        await one.executor.create(manifest("w", FOREVER))
        assert [state.name for state in await one.executor.list()] == ["w"]
        assert one.told.qsize() == 1
        await one.executor.delete("thumbnails", "w")
        await one.executor.delete("thumbnails", "w")
        assert await one.executor.list() == ()

    run(test, tmp_path)


def test_a_worker_has_some_seconds_to_end_by_itself(tmp_path: Path, manifest: Make) -> None:
    code = (
        "import os, signal, sys, time\n"
        "def end(*_):\n"
        "    open(os.environ['OUT'], 'a').write('ended')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(os.environ['OUT'], 'w').close()\n" + FOREVER
    )
    out = tmp_path / "out"

    async def test(one: World) -> None:
        await one.executor.create(manifest("w", code, OUT=str(out)))
        async with asyncio.timeout(60):
            while not out.exists():  # noqa: ASYNC110 - the file is another process's
                await asyncio.sleep(0.01)
        await one.executor.close()

    run(test, tmp_path, grace_seconds=60)
    assert out.read_text() == "ended"


def test_a_worker_that_does_not_end_is_killed(tmp_path: Path, manifest: Make) -> None:
    out = tmp_path / "out"
    code = (
        "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open(os.environ['OUT'], 'w').write(str(os.getpid()))\n" + FOREVER
    )

    async def test(one: World) -> None:
        await one.executor.create(manifest("w", code, OUT=str(out)))
        async with asyncio.timeout(60):
            while not out.exists() or not out.read_text():  # noqa: ASYNC110 - the file is another process's
                await asyncio.sleep(0.01)
        await one.executor.close()

    run(test, tmp_path, grace_seconds=0.1)
    assert not Path("/proc", out.read_text()).exists()


def test_nothing_is_told_of_a_deleted_worker(tmp_path: Path, manifest: Make) -> None:
    async def test(one: World) -> None:
        await one.executor.create(manifest("w", FOREVER))
        await one.next()
        await one.executor.delete("thumbnails", "w")
        await one.executor.close()
        assert one.told.empty()

    run(test, tmp_path)


def test_a_closed_executor_starts_nothing(tmp_path: Path, manifest: Make) -> None:
    async def test(one: World) -> None:
        await one.executor.close()
        with pytest.raises(Unavailable):
            await one.executor.create(manifest("w", FOREVER))

    run(test, tmp_path)


def test_a_worker_that_cannot_be_started(tmp_path: Path, manifest: Make) -> None:
    async def test(one: World) -> None:
        with pytest.raises(Unavailable):
            await one.executor.create(manifest("w", ""))
        assert await one.executor.list() == ()

    run(test, tmp_path / "none")


def test_workers_die_with_the_operator(tmp_path: Path) -> None:
    worker_code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    code = f"""
import asyncio, pathlib
from thumbnails_local.processes import ProcessExecutor
async def main():
    executor = ProcessExecutor(pathlib.Path({str(tmp_path)!r}), print, new_token=lambda: "t")
    container = {{"command": ["python", "-c", {worker_code!r}]}}
    spec = {{"template": {{"spec": {{"containers": [container]}}}}}}
    await executor.create({{"metadata": {{"name": "w", "namespace": "n"}}, "spec": spec}})
    await asyncio.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as operator:
        assert operator.stderr is not None
        worker = os.pidfd_open(
            int(operator.stderr.readline())
        )  # its output goes where the operator's log does
        operator.send_signal(signal.SIGKILL)
        poll = select.poll()
        poll.register(worker, select.POLLIN)
        assert poll.poll(60_000)
        os.close(worker)
