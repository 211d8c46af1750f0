"""docs/formats.md, made from the table of kinds: what comes in, what comes out, within which limits."""

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from thumbnails_contract.wire import Limits
from thumbnails_worker.render import attention

from .bombs import BOMBS
from .kind import Kind
from .table import KINDS

PAGE: Final = Path(__file__).parents[2] / "docs" / "formats.md"

_HEAD: Final = """\
# Formats

What may be sent, and what a thumbnail of it looks like. Made by `make docs` from the table in
`hack/formats/`: `make test` writes each of these files, renders it, and compares the result with the
pixels that the file was made from, with libvips (pyvips) reading the same file, and with what another
reader finds in the thumbnail.

A format is decided by a file's first bytes, never by its name or its declared type.

| in | out (`format`) |
| --- | --- |
| JPEG, PNG and APNG, WebP, GIF, TIFF and BigTIFF | `jpeg`, `png`, `webp`, `avif`, `gif`, `tiff`, or `auto` |

- **`auto`** keeps the original's format, so that animation and transparency live. TIFF, which browsers
  do not show, becomes JPEG, or PNG when something in it is transparent.
- **Animations** stay animated in GIF, WebP, PNG (APNG) and AVIF, each frame as a viewer shows it, with
  its time and the number of plays; `animated: false`, JPEG and TIFF take the first frame. A TIFF of
  several pages is its first page.
- **Orientation** (EXIF in JPEG, WebP, PNG; the tag of TIFF) is applied, and not written.
- **Colours** are brought to sRGB by the embedded profile, perceptually. A profile that is broken or
  made for another kind of picture is ignored. No profile is written: what is in the thumbnail is sRGB.
- **Transparency** is kept where the format can, or laid on `background` (white without one).
- **Metadata** (place, camera, texts, thumbnails) is not written, unless `metadata: keep` asks for EXIF.
- **Damaged files**: one that lacks pixels fails with `CorruptSource` instead of becoming half a
  picture; with `THUMBNAILS_TRUNCATED=render`, what is there of it is rendered. One whose metadata
  alone is damaged, or that has something behind its end, is rendered.
"""

_ATTENTION: Final = """\
## The interesting part

`position: attention` with `fit: cover` keeps what is worth seeing. How that is found, in the words of
the code (`worker/thumbnails_worker/render/attention.py`):

"""

_LIMITS: Final = """\
## Limits

Each is a setting of the operator ([settings.md](settings.md)), is checked as early as it can be known,
mostly from a file's header, and fails a job with a message that says the number and the limit.

"""

# By the field of Limits: the setting, the reason of a refusal, when it is checked, and why there is a limit.
_LIMIT_ROWS: Final = {
    "source_bytes": (
        "MAX_SOURCE_BYTES",
        "SourceTooLarge",
        "while the original is fetched",
        "an original is held in memory",
    ),
    "pixels": (
        "MAX_PIXELS",
        "SourceTooLarge",
        "by the header",
        "memory and time go with width times height; phones make 108 megapixels",
    ),
    "frames": ("MAX_FRAMES", "SourceTooLarge", "by the structure", "each frame costs time, however small"),
    "frame_pixels": (
        "MAX_FRAME_PIXELS",
        "SourceTooLarge",
        "by the header",
        "of an animation, whose every frame is decoded onto all of it",
    ),
    "total_pixels": (
        "MAX_TOTAL_PIXELS",
        "SourceTooLarge",
        "by the structure",
        "frames times width times height: the time of an animation",
    ),
    "scans": (
        "MAX_SCANS",
        "SourceTooLarge",
        "by the structure",
        "a JPEG decoder goes through the picture for each scan, even an empty one",
    ),
    "parts": (
        "MAX_PARTS",
        "SourceTooLarge",
        "by the structure",
        "chunks, strips, tiles and blocks of a file: each costs time, however little it holds",
    ),
    "output_side": (
        "MAX_OUTPUT_SIDE",
        "OutputTooLarge",
        "by the header",
        "width or height of a thumbnail: memory",
    ),
    "output_pixels": (
        "MAX_OUTPUT_PIXELS",
        "OutputTooLarge",
        "by the header",
        "of a thumbnail with all its frames: the time of writing it",
    ),
    "output_bytes": (
        "MAX_THUMBNAIL_BYTES",
        "OutputTooLarge",
        "when it is written",
        "of one thumbnail: what the object store is told to take",
    ),
    "cpu_seconds": (
        "RENDER_CPU_SECONDS",
        "DeadlineExceeded",
        "by the kernel",
        "whatever the other limits did not foresee",
    ),
    "wall_seconds": (
        "RENDER_WALL_SECONDS",
        "DeadlineExceeded",
        "by the supervisor",
        "a renderer that waits for ever",
    ),
}

_MEMORY_LIMIT: Final = """
A worker's memory (`THUMBNAILS_WORKER_MEMORY_MIB`) less a reserve bounds each renderer. What decoding
needs at least is computed from the header, and refused with `SourceTooLarge` when it does not fit; what
turns out only later to need more fails with `OutOfMemory`. Either way nobody else's picture is touched.
"""

_BOMBS: Final = """\
## Files that ask for much

Small files that claim to be large: each ends as said, with little memory, long before a deadline
(`tests/conformance/render/test_bombs.py`). `make fuzz` renders 50,000 damaged files of all kinds on top
of that: a picture or a reason each, never a dead or stuck renderer, and never a thumbnail that depends
on what came before.

| file | asks for | ends with |
| --- | --- | --- |
"""

_DIFFERENCES: Final = """\
## Where libvips sees something else

Two renderers that agree may both be wrong, and some files are read differently on purpose:

| kind | why |
| --- | --- |
"""

_MEMORY_SECTION: Final = re.compile(r"<!-- begin: memory -->\n.*?<!-- end: memory -->\n", re.DOTALL)


def page(before: str) -> str:
    """The page, whole. `before`: the page as it is, of which the measured section `memory` is kept."""
    memory = _MEMORY_SECTION.search(before)
    parts = [
        _HEAD,
        _ATTENTION + _quoted(attention.__doc__ or ""),
        _LIMITS + "\n".join(_limits()) + "\n" + _MEMORY_LIMIT,
        *([memory.group()] if memory else []),
        *(_format(name) for name in dict.fromkeys(kind.format for kind in KINDS)),
        _DIFFERENCES + "".join(f"| {kind.name} | {kind.differs} |\n" for kind in KINDS if kind.differs),
        _BOMBS + "".join(f"| {bomb.name} | {bomb.what} | {_end(bomb.refused)} |\n" for bomb in BOMBS),
    ]
    return "\n".join(parts)


def _quoted(text: str) -> str:
    return "".join(f"> {line}".rstrip() + "\n" for line in inspect.cleandoc(text).splitlines())


def _limits() -> Iterator[str]:
    yield "| limit | default | reason | checked | why |"
    yield "| --- | --- | --- | --- | --- |"
    limits = Limits()
    for name in Limits.__slots__:
        if name == "render_truncated":  # no limit: said in words above
            continue
        setting, reason, checked, why = _LIMIT_ROWS[name]
        yield f"| `THUMBNAILS_{setting}` | {getattr(limits, name):,} | `{reason}` | {checked} | {why} |"


def _format(name: str) -> str:
    kinds = [kind for kind in KINDS if kind.format == name]
    return (
        f"## {name}\n\n| file | in it | thumbnail (`auto`) |\n| --- | --- | --- |\n"
        + "\n".join(_rows(kinds))
        + "\n"
    )


def _rows(kinds: Iterable[Kind]) -> Iterator[str]:
    for kind in kinds:
        notes = f" {kind.note}" if kind.note else ""
        yield f"| {kind.name.partition(' ')[2]} | {kind.what} | {_out(kind)}{notes} |"


def _out(kind: Kind) -> str:
    if kind.refused:
        return f"`{kind.refused}`."
    format_, mode = kind.out.split()
    words = {"L": "grey", "LA": "grey, alpha", "RGB": "RGB", "RGBA": "RGB, alpha"}[mode]
    name = {"WEBP": "WebP"}.get(format_, format_)
    if not kind.milliseconds:
        return f"{name}, {words}."
    times = "/".join(map(str, kind.milliseconds))
    plays = "for ever" if kind.plays == 0 else "once" if kind.plays == 1 else f"{kind.plays:,} times"
    return f"{name}, {words}; {kind.frames} frames of {times} ms, {plays}."


def _end(refused: str) -> str:
    return f"`{refused}`" if refused else "a picture, or a reason"
