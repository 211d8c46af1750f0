"""The page for everybody: by keyboard, by ear, large, small, light, dark, still. axe finds nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.xdist_group("page-accessibility")

BY = "\N{MULTIPLICATION SIGN}"
Open = Callable[..., Any]
Make = Callable[..., Path]


def check(page: Any) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])  # 320: a phone, or 1280 at 400 % (WCAG 1.4.10)
def test_axe_finds_nothing_at_any_width(
    open_page: Open, picture: Make, upload: Any, tmp_path: Path, card_of: Any, scheme: str, width: int
) -> None:
    page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(246, 247, 249)" if scheme == "light" else "rgb(20, 23, 26)")
    name = f"a-rather-long-name-of-a-picture-that-has-to-wrap-{scheme}-{width}.png"
    upload(page, picture(name))
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#files", tmp_path / "notes.txt")
    page.locator("#start").click()
    page.locator(".transfer.bad").first.wait_for()
    page.set_input_files("#files", [picture(), picture("other.png")])
    page.get_by_text(f"320 {BY} 240 pixels").wait_for()
    page.get_by_text("More options").click()
    page.get_by_role("button", name="Add a size").click()
    check(page)
    card_of(page, name).get_by_role("button", name="Details of").click()
    page.get_by_role("dialog").get_by_role("button", name="Copy the link").click()
    page.locator(".toast").wait_for()
    check(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_where_a_key_is_asked_for(open_page: Open, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    page.route(
        "**/events",
        lambda route: route.fulfill(status=401, json={"detail": "This key is not known."}),
    )
    page.reload()
    page.get_by_label("API key").fill("wrong")
    page.locator("#sign-in").get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    check(page)


def test_all_of_it_with_a_keyboard(open_page: Open, picture: Make, card_of: Any) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    while page.evaluate("document.activeElement.id") != "files":
        page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(picture("keys.png"))
    page.wait_for_function("document.activeElement.id === 'start'")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'files'")
    card = card_of(page, "keys.png")
    card.get_by_role("link", name="Download").wait_for()
    card.get_by_role("button", name="Details of").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="keys.png").wait_for()
    for _ in range(12):  # the focus stays in the dialog, or goes to the browser itself
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('dialog, body').matches('dialog, body')")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.ariaLabel") == "Details of keys.png"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Delete keys.png"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Undo", "no need to look for it"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.ariaLabel") == "Delete keys.png"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.keyboard.press("Enter")  # Dismiss
    assert page.evaluate("document.activeElement !== document.body"), "the focus is not lost"


def test_focus_goes_on_where_something_was_taken_away(open_page: Open, picture: Make) -> None:
    page = open_page()
    page.set_input_files("#files", [picture("first.png"), picture("second.png"), picture("third.png")])
    page.get_by_role("button", name="Next picture").focus()
    page.keyboard.press("Enter")
    page.get_by_text("2 of 3", exact=True).wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("3 of 3", exact=True).wait_for()
    assert page.evaluate("document.activeElement.ariaLabel") == "Previous picture"
    page.get_by_role("button", name="Add a size").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove size 2").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.name") == "width"
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "files"


def test_what_happens_is_told(open_page: Open, picture: Make, upload: Any, hear: Any, card_of: Any) -> None:
    page = open_page()
    said = hear(page)
    upload(page, picture("spoken.png"))
    said("1 picture chosen.")
    said("Uploading 1 picture.")
    said("spoken.png: Done.")
    card_of(page, "spoken.png").get_by_role("button", name="Delete").click()
    said("spoken.png is deleted.")
    page.get_by_role("button", name="Undo").click()


def test_nothing_moves_for_whoever_wants_that(open_page: Open, picture: Make, card_of: Any) -> None:
    page = open_page(reduced_motion="reduce")
    page.route("**/events", lambda _route: None)  # so that it goes on waiting
    page.set_input_files("#files", picture("still.png"))
    page.locator("#start").click()
    frame = card_of(page, "still.png").locator(".frame.waiting")
    frame.wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
    bar = page.locator(".transfer progress")
    if bar.count():
        assert bar.first.evaluate("bar => getComputedStyle(bar).visibility") == "hidden"


def test_text_twice_as_large_fits(open_page: Open, picture: Make, upload: Any, card_of: Any) -> None:
    """WCAG 1.4.4: 200 %, by the size of the text alone."""
    page = open_page(viewport={"width": 640, "height": 700})
    upload(page, picture("large-text.png"))
    page.set_input_files("#files", picture())
    page.locator("#start").wait_for()
    page.evaluate("document.documentElement.style.fontSize = '32px'")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    card_of(page, "large-text.png").get_by_role("button", name="Details of").click()
    assert page.get_by_role("dialog").evaluate("d => d.scrollWidth <= d.clientWidth")
