"""Settings of the operator in a cluster."""

import pytest

from thumbnails_contract.environment import InvalidSetting
from thumbnails_operator.cluster_settings import ClusterSettings


def read(**env: str) -> ClusterSettings:
    return ClusterSettings.from_environment(
        {f"THUMBNAILS_{name}": value for name, value in env.items()}, process_id="1"
    )


def test_defaults() -> None:
    assert read() == ClusterSettings(identity="operator_1")


def test_the_home_namespace_is_the_one_that_is_watched() -> None:
    settings = read(NAMESPACE="home")
    assert (settings.namespaces, settings.pod_namespace) == (("home",), "home")


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [("red", ("red",)), ("red,blue", ("red", "blue")), (" red, blue,red ,", ("red", "blue")), ("*", None)],
)
def test_namespaces(text: str, namespaces: tuple[str, ...] | None) -> None:
    assert read(NAMESPACES=text, NAMESPACE="home").namespaces == namespaces


def test_two_processes_of_one_pod_are_two_candidates() -> None:
    env = {"THUMBNAILS_POD_NAME": "operator-x"}
    one, two = (ClusterSettings.from_environment(env).identity for _ in range(2))
    assert one.startswith("operator-x_") and one != two


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NAMESPACES", "Red"),
        ("NAMESPACES", "red,*"),
        ("POD_NAME", "a/b"),
        ("LEASE_NAME", "-"),
        ("PROBE_PORT", "65536"),
        ("RELIST_SECONDS", "0"),
    ],
)
def test_wrong_values_name_the_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^THUMBNAILS_{name}: "):
        read(**{name: value})
