"""Pictures made here, and a `render` that works on bytes, for the tests of the worker."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.pipeline import Rendered, Wanted, render
from thumbnails_worker.render.resize import Resize, load_cykooz, resize_with_pillow

CYKOOZ = load_cykooz()


@pytest.fixture(params=["pillow", "cykooz"])
def resize(request: pytest.FixtureRequest) -> Resize:
    """Each implementation of the port."""
    if request.param == "pillow":
        return resize_with_pillow
    if CYKOOZ is None:
        pytest.skip("cykooz.resizer has no wheel for this machine")
    return CYKOOZ


@pytest.fixture(name="render")
def render_fixture() -> Callable[..., Rendered]:
    """`render(data, format=..., limits=..., **output)`: one thumbnail of these bytes."""

    def render_bytes(
        data: bytes,
        format: Format = Format.AUTO,  # noqa: A002 - the word of the contract
        limits: Limits | None = None,
        available_bytes: int | None = None,
        resize: Resize = CYKOOZ or resize_with_pillow,
        **output: Any,
    ) -> Rendered:
        wanted = Wanted(Output(**(output or {"width": 100, "height": 100})), format)
        return render(io.BytesIO(data), data, [wanted], limits or Limits(), resize, available_bytes)

    return render_bytes


@pytest.fixture
def thumbnail(render: Callable[..., Rendered]) -> Callable[..., Image.Image]:
    """The same, decoded again: a Pillow image with its file's info."""

    def thumbnail_of(data: bytes, format: Format = Format.PNG, **options: Any) -> Image.Image:  # noqa: A002
        image = Image.open(io.BytesIO(render(data, format, **options).pictures[0].data))
        image.load()
        return image

    return thumbnail_of


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """A Pillow image as a file: `encode(image, "JPEG", **save_options)`."""

    def encode_image(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002
        file = io.BytesIO()
        image.save(file, format, **options)
        return file.getvalue()

    return encode_image


@pytest.fixture
def quarters() -> Callable[..., Image.Image]:
    """A picture whose quarters are red, green, blue and white, read as a page is."""

    def make(width: int = 200, height: int = 120) -> Image.Image:
        image = Image.new("RGB", (width, height))
        half = (width // 2, height // 2)
        for colour, corner in (
            ("red", (0, 0)),
            ("lime", (half[0], 0)),
            ("blue", (0, half[1])),
            ("white", half),
        ):
            image.paste(colour, (*corner, corner[0] + half[0], corner[1] + half[1]))
        return image

    return make


@pytest.fixture
def close() -> Callable[..., bool]:
    """Whether two pixels differ by no more than `by` in each channel."""

    def compare(one: Any, other: Any, by: int = 12) -> bool:
        return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))

    return compare
