"""`python -m thumbnails_local.operator_process`: the operator, with its workers as child processes."""

import asyncio
import os
import signal
from pathlib import Path

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_contract import logs
from thumbnails_operator.settings import OperatorSettings

from .child import receive_s3_settings, say_ready
from .data_folder import DataFolder, next_generation
from .operator_service import OperatorService
from .secrets import LocalSigningSecrets
from .sqlite_store import SqliteJobStore


def main() -> None:
    """Work until SIGTERM."""
    settings = OperatorSettings.from_environment(os.environ)
    logs.configure(settings.log, "operator")
    folder = DataFolder(Path(os.environ["THUMBNAILS_DATA"]))
    # A power failure may take the last statuses back: those jobs are then looked at once more.
    store = SqliteJobStore(folder.jobs, durable=False)
    signing = LocalSigningSecrets.load(os.environ, folder.webhook_secret)
    objects = S3ObjectStore(receive_s3_settings())
    workers = folder.run / "workers"
    workers.mkdir(exist_ok=True)
    service = OperatorService(
        store, objects, signing, settings, workers=workers, generation=next_generation(folder.generation)
    )
    try:
        asyncio.run(_run(service))
    finally:
        store.close()
        objects.close()


async def _run(service: OperatorService) -> None:
    stop_asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_asked.set)
    await service.run(stop_asked, on_ready=say_ready)


if __name__ == "__main__":
    main()
