"""skaffold.yaml names what there is: images, Dockerfiles, the chart and its values."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hack.cluster.commands import project_version
from hack.cluster.images import project_images

ROOT = Path(__file__).parents[2]
SKAFFOLD: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
ARTIFACTS = {artifact["image"]: artifact for artifact in SKAFFOLD["build"]["artifacts"]}
(RELEASE,) = SKAFFOLD["deploy"]["helm"]["releases"]


# What skaffold/v4beta13 knows of what is used here, by path: the whole schema cannot be had as a package. An
# element of a list is "*".
KNOWN = {
    "": {"apiVersion", "kind", "metadata", "build", "deploy", "portForward"},
    "metadata": {"name", "labels", "annotations"},
    "build": {"artifacts", "tagPolicy", "local", "insecureRegistries", "platforms"},
    "build.tagPolicy": {"gitCommit", "sha256", "envTemplate", "dateTime", "customTemplate", "inputDigest"},
    "build.tagPolicy.inputDigest": set(),
    "build.local": {"push", "tryImportMissing", "useDockerCLI", "useBuildkit", "concurrency"},
    "build.artifacts.*": {"image", "context", "docker", "custom", "sync", "hooks", "platforms", "requires"},
    "build.artifacts.*.docker": {"dockerfile", "target", "buildArgs", "network", "cacheFrom", "noCache"},
    "build.artifacts.*.custom": {"buildCommand", "dependencies"},
    "build.artifacts.*.custom.dependencies": {"dockerfile", "command", "paths", "ignore"},
    "deploy": {"helm", "kubectl", "statusCheck", "kubeContext", "logs"},
    "deploy.helm": {"releases", "flags", "hooks"},
    "deploy.helm.releases.*": {
        "name", "chartPath", "remoteChart", "valuesFiles", "namespace", "version", "setValues", "setFiles",
        "setValueTemplates", "createNamespace", "wait", "overrides", "packaged", "repo", "upgradeOnInstall",
    },
    "portForward.*": {"resourceType", "resourceName", "namespace", "port", "address", "localPort"},
}  # fmt: skip


def fields(node: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:
    if isinstance(node, dict):
        yield path, set(node)
        for name, inner in node.items():
            yield from fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(node, list):
        for inner in node:
            yield from fields(inner, f"{path}.*")


def test_it_says_nothing_that_skaffold_does_not_know() -> None:
    assert (SKAFFOLD["apiVersion"], SKAFFOLD["kind"]) == ("skaffold/v4beta13", "Config")
    for path, names in fields(SKAFFOLD):
        if not path.endswith("setValueTemplates"):  # of the chart's names
            assert names <= KNOWN[path], path


def test_it_builds_the_projects_images() -> None:
    built = {image.name for image in project_images(ROOT, project_version(ROOT), Path("minio"))}
    assert {f"{name}:{project_version(ROOT)}" for name in ARTIFACTS} == built


def test_files_that_it_names_exist() -> None:
    for artifact in ARTIFACTS.values():
        context = ROOT / artifact["context"]
        if "docker" in artifact:
            assert (context / artifact["docker"]["dockerfile"]).is_file()
        else:
            assert os.access(context / artifact["custom"]["buildCommand"], os.X_OK)
            assert all((context / path).is_file() for path in artifact["custom"]["dependencies"]["paths"])
    assert (ROOT / RELEASE["chartPath"] / "Chart.yaml").is_file()


def test_it_sets_values_that_the_chart_has_to_images_that_are_built() -> None:
    values = yaml.safe_load((ROOT / RELEASE["chartPath"] / "values.yaml").read_text())
    images = {re.sub(r"\W", "_", name) for name in ARTIFACTS}
    named = set()
    for path, template in RELEASE["setValueTemplates"].items():
        here = values
        for name in path.split("."):
            here = here[name]
        (image,) = re.fullmatch(r"\{\{\.IMAGE_(?:DOMAIN|REPO_NO_DOMAIN|TAG)_(\w+)\}\}", template).groups()  # type: ignore[union-attr]
        assert image in images
        assert path.split(".")[0] in ("image", image.rsplit("_", 1)[-1])
        named.add(image)
    assert named == images


def test_it_forwards_the_apis_service() -> None:
    (forward,) = SKAFFOLD["portForward"]
    assert forward["resourceName"] == f"{RELEASE['name']}-api"
    assert (forward["port"], forward["namespace"]) == (3000, RELEASE["namespace"])
