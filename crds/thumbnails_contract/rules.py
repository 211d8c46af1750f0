"""The CEL rules of the CRD, each beside its mirror in Python: what a store without CEL checks.

`tests/unit/contract` proves that the list is complete and that each mirror agrees with its CEL rule,
evaluated by a CEL implementation, on generated documents.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Value = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where it stands (`*` for each item of a list), its CEL text, and the same in Python.

    `holds(self, old_self)`; a transition rule is only asked on updates, as `oldSelf` demands.
    """

    path: tuple[str, ...]
    cel: str
    message: str
    transition: bool
    holds: Callable[[Value, Value], bool]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, and where: `spec.outputs[0]`."""

    path: str
    message: str


def _same(*names: str) -> Callable[[Value, Value], bool]:
    return lambda new, old: all(new.get(name) == old.get(name) for name in names)


def _outputs(spec: Value) -> dict[str, Any]:
    # CEL compares lists of the types map and set without regard to their order.
    return {item["name"]: {**item, "formats": sorted(item["formats"])} for item in spec["outputs"]}


RULES: Final = (
    Rule(
        ("spec",),
        "self.account == oldSelf.account && self.source == oldSelf.source && self.outputs == oldSelf.outputs "
        "&& self.priority == oldSelf.priority",
        "spec is immutable, but for suspend and cancel",
        transition=True,
        holds=lambda new, old: (
            _same("account", "source", "priority")(new, old) and _outputs(new) == _outputs(old)
        ),
    ),
    Rule(
        ("spec",),
        "has(self.batch) == has(oldSelf.batch) && (!has(self.batch) || self.batch == oldSelf.batch)",
        "spec.batch is immutable",
        transition=True,
        holds=_same("batch"),
    ),
    Rule(
        ("spec",),
        "has(self.webhook) == has(oldSelf.webhook) "
        "&& (!has(self.webhook) || self.webhook == oldSelf.webhook)",
        "spec.webhook is immutable",
        transition=True,
        holds=_same("webhook"),
    ),
    Rule(
        ("spec",),
        "has(self.ttlSecondsAfterFinished) == has(oldSelf.ttlSecondsAfterFinished) "
        "&& (!has(self.ttlSecondsAfterFinished) "
        "|| self.ttlSecondsAfterFinished == oldSelf.ttlSecondsAfterFinished)",
        "spec.ttlSecondsAfterFinished is immutable",
        transition=True,
        holds=_same("ttlSecondsAfterFinished"),
    ),
    Rule(
        ("spec",),
        "!oldSelf.cancel || self.cancel",
        "spec.cancel cannot be taken back",
        transition=True,
        holds=lambda new, old: not old["cancel"] or bool(new["cancel"]),
    ),
    Rule(
        ("spec", "outputs", "*"),
        "has(self.width) || has(self.height)",
        "at least one of width and height is needed",
        transition=False,
        holds=lambda new, _: "width" in new or "height" in new,
    ),
    Rule(
        ("spec", "batch"),
        "self.index < self.size",
        "index must be less than size",
        transition=False,
        holds=lambda new, _: bool(new["index"] < new["size"]),
    ),
    Rule(
        ("spec", "batch"),
        "!has(self.jobs) || self.jobs <= self.size",
        "jobs must not be more than size",
        transition=False,
        holds=lambda new, _: bool("jobs" not in new or new["jobs"] <= new["size"]),
    ),
)


def violations(document: Value, old: Value | None = None) -> Iterator[Violation]:
    """The rules that a (defaulted, structurally valid) document breaks; `old` on updates."""
    for rule in RULES:
        if rule.transition and old is None:
            continue
        for path, value in _values(document, rule.path):
            old_value = _at(old, rule.path) if rule.transition else {}
            if not rule.holds(value, old_value):
                yield Violation(path, rule.message)


def _values(document: Any, path: tuple[str, ...], at: str = "") -> Iterator[tuple[str, Value]]:
    if not path:
        yield at, document
        return
    head, rest = path[0], path[1:]
    if head == "*":
        for index, item in enumerate(document):
            yield from _values(item, rest, f"{at}[{index}]")
    elif head in document:
        yield from _values(document[head], rest, f"{at}.{head}" if at else head)


def _at(document: Value | None, path: tuple[str, ...]) -> Value:
    value: Any = document or {}
    for name in path:
        value = value.get(name, {})
    return dict(value)
