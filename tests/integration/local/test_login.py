"""The login of a service without Kubernetes: keys made and revoked by the command while it runs."""

import socket
from typing import Any

import pytest
import requests

PATIENCE_SECONDS = 60.0


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_keys_count_while_the_service_runs_and_outlive_it(
    start_service: Any, picture: Any, eventually: Any
) -> None:
    service = start_service(THUMBNAILS_LOGIN="on")
    assert service.request("GET", "/jobs").status_code == 401
    assert service.request("GET", "/readyz").status_code == 200

    shop = service.keys("create", "--account", "shop")
    eventually(
        lambda: service.request("GET", "/jobs", headers=bearer(shop)).status_code == 404,
        seconds=PATIENCE_SECONDS,
    )
    uploaded = service.request("POST", "/images", data=picture(1), headers=bearer(shop))
    assert uploaded.status_code == 201
    assert uploaded.json()["account"] == "shop"
    path = f"/jobs/{uploaded.json()['id']}"

    reader = service.keys("create", "--account", "shop", "--scope", "read")
    rival = service.keys("create", "--account", "rival")
    eventually(
        lambda: service.request("GET", path, headers=bearer(reader)).status_code == 200,
        seconds=PATIENCE_SECONDS,
    )
    assert service.request("DELETE", path, headers=bearer(reader)).status_code == 403
    eventually(
        lambda: service.request("GET", "/jobs", headers=bearer(rival)).status_code == 404,
        seconds=PATIENCE_SECONDS,
    )
    for refused in (path, path.replace("jobs", "images"), path.replace("jobs", "thumbnails")):
        assert service.request("GET", refused, headers=bearer(rival)).status_code == 404
    assert service.request("DELETE", path, headers=bearer(rival)).status_code == 404

    service.keys("revoke", shop)
    eventually(
        lambda: service.request("GET", path, headers=bearer(shop)).status_code == 401,
        seconds=PATIENCE_SECONDS,
    )
    assert service.stop() == 0
    service.start()
    assert service.request("GET", path, headers=bearer(shop)).status_code == 401
    assert service.request("GET", path, headers=bearer(reader)).status_code == 200
    for key in (shop, reader, rival):
        assert key[16:] not in service.log()


def test_with_a_login_it_may_listen_elsewhere(start_service: Any) -> None:
    service = start_service(THUMBNAILS_LOGIN="on", THUMBNAILS_HOST="0.0.0.0")
    port = int(service.url.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: says which of our addresses would
        address = probe.getsockname()[0]
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"http://{address}:{port}/jobs", timeout=60)
    assert answer.status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_a_login_it_does_not(start_service: Any, host: str) -> None:
    service = start_service(ready=False)
    process = service.launch(THUMBNAILS_HOST=host)
    assert process.wait(PATIENCE_SECONDS) == 2
    assert service.log() == (
        f"thumbnails: THUMBNAILS_HOST: must be a loopback address, not {host},"
        " unless THUMBNAILS_LOGIN is on\n"
    )
