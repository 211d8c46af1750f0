"""What the API's and the operator's process have in common: how the launcher talks to them."""

import json
import sys
from typing import Final

from thumbnails_common.s3_settings import S3Settings

# The sockets to listen on, by the numbers of their descriptors.
LISTEN_FDS: Final = "THUMBNAILS_LISTEN_FDS"
READY_LINE: Final = b"ready\n"


def receive_s3_settings() -> S3Settings:
    """Where the S3 server is; blocks until the launcher knows. It comes by stdin, for nobody else to see."""
    return S3Settings(**json.load(sys.stdin))


def say_ready() -> None:
    """Tell the launcher that requests and jobs may come."""
    sys.stdout.buffer.write(READY_LINE)
    sys.stdout.flush()
