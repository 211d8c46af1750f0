"""`python -m thumbnails_worker`: reads the settings, forks the nursery, and runs the supervisor.

A start is mostly imports, so this is where they are put in order. First what both processes need: messages
and the contract. After the fork they load in parallel what each needs alone: the nursery Pillow, its plugins
and the render steps (`nursery._serve`); the supervisor logs, threads and HTTP, which is that of the standard
library (docs/decisions/0012). Late, on first use: certificates for TLS (`connections._tls`).
"""

import os
import signal
import sys

from thumbnails_contract.environment import InvalidSetting

from . import messages  # noqa: F401 - what supervisor and renderers both need is loaded once, before the fork
from .nursery import start_nursery
from .settings import Settings

EXIT_INVALID_SETTING = 2


def main() -> int:
    """Run one worker; gives the exit code."""
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        print(f"thumbnails-worker: {error}", file=sys.stderr)  # noqa: T201 - for people, before any log
        return EXIT_INVALID_SETTING
    # Blocked here, they are for all threads and children: the main thread asks for them, the others
    # end when it does. A terminal's Ctrl-C reaches every process of the group.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    nursery = start_nursery()

    # What only the supervisor needs is loaded while the nursery loads Pillow.
    from thumbnails_contract import logs  # noqa: PLC0415 - after the fork

    from .supervisor import Supervisor  # noqa: PLC0415 - after the fork

    logs.configure(settings.log, "worker")
    return Supervisor(settings, nursery).run()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads may wait for the network: nothing is to be waited for any more.
    os._exit(code)
