"""Renders the chart with the helm that is there: `.cluster/bin`, the PATH, or the cluster's cache."""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from hack.chart import schemas, tools
from hack.cluster.layout import layout_from_environment

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "thumbnails"
RELEASE = "thumbnails"
NAMESPACE = "thumbnails"

Document = dict[str, Any]
# The fast one, where PyYAML has it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Refused(Exception):
    """Helm does not take these values."""


@dataclass(frozen=True)
class Rendered:
    """All documents of one rendering."""

    text: str
    documents: Sequence[Document]

    def all(self, kind: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] == kind]

    def one(self, kind: str, name: str) -> Document:
        (found,) = [document for document in self.all(kind) if document["metadata"]["name"] == name]
        return found

    def pods(self) -> dict[str, Document]:
        """The pod's spec of each Deployment, by component."""
        return {
            document["metadata"]["labels"]["app.kubernetes.io/component"]: document["spec"]["template"][
                "spec"
            ]
            for document in self.all("Deployment")
        }


Render = Callable[..., Rendered]


def find_helm() -> str | None:
    names = [ROOT / ".cluster" / "bin" / "helm"]
    caches = [os.environ.get("THUMBNAILS_CACHE", ""), str(Path.home() / ".cache" / "thumbnails")]
    for cache in filter(None, caches):
        names += sorted((Path(cache) / "cluster").glob("kubernetes-*/helm"))
    found = [str(name) for name in names if os.access(name, os.X_OK)]
    return next(iter(found), None) or shutil.which("helm")


def missing(what: str, maker: str) -> NoReturn:
    """Skips the test, unless `make chart` said that everything is there."""
    if os.environ.get("THUMBNAILS_CHART_TOOLS") == "required":
        pytest.fail(f"there is no {what}: `{maker}` makes it")
    pytest.skip(f"there is no {what}: `{maker}` makes it")


def tool(name: str) -> Path:
    """A program that `make chart` builds."""
    found = tools.built(layout_from_environment(os.environ).cache).get(name)
    if found is None:
        missing(name, "make chart")
    return found


def schemas_folder() -> Path:
    """Where `make chart` puts schemas."""
    folder = schemas.folder_of(layout_from_environment(os.environ).cache)
    if not folder.is_dir():
        missing("schema", "make chart")
    return folder


@pytest.fixture(scope="session")
def compose_schema() -> Document:
    """The schema of Compose files."""
    schema: Document = json.loads((schemas_folder() / schemas.COMPOSE_FILE).read_text("utf-8"))
    return schema


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    program = find_helm()
    if program is None:
        missing("helm", "make cluster")
    home = tmp_path_factory.mktemp("helm")
    # No cluster is asked, whichever one the machine knows.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "KUBECONFIG": str(home / "none"),
    }

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [program, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., str]) -> Render:
    """`render(values_file, {"api.replicas": 3})`: the chart's documents with these values.

    They are kept for the next test that wants the same, but for one that says `again=True`.
    """
    known: dict[tuple[str, ...], Rendered] = {}

    def rendered(
        values: str | None = None, settings: dict[str, Any] | None = None, *, again: bool = False
    ) -> Rendered:
        arguments: list[str] = []
        if values is not None:
            arguments += ["--values", str(CHART / "ci" / values)]
        for name, value in (settings or {}).items():
            arguments += ["--set-json", f"{name}={json.dumps(value)}"]
        key = tuple(arguments)
        if again or key not in known:
            text = helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *arguments)
            documents = list(yaml.load_all(text, Loader=LOADER))
            known[key] = Rendered(text, [document for document in documents if document])
        # Tests take documents apart.
        return copy.deepcopy(known[key])

    return rendered


@pytest.fixture(scope="session")
def invalid() -> Callable[[str], list[str]]:
    """`invalid(text)`: what kubeconform finds wrong with manifests, a line for each."""
    program = tool("kubeconform")
    folder = schemas_folder()

    def check(text: str) -> list[str]:
        location = f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        done = subprocess.run(
            [program, "-strict", "-output", "json", "-schema-location", location, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1) and done.stdout, done.stderr
        return [
            f"{found['kind']} {found['name']}: {found['msg']}"
            for found in json.loads(done.stdout)["resources"]
        ]

    return check


@pytest.fixture(scope="session")
def promtool() -> Callable[..., str]:
    """`promtool("test", "rules", path)`: its output; an AssertionError with it when it finds something."""
    program = tool("promtool")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said

    return run


@pytest.fixture(scope="session")
def notes(helm: Callable[..., str]) -> Callable[[str], str]:
    """`notes(values_file)`: what `helm install` says in the end."""

    def said(values: str) -> str:
        path = CHART / "ci" / values
        text = helm("install", RELEASE, CHART, "--namespace", NAMESPACE, "--dry-run=client", "--values", path)
        return text.partition("\nNOTES:\n")[2]

    return said
