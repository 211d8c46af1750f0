"""The erasure of an account on each object store: what lies under its prefixes goes, and is said to."""

import asyncio
import io
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from thumbnails_common.erasure import Erasure, read_erasure
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_contract.keys import account_prefixes, erasure_key, tombstone_key
from thumbnails_operator.counts import Counts
from thumbnails_operator.eraser import BATCH_OBJECTS, Eraser
from thumbnails_operator.settings import OperatorSettings

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SHA = "a" * 64


def put(store: S3ObjectStore, key: str, data: bytes = b"x") -> None:
    store.put(key, io.BytesIO(data), len(data))


def test_all_of_an_account_goes_and_what_has_a_name_like_it_stays(object_store: S3ObjectStore) -> None:
    namespace, now = f"ns-{secrets.token_hex(6)}", 0.0

    class Janitor:
        async def remove(self, keys: Sequence[str]) -> None:
            await asyncio.to_thread(object_store.delete, keys)

    async def run_blocking(function: Any, *arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(function, *arguments, **options)

    async def no_job(_job: Any) -> None:
        raise AssertionError("there are no jobs")

    eraser = Eraser(
        object_store,
        Janitor(),
        tuple,
        no_job,
        tuple,
        OperatorSettings(erasure_seconds=1),
        Counts(),
        run_blocking,
        clock=lambda: NOW,
        monotonic=lambda: now,
        namespaces=[namespace],
    )
    theirs = [
        f"{prefix}{SHA}/{number}" for prefix in account_prefixes(namespace, "shop") for number in range(3)
    ]
    many = [f"{account_prefixes(namespace, 'shop')[1]}{SHA}/{number:032x}" for number in range(BATCH_OBJECTS)]
    others = [
        f"{prefix}{SHA}/1" for name in ("sho", "shop-2") for prefix in account_prefixes(namespace, name)
    ]
    others.append(tombstone_key(namespace, "unreadable"))
    for key in (*theirs, *many, *others):
        put(object_store, key)
    erasure = Erasure(namespace, "shop", "e-1", NOW)
    put(object_store, erasure.key, erasure.to_bytes())
    looks = 0
    while asyncio.run(eraser.look()):
        now, looks = now + 10, looks + 1
        assert looks < 5
    left = [
        facts.key
        for prefix in ("sources/", "thumbnails/", "idempotency/", "history/", "tombstones/")
        for facts in object_store.list(f"{prefix}{namespace}/")
    ]
    assert sorted(left) == sorted(others)
    done = read_erasure(object_store, erasure_key(namespace, "shop", done=True))
    assert done is not None
    assert (done.id, done.finished_at, done.objects) == ("e-1", NOW, len(theirs) + len(many))
    assert read_erasure(object_store, erasure.key) is None
