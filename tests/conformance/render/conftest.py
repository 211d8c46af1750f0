"""The way to the table of kinds (`hack.formats`), and the renderer that is judged."""

import io
import mmap
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest

from thumbnails_contract.spec import Fit, Format, Metadata, Output
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.pipeline import Rendered, Wanted
from thumbnails_worker.render.pipeline import render as render_pipeline
from thumbnails_worker.render.resize import load_cykooz, resize_with_pillow

sys.path.append(str(Path(__file__).parents[3]))  # its namespace packages: hack

RESIZE = load_cykooz() or resize_with_pillow
SIDE = 48


@cache
def _render(
    data: bytes, formats: Sequence[Format], width: int | None, height: int | None, metadata: Metadata
) -> Rendered:
    output = Output(width=width, height=height, fit=Fit.FILL, metadata=metadata)
    wanted = [Wanted(output, format_) for format_ in formats]
    with mmap.mmap(-1, len(data)) as mapped:  # as a renderer has it: to be closed when an error was raised
        mapped.write(data)
        return render_pipeline(io.BytesIO(data), mapped, wanted, Limits(), RESIZE)


@pytest.fixture(scope="session")
def render() -> Callable[..., Rendered]:
    """`render(data, *formats, wide=True)`: thumbnails of 48 pixels along the longer side."""

    def render_bytes(
        data: bytes, *formats: Format, wide: bool = True, metadata: Metadata = Metadata.STRIP
    ) -> Rendered:
        return _render(data, formats, SIDE if wide else None, None if wide else SIDE, metadata)

    return render_bytes
