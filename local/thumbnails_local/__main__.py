"""`python -m thumbnails_local`: checks what can be checked, and runs the service until Ctrl-C.

Exit status: 0 after Ctrl-C or SIGTERM, 2 when it cannot start, 1 when a part of it fails for good.
"""

import logging
import os
import secrets
import signal
import sys
from datetime import UTC, datetime
from types import FrameType
from typing import NoReturn


def main() -> int:
    """Start, and say in one line why not."""
    # Whoever changes their mind while modules are loaded sees no traceback.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)

    from thumbnails_api.keys_store import KeyStoreUnavailable  # noqa: PLC0415 - after the signal handlers
    from thumbnails_contract import logs  # noqa: PLC0415 - after the signal handlers
    from thumbnails_contract.errors import JobStoreUnavailable  # noqa: PLC0415
    from thumbnails_contract.variables import complaints  # noqa: PLC0415

    from . import launcher  # noqa: PLC0415
    from .data_folder import open_data_folder  # noqa: PLC0415
    from .first_key import make_first_key  # noqa: PLC0415
    from .listening import bind  # noqa: PLC0415
    from .secrets import LocalSigningSecrets  # noqa: PLC0415
    from .settings import LocalSettings  # noqa: PLC0415
    from .sqlite_store import SqliteJobStore  # noqa: PLC0415
    from .trouble import CrashLoop, StartError  # noqa: PLC0415

    try:
        settings = LocalSettings.from_environment(os.environ)
        logs.configure(settings.log, "launcher")
        for line in complaints(os.environ):
            logging.getLogger("thumbnails_local").warning("%s", line)
        folder, lock = open_data_folder(settings.data)
        sockets = bind(settings.host, settings.port)
        LocalSigningSecrets.load(os.environ, folder.webhook_secret)
        if settings.login:
            make_first_key(folder, datetime.now(UTC), secrets.choice)
        SqliteJobStore(folder.jobs, durable=False).close()  # made here, and of a version that we know
    except (StartError, JobStoreUnavailable, KeyStoreUnavailable) as error:
        return _complain(str(error), status=2)
    except OSError as error:
        return _complain(f"the data folder cannot be used: {error.strerror}", status=2)
    try:
        launcher.run(settings, folder, lock, sockets)
    except StartError as error:
        return _complain(str(error), status=2)
    except CrashLoop as error:
        return _complain(str(error), status=1)
    return 0


def _complain(message: str, *, status: int) -> int:
    sys.stderr.write(f"thumbnails: {message}\n")
    return status


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
