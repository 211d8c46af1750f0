"""What the operator knows of jobs: only ever the newest, and nothing that is gone."""

import copy
from typing import Any

import pytest

from thumbnails_common.jobstore import WatchEventType
from thumbnails_contract.job import JobKey, new_manifest
from thumbnails_contract.spec import Spec
from thumbnails_operator.informer import Informer, Known, Owned, Unreadable

KEY = JobKey("ns", "one")


def document(version: str = "5", *, name: str = "one", uid: str = "u1", **status: Any) -> dict[str, Any]:
    made = new_manifest(JobKey("ns", name), Spec(object_key="sources/ns/default/x"))
    made["metadata"] |= {
        "uid": uid,
        "resourceVersion": version,
        "generation": 1,
        "creationTimestamp": "2026-01-02T03:04:05Z",
    }
    made["status"] = status
    return made


def version(informer: Informer, key: JobKey = KEY) -> str | None:
    known = informer.get(key)
    return known.job.resource_version if isinstance(known, Known) else None


@pytest.mark.parametrize(("second", "kept"), [("10", "10"), ("9", "9"), ("5", "5"), ("4", "5")])
def test_older_documents_are_ignored(second: str, kept: str) -> None:
    informer = Informer()
    informer.observe(WatchEventType.ADDED, document("5"))
    change = informer.observe(WatchEventType.MODIFIED, document(second))
    assert (change is None) == (second in {"5", "4"})
    assert version(informer) == kept


def test_another_uid_is_another_object_whatever_its_version() -> None:
    informer = Informer()
    informer.observe(WatchEventType.ADDED, document("5"))
    change = informer.observe(WatchEventType.ADDED, document("3", uid="u2"))
    assert change is not None
    assert change.replaced


def test_the_deletion_of_an_earlier_object_deletes_nothing() -> None:
    informer = Informer()
    informer.observe(WatchEventType.ADDED, document("5", uid="u2"))
    assert informer.observe(WatchEventType.DELETED, document("9", uid="u1")) is None
    change = informer.observe(WatchEventType.DELETED, document("9", uid="u2"))
    assert change is not None
    assert change.after is None
    assert informer.get(KEY) is None


def test_a_relist_tells_of_all_that_was_missed() -> None:
    informer = Informer()
    for name in ("gone", "same", "changed"):
        informer.observe(WatchEventType.ADDED, document("5", name=name))
    changes = informer.relist(
        [document("5", name="same"), document("7", name="changed"), document("8", name="new")]
    )
    assert {(change.key.name, change.before is None, change.after is None) for change in changes} == {
        ("gone", False, True),
        ("changed", False, False),
        ("new", True, False),
    }


def test_an_own_write_is_known_at_once_and_its_echo_says_nothing_new() -> None:
    informer = Informer()
    informer.observe(WatchEventType.ADDED, document("5"))
    known = informer.get(KEY)
    assert isinstance(known, Known)
    written = document("6", attempts=2)
    assert informer.wrote(known.job, written) is not None
    after = informer.get(KEY)
    assert isinstance(after, Known)
    assert (after.job.status.attempts, after.raw_status) == (2, {"attempts": 2})
    assert informer.observe(WatchEventType.MODIFIED, copy.deepcopy(written)) is None


def test_an_own_write_brings_nothing_back_that_was_deleted_meanwhile() -> None:
    informer = Informer()
    informer.observe(WatchEventType.ADDED, document("5"))
    known = informer.get(KEY)
    assert isinstance(known, Known)
    informer.observe(WatchEventType.DELETED, document("7"))
    assert informer.wrote(known.job, document("6")) is None
    assert informer.get(KEY) is None


def test_what_cannot_be_read_is_kept_aside() -> None:
    informer = Informer()
    strange = document("5")
    strange["spec"]["outputs"] = [{"fit": "somehow"}]
    informer.observe(WatchEventType.ADDED, strange)
    known = informer.get(KEY)
    assert isinstance(known, Unreadable)
    assert (known.uid, known.resource_version) == ("u1", "5")
    assert list(informer.jobs()) == []


@pytest.mark.parametrize(
    ("spec", "account"),
    [
        ({"account": "shop", "outputs": [{"fit": "somehow"}]}, "shop"),
        ({"outputs": [{"fit": "somehow"}]}, "default"),
        ({"account": {"name": "shop"}}, None),
        ([], None),
    ],
)
def test_whose_a_job_is_can_be_known_though_the_rest_cannot_be_read(spec: Any, account: str | None) -> None:
    informer = Informer()
    strange = document("5")
    strange["spec"] = spec
    informer.observe(WatchEventType.ADDED, strange)
    informer.observe(WatchEventType.ADDED, document("6", name="two", uid="u2"))
    assert isinstance(informer.get(KEY), Unreadable)
    mine = [] if account is None else [Owned(KEY, "u1", account)]
    assert list(informer.owned()) == [*mine, Owned(JobKey("ns", "two"), "u2", "default")]


def test_a_document_without_a_name_is_nothing() -> None:
    assert Informer().observe(WatchEventType.BOOKMARK, {}) is None


def test_a_changed_spec_is_read_anew() -> None:
    informer = Informer()
    informer.observe(WatchEventType.ADDED, document("5"))
    changed = document("6")
    changed["spec"]["cancel"] = True
    changed["metadata"]["generation"] = 2
    informer.observe(WatchEventType.MODIFIED, changed)
    known = informer.get(KEY)
    assert isinstance(known, Known)
    assert known.job.spec.cancel
