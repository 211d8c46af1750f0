"""What the chart makes of its values: for each way to install it that `ci/*-values.yaml` shows."""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.cluster.commands import project_version
from hack.cluster.images import project_images

from thumbnails_api.keys import ApiKey, digest_of, key_id_of
from thumbnails_api.links import LinkSigner
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.worker_job import worker_job

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "thumbnails"
WAYS = sorted(path.name for path in (CHART / "ci").glob("*-values.yaml"))
FIXED = ("external-s3-values.yaml", "gitops-values.yaml", "everything-off-values.yaml")

Document = dict[str, Any]
every_way = pytest.mark.parametrize("way", WAYS)


def containers(rendered: Any) -> Iterator[tuple[str, Document]]:
    for component, pod in rendered.pods().items():
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{component}/{container['name']}", container


@every_way
def test_lint_finds_nothing(helm: Callable[..., str], way: str) -> None:
    helm("lint", "--strict", "--quiet", "--values", CHART / "ci" / way, CHART)


def test_the_chart_can_be_packaged(helm: Callable[..., str], tmp_path: Path) -> None:
    helm("package", CHART, "--destination", tmp_path)
    (archive,) = tmp_path.iterdir()
    assert "kind: CustomResourceDefinition" in helm("template", "packed", archive)


def test_the_chart_has_the_projects_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project_version(ROOT)


# ---- pods ------------------------------------------------------------------------------------------


@every_way
def test_all_pods_fit_the_standard_restricted(render: Any, way: str) -> None:
    rendered = render(way)
    for component, pod in rendered.pods().items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, component
        user = None if way == "openshift-values.yaml" else 65532
        assert security.get("runAsUser") == security.get("runAsGroup") == user, component
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, component
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), component
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}, component
    for name, container in containers(rendered):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert not any("hostPort" in port for port in container["ports"]), name


@every_way
def test_every_container_is_probed_and_bounded_and_can_write_to_tmp(render: Any, way: str) -> None:
    for name, container in containers(render(way)):
        assert "readinessProbe" in container, name
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        assert "memory" in container["resources"]["limits"], name
        if name != "minio/access":  # which writes nothing
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, name


@every_way
def test_probes_ask_ports_that_the_container_names(render: Any, way: str) -> None:
    for name, container in containers(render(way)):
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            for action in ("httpGet", "tcpSocket"):
                asked = container.get(probe, {}).get(action)
                assert asked is None or asked["port"] in ports, (name, probe)


@every_way
def test_no_pod_holds_a_secret_in_plain_text(render: Any, way: str) -> None:
    rendered = render(way)
    secrets = {value for secret in rendered.all("Secret") for value in secret["data"].values()}
    others = [document for document in rendered.documents if document["kind"] != "Secret"]
    shown = yaml.safe_dump_all(others)
    for value in secrets:
        plain = b64decode(value).decode()
        if len(plain) >= 16:  # users' names are none
            assert plain not in shown
            assert value not in shown
    for name, container in containers(rendered):
        for variable in container.get("env", []):
            if re.search(r"(PASSWORD|SECRET_KEY|ACCESS_KEY|TOKEN)$", variable["name"]):
                assert "value" not in variable, (name, variable["name"])


@every_way
def test_only_minios_own_pod_has_roots_keys(render: Any, way: str) -> None:
    rendered = render(way)
    root = {"thumbnails-minio", "minio-root"}
    for component, pod in rendered.pods().items():
        has = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume} & root
        assert bool(has) == (component == "minio"), component


# ---- names that others rely on ---------------------------------------------------------------------


def test_names_and_ports_are_those_that_were_agreed(render: Any) -> None:
    rendered = render()
    ports = {
        service["metadata"]["name"]: [
            (port["name"], port["port"], port["targetPort"]) for port in service["spec"]["ports"]
        ]
        for service in rendered.all("Service")
    }
    assert ports == {
        "thumbnails-api": [("http", 3000, "http")],
        "thumbnails-exchange": [("exchange", 8081, "exchange")],
        "thumbnails-minio": [("s3", 9000, "s3")],
    }
    listening = {
        name: {port["name"]: port["containerPort"] for port in container["ports"]}
        for name, container in containers(rendered)
    }
    assert listening == {
        "api/api": {"http": 3000, "probes": 8080},
        "operator/operator": {"exchange": 8081, "probes": 8080},
        "minio/minio": {"s3": 9000},
        "minio/access": {"access": 9002},
    }
    accounts = {account["metadata"]["name"] for account in rendered.all("ServiceAccount")}
    assert accounts == {"thumbnails-api", "thumbnails-operator", "thumbnails-worker"}


def test_services_select_pods_that_there_are(render: Any) -> None:
    rendered = render()
    labels = [
        document["spec"]["template"]["metadata"]["labels"].items() for document in rendered.all("Deployment")
    ]
    for service in rendered.all("Service"):
        # The leader's label is given by the operator that leads.
        selector = {**service["spec"]["selector"]}
        leads = selector.pop("thumbnails.dev/leader", None)
        assert (leads == "true") == (service["metadata"]["name"] == "thumbnails-exchange")
        assert sum(selector.items() <= own for own in labels) == 1


def test_images_are_those_that_the_project_builds(render: Any) -> None:
    rendered = render()
    used = {container["image"] for _, container in containers(rendered)}
    (worker,) = (
        variable["value"]
        for variable in rendered.pods()["operator"]["containers"][0]["env"]
        if variable["name"] == "THUMBNAILS_WORKER_IMAGE"
    )
    built = {image.name for image in project_images(ROOT, project_version(ROOT), Path("minio"))}
    assert used | {worker} == built


def test_a_digest_is_used_in_place_of_a_tag(render: Any) -> None:
    images = {name: container["image"] for name, container in containers(render("tenants-values.yaml"))}
    assert re.fullmatch(r"registry.example.com/team/thumbnails/api@sha256:[0-9a-f]{64}", images["api/api"])
    assert images["operator/operator"] == "registry.example.com/team/thumbnails/operator:1.2.3"


# ---- settings --------------------------------------------------------------------------------------


def documented(readers: str) -> set[str]:
    """Variables of docs/settings.md that one of these components reads."""
    found = set()
    for line in (ROOT / "docs" / "settings.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and set(cells[3].split()) & set(readers):
            found |= set(re.findall(r"`((?:THUMBNAILS_\w+)|PORT)`", cells[1]))
    assert len(found) > 30
    return found


def variable_of(name: str) -> str:
    return "THUMBNAILS_" + re.sub(r"([A-Z])", r"_\1", name).upper()


def set_variables(rendered: Any) -> dict[str, str]:
    config = rendered.one("ConfigMap", "thumbnails-settings")["data"]
    variables: dict[str, str] = {**config}
    for component in ("api", "operator"):
        for variable in rendered.pods()[component]["containers"][0]["env"]:
            variables[variable["name"]] = variable.get("value", "")
    return variables


@every_way
def test_all_variables_are_known_to_the_components(render: Any, way: str) -> None:
    code = {
        word
        for part in ("api", "operator", "common", "crds")
        for file in (ROOT / part).rglob("*.py")
        if file.name != "variables.py"  # a list of them all
        for word in re.findall(r"[A-Z][A-Z0-9_]+", file.read_text())
    }
    for variable in set_variables(render(way)):
        if variable.startswith("THUMBNAILS_"):
            name = variable.removeprefix("THUMBNAILS_").removeprefix("S3_").removesuffix("_FILE")
            assert {variable, variable.removesuffix("_FILE"), name} & code, variable


def test_clients_may_reach_the_object_store_under_another_address(render: Any) -> None:
    values = {"s3.publicEndpoint": "https://pictures.example.com", "settings.redirectSeconds": 300}
    variables = set_variables(render(settings=values))
    assert variables["THUMBNAILS_S3_PUBLIC_ENDPOINT"] == "https://pictures.example.com"
    assert variables["THUMBNAILS_REDIRECT_SECONDS"] == "300"


BUNDLE = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("ca", "config_map", "key"),
    [
        ({"bundle": BUNDLE}, "thumbnails-s3-ca", "ca.crt"),
        ({"existingConfigMap": "trust-bundle"}, "trust-bundle", "ca.crt"),
        ({"existingConfigMap": "trust-bundle", "key": "ca.pem"}, "trust-bundle", "ca.pem"),
    ],
)
def test_an_authority_of_the_object_store_reaches_all_who_call_it(
    render: Any, ca: dict[str, str], config_map: str, key: str
) -> None:
    rendered = render("external-s3-values.yaml", {"s3.ca": {"key": "ca.crt", "existingConfigMap": "", **ca}})
    variables = set_variables(rendered)
    path = Path(variables["THUMBNAILS_S3_CA_FILE"])
    for component in ("api", "operator"):
        pod = rendered.pods()[component]
        (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "s3-ca")
        assert volume["configMap"]["name"] == config_map
        assert volume["configMap"]["items"] == [{"key": key, "path": path.name}]
        mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        assert mounts["s3-ca"]["mountPath"] == str(path.parent)
    settings = OperatorSettings.from_environment(variables)
    template = worker_job(settings, "red", "a")["spec"]["template"]["spec"]
    assert {"name": "THUMBNAILS_S3_CA_FILE", "value": str(path)} in template["containers"][0]["env"]
    (volume,) = (volume for volume in template["volumes"] if volume["name"] == "s3-ca")
    assert volume["configMap"]["name"] == config_map
    assert volume["configMap"]["items"] == [{"key": key, "path": path.name}]


def test_certificates_are_in_each_namespace_that_has_pods(render: Any) -> None:
    values = {"s3.ca.bundle": BUNDLE, "s3.ca.existingConfigMap": "", "namespaces": ["red", "blue"]}
    made = [
        document
        for document in render("external-s3-values.yaml", values).all("ConfigMap")
        if document["metadata"]["name"] == "thumbnails-s3-ca"
    ]
    assert {each["metadata"]["namespace"] for each in made} == {"red", "blue", "thumbnails"}
    assert all(each["data"] == {"ca.crt": BUNDLE} for each in made)
    assert all(each["metadata"]["name"] != "thumbnails-s3-ca" for each in render().all("ConfigMap"))


def test_every_setting_of_api_and_operator_can_be_set(render: Any) -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    settable = {variable_of(name) for name in schema["properties"]["settings"]["properties"]}
    wired = set(set_variables(render(settings={"settings": {"ttlSeconds": None}}))) | {
        "PORT",  # what a Service is for
        "THUMBNAILS_PROBE_PORT",
        "THUMBNAILS_EXCHANGE_HOST",
        "THUMBNAILS_EXCHANGE_PORT",
        "THUMBNAILS_TOKEN_AUDIENCE",
        "THUMBNAILS_POD_NAMESPACE",  # as THUMBNAILS_NAMESPACE
        "THUMBNAILS_API_KEYS_DIR",  # the Secret in its place
        "THUMBNAILS_S3_PUBLIC_ENDPOINT",  # s3.publicEndpoint
        "THUMBNAILS_S3_CA_FILE",  # s3.ca
        "THUMBNAILS_WORKER_S3_CA",
        "THUMBNAILS_S3_ACCESS_KEY",
        "THUMBNAILS_S3_SECRET_KEY",
        "THUMBNAILS_WEBHOOK_URL",
        "THUMBNAILS_LINK_SECRET",  # the file in its place
        "THUMBNAILS_RATE_LIMIT_STORAGE",  # rateLimits.existingSecret
        "THUMBNAILS_API_TOKEN_AUDIENCE",  # kubernetesTokens
        "THUMBNAILS_API_TOKEN_ACCOUNT",
    }
    assert documented("AO") - settable - wired == set()
    assert settable & wired == set()


def test_finished_jobs_leave_the_cluster_after_a_day_unless_they_shall_stay(render: Any) -> None:
    assert set_variables(render())["THUMBNAILS_TTL_SECONDS"] == "86400"
    assert set_variables(render(settings={"settings.ttlSeconds": 60}))["THUMBNAILS_TTL_SECONDS"] == "60"
    stay = render(settings={"settings.ttlSeconds": None})
    assert "THUMBNAILS_TTL_SECONDS" not in set_variables(stay)


def test_presets_arrive_as_json(render: Any) -> None:
    presets = json.loads(set_variables(render("tenants-values.yaml"))["THUMBNAILS_PRESETS"])
    assert presets["card"] == {"width": 320, "format": "webp"}
    assert [output["name"] for output in presets["all"]] == ["small", "large"]


def test_numbers_arrive_as_they_were_written(render: Any) -> None:
    variables = set_variables(render("tenants-values.yaml"))
    assert variables["THUMBNAILS_MAX_UPLOAD_BYTES"] == "268435456"
    assert variables["THUMBNAILS_LINGER_SECONDS"] == "0.5"
    assert variables["THUMBNAILS_WORKER_LABELS"] == "kueue.x-k8s.io/queue-name=pictures"
    assert variables["THUMBNAILS_NAMESPACES"] == "tenant-a,tenant-b"


def test_changed_settings_restart_the_pods_that_read_them(render: Any) -> None:
    def checksums(**settings: int) -> dict[str, str]:
        rendered = render(settings={f"settings.{name}": value for name, value in settings.items()})
        return {
            document["metadata"]["name"]: document["spec"]["template"]["metadata"]["annotations"].get(
                "checksum/settings"
            )
            for document in rendered.all("Deployment")
        }

    one, other = checksums(maxWorkers=1), checksums(maxWorkers=2)
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {"thumbnails-api", "thumbnails-operator"}


def test_the_spool_has_room_for_what_the_api_takes(render: Any) -> None:
    pod = render("tenants-values.yaml").pods()["api"]
    (tmp,) = (volume for volume in pod["volumes"] if volume["name"] == "tmp")
    assert int(tmp["emptyDir"]["sizeLimit"]) > 1073741824
    assert pod["terminationGracePeriodSeconds"] > 20


# ---- the CRD, and who may make what of it ----------------------------------------------------------


def test_the_crd_is_the_one_of_the_contract(render: Any) -> None:
    source = (ROOT / "crds" / "thumbnailjobs.yaml").read_text()
    assert (CHART / "files" / "thumbnailjobs.yaml").read_text() == source, "copy crds/thumbnailjobs.yaml"
    rendered = render().one("CustomResourceDefinition", "thumbnailjobs.thumbnails.dev")
    assert rendered["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert rendered["metadata"].pop("labels")
    assert rendered == yaml.safe_load(source)


def test_the_crd_goes_or_stays_away_when_that_is_asked_for(render: Any) -> None:
    (crd,) = render(settings={"crds.keep": False}).all("CustomResourceDefinition")
    assert "annotations" not in crd["metadata"]
    assert render(settings={"crds.install": False}).all("CustomResourceDefinition") == []


def test_sources_of_other_namespaces_are_refused_where_jobs_are_worked_on(render: Any) -> None:
    rendered = render("tenants-values.yaml")
    (policy,) = rendered.all("ValidatingAdmissionPolicy")
    (binding,) = rendered.all("ValidatingAdmissionPolicyBinding")
    (rule,) = policy["spec"]["validations"]
    assert rule["expression"] == (
        "object.spec.source.objectKey.startsWith('sources/' + request.namespace + '/')"
    )
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert binding["spec"]["validationActions"] == ["Deny"]
    (expression,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["tenant-a", "tenant-b"]


# ---- Secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", FIXED)
def test_with_secrets_of_ones_own_every_rendering_is_the_same(render: Any, way: str) -> None:
    rendered = render(way)
    assert rendered.all("Secret") == []
    assert rendered.text == render(way, again=True).text


def test_secrets_are_random(render: Any) -> None:
    one, other = (
        {s["metadata"]["name"]: s["data"] for s in render(again=True).all("Secret")} for _ in range(2)
    )
    assert one.keys() == other.keys()
    for name in one:
        assert one[name] != other[name], name


def test_the_first_key_is_one_that_the_api_knows_by_its_hash(render: Any) -> None:
    rendered = render(settings={"apiKeys.account": "shop"})
    key = b64decode(rendered.one("Secret", "thumbnails-api-key")["data"]["key"]).decode()
    ((key_id, entry),) = rendered.one("Secret", "thumbnails-api-keys")["data"].items()
    assert key_id == key_id_of(key)
    stored = ApiKey.parse(key_id, b64decode(entry))
    assert stored.digest == digest_of(key)
    assert stored.account == "shop"
    assert stored.revoked_at is None


@every_way
def test_a_login_is_always_asked_for(render: Any, way: str) -> None:
    assert set_variables(render(way))["THUMBNAILS_API_KEYS_SECRET"]


def test_links_are_signed_with_a_secret_that_only_the_api_has(render: Any) -> None:
    rendered = render()
    secret = b64decode(rendered.one("Secret", "thumbnails-links")["data"]["secret"]).decode()
    assert LinkSigner.from_text(secret).secrets == (secret.encode(),)
    for component, pod in rendered.pods().items():
        names = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
        assert ("thumbnails-links" in names) == (component == "api")


def test_tokens_and_a_shared_storage_of_counts_are_wired_when_asked_for(render: Any) -> None:
    names = set(set_variables(render()))
    asked = set_variables(render("tenants-values.yaml"))
    assert asked["THUMBNAILS_API_TOKEN_AUDIENCE"] == "thumbnails-api"
    assert asked["THUMBNAILS_API_TOKEN_ACCOUNT"] == "default"
    assert {"THUMBNAILS_API_TOKEN_AUDIENCE", "THUMBNAILS_RATE_LIMIT_STORAGE"} & names == set()
    (storage,) = (
        variable["valueFrom"]
        for variable in render("tenants-values.yaml").pods()["api"]["containers"][0]["env"]
        if variable["name"] == "THUMBNAILS_RATE_LIMIT_STORAGE"
    )
    assert storage == {"secretKeyRef": {"name": "redis", "key": "uri"}}


def test_volumes_stay_when_the_release_goes(render: Any) -> None:
    claim = render().one("PersistentVolumeClaim", "thumbnails-minio")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert render(settings={"minio.persistence.existingClaim": "mine"}).all("PersistentVolumeClaim") == []


# ---- disruptions -----------------------------------------------------------------------------------


def test_budgets_exist_only_for_several_replicas(render: Any) -> None:
    assert {b["metadata"]["name"] for b in render().all("PodDisruptionBudget")} == {"thumbnails-operator"}
    several = render("tenants-values.yaml").all("PodDisruptionBudget")
    assert {b["metadata"]["name"] for b in several} == {"thumbnails-api", "thumbnails-operator"}
