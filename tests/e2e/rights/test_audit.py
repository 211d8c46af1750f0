"""Least privilege: what the chart allows each component is what that asks for, no more and no less.

The components do all that they ever do, in an installation of this test; what they asked for is read from the
API server's audit log. A right that nobody uses and a request that is refused are both mistakes in the chart.
"""

import contextlib
import io
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hack.cluster.faults import RunningNode
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Eventually = Callable[..., Any]
COMPONENTS = ("api", "operator")
SECONDS_TO_BE_LOGGED = 30.0
AUDIENCE = "thumbnails-api"


def a_photo(side: int = 200) -> bytes:
    """One that nobody has seen before."""
    file = io.BytesIO()
    Image.effect_noise((side, side), 90).save(file, "PNG")
    return file.getvalue()


class Exercise:
    """Everything that makes a component ask the API server for something."""

    def __init__(self, installation: Any, cluster: Any, eventually: Eventually) -> None:
        self.installation = installation
        self._objects = cluster.objects
        self._eventually = eventually
        self._job = ("thumbnails.dev", "v1alpha1", installation.namespace, "thumbnailjobs")

    def finish_and_delete(self) -> None:
        """A job from its upload to its webhook and its end; and one that there is not."""
        job = self._upload()
        assert self.installation.wait_job(job)["status"] == "complete"
        self.installation.webhooks.of_job(job)
        assert self.installation.request("DELETE", f"/jobs/{job}").status_code == 204
        unknown = uuid.UUID(int=(uuid.UUID(job).int ^ 1))
        assert self.installation.request("GET", f"/jobs/{unknown}").status_code == 404

    def live_out_a_ttl(self) -> None:
        """A finished job that the operator deletes."""
        done = self.installation.job_resource(self._finished())
        manifest = {
            "apiVersion": "thumbnails.dev/v1alpha1",
            "kind": "ThumbnailJob",
            "metadata": {"name": "short-lived"},
            "spec": {"source": done["spec"]["source"], "ttlSecondsAfterFinished": 0},
        }
        self.installation.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))
        find = ("get", "thumbnailjob", "short-lived", "--ignore-not-found", "--output=name")
        self._eventually(lambda: not self.installation.kubectl(*find), "the operator deletes it")

    def disagree(self) -> None:
        """Somebody else changes jobs while the operator writes their statuses: it reads them again."""
        with self._meddling() as follow:
            for _ in range(5):
                job = self._upload()
                follow(job)
                self.installation.wait_job(job)

    @contextmanager
    def _meddling(self) -> Iterator[Callable[[str], None]]:
        done, current = threading.Event(), [""]

        def meddle() -> None:
            from kubernetes.client import ApiException

            count = 0
            while not done.wait(0.002):
                count += 1
                if name := current[0]:
                    with contextlib.suppress(ApiException):
                        body = {"metadata": {"annotations": {"test": str(count)}}}
                        self._objects.patch_namespaced_custom_object(*self._job, name, body)

        thread = threading.Thread(target=meddle)
        thread.start()
        try:
            yield lambda name: current.__setitem__(0, name)
        finally:
            done.set()
            thread.join()

    def be_a_stranger(self) -> None:
        """A pod that says it is a worker's, of a Job that is none: the operator looks, and refuses."""
        name, kubectl = "stranger", self.installation.kubectl
        container = {
            "name": "stranger",
            "image": "none",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        # Nobody runs the Job, and no node the pod.
        spec = {"restartPolicy": "Never", "containers": [container]}
        job: dict[str, Any] = {"managedBy": "thumbnails.dev/test", "template": {"spec": spec}}
        uid = self._create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": job})
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        pod_spec = {
            **spec,
            "serviceAccountName": "thumbnails-worker",
            "schedulingGates": [{"name": "thumbnails.dev/test"}],
        }
        metadata = {"name": name, "labels": {"thumbnails.dev/worker": name}, "ownerReferences": [owner]}
        pod = self._create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec})
        token = kubectl(
            *("create", "token", "thumbnails-worker", "--audience=thumbnails-exchange"),
            *("--bound-object-kind=Pod", f"--bound-object-name={name}", f"--bound-object-uid={pod}"),
        ).strip()
        self._eventually(self.installation.leader, "an operator leads")
        with closing(self.installation.forward("service/thumbnails-exchange", 8081)) as way:
            answer = self.installation.new_session(token).post(
                f"http://127.0.0.1:{way.port}/work", json={}, timeout=60
            )
        assert answer.status_code == 401, answer.text

    def _create(self, manifest: dict[str, Any]) -> str:
        """Its uid."""
        made = self.installation.kubectl(
            "create", "--filename=-", "--output=json", stdin=json.dumps(manifest)
        )
        return str(json.loads(made)["metadata"]["uid"])

    def have_no_room_for_workers(self) -> None:
        """A worker's Job that gets no pod: Events tell why."""
        kubectl = self.installation.kubectl
        kubectl("create", "quota", "tight", "--hard=pods=0")
        kubectl("wait", "--for=jsonpath={.status.hard}", "resourcequota/tight", "--timeout=60s")
        kubectl("delete", "jobs", "--selector=thumbnails.dev/worker", "--cascade=foreground")
        job = self._upload()

        def says_why() -> bool:
            conditions = self.installation.job_resource(job)["status"].get("conditions", ())
            return any(each["reason"] == "FailedCreate" for each in conditions)

        self._eventually(says_why, "the job says why it waits")
        kubectl("delete", "resourcequota", "tight")
        assert self.installation.wait_job(job)["status"] == "complete"

    def have_another_leader(self) -> None:
        """The operator's other replica leads."""
        leader = self._eventually(self.installation.leader, "an operator leads")
        self.installation.delete_pod(leader, grace=0)
        self._eventually(lambda: self.installation.leader() not in {None, leader}, "the other one leads")
        self._finished()

    def show_a_token(self) -> None:
        """A service account of the cluster calls the API."""
        kubectl = self.installation.kubectl
        kubectl("create", "serviceaccount", "client")
        kubectl("create", "role", "client", "--verb=get,list", "--resource=thumbnailjobs.thumbnails.dev")
        account = f"--serviceaccount={self.installation.namespace}:client"
        kubectl("create", "rolebinding", "client", "--role=client", account)
        token = kubectl("create", "token", "client", f"--audience={AUDIENCE}").strip()
        assert self.installation.request("GET", "/jobs", key=token).status_code == 200

    def _upload(self, picture: bytes | None = None, **fields: str) -> str:
        answer = self.installation.post(picture or a_photo(), **fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def _finished(self) -> str:
        job = self._upload()
        assert self.installation.wait_job(job)["status"] == "complete"
        return job


@pytest.fixture(scope="module")
def exercised(
    start_installation: Callable[..., Any],
    node: RunningNode,
    cluster: Any,
    eventually: Eventually,
    requests_of: Any,
) -> Any:
    """An installation in which all of it was done."""
    installation = start_installation(
        kubernetesTokens={"enabled": True, "audience": AUDIENCE},
        settings={"lingerSeconds": 2, "maxWorkers": 1},
    )
    exercise = Exercise(installation, cluster, eventually)
    try:
        exercise.finish_and_delete()
        exercise.live_out_a_ttl()
        exercise.disagree()
        exercise.be_a_stranger()
        exercise.have_no_room_for_workers()
        exercise.have_another_leader()
        exercise.show_a_token()
    except AssertionError as error:
        requests = requests_of(node, [installation.namespace])
        refused = {str(each.target) for each in requests if not each.allowed}
        error.add_note(f"refused until then: {sorted(refused)}")
        raise
    return installation


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_right_is_used(
    exercised: Any, node: RunningNode, requests_of: Any, rights_of: Any, component: str
) -> None:
    account = f"{exercised.namespace}:thumbnails-{component}"
    rights = rights_of(exercised.tools, exercised.namespace, f"thumbnails-{component}")
    assert rights
    give_up = time.monotonic() + SECONDS_TO_BE_LOGGED
    while True:
        asked = [each.target for each in requests_of(node, [exercised.namespace]) if each.account == account]
        unused = sorted(right for right in rights if not any(right.covers(target) for target in asked))
        if not unused:
            break
        assert time.monotonic() < give_up, f"allowed, and never asked for: {unused}"
        time.sleep(1)


def test_nothing_that_is_asked_for_is_refused(
    exercised: Any, installer: Any, node: RunningNode, requests_of: Any
) -> None:
    """In no installation of all end-to-end tests, but where it was uninstalled: rights go before pods do."""
    requests = list(requests_of(node, installer.namespaces))
    assert {each.account.partition(":")[0] for each in requests} >= {exercised.namespace}
    asked: dict[bool, set[tuple[str, Any]]] = {True: set(), False: set()}
    for each in requests:
        target = replace(each.target, namespace="")
        asked[each.allowed].add((each.account.partition(":")[2], target))
    assert not asked[False] - asked[True]


def test_secrets_are_read_by_whom_they_are_for(installer: Any, node: RunningNode, requests_of: Any) -> None:
    read: dict[str, set[str]] = {component: set() for component in COMPONENTS}
    for request in requests_of(node, installer.namespaces):
        if request.target.resource == "secrets" and request.target.verb != "create":
            assert request.target.verb == "get", request
            read[request.account.rpartition("-")[2]].add(request.target.name)
    assert read["api"] == {"thumbnails-api-keys"}
    # Those that webhooks are signed with: an account's own, and one that a test's job names.
    others = {name for name in read["operator"] if not name.startswith("thumbnails-webhook-")}
    assert others <= {"my-webhook"}


@pytest.mark.parametrize("component", ["api", "operator", "worker"])
def test_nobody_may_list_secrets_or_read_the_object_stores(exercised: Any, component: str) -> None:
    account = f"system:serviceaccount:{exercised.namespace}:thumbnails-{component}"

    def may(verb: str, resource: str, namespace: str) -> bool:
        command = ("auth", "can-i", verb, resource, f"--as={account}", f"--namespace={namespace}")
        # Its exit code is the answer.
        with contextlib.suppress(AssertionError):
            return bool(exercised.tools.run("kubectl", *command).strip() == "yes")
        return False

    for namespace in (exercised.namespace, "kube-system", "default"):
        for verb in ("list", "watch", "update", "patch", "delete"):
            assert not may(verb, "secrets", namespace)
    for secret in ("thumbnails-minio", "thumbnails-s3"):
        assert not may("get", f"secrets/{secret}", "kube-system")
        if component != "operator":  # which reads Secrets that jobs of this namespace name
            assert not may("get", f"secrets/{secret}", exercised.namespace)


def test_workers_ask_for_nothing(installer: Any, exercised: Any, node: RunningNode, requests_of: Any) -> None:
    assert exercised.namespace in installer.namespaces
    asked = {each.account.partition(":")[2] for each in requests_of(node, installer.namespaces)}
    assert asked <= {f"thumbnails-{component}" for component in COMPONENTS} | {"client"}
