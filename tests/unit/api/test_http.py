"""What holds for every request: problems, methods, request ids, origins, probes."""

import json
from typing import Any

import pytest

from thumbnails_api.origin import is_loopback_host
from thumbnails_contract.errors import JobStoreUnavailable, ObjectStoreUnavailable


def test_an_unknown_route_is_a_problem(service: Any, problem: Any) -> None:
    problem(service.get("/nothing"), 404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/images", {"POST"}),
        ("POST", "/jobs", {"GET", "HEAD"}),
        ("PUT", "/jobs/x", {"GET", "HEAD", "DELETE"}),
    ],
)
def test_a_wrong_method_is_a_problem_that_says_which_are_right(
    service: Any, problem: Any, method: Any, path: Any, allowed: Any
) -> None:
    result = service.request(method, path)
    problem(result, 405, "MethodNotAllowed")
    # What looks like a signed link is none for other methods.
    problem(service.request("TRACE", "/thumbnails/a?signature=x"), 405, "MethodNotAllowed")
    assert set(result.headers["allow"].replace(" ", "").split(",")) - {"OPTIONS"} == allowed


@pytest.mark.parametrize("path", ["/", "/jobs", "/healthz", "/readyz"])
def test_head_works_where_get_does(service: Any, jpeg: bytes, path: Any) -> None:
    service.upload(jpeg)
    get, head = service.get(path), service.request("HEAD", path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == str(len(get.content))


def test_a_trailing_slash_changes_nothing(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg, "/images/").json["id"]
    assert service.get(f"/jobs/{job_id}/").status_code == 200


def test_the_index_says_where_to_go(service: Any) -> None:
    assert service.get("/").json["links"]["jobs"] == "/jobs"


def test_a_request_id_is_made_or_taken(service: Any) -> None:
    assert service.get("/", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = service.get("/").headers["x-request-id"]
    assert made
    assert made != service.get("/").headers["x-request-id"]
    assert service.get("/", headers={"X-Request-Id": "a b\\n"}).headers["x-request-id"] != "a b\\n"


def test_the_log_has_the_path_but_no_query(
    service: Any, jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    service.upload(jpeg, "/images?webhookUrl=https://example.org/secret")
    assert "POST /images 201" in caplog.text
    assert "secret" not in caplog.text


def test_alive_and_ready(service: Any) -> None:
    assert service.get("/healthz").status_code == 200
    assert service.get("/readyz").status_code == 200


def test_not_ready_says_why(service: Any, problem: Any) -> None:
    service.store.failures["check"] = [JobStoreUnavailable()]
    service.objects.failures["check"] = [ObjectStoreUnavailable()]
    document = problem(service.get("/readyz"), 503, "Unavailable")
    assert set(document["checks"]) == {"jobStore", "objectStore"}
    assert service.get("/healthz").status_code == 200


def test_the_stores_are_not_asked_by_each_probe(service: Any) -> None:
    service.store.calls.clear()
    for _ in range(20):
        service.get("/readyz")
    assert service.store.calls.count("check") < 20


# ---- origins: no login, so no web page but our own ----

PAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:3000",
        "app.localhost:80",
        "127.0.0.1",
        "127.8.9.1:3000",
        "[::1]",
        "[::1]:3000",
        "LOCALHOST.",
    ],
)
def test_names_of_this_machine_are_served(service: Any, host: Any) -> None:
    assert is_loopback_host(host)
    assert service.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "localhost.example.org",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]",
        "127.0.0.1.nip.io",
        "evil@localhost",
        "",
        "a:b:c",
    ],
)
def test_other_names_are_refused(service: Any, problem: Any, jpeg: bytes, host: Any) -> None:
    assert not is_loopback_host(host)
    if host:
        problem(service.get("/jobs", headers={"Host": host}), 403, "ForbiddenOrigin")


def test_probes_may_come_by_any_name(service: Any) -> None:
    assert service.get("/healthz", headers={"Host": "10.1.2.3:3000"}).status_code == 200
    assert service.get("/readyz", headers={"Host": "10.1.2.3:3000"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "https://localhost:3000"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_origin_changes_nothing(
    service: Any, problem: Any, jpeg: bytes, headers: Any
) -> None:
    problem(
        service.request("POST", "/images", body=jpeg, headers=headers | {"Content-Type": "image/jpeg"}),
        403,
        "ForbiddenOrigin",
    )
    problem(service.request("DELETE", "/jobs/x", headers=headers), 403, "ForbiddenOrigin")
    assert service.objects.objects == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        PAGE,
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_a_page_of_another_site_reads_nothing(service: Any, problem: Any, headers: Any) -> None:
    problem(service.get("/jobs", headers=headers), 403, "ForbiddenOrigin")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_programs_and_the_own_page_may_do_all(service: Any, jpeg: bytes, headers: Any) -> None:
    result = service.request("POST", "/images", body=jpeg, headers=headers | {"Content-Type": "image/jpeg"})
    assert result.status_code == 201


def test_the_own_origin_is_compared_with_its_default_port(service: Any) -> None:
    assert service.get("/", headers={"Host": "localhost:80", "Origin": "http://localhost"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    ],
)
def test_links_to_here_and_pictures_in_other_local_pages_work(service: Any, headers: Any) -> None:
    assert service.get("/", headers=headers).status_code == 200


def test_a_preflight_is_refused_and_no_answer_allows_other_origins(service: Any, problem: Any) -> None:
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    result = service.request("OPTIONS", "/images", headers=headers)
    problem(result, 403, "ForbiddenOrigin")
    assert not [name for name in result.headers if name.startswith("access-control")]


def test_with_a_login_origins_are_not_checked(make_service: Any) -> None:
    from thumbnails_api.accounts import Access, Caller

    class Login:
        requires_login = True

        def authenticate(self, authorization: Any) -> Any:
            return Access(Caller("thumbnails", "default"))

        glance = authenticate

        def check(self) -> None:
            pass

    service = make_service(authenticator=Login())
    assert service.get("/", headers={"Host": "thumbnails.example.org"}).status_code == 200


def test_problems_have_a_kebab_case_type(service: Any) -> None:
    assert json.loads(service.get("/jobs").text)["type"] == "urn:thumbnails:problem:no-jobs"
