"""What is logged: one line a record, text or JSON, and no secret whatever a caller hands in."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from thumbnails_contract import logs
from thumbnails_contract.environment import InvalidSetting

PRESIGNED = (
    "http://127.0.0.1:9000/thumbnails/sources/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261124"
    "&X-Amz-Date=20261124T060000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=deadbeef0123"
)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(format_: str, level: str = "INFO") -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logs.configure(logs.LogSettings(level, format_), "api", stream=stream)
    return logging.getLogger("thumbnails_api.app"), stream


def test_json_has_one_object_a_line() -> None:
    log, stream = logged("json")
    log.info("job %s\nstored", "a", extra={"job": "a", "seconds": 1.5, "key": PRESIGNED})
    log.warning("second")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert "deadbeef" not in first.pop("key")
    assert first == {
        "level": "INFO",
        "component": "api",
        "logger": "thumbnails_api.app",
        "message": "job a\nstored",
        "job": "a",
        "seconds": 1.5,
    }
    assert second["message"] == "second"


def test_what_is_bound_is_said_by_all_records_until_it_is_unbound() -> None:
    log, stream = logged("json")
    with logs.bound(job="a", requestId="r"):
        log.info("one")
        with logs.bound(job="b"):
            log.info("two", extra={"requestId": "own"})
    log.info("three")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line.get("job"), line.get("requestId")) for line in lines] == [
        ("a", "r"),
        ("b", "own"),
        (None, None),
    ]


def test_text_is_short() -> None:
    log, stream = logged("text")
    log.info("ready", extra={"port": 3000})
    log.error("broken")
    first, second = stream.getvalue().splitlines()
    assert first[8:] == " api: ready port=3000"
    assert second[8:] == " ERROR api: broken"


def test_what_a_client_says_makes_no_line_of_its_own() -> None:
    log, stream = logged("text")
    log.info("GET /jobs/x\n07:00:00 WARNING operator: forged\x1b[31m\u202e", extra={"name_": "a\rb"})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r"GET /jobs/x\n07:00:00 WARNING operator: forged\x1b[31m\u202e name_=a\rb")


@pytest.mark.parametrize("format_", logs.FORMATS)
def test_an_exception_is_told_without_its_url(format_: str) -> None:
    log, stream = logged(format_)
    log.error("failed", exc_info=OSError(f"cannot reach {PRESIGNED}"))
    assert "OSError" in stream.getvalue()
    assert "deadbeef" not in stream.getvalue()
    assert "AKIA" not in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (PRESIGNED, "deadbeef0123"),
        (
            f"HTTPConnectionPool(host='h'): Max retries exceeded with url: {PRESIGNED[21:]} (Caused by x)",
            "deadbeef",
        ),
        (
            "Authorization: AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=deadbeef",
            "deadbeef",
        ),
        ("{'x-amz-signature': 'deadbeef', 'a': 1}", "deadbeef"),
        ("{'policy': 'eyJleHBpcmF0', 'a': 1}", "eyJleHBpcmF0"),
        ("Authorization: Bearer eyJhbGciOi.J9-_x.abc", "eyJhbGciOi"),
        ("secret is whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKY"),
        ("http://h/work?token=hunter2&a=b", "hunter2"),
    ],
)
def test_redaction(text: str, secret: str) -> None:
    assert secret not in logs.redact(text)
    assert "[redacted]" in logs.redact(text)


@pytest.mark.parametrize(
    "text", ["GET /jobs?status=complete&limit=5 200", "policy of the bucket", "a bearer of news"]
)
def test_other_text_stays(text: str) -> None:
    assert logs.redact(text) == text


def test_what_surrounds_a_url_stays() -> None:
    assert logs.redact(f'GET "{PRESIGNED}" failed') == (
        'GET "http://127.0.0.1:9000/thumbnails/sources/a?[redacted]" failed'
    )


def test_libraries_that_tell_every_request_are_quiet() -> None:
    _, stream = logged("text", "DEBUG")
    logging.getLogger("urllib3.connectionpool").debug("GET /x")
    logging.getLogger("waitress.queue").info("depth")
    assert "GET /x" not in stream.getvalue() and "depth" not in stream.getvalue()
    logging.getLogger("waitress").warning("depth is 5")
    assert "depth is 5" in stream.getvalue()


def test_configuring_twice_logs_once() -> None:
    logged("text")
    log, stream = logged("text")
    log.info("once")
    assert stream.getvalue().count("once") == 1


def test_settings() -> None:
    assert logs.LogSettings.from_environment({}) == logs.LogSettings("INFO", "json")
    env = {"THUMBNAILS_LOG_LEVEL": "debug", "THUMBNAILS_LOG_FORMAT": "Text"}
    assert logs.LogSettings.from_environment(env) == logs.LogSettings("DEBUG", "text")


@pytest.mark.parametrize(
    ("variable", "value"), [("THUMBNAILS_LOG_LEVEL", "LOUD"), ("THUMBNAILS_LOG_FORMAT", "xml")]
)
def test_a_wrong_setting_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^{variable}: must be one of .*, not '{value}'$"):
        logs.LogSettings.from_environment({variable: value})


@pytest.mark.parametrize("format_", logs.FORMATS)
def test_nothing_that_a_client_says_moves_a_terminal_s_cursor_or_makes_a_line(format_: str) -> None:
    log, stream = logged(format_)
    said = "GET /jobs/\x1b[2J\x9b31m\r\nFAKE\u2028LINE\u202egpj\x7f"
    log.info("%s", said)
    text = stream.getvalue().removesuffix("\n")
    assert text.isascii() and text.isprintable()
    if format_ == "json":
        assert json.loads(text)["message"] == said
