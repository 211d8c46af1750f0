"""docs/client.md: its example does what it says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

PAGE = Path(__file__).parents[3] / "docs" / "client.md"


def test_the_example_works(service: Any, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    Image.linear_gradient("L").resize((400, 300)).save(tmp_path / "photo.jpg")
    (tmp_path / "example.py").write_text(example.replace("http://localhost:3000", service.url))
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("complete ['/thumbnails/")
    assert done.stdout.splitlines()[-1] == "404 JobNotFound"
    with Image.open(tmp_path / "photo-320.webp") as saved:
        assert (saved.format, saved.size) == ("WEBP", (320, 240))
