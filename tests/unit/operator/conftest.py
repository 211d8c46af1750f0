"""Jobs to decide about."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import source_key
from thumbnails_contract.spec import Spec
from thumbnails_contract.status import Status

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def make_job() -> Callable[..., ThumbnailJob]:
    """`make_job(suspend=True)` is a job whose spec says so; `status=` and `name=` are its own."""

    def make(name: str = "one", status: Status | None = None, **spec: Any) -> ThumbnailJob:
        spec.setdefault("object_key", source_key("thumbnails", "default", "ab" * 32, name))
        return ThumbnailJob(
            key=JobKey("thumbnails", name),
            uid=f"uid-{name}",
            resource_version="1",
            generation=3,
            created=CREATED,
            spec=Spec(**spec),
            status=status or Status(),
        )

    return make
