"""The chart, installed for a benchmark into a namespace of its own, on the cluster of KUBECONFIG."""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings

CHART: Final = Path(__file__).parents[2] / "charts" / "thumbnails"
RELEASE: Final = "thumbnails"
CRD: Final = "thumbnailjobs.thumbnails.dev"
PATIENCE_SECONDS: Final = 180.0


@dataclass(frozen=True)
class Release:
    """What is installed; `by_hand` is a namespace with nothing in it, which its operator does not look at."""

    namespace: str
    by_hand: str
    objects: S3ObjectStore

    def image(self, component: str) -> str:
        """The image of a component's first container."""
        path = "--output=jsonpath={.items[0].spec.template.spec.containers[0].image}"
        return kubectl(self.namespace, "get", "deployments", _of(component), path)

    def secret(self, name: str, entry: str) -> str:
        """An entry of a Secret."""
        return _decoded(self.namespace, name)[entry]

    def pods(self, component: str) -> list[str]:
        """The names of a component's pods that run."""
        running = "--field-selector=status.phase=Running"
        return kubectl(
            self.namespace,
            "get",
            "pods",
            _of(component),
            running,
            "--output=jsonpath={.items[*].metadata.name}",
        ).split()

    def wait_without_workers(self) -> None:
        """Until the last worker has lingered, ended, and been removed."""
        _eventually(
            lambda: not kubectl(self.namespace, "get", "jobs,pods", _of("worker"), "--output=name"),
            "no worker is left",
        )


@contextmanager
def installed(values_file: Path | None, values: dict[str, Any]) -> Iterator[Release]:
    """A release with these values (after those of the cluster's own), removed at the end."""
    for tool in ("kubectl", "helm"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed: put it on the PATH")
    namespace = f"bench-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        for each in (namespace, f"{namespace}-by-hand"):
            run("kubectl", "create", "namespace", each)
            stack.callback(run, "kubectl", "delete", "namespace", each, "--wait=false")
        makes_crd = not run("kubectl", "get", "crd", CRD, "--ignore-not-found")
        if makes_crd:  # nobody else can install a chart whose CRD another release has left
            stack.callback(run, "kubectl", "delete", "crd", CRD, "--ignore-not-found", "--timeout=120s")
        stack.callback(_uninstall, namespace)
        _install(namespace, values_file, {**values, "crds": {"install": makes_crd}})
        yield Release(namespace, f"{namespace}-by-hand", stack.enter_context(_object_store(namespace)))


def run(*command: str, stdin: str | None = None) -> str:
    """What a command says; the benchmark ends when it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def kubectl(namespace: str, *arguments: str, stdin: str | None = None) -> str:
    """The same for kubectl, in a namespace."""
    return run("kubectl", "--namespace", namespace, *arguments, stdin=stdin)


def _install(namespace: str, values_file: Path | None, values: dict[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        run(
            *("helm", "install", RELEASE, str(CHART), "--namespace", namespace, "--wait", "--timeout", "5m"),
            *(("--values", str(values_file)) if values_file else ()),
            *("--values", file.name),
        )


def _uninstall(namespace: str) -> None:
    command = ["helm", "uninstall", RELEASE, "--namespace", namespace, "--wait", "--ignore-not-found"]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)


@contextmanager
def _object_store(namespace: str) -> Iterator[S3ObjectStore]:
    """A way to the release's MinIO, with its keys."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    secret = _decoded(namespace, f"{RELEASE}-s3")
    settings = S3Settings.from_environment(
        {
            "THUMBNAILS_S3_ENDPOINT": f"http://127.0.0.1:{port}",
            "THUMBNAILS_S3_ACCESS_KEY": secret["accessKey"],
            "THUMBNAILS_S3_SECRET_KEY": secret["secretKey"],
        }
    )

    def answers() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    command = [
        "kubectl",
        "--namespace",
        namespace,
        "port-forward",
        f"service/{RELEASE}-minio",
        f"{port}:9000",
    ]
    forward = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _eventually(answers, "a way to MinIO")
        store = S3ObjectStore(settings)
        yield store
        store.close()
    finally:
        forward.kill()
        forward.wait()


def _decoded(namespace: str, secret: str) -> dict[str, str]:
    """The entries of a Secret."""
    data = json.loads(kubectl(namespace, "get", "secret", secret, "--output=json"))["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def _of(component: str) -> str:
    return f"--selector=app.kubernetes.io/component={component}"


def _eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE_SECONDS:.0f} s: {what}")
        time.sleep(0.5)
