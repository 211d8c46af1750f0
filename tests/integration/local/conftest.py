"""Pictures that tell which one they are, for tests that kill and restart the service."""

import io
from collections.abc import Callable

import pytest
from PIL import Image


@pytest.fixture
def picture() -> Callable[[int], bytes]:
    """A PNG of one colour that its number tells, and with different bytes for each number."""

    def make(number: int) -> bytes:
        colour = (number * 40 % 256, number // 6 * 40 % 256, number // 36 * 40 % 256)
        file = io.BytesIO()
        Image.new("RGB", (640 + number, 480), colour).save(file, "PNG")
        return file.getvalue()

    return make
