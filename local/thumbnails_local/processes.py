"""The Executor port on one machine: each worker Job is a child process of the operator.

What a pod gets from Kubernetes, a worker gets here: the manifest's command and environment and nothing
else of ours (no keys of the object store), a token file that only it is told of, a signal and some
seconds to end, and an end at `activeDeadlineSeconds`. Workers die with the operator (`leash.py`), so
none is ever found running.
"""

import asyncio
import contextlib
import hmac
import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from thumbnails_contract.errors import Unavailable
from thumbnails_operator.ports import Manifest, WorkerIdentity, WorkerPhase, WorkerState

from . import leash
from .credentials import write_private

_log = logging.getLogger(__name__)

_TOKEN_VARIABLE: Final = "THUMBNAILS_EXCHANGE_TOKEN_FILE"  # noqa: S105 - the name of a variable
# What a program needs to run at all.
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
_PYTHON: Final = "python"

OnChange = Callable[[WorkerState], None]


@dataclass
class _Worker:
    """A worker that was not deleted yet."""

    state: WorkerState
    identity: WorkerIdentity
    token: str = field(repr=False)
    token_file: Path
    process: asyncio.subprocess.Process | None = None
    killed: str = ""  # why we killed it
    task: asyncio.Task[None] | None = None


class ProcessExecutor:
    """Runs workers as children, and knows them by their tokens (the WorkerIdentifier port too).

    `on_change` is told of every new state, on the event loop that runs these methods, which must be
    that of a thread that lives as long as the workers should.
    """

    def __init__(
        self,
        folder: Path,
        on_change: OnChange,
        *,
        new_token: Callable[[], str],
        environment: Mapping[str, str] = os.environ,
        grace_seconds: float = 8.0,
    ) -> None:
        self._folder = folder
        self._on_change = on_change
        self._new_token = new_token
        self._environment = {name: environment[name] for name in _PASSED_ON if name in environment}
        self._grace_seconds = grace_seconds
        self._workers: dict[tuple[str, str], _Worker] = {}
        # Until its process is gone: one that is told to end still has results to bring.
        self._identities: dict[str, WorkerIdentity] = {}
        self._closed = False
        self._ending: set[asyncio.Task[None]] = set()

    # ---- Executor ------------------------------------------------------------------------------

    async def create(self, manifest: Manifest) -> None:
        """Start a worker from a Job manifest; one that is there is no error. Raises Unavailable."""
        metadata, spec = manifest["metadata"], manifest["spec"]
        namespace, name = metadata["namespace"], metadata["name"]
        if (namespace, name) in self._workers:
            return
        if self._closed:
            raise Unavailable("The operator is ending.")
        (container,) = spec["template"]["spec"]["containers"]
        uid = str(uuid.uuid4())
        worker = _Worker(
            state=WorkerState(namespace, name, WorkerPhase.STARTING),
            identity=WorkerIdentity(namespace, name, uid),
            token=self._new_token(),
            token_file=self._folder / uid,
        )
        self._workers[namespace, name] = worker
        self._identities[worker.token] = worker.identity
        try:
            await asyncio.to_thread(write_private, worker.token_file, worker.token)
            worker.process = await self._start(container, worker.token_file)
        except OSError as error:
            self._workers.pop((namespace, name), None)
            self._forget_token(worker)
            _log.error("a worker cannot be started: %s", error.strerror)
            raise Unavailable("A worker process cannot be started.") from error
        if not self._is_there(worker):  # deleted meanwhile
            await self._end(worker)
            return
        _log.debug("worker %s started: process %d", name, worker.process.pid)
        self._change(worker, WorkerPhase.RUNNING)
        worker.task = asyncio.create_task(self._follow(worker, spec.get("activeDeadlineSeconds")))

    async def delete(self, namespace: str, name: str) -> None:
        """End a worker and forget it, at once; what is left of its end goes on by itself."""
        worker = self._workers.pop((namespace, name), None)
        if worker is None:
            return
        task = asyncio.create_task(self._end(worker))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def list(self) -> tuple[WorkerState, ...]:
        """All workers that were not deleted."""
        return tuple(worker.state for worker in self._workers.values())

    async def close(self, *, grace_seconds: float | None = None) -> None:
        """End all workers, take no more, and return when none is left."""
        self._closed = True
        if grace_seconds is not None:
            self._grace_seconds = grace_seconds
        for namespace, name in tuple(self._workers):
            await self.delete(namespace, name)
        if self._ending:
            await asyncio.wait(self._ending)

    # ---- WorkerIdentifier ----------------------------------------------------------------------

    async def identify(self, token: str) -> WorkerIdentity | None:
        """The worker whose token this is."""
        given, found = token.encode(), None
        for known, identity in self._identities.items():
            # Each is compared, and in constant time: nothing can be learnt from how long it takes.
            if hmac.compare_digest(given, known.encode()):
                found = identity
        return found

    # ---- processes -----------------------------------------------------------------------------

    async def _start(self, container: Mapping[str, Any], token_file: Path) -> asyncio.subprocess.Process:
        command = [*container["command"], *container.get("args", ())]
        if command[0] == _PYTHON:
            command[0] = sys.executable
        environment = {**self._environment}
        environment.update({item["name"]: item["value"] for item in container.get("env", ())})
        environment[_TOKEN_VARIABLE] = str(token_file)
        return await asyncio.create_subprocess_exec(
            *leash.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # ours is not for logs
            cwd="/",
            env=environment,
        )

    async def _follow(self, worker: _Worker, deadline_seconds: float | None) -> None:
        """Wait for the end, make it happen at the deadline, and tell of it."""
        assert worker.process is not None
        try:
            async with asyncio.timeout(deadline_seconds):
                await worker.process.wait()
        except TimeoutError:
            await self._stop(worker, "DeadlineExceeded")
        self._forget_token(worker)
        phase, reason, message = _outcome(worker.process.returncode, worker.killed)
        if phase is WorkerPhase.FAILED and self._is_there(worker):
            _log.warning("worker %s: %s", worker.state.name, message)
        self._change(worker, phase, reason, message)

    async def _end(self, worker: _Worker) -> None:
        if worker.process is None:
            return  # `create` is not through yet, and will come here by itself
        await self._stop(worker, "Deleted")
        self._forget_token(worker)
        if worker.task is not None:
            await worker.task

    async def _stop(self, worker: _Worker, why: str) -> None:
        """SIGTERM, and SIGKILL after the grace time."""
        process = worker.process
        assert process is not None
        if process.returncode is not None:
            return
        worker.killed = why
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace_seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _forget_token(self, worker: _Worker) -> None:
        self._identities.pop(worker.token, None)
        worker.token_file.unlink(missing_ok=True)

    def _is_there(self, worker: _Worker) -> bool:
        return self._workers.get((worker.state.namespace, worker.state.name)) is worker

    def _change(self, worker: _Worker, phase: WorkerPhase, reason: str = "", message: str = "") -> None:
        worker.state = replace(worker.state, phase=phase, reason=reason, message=message)
        if self._is_there(worker):
            self._on_change(worker.state)


def _outcome(status: int | None, killed: str) -> tuple[WorkerPhase, str, str]:
    """Phase, reason and message for the exit status of a worker, in the words of Kubernetes.

    `killed` is why we killed it; of one that was deleted nobody is told anything.
    """
    if killed:
        return WorkerPhase.FAILED, killed, "the worker ran longer than it may"
    if status == 0:
        return WorkerPhase.ENDED, "", ""
    # SIGKILL too: it may be the kernel for want of memory, or anybody else, and nothing here can tell.
    if status is not None and status < 0:
        return WorkerPhase.FAILED, "Error", f"the worker was ended by {signal.Signals(-status).name}"
    return WorkerPhase.FAILED, "Error", f"the worker ended with exit status {status}"
