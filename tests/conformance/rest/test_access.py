"""Who may do what: keys, links, quotas. What an attacker tries is in `../jobstore/test_accounts.py`."""

import io
from typing import Any

import requests


def test_nobody_sees_what_is_another_s(service: Any, account: Any, picture: Any) -> None:
    job = account.rendered(picture())
    rival = service.new_account()
    for path in (f"/jobs/{job['id']}", job["thumbnailPath"], job["imagePath"], f"/jobs/{job['id']}/events"):
        assert rival.get(path).status_code == 404
        assert account.get(path).status_code == 200
    assert rival.request("DELETE", f"/jobs/{job['id']}").status_code == 404
    assert rival.get("/jobs").json()["reason"] == "NoJobs"


def test_keys_come_and_go_while_the_service_runs(service: Any, account: Any, eventually: Any) -> None:
    second = service.new_account(account.name)
    service.revoke(account.key_id)
    for replica in service.replicas:
        eventually(
            lambda replica=replica: account.at(replica, "GET", "/jobs").status_code == 401, "it is revoked"
        )
        assert second.at(replica, "GET", "/jobs").status_code == 404


def test_a_signed_link_is_good_at_every_replica_without_a_key(
    service: Any, account: Any, picture: Any
) -> None:
    job = account.rendered(picture())
    link = account.get(f"/jobs/{job['id']}/links").json()["thumbnailPath"]
    for replica in service.replicas:
        answer = requests.get(replica.url + link, timeout=60)
        assert answer.content == account.get(job["thumbnailPath"]).content
        assert requests.get(f"{replica.url}{link}0", timeout=60).status_code == 403
    account.request("DELETE", f"/jobs/{job['id']}")


def test_an_account_has_so_many_unfinished_jobs(service: Any, picture: Any, eventually: Any) -> None:
    replica = service.start_replica(max_unfinished_jobs=2)
    account = service.new_account(replicas=[replica])
    for number in range(2):
        service.store.create(waiting_job(service, account.name, number))
    eventually(lambda: len(account.listed("status=pending")) == 2, "the watch brings them")
    refused = account.upload(picture())
    assert (refused.status_code, refused.json()["reason"]) == (429, "QuotaExceeded")
    assert int(refused.headers["Retry-After"]) > 0
    service.store.delete(service.shelf.namespace, f"waiting-0-{account.name}")
    eventually(lambda: len(account.listed("status=pending")) == 1, "the watch tells of it")
    account.rendered(picture())


def test_an_account_makes_so_many_requests(service: Any) -> None:
    replica = service.start_replica(rate_limit_requests=4, rate_limit_seconds=3600)
    account = service.new_account(replicas=[replica])
    answers = [account.get("/jobs") for _ in range(5)]
    assert [answer.status_code for answer in answers][-1] == 429
    assert "RateLimit-Policy" in answers[0].headers
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert service.new_account(replicas=[replica]).get("/jobs").status_code == 404


def waiting_job(service: Any, account: str, number: int) -> dict[str, Any]:
    key = f"sources/{service.shelf.namespace}/elsewhere/nothing"
    service.objects.put(key, io.BytesIO(b"x"), 1)
    return {
        "apiVersion": "thumbnails.dev/v1alpha1",
        "kind": "ThumbnailJob",
        "metadata": {"name": f"waiting-{number}-{account}", "namespace": service.shelf.namespace},
        "spec": {"account": account, "source": {"objectKey": key}, "suspend": True},
    }
