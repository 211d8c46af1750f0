"""A server that is killed, stopped or away: nothing acknowledged is lost, and nobody waits for ever."""

import hashlib
import io
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_contract.errors import ObjectStoreUnavailable

Connect = Callable[..., S3ObjectStore]


def test_killed_in_the_middle_and_started_again(server: Any, connect: Connect) -> None:
    settings = server.start()
    store = connect(settings, retry_seconds=30.0)
    store.ensure_bucket()
    acknowledged: dict[str, str] = {}
    unavailable: list[str] = []
    other: list[BaseException] = []
    enough, stop = threading.Event(), threading.Event()

    def write(thread: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key, content = f"sources/{thread}/{number}", os.urandom(200_000)
            try:
                store.put(key, io.BytesIO(content), len(content))
            except ObjectStoreUnavailable:
                unavailable.append(key)
                continue
            except BaseException as error:  # noqa: BLE001 - reported below
                other.append(error)
                return
            acknowledged[key] = hashlib.md5(content).hexdigest()
            if len(acknowledged) >= 20:
                enough.set()

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    server.signal(signal.SIGKILL)
    before = len(acknowledged)
    server.start()
    while len(acknowledged) < before + 8 and any(thread.is_alive() for thread in threads):
        stop.wait(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert not other
    assert len(acknowledged) >= before + 8, "writes go on after the restart"
    for key, etag in acknowledged.items():
        body = store.get(key)
        assert hashlib.md5(body.read()).hexdigest() == etag
        body.close()
    assert {facts.key for facts in store.list("sources/")} >= set(acknowledged)


def test_minio_was_tried_as_well() -> None:
    if not os.environ.get("THUMBNAILS_TEST_MINIO"):
        pytest.skip("only SeaweedFS was tried: THUMBNAILS_TEST_MINIO does not name a MinIO executable")


def test_away_and_back(server: Any, connect: Connect) -> None:
    settings = server.start()
    store = connect(settings, retry_seconds=0.3)
    store.ensure_bucket()
    store.put("sources/a", io.BytesIO(b"kept"), 4)
    server.signal(signal.SIGKILL)
    for call in (
        lambda: store.put("sources/b", io.BytesIO(b"x"), 1),
        lambda: store.head("sources/a"),
        lambda: store.get("sources/a"),
        lambda: list(store.list("sources/")),
        lambda: store.delete(["sources/a"]),
        store.ensure_bucket,
        store.check,
    ):
        with pytest.raises(ObjectStoreUnavailable):
            call()
    assert store.presign_get("sources/a", expires_seconds=60), "signing asks nobody"
    server.start()
    store.check()
    assert store.get("sources/a").read() == b"kept"


def test_a_server_that_hangs_is_given_up(server: Any, connect: Connect) -> None:
    settings = server.start()
    store = connect(settings, read_timeout_seconds=0.5, connect_timeout_seconds=0.5, retry_seconds=0.5)
    patient = connect(settings)
    patient.ensure_bucket()
    patient.put("sources/a", io.BytesIO(b"kept"), 4)
    server.signal(signal.SIGSTOP)
    try:
        for call in (
            lambda: store.put("sources/b", io.BytesIO(bytes(20_000_000)), 20_000_000),
            lambda: store.head("sources/a"),
            lambda: list(store.list("sources/")),
            store.check,
        ):
            with pytest.raises(ObjectStoreUnavailable):
                call()
    finally:
        server.signal(signal.SIGCONT)
    assert patient.head("sources/a").bytes == 4
