"""What admins set of any chart: scaling, an Ingress, placement, labels, accounts, budgets."""

from typing import Any

import pytest

from thumbnails_operator.worker_pod import WorkerPod

# ---- disruptions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "budgets"),
    [
        ({"api.autoscaling.minReplicas": 2}, {"api", "operator"}),
        # However many there may be at times, one that is alone must not hold up a drain.
        ({"api.autoscaling.minReplicas": 1}, {"operator"}),
        ({"api.podDisruptionBudget.enabled": False, "operator.replicas": 1}, set()),
    ],
)
def test_budgets_of_what_scales_go_by_its_least_number(
    render: Any, values: dict[str, Any], budgets: set[str]
) -> None:
    found = render("ha-values.yaml", values).all("PodDisruptionBudget")
    assert {budget["metadata"]["labels"]["app.kubernetes.io/component"] for budget in found} == budgets


# ---- the API's number, and its doors ---------------------------------------------------------------


def test_who_scales_the_api_says_how_many_there_are(render: Any) -> None:
    rendered = render("ha-values.yaml")
    assert "replicas" not in rendered.one("Deployment", "thumbnails-api")["spec"]
    scaler = rendered.one("HorizontalPodAutoscaler", "thumbnails-api")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "thumbnails-api"
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)
    assert [
        (metric["resource"]["name"], metric["resource"]["target"]["averageUtilization"])
        for metric in scaler["metrics"]
    ] == [("cpu", 70)]
    assert render().all("HorizontalPodAutoscaler") == []
    assert render(settings={"api.replicas": 4}).one("Deployment", "thumbnails-api")["spec"]["replicas"] == 4


def test_an_ingress_leads_every_host_to_the_api(render: Any) -> None:
    spec = render("ingress-values.yaml").one("Ingress", "thumbnails-api")["spec"]
    assert spec["ingressClassName"] == "nginx"
    assert spec["tls"] == [{"secretName": "thumbnails-tls", "hosts": ["thumbnails.example.com"]}]
    backend = {"service": {"name": "thumbnails-api", "port": {"name": "http"}}}
    assert spec["rules"] == [
        {
            "host": "thumbnails.example.com",
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }
    ]


def test_a_load_balancer_is_told_whom_to_let_in(render: Any) -> None:
    values = {
        "api.service.loadBalancerSourceRanges": ["192.0.2.0/24"],
        "api.service.externalTrafficPolicy": "Local",
    }
    spec = render("tenants-values.yaml", values).one("Service", "thumbnails-api")["spec"]
    assert spec["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    assert spec["externalTrafficPolicy"] == "Local"
    plain = render(settings=values).one("Service", "thumbnails-api")["spec"]
    assert not {"loadBalancerSourceRanges", "externalTrafficPolicy"} & plain.keys()


# ---- pods ------------------------------------------------------------------------------------------


def test_pods_are_spread_over_nodes_and_zones_unless_values_say_how(render: Any) -> None:
    def spread(rendered: Any, component: str) -> list[tuple[str, str]]:
        return [
            (rule["topologyKey"], rule["whenUnsatisfiable"])
            for rule in rendered.pods()[component]["topologySpreadConstraints"]
        ]

    nodes, zones = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
    for component in ("api", "operator"):
        assert spread(render(), component) == [(nodes, "ScheduleAnyway"), (zones, "ScheduleAnyway")]
    assert spread(render("ha-values.yaml"), "api") == [(zones, "ScheduleAnyway")]
    assert len(spread(render("ha-values.yaml"), "operator")) == 2


@pytest.mark.parametrize("component", ["api", "operator", "minio"])
def test_pods_can_be_labelled_placed_and_extended(render: Any, component: str) -> None:
    placed: dict[str, Any] = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "important",
    }
    timezone = {"name": "TZ", "value": "UTC"}
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "3Gi"}}
    said = {
        **placed,
        "annotations": {"example.com/a": "deployment"},
        "podAnnotations": {"example.com/a": "pod"},
        "podLabels": {"team": "pictures"},
        "extraEnv": [timezone],
        "resources": resources,
    }
    values = {f"{component}.{name}": value for name, value in said.items()}
    deployment = render(settings=values).one("Deployment", f"thumbnails-{component}")
    assert deployment["metadata"]["annotations"]["example.com/a"] == "deployment"
    template = deployment["spec"]["template"]
    assert template["metadata"]["annotations"]["example.com/a"] == "pod"
    assert template["metadata"]["labels"]["team"] == "pictures"
    assert {name: template["spec"][name] for name in placed} == placed
    container = template["spec"]["containers"][0]
    assert timezone in container["env"]
    assert container["resources"] == resources


def test_workers_are_placed_and_run_as_the_operator_is_told(render: Any) -> None:
    def told(rendered: Any) -> WorkerPod:
        (text,) = (
            variable["value"]
            for variable in rendered.pods()["operator"]["containers"][0]["env"]
            if variable["name"] == "THUMBNAILS_WORKER_POD"
        )
        return WorkerPod.parse(text)

    usual = told(render())
    assert usual.placement == usual.annotations == {}
    assert usual.security_context["runAsUser"] == 65532
    said = {"nodeSelector": {"pool": "pictures"}, "runtimeClassName": "gvisor"}
    values = {f"worker.{name}": value for name, value in said.items()}
    found = told(render(settings={**values, "worker.podAnnotations": {"a": "b"}}))
    assert found.placement == said
    assert found.annotations == {"a": "b"}
    assert "runAsUser" not in told(render("openshift-values.yaml")).security_context


def test_labels_of_all_are_on_all_and_select_nothing(render: Any) -> None:
    rendered = render(settings={"commonLabels": {"team": "pictures"}})
    for document in rendered.documents:
        assert document["metadata"]["labels"]["team"] == "pictures", document["metadata"]["name"]
    for deployment in rendered.all("Deployment"):
        assert "team" not in deployment["spec"]["selector"]["matchLabels"]


def test_secrets_of_a_registry_are_everywhere_that_images_are(render: Any) -> None:
    rendered = render(settings={"image.pullSecrets": ["registry"]})
    expected = [{"name": "registry"}]
    for pod in (*rendered.pods().values(), *(pod["spec"] for pod in rendered.all("Pod"))):
        assert pod["imagePullSecrets"] == expected
    assert rendered.one("ServiceAccount", "thumbnails-worker")["imagePullSecrets"] == expected


# ---- accounts --------------------------------------------------------------------------------------


def test_service_accounts_may_be_annotated_or_be_there_already(render: Any) -> None:
    identity = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}
    components = ("api", "operator", "worker")
    own = render(settings={f"{name}.serviceAccount.annotations": identity for name in components})
    for account in own.all("ServiceAccount"):
        assert account["metadata"]["annotations"] == identity
    others = render("everything-off-values.yaml")
    assert {account["metadata"]["name"] for account in others.all("ServiceAccount")} == {"thumbnails-worker"}
    for component in ("api", "operator"):
        assert others.pods()[component]["serviceAccountName"] == f"pictures-{component}"
    bound = {
        subject["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in others.all(kind)
        for subject in binding["subjects"]
    }
    assert bound == {"pictures-api", "pictures-operator"}
