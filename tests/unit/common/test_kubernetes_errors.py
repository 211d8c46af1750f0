"""Each refusal of an API server, as it sends it, and the error that it is."""

import json
from typing import Any

import pytest

from thumbnails_common.jobstore import AlreadyExists, Conflict, Expired, ObjectMissing, Refused
from thumbnails_common.kubernetes_errors import error_of, parse_status, retry_after_seconds
from thumbnails_contract.errors import JobStoreUnavailable, QuotaExceeded, ThumbnailsError

JOB = {"name": "one", "group": "thumbnails.dev", "kind": "thumbnailjobs"}


def status(message: str = "", reason: str = "", **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "message": message, "reason": reason, "details": details}


@pytest.mark.parametrize(
    ("code", "answer", "error"),
    [
        (400, status("json: cannot unmarshal number"), Refused),
        (401, status("Unauthorized"), JobStoreUnavailable),
        (403, status('User "x" cannot create resource', "Forbidden", **JOB), JobStoreUnavailable),
        (403, status("exceeded quota: jobs, requested: 1, used: 9, limited: 9"), QuotaExceeded),
        (403, status("ValidatingAdmissionPolicy 'p' denied request: no"), Refused),
        (403, status('admission webhook "w" denied the request: no'), Refused),
        (403, status("namespace x is being terminated"), JobStoreUnavailable),
        (404, status("not found", "NotFound", **JOB), ObjectMissing),
        (404, status("not found", "NotFound", name="ns", kind="namespaces"), JobStoreUnavailable),
        (404, {}, JobStoreUnavailable),
        (409, status("already exists", "AlreadyExists", **JOB), AlreadyExists),
        (409, status("the object has been modified", "Conflict", **JOB), Conflict),
        (409, status("modified", "Conflict", name="q", kind="resourcequotas"), JobStoreUnavailable),
        (410, status("too old resource version", "Expired"), Expired),
        (413, status("limit is 3145728"), Refused),
        (422, status("is invalid", "Invalid"), Refused),
        (429, status("slow down", "TooManyRequests"), JobStoreUnavailable),
        (500, status("etcdserver: leader changed"), JobStoreUnavailable),
        (503, {}, JobStoreUnavailable),
        (504, status("x", causes=[{"reason": "ResourceVersionTooLarge"}]), Expired),
        (504, status("timed out"), JobStoreUnavailable),
    ],
)
def test_errors(code: int, answer: dict[str, Any], error: type[ThumbnailsError]) -> None:
    assert type(error_of(code, answer)) is error


def test_the_message_of_a_refusal_is_its_causes() -> None:
    causes = [
        {"field": "spec.a", "message": "Invalid value: 0: spec.a in body should be greater than 0"},
        {
            "field": "<nil>",
            "message": "Invalid value: null: some validation rules were not checked because ...",
        },
        {"field": "", "message": "Too long"},
    ]
    error = error_of(422, status("everything at once", "Invalid", causes=causes))
    assert error.message == "spec.a: Invalid value: 0: should be greater than 0, Too long"


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 503])
def test_nothing_else_of_what_a_server_says_is_shown(code: int) -> None:
    secret = "https://10.0.0.1:6443 system:serviceaccount:ns:name"
    assert secret not in error_of(code, status(secret, secret)).message


def test_messages_are_bounded() -> None:
    causes = [{"field": f"spec.outputs[{i}]", "message": "x" * 100} for i in range(100)]
    assert len(error_of(422, status(causes=causes)).message) <= 1_000


@pytest.mark.parametrize("body", [b"", b"404 page not found", b"[]", b'{"kind": "Other"}', b"\xff"])
def test_what_is_no_status(body: bytes) -> None:
    assert parse_status(body) == {}


def test_what_is_a_status() -> None:
    assert parse_status(json.dumps(status("m")).encode())["message"] == "m"


@pytest.mark.parametrize(
    ("header", "answer", "seconds"),
    [
        ("3", {}, 3),
        (None, status(retryAfterSeconds=4), 4),
        (None, {}, 2),
        ("soon", {}, 2),
        ("0", {}, 1),
        ("99999", {}, 60),
    ],
)
def test_how_long_to_wait(header: str | None, answer: dict[str, Any], seconds: int) -> None:
    assert retry_after_seconds(answer, header) == seconds
    assert error_of(503, answer, retry_after=header).retry_after_seconds == seconds
