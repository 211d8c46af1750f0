"""ThumbnailJobs as an administrator's tools send them: raw manifests to a real API server, and kubectl."""

import copy
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

UNPROCESSABLE = 422
CRD_FILE = Path(__file__).parents[3] / "crds" / "thumbnailjobs.yaml"


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    """The schema of the source tree, which `cluster` has installed."""
    (version,) = yaml.safe_load(CRD_FILE.read_text())["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said: the object, or which fields are wrong and why."""

    document: dict[str, Any]
    causes: tuple[tuple[str, str], ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.causes

    def blames(self, field: str) -> bool:
        """Whether this very field is said to be wrong."""
        return any(path == field for path, _ in self.causes)

    def speaks_of(self, field: str) -> bool:
        """Whether this field, or something in it, is said to be wrong, be it in words alone."""
        # Of an integer that is too large for its format the server says "... in batch.size".
        words = (f" in {field}", f" in {field.partition('.')[2]}")
        return any(path.startswith(field) or message.endswith(words) for path, message in self.causes)


class Jobs:
    """ThumbnailJobs of one namespace."""

    def __init__(self, cluster: Any, namespace: str) -> None:
        self._cluster = cluster
        self.namespace = namespace
        self._where = ("thumbnails.dev", "v1alpha1", namespace, "thumbnailjobs")
        self._merge = {"_content_type": "application/merge-patch+json"}

    def manifest(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": "thumbnails.dev/v1alpha1",
            "kind": "ThumbnailJob",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": copy.deepcopy(spec),
        }

    def create(self, spec: dict[str, Any], name: str = "one", *, dry_run: bool = False) -> Answer:
        options = {"dry_run": "All"} if dry_run else {}
        manifest = self.manifest(name, spec)
        return self._ask(
            lambda: self._cluster.objects.create_namespaced_custom_object(*self._where, manifest, **options)
        )

    def patch_spec(self, patch: dict[str, Any], name: str = "one") -> Answer:
        return self._ask(
            lambda: self._cluster.objects.patch_namespaced_custom_object(
                *self._where, name, {"spec": patch}, **self._merge
            )
        )

    def patch_status(self, patch: dict[str, Any], name: str = "one", *, dry_run: bool = False) -> Answer:
        options = {"dry_run": "All"} if dry_run else {}
        return self._ask(
            lambda: self._cluster.objects.patch_namespaced_custom_object_status(
                *self._where, name, {"status": patch}, **self._merge, **options
            )
        )

    def _ask(self, call: Callable[[], dict[str, Any]]) -> Answer:
        try:
            return Answer(call())
        except self._cluster.errors as error:
            if error.status != UNPROCESSABLE:
                raise
            status = yaml.safe_load(error.body)
            causes = status["details"]["causes"]
            return Answer({}, tuple((cause.get("field", ""), cause["message"]) for cause in causes))


@pytest.fixture
def jobs(cluster: Any, make_namespace: Callable[[], str]) -> Jobs:
    return Jobs(cluster, make_namespace())


@pytest.fixture
def kubectl(
    cluster: Any, jobs: Jobs, kubectl_binary: str
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`kubectl(*arguments, stdin=...)` in the namespace of `jobs`."""

    def run(*arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [kubectl_binary, "--kubeconfig", cluster.kubeconfig, "-n", jobs.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
