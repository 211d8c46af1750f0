"""Draws the pictures of the page in docs/: the service as `make run` has it, Chromium, made-up landscapes.

THUMBNAILS_TEST_CHROMIUM, or the PATH, says where Chromium is.
"""

import io
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
PRESETS = '{"avatar": {"width": 96, "height": 96, "format": "webp"}}'
NAMES = ("harbour.jpg", "first snow.png", "evening.webp", "the long way home.jpg", "dunes.png", "lake.webp")
PATIENCE_SECONDS = 120


def landscape(seed: int, width: int = 1200, height: int = 900) -> Image.Image:
    """A sky, a sun and some ranges of hills."""
    chance = random.Random(seed)
    hue = seed * 67 % 360
    fade = Image.linear_gradient("L").resize((width, height))
    bands = (
        Image.new("L", fade.size, hue * 255 // 360),
        fade.point(lambda level: 190 - level // 2),
        fade.point(lambda level: 130 + level // 2),
    )
    image = Image.merge("HSV", bands).convert("RGB")
    draw = ImageDraw.Draw(image)
    x, y, radius = chance.randint(200, width - 200), chance.randint(150, 350), chance.randint(50, 90)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 244, 214))
    image = image.filter(ImageFilter.GaussianBlur(2))
    draw = ImageDraw.Draw(image)
    for layer in range(4):
        base, waves = height * (0.5 + layer * 0.13), [chance.uniform(1, 9) for _ in range(4)]
        ridge = [
            (px, base - sum(math.sin(px / width * wave * 3 + wave * seed) * 70 / wave for wave in waves))
            for px in range(0, width + 8, 8)
        ]
        shade = f"hsl({(hue + 30) % 360}, 35%, {46 - layer * 11}%)"
        draw.polygon([*ridge, (width, height), (0, height)], fill=shade)
    return image


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """Its URL."""
    environment = os.environ | {"PORT": "0", "THUMBNAILS_DATA": str(folder), "THUMBNAILS_PRESETS": PRESETS}
    with subprocess.Popen([sys.executable, "-m", "thumbnails_local"], env=environment) as process:
        try:
            endpoint, deadline = folder / "run" / "endpoint", time.monotonic() + PATIENCE_SECONDS
            while not endpoint.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the service did not start")
                time.sleep(0.1)
            yield endpoint.read_text().strip()
        finally:
            process.terminate()


def upload(page: Any, files: list[Path]) -> None:
    page.set_input_files("#files", files[:-1])
    page.locator("#start").click()
    page.locator(".picture .outputs li").nth(len(files) - 2).wait_for()
    page.locator(".group").wait_for(state="detached")
    page.set_input_files("#files", files[-1])
    page.wait_for_function("document.querySelector('#sizes img').naturalWidth > 0")
    page.wait_for_function("[...document.querySelectorAll('.picture img')].every((i) => i.naturalWidth > 0)")


def save(page: Any, name: str, width: int) -> None:
    page.evaluate("document.activeElement.blur()")
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.thumbnail((width, 2 * width), Image.Resampling.LANCZOS)
    shot.save(DOCS / name, quality=75, method=6)
    print(DOCS / name, f"{(DOCS / name).stat().st_size // 1024} KiB")


def main() -> None:
    """Both pictures."""
    binary = os.environ.get("THUMBNAILS_TEST_CHROMIUM") or shutil.which("chromium")
    if binary is None:
        raise SystemExit("needs Chromium: install it (apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="thumbnails-screenshots-") as scratch:
        files = []
        for seed, name in enumerate(NAMES, start=1):
            files.append(Path(scratch) / name)
            landscape(seed).save(files[-1])
        with service(Path(scratch) / "data") as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1200, "height": 1130})
            page.set_default_timeout(PATIENCE_SECONDS * 1000)
            page.goto(url)
            upload(page, files)
            save(page, "page.webp", 1200)
            phone = browser.new_page(
                viewport={"width": 390, "height": 844}, color_scheme="dark", device_scale_factor=2
            )
            phone.set_default_timeout(PATIENCE_SECONDS * 1000)
            phone.goto(url)
            phone.get_by_role("button", name="Details of").first.click()
            phone.wait_for_function("document.querySelector('dialog img').naturalWidth > 0")
            save(phone, "page-phone.webp", 585)
            browser.close()


if __name__ == "__main__":
    main()
