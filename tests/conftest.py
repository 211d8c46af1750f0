"""A Kubernetes API server for the tests that need one: any that an administrator's kubeconfig names.

`THUMBNAILS_TEST_KUBECONFIG`, or else `KUBECONFIG`, says where it is; without it those tests are skipped.
They keep to namespaces of their own, and bring the CRD of this source tree up to date.
"""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

# No test is timed: a machine may be as slow as it likes.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

CRD_FILE = Path(__file__).parents[1] / "crds" / "thumbnailjobs.yaml"
MISSING, CONFLICT = 404, 409
PATIENCE_SECONDS = 60.0


class Cluster:
    """An administrator's view of the API server."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import client, config

        self.kubeconfig = kubeconfig
        self.errors = client.ApiException
        self._api: Any = config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]
        self.core: Any = client.CoreV1Api(self._api)
        self.objects = client.CustomObjectsApi(self._api)
        self._extensions = client.ApiextensionsV1Api(self._api)
        self._made_crd = False

    def install_crd(self) -> None:
        """Apply the CRD unless it is there, as a chart's for one, and return when its objects are served."""
        crd = yaml.safe_load(CRD_FILE.read_text())
        self._made_crd = not any(
            each.metadata is not None and each.metadata.name == crd["metadata"]["name"]
            for each in self._extensions.list_custom_resource_definition().items
        )
        with suppress(self.errors):
            known: Any = self.objects.get_cluster_custom_object(
                "apiextensions.k8s.io", "v1", "customresourcedefinitions", crd["metadata"]["name"]
            )
            if known["spec"]["versions"] == crd["spec"]["versions"]:
                return
        self._extensions.patch_custom_resource_definition(
            crd["metadata"]["name"],
            crd,
            field_manager="thumbnails-tests",
            force=True,
            _content_type="application/apply-patch+yaml",
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(self.errors):  # 404, then 429 while its storage is made
                self.objects.list_cluster_custom_object(
                    "thumbnails.dev", "v1alpha1", "thumbnailjobs", limit=1
                )
                return
            assert time.monotonic() < deadline, "the CRD is not served"
            time.sleep(0.1)

    def make_namespace(self) -> str:
        """A new one."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.core.create_namespace({"metadata": {"name": name, "labels": {"thumbnails.dev/test": "true"}}})
        return name

    def remove_namespace(self, name: str) -> None:
        """Its jobs at once, the rest when the cluster comes to it."""
        self.objects.delete_collection_namespaced_custom_object(
            "thumbnails.dev", "v1alpha1", name, "thumbnailjobs"
        )
        self.core.delete_namespace(name)

    def close(self) -> None:
        """Whoever made the CRD removes it, with all jobs: Helm takes over nothing that it did not make."""
        if self._made_crd:
            with suppress(self.errors):
                self._extensions.delete_custom_resource_definition(
                    yaml.safe_load(CRD_FILE.read_text())["metadata"]["name"]
                )
        self._api.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The API server, with the CRD; the test is skipped when there is none."""
    kubeconfig = os.environ.get("THUMBNAILS_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG")
    if not kubeconfig:
        pytest.skip(
            "needs a Kubernetes API server: set THUMBNAILS_TEST_KUBECONFIG (`make cluster` makes one)"
        )
    cluster = Cluster(kubeconfig)
    cluster.install_crd()
    yield cluster
    cluster.close()


@pytest.fixture
def make_namespace(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """A function that makes a namespace for this test."""
    made: list[str] = []

    def make() -> str:
        made.append(cluster.make_namespace())
        return made[-1]

    yield make
    for name in made:
        cluster.remove_namespace(name)


@pytest.fixture(scope="session")
def kubectl_binary() -> str:
    """Where `kubectl` is: `THUMBNAILS_TEST_KUBECTL`, or on the PATH."""
    found: Any = os.environ.get("THUMBNAILS_TEST_KUBECTL") or shutil.which("kubectl")
    if not found:
        pytest.skip("needs kubectl: put it on the PATH, or set THUMBNAILS_TEST_KUBECTL")
    return str(found)
