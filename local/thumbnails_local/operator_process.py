"""`python -m thumbnails_local.operator_process`: the operator, with its workers as child processes."""

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from thumbnails_common.jobstore import Document
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_contract import logs
from thumbnails_contract.errors import Unavailable
from thumbnails_contract.wire import WorkAnswer, WorkRequest
from thumbnails_operator.controller import Controller, utc_now
from thumbnails_operator.eraser import Eraser
from thumbnails_operator.exchange import Exchange
from thumbnails_operator.janitor import Janitor
from thumbnails_operator.ports import WorkerIdentity, WorkerState
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.webhook_sender import WebhookSender

from .child import receive_s3_settings, say_ready
from .data_folder import DataFolder, next_generation
from .events import LogEventSink
from .job_feed import JobFeed
from .processes import ProcessExecutor
from .secrets import LocalSigningSecrets
from .sqlite_store import SqliteJobStore

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_TOKEN_BYTES = 32
# Workers have so long to bring back what they hold when the service ends.
_WORKER_STOP_SECONDS = 2.5


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


def main() -> None:
    """Work until SIGTERM."""
    settings = OperatorSettings.from_environment(os.environ)
    logs.configure(settings.log, "operator")
    folder = DataFolder(Path(os.environ["THUMBNAILS_DATA"]))
    # A power failure may take the last statuses back: those jobs are then looked at once more.
    store = SqliteJobStore(folder.jobs, durable=False)
    signing = LocalSigningSecrets.load(os.environ, folder.webhook_secret)
    objects = S3ObjectStore(receive_s3_settings())
    try:
        asyncio.run(_run(settings, folder, store, objects, signing))
    finally:
        store.close()
        objects.close()


async def _run(
    settings: OperatorSettings,
    folder: DataFolder,
    store: SqliteJobStore,
    objects: S3ObjectStore,
    signing: LocalSigningSecrets,
) -> None:
    loop = asyncio.get_running_loop()
    stop_asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_asked.set)

    reception = _Reception()
    workers = folder.run / "workers"
    workers.mkdir(exist_ok=True)
    executor = ProcessExecutor(
        workers, reception.worker_changed, new_token=lambda: secrets.token_urlsafe(_TOKEN_BYTES)
    )
    exchange = Exchange(reception, executor)
    port = await exchange.start(_HOST, 0)
    settings = replace(
        settings, exchange_host=_HOST, exchange_port=port, exchange_url=f"http://{_HOST}:{port}"
    )
    sender = WebhookSender(settings)
    controller = reception.controller = Controller(
        store=store,
        objects=objects,
        executor=executor,
        secrets=signing,
        events=LogEventSink(),
        sender=sender,
        settings=settings,
        generation=next_generation(folder.generation),
        deleting=lambda key: janitor.deleting(key),  # noqa: PLW0108 - it is made below
    )
    janitor = Janitor(
        objects,
        controller.jobs,
        settings,
        controller.run_blocking,
        utc_now,
        unreadable=controller.unreadable,
        held=controller.held,
    )
    controller.on_job_gone(deleted=janitor.job_deleted, kept=janitor.job_kept)
    eraser = Eraser(
        objects,
        janitor,
        controller.jobs,
        controller.delete_job,
        controller.held,
        settings,
        controller.counts,
        controller.run_blocking,
        clock=utc_now,
        monotonic=time.monotonic,
    )
    controller.workers_listed(())  # workers of an operator before this one died with it

    jobs_known = asyncio.Event()

    def listed(documents: Iterable[Document]) -> None:
        controller.jobs_listed(documents)
        jobs_known.set()

    feed = JobFeed(store, loop, listed=listed, changed=controller.job_changed)
    feed.start()
    running = asyncio.create_task(controller.run())
    await jobs_known.wait()
    cleaning = asyncio.create_task(janitor.run())
    erasing = asyncio.create_task(eraser.run())
    say_ready()

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


if __name__ == "__main__":
    main()
