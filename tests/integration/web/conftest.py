"""A real browser: Chromium, wherever `THUMBNAILS_TEST_CHROMIUM` or the PATH has it."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

PATIENCE_MILLISECONDS = 60_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One for all tests of a process; skipped where there is none."""
    binary = os.environ.get("THUMBNAILS_TEST_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if binary is None:
        pytest.skip("needs Chromium: install it (apt-get install chromium), or set THUMBNAILS_TEST_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, service: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens the page; what its scripts complain about fails the test at its end."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def complain(message: Any) -> None:
        # A browser logs each 404, also that of a gallery that is empty.
        if message.type == "error" and "404" not in message.text and "415" not in message.text:
            complaints.append(message.text)

    def open_page(url: str = "", path: str = "/", **options: Any) -> Any:
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((url or service.url) + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a file that no other test has."""

    def make(name: str = "picture.png", size: tuple[int, int] = (90, 60)) -> Path:
        path = tmp_path / name
        Image.frombytes("RGB", (9, 6), random.randbytes(162)).resize(size).save(path)
        return path

    return make
