"""No signature, key or path of this machine in anything that a client or a log gets to see."""

import json
import re
from typing import Any

SIGNED = re.compile(r"X-Amz-|Signature=|AWSAccessKeyId|whsec_|Traceback")


def test_answers_and_logs_are_clean(client: Any, service: Any, photo: Any) -> None:
    answers = [
        client.post_image(photo()),
        client.post_image(photo()[:3000]),
        client.post_image(b"notes" * 1000, "text/plain"),
        client.post_image(photo(), width="x"),
        client.get("/jobs"),
        client.get("/jobs/none"),
        client.get("/"),
        client.get("/readyz"),
    ]
    text = json.dumps([answer.text for answer in answers]) + str([dict(answer.headers) for answer in answers])
    secrets = [
        line.strip()
        for path in service.data.glob("*secret*")
        if path.is_file()
        for line in path.read_text(errors="replace").splitlines()
        if line.strip()
    ]
    assert secrets
    logs = service.log()
    assert logs
    for haystack in (text, logs):
        assert not SIGNED.search(haystack), SIGNED.search(haystack)
        assert not any(secret in haystack for secret in secrets)
    assert str(service.data) not in text
