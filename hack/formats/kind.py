"""One kind of file: what is in it, what a viewer of it sees, and what the renderer makes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Rows, columns, and 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels in sRGB, 8 bits each.
Pixels = NDArray[np.uint8]

# Mean differences, 0..255, over the whole thumbnail and over its worst tile of 8 x 8 pixels.
EXACT: Final = (1.0, 6.0)
LOSSY: Final = (2.5, 12.0)
COARSE: Final = (6.0, 30.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table.

    `shows` gives the frames that a viewer sees, upright, whatever way the file stores them; it is not made
    from the file. `out` is what `format: auto` gives, as "format mode" with the mode of Pillow; or `refused`
    is the reason of the refusal. `differs` says why libvips, the independent renderer, sees something else,
    or cannot read the file: it is then not asked.
    """

    name: str
    what: str
    make: Callable[[], bytes]
    shows: Callable[[], Sequence[Pixels]] | None = None
    out: str = ""
    refused: str = ""
    within: tuple[float, float] = EXACT  # of what it shows
    within_vips: tuple[float, float] = LOSSY
    milliseconds: tuple[int, ...] = ()
    plays: int = 0
    differs: str = ""
    note: str = ""

    @property
    def format(self) -> str:
        """The first word of the name."""
        return self.name.partition(" ")[0]

    @property
    def frames(self) -> int:
        """Of the thumbnail."""
        return max(1, len(self.milliseconds))


def kinds_of(format_: str, **usual: Any) -> Callable[..., Kind]:
    """`kind(name, what, make, **fields)` for one format, with the usual fields of its kinds."""

    def kind(name: str, what: str, make: Callable[[], bytes], **fields: Any) -> Kind:
        all_fields = fields if "refused" in fields else usual | fields
        return Kind(f"{format_} {name}", what, make, **all_fields)

    return kind


def still(pixels: Callable[[], Pixels]) -> Callable[[], Sequence[Pixels]]:
    """`shows` of a file with one picture."""
    return lambda: [pixels()]


def given(function: Callable[..., Any], *args: Any, **options: Any) -> Callable[[], Any]:
    """The call, to be made later."""
    return lambda: function(*args, **options)
