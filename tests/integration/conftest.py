"""The running service for tests: started for real, on a free port, with its data in a temporary folder.

`service` is one for all tests of a process, for those that only use it. `start_service` starts one
more, for those that end, kill or set it up. `webhook_receiver` is who is told of ended jobs.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.webhook_receiver import WebhookReceiver

from thumbnails_local import leash

# Tests end as soon as they have seen what they wait for; so long waits only what is broken.
PATIENCE_SECONDS = 90.0
FINISHED = {"complete", "failed", "cancelled"}


def eventually(condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of `condition`, which is asked again and again."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.02)


class Service:
    """One data folder, and the service on it while it is started."""

    def __init__(self, data: Path, environment: Mapping[str, str]) -> None:
        self.data = data
        self.log_path = data.with_name(f"{data.name}.log")
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("THUMBNAILS_")}
        kept.pop("WEBHOOK_URL", None)
        self.environment = {
            **kept,
            "PORT": "0",
            "THUMBNAILS_DATA": str(data),
            "THUMBNAILS_WEBHOOK_ALLOW": "127.0.0.0/8 ::1/128",
            **environment,
        }

    # ---- life ------------------------------------------------------------------------------------

    def launch(self, **environment: str) -> "subprocess.Popen[bytes]":
        """Start it, without waiting for anything."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                leash.command(sys.executable, "-m", "thumbnails_local"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**self.environment, **environment},
                start_new_session=True,
            )
        return self.process

    def start(self) -> "Service":
        """Start it, and return when it is ready."""
        endpoint = self.data / "run" / "endpoint"
        endpoint.unlink(missing_ok=True)
        process = self.launch()

        def url() -> str:
            assert process.poll() is None, self.log()
            with suppress(FileNotFoundError):
                return endpoint.read_text().strip()
            return ""

        self.url = eventually(url, "the service is ready")
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End the launcher as a power failure would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def clear(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
            self.kill()

    # ---- what it looks like from outside ---------------------------------------------------------

    def log(self) -> str:
        """What it has written to the terminal, of all its runs."""
        return self.log_path.read_text(errors="replace")

    def processes(self) -> dict[int, str]:
        """All its processes by pid, wherever they hang: launcher, api, operator, worker, s3."""
        roles = {
            "thumbnails_local.api_process": "api",
            "thumbnails_local.operator_process": "operator",
            "thumbnails_local": "launcher",
            "thumbnails_worker": "worker",
            "mini": "s3",
        }
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            with suppress(OSError):
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                marks = (folder / "environ").read_bytes() + "\0".join(command).encode()
                if f"{self.data}/".encode() in marks or f"THUMBNAILS_DATA={self.data}\0".encode() in marks:
                    found[int(folder.name)] = next(
                        (roles[word] for word in command if word in roles), "other"
                    )
        return found

    def pids(self, role: str) -> list[int]:
        """The processes of this role, the oldest first."""
        return sorted(pid for pid, is_role in self.processes().items() if is_role == role)

    # ---- what an administrator does --------------------------------------------------------------

    def administer(self, *arguments: str) -> "subprocess.Popen[str]":
        """`thumbnails-api` with these arguments and the same THUMBNAILS_DATA, as its users run it."""
        program = "import sys; from thumbnails_api.cli import main; sys.exit(main())"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=environment | {"THUMBNAILS_DATA": str(self.data)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def keys(self, *arguments: str) -> str:
        """`thumbnails-api keys` with these arguments: what it prints."""
        process = self.administer("keys", *arguments)
        printed, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, said
        return printed.strip()

    # ---- what a client does ----------------------------------------------------------------------

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request on a connection of its own; a service that restarts is no client's trouble."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, timeout=60, **options)

    def upload(self, picture: bytes, **fields: str) -> dict[str, Any]:
        """POST /images; the job as it was answered."""
        files = {"image": ("picture.png", picture, "image/png")}
        answer = self.request("POST", "/images", files=files, data=fields)
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        """GET /jobs/{id}."""
        answer = self.request("GET", f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def finished(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The job once it has ended, in whatever way."""

        def ended() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in FINISHED else None

        job: dict[str, Any] = eventually(ended, f"job {job_id} ends", seconds)
        return job

    def render(self, picture: bytes, **fields: str) -> bytes:
        """From picture to thumbnail."""
        job = self.finished(self.upload(picture, **fields)["id"])
        assert job["status"] == "complete", job
        answer = self.request("GET", job["thumbnailPath"])
        assert answer.status_code == 200, answer.text
        return answer.content


StartService = Callable[..., Service]


@pytest.fixture(name="eventually", scope="session")
def eventually_fixture() -> Callable[..., Any]:
    """A function that asks a condition until it is true, for so many seconds: `eventually` above."""
    return eventually


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One running service for all tests of this process; webhooks may go to loopback."""
    service = Service(tmp_path_factory.mktemp("service") / "data", {})
    try:
        yield service.start()
    finally:
        service.clear()


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """A function that starts a service of this test's own; `ready=False` only prepares it."""
    services: list[Service] = []

    def start(*, data: Path | None = None, ready: bool = True, **environment: str) -> Service:
        service = Service(data or tmp_path / f"data-{len(services)}", environment)
        services.append(service)
        return service.start() if ready else service

    yield start
    for service in services:
        service.clear()


@pytest.fixture
def webhook_receiver() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    yield receiver
    receiver.close()
