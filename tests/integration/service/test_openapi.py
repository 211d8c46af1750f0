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
PRESETS = '{"card": [{"name": "small", "width": 64}, {"name": "large", "width": 160}], "one": {"width": 32}}'


@pytest.mark.slow
@pytest.mark.timeout(3600 if EXAMPLES else 300)
def test_requests_by_the_description_are_answered_as_it_says(start_service: Any, tmp_path: Path) -> None:
    service = start_service(THUMBNAILS_PRESETS=PRESETS)
    few = ["--phases", "examples,coverage", "--seed", "1"]
    amount = ["--max-examples", str(EXAMPLES)] if EXAMPLES else few
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HACK / "openapi_hooks.py")}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(HACK / "schemathesis.toml")),
            *("run", f"{service.url}/openapi.json", "--no-color", "--continue-on-failure", *amount),
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
    """As the service counts them."""
    lines = service.request("GET", "/metrics").text.splitlines()
    counts = (re.fullmatch(r"thumbnails_api_requests_total\{.*\} ([0-9.e+]+)", line) for line in lines)
    return int(sum(float(count[1]) for count in counts if count))
