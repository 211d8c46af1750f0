# ruff: noqa: INP001 - a program, of no package
"""Makes the service's bucket and its user in the bundled MinIO, from within MinIO's own pod.

Root's keys so stay in that pod: API and operator have the user's, which open one bucket. All of it is done
anew whenever the pod starts, and does no harm when it was done before. Then a port is opened, by which
the kubelet sees that the pod is ready. A child does the work, so that what stays in memory is small.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

PATIENCE_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.2
POLICY: Final = "thumbnails"


def policy(bucket: str) -> dict[str, Any]:
    """What the user may do: find, read, write and delete objects of one bucket."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetBucketLocation", "s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }


def give_access(environment: Mapping[str, str]) -> None:
    """Wait for MinIO, then make bucket, policy and user."""
    # Here, and not in the process that stays.
    from minio.credentials.providers import StaticProvider  # noqa: PLC0415
    from minio.error import MinioException  # noqa: PLC0415
    from minio.minioadmin import MinioAdmin  # noqa: PLC0415
    from urllib3 import PoolManager  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    from minio import Minio  # noqa: PLC0415

    address, bucket = environment["MINIO_ADDRESS"], environment["MINIO_BUCKET"]
    root, user = Path(environment["MINIO_ROOT_KEYS"]), Path(environment["MINIO_USER_KEYS"])
    provider = StaticProvider(_text(root / "root-user"), _text(root / "root-password"))
    access_key, secret_key = _text(user / "access-key"), _text(user / "secret-key")
    http = PoolManager(timeout=5, retries=False)
    client = Minio(address, credentials=provider, secure=False, http_client=http)
    admin = MinioAdmin(endpoint=address, credentials=provider, secure=False, http_client=http)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if not client.bucket_exists(bucket):
                client.make_bucket(bucket)
            admin.policy_add(POLICY, policy=policy(bucket))
            admin.user_add(access_key, secret_key)
            admin.policy_set(POLICY, user=access_key)
        except (MinioException, HTTPError) as error:
            if time.monotonic() > deadline:
                # Its text may hold what was sent.
                sys.exit(f"MinIO does not give access ({type(error).__name__})")
            time.sleep(PAUSE_SECONDS)
        else:
            return


def stay(port: int) -> None:
    """Be there for whoever looks, until SIGTERM: a process 1 that handles no signal gets none."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with socket.create_server(("", port)) as server:
        while True:
            server.accept()[0].close()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def main(arguments: list[str]) -> None:
    """Without arguments, for a container; with `once`, the child's part."""
    if arguments == ["once"]:
        give_access(os.environ)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    once = [sys.executable, __file__, "once"]
    if subprocess.run(once, check=False).returncode:  # noqa: S603 - this very file
        sys.exit(1)
    print("MinIO has the bucket and the user.", flush=True)  # noqa: T201 - the log of this container
    stay(int(os.environ["MINIO_ACCESS_PORT"]))


if __name__ == "__main__":
    main(sys.argv[1:])
