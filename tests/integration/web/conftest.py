"""A real browser: Chromium, wherever `THUMBNAILS_TEST_CHROMIUM` or the PATH has it."""

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

PATIENCE_MILLISECONDS = 60_000
ELSEWHERE = "thumbnails.test"
# A browser logs each answer that is no success, also those that a page asks for on purpose.
EXPECTED_ANSWERS = re.compile(
    r"status of (401|403|404|413|415|429|500|503)|ERR_(FAILED|INTERNET_|CONNECTION_)"
)


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
        # A name that is not this machine's to a browser: over plain HTTP it does less for such a page.
        elsewhere = f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox", elsewhere])
        yield browser
        browser.close()


@pytest.fixture
def elsewhere() -> Callable[[str], str]:
    """A function that gives the address of a service on this machine a name as in a network."""
    return lambda url: re.sub("//[^:/]+", f"//{ELSEWHERE}", url)


@pytest.fixture
def open_page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """A function that opens the page; what its scripts complain about fails the test at its end."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def complain(message: Any) -> None:
        if message.type == "error" and not EXPECTED_ANSWERS.search(message.text):
            complaints.append(message.text)

    def open_page(url: str = "", path: str = "/", context: Any = None, **options: Any) -> Any:
        url = url or request.getfixturevalue("service").url
        if context is None:
            context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
            context.set_default_timeout(PATIENCE_MILLISECONDS)
            contexts.append(context)
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url + path)
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
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", (9, 6), random.randbytes(162)).resize(size).save(path)
        return path

    return make


@pytest.fixture
def card_of() -> Callable[[Any, str], Any]:
    """A function that finds the card of a picture in the gallery."""

    def card_of(page: Any, name: str) -> Any:
        return page.locator("li.picture:visible").filter(
            has=page.get_by_role("heading", name=name, exact=True)
        )

    return card_of


@pytest.fixture
def upload(card_of: Callable[[Any, str], Any]) -> Callable[..., None]:
    """A function that uploads files with the page, and returns when their thumbnails are there."""

    def upload(page: Any, *files: Path) -> None:
        page.set_input_files("#files", files)
        page.locator("#start").click()
        for file in files:
            card_of(page, file.name).get_by_role("link", name="Download").first.wait_for()

    return upload


@pytest.fixture
def hear() -> Callable[[Any], Callable[[str], None]]:
    """A function that listens to what screen readers are told, and gives one that waits for words of it."""

    def hear(page: Any) -> Callable[[str], None]:
        page.evaluate("""() => {
            window.heard = [];
            const line = document.getElementById("announcer");
            new MutationObserver(() => window.heard.push(line.textContent)).observe(line, {childList: true});
        }""")

        def wait_for(words: str) -> None:
            page.wait_for_function("words => window.heard.some((line) => line.includes(words))", arg=words)

        return wait_for

    return hear
