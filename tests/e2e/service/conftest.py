"""Pictures for the tests of the installed service: different each time, so that none is cached."""

import io
import os
from collections.abc import Callable

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo() -> Callable[..., bytes]:
    """A function that makes a file of four random colours, with some grain."""

    def make(width: int = 320, height: int = 240, format_: str = "JPEG", mode: str = "RGB") -> bytes:
        small = Image.frombytes(mode, (2, 2), os.urandom(4 * len(mode)))
        picture = small.resize((width, height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        picture.save(file, format_)
        return file.getvalue()

    return make
