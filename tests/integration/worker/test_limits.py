"""What a worker refuses by itself, since nobody else would say why."""

import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits


def test_a_thumbnail_with_too_many_bytes_is_not_sent(operator: Any, start: Callable[..., Any]) -> None:
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, "PNG")
    outputs = [Output(name="large", width=200, height=200)]
    start()
    operator.add("one", file.getvalue(), outputs, Format.TIFF, limits=Limits(output_bytes=1000))
    result = operator.result("one")
    assert (result.error.reason, result.retry) == ("OutputTooLarge", False)
    assert "1000" in result.error.message
    assert operator.thumbnails == {}
