"""The CRD as the tests of the contract read it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

CRD_FILE = Path(__file__).parents[3] / "crds" / "thumbnailjobs.yaml"


@pytest.fixture(scope="session")
def crd() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CRD_FILE.read_text())
    return document


@pytest.fixture(scope="session")
def version(crd: dict[str, Any]) -> dict[str, Any]:
    (only,) = crd["spec"]["versions"]
    found: dict[str, Any] = only
    return found


@pytest.fixture(scope="session")
def schema(version: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found
