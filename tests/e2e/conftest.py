"""The service as an administrator installs it: with Helm, in a namespace of its own, on whatever cluster.

`THUMBNAILS_TEST_KUBECONFIG`, or else `KUBECONFIG`, says which; `kubectl` and `helm` are on the PATH, or
`THUMBNAILS_TEST_KUBECTL` and `THUMBNAILS_TEST_HELM` name them. Where the images have other names than the
chart's defaults, `THUMBNAILS_TEST_VALUES` is a values file that says so. Nothing but port-forwards leads
into the cluster.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from hack.cluster.faults import RunningNode
from hack.cluster.layout import layout_from_environment
from hack.receiver_pod import receiver_objects
from standardwebhooks import Webhook

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "thumbnails"
RIGHTS = Path(__file__).parent / "rights"
RELEASE = "thumbnails"
PATIENCE_SECONDS = 180.0
FINISHED = {"complete", "failed", "cancelled"}
KEYS = "import sys; from thumbnails_api.cli import main; sys.exit(main())"  # the command thumbnails-api
CRD = "thumbnailjobs.thumbnails.dev"
Document = dict[str, Any]

# What a node of two cores has room for, beside a worker.
SMALL: Document = {
    name: {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
    for name in ("api", "operator", "minio")
}


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of `condition`, which is asked again and again."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Document:
    """Values as Helm merges them: maps into each other, all else replaced."""
    both = dict(first)
    for name, value in second.items():
        old = both.get(name)
        both[name] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


class Tools:
    """kubectl and helm, for one cluster."""

    def __init__(self, kubeconfig: str) -> None:
        self.environment = {**os.environ, "KUBECONFIG": kubeconfig}
        self._binaries = {}
        for name in ("kubectl", "helm"):
            found = os.environ.get(f"THUMBNAILS_TEST_{name.upper()}") or shutil.which(name)
            if not found:
                pytest.skip(f"needs {name}: put it on the PATH, or set THUMBNAILS_TEST_{name.upper()}")
            self._binaries[name] = found

    def run(self, tool: str, *arguments: str, stdin: str | None = None) -> str:
        """What it says; AssertionError with what it complains about when it fails."""
        done = subprocess.run(
            [self._binaries[tool], *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0, f"{tool} {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def start(self, tool: str, *arguments: str) -> "subprocess.Popen[str]":
        """One that goes on running; it tells on standard output."""
        return subprocess.Popen(
            [self._binaries[tool], *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )


class Forward:
    """`kubectl port-forward` to a Service or a pod, on one local port, made anew whenever it ends.

    Of a Service's pods kubectl chooses one, and stays with it as long as that lives.
    """

    def __init__(self, tools: Tools, namespace: str, target: str, port: int) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self._command = (
            "--namespace",
            namespace,
            "port-forward",
            target,
            f"{self.port}:{port}",
        )
        self._tools = tools
        self._lock = threading.Lock()  # no process is started after `close`
        self._closed = threading.Event()
        self._ready = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"forward to {target}")
        self._thread.start()
        assert self._ready.wait(PATIENCE_SECONDS), f"no way to {target}"

    def _keep(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                if self._closed.is_set():
                    return
                self._process = process = self._tools.start("kubectl", *self._command)
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Forwarding from"):
                    self._ready.set()
                if "lost connection" in line or "error" in line.lower():
                    break
            process.kill()
            process.communicate()
            self._closed.wait(0.2)

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            if self._process is not None:
                self._process.kill()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook as it arrived."""

    at: float  # seconds since the epoch
    path: str
    headers: Mapping[str, str]  # lower-case names
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Document:
        event: Document = json.loads(self.body)
        return event

    @property
    def about(self) -> str:
        """The id of the job that it tells of, or of the batch."""
        data = self.event["data"]
        return str(data["jobId"] if "jobId" in data else data["batchId"])


class Webhooks:
    """What the receiver in the cluster was told."""

    def __init__(self, url: str, outside: str) -> None:
        self.url = url  # for the operator
        self.outside = outside
        self._session = requests.Session()
        self._session.trust_env = False

    def all(self) -> list[Delivery]:
        """All deliveries so far."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self._session.get(self.outside, timeout=30).json()
                return [Delivery(**each) for each in answer]
            except (requests.ConnectionError, requests.Timeout):
                assert time.monotonic() < deadline, "the receiver of webhooks does not answer"
                time.sleep(0.2)

    def of_job(self, job_id: str) -> list[Delivery]:
        """Those about this job, or this batch, at least one."""

        def told() -> list[Delivery]:
            return [each for each in self.all() if each.about == job_id]

        found: list[Delivery] = eventually(told, f"a webhook about {job_id}")
        return found


class Installation:
    """A release of the chart, and ways into it."""

    def __init__(self, tools: Tools, namespace: str, webhooks: Webhooks) -> None:
        self.tools = tools
        self.namespace = namespace
        self.webhooks = webhooks
        self.key = self.secret(f"{RELEASE}-api-key", "key")
        self.session = self.new_session(self.key)
        self._forward = Forward(tools, namespace, f"service/{RELEASE}-api", 3000)
        self.api_url = f"http://127.0.0.1:{self._forward.port}"
        self._store_forward: Forward | None = None
        self._store: Any = None

    # ---- the cluster ----

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl says, in the release's namespace."""
        return self.tools.run("kubectl", "--namespace", self.namespace, *arguments, stdin=stdin)

    def get(self, *arguments: str) -> Document:
        """What `kubectl get ... --output=json` says."""
        document: Document = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return document

    def secret(self, name: str, entry: str) -> str:
        """An entry of a Secret."""
        data = json.loads(
            self.tools.run("kubectl", "--namespace", self.namespace, "get", "secret", name, "--output=json")
        )["data"]
        return base64.b64decode(data[entry]).decode()

    def pods(self, component: str) -> list[Document]:
        """The pods of a component: api, operator, worker, minio."""
        items: list[Document] = self.get("pods", f"--selector=app.kubernetes.io/component={component}")[
            "items"
        ]
        return items

    def delete_pod(self, name: str, grace: int = 0) -> None:
        """Delete a pod, without waiting; with no grace it is killed at once."""
        force = ["--force"] if grace == 0 else []
        self.kubectl("delete", "pod", name, f"--grace-period={grace}", "--wait=false", *force)

    def leader(self) -> str | None:
        """The pod of the operator that leads, by the label that the exchange's Service selects."""
        pods = self.get("pods", "--selector=thumbnails.dev/leader=true")["items"]
        names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return names[0] if len(names) == 1 else None

    def leading_process(self) -> str:
        """The process that leads, by the Lease: after a crash it is another one, also in the same pod."""
        holder: str = self.get("lease", f"{RELEASE}-operator")["spec"].get("holderIdentity") or ""
        return holder

    def job_resource(self, name: str) -> Document:
        """A ThumbnailJob."""
        return self.get("thumbnailjob", name)

    def events(self, name: str) -> list[tuple[str, str]]:
        """The Events about a ThumbnailJob: (type, reason)."""
        items = self.get("events", f"--field-selector=involvedObject.name={name}")["items"]
        return [(event["type"], event["reason"]) for event in items]

    def upgrade(self, **values: Any) -> None:
        """`helm upgrade` with some values changed."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            self.tools.run(
                *("helm", "upgrade", RELEASE, str(CHART), "--namespace", self.namespace),
                *("--reuse-values", "--values", file.name, "--wait", "--timeout", "3m"),
            )

    def roll_back(self) -> None:
        """`helm rollback`: the release is as before the last upgrade."""
        self.tools.run(
            *("helm", "rollback", RELEASE, "--namespace", self.namespace, "--wait", "--timeout", "3m")
        )

    def new_key(self, account: str) -> str:
        """A new API key, made as an administrator makes one, from outside the cluster."""
        made = self._keys("create", "--account", account)
        return next(word for word in made.split() if word.startswith("tn_"))

    def revoke_key(self, key: str) -> None:
        """Make a key useless."""
        self._keys("revoke", key)

    def forward(self, target: str, port: int) -> Forward:
        """A way to `service/NAME` or `pod/NAME`, for the caller to close."""
        return Forward(self.tools, self.namespace, target, port)

    def call_directly(self) -> None:
        """From now on call the Services' own addresses, where this machine has a way to them.

        A forward ends with the API server and with the kubelet.
        """
        address = "--output=jsonpath={.spec.clusterIP}"
        self.api_url = f"http://{self.kubectl('get', 'service', f'{RELEASE}-api', address)}:3000"
        self.webhooks.outside = f"http://{self.kubectl('get', 'service', 'receiver', address)}:8080/"

    def _keys(self, *arguments: str) -> str:
        """What `thumbnails-api keys ...` prints."""
        return subprocess.run(
            [sys.executable, "-c", KEYS, "keys", *arguments],
            env={
                **self.tools.environment,
                "THUMBNAILS_NAMESPACE": self.namespace,
                "THUMBNAILS_API_KEYS_SECRET": f"{RELEASE}-api-keys",
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        ).stdout

    # ---- the API ----

    @staticmethod
    def new_session(key: str | None) -> requests.Session:
        """A client of the API with this key."""
        session = requests.Session()
        session.trust_env = False
        if key is not None:
            session.headers["Authorization"] = f"Bearer {key}"
        return session

    def request(self, method: str, path: str, key: str | None = None, **options: Any) -> requests.Response:
        """A request with the first key, or another one; sent again when the connection is lost."""
        session = self.session if key is None else self.new_session(key)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return session.request(method, self.api_url + path, timeout=90, **options)
            except (requests.ConnectionError, requests.Timeout):
                assert time.monotonic() < deadline, "the API does not answer"
                time.sleep(0.5)

    def post(self, picture: bytes, *, name: str = "photo.jpg", **fields: str) -> requests.Response:
        """POST /images."""
        return self.request("POST", "/images", files={"image": (name, picture)}, data=fields)

    def wait_job(self, job_id: str) -> Document:
        """The job when it has ended."""

        def ended() -> Document | None:
            answer = self.request("GET", f"/jobs/{job_id}", headers={"Prefer": "wait=20"})
            assert answer.status_code == 200, answer.text
            job: Document = answer.json()
            return job if job["status"] in FINISHED else None

        job: Document = eventually(ended, f"the end of {job_id}")
        return job

    # ---- the object store ----

    @property
    def objects(self) -> Any:
        """The bucket, with the service's credentials."""
        if self._store is None:
            from thumbnails_common.s3 import S3ObjectStore
            from thumbnails_common.s3_settings import S3Settings

            self._store_forward = Forward(self.tools, self.namespace, f"service/{RELEASE}-minio", 9000)
            environment = {
                "THUMBNAILS_S3_ENDPOINT": f"http://127.0.0.1:{self._store_forward.port}",
                "THUMBNAILS_S3_BUCKET": "thumbnails",
                "THUMBNAILS_S3_ACCESS_KEY": self.secret(f"{RELEASE}-s3", "accessKey"),
                "THUMBNAILS_S3_SECRET_KEY": self.secret(f"{RELEASE}-s3", "secretKey"),
            }
            self._store = S3ObjectStore(S3Settings.from_environment(environment))
        return self._store

    # ---- webhooks ----

    def verified(self, delivery: Delivery, account: str = "default") -> Document:
        """The event of a delivery, after its signature was checked with the secret that an admin reads."""
        secret = self.secret(f"thumbnails-webhook-{account}", "secret")
        event: Document = Webhook(secret).verify(delivery.body, dict(delivery.headers))
        return event

    def close(self) -> None:
        """Close the ways into it."""
        self.session.close()
        self._forward.close()
        if self._store is not None:
            self._store.close()
        if self._store_forward is not None:
            self._store_forward.close()


class Installer:
    """Makes installations, and removes them."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self._made: list[tuple[str, list[Any]]] = []
        self._made_crd = False
        given = os.environ.get("THUMBNAILS_TEST_VALUES")
        self._given: Document = yaml.safe_load(Path(given).read_text()) if given else {}

    @property
    def namespaces(self) -> list[str]:
        """Those of the installations so far."""
        return [namespace for namespace, _ in self._made]

    def start(self, **values: Any) -> Installation:
        """Install the chart with these values, and return when all of it is ready."""
        namespace = f"e2e-{uuid.uuid4().hex[:8]}"
        closing: list[Any] = []
        self._made.append((namespace, closing))
        self.tools.run("kubectl", "create", "namespace", namespace)
        self.tools.run(
            *("kubectl", "label", "namespace", namespace, "thumbnails.dev/test=true"),
            "pod-security.kubernetes.io/enforce=restricted",
        )
        address, forward = self._start_receiver(namespace)
        closing.append(forward)
        url = f"http://receiver.{namespace}.svc:8080"
        installs_crd = not self._has_crd()
        self._made_crd |= installs_crd
        settings = merged(
            merged(SMALL, self._given),
            {
                "operator": {"replicas": 2},
                "webhook": {"url": f"{url}/default"},
                "settings": {"webhookAllow": address, "logLevel": "DEBUG"},
                "crds": {"install": installs_crd},
                "minio": {"persistence": {"enabled": self._has_default_storage_class()}},
            },
        )
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(merged(settings, values), file)
            file.flush()
            self.tools.run(
                *("helm", "install", RELEASE, str(CHART), "--namespace", namespace),
                *("--values", file.name, "--wait", "--timeout", "5m"),
            )
        installation = Installation(self.tools, namespace, Webhooks(url, f"http://127.0.0.1:{forward.port}/"))
        closing.append(installation)
        return installation

    def _start_receiver(self, namespace: str) -> tuple[str, Forward]:
        """A pod that takes webhooks; the network that its Service is, and a way to it."""
        manifests = yaml.safe_load_all(
            self.tools.run("helm", "template", RELEASE, str(CHART), *self._values_option())
        )
        image = next(
            document["spec"]["template"]["spec"]["containers"][0]["image"]
            for document in manifests
            if document
            and document["kind"] == "Deployment"
            and document["metadata"]["name"].endswith("-operator")
        )
        # No pod may be created before the controller has made it.
        self.tools.run(
            *("kubectl", "--namespace", namespace, "wait", "--for=create", "serviceaccount/default"),
            "--timeout=120s",
        )
        objects = {"apiVersion": "v1", "kind": "List", "items": receiver_objects(image)}
        self.tools.run(
            "kubectl", "--namespace", namespace, "apply", "--filename=-", stdin=json.dumps(objects)
        )
        self.tools.run(
            *("kubectl", "--namespace", namespace, "wait", "--for=condition=Ready", "pod/receiver"),
            "--timeout=120s",
        )
        address = self.tools.run(
            *("kubectl", "--namespace", namespace, "get", "service", "receiver"),
            "--output=jsonpath={.spec.clusterIP}",
        )
        network = f"{address}/128" if ":" in address else f"{address}/32"
        return network, Forward(self.tools, namespace, "service/receiver", 8080)

    def _values_option(self) -> list[str]:
        given = os.environ.get("THUMBNAILS_TEST_VALUES")
        return ["--values", given] if given else []

    def _has_crd(self) -> bool:
        return bool(self.tools.run("kubectl", "get", "crd", CRD, "--ignore-not-found"))

    def _has_default_storage_class(self) -> bool:
        classes = json.loads(self.tools.run("kubectl", "get", "storageclass", "--output=json"))["items"]
        mark = "storageclass.kubernetes.io/is-default-class"
        return any(each["metadata"].get("annotations", {}).get(mark) == "true" for each in classes)

    def remove_all(self) -> None:
        """End all of them, and leave their namespaces to the cluster."""
        for namespace, closing in self._made:
            for each in reversed(closing):
                each.close()
            if os.environ.get("THUMBNAILS_TEST_KEEP"):
                continue
            # Whatever cannot be removed, the rest is: it may never have been there, or the cluster is slow.
            for command in (
                ("helm", "uninstall", RELEASE, "--namespace", namespace, "--wait"),
                ("kubectl", "delete", "namespace", namespace, "--wait=false"),
            ):
                with suppress(AssertionError, subprocess.TimeoutExpired):
                    self.tools.run(*command)
        # Nobody else can install a chart whose CRD another release has left.
        if self._made_crd and not os.environ.get("THUMBNAILS_TEST_KEEP"):
            self.tools.run("kubectl", "delete", "crd", CRD, "--ignore-not-found", "--timeout=120s")


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The test is skipped when there is no cluster."""
    kubeconfig = os.environ.get("THUMBNAILS_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG")
    if not kubeconfig:
        pytest.skip("needs a cluster: set THUMBNAILS_TEST_KUBECONFIG (`make cluster` makes one)")
    return Tools(kubeconfig)


@pytest.fixture(scope="session")
def forward(tools: Tools) -> Callable[[str, str, int], Forward]:
    """A function that makes a way to `service/NAME` of a namespace, at a port; for the caller to close."""
    return lambda namespace, target, port: Forward(tools, namespace, target, port)


@pytest.fixture(scope="session")
def installer(tools: Tools) -> Iterator[Installer]:
    """Makes the installations of all tests."""
    installer = Installer(tools)
    try:
        yield installer
    finally:
        installer.remove_all()


@pytest.fixture(scope="session")
def start_installation(installer: Installer) -> Callable[..., Installation]:
    """A function that installs the chart with some values."""
    return installer.start


@pytest.fixture(scope="session")
def node(tools: Tools) -> RunningNode:
    """The processes of the cluster's node, where that is one that `make cluster` started on this machine."""
    kubeconfig = Path(tools.environment["KUBECONFIG"])
    found = RunningNode.of_kubeconfig(kubeconfig, layout_from_environment(os.environ).record)
    if found is None:
        pytest.skip("needs the cluster that `make cluster` starts: its processes are stopped, its logs read")
    return found


@pytest.fixture(scope="session")
def installation(start_installation: Callable[..., Installation]) -> Installation:
    """One for all tests that only use it."""
    return start_installation(api={"replicas": 2}, settings={"lingerSeconds": 10, "maxWorkers": 2})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What components asked for is judged when everything else has been tried."""
    items.sort(key=lambda item: RIGHTS in item.path.parents)


@pytest.fixture(scope="session", name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    """A function that asks a condition until it is true."""
    return eventually
