"""`/metrics` of the API, in the words of Prometheus."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from falcon import testing
from prometheus_client.parser import text_string_to_metric_families

from thumbnails_api.accounts import Credential, KeyAuthenticator
from thumbnails_api.metrics import ApiMetrics
from thumbnails_api.probes import create_probe_app
from thumbnails_api.resources.health import Ready
from thumbnails_api.settings import ApiSettings
from thumbnails_api.thumbnail_cache import ThumbnailCache


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and the values of labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def service(make_service: Callable[..., Any]) -> Any:
    return make_service()


def test_requests_are_counted_by_route_and_not_by_path(service: Any, jpeg: bytes) -> None:
    first, second = (service.upload(jpeg).json["id"] for _ in range(2))
    for path in (f"/jobs/{first}", f"/jobs/{second}", "/jobs/nothing", "/nowhere", "/elsewhere"):
        service.get(path)
    seen = samples(service.get("/metrics").text)
    assert seen["thumbnails_api_requests_total", "POST", "/images", "201"] == 2
    assert seen["thumbnails_api_requests_total", "GET", "/jobs/{job_id}", "200"] == 2
    assert seen["thumbnails_api_requests_total", "GET", "/jobs/{job_id}", "404"] == 1
    assert seen["thumbnails_api_requests_total", "GET", "none", "404"] == 2
    assert seen["thumbnails_api_request_duration_seconds_count", "POST", "/images"] == 2
    assert seen[("thumbnails_api_received_bytes_total",)] > 2 * len(jpeg)
    assert seen["thumbnails_api_jobs", "Pending"] == 2
    assert seen[("thumbnails_api_jobs_synced",)] == 1


def test_problems_are_counted_by_their_reason(service: Any) -> None:
    service.get("/jobs/nothing")
    service.get("/nowhere")
    service.request("PUT", "/jobs")
    service.post_form([("image", "notes.txt", b"text")])
    seen = samples(service.get("/metrics").text)
    for reason in ("JobNotFound", "NotFound", "MethodNotAllowed", "UnsupportedFormat"):
        assert seen["thumbnails_api_problems_total", reason] == 1, reason
    assert seen[("thumbnails_api_requests_in_progress",)] == 1  # this one


def test_with_a_login_they_are_on_the_port_of_the_probes_alone(make_service: Callable[..., Any]) -> None:
    class Keys:
        by_id: Mapping[str, Credential] = MappingProxyType({})

    authenticator = KeyAuthenticator(Keys())
    service = make_service(authenticator=authenticator)
    assert service.get("/metrics").status_code == 401
    ready = Ready(service.store, service.objects, service.jobs, authenticator)
    probes = testing.TestClient(
        create_probe_app(ready, ApiMetrics(service.jobs, ThumbnailCache.of(ApiSettings())))
    )
    assert ("thumbnails_api_jobs_synced",) in samples(probes.simulate_get("/metrics").text)
