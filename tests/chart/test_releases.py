"""Releases that come, are upgraded and go: which Secrets are made, what stays, what `helm install` says."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "thumbnails"
WAYS = sorted(path.name for path in (CHART / "ci").glob("*-values.yaml"))
Helm = Callable[..., str]
every_way = pytest.mark.parametrize("way", WAYS)


def of_template(helm: Helm, name: str, *arguments: str) -> list[dict[str, Any]]:
    text = helm("template", name, CHART, "--namespace", "thumbnails", *arguments)
    return [document for document in yaml.safe_load_all(text) if document]


def names(documents: Any) -> set[tuple[str, str]]:
    return {(document["kind"], document["metadata"]["name"]) for document in documents}


# ---- Secrets ---------------------------------------------------------------------------------------


def test_keys_are_made_by_the_first_installation_alone(render: Any) -> None:
    for name in ("thumbnails-api-key", "thumbnails-api-keys"):
        # Argo CD would run the hook each time: its own word comes first.
        assert render().one("Secret", name)["metadata"]["annotations"] == {
            "helm.sh/hook": "pre-install",
            "argocd.argoproj.io/hook": "Skip",
        }, name


@every_way
def test_no_secret_can_be_written_over_by_a_rendering_that_saw_no_cluster(render: Any, way: str) -> None:
    changeable = {s["metadata"]["name"] for s in render(way).all("Secret") if not s.get("immutable")}
    assert changeable <= {"thumbnails-api-keys"}  # which `thumbnails-api keys` writes, and no upgrade does


def test_an_upgrade_makes_no_keys(helm: Helm) -> None:
    documents = of_template(helm, "thumbnails", "--is-upgrade", "--no-hooks")
    secrets = {document["metadata"]["name"] for document in documents if document["kind"] == "Secret"}
    assert secrets == {"thumbnails-s3", "thumbnails-minio", "thumbnails-links"}


# ---- another name ----------------------------------------------------------------------------------


def test_a_release_of_another_name_finds_what_the_last_one_left(helm: Helm, render: Any) -> None:
    documents = of_template(helm, "new", "--set", "fullnameOverride=thumbnails")
    assert names(documents) == names(render().documents)


def test_a_release_of_another_name_may_keep_its_own_names(helm: Helm) -> None:
    values = (
        "crds.install=false,minio.persistence.existingClaim=thumbnails-minio,"
        "apiKeys.existingSecret=thumbnails-api-keys"
    )
    documents = of_template(helm, "new", "--set", values)
    found = names(documents)
    assert not {"CustomResourceDefinition", "PersistentVolumeClaim"} & {kind for kind, _ in found}
    assert {name for kind, name in found if kind == "Secret"} == {"new-s3", "new-minio", "new-links"}
    # Whatever has no namespace begins with that of the release.
    assert all(name.startswith(("new", "thumbnails-new")) for _, name in found)
    (minio,) = (d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] == "new-minio")
    (data,) = (v for v in minio["spec"]["template"]["spec"]["volumes"] if v["name"] == "data")
    assert data["persistentVolumeClaim"] == {"claimName": "thumbnails-minio"}


def test_what_stays_when_a_release_goes_is_what_cannot_be_made_again(render: Any) -> None:
    kept = {
        document["kind"]
        for document in render().documents
        if document["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept == {"CustomResourceDefinition", "PersistentVolumeClaim"}


# ---- what `helm install` says ----------------------------------------------------------------------


@every_way
def test_notes_say_how_to_get_a_thumbnail(notes: Callable[[str], str], render: Any, way: str) -> None:
    said = notes(way)
    assert "is installed. A thumbnail:" in said
    assert re.search(r'curl .*--form image=@photo.jpg "http', said)
    assert "<no value>" not in said
    assert "%!" not in said
    made = {secret["metadata"]["name"] for secret in render(way).all("Secret")}
    assert ("get secret --namespace thumbnails thumbnails-api-key" in said) == ("thumbnails-api-key" in made)
    assert ("helm test" in said) == bool(render(way).all("Pod"))


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("default-values.yaml", ["port-forward", "delete secret", "enforce=restricted"]),
        (
            "ephemeral-values.yaml",
            ["gone when MinIO's pod is", "networkPolicy.enabled is false"],
        ),
        (
            "external-s3-values.yaml",
            ["bucket pictures at https://s3.example", "Secret pictures-api-keys"],
        ),
        ("tenants-values.yaml", ["loadBalancer.ingress", "label namespace tenant-a", "--namespace tenant-a"]),
        ("ha-values.yaml", ["needs metrics-server"]),
        ("ingress-values.yaml", ["https://thumbnails.example.com/images"]),
        ("monitoring-values.yaml", ["get podmonitor"]),
        ("everything-off-values.yaml", ["crds.install is false", "thumbnails-api keys create"]),
    ],
)
def test_notes_of_each_way_say_what_is_special_about_it(
    notes: Callable[[str], str], way: str, says: list[str]
) -> None:
    said = notes(way)
    for text in says:
        assert text in said, text
