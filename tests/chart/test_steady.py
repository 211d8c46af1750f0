"""The chart takes the values of `make bench-steady`, which nobody wants to learn after an hour."""

from typing import Any

from steady import values


def test_an_hour_of_load_can_be_installed(render: Any) -> None:
    release = render(settings=values(600, "http://receiver.bench.svc:8080", "10.96.0.7"))
    replicas = {each["metadata"]["name"]: each["spec"]["replicas"] for each in release.all("Deployment")}
    assert replicas == {"thumbnails-api": 2, "thumbnails-operator": 2, "thumbnails-minio": 1}
