"""Webhooks of a cluster: who is told, and that the signature is the account's."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("installation")]
Photo = Callable[..., bytes]


def test_the_end_of_a_job_is_told_and_signed(installation: Any, photo: Photo) -> None:
    job = installation.post(photo()).json()["id"]
    delivery = installation.webhooks.of_job(job)[0]
    event = installation.verified(delivery)
    assert delivery.path == "/default"
    assert event["type"] == "thumbnailjob.completed"
    assert event["data"]["thumbnailPath"] == f"/thumbnails/{job}"
    installation.kubectl("wait", "--for=condition=WebhookDelivered", f"tnj/{job}", "--timeout=60s")


def test_the_end_of_a_batch_is_told_once_and_signed(installation: Any, photo: Photo) -> None:
    files = [("image", (f"{number}.jpg", photo())) for number in range(4)]
    body = installation.request("POST", "/images", files=files, params={"batchWebhooks": "once"}).json()
    (delivery,) = installation.webhooks.of_job(body["batchId"])
    event = installation.verified(delivery)
    assert event["type"] == "thumbnailjob.batch.completed"
    assert (event["data"]["jobs"], event["data"]["complete"]) == (4, 4)
    bearer = body["items"][0]["id"]
    installation.kubectl("wait", "--for=condition=BatchWebhookDelivered", f"tnj/{bearer}", "--timeout=60s")
    about = {each.about for each in installation.webhooks.all()}
    assert about.isdisjoint(item["id"] for item in body["items"])


def test_failures_are_told_and_a_job_may_have_an_address_of_its_own(installation: Any, photo: Photo) -> None:
    whole = photo(1200, 900, "PNG")
    own = f"{installation.webhooks.url}/own"
    job = installation.post(whole[: len(whole) // 2], webhookUrl=own).json()["id"]
    delivery = installation.webhooks.of_job(job)[0]
    assert delivery.path == "/own"
    event = installation.verified(delivery)
    assert (event["type"], event["data"]["status"]) == ("thumbnailjob.failed", "failed")


def test_a_job_of_kubectl_signs_with_the_secret_that_it_names(installation: Any, photo: Photo) -> None:
    key = f"sources/{installation.namespace}/by-hand/signed.jpg"
    picture = photo()
    installation.objects.put(key, io.BytesIO(picture), len(picture))
    secret = "whsec_" + "QUFB" * 8
    installation.kubectl(
        *("create", "secret", "generic", "my-webhook", "--type=thumbnails.dev/webhook"),
        f"--from-literal=secret={secret}",
    )
    webhook = {"url": f"{installation.webhooks.url}/mine", "secretRef": {"name": "my-webhook"}}
    job = {
        "apiVersion": "thumbnails.dev/v1alpha1",
        "kind": "ThumbnailJob",
        "metadata": {"name": "signed"},
        "spec": {"source": {"objectKey": key}, "webhook": webhook},
    }
    installation.kubectl("apply", "--filename=-", stdin=json.dumps(job))
    delivery = installation.webhooks.of_job("signed")[0]
    from standardwebhooks import Webhook

    assert Webhook(secret).verify(delivery.body, dict(delivery.headers))["data"]["jobId"] == "signed"


def test_addresses_that_are_nobody_s_business_are_forbidden(installation: Any, photo: Photo) -> None:
    job = installation.post(photo(), webhookUrl="http://169.254.169.254/hook").json()["id"]
    installation.kubectl(
        "wait",
        "--for=jsonpath={.status.conditions[?(@.type=='WebhookDelivered')].reason}=ForbiddenAddress",
        f"tnj/{job}",
        "--timeout=60s",
    )
