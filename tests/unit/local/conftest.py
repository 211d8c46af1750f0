"""Worker manifests that run little programs, for tests of the executor."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def manifest() -> Callable[..., dict[str, Any]]:
    """A Job manifest whose container runs Python code: `manifest("name", "code", VARIABLE="value")`."""

    def make(name: str, code: str, *, deadline: float | None = None, **env: str) -> dict[str, Any]:
        container = {
            "command": ["python", "-c"],
            "args": [code],
            "env": [{"name": name, "value": value} for name, value in env.items()],
        }
        spec: dict[str, Any] = {"template": {"spec": {"containers": [container]}}}
        if deadline is not None:
            spec["activeDeadlineSeconds"] = deadline
        return {"metadata": {"name": name, "namespace": "thumbnails"}, "spec": spec}

    return make
