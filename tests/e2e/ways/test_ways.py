"""Every way to install the chart that `ci/*-values.yaml` shows, on a real cluster: a picture goes through.

It takes a quarter of an hour: `make e2e-ways`. What a way needs of others (Secrets, an S3 server, namespaces,
service accounts) is made here; what this cluster lacks (a cloud's load balancer, a registry) is left away.
"""

import base64
import importlib.util
import json
import os
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trustme
import yaml

from thumbnails_api.keys import ApiKey, digest_of, new_key

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "thumbnails"
CRD = "thumbnailjobs.thumbnails.dev"
Document = dict[str, Any]

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("ways"),
    pytest.mark.skipif("THUMBNAILS_TEST_WAYS" not in os.environ, reason="takes long: `make e2e-ways`"),
]


@dataclass
class Place:
    """A namespace for one way, which goes with all that was made in it."""

    tools: Any
    name: str
    others: list[str] = field(default_factory=list)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        said: str = self.tools.run("kubectl", "--namespace", self.name, *arguments, **options)
        return said

    def make(self, *objects: Document) -> None:
        self.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(objects))

    def secret(self, name: str, **entries: str) -> None:
        self.make({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": entries})

    def keys(self, secret: str) -> str:
        """A Secret with the hash of a key; and the key."""
        key_id, key = new_key(secrets.choice)
        self.secret(secret, **{key_id: ApiKey(key_id, "default", digest_of(key)).to_entry().decode()})
        return key

    def namespace(self, suffix: str) -> str:
        """One more."""
        name = f"{self.name}-{suffix}"
        self.tools.run("kubectl", "create", "namespace", name)
        self.others.append(name)
        return name


@pytest.fixture
def place(tools: Any) -> Iterator[Place]:
    found = Place(tools, f"{os.environ['THUMBNAILS_TEST_WAYS']}-{uuid.uuid4().hex[:6]}")
    tools.run("kubectl", "create", "namespace", found.name)
    found.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=120s")
    tools.run("kubectl", "label", "namespace", found.name, "pod-security.kubernetes.io/enforce=restricted")
    try:
        yield found
    finally:
        with suppress(AssertionError):
            tools.run(
                "helm", "uninstall", "thumbnails", "--namespace", found.name, "--wait", "--ignore-not-found"
            )
        for name in (found.name, *found.others):
            tools.run("kubectl", "delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session", autouse=True)
def _crd(tools: Any) -> Iterator[None]:
    """There is one for the whole cluster, and no way of these has it for its own."""
    if tools.run("kubectl", "get", "crd", CRD, "--ignore-not-found"):
        yield
        return
    tools.run("kubectl", "apply", "--filename", str(ROOT / "crds" / "thumbnailjobs.yaml"))
    yield
    tools.run("kubectl", "delete", "crd", CRD, "--ignore-not-found", "--timeout=120s")


@pytest.fixture(scope="session")
def program() -> ModuleType:
    """What `helm test` runs."""
    spec = importlib.util.spec_from_file_location("helm_test", CHART / "files" / "helm_test.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small() -> Document:
    """What fits a node of two cores; the values of the cluster's own, when there are some."""
    given = os.environ.get("THUMBNAILS_TEST_VALUES")
    values: Document = yaml.safe_load(Path(given).read_text()) if given else {}
    requests = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
    for component in ("api", "operator", "minio"):
        values[component] = {**values.get(component, {}), **requests}
    return values


def install(place: Place, way: str, values: Document, tmp_path: Path) -> None:
    """As an administrator does, with the way's values and, over them, these."""
    layers = [CHART / "ci" / f"{way}-values.yaml"]
    for number, layer in enumerate((small(), values)):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(layer))
        layers.append(path)
    place.tools.run(
        *("helm", "install", "thumbnails", str(CHART), "--namespace", place.name),
        *("--wait", "--timeout", "5m", "--set", "crds.install=false"),
        *(f"--values={path}" for path in layers),
    )


def first_key(place: Place) -> str:
    data = place.kubectl("get", "secret", "thumbnails-api-key", "--output=jsonpath={.data.key}")
    return base64.b64decode(data).decode()


def certified(place: Place, secret: str, config_map: str, entry: str) -> None:
    """A certificate of the S3 server, by an authority that nobody else knows: its key, and the authority."""
    authority = trustme.CA()
    own = authority.issue_cert(f"s3.{place.name}")
    files = {"public.crt": own.cert_chain_pems[0], "private.key": own.private_key_pem}
    place.secret(secret, **{name: blob.bytes().decode() for name, blob in files.items()})
    place.make(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": config_map},
            "data": {entry: authority.cert_pem.bytes().decode()},
        }
    )


def s3_server(place: Place, secret: str, certificate: str | None = None) -> str:
    """An S3 server beside the release; its URL. Its keys are in one Secret, a certificate in another."""
    access, hidden = "pictures", secrets.token_hex(16)
    place.secret(secret, accessKey=access, secretKey=hidden)
    (image,) = {
        container["image"]
        for document in yaml.safe_load_all(place.tools.run("helm", "template", "a", str(CHART)))
        if document and document["metadata"]["name"] == "a-minio" and document["kind"] == "Deployment"
        for container in document["spec"]["template"]["spec"]["containers"]
        if container["name"] == "minio"
    }
    place.make(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "s3", "labels": {"app": "s3"}},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "s3",
                        "image": image,
                        "args": ["server", "/data", "--address", ":9000", "--certs-dir", "/certs"],
                        "env": [
                            {"name": "MINIO_ROOT_USER", "value": access},
                            {"name": "MINIO_ROOT_PASSWORD", "value": hidden},
                            {"name": "MINIO_BROWSER", "value": "off"},
                            {"name": "HOME", "value": "/data"},
                        ],
                        "readinessProbe": {"tcpSocket": {"port": 9000}, "periodSeconds": 1},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [
                            {"name": "data", "mountPath": "/data"},
                            {"name": "certs", "mountPath": "/certs", "readOnly": certificate is not None},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "data", "emptyDir": {}},
                    {"name": "certs"}
                    | ({"secret": {"secretName": certificate}} if certificate else {"emptyDir": {}}),
                ],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s3"},
            "spec": {"selector": {"app": "s3"}, "ports": [{"port": 9000}]},
        },
    )
    place.kubectl("wait", "--for=condition=Ready", "pod/s3", "--timeout=120s")
    return f"{'https' if certificate else 'http'}://s3.{place.name}:9000"


# What a way needs is made in the place; given are further values, and the key to upload with (None: first).
Preparation = Callable[[Place], tuple[Document, str | None]]


def nothing(_: Place) -> tuple[Document, str | None]:
    return {}, None


def own_dns(_: Place) -> tuple[Document, str | None]:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    return {"networkPolicy": {"dns": values["networkPolicy"]["dns"]}}, None


def gitops(place: Place) -> tuple[Document, str | None]:
    place.secret("minio-root", rootUser="root", rootPassword=secrets.token_hex(16))
    place.secret("thumbnails-user", accessKey="thumbnails", secretKey=secrets.token_hex(16))
    place.secret("thumbnails-links", secret=secrets.token_hex(32))
    return {}, place.keys("thumbnails-hashes")


def external_s3(place: Place) -> tuple[Document, str | None]:
    certified(place, "pictures-certificate", "trust-bundle", "ca.pem")
    endpoint = s3_server(place, "pictures-s3", "pictures-certificate")
    place.secret("pictures-links", secret=secrets.token_hex(32))
    place.secret("pictures-webhook", url="http://receiver.invalid/hook")
    values = {
        "s3": {"endpoint": endpoint, "region": "us-east-1"},
        "networkPolicy": {"s3To": [{"podSelector": {"matchLabels": {"app": "s3"}}}]},
    }
    return values, place.keys("pictures-api-keys")


def everything_off(place: Place) -> tuple[Document, str | None]:
    endpoint = s3_server(place, "pictures-s3")
    place.secret("pictures-links", secret=secrets.token_hex(32))
    for name in ("pictures-api", "pictures-operator"):
        place.make({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    return {"s3": {"endpoint": endpoint}}, place.keys("thumbnails-api-keys")


def tenants(place: Place) -> tuple[Document, str | None]:
    one, other = place.namespace("a"), place.namespace("b")
    key_id, key = new_key(secrets.choice)
    entry = ApiKey(key_id, "default", digest_of(key), namespace=one).to_entry().decode()
    place.secret("hashes", **{key_id: entry})
    values = {
        "namespaces": [one, other],
        "image": {"registry": "localhost", "tag": "", "pullPolicy": "IfNotPresent", "pullSecrets": []},
        "settings": {"maxWorkers": 2},
        "rateLimits": {"existingSecret": ""},
        "apiKeys": {"existingSecret": "hashes"},
        "api": {
            "image": {"digest": ""},
            "service": {"type": "NodePort"},
            "priorityClassName": "",
        },
        "minio": {"persistence": {"size": "1Gi", "storageClass": ""}},
    }
    return values, key


def monitoring(place: Place) -> tuple[Document, str | None]:
    for kind in ("podmonitors", "prometheusrules"):
        crd = f"{kind}.monitoring.coreos.com"
        if not place.tools.run("kubectl", "get", "crd", crd, "--ignore-not-found"):
            pytest.skip("the cluster does not know PodMonitors")
    return {}, None


WAYS: dict[str, Preparation] = {
    "default": nothing,
    "ephemeral": lambda _: ({"apiKeys": {"create": True}}, None),
    "one-replica": nothing,
    "ha": nothing,
    "ingress": nothing,
    "openshift": own_dns,
    "monitoring": monitoring,
    "gitops": gitops,
    "external-s3": external_s3,
    "everything-off": everything_off,
    "tenants": tenants,
}


def test_every_way_is_here() -> None:
    assert set(WAYS) == {path.name.removesuffix("-values.yaml") for path in (CHART / "ci").iterdir()}


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_goes_all_the_way(
    place: Place, program: ModuleType, forward: Callable[..., Any], tmp_path: Path, way: str
) -> None:
    values, key = WAYS[way](place)
    install(place, way, values, tmp_path)
    leads = forward(place.name, "service/thumbnails-api", 3000)
    try:
        program.check(program.Api(f"http://127.0.0.1:{leads.port}", key or first_key(place)))
    finally:
        leads.close()
