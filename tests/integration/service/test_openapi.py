"""The running service against its own description: schemathesis makes requests, right and wrong ones.

About a thousand with a fixed seed; `make schemathesis` makes thousands, each time others.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HACK = Path(__file__).parents[3] / "hack"
EXAMPLES = int(os.environ.get("THUMBNAILS_SCHEMATHESIS_EXAMPLES", "0"))
# With limits that are reached now and then: 429 is an answer like any other.
LIMITS = {
    "THUMBNAILS_RATE_LIMIT_REQUESTS": "60",
    "THUMBNAILS_RATE_LIMIT_SECONDS": "1",
    "THUMBNAILS_RATE_LIMIT_UPLOAD_BYTES": "20000",
    "THUMBNAILS_RATE_LIMIT_UPLOAD_SECONDS": "1",
    "THUMBNAILS_MAX_UNFINISHED_JOBS": "3",
    # A check tries wrong keys everywhere, and wants to hear that they are wrong.
    "THUMBNAILS_FAILED_LOGINS_PER_MINUTE": "0",
}
SERVICES = {"open": {}, "with a login and limits": {"THUMBNAILS_LOGIN": "on", **LIMITS}}
PRESETS = '{"card": [{"name": "small", "width": 64}, {"name": "large", "width": 160}], "one": {"width": 32}}'


@pytest.mark.slow
@pytest.mark.timeout(3600 if EXAMPLES else 300)
@pytest.mark.parametrize("settings", SERVICES.values(), ids=SERVICES)
def test_requests_by_the_description_are_answered_as_it_says(
    start_service: Any, eventually: Any, tmp_path: Path, settings: dict[str, str]
) -> None:
    service = start_service(THUMBNAILS_PRESETS=PRESETS, **settings)
    headers = {}
    if "THUMBNAILS_LOGIN" in settings:
        headers = {"Authorization": f"Bearer {service.keys('create', '--account', 'shop')}"}
        eventually(lambda: service.request("GET", "/jobs", headers=headers).status_code == 404)
    few = ["--phases", "examples,coverage", "--seed", "1"]
    amount = ["--max-examples", str(EXAMPLES)] if EXAMPLES else few
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HACK / "openapi_hooks.py")}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(HACK / "schemathesis.toml")),
            *("run", f"{service.url}/openapi.json", "--no-color", "--continue-on-failure", *amount),
            *(word for name, value in headers.items() for word in ("--header", f"{name}: {value}")),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 selected" not in run.stdout
    made = number_of_requests(service)
    print(f"{made} requests\n{run.stdout}")
    assert made >= (5000 if EXAMPLES else 500)
    assert "Traceback" not in service.log()


def number_of_requests(service: Any) -> int:
    """As the service tells of them."""
    return len(re.findall(r" api: [A-Z]+ /\S* \d{3} [0-9.]+ms ", service.log()))
