"""What somebody with kubectl does, and what they see."""

from typing import Any

import pytest

MANIFEST = """
apiVersion: thumbnails.dev/v1alpha1
kind: ThumbnailJob
metadata:
  name: {name}
spec:
  source:
    objectKey: sources/{namespace}/holiday.jpg
"""
FINISHED: dict[str, Any] = {
    "phase": "Succeeded",
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Complete",
            "status": "True",
            "reason": "Rendered",
            "message": "done",
            "lastTransitionTime": "2026-11-24T05:45:54Z",
        }
    ],
    "source": {"format": "jpeg", "width": 4000, "height": 3000, "frames": 1, "bytes": 123456},
    "outputsSummary": "100x100 jpeg, 720x540 webp",
    "workerJob": "worker-7",
    "attempts": 1,
    "duration": "1.2s",
    "error": {"reason": "CorruptSource", "message": "It is damaged."},
}


@pytest.fixture
def apply(jobs: Any, kubectl: Any) -> Any:
    """`kubectl apply` of a manifest as people write it."""

    def run(name: str) -> Any:
        done = kubectl("apply", "-f", "-", stdin=MANIFEST.format(name=name, namespace=jobs.namespace))
        assert done.returncode == 0, done.stderr
        return done

    return run


def out(done: Any) -> str:
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def rows(done: Any) -> list[list[str]]:
    return [line.split() for line in out(done).splitlines()]


def test_apply_get_delete(apply: Any, kubectl: Any) -> None:
    assert "created" in apply("one").stdout
    assert "unchanged" in apply("one").stdout
    assert out(kubectl("get", "tnj", "-o", "name")) == "thumbnailjob.thumbnails.dev/one\n"
    assert "deleted" in out(kubectl("delete", "tnj", "one"))
    gone = kubectl("get", "tnj", "one")
    assert gone.returncode != 0
    assert "NotFound" in gone.stderr


def test_apply_works_on_the_server_side_too(jobs: Any, kubectl: Any) -> None:
    manifest = MANIFEST.format(name="one", namespace=jobs.namespace)
    for _ in range(2):
        done = kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
        assert "serverside-applied" in out(done)


@pytest.mark.parametrize("word", ["tnj", "thumbnailjob", "thumbnailjobs", "thumbnailjobs.thumbnails.dev"])
def test_all_its_names(apply: Any, kubectl: Any, word: str) -> None:
    apply("one")
    assert "one" in out(kubectl("get", word))


def test_get_all_is_left_alone(apply: Any, kubectl: Any) -> None:
    apply("one")
    assert out(kubectl("get", "all")) == ""


def test_the_columns_of_a_new_and_of_a_finished_job(apply: Any, jobs: Any, kubectl: Any) -> None:
    apply("new")
    apply("old")
    assert jobs.patch_status(FINISHED, "old").accepted
    header, new, old = out(kubectl("get", "tnj")).splitlines()
    assert header.split() == ["NAME", "PHASE", "SOURCE", "SIZE", "OUTPUTS", "DURATION", "AGE"]
    assert new.split()[:2] == ["new", "Pending"]
    assert old.split()[:-1] == [
        "old",
        "Succeeded",
        "jpeg",
        "123456",
        *["100x100", "jpeg,", "720x540", "webp", "1.2s"],
    ]

    header, _, wide = out(kubectl("get", "tnj", "-o", "wide")).splitlines()
    assert header.split()[-2:] == ["WORKER", "MESSAGE"]
    assert wide.endswith("It is damaged.")
    assert "worker-7" in wide


def test_the_server_prints_the_table(apply: Any, jobs: Any, cluster: Any) -> None:
    """Whatever shows tables (dashboards, k9s) gets columns with descriptions."""
    apply("one")
    table = cluster.objects.list_namespaced_custom_object(
        "thumbnails.dev",
        "v1alpha1",
        jobs.namespace,
        "thumbnailjobs",
        _headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    )
    assert table["kind"] == "Table"
    columns = {column["name"]: column for column in table["columnDefinitions"]}
    assert list(columns) == [
        "Name",
        "Phase",
        "Source",
        "Size",
        "Outputs",
        "Duration",
        "Age",
        "Worker",
        "Message",
    ]
    assert all(columns[name]["description"] for name in columns)
    assert [name for name, column in columns.items() if column["priority"]] == ["Worker", "Message"]
    ((name, phase, *_),) = [row["cells"] for row in table["rows"]]
    assert (name, phase) == ("one", "Pending")


def test_field_selectors(apply: Any, jobs: Any, kubectl: Any) -> None:
    apply("new")
    apply("old")
    assert jobs.patch_status({"phase": "Succeeded"}, "old").accepted
    assert jobs.create(
        {"source": {"objectKey": "sources/x/y"}, "account": "acme", "priority": "bulk"}, "acme"
    ).accepted

    def selected(*selectors: str) -> list[str]:
        done = kubectl("get", "tnj", "--no-headers", "--field-selector", ",".join(selectors))
        return [row[0] for row in rows(done)]

    assert selected("status.phase=Pending") == ["acme", "new"]
    assert selected("status.phase=Succeeded") == ["old"]
    assert selected("status.phase!=Succeeded") == ["acme", "new"]
    assert selected("spec.account=acme") == ["acme"]
    assert selected("spec.priority=interactive", "status.phase=Pending") == ["new"]
    assert selected("metadata.name=old") == ["old"]


def test_wait_for_a_condition_and_for_a_phase(apply: Any, jobs: Any, kubectl: Any) -> None:
    apply("one")
    waiting = kubectl("wait", "tnj/one", "--for=condition=Complete", "--timeout=1s")
    assert waiting.returncode != 0
    assert jobs.patch_status(FINISHED).accepted
    assert "condition met" in out(kubectl("wait", "tnj/one", "--for=condition=Complete", "--timeout=30s"))
    out(kubectl("wait", "tnj/one", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s"))


def test_wait_is_not_fooled_by_the_condition_of_an_older_spec(apply: Any, jobs: Any, kubectl: Any) -> None:
    apply("one")
    condition = {**FINISHED["conditions"][0], "observedGeneration": 1}
    assert jobs.patch_status({**FINISHED, "conditions": [condition]}).accepted
    assert jobs.patch_spec({"suspend": True}).accepted
    waiting = kubectl("wait", "tnj/one", "--for=condition=Complete", "--timeout=1s")
    assert waiting.returncode != 0


def explained(kubectl: Any, path: str) -> str:
    return " ".join(out(kubectl("explain", path)).split())


def test_explain_reads_like_documentation(kubectl: Any) -> None:
    assert "makes thumbnails of one picture" in explained(kubectl, "tnj")
    assert "Nothing in it changes after creation but suspend" in explained(kubectl, "tnj.spec")
    assert "at most 8" in explained(kubectl, "tnj.spec.outputs")
    fit = explained(kubectl, "tnj.spec.outputs.fit")
    assert "ENUM: cover contain inside outside fill" in fit
    assert "cuts what does not fit" in fit
    assert "<string> -required-" in explained(kubectl, "tnj.spec.source")
    assert "Written by the operator only" in explained(kubectl, "tnj.status")
    assert "outputs" in explained(kubectl, "tnj.status")


def test_a_misspelt_field_is_an_error_for_kubectl(jobs: Any, kubectl: Any) -> None:
    manifest = MANIFEST.format(name="one", namespace=jobs.namespace) + "  outptus: []\n"
    done = kubectl("apply", "-f", "-", stdin=manifest)
    assert done.returncode != 0
    assert 'unknown field "spec.outptus"' in done.stderr


def test_a_refusal_names_field_and_reason(apply: Any, kubectl: Any) -> None:
    apply("one")
    done = kubectl("patch", "tnj", "one", "--type=merge", "-p", '{"spec": {"priority": "bulk"}}')
    assert done.returncode != 0
    assert "spec is immutable, but for suspend and cancel" in done.stderr


def test_cancel_as_the_readme_has_it(apply: Any, kubectl: Any) -> None:
    apply("one")
    out(kubectl("patch", "tnj", "one", "--type=merge", "-p", '{"spec": {"cancel": true}}'))
    assert out(kubectl("get", "tnj", "one", "-o", "jsonpath={.spec.cancel}")) == "true"


def test_describe(apply: Any, jobs: Any, kubectl: Any) -> None:
    apply("one")
    assert jobs.patch_status(FINISHED).accepted
    text = out(kubectl("describe", "tnj", "one"))
    assert "Reason:" in text
    assert "Rendered" in text
