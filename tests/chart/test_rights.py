"""Who may do what, and who may call whom: as tables, so that nothing more is granted unnoticed."""

from typing import Any

import pytest

Rules = list[tuple[str, str, str, str]]

API: Rules = [
    ("", "secrets", "thumbnails-api-keys", "get"),
    ("thumbnails.dev", "thumbnailjobs", "", "create delete get list watch"),
]
OPERATOR: Rules = [
    ("", "events", "", "create list"),
    ("", "pods", "", "get list patch"),
    ("", "pods", "", "get list watch"),
    ("", "secrets", "", "create get"),
    ("authentication.k8s.io", "tokenreviews", "", "create"),
    ("batch", "jobs", "", "create delete get list watch"),
    ("coordination.k8s.io", "leases", "", "create"),
    ("coordination.k8s.io", "leases", "thumbnails-operator", "get update"),
    ("thumbnails.dev", "thumbnailjobs", "", "delete get list watch"),
    ("thumbnails.dev", "thumbnailjobs/status", "", "patch"),
]


def rules_of(rendered: Any, account: str, *, namespace: str | None = None) -> Rules:
    """All that an account may do (in one namespace; "": in none), by its bindings."""
    found: Rules = []
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for binding in rendered.all(kind):
            subjects = {subject["name"] for subject in binding["subjects"]}
            if account not in subjects or namespace not in (None, binding["metadata"].get("namespace", "")):
                continue
            (role,) = (
                role
                for role in rendered.all(binding["roleRef"]["kind"])
                if role["metadata"]["name"] == binding["roleRef"]["name"]
                and role["metadata"].get("namespace") == binding["metadata"].get("namespace")
            )
            found += [
                (group, resource, " ".join(rule.get("resourceNames", [])), " ".join(sorted(rule["verbs"])))
                for rule in role["rules"]
                for group in rule["apiGroups"]
                for resource in rule["resources"]
            ]
    return sorted(found)


@pytest.mark.parametrize(("account", "rules"), [("api", API), ("operator", OPERATOR), ("worker", [])])
def test_rights_are_these_and_no_more(render: Any, account: str, rules: Rules) -> None:
    assert rules_of(render(), f"thumbnails-{account}") == rules


def test_only_reviews_reach_beyond_the_namespaces(render: Any) -> None:
    reviews = [("authentication.k8s.io", "tokenreviews", "", "create")]
    access = ("authorization.k8s.io", "subjectaccessreviews", "", "create")
    for values, api in ((None, []), ("tenants-values.yaml", [*reviews, access])):
        rendered = render(values)
        for account, rules in (("api", api), ("operator", reviews)):
            assert rules_of(rendered, f"thumbnails-{account}", namespace="") == rules
        roles = {role["metadata"]["name"] for role in rendered.all("ClusterRole")}
        bound = {binding["roleRef"]["name"] for binding in rendered.all("ClusterRoleBinding")}
        assert roles == bound


def test_in_tenants_namespaces_nobody_may_change_pods(render: Any) -> None:
    rendered = render("tenants-values.yaml")
    for namespace in ("tenant-a", "tenant-b"):
        rules = rules_of(rendered, "thumbnails-operator", namespace=namespace)
        assert ("", "pods", "", "get list watch") in rules
        assert ("", "pods", "", "get list patch") not in rules
        assert rules_of(rendered, "thumbnails-api", namespace=namespace) == [API[1]]
    # And in the service's own, where there are no jobs then, nobody may read Secrets.
    own = rules_of(rendered, "thumbnails-operator", namespace="thumbnails")
    assert "secrets" not in {resource for _, resource, _, _ in own}


def test_workers_have_an_account_without_a_token_in_each_namespace(render: Any) -> None:
    accounts = [
        account
        for account in render("tenants-values.yaml").all("ServiceAccount")
        if account["metadata"]["name"] == "thumbnails-worker"
    ]
    assert [account["metadata"]["namespace"] for account in accounts] == ["tenant-a", "tenant-b"]
    for account in accounts:
        assert account["automountServiceAccountToken"] is False
        assert account["imagePullSecrets"] == [{"name": "registry"}]


def test_minios_pod_has_no_token(render: Any) -> None:
    assert render().pods()["minio"]["automountServiceAccountToken"] is False


# ---- network policies ------------------------------------------------------------------------------


def reach(rules: list[dict[str, Any]], direction: str) -> set[tuple[str, int]]:
    """(component, or what else a peer is, port) of each rule."""
    return {
        (_peer(peer), port["port"])
        for rule in rules
        for peer in rule.get(direction, [{}])
        for port in rule["ports"]
    }


def _peer(peer: dict[str, Any]) -> str:
    if "ipBlock" in peer:
        return str(peer["ipBlock"]["cidr"])
    pods = peer.get("podSelector", {})
    labels = pods.get("matchLabels", {})
    if component := labels.get("app.kubernetes.io/component"):
        return str(component)
    if pods.get("matchExpressions") == [{"key": "thumbnails.dev/worker", "operator": "Exists"}]:
        return "worker"
    return str(labels.get("k8s-app", "anybody"))


def test_workers_reach_exchange_object_store_and_dns_and_nobody_reaches_them(render: Any) -> None:
    spec = render().one("NetworkPolicy", "thumbnails-worker")["spec"]
    assert spec["podSelector"] == {
        "matchExpressions": [{"key": "thumbnails.dev/worker", "operator": "Exists"}]
    }
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert reach(spec["egress"], "to") == {("kube-dns", 53), ("operator", 8081), ("minio", 9000)}


def test_minio_is_reached_by_api_operator_and_workers_and_reaches_nobody(render: Any) -> None:
    spec = render().one("NetworkPolicy", "thumbnails-minio")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    assert reach(spec["ingress"], "from") == {("api", 9000), ("operator", 9000), ("worker", 9000)}


def test_the_operator_is_reached_by_workers_alone(render: Any) -> None:
    spec = render().one("NetworkPolicy", "thumbnails-operator")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert reach(spec["ingress"], "from") == {("worker", 8081)}


def test_the_api_is_reached_by_anybody_and_reaches_what_it_needs(render: Any) -> None:
    spec = render().one("NetworkPolicy", "thumbnails-api")["spec"]
    assert reach(spec["ingress"], "from") == {("anybody", 3000)}
    assert reach(spec["egress"], "to") == {
        ("kube-dns", 53), ("minio", 9000), ("anybody", 443), ("anybody", 6443),
    }  # fmt: skip


def test_metrics_are_read_by_those_who_may(render: Any) -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    for component in ("api", "operator"):
        policy = f"thumbnails-{component}"
        ingress = render(settings={"networkPolicy.metricsFrom": [prometheus]}).one("NetworkPolicy", policy)
        (rule,) = (
            rule for rule in ingress["spec"]["ingress"] if {"protocol": "TCP", "port": 8080} in rule["ports"]
        )
        assert rule == {"from": [prometheus], "ports": [{"protocol": "TCP", "port": 8080}]}


def test_callers_of_the_api_can_be_named(render: Any) -> None:
    ingress = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "ingress"}}}
    values = {"networkPolicy.apiFrom": [ingress]}
    for tests, more in ((True, {("test", 3000)}), (False, set())):
        rendered = render(settings={**values, "tests.enabled": tests})
        spec = rendered.one("NetworkPolicy", "thumbnails-api")["spec"]
        assert reach(spec["ingress"], "from") == {("ingress", 3000)} | more


def test_another_object_store_can_be_named(render: Any) -> None:
    rendered = render("external-s3-values.yaml")
    for component in ("api", "worker"):
        spec = rendered.one("NetworkPolicy", f"thumbnails-{component}")["spec"]
        assert ("203.0.113.0/24", 443) in reach(spec["egress"], "to")
        assert ("0.0.0.0/0", 443) not in reach(spec["egress"], "to")


def test_the_api_reaches_the_storage_of_counts_that_replicas_share(render: Any) -> None:
    spec = render("tenants-values.yaml").one("NetworkPolicy", "thumbnails-api")["spec"]
    (rule,) = (rule for rule in spec["egress"] if rule["ports"] == [{"protocol": "TCP", "port": 6379}])
    assert rule["to"] == [{"podSelector": {"matchLabels": {"app": "redis"}}}]


def test_workers_of_tenants_are_isolated_in_their_namespaces(render: Any) -> None:
    rendered = render("tenants-values.yaml")
    policies = [p for p in rendered.all("NetworkPolicy") if p["metadata"]["name"] == "thumbnails-worker"]
    assert [policy["metadata"]["namespace"] for policy in policies] == ["tenant-a", "tenant-b"]
    (rule,) = (
        rule
        for rule in rendered.one("NetworkPolicy", "thumbnails-operator")["spec"]["ingress"]
        if rule["ports"] == [{"protocol": "TCP", "port": 8081}]
    )
    (expression,) = rule["from"][0]["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["tenant-a", "tenant-b"]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("https://s3.example.com", 443),
        ("http://s3.example.com", 80),
        ("http://10.0.0.7:9000/", 9000),
    ],
)
def test_another_object_store_is_reached_on_its_port_but_no_link_local_address(
    render: Any, endpoint: str, port: int
) -> None:
    values = {"s3.endpoint": endpoint, "s3.ca.existingConfigMap": "", "networkPolicy.s3To": []}
    spec = render("external-s3-values.yaml", values).one("NetworkPolicy", "thumbnails-worker")["spec"]
    assert reach(spec["egress"], "to") == {
        ("kube-dns", 53), ("operator", 8081), ("0.0.0.0/0", port), ("::/0", port),
    }  # fmt: skip
    (blocks,) = (
        rule["to"] for rule in spec["egress"] if rule["ports"] == [{"protocol": "TCP", "port": port}]
    )
    assert blocks[0]["ipBlock"]["except"] == ["169.254.0.0/16"]


def test_policies_can_be_left_to_others(render: Any) -> None:
    assert render(settings={"networkPolicy.enabled": False}).all("NetworkPolicy") == []
