"""Operators as processes beside an API server, with an S3 server, and workers without a kubelet.

A worker here is what Kubernetes would make of a worker Job, made by hand: a Job and a pod that no
controller touches, a token that is bound to that pod, and the worker's own program as a process.
"""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_local.weed import WeedServer

PATIENCE_SECONDS = 90.0
AUDIENCE = "thumbnails-exchange"
GROUP = ("thumbnails.dev", "v1alpha1")
Document = dict[str, Any]


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of `condition`, which is asked again and again."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Operator:
    """One replica: a process, and a pod that stands for it."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.exchange_port, self.probe_port = free_port(), free_port()
        self.exchange_url = f"http://127.0.0.1:{self.exchange_port}"
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "thumbnails_operator"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={
                    **environment,
                    "THUMBNAILS_POD_NAME": name,
                    "THUMBNAILS_PROBE_PORT": str(self.probe_port),
                    "THUMBNAILS_EXCHANGE_HOST": "127.0.0.1",
                    "THUMBNAILS_EXCHANGE_PORT": str(self.exchange_port),
                    "THUMBNAILS_EXCHANGE_URL": self.exchange_url,
                },
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def metrics(self) -> dict[str, float]:
        """Samples by name and labels; none while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probe_port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            assert self.process.poll() is None, self.log
            return {}
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name.removeprefix("thumbnails_operator_"): float(value) for name, _, value in samples}

    def leads(self) -> bool:
        return self.metrics().get("leader") == 1

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probe_port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def ask(self, token: str) -> int:
        """The HTTP status of a worker's request with this token."""
        request = urllib.request.Request(
            f"{self.exchange_url}/work", b"{}", {"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Service:
    """What a Service with one endpoint is: connections that are there stay where they are when it changes."""

    def __init__(self, endpoint: int) -> None:
        self.endpoint = endpoint  # a port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.exchange_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.endpoint)) as server,
        ):
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)
            back.join()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class World:
    """A namespace with its operators, workers and pictures."""

    def __init__(self, cluster: Any, namespace: str, s3: S3Settings, folder: Path) -> None:
        from kubernetes import client

        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.core = cluster.core
        self.batch: Any = client.BatchV1Api(cluster.core.api_client)
        self.leases: Any = client.CoordinationV1Api(cluster.core.api_client)
        self.objects = S3ObjectStore(s3)
        self.operators: list[Operator] = []
        self._services: list[Service] = []
        self._workers: list[subprocess.Popen[bytes]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("THUMBNAILS_")}
        self._environment = {
            **kept,
            "KUBECONFIG": cluster.kubeconfig,
            "THUMBNAILS_NAMESPACE": namespace,
            "THUMBNAILS_LOG_FORMAT": "text",
            "THUMBNAILS_S3_ENDPOINT": s3.endpoint,
            "THUMBNAILS_S3_ACCESS_KEY": s3.access_key,
            "THUMBNAILS_S3_SECRET_KEY": s3.secret_key,
        }
        for account in ("thumbnails-worker", "other"):
            self.core.create_namespaced_service_account(namespace, {"metadata": {"name": account}})

    # ---- operators ------------------------------------------------------------------------------

    def start_operator(self, name: str, **environment: str) -> Operator:
        self.make_pod(name, {"app.kubernetes.io/component": "operator"})
        operator = Operator(name, {**self._environment, **environment}, self.folder / f"{name}.log")
        self.operators.append(operator)
        return operator

    def start_leader(self, name: str = "operator-a", **environment: str) -> Operator:
        operator = self.start_operator(name, **environment)
        eventually(operator.leads, "the operator leads")
        return operator

    def start_service(self, operator: Operator) -> Service:
        """A Service in front of this operator, until a test says that it is another one."""
        service = Service(operator.exchange_port)
        self._services.append(service)
        return service

    def lease(self) -> Document:
        lease = self.leases.read_namespaced_lease("thumbnails-operator", self.namespace)
        return {"holder": lease.spec.holder_identity, "transitions": lease.spec.lease_transitions}

    def marked_pods(self) -> set[str]:
        pods = self.core.list_namespaced_pod(self.namespace, label_selector="thumbnails.dev/leader=true")
        return {pod.metadata.name for pod in pods.items}

    # ---- workers --------------------------------------------------------------------------------

    def make_pod(
        self, name: str, labels: Document, owner: Document | None = None, account: str = "default"
    ) -> str:
        """A pod that is never scheduled; its uid."""
        pod = self.core.create_namespaced_pod(
            self.namespace,
            {
                "metadata": {"name": name, "labels": labels, "ownerReferences": [owner] if owner else []},
                "spec": {
                    "schedulingGates": [{"name": "thumbnails.dev/test"}],
                    "serviceAccountName": account,
                    "automountServiceAccountToken": False,
                    "containers": [{"name": "worker", "image": "none"}],
                },
            },
        )
        uid: str = pod.metadata.uid
        return uid

    def make_worker(self, name: str, account: str = "thumbnails-worker") -> str:
        """A worker's Job and pod; the pod's uid. The Job is one that the Job controller leaves alone."""
        labels = {"thumbnails.dev/worker": name}
        template = {
            "metadata": {"labels": labels},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "none"}]},
        }
        job = self.batch.create_namespaced_job(
            self.namespace,
            {
                "metadata": {"name": name, "labels": labels},
                "spec": {"managedBy": "thumbnails.dev/test", "template": template},
            },
        )
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name,
            "uid": job.metadata.uid,
            "controller": True,
        }
        return self.make_pod(f"{name}-pod", labels, owner, account)

    def token(
        self, pod: str, uid: str, *, account: str = "thumbnails-worker", audience: str = AUDIENCE
    ) -> str:
        review = self.core.create_namespaced_service_account_token(
            account,
            self.namespace,
            {
                "spec": {
                    "audiences": [audience],
                    "expirationSeconds": 3600,
                    "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid},
                }
            },
        )
        token: str = review.status.token
        return token

    def start_worker(self, operator: Operator | Service, name: str) -> None:
        """A worker that works."""
        uid = self.make_worker(name)
        token_file = self.folder / f"{name}.token"
        token_file.write_text(self.token(f"{name}-pod", uid))
        with (self.folder / f"{name}.log").open("ab") as output:
            self._workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "thumbnails_worker"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env={
                        **{name: value for name, value in os.environ.items() if not name.startswith("THUMB")},
                        "THUMBNAILS_EXCHANGE_URL": operator.exchange_url,
                        "THUMBNAILS_LOG_FORMAT": "text",
                        "THUMBNAILS_EXCHANGE_TOKEN_FILE": str(token_file),
                    },
                )
            )

    # ---- jobs -----------------------------------------------------------------------------------

    def upload(self, key: str, content: bytes) -> str:
        key = f"sources/{self.namespace}/default/{key}"
        self.objects.put(key, io.BytesIO(content), len(content))
        return key

    def create_job(self, name: str, object_key: str, **spec: Any) -> None:
        manifest = {
            "apiVersion": "/".join(GROUP),
            "kind": "ThumbnailJob",
            "metadata": {"name": name},
            "spec": {"account": "default", "source": {"objectKey": object_key}, **spec},
        }
        self.cluster.objects.create_namespaced_custom_object(
            *GROUP, self.namespace, "thumbnailjobs", manifest
        )

    def job(self, name: str) -> Document:
        document: Document = self.cluster.objects.get_namespaced_custom_object(
            *GROUP, self.namespace, "thumbnailjobs", name
        )
        return document

    def phase(self, name: str) -> str:
        return str(self.job(name)["status"]["phase"])

    def reason(self, name: str) -> str:
        """Why it has not started."""
        conditions = self.job(name)["status"].get("conditions", ())
        return next((each["reason"] for each in conditions if each["type"] == "Started"), "")

    def events(self, name: str) -> list[tuple[str, str]]:
        answer = self.core.list_namespaced_event(
            self.namespace, field_selector=f"involvedObject.name={name}", _preload_content=False
        )
        return [(event["type"], event["reason"]) for event in json.loads(answer.data)["items"]]

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()
        for service in self._services:
            service.close()
        for operator in self.operators:
            operator.end()
        self.objects.close()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Settings]:
    server = WeedServer(tmp_path_factory.mktemp("s3"))
    settings = server.start()
    store = S3ObjectStore(settings)
    store.ensure_bucket()
    store.close()
    yield settings
    server.stop(grace_seconds=1)


@pytest.fixture
def world(cluster: Any, make_namespace: Callable[[], str], s3: S3Settings, tmp_path: Path) -> Iterator[World]:
    world = World(cluster, make_namespace(), s3, tmp_path)
    yield world
    world.close()


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    return eventually
