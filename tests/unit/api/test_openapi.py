"""What `/openapi.json` says is what the service does: every route, method, field and reason, and no other."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import falcon.inspect
import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31
from tests.openapi_checker import Checker

from thumbnails_api.accounts import Access, Caller
from thumbnails_api.links import LinkSigner
from thumbnails_api.openapi import openapi_document
from thumbnails_api.openapi.webhooks import BATCH_EVENT, EVENTS
from thumbnails_api.presets import parse_presets
from thumbnails_api.settings import ApiSettings
from thumbnails_contract.errors import (
    MethodNotAllowed,
    RenderError,
    RequestTimeout,
    ThumbnailsError,
    error_classes,
)
from thumbnails_contract.spec import Batch
from thumbnails_contract.status import BatchFacts
from thumbnails_operator.batch_webhook import EVENT_TYPE, batch_event_body
from thumbnails_operator.webhook import EVENT_TYPES, event_body

Document = dict[str, Any]
SIGNER = LinkSigner.from_text("0123456789abcdef0123456789abcdef")
PRESETS = parse_presets('{"card": [{"name": "small", "width": 64}, {"name": "large", "width": 640}]}')


class KeyOwner:
    """Lets everybody in who shows anything."""

    requires_login = True

    def authenticate(self, _authorization: str | None) -> Access:
        return Access(Caller("thumbnails", "default"))

    glance = authenticate

    def check(self) -> None:
        """All is well."""


@pytest.fixture
def document() -> Document:
    return openapi_document(ApiSettings(presets=PRESETS), version="1.2.3", requires_login=False)


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def references(element: Any) -> Iterator[str]:
    if isinstance(element, dict):
        if isinstance(element.get("$ref"), str):
            yield element["$ref"]
        for value in element.values():
            yield from references(value)
    elif isinstance(element, list):
        for value in element:
            yield from references(value)


def resolve(document: Document, reference: str) -> Any:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


@pytest.fixture
def checker(document: Document) -> Checker:
    return Checker(document)


def member_paths(schema: Document, document: Document, prefix: str = "") -> set[str]:
    """Every member that a schema names, at any depth."""
    if "$ref" in schema:
        schema = resolve(document, schema["$ref"])
    found = set()
    for name, value in schema.get("properties", {}).items():
        found.add(prefix + name)
        found |= member_paths(value, document, f"{prefix}{name}.")
    for part in (*schema.get("allOf", ()), *([schema["items"]] if "items" in schema else ())):
        found |= member_paths(part, document, prefix)
    return found


def instance_paths(instance: Any, prefix: str = "") -> set[str]:
    if isinstance(instance, list):
        return set().union(*(instance_paths(item, prefix) for item in instance))
    if not isinstance(instance, dict):
        return set()
    found = {prefix + name for name in instance}
    return found.union(*(instance_paths(value, f"{prefix}{name}.") for name, value in instance.items()))


@pytest.mark.parametrize("requires_login", [False, True])
@pytest.mark.parametrize("settings", [ApiSettings(), ApiSettings(presets=PRESETS, link_max_seconds=0)])
def test_it_is_valid_openapi(settings: ApiSettings, requires_login: bool) -> None:
    document = openapi_document(settings, version="1", requires_login=requires_login)
    errors = [str(error) for error in jsonschema_rs.validator_for(OPENAPI_31).iter_errors(document)]
    assert errors == []
    for reference in references(document):
        assert resolve(document, reference)
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for path, _, operation in operations(document):
        declared = {item["name"] for item in operation.get("parameters", ()) if item["in"] == "path"}
        assert {part[1:-1] for part in path.split("/") if part.startswith("{")} == declared
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                assert link["operationId"] in ids


@pytest.mark.parametrize("authenticator", [None, KeyOwner()])
def test_every_route_and_method_is_described_and_no_other(
    make_service: Callable[..., Any], authenticator: Any
) -> None:
    service = make_service(authenticator=authenticator)
    served = {
        (route.path, method.method.lower())
        for route in falcon.inspect.inspect_routes(service.client.app)
        for method in route.methods
        if not method.internal
    }
    document = json.loads(service.get("/openapi.json").text)
    assert {(path, method) for path, method, _ in operations(document)} == served


def test_login_is_needed_where_the_document_says_so(make_service: Callable[..., Any]) -> None:
    class Nobody(KeyOwner):
        def authenticate(self, _authorization: str | None) -> Access:
            from thumbnails_contract.errors import Unauthorized

            raise Unauthorized

        glance = authenticate

    service = make_service(authenticator=Nobody())
    document = json.loads(service.get("/openapi.json").text)
    for path, method, operation in operations(document):
        concrete = path.replace("{job_id}", "a").replace("{output}", "a").replace("{name}", "a")
        refused = service.request(method.upper(), concrete).status_code == 401
        assert refused == (operation.get("security", document["security"]) != []), (method, path)
        assert ("401" in operation["responses"]) == refused


def test_every_reason_of_a_request_is_said_where_it_may_come_from(document: Document) -> None:
    login = openapi_document(ApiSettings(), version="1", requires_login=True)
    said = {
        reason
        for _, _, operation in (*operations(document), *operations(login))
        for response in operation["responses"].values()
        for media in response.get("content", {}).values()
        for part in media.get("schema", {}).get("allOf", ())
        for reason in part.get("properties", {}).get("reason", {}).get("enum", ())
    }
    known = {
        reason: error
        for reason, error in error_classes().items()
        if error.__module__.startswith("thumbnails_contract")
    }
    # Those of jobs are in a job's `error`, 405 is of methods that are not described, and 408 of what is no
    # request yet.
    of_jobs = {
        reason
        for reason, error in known.items()
        if issubclass(error, RenderError)
        or reason
        in {
            "InvalidSource",
            "SourceNotFound",
            "ForbiddenSource",
            "OutputTooLarge",
            "InvalidJob",
        }
    }
    assert said == known.keys() - of_jobs - {MethodNotAllowed.reason, RequestTimeout.reason}
    assert ThumbnailsError.reason in said


def test_jobs_are_as_described_and_have_every_member(
    make_service: Callable[..., Any], jpeg: bytes, document: Document, checker: Checker
) -> None:
    service = make_service(presets=PRESETS, max_waiting_requests=0)
    seen: set[str] = set()

    def job(job_id: str) -> Document:
        answer: Document = checker.answer(service.get(f"/jobs/{job_id}"), "get", "/jobs/{job_id}")
        seen.update(instance_paths(answer))
        return answer

    pending = checker.answer(
        service.upload(
            jpeg,
            width="20",
            height="10",
            background="#fff0aa",
            quality="5",
            format="webp,jpeg",
            webhookUrl="https://example.com/hook?secret",
            priority="bulk",
        ),
        "post",
        "/images",
    )
    assert job(pending["id"])["webhook"]["host"] == "example.com"
    service.finish(pending["id"], thumbhash="3OcRJYB4d3h/iIeHeEh3eIhw+j3A")
    assert job(pending["id"])["status"] == "complete"
    batch = checker.answer(
        service.post_form([("image", "a.jpg", jpeg), ("image", "b.jpg", jpeg)]), "post", "/images"
    )
    service.fail(batch["items"][0]["id"], "CorruptSource", "It is damaged.")
    service.fail(batch["items"][1]["id"], "Cancelled", "It was cancelled.")
    assert [job(item["id"])["status"] for item in batch["items"]] == ["failed", "cancelled"]
    assert len(checker.answer(service.get("/jobs"), "get", "/jobs")) == 3
    assert seen == member_paths(document["components"]["schemas"]["Job"], document)


def test_batches_that_were_not_taken_are_as_described(
    make_service: Callable[..., Any], jpeg: bytes, checker: Checker
) -> None:
    service = make_service()
    some = service.post_form([("image", "a.jpg", jpeg), ("image", "b.txt", b"no picture")])
    document = checker.answer(some, "post", "/images")
    assert some.status_code == 207
    assert document["items"][1]["fileName"] == "b.txt"
    none = service.post_form([("image", "a.txt", b"no picture"), ("image", "b.txt", b"no picture")])
    assert none.status_code == 415
    assert len(checker.answer(none, "post", "/images")["items"]) == 2


def test_problems_are_as_described(make_service: Callable[..., Any], jpeg: bytes, checker: Checker) -> None:
    service = make_service(max_upload_bytes=100_000, max_pixels=5000)
    unknown = "/jobs/{job_id}"
    assert checker.answer(service.get("/jobs/unknown"), "get", unknown)["reason"] == "JobNotFound"
    assert checker.answer(service.get("/jobs"), "get", "/jobs")["reason"] == "NoJobs"
    assert checker.answer(service.get("/jobs", query_string="limit=0"), "get", "/jobs")["status"] == 400
    for options in ({"fit": "round"}, {"width": "0"}, {"preset": "none"}):
        checker.answer(service.upload(jpeg, **options), "post", "/images")
    checker.answer(service.post_form([]), "post", "/images")
    checker.answer(service.upload(b"\xff\xd8\xff" + bytes(100_000)), "post", "/images")
    answer = service.request(
        "POST", "/images", body=jpeg, headers={"Content-Type": "image/jpeg", "Idempotency-Key": ""}
    )
    assert checker.answer(answer, "post", "/images")["reason"] == "InvalidIdempotencyKey"
    strange = service.get("/jobs", headers={"Host": "evil.example"})
    assert checker.answer(strange, "get", "/jobs")["reason"] == "ForbiddenOrigin"
    service.store.failures["check"] = [error_classes()["JobStoreUnavailable"]()]
    assert checker.answer(service.get("/readyz"), "get", "/readyz")["checks"]


def test_limits_are_told_as_described(make_service: Callable[..., Any], checker: Checker) -> None:
    service = make_service(rate_limit_requests=1)
    checker.answer(service.get("/presets"), "get", "/presets")
    assert checker.answer(service.get("/presets"), "get", "/presets")["reason"] == "RateLimited"


def test_links_presets_and_the_index_are_as_described(
    make_service: Callable[..., Any], jpeg: bytes, document: Document, checker: Checker
) -> None:
    service = make_service(presets=PRESETS, signer=SIGNER)
    job_id = service.upload(jpeg, format="webp,jpeg").json["id"]
    links = checker.answer(service.get(f"/jobs/{job_id}/links"), "get", "/jobs/{job_id}/links")
    assert instance_paths(links) == member_paths(document["components"]["schemas"]["Links"], document)
    assert checker.answer(service.get("/presets"), "get", "/presets").keys() == {"card"}
    index = checker.answer(service.get("/", headers={"Accept": "application/json"}), "get", "/")
    assert {index["links"]["openapi"], index["links"]["docs"]} <= document["paths"].keys()
    for path in ("/healthz", "/readyz", "/openapi.json"):
        checker.answer(service.get(path), "get", path)


def test_data_of_events_are_as_described(
    make_service: Callable[..., Any], jpeg: bytes, checker: Checker
) -> None:
    service = make_service(watching=True)
    after = service.get("/events").text.rpartition("id: ")[2].strip()
    job_id = service.upload(jpeg).json["id"]
    kinds: dict[str, Any] = {}
    while "deleted" not in kinds:
        stream = service.get("/events", headers={"Last-Event-ID": after})
        assert (
            stream.headers["content-type"]
            in checker.document["paths"]["/events"]["get"]["responses"]["200"]["content"]
        )
        for block in stream.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            after = fields.get("id", after)
            if "event" in fields:
                kinds[fields["event"]] = json.loads(fields["data"])
        if "job" in kinds:
            service.request("DELETE", f"/jobs/{job_id}")
    checker.component(kinds["job"], "Job")
    checker.component(kinds["deleted"], "Deleted")


def test_webhooks_are_as_the_operator_sends_them(
    make_service: Callable[..., Any], jpeg: bytes, document: Document, checker: Checker
) -> None:
    assert {name: phase for phase, name in EVENT_TYPES.items()} == EVENTS
    assert document["webhooks"].keys() == EVENTS.keys() | {BATCH_EVENT}
    service = make_service()
    caller = Caller("thumbnails", "default")
    items = service.post_form([("image", "a.jpg", jpeg)] * 3).json["items"]
    service.finish(items[0]["id"])
    service.fail(items[1]["id"], "CorruptSource", "It is damaged.")
    service.fail(items[2]["id"], "Cancelled", "It was cancelled.")
    seen: set[str] = set()
    for item, name in zip(items, EVENTS, strict=True):
        job = service.jobs.get(caller, item["id"])
        event = json.loads(event_body(replace(job)))
        assert event["type"] == name
        body = checker.document["webhooks"][name]["post"]["requestBody"]
        checker.schema(event, body["content"]["application/json"]["schema"])
        seen |= instance_paths(event)
    assert seen == member_paths(document["components"]["schemas"]["WebhookEvent"], document)


def test_the_webhook_of_a_batch_is_as_the_operator_sends_it(document: Document, checker: Checker) -> None:
    event = json.loads(
        batch_event_body(Batch("album", 0, 4), BatchFacts(1, 2, 0, datetime(2026, 11, 24, tzinfo=UTC)))
    )
    assert event["type"] == EVENT_TYPE == BATCH_EVENT
    body = checker.document["webhooks"][BATCH_EVENT]["post"]["requestBody"]
    checker.schema(event, body["content"]["application/json"]["schema"])
    schema = document["components"]["schemas"]["BatchWebhookEvent"]
    assert instance_paths(event) == member_paths(schema, document)


def test_it_is_public_and_kept_as_long_as_it_is_good(make_service: Callable[..., Any]) -> None:
    service = make_service(authenticator=KeyOwner())
    answer = service.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    etag = answer.headers["etag"]
    again = service.get("/openapi.json", headers={"If-None-Match": etag})
    assert (again.status_code, again.text, again.headers["etag"]) == (304, "", etag)
    assert "/metrics" not in answer.json["paths"]


def test_limits_of_the_service_are_in_it() -> None:
    settings = ApiSettings(max_output_side_pixels=777, max_images=7, link_max_seconds=70, presets=PRESETS)
    document = openapi_document(settings, version="1", requires_login=False)
    upload = document["paths"]["/images"]["post"]
    form = upload["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert form["width"]["maximum"] == 777
    assert form["image"]["maxItems"] == 7
    assert form["preset"]["enum"] == ["card", ""]
    query = {item["name"] for item in upload["parameters"] if item["in"] == "query"}
    assert query == form.keys() - {"image"}
    links = document["paths"]["/jobs/{job_id}/links"]["get"]["parameters"]
    assert next(item for item in links if item["name"] == "seconds")["schema"]["maximum"] == 70
