"""The chart, installed for a benchmark into a namespace of its own, on the cluster of KUBECONFIG."""

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "thumbnails"
RELEASE = "thumbnails"
PATIENCE_SECONDS = 120.0
# Small requests: everything has to find room on one small node.
VALUES: dict[str, Any] = {
    name: {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
    for name in ("api", "operator", "minio")
}


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE_SECONDS} s: {what}")
        time.sleep(0.1)
    return value


class Release:
    """Installed while it is entered."""

    def __init__(self, **settings: Any) -> None:
        self.kubeconfig = os.environ["KUBECONFIG"]
        self.namespace = f"bench-{uuid.uuid4().hex[:8]}"
        self._settings = settings
        self._forward: subprocess.Popen[bytes] | None = None
        self.objects: S3ObjectStore

    def __enter__(self) -> Self:
        for tool in ("kubectl", "helm"):
            if shutil.which(tool) is None:
                raise SystemExit(f"{tool} is needed: put it on the PATH")
        self.run("kubectl", "create", "namespace", self.namespace)
        has_crd = bool(
            self.run("kubectl", "get", "crd", "thumbnailjobs.thumbnails.dev", "--ignore-not-found")
        )
        values = VALUES | {"settings": self._settings, "crds": {"install": not has_crd}}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            self.run(
                *("helm", "install", RELEASE, str(CHART), "--namespace", self.namespace),
                *("--values", file.name, "--wait", "--timeout", "5m"),
            )
        self.objects = self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        if self._forward is not None:
            self.objects.close()
            self._forward.kill()
            self._forward.wait()
        subprocess.run(["helm", "uninstall", RELEASE, "--namespace", self.namespace, "--wait"], check=False)
        self.run("kubectl", "delete", "namespace", self.namespace, "--wait=false")

    def run(self, *command: str) -> str:
        """What a command says; the benchmark ends when it fails."""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says, in the release's namespace."""
        return self.run("kubectl", "--namespace", self.namespace, *arguments)

    def image(self, component: str) -> str:
        """The image of a component's first container."""
        where = "{.items[0].spec.template.spec.containers[0].image}"
        selector = f"--selector=app.kubernetes.io/component={component}"
        return self.kubectl("get", "deployments", selector, f"--output=jsonpath={where}")

    def pods(self, component: str) -> list[str]:
        """The names of a component's pods that run."""
        selector = f"--selector=app.kubernetes.io/component={component}"
        names = self.kubectl(
            "get", "pods", selector, "--field-selector=status.phase=Running", "--output=name"
        )
        return names.split()

    def wait_without_workers(self) -> None:
        """Until the last worker has lingered, ended, and been removed."""
        selector = "--selector=app.kubernetes.io/component=worker"
        eventually(
            lambda: not self.kubectl("get", "jobs,pods", selector, "--output=name"), "no worker is left"
        )

    def memory_mib(self, component: str) -> list[tuple[float, float]]:
        """Of each pod: what its processes have in memory now, and what each had at most, in MiB.

        Pages that forked processes share are counted once for each of them.
        """
        found = []
        for pod in self.pods(component):
            done = subprocess.run(
                ["kubectl", "--namespace", self.namespace, "exec", pod, "--", "python", "-c", MEMORY],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:  # else it has just ended
                now, most = done.stdout.split()
                found.append((int(now) / 1024, int(most) / 1024))
        return found

    def _connect(self) -> S3ObjectStore:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        self._forward = subprocess.Popen(
            [
                *("kubectl", "--namespace", self.namespace),
                "port-forward",
                "service/thumbnails-minio",
                f"{port}:9000",
            ],
            stdout=subprocess.DEVNULL,
        )
        secret = json.loads(self.kubectl("get", "secret", "thumbnails-s3", "--output=json"))["data"]
        settings = S3Settings.from_environment(
            {
                "THUMBNAILS_S3_ENDPOINT": f"http://127.0.0.1:{port}",
                "THUMBNAILS_S3_ACCESS_KEY": base64.b64decode(secret["accessKey"]).decode(),
                "THUMBNAILS_S3_SECRET_KEY": base64.b64decode(secret["secretKey"]).decode(),
            }
        )

        def answers() -> bool:
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0

        eventually(answers, "a way to MinIO")
        return S3ObjectStore(settings)


# Runs in a pod: kilobytes of all its processes but this one, now and at most.
MEMORY = """
import os, re
now = most = 0
for pid in filter(str.isdecimal, os.listdir("/proc")):
    if int(pid) == os.getpid():
        continue
    try:
        status = open(f"/proc/{pid}/status").read()
    except OSError:
        continue
    now += int(re.search(r"VmRSS:\\s+(\\d+)", status)[1])
    most += int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
print(now, most)
"""
