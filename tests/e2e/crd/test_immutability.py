"""What may change in a spec after creation: suspend, both ways, and cancel, one way."""

import copy
from typing import Any

import pytest

SPEC: dict[str, Any] = {
    "source": {"objectKey": "sources/ns/a.jpg"},
    "outputs": [
        {"name": "a", "width": 100, "formats": ["webp", "jpeg"]},
        {"name": "b", "height": 200},
    ],
}
OPTIONAL: dict[str, Any] = {
    "batch": {"id": "b", "index": 0, "size": 2},
    "webhook": {"url": "https://example.com", "secretRef": {"name": "s"}},
    "ttlSecondsAfterFinished": 60,
}


def outputs(**change: Any) -> list[dict[str, Any]]:
    first, second = copy.deepcopy(SPEC["outputs"])
    return [{**first, **change}, second]


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"account": "other"}, "spec is immutable"),
        ({"source": {"objectKey": "sources/ns/b.jpg"}}, "spec is immutable"),
        ({"priority": "bulk"}, "spec is immutable"),
        ({"outputs": outputs(width=101)}, "spec is immutable"),
        ({"outputs": outputs(height=100)}, "spec is immutable"),
        ({"outputs": outputs(fit="fill")}, "spec is immutable"),
        ({"outputs": outputs(formats=["webp"])}, "spec is immutable"),
        ({"outputs": outputs(name="c")}, "spec is immutable"),
        ({"outputs": outputs()[:1]}, "spec is immutable"),
        ({"outputs": [*outputs(), {"name": "c", "width": 1}]}, "spec is immutable"),
        ({"outputs": None}, "spec is immutable"),
        ({"batch": {"index": 1}}, "spec.batch is immutable"),
        ({"batch": {"size": 3}}, "spec.batch is immutable"),
        ({"batch": {"id": "c"}}, "spec.batch is immutable"),
        ({"batch": {"jobs": 1}}, "spec.batch is immutable"),
        ({"batch": {"webhooks": "both"}}, "spec.batch is immutable"),
        ({"batch": None}, "spec.batch is immutable"),
        ({"webhook": {"url": "https://example.org"}}, "spec.webhook is immutable"),
        ({"webhook": {"secretRef": {"name": "t"}}}, "spec.webhook is immutable"),
        ({"webhook": {"secretRef": None}}, "spec.webhook is immutable"),
        ({"webhook": None}, "spec.webhook is immutable"),
        ({"ttlSecondsAfterFinished": 61}, "spec.ttlSecondsAfterFinished is immutable"),
        ({"ttlSecondsAfterFinished": None}, "spec.ttlSecondsAfterFinished is immutable"),
    ],
)
def test_what_cannot_change(jobs: Any, patch: dict[str, Any], says: str) -> None:
    assert jobs.create({**SPEC, **OPTIONAL}).accepted
    answer = jobs.patch_spec(patch)
    assert any(says in message for _, message in answer.causes), answer


@pytest.mark.parametrize("name", list(OPTIONAL))
def test_what_cannot_be_added(jobs: Any, name: str) -> None:
    assert jobs.create(SPEC).accepted
    answer = jobs.patch_spec({name: OPTIONAL[name]})
    assert any(f"spec.{name} is immutable" in message for _, message in answer.causes), answer


@pytest.mark.parametrize(
    "patch",
    [
        {"outputs": list(reversed(outputs()))},
        {"outputs": outputs(formats=["jpeg", "webp"])},
        {"outputs": outputs(fit="cover")},
        {"priority": None},
        {"account": "default"},
    ],
    ids=["order of outputs", "order of formats", "a default, written out", "null", "the same"],
)
def test_what_says_the_same_is_no_change(jobs: Any, patch: dict[str, Any]) -> None:
    assert jobs.create(SPEC).accepted
    assert jobs.patch_spec(patch).accepted


def test_suspend_goes_both_ways(jobs: Any) -> None:
    assert jobs.create(SPEC).accepted
    for generation, suspend in enumerate((True, False, True), start=2):
        answer = jobs.patch_spec({"suspend": suspend})
        assert answer.document["spec"]["suspend"] is suspend
        assert answer.document["metadata"]["generation"] == generation


@pytest.mark.parametrize("value", [False, None])
def test_cancel_cannot_be_taken_back(jobs: Any, value: bool | None) -> None:
    assert jobs.create(SPEC).accepted
    assert jobs.patch_spec({"cancel": True}).accepted
    answer = jobs.patch_spec({"cancel": value})
    assert answer.blames("spec.cancel")
    assert jobs.patch_spec({"suspend": True}).accepted


def test_a_job_may_be_born_suspended_or_cancelled(jobs: Any) -> None:
    assert jobs.create({**SPEC, "suspend": True}, "suspended").accepted
    assert jobs.create({**SPEC, "cancel": True}, "cancelled").accepted


def test_the_spec_cannot_be_changed_through_the_status_nor_the_other_way_round(
    jobs: Any, kubectl: Any
) -> None:
    assert jobs.create(SPEC).accepted
    both = '{"spec": {"suspend": true}, "status": {"attempts": 7}}'
    patched = kubectl("patch", "tnj", "one", "--type=merge", "-p", both)
    assert patched.returncode == 0, patched.stderr
    assert kubectl("get", "tnj", "one", "-o", "jsonpath={.spec.suspend}{.status.attempts}").stdout == "true"
    patched = kubectl(
        "patch", "tnj", "one", "--subresource=status", "--type=merge", "-p", both.replace("true", "false")
    )
    assert patched.returncode == 0, patched.stderr
    assert kubectl("get", "tnj", "one", "-o", "jsonpath={.spec.suspend}{.status.attempts}").stdout == "true7"
