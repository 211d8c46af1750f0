"""`patch_spec` and `patch_status`: merge patches, generations, resourceVersions, conflicts."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_common.jobstore import Conflict, Document, JobStore, ObjectMissing, Refused
from thumbnails_contract.status import Condition, OutputFacts, SourceFacts, Status, status_patch

Manifest = Callable[..., dict[str, Any]]
MOMENT = datetime(2026, 11, 24, 5, 45, 54, tzinfo=UTC)


def version(document: Document) -> str:
    return str(document["metadata"]["resourceVersion"])


@pytest.fixture
def job(job_store: JobStore, manifest: Manifest) -> Document:
    return job_store.create(manifest("one"))


@pytest.fixture
def set_status(job_store: JobStore, backend: Any) -> Callable[..., Document]:
    def patch(at: Document, **status: Any) -> Document:
        return job_store.patch_status(backend.namespace, "one", status, resource_version=version(at))

    return patch


SetStatus = Callable[..., Document]


# ---- status --------------------------------------------------------------------------------


def test_a_status_patch_merges_and_raises_the_resource_version(
    job: Document, set_status: SetStatus, job_store: JobStore, backend: Any
) -> None:
    first = set_status(job, attempts=1, webhook={"attempts": 2, "nextAttemptTime": "2026-11-24T05:45:54Z"})
    second = set_status(first, workerJob="w", webhook={"attempts": 3, "nextAttemptTime": None})
    assert second["status"] == {
        "phase": "Pending",
        "attempts": 1,
        "workerJob": "w",
        "webhook": {"attempts": 3},
    }
    assert int(version(job)) < int(version(first)) < int(version(second))
    assert job_store.get(backend.namespace, "one") == second


def test_null_removes_a_field_and_a_default_takes_its_place(job: Document, set_status: SetStatus) -> None:
    running = set_status(job, phase="Running", attempts=1)
    assert set_status(running, phase=None, attempts=None)["status"] == {"phase": "Pending"}


def test_lists_are_replaced_as_a_whole(job: Document, set_status: SetStatus) -> None:
    def condition(type_: str) -> dict[str, Any]:
        return Condition(type_, True, "Because", "", MOMENT).to_manifest()

    both = set_status(job, conditions=[condition("Started"), condition("Complete")])
    one = set_status(both, conditions=[condition("Complete")])
    assert [item["type"] for item in one["status"]["conditions"]] == ["Complete"]


def test_a_status_patch_touches_status_only(job: Document, set_status: SetStatus) -> None:
    patched = set_status(job, attempts=1)
    assert patched["spec"] == job["spec"]
    assert {**patched["metadata"], "resourceVersion": version(job)} == job["metadata"]


def test_a_status_patch_at_an_old_resource_version_is_a_conflict(
    job: Document, set_status: SetStatus, job_store: JobStore, backend: Any
) -> None:
    patched = set_status(job, attempts=1)
    with pytest.raises(Conflict):
        set_status(job, attempts=2)
    assert job_store.get(backend.namespace, "one") == patched


def test_a_change_of_spec_makes_a_status_patch_conflict_too(
    job: Document, set_status: SetStatus, job_store: JobStore, backend: Any
) -> None:
    job_store.patch_spec(backend.namespace, "one", {"suspend": True})
    with pytest.raises(Conflict):
        set_status(job, attempts=1)


def test_a_status_patch_that_changes_nothing_keeps_the_resource_version(
    job: Document, set_status: SetStatus
) -> None:
    patched = set_status(job, attempts=1)
    assert set_status(patched) == patched
    assert set_status(patched, attempts=1) == patched
    assert set_status(patched, workerJob=None) == patched


def test_unknown_status_fields_are_dropped(job: Document, set_status: SetStatus) -> None:
    patched = set_status(job, attempts=1)
    assert set_status(patched, colour="red") == patched


def test_a_patch_of_a_job_that_is_not_there(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    theirs = job_store.create(manifest("one", namespace=backend.other_namespace))
    with pytest.raises(ObjectMissing):
        job_store.patch_status(backend.namespace, "one", {"attempts": 1}, resource_version=version(theirs))
    with pytest.raises(ObjectMissing):
        job_store.patch_spec(backend.namespace, "one", {"suspend": True})


CONDITION = Condition("Started", True, "Rendering", "words", MOMENT).to_manifest()
OUTPUT = OutputFacts("default", "auto", "thumbnails/x", 1, 1, 1, "image/jpeg", "e").to_manifest()


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"phase": "Done"}, "status.phase"),
        ({"attempts": -1}, "status.attempts"),
        ({"attempts": "1"}, "status.attempts"),
        ({"startTime": "yesterday"}, "status.startTime"),
        ({"conditions": [{**CONDITION, "status": "true"}]}, "status.conditions[0].status"),
        ({"conditions": [{**CONDITION, "reason": "Not a word"}]}, "status.conditions[0].reason"),
        ({"conditions": [{"type": "Started"}]}, "status.conditions[0]"),
        ({"conditions": [CONDITION, CONDITION]}, "status.conditions[1]"),
        ({"outputs": [{**OUTPUT, "width": 0}]}, "status.outputs[0].width"),
        ({"outputs": [OUTPUT, OUTPUT]}, "status.outputs[1]"),
        ({"error": {"reason": "CorruptSource"}}, "status.error.message"),
        ({"error": {"reason": "CorruptSource", "message": "x" * 1_025}}, "status.error.message"),
    ],
)
def test_a_status_that_the_schema_forbids_is_refused(
    job: Document,
    set_status: SetStatus,
    job_store: JobStore,
    backend: Any,
    status: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(Refused) as caught:
        set_status(job, **status)
    assert says in caught.value.message
    assert job_store.get(backend.namespace, "one") == job


def test_two_outputs_may_share_a_name_when_their_formats_differ(job: Document, set_status: SetStatus) -> None:
    outputs = [OUTPUT, {**OUTPUT, "format": "webp"}]
    assert set_status(job, outputs=outputs)["status"]["outputs"] == outputs


def test_everything_that_the_contract_writes_is_accepted(job: Document, set_status: SetStatus) -> None:
    status = Status(
        conditions=(
            Condition("Started", True, "Rendering", "", MOMENT, 1),
            Condition("Complete", True, "Rendered", "done", MOMENT),
        ),
        observed_generation=1,
        source=SourceFacts("jpeg", 2, 3, 1, 4, "0" * 64),
        outputs=(OutputFacts("default", "auto", "thumbnails/x", 1, 1, 1, "image/jpeg", "e", 1, "hash"),),
        worker_job="worker-1",
        attempts=1,
        start_time=MOMENT,
        completion_time=MOMENT,
    )
    patched = set_status(job, **status_patch(job["status"], status))
    assert Status.parse(patched["status"]) == status
    assert patched["status"]["phase"] == "Succeeded"


# ---- spec ----------------------------------------------------------------------------------


def test_a_change_of_spec_raises_generation_and_resource_version(
    job: Document, job_store: JobStore, backend: Any
) -> None:
    patched = job_store.patch_spec(backend.namespace, "one", {"suspend": True})
    assert patched["spec"] == {**job["spec"], "suspend": True}
    assert patched["metadata"]["generation"] == 2
    assert int(version(patched)) > int(version(job))
    assert patched["metadata"]["uid"] == job["metadata"]["uid"]
    assert job_store.get(backend.namespace, "one") == patched


def test_a_status_patch_keeps_the_generation(job: Document, set_status: SetStatus) -> None:
    assert set_status(job, attempts=1)["metadata"]["generation"] == 1


def test_a_spec_patch_that_changes_nothing_keeps_both(
    job: Document, set_status: SetStatus, job_store: JobStore, backend: Any
) -> None:
    written = set_status(job, attempts=1)
    assert job_store.patch_spec(backend.namespace, "one", {}) == written
    assert job_store.patch_spec(backend.namespace, "one", {"suspend": False}) == written
    assert job_store.patch_spec(backend.namespace, "one", {"suspend": None}) == written


def test_the_first_patch_of_a_new_job_may_only_store_the_default_status(
    job: Document, job_store: JobStore, backend: Any
) -> None:
    """An API server fills it in on reading, and stores it with the first patch, whatever that says."""
    patched = job_store.patch_spec(backend.namespace, "one", {})
    assert {**patched["metadata"], "resourceVersion": version(job)} == job["metadata"]
    assert (patched["spec"], patched["status"]) == (job["spec"], job["status"])
    assert job_store.patch_spec(backend.namespace, "one", {}) == patched


def test_a_spec_patch_keeps_the_status(
    job: Document, set_status: SetStatus, job_store: JobStore, backend: Any
) -> None:
    set_status(job, attempts=1)
    assert job_store.patch_spec(backend.namespace, "one", {"suspend": True})["status"]["attempts"] == 1


def test_a_spec_patch_may_demand_a_resource_version(job: Document, job_store: JobStore, backend: Any) -> None:
    patched = job_store.patch_spec(backend.namespace, "one", {"suspend": True}, resource_version=version(job))
    with pytest.raises(Conflict):
        job_store.patch_spec(backend.namespace, "one", {"suspend": False}, resource_version=version(job))
    assert job_store.get(backend.namespace, "one") == patched


def test_suspend_goes_back_and_forth(job: Document, job_store: JobStore, backend: Any) -> None:
    job_store.patch_spec(backend.namespace, "one", {"suspend": True})
    patched = job_store.patch_spec(backend.namespace, "one", {"suspend": False})
    assert patched["spec"] == job["spec"]
    assert patched["metadata"]["generation"] == 3


def test_cancel_is_one_way(job: Document, job_store: JobStore, backend: Any) -> None:
    cancelled = job_store.patch_spec(backend.namespace, "one", {"cancel": True})
    assert cancelled["spec"]["cancel"] is True
    for value in (False, None):
        with pytest.raises(Refused, match="cancel"):
            job_store.patch_spec(backend.namespace, "one", {"cancel": value})


@pytest.mark.parametrize(
    "patch",
    [
        {"account": "other"},
        {"source": {"objectKey": "sources/thumbnails/other"}},
        {"outputs": [{"name": "default", "width": 101, "height": 100}]},
        {"priority": "bulk"},
        {"batch": {"id": "b", "index": 0, "size": 1}},
        {"webhook": {"url": "https://example.com"}},
        {"ttlSecondsAfterFinished": 1},
        {"suspend": "yes"},
        {"source": None},
    ],
)
def test_all_else_in_a_spec_is_immutable(
    job: Document, job_store: JobStore, backend: Any, patch: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        job_store.patch_spec(backend.namespace, "one", patch)
    assert job_store.get(backend.namespace, "one") == job


@pytest.mark.parametrize(
    "spec",
    [
        {"batch": {"id": "b", "index": 0, "size": 1}},
        {"webhook": {"url": "https://example.com"}},
        {"ttlSecondsAfterFinished": 1},
    ],
)
def test_an_optional_field_cannot_be_taken_away(
    job_store: JobStore, manifest: Manifest, backend: Any, spec: dict[str, Any]
) -> None:
    job_store.create(manifest("one", **spec))
    with pytest.raises(Refused, match="immutable"):
        job_store.patch_spec(backend.namespace, "one", dict.fromkeys(spec))
