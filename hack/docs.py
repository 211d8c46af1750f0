"""Writes docs/errors.md from the one tree of errors; a test holds the page to it."""

import inspect
from pathlib import Path

from thumbnails_api.problems import problem_type
from thumbnails_contract.errors import RenderError, SourceError, ThumbnailsError, Unavailable, error_classes

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"

HEAD = """\
# Errors

Every error that a client, a condition of a ThumbnailJob or a webhook can name. `reason` never changes its
meaning. Made from `crds/thumbnails_contract/errors.py` by `make docs`.

An HTTP error is a problem document (RFC 9457, `application/problem+json`):

```json
{"type": "urn:thumbnails:problem:source-too-large", "title": "The picture is over a limit", "status": 422,
 "detail": "The picture has 4000000000 pixels; at most 128000000 are allowed.", "reason": "SourceTooLarge"}
```

A job that failed says the same in `error` of its JSON, in `status.error` and in the condition `Failed`.
*Retry*: whether the very same request, or picture, may succeed later.
"""

Group = tuple[str, type[ThumbnailsError], str]
GROUPS: tuple[Group, ...] = (
    ("Requests", ThumbnailsError, "What is wrong with the request itself."),
    ("Pictures", SourceError, "What is wrong with the picture: another try will not help."),
    ("Rendering", RenderError, "How a job can end that began."),
    ("Availability", Unavailable, "Nothing was stored; send the same request again after `Retry-After`."),
)


def page() -> str:
    """The page, whole."""
    left = dict(sorted(error_classes().items()))
    sections = []
    for title, root, text in reversed(GROUPS):
        members = [left.pop(reason) for reason, cls in list(left.items()) if issubclass(cls, root)]
        # Answers of the two stores are for our own code: clients never see them.
        members = [cls for cls in members if cls.__module__.startswith("thumbnails_contract")]
        rows = [
            f"| `{cls.reason}` | {cls.status} | {_yes_no(cls.retryable)} | {_first_line(cls)} |"
            for cls in members
        ]
        table = "\n".join(["| reason | HTTP | retry | when |", "| --- | --- | --- | --- |", *rows])
        sections.append(f"## {title}\n\n{text}\n\n{table}\n")
    example = problem_type("SourceTooLarge")
    assert example in HEAD
    return HEAD + "\n" + "\n".join(reversed(sections))


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").splitlines()[0]


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    PAGE.write_text(page())
