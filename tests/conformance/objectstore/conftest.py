"""The S3 servers that the object store has to work on (`tests/s3_servers.py`), each with an empty bucket."""

import contextlib
import dataclasses
import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.s3_servers import SERVERS, Server, make_server

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings


@pytest.fixture(scope="session", params=SERVERS)
def shared_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Settings]:
    """A server that many tests share: each uses keys of its own."""
    server = make_server(request.param, tmp_path_factory.mktemp("s3"))
    settings = server.start()
    with contextlib.closing(S3ObjectStore(settings)) as store:
        store.ensure_bucket()
    yield settings
    server.stop()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server for one test, to be stopped and killed."""
    server = make_server(request.param, tmp_path)
    yield server
    server.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., S3ObjectStore]]:
    """Makes object stores from settings, with some of them changed."""
    with contextlib.ExitStack() as stack:

        def connect(settings: S3Settings, **changes: object) -> S3ObjectStore:
            changed = dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
            return stack.enter_context(contextlib.closing(S3ObjectStore(changed)))

        yield connect


@pytest.fixture
def object_store(shared_settings: S3Settings, connect: Callable[..., S3ObjectStore]) -> S3ObjectStore:
    """The store under test."""
    return connect(shared_settings)


@pytest.fixture
def prefix() -> str:
    """A part of the bucket that no other test uses."""
    return f"sources/{secrets.token_hex(6)}/"


@pytest.fixture(autouse=True)
def _no_secret_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever is logged, at whatever level and by whatever library: no signature, no key."""
    caplog.set_level(logging.DEBUG)
    yield
    text = caplog.text
    for secret in ("X-Amz-Signature", "X-Amz-Credential", "Signature=", "AWS4-HMAC", "policy="):
        assert secret not in text
