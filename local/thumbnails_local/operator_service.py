"""The operator on this machine, put together: its workers are child processes, its jobs come by a watch.

For the process that runs it (`operator_process.py`), on whatever job store that is given.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from thumbnails_common.jobstore import Document, JobStore
from thumbnails_common.objectstore import ObjectStore
from thumbnails_contract.errors import Unavailable
from thumbnails_contract.wire import WorkAnswer, WorkRequest
from thumbnails_operator.cleaning import create_cleaners
from thumbnails_operator.controller import Controller
from thumbnails_operator.exchange import Exchange
from thumbnails_operator.ports import SigningSecrets, WorkerIdentity, WorkerState
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.webhook_sender import WebhookSender

from .events import LogEventSink
from .job_feed import JobFeed
from .processes import ProcessExecutor

_HOST: Final = "127.0.0.1"
_TOKEN_BYTES: Final = 32
# Workers have so long to bring back what they hold when the service ends.
_WORKER_STOP_SECONDS: Final = 2.5


class _Reception:
    """Stands in for the controller at the exchange, whose port the controller's settings name."""

    controller: Controller | None = None

    async def work(self, worker: WorkerIdentity, request: WorkRequest) -> WorkAnswer:
        if self.controller is None:
            raise Unavailable("The operator is starting.")
        return await self.controller.work(worker, request)

    def worker_changed(self, state: WorkerState) -> None:
        if self.controller is not None:
            self.controller.worker_changed(state)


@dataclass(frozen=True, slots=True)
class OperatorService:
    """`workers` is a folder for their tokens; `generation` is greater than that of every one before."""

    store: JobStore
    objects: ObjectStore
    signing: SigningSecrets
    settings: OperatorSettings
    workers: Path
    generation: int

    async def run(self, stop_asked: asyncio.Event, *, on_ready: Callable[[], None]) -> None:
        """Work until it is asked to stop. The store is to be closed after that, which ends its watch."""
        loop = asyncio.get_running_loop()
        reception = _Reception()
        executor = ProcessExecutor(
            self.workers, reception.worker_changed, new_token=lambda: secrets.token_urlsafe(_TOKEN_BYTES)
        )
        exchange = Exchange(reception, executor)
        port = await exchange.start(_HOST, 0)
        settings = replace(
            self.settings, exchange_host=_HOST, exchange_port=port, exchange_url=f"http://{_HOST}:{port}"
        )
        sender = WebhookSender(settings)
        controller = reception.controller = Controller(
            store=self.store,
            objects=self.objects,
            executor=executor,
            secrets=self.signing,
            events=LogEventSink(),
            sender=sender,
            settings=settings,
            generation=self.generation,
            deleting=lambda key: janitor.deleting(key),  # noqa: PLW0108 - it is made below
        )
        janitor, eraser = create_cleaners(self.objects, controller, settings)
        controller.workers_listed(())  # workers of an operator before this one died with it

        jobs_known = asyncio.Event()

        def listed(documents: Iterable[Document]) -> None:
            controller.jobs_listed(documents)
            jobs_known.set()

        feed = JobFeed(self.store, loop, listed=listed, changed=controller.job_changed)
        feed.start()
        running = asyncio.create_task(controller.run())
        await jobs_known.wait()
        cleaning = asyncio.create_task(janitor.run())
        erasing = asyncio.create_task(eraser.run())
        on_ready()

        stopping = asyncio.create_task(stop_asked.wait())
        tasks = (running, cleaning, erasing)
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        # Workers first, while their results are still taken; nothing new is begun meanwhile.
        controller.pause()
        await executor.close(grace_seconds=_WORKER_STOP_SECONDS)
        feed.stop()
        await controller.stop()
        cleaning.cancel()
        erasing.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await exchange.stop()
        await sender.close()
        for task in tasks:
            if not task.cancelled():
                task.result()  # what it raised is a bug, and ends this process
