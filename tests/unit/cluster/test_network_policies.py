"""Which packets get through: NetworkPolicies turned into nftables rules."""

from typing import Any

import pytest
from hack.cluster.netpol import EGRESS, INGRESS, Pod, parse_pod, parse_policy, ruleset

API = Pod("shop", "api", "10.244.0.2", {"app": "api"}, {("http", "TCP"): 3000})
WORKER = Pod("shop", "worker", "10.244.0.3", {"app": "worker"})
STORE = Pod("storage", "minio", "10.244.0.4", {"app": "minio"}, {("s3", "TCP"): 9000})
STRANGER = Pod("other", "stranger", "10.244.0.5", {"app": "api"})
PODS = [API, WORKER, STORE, STRANGER]
NAMESPACES = {name: {"kubernetes.io/metadata.name": name} for name in ("shop", "storage", "other")}


def policy(namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": "p"}, "spec": {"podSelector": {}, **spec}}


def chain(text: str, name: str) -> list[str]:
    """The lines of a chain; fails when there is none."""
    _, found, rest = text.partition(f"  chain {name} {{")
    assert found, f"no chain {name} in\n{text}"
    return [line.strip() for line in rest.partition("\n  }\n")[0].splitlines()[1:] if line.strip()]


def rules(*documents: dict[str, Any], pods: list[Pod] = PODS) -> str:
    return ruleset(pods, NAMESPACES, [parse_policy(document) for document in documents])


def test_without_policies_everything_passes() -> None:
    text = rules()
    assert "drop" not in text
    assert "vmap" not in text


def test_a_selected_pod_gets_nothing_that_is_not_allowed() -> None:
    text = rules(policy(podSelector={"matchLabels": {"app": "api"}}))
    assert chain(text, "ingress_10_244_0_2") == ["drop"]
    assert "ip daddr vmap { 10.244.0.2 : jump ingress_10_244_0_2 }" in text


def test_a_policy_holds_in_its_own_namespace_and_direction_alone() -> None:
    text = rules(policy(podSelector={"matchLabels": {"app": "api"}}))
    assert "10_244_0_5" not in text
    assert "egress_" not in text


def test_answers_to_allowed_connections_pass() -> None:
    text = rules(policy())
    assert text.index("ct state established,related accept") < text.index("vmap")


def test_peers_by_label_are_of_the_policys_namespace() -> None:
    text = rules(
        policy(
            podSelector={"matchLabels": {"app": "worker"}},
            ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "api"}}}]}],
        )
    )
    assert chain(text, "ingress_10_244_0_3") == ["ip saddr { 10.244.0.2 } return", "drop"]


def test_peers_by_namespace_and_label() -> None:
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}},
        "podSelector": {"matchLabels": {"app": "minio"}},
    }
    text = rules(
        policy(
            podSelector={"matchLabels": {"app": "worker"}},
            policyTypes=["Egress"],
            egress=[{"to": [peer], "ports": [{"port": 9000}]}],
        )
    )
    assert chain(text, "egress_10_244_0_3") == ["ip daddr 10.244.0.4 tcp dport 9000 return", "drop"]


def test_peers_by_namespace_alone_are_all_of_its_pods() -> None:
    text = rules(
        policy(
            podSelector={"matchLabels": {"app": "api"}},
            ingress=[{"from": [{"namespaceSelector": {}}]}],
        )
    )
    everybody = "10.244.0.2, 10.244.0.3, 10.244.0.4, 10.244.0.5"
    assert chain(text, "ingress_10_244_0_2") == [f"ip saddr {{ {everybody} }} return", "drop"]


def test_address_ranges_with_exceptions() -> None:
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.244.0.0/16"]}}
    text = rules(policy(podSelector={"matchLabels": {"app": "api"}}, ingress=[{"from": [block]}]))
    assert chain(text, "ingress_10_244_0_2") == [
        "ip saddr 10.0.0.0/8 ip saddr != { 10.244.0.0/16 } return",
        "drop",
    ]


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"port": 53, "protocol": "UDP"}, "udp dport 53 return"),
        ({"port": 8000, "endPort": 8010}, "tcp dport 8000-8010 return"),
        ({"protocol": "TCP"}, "meta l4proto tcp return"),
        ({"port": "http"}, "tcp dport 3000 return"),
    ],
)
def test_ports_from_anywhere(port: dict[str, Any], expected: str) -> None:
    text = rules(policy(podSelector={"matchLabels": {"app": "api"}}, ingress=[{"ports": [port]}]))
    assert chain(text, "ingress_10_244_0_2") == [expected, "drop"]


def test_a_named_port_that_the_pod_lacks_allows_nothing() -> None:
    text = rules(
        policy(podSelector={"matchLabels": {"app": "worker"}}, ingress=[{"ports": [{"port": "http"}]}])
    )
    assert chain(text, "ingress_10_244_0_3") == ["drop"]


def test_a_named_port_of_an_egress_rule_is_the_receivers() -> None:
    text = rules(
        policy(
            podSelector={"matchLabels": {"app": "worker"}},
            policyTypes=["Egress"],
            egress=[{"ports": [{"port": "s3"}]}],
        )
    )
    assert chain(text, "egress_10_244_0_3") == ["ip daddr 10.244.0.4 tcp dport 9000 return", "drop"]


def test_an_empty_rule_allows_everything() -> None:
    text = rules(policy(podSelector={"matchLabels": {"app": "api"}}, ingress=[{}]))
    assert chain(text, "ingress_10_244_0_2") == ["return", "drop"]


def test_policies_add_up() -> None:
    select = {"matchLabels": {"app": "api"}}
    text = rules(
        policy(podSelector=select, ingress=[{"ports": [{"port": 1}]}]),
        policy(podSelector=select, ingress=[{"ports": [{"port": 2}]}]),
    )
    assert chain(text, "ingress_10_244_0_2") == ["tcp dport 1 return", "tcp dport 2 return", "drop"]


def test_what_leaves_a_pod_for_the_node_is_checked_too() -> None:
    text = rules(policy(podSelector={"matchLabels": {"app": "api"}}, policyTypes=["Egress"]))
    assert "ip saddr vmap { 10.244.0.2 : jump egress_10_244_0_2 }" in chain(text, "input")


def test_directions_are_those_of_policy_types_or_follow_from_the_rules() -> None:
    assert set(parse_policy(policy()).rules) == {INGRESS}
    assert set(parse_policy(policy(egress=[{}])).rules) == {INGRESS, EGRESS}
    assert set(parse_policy(policy(policyTypes=["Egress"])).rules) == {EGRESS}


def test_the_order_of_what_is_known_does_not_matter() -> None:
    documents = [policy(ingress=[{"ports": [{"port": 1}]}]), policy(policyTypes=["Egress"])]
    assert rules(*documents) == rules(*reversed(documents), pods=PODS[::-1])


def pod_document(**status: Any) -> dict[str, Any]:
    container = {"name": "c", "ports": [{"name": "http", "containerPort": 3000}, {"containerPort": 1}]}
    return {
        "metadata": {"namespace": "shop", "name": "api", "labels": {"app": "api"}},
        "spec": {"containers": [container]},
        "status": {"podIP": "10.244.0.2", "phase": "Running", **status},
    }


def test_a_pod_is_read_from_its_document() -> None:
    assert parse_pod(pod_document()) == API


@pytest.mark.parametrize("status", [{"podIP": None}, {"phase": "Succeeded"}, {"phase": "Failed"}])
def test_a_pod_without_an_address_of_its_own_does_not_count(status: dict[str, Any]) -> None:
    assert parse_pod(pod_document(**status)) is None


def test_a_pod_on_the_nodes_network_does_not_count() -> None:
    document = pod_document()
    document["spec"]["hostNetwork"] = True
    assert parse_pod(document) is None
