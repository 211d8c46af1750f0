"""What the chart makes, in every way to install it, is what Kubernetes knows: to the last field."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.chart.schemas import crd_schemas, openapi_schemas

CHART = Path(__file__).parents[2] / "charts" / "thumbnails"
WAYS = sorted(path.name for path in (CHART / "ci").glob("*-values.yaml"))
Invalid = Callable[[str], list[str]]


@pytest.mark.parametrize("way", WAYS)
def test_kubernetes_takes_it(render: Any, invalid: Invalid, way: str) -> None:
    assert invalid(render(way).text) == []


def test_a_service_with_everything_that_can_be_said_of_it(render: Any, invalid: Invalid) -> None:
    values = {
        "api.service.loadBalancerSourceRanges": ["10.0.0.0/8"],
        "api.service.externalTrafficPolicy": "Local",
    }
    assert invalid(render("tenants-values.yaml", values).text) == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("replicas: 2\n", "replicas"),
        ("spec:\n  type: ClusterIP\n  ports:\n    - port: http\n", "/spec/ports/0/port"),
        ("spec:\n  typ: ClusterIP\n", "typ"),
        ("spec:\n  ports:\n    - name: http\n", "port"),
    ],
)
def test_what_is_wrong_is_found(invalid: Invalid, broken: str, said: str) -> None:
    (found,) = invalid(f"apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n{broken}")
    assert said in found


def test_kinds_that_nobody_knows_are_found(invalid: Invalid) -> None:
    assert invalid("apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata:\n  name: a\n")


def test_a_definition_brings_those_that_it_refers_to() -> None:
    document = yaml.safe_load("""
definitions:
  Whole:
    type: object
    properties:
      apiVersion: {type: string}
      kind: {type: string}
      metadata: {type: object}
      part: {$ref: "#/definitions/Part"}
    x-kubernetes-group-version-kind: [{group: example.com, version: v1, kind: Whole}]
  Part:
    type: object
    properties:
      port: {type: string, format: int-or-string, description: Whichever.}
      parts: {type: array, items: {$ref: "#/definitions/Part"}}
  Other: {type: object}
""")
    assert dict(openapi_schemas(document)) == {
        "whole-example-v1.json": {
            "type": "object",
            "additionalProperties": False,
            "required": ["apiVersion", "kind"],
            "properties": {
                "apiVersion": {"const": "example.com/v1"},
                "kind": {"const": "Whole"},
                "metadata": {"type": "object"},
                "part": {"$ref": "#/definitions/Part"},
            },
            "definitions": {
                "Part": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "port": {"type": ["integer", "string"]},
                        "parts": {"type": "array", "items": {"$ref": "#/definitions/Part"}},
                    },
                }
            },
        }
    }


def test_custom_resources_are_held_to_their_definition(render: Any) -> None:
    crd = render().one("CustomResourceDefinition", "thumbnailjobs.thumbnails.dev")
    ((name, schema),) = crd_schemas(crd)
    assert name == "thumbnailjob-thumbnails-v1alpha1.json"
    assert schema["properties"]["spec"]["additionalProperties"] is False
