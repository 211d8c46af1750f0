"""Small parts: settings, backoff, forms, messages, log lines, interest."""

from email import message_from_bytes
from itertools import islice
from typing import Any

import pytest

from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.logs import LogSettings
from thumbnails_contract.spec import Format, Output
from thumbnails_contract.status import ErrorFacts, SourceFacts
from thumbnails_contract.wire import Limits
from thumbnails_worker.backoff import delays
from thumbnails_worker.messages import Picture, RenderReply, RenderRequest
from thumbnails_worker.multipart import form_around
from thumbnails_worker.render.attention import best_anchor
from thumbnails_worker.settings import Settings

URL = {"THUMBNAILS_EXCHANGE_URL": "http://operator:8080/"}


def test_settings_have_defaults_and_units() -> None:
    settings = Settings.from_environment(URL)
    assert settings == Settings("http://operator:8080", None, 1, 512 << 20, 90.0, None, LogSettings())
    assert settings.renderer_bytes == 384 << 20


def test_settings_are_read_from_the_environment() -> None:
    settings = Settings.from_environment(
        URL
        | {
            "THUMBNAILS_EXCHANGE_TOKEN_FILE": "/token",
            "THUMBNAILS_WORKER_RENDERERS": "2",
            "THUMBNAILS_WORKER_MEMORY_MIB": "1024",
            "THUMBNAILS_OPERATOR_LOST_SECONDS": "5.5",
            "THUMBNAILS_WORKER_DEADLINE_SECONDS": "3600",
            "THUMBNAILS_LOG_LEVEL": "debug",
        }
    )
    assert settings == Settings(
        "http://operator:8080", "/token", 2, 1 << 30, 5.5, 3600.0, LogSettings("DEBUG")
    )
    assert settings.renderer_bytes == 448 << 20


def test_memory_has_to_be_enough_for_all_renderers() -> None:
    with pytest.raises(InvalidSetting, match="THUMBNAILS_WORKER_MEMORY_MIB: must be at least 640 for 8"):
        Settings.from_environment(URL | {"THUMBNAILS_WORKER_RENDERERS": "8"})


def test_backoff_doubles_up_to_a_longest_and_a_bound() -> None:
    assert list(islice(delays(1, 5), 5)) == [1, 2, 4, 5, 5]
    assert list(delays(1, 5, 12)) == [1, 2, 4, 5]


def test_a_form_is_one_that_others_can_read() -> None:
    head, tail = form_around({"key": "a/b", "Content-Type": "image/png"}, "limit")
    body = head + b"\r\n--not the end\0" + tail
    form = message_from_bytes(b"Content-Type: multipart/form-data; boundary=limit\r\n\r\n" + body)
    parts: Any = form.get_payload()
    read = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts
    }
    assert read == {"key": b"a/b", "Content-Type": b"image/png", "file": b"\r\n--not the end\0"}
    assert list(read)[-1] == "file"


def test_messages_come_out_as_they_went_in() -> None:
    request = RenderRequest(((Output(width=10), Format.WEBP),), Limits(frames=7), 123)
    assert RenderRequest.from_bytes(request.to_bytes()) == request
    done = RenderReply(SourceFacts("png", 1, 2, 3, 4), (Picture(5, 6, 7, "image/png", "ab+/="),), seconds=0.5)
    assert RenderReply.from_bytes(done.to_bytes()) == done
    failed = RenderReply(error=ErrorFacts("CorruptSource", "no"), retry=True, detail="why")
    assert RenderReply.from_bytes(failed.to_bytes()) == failed


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"pictures": [[-1, 1, 1, "image/png", ""]], "retry": false, "seconds": 0, "detail": ""}',
        b'{"pictures": [[1, 1, true, "image/png", ""]], "retry": false, "seconds": 0, "detail": ""}',
        b'{"pictures": [[1, 1, 1, "\\u00e4", ""]], "retry": false, "seconds": 0, "detail": ""}',
        b"[" * 100_000,
        b'{"pictures": [[1, 1, 1, "image/png\\r\\nX: y", ""]], "retry": false, "seconds": 0, "detail": ""}',
        b'{"pictures": [[1, 1, 1, "image/png", "a b"]], "retry": false, "seconds": 0, "detail": ""}',
        b'{"pictures": [], "retry": false, "seconds": NaN, "detail": ""}',
        b'{"pictures": [[1, 1]], "retry": false, "seconds": 0, "detail": ""}',
        b'{"pictures": [], "error": [1, 2], "retry": false, "seconds": 0, "detail": ""}',
    ],
)
def test_a_renderer_in_wrong_hands_cannot_say_anything_else(reply: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        RenderReply.from_bytes(reply)


def test_the_crop_goes_where_the_weight_is() -> None:
    assert best_anchor(bytes(100), 0.5) == 0.5
    assert best_anchor(bytes([9] * 100), 0.5) == 0.5
    assert best_anchor(bytes([0] * 90 + [200] * 10), 0.2) == 1.0
    assert best_anchor(bytes([200] * 10 + [0] * 90), 0.1) == 0.0
    assert best_anchor(b"\1", 0.5) == 0.5
