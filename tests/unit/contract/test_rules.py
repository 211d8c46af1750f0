"""Every CEL rule of the CRD has a mirror in Python, and both say the same of any document."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import celpy
import pytest
from celpy.adapter import json_to_cel
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbnails_contract.rules import RULES, Rule, violations
from thumbnails_contract.spec import Batch, Fit, Format, Output, Priority, Spec, Webhook


def rules_of(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield at, " ".join(rule["rule"].split()), rule["message"]
    for name, inner in schema.get("properties", {}).items():
        yield from rules_of(inner, (*at, name))
    if "items" in schema:
        yield from rules_of(schema["items"], (*at, "*"))


def test_the_list_is_complete(schema: dict[str, Any]) -> None:
    assert set(rules_of(schema)) == {(rule.path, rule.cel, rule.message) for rule in RULES}


def test_transition_rules_are_those_that_speak_of_the_old_value() -> None:
    assert [rule.transition for rule in RULES] == ["oldSelf" in rule.cel for rule in RULES]


def optional(values: Any) -> Any:
    return st.none() | values


outputs = st.builds(
    Output,
    name=st.sampled_from(["a", "b"]),
    width=optional(st.integers(1, 3)),
    height=optional(st.integers(1, 3)),
    fit=st.sampled_from(Fit),
    formats=st.sampled_from([(Format.AUTO,), (Format.WEBP, Format.JPEG)]),
)
specs = st.builds(
    Spec,
    object_key=st.sampled_from(["sources/ns/a", "sources/ns/b"]),
    account=st.sampled_from(["default", "acme"]),
    outputs=st.lists(outputs, min_size=1, max_size=2, unique_by=lambda output: output.name).map(tuple),
    batch=optional(
        st.builds(Batch, st.just("b"), st.integers(0, 2), st.integers(1, 2), optional(st.integers(1, 3)))
    ),
    webhook=optional(st.builds(Webhook, st.sampled_from(["https://a/", "https://b/"]))),
    priority=st.sampled_from(Priority),
    suspend=st.booleans(),
    cancel=st.booleans(),
    ttl_seconds_after_finished=optional(st.integers(0, 1)),
)


@st.composite
def updates(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """An old spec and a new one: another, or the same with some fields taken from another."""
    old, other = draw(specs).to_manifest(), draw(specs).to_manifest()
    new = copy.deepcopy(old)
    for name in draw(st.sets(st.sampled_from(sorted(set(old) | set(other))))):
        new.pop(name, None)
        if name in other:
            new[name] = other[name]
    return {"spec": old}, {"spec": new}


def values(document: Any, path: tuple[str, ...]) -> list[Any]:
    for index, name in enumerate(path):
        if name == "*":
            return [value for item in document for value in values(item, path[index + 1 :])]
        if name not in document:
            return []
        document = document[name]
    return [document]


class Cel:
    """A CEL implementation that is not ours, with one program a rule."""

    def __init__(self, rule: Rule) -> None:
        environment = celpy.Environment()
        # Old versions of the evaluator know no `oldSelf` by itself: both are plain variables to it.
        self.program = environment.program(environment.compile(rule.cel))

    def holds(self, new: Any, old: Any) -> bool:
        return bool(self.program.evaluate({"self": json_to_cel(new), "oldSelf": json_to_cel(old)}))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: re.sub(r"\W+", "-", rule.message))
def test_each_mirror_agrees_with_its_cel_rule(rule: Rule) -> None:
    cel = Cel(rule)

    @settings(max_examples=60)
    @given(updates())
    def agree(update: tuple[dict[str, Any], dict[str, Any]]) -> None:
        old, new = update
        old_values = values(old, rule.path) if rule.transition else None
        for index, value in enumerate(values(new, rule.path)):
            old_value = old_values[index] if old_values else {}
            in_order = sorted_outputs(value), sorted_outputs(old_value)
            assert rule.holds(value, old_value) == cel.holds(*in_order)

    agree()


def sorted_outputs(value: Any) -> Any:
    """With lists of the types map and set in one order: Kubernetes' CEL compares them without order."""
    if isinstance(value, dict) and "outputs" in value:
        return {**value, "outputs": sorted(value["outputs"], key=lambda output: output["name"])}
    return value


def document(**changes: Any) -> dict[str, Any]:
    spec = Spec(object_key="sources/ns/a").to_manifest()
    spec.update(changes)
    return {"spec": {key: value for key, value in spec.items() if value is not None}}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({}, {}, []),
        ({}, {"suspend": True}, []),
        ({}, {"cancel": True}, []),
        ({"cancel": True}, {"cancel": False}, ["spec.cancel cannot be taken back"]),
        ({}, {"account": "other"}, ["spec is immutable, but for suspend and cancel"]),
        ({}, {"webhook": {"url": "https://a/"}}, ["spec.webhook is immutable"]),
        ({"webhook": {"url": "https://a/"}}, {}, ["spec.webhook is immutable"]),
        ({}, {"ttlSecondsAfterFinished": 1}, ["spec.ttlSecondsAfterFinished is immutable"]),
        ({}, {"batch": {"id": "b", "index": 0, "size": 1}}, ["spec.batch is immutable"]),
    ],
)
def test_updates(old: dict[str, Any], new: dict[str, Any], found: list[str]) -> None:
    assert [item.message for item in violations(document(**new), document(**old))] == found


def test_new_documents() -> None:
    broken = document(outputs=[{"name": "a", "width": 1}, {"name": "b"}], batch={"index": 1, "size": 1})
    assert [(item.path, item.message) for item in violations(broken)] == [
        ("spec.outputs[1]", "at least one of width and height is needed"),
        ("spec.batch", "index must be less than size"),
    ]
    batch = {"index": 0, "size": 1, "jobs": 2}
    assert [item.message for item in violations(document(batch=batch))] == ["jobs must not be more than size"]


def test_the_order_of_a_map_list_does_not_matter() -> None:
    both = Output(name="a", width=1).to_manifest(), Output(name="b", width=1).to_manifest()
    assert not list(violations(document(outputs=list(both)), document(outputs=list(reversed(both)))))
