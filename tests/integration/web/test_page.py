"""The page at `/`, as people use it: with a pointer, a keyboard, a screen reader, on a phone."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

# One browser, and one service that it looks at.
pytestmark = pytest.mark.xdist_group("page")

BY = "\N{MULTIPLICATION SIGN}"
Open = Callable[..., Any]
Make = Callable[..., Path]


def card_of(page: Any, name: str) -> Any:
    return page.locator("li.picture:visible").filter(has=page.get_by_role("heading", name=name, exact=True))


def upload(page: Any, *files: Path) -> None:
    page.set_input_files("#files", files)
    page.get_by_role("button", name="Upload").click()
    for file in files:
        card_of(page, file.name).get_by_role("link", name="Download").wait_for()


def test_a_picture_is_uploaded_seen_downloaded_and_linked(open_page: Open, picture: Make) -> None:
    page = open_page()
    page.set_input_files("#files", picture("holiday.png"))
    page.get_by_label("Width").fill("48")
    page.get_by_label("Height").fill("48")
    page.get_by_label("Format").select_option("webp")
    page.get_by_role("button", name="Upload 1 picture").click()
    card = card_of(page, "holiday.png")
    thumbnail = card.get_by_role("img", name="Thumbnail of holiday.png")
    thumbnail.wait_for()
    page.wait_for_function("image => image.naturalWidth === 48", arg=thumbnail.element_handle())
    assert f"48 {BY} 48 WEBP" in card.inner_text()
    with page.expect_download() as download:
        card.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "holiday-48x48.webp"
    with Image.open(download.value.path()) as saved:
        assert (saved.format, saved.size) == ("WEBP", (48, 48))
    card.get_by_role("button", name="Copy the link").click()
    page.locator(".toast").get_by_text("The link is copied.").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert requests.get(link, timeout=30).headers["Content-Type"] == "image/webp"


def test_the_preview_shows_the_crop(open_page: Open, picture: Make) -> None:
    page = open_page()
    page.set_input_files("#files", picture(size=(300, 150)))
    caption, image = page.locator("#preview-caption"), page.locator("#preview")
    page.get_by_label("Width").fill("100")
    page.get_by_label("Height").fill("200")
    assert caption.inner_text() == f"100 {BY} 200 pixels"
    page.get_by_label("Position").select_option("top-right")
    assert image.evaluate("i => [i.style.objectFit, i.style.objectPosition]") == ["cover", "right top"]
    page.get_by_label("Fit").select_option("inside")
    assert caption.inner_text() == f"100 {BY} 50 pixels"
    page.get_by_label("Fit").select_option("outside")
    assert caption.inner_text() == f"400 {BY} 200 pixels"
    page.get_by_label("Height").fill("")
    assert caption.inner_text() == f"100 {BY} 50 pixels"


def test_several_pictures_dropped_and_pasted(open_page: Open, picture: Make) -> None:
    page = open_page()
    script = """([names, data, type]) => {
        const transfer = new DataTransfer();
        for (const name of names) {
            const bytes = Uint8Array.from(atob(data[name]), (c) => c.charCodeAt(0));
            transfer.items.add(new File([bytes], name, {type: "image/png"}));
        }
        document.body.dispatchEvent(type === "drop"
            ? new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true}));
    }"""
    names = ["drop-1.png", "drop-2.png", "pasted.png"]
    data = {name: base64.b64encode(picture(name).read_bytes()).decode() for name in names}
    page.evaluate(script, [names[:2], data, "drop"])
    page.evaluate(script, [names[2:], data, "paste"])
    page.get_by_role("button", name="Upload 3 pictures").click()
    for name in names:
        card_of(page, name).get_by_role("link", name="Download").wait_for()


def test_what_is_wrong_is_said_in_words(open_page: Open, picture: Make, tmp_path: Path) -> None:
    notes, broken = tmp_path / "notes.txt", tmp_path / "broken.png"
    notes.write_text("no picture")
    whole = picture("whole.png", (400, 300)).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    page = open_page()
    page.set_input_files("#files", [notes, broken])
    page.get_by_role("button", name="Upload 2 pictures").click()
    row = page.locator("#transfers li").filter(has_text="notes.txt")
    row.get_by_text("Send a JPEG").wait_for()
    row.get_by_role("button", name="Dismiss notes.txt").click()
    assert row.count() == 0
    card_of(page, "broken.png").locator(".error").get_by_text("damaged").wait_for()


def test_delete_can_be_undone(open_page: Open, picture: Make, service: Any) -> None:
    page = open_page()
    upload(page, picture("kept.png"), picture("gone.png"))
    card_of(page, "kept.png").get_by_role("button", name="Delete kept.png").click()
    assert card_of(page, "kept.png").count() == 0
    page.get_by_role("button", name="Undo").click()
    card_of(page, "kept.png").wait_for()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        card_of(page, "gone.png").get_by_role("button", name="Delete gone.png").click()
    assert deleted.value.status == 204
    page.reload()
    card_of(page, "kept.png").wait_for()
    assert card_of(page, "gone.png").count() == 0


def test_whoever_leaves_meant_it(
    open_page: Open, picture: Make, service: Any, eventually: Callable[..., Any]
) -> None:
    page = open_page()
    upload(page, picture("left.png"))
    href = card_of(page, "left.png").get_by_role("link", name="Download").get_attribute("href")
    card_of(page, "left.png").get_by_role("button", name="Delete left.png").click()
    page.goto(service.url + "/healthz")
    eventually(lambda: requests.get(service.url + href, timeout=30).status_code == 404, "it is deleted", 60)


def test_all_of_it_with_a_keyboard(open_page: Open, picture: Make) -> None:
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
    card = card_of(page, "keys.png")
    card.get_by_role("link", name="Download").wait_for()
    card.get_by_role("button", name="Delete keys.png").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement !== document.body"), "the focus is not lost"
    page.get_by_role("button", name="Undo").press("Enter")
    assert page.evaluate("document.activeElement.ariaLabel") == "Delete keys.png"


def test_the_end_of_a_job_is_announced(open_page: Open, picture: Make) -> None:
    page = open_page()
    page.evaluate("""() => {
        window.heard = [];
        const line = document.querySelector("[role=status]");
        new MutationObserver(() => window.heard.push(line.textContent)).observe(line, {childList: true});
    }""")
    upload(page, picture("spoken.png"))
    page.wait_for_function("window.heard.includes('spoken.png: Done.')")


def test_the_gallery_has_pages(open_page: Open, picture: Make, service: Any) -> None:
    for number in range(26):
        answer = requests.post(
            f"{service.url}/images?width={number + 1}",
            picture(f"{number}.png").read_bytes(),
            timeout=30,
            headers={"Content-Type": "image/png"},
        )
        assert answer.status_code == 201
    page = open_page()
    page.locator("li.picture").nth(23).wait_for()
    assert page.locator("li.picture").count() == 24
    page.get_by_role("button", name="Show more").click()
    page.locator("li.picture").nth(25).wait_for()
    assert page.evaluate("document.activeElement.closest('li.picture') !== null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_is_accessible_and_fits(open_page: Open, picture: Make, scheme: str, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    upload(page, picture(f"a-rather-long-name-of-a-picture-that-has-to-wrap-{scheme}-{width}.png"))
    page.set_input_files("#files", picture())
    page.get_by_text(f"320 {BY} 240 pixels").wait_for()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(246, 247, 249)" if scheme == "light" else "rgb(20, 23, 26)")


def test_programs_get_json_and_browsers_a_page_without_inline_code(service: Any) -> None:
    assert requests.get(service.url, timeout=30).json()["name"] == "thumbnails"
    page = requests.get(service.url, timeout=30, headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Vary"] == "Accept"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    etag = page.headers["ETag"]
    again = requests.get(service.url, timeout=30, headers={"Accept": "text/html", "If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert requests.get(service.url + "/assets/nothing.js", timeout=30).status_code == 404
    assert requests.get(service.url + "/assets/..%2fapp.py", timeout=30).status_code == 404
