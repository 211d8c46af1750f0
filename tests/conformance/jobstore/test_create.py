"""`create`: defaults, schema, rules, pruning, and what the server sets."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from thumbnails_common.jobstore import AlreadyExists, JobStore, ObjectMissing, Refused
from thumbnails_contract.job import JobKey, ThumbnailJob, new_manifest
from thumbnails_contract.spec import Batch, BatchWebhooks, Fit, Format, Output, Priority, Spec, Webhook
from thumbnails_contract.status import Phase, Status

Manifest = Callable[..., dict[str, Any]]


def test_the_server_sets_uid_resource_version_generation_and_creation_time(
    job_store: JobStore, manifest: Manifest
) -> None:
    document = job_store.create(manifest("one"))
    metadata = document["metadata"]
    assert str(UUID(metadata["uid"])) == metadata["uid"]
    assert metadata["generation"] == 1
    assert int(metadata["resourceVersion"]) > 0
    created = datetime.fromisoformat(metadata["creationTimestamp"])
    assert abs(datetime.now(UTC) - created) < timedelta(seconds=60)
    assert metadata["creationTimestamp"].endswith("Z")


def test_what_is_returned_is_what_is_stored(job_store: JobStore, manifest: Manifest) -> None:
    document = job_store.create(manifest("one"))
    assert job_store.get(document["metadata"]["namespace"], "one") == document


def test_defaults_are_filled_in(job_store: JobStore, manifest: Manifest) -> None:
    document = job_store.create(manifest())
    assert Spec.parse(document["spec"]).to_manifest() == document["spec"]
    assert document["spec"]["account"] == "default"
    assert document["spec"]["priority"] == "interactive"
    assert document["spec"]["suspend"] is False
    assert document["spec"]["cancel"] is False
    assert document["spec"]["outputs"] == [
        {
            "name": "default",
            "width": 100,
            "height": 100,
            "fit": "cover",
            "position": "center",
            "formats": ["auto"],
            "animated": True,
            "withoutEnlargement": False,
            "metadata": "strip",
        }
    ]


def test_defaults_are_filled_into_each_output(job_store: JobStore, manifest: Manifest) -> None:
    document = job_store.create(
        manifest(outputs=[{"name": "a", "width": 1}, {"name": "b", "height": 2, "fit": "inside"}])
    )
    first, second = (Output.parse(item) for item in document["spec"]["outputs"])
    assert first == Output(name="a", width=1)
    assert second == Output(name="b", height=2, fit=Fit.INSIDE)


def test_null_is_as_good_as_nothing(job_store: JobStore, manifest: Manifest) -> None:
    document = job_store.create(manifest(outputs=None, priority=None, batch=None, webhook=None))
    assert document["spec"]["outputs"][0]["width"] == 100
    assert document["spec"]["priority"] == "interactive"
    assert document["spec"].keys().isdisjoint({"batch", "webhook"})


def test_no_two_jobs_share_a_default(job_store: JobStore, manifest: Manifest) -> None:
    job_store.create(manifest())["spec"]["outputs"][0]["width"] = 1
    assert job_store.create(manifest())["spec"]["outputs"][0]["width"] == 100


def test_the_manifest_is_left_alone(job_store: JobStore, manifest: Manifest) -> None:
    sent, same = manifest("one"), manifest("one")
    job_store.create(sent)["spec"]["source"]["objectKey"] = "changed"
    assert sent == same


def test_a_full_spec_comes_back_as_it_was(job_store: JobStore, backend: Any) -> None:
    spec = Spec(
        object_key=f"sources/{backend.namespace}/acme/{'0' * 64}/one",
        account="acme",
        outputs=(
            Output(
                name="a",
                width=16_384,
                height=1,
                fit=Fit.CONTAIN,
                background="#00ff0080",
                formats=(Format.WEBP, Format.AVIF),
                quality=100,
                animated=False,
                without_enlargement=True,
            ),
            Output(name="b", height=7),
        ),
        batch=Batch("b1", 0, 2, 1, BatchWebhooks.ONCE),
        webhook=Webhook("https://example.com/hook", "a.secret"),
        priority=Priority.BULK,
        suspend=True,
        ttl_seconds_after_finished=0,
    )
    key = JobKey(backend.namespace, "one")
    document = job_store.create(new_manifest(key, spec, {"thumbnails.dev/file-name": "naïve \U0001f600.jpg"}))
    job = ThumbnailJob.parse(document)
    assert job.key == key
    assert job.spec == spec
    assert job.annotations == {"thumbnails.dev/file-name": "naïve \U0001f600.jpg"}
    assert job.labels == {"thumbnails.dev/account": "acme", "thumbnails.dev/batch": "b1"}


def test_unknown_fields_are_dropped(job_store: JobStore, manifest: Manifest) -> None:
    sent = manifest(colour="red", outputs=[{"name": "a", "width": 1, "depth": 3}])
    sent["extra"] = {"a": 1}
    document = job_store.create(sent)
    assert "extra" not in document
    assert "colour" not in document["spec"]
    assert "depth" not in document["spec"]["outputs"][0]


def test_status_is_dropped_and_has_its_default(job_store: JobStore, manifest: Manifest) -> None:
    document = job_store.create({**manifest(), "status": {"phase": "Succeeded", "attempts": 3}})
    assert document["status"] == {"phase": "Pending"}
    assert Status.parse(document["status"]).phase is Phase.PENDING


def test_what_the_client_says_of_server_fields_does_not_count(
    job_store: JobStore, manifest: Manifest
) -> None:
    sent = manifest()
    sent["metadata"] |= {"generation": 9, "creationTimestamp": "2001-01-01T00:00:00Z"}
    metadata = job_store.create(sent)["metadata"]
    assert metadata["generation"] == 1
    assert not metadata["creationTimestamp"].startswith("2001")


def test_a_name_is_taken_once(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    first = job_store.create(manifest("one"))
    with pytest.raises(AlreadyExists):
        job_store.create(manifest("one", priority="bulk"))
    assert job_store.get(backend.namespace, "one") == first


def test_a_name_is_taken_in_its_namespace_only(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    job_store.create(manifest("one"))
    job_store.create(manifest("one", namespace=backend.other_namespace))


def test_a_name_is_free_after_deletion_and_its_next_owner_is_another(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    first = job_store.create(manifest("one"))
    job_store.delete(backend.namespace, "one")
    second = job_store.create(manifest("one"))
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


OUTPUT = {"name": "a", "width": 1}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"outputs": [{**OUTPUT, "width": 0}]}, "spec.outputs[0].width"),
        ({"outputs": [OUTPUT, {**OUTPUT, "name": "b", "height": 16_385}]}, "spec.outputs[1].height"),
        ({"outputs": [{**OUTPUT, "width": "1"}]}, "spec.outputs[0].width"),
        ({"outputs": [{**OUTPUT, "width": 1.5}]}, "spec.outputs[0].width"),
        ({"outputs": [{**OUTPUT, "fit": "squeeze"}]}, "spec.outputs[0].fit"),
        ({"outputs": [{**OUTPUT, "background": "red"}]}, "spec.outputs[0].background"),
        ({"outputs": [{**OUTPUT, "background": "#ffffff\n"}]}, "spec.outputs[0].background"),
        ({"outputs": [{**OUTPUT, "formats": []}]}, "spec.outputs[0].formats"),
        ({"outputs": [{**OUTPUT, "formats": ["jpeg", "jpeg"]}]}, "spec.outputs[0].formats[1]"),
        ({"outputs": [{**OUTPUT, "quality": 101}]}, "spec.outputs[0].quality"),
        ({"outputs": [{**OUTPUT, "animated": "yes"}]}, "spec.outputs[0].animated"),
        ({"outputs": [{"name": "a"}]}, "at least one of width and height"),
        ({"outputs": [{"width": 1}]}, "spec.outputs[0].name"),
        ({"outputs": []}, "spec.outputs"),
        ({"outputs": [{"name": f"o{i}", "width": 1} for i in range(9)]}, "spec.outputs"),
        ({"outputs": [OUTPUT, {**OUTPUT, "width": 2}]}, "spec.outputs[1]"),
        ({"outputs": {}}, "spec.outputs"),
        ({"source": {}}, "spec.source.objectKey"),
        ({"source": {"objectKey": "thumbnails/x/y"}}, "spec.source.objectKey"),
        ({"source": {"objectKey": "sources/" + "x" * 1_020}}, "spec.source.objectKey"),
        ({"account": "Nobody!"}, "spec.account"),
        ({"batch": {"id": "b", "index": 2, "size": 2}}, "index must be less than size"),
        ({"webhook": {"url": "ftp://example.com"}}, "spec.webhook.url"),
        ({"priority": "high"}, "spec.priority"),
        ({"ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
        ({"ttlSecondsAfterFinished": 2**31}, "spec.ttlSecondsAfterFinished"),
        ({"suspend": 1}, "spec.suspend"),
    ],
)
def test_what_the_schema_or_a_rule_forbids_is_refused(
    job_store: JobStore, manifest: Manifest, backend: Any, spec: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused) as caught:
        job_store.create(manifest("bad", **spec))
    assert says in caught.value.message
    with pytest.raises(ObjectMissing):
        job_store.get(backend.namespace, "bad")


def test_a_job_needs_a_spec_with_a_source(job_store: JobStore, manifest: Manifest) -> None:
    without_spec = manifest()
    del without_spec["spec"]
    without_source = manifest()
    del without_source["spec"]["source"]
    for bad in (without_spec, without_source, {**manifest(), "spec": None}, {**manifest(), "spec": []}):
        with pytest.raises(Refused, match="spec"):
            job_store.create(bad)


@pytest.mark.parametrize(
    "name", ["", "Upper", "under_score", "-dash", "dash-", "a..b", "x" * 254, "a/b", "a\n"]
)
def test_names_follow_rfc_1123(job_store: JobStore, manifest: Manifest, name: str) -> None:
    sent = manifest("x")
    sent["metadata"]["name"] = name
    with pytest.raises(Refused, match=r"metadata\.name"):
        job_store.create(sent)


def test_the_longest_name_is_allowed(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    name = ".".join(["x" * 63] * 3) + "." + "y" * 61
    sent = manifest("x")
    sent["metadata"]["name"] = name
    job_store.create(sent)
    assert job_store.get(backend.namespace, name)["metadata"]["name"] == name


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"a b": "x"}},
        {"labels": {"a": "x y"}},
        {"labels": {"a": "x" * 64}},
        {"labels": {"/a": "x"}},
        {"annotations": {"a b": "x"}},
        {"annotations": {"a": "x" * 262_145}},
    ],
)
def test_labels_and_annotations_are_checked(
    job_store: JobStore, manifest: Manifest, metadata: dict[str, Any]
) -> None:
    sent = manifest()
    sent["metadata"] |= metadata
    with pytest.raises(Refused, match=r"metadata\."):
        job_store.create(sent)
