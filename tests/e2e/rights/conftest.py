"""What components were allowed, and what they asked for: by the API server's rules and its audit log."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import pytest
from hack.cluster.faults import RunningNode

RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb of one rule of a Role. `name` "" is any object; `namespace` "" is the whole cluster."""

    namespace: str
    group: str
    resource: str  # with its subresource: pods/log
    name: str
    verb: str

    def covers(self, request: "Right") -> bool:
        """Whether a request needs no other right than this."""
        return (self.group, self.resource, self.verb) == (request.group, request.resource, request.verb) and (
            self.namespace in {"", request.namespace} and self.name in {"", request.name}
        )


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the audit log has it."""

    account: str  # "{namespace}:{name}"
    target: Right
    allowed: bool

    @classmethod
    def of_event(cls, event: dict[str, Any]) -> Self | None:
        """None for what is no object's: discovery, versions."""
        target = event.get("objectRef")
        if target is None:
            return None
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        right = Right(
            target.get("namespace", ""),
            target.get("apiGroup", ""),
            resource,
            target.get("name", ""),
            event["verb"],
        )
        account = event["user"]["username"].removeprefix("system:serviceaccount:")
        return cls(
            account, right, event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow"
        )


def requests_of(node: RunningNode, namespaces: list[str]) -> Iterator[Request]:
    """All that service accounts of these namespaces asked for, by the API server's audit log."""
    log = node.layout.logs / "audit.log"
    marks = [f'"system:serviceaccount:{namespace}:'.encode() for namespace in namespaces]
    with log.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n") and any(mark in line for mark in marks):
                request = Request.of_event(json.loads(line))
                if request is not None:
                    yield request


def rights_of(tools: Any, namespace: str, account: str) -> set[Right]:
    """All that the cluster's rules allow a service account."""
    found: set[Right] = set()
    for kind in ("rolebindings", "clusterrolebindings"):
        listed = json.loads(
            tools.run("kubectl", "get", f"{kind}.{RBAC}", "--all-namespaces", "--output=json")
        )
        for binding in listed["items"]:
            subjects = {
                (each["kind"], each.get("namespace"), each["name"]) for each in binding.get("subjects", ())
            }
            if ("ServiceAccount", namespace, account) in subjects:
                found.update(_rights_of_role(tools, binding))
    return found


def _rights_of_role(tools: Any, binding: dict[str, Any]) -> Iterator[Right]:
    where = binding["metadata"].get("namespace", "")
    kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
    scope = ["--namespace", where] if kind == "Role" else []
    role = json.loads(tools.run("kubectl", *scope, "get", f"{kind.lower()}.{RBAC}", name, "--output=json"))
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for object_ in rule.get("resourceNames", [""]):
                        yield Right(where, group, resource, object_, verb)


@pytest.fixture(scope="module", name="requests_of")
def requests_of_fixture() -> Callable[[RunningNode, list[str]], Iterator[Request]]:
    return requests_of


@pytest.fixture(scope="module", name="rights_of")
def rights_of_fixture() -> Callable[[Any, str, str], set[Right]]:
    return rights_of
