"""Replicas of the API are one service: what one was told, the other knows."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("installation")]
Photo = Callable[..., bytes]


@pytest.fixture
def replicas(installation: Any) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """`request(method, path, key=None, **options)` at each of two replicas, past the Service's choice."""
    ready = [
        pod["metadata"]["name"]
        for pod in installation.pods("api")
        if "deletionTimestamp" not in pod["metadata"]
        and any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"]["conditions"])
    ]
    ways = [installation.forward(f"pod/{name}", 3000) for name in ready[:2]]
    session = installation.new_session(None)

    def at(port: int) -> Callable[..., Any]:
        def request(method: str, path: str, key: str | None = None, **options: Any) -> Any:
            headers = {"Authorization": f"Bearer {key or installation.key}", **options.pop("headers", {})}
            return session.request(
                method, f"http://127.0.0.1:{port}{path}", headers=headers, timeout=90, **options
            )

        return request

    try:
        assert len(ways) == 2, "two replicas are ready"
        yield at(ways[0].port), at(ways[1].port)
    finally:
        session.close()
        for way in ways:
            way.close()


def test_an_upload_is_known_at_once_everywhere(replicas: Any, photo: Photo) -> None:
    one, other = replicas
    job = one("POST", "/images", files={"image": ("a.jpg", photo())}).json()["id"]
    seen = other("GET", f"/jobs/{job}", headers={"Prefer": "wait=30"})
    assert (seen.status_code, seen.json()["status"]) == (200, "complete")
    assert other("GET", f"/thumbnails/{job}").content == one("GET", f"/thumbnails/{job}").content
    assert other("DELETE", f"/jobs/{job}").status_code == 204


def test_a_revoked_key_is_refused_everywhere(
    installation: Any, replicas: Any, eventually: Callable[..., Any]
) -> None:
    key = installation.new_key("leaving")

    def all_say(refused: bool) -> bool:
        return all((ask("GET", "/jobs", key=key).status_code == 401) is refused for ask in replicas)

    eventually(lambda: all_say(False), "all replicas know the key")
    installation.revoke_key(key)
    eventually(lambda: all_say(True), "no replica takes the key")
