"""What an admin says of workers' pods, where they run and as whom: read from a setting, for worker_job.py."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

# Fields of a pod's specification that may be said, and their types; what a worker may do is not among them.
_PLACEMENT: Final[Mapping[str, type]] = {
    "nodeSelector": dict,
    "tolerations": list,
    "affinity": dict,
    "priorityClassName": str,
    "runtimeClassName": str,
}
_KNOWN: Final = {"annotations", "securityContext", *_PLACEMENT}


def _security_context() -> dict[str, Any]:
    """What the Pod Security Standard "restricted" asks for, and the images' own user."""
    return {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@dataclass(frozen=True, slots=True)
class WorkerPod:
    """Parts of the pod's template, in Kubernetes' own words."""

    annotations: Mapping[str, str] = field(default_factory=dict)
    security_context: Mapping[str, Any] = field(default_factory=_security_context)
    placement: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a JSON object of fields of a pod's specification, and `annotations`.

        Raises ValueError with what is wrong, which whoever reads the setting puts its name before.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("must be JSON") from None
        if not isinstance(document, dict):
            raise ValueError("must be a JSON object")  # noqa: TRY004 - the text is wrong, not its type
        if unknown := sorted(document.keys() - _KNOWN):
            raise ValueError(f"may not say {', '.join(unknown)}, only {', '.join(sorted(_KNOWN))}")
        for name, kind in {**_PLACEMENT, "annotations": dict, "securityContext": dict}.items():
            if name in document and not isinstance(document[name], kind):
                raise ValueError(f"{name} must be {_NAMES[kind]}")
        security = document.get("securityContext", _security_context())
        if security.get("runAsNonRoot") is not True:
            raise ValueError("securityContext must have runAsNonRoot: true")
        return cls(
            annotations=document.get("annotations", {}),
            security_context=security,
            placement={name: document[name] for name in _PLACEMENT if document.get(name)},
        )


_NAMES: Final[Mapping[type, str]] = {dict: "an object", list: "an array", str: "a text"}
