"""The page at `/`: what people do with it, from choosing a picture to a link they can give away."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

# One browser, and one service that it looks at.
pytestmark = pytest.mark.xdist_group("page")

BY = "\N{MULTIPLICATION SIGN}"
Open = Callable[..., Any]
Make = Callable[..., Path]


def test_a_picture_is_uploaded_seen_downloaded_and_linked(
    open_page: Open, picture: Make, card_of: Any
) -> None:
    page = open_page()
    page.set_input_files("#files", picture("holiday.png"))
    page.get_by_label("Width").fill("48")
    page.get_by_label("Height").fill("48")
    page.get_by_label("as the original").click()
    assert page.get_by_label("as the original").is_checked(), "one format there must be"
    page.get_by_role("checkbox", name="WebP", exact=True).check()
    page.get_by_label("as the original").uncheck()
    page.get_by_role("button", name="Upload 1 picture").click()
    card = card_of(page, "holiday.png")
    thumbnail = card.get_by_role("img", name="Thumbnail of holiday.png")
    thumbnail.wait_for()
    page.wait_for_function("image => image.naturalWidth === 48", arg=thumbnail.element_handle())
    assert f"48 {BY} 48 WebP" in card.inner_text()
    with page.expect_download() as download:
        card.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "holiday-48x48.webp"
    with Image.open(download.value.path()) as saved:
        assert (saved.format, saved.size) == ("WEBP", (48, 48))
    card.get_by_role("button", name="Copy the link").click()
    page.locator(".toast").get_by_text("The link is copied.").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert requests.get(link, timeout=30).headers["Content-Type"] == "image/webp"


def test_several_sizes_in_several_formats(open_page: Open, picture: Make, card_of: Any, service: Any) -> None:
    page = open_page()
    page.set_input_files("#files", picture("many.png"))
    first = page.locator("#sizes > fieldset").nth(0)
    first.get_by_label("Width").fill("40")
    first.get_by_label("Height").fill("")
    first.get_by_label("JPEG").check()
    first.get_by_label("WebP").check()
    first.get_by_label("as the original").uncheck()
    page.get_by_role("button", name="Add a size").click()
    second = page.locator("#sizes > fieldset").nth(1)
    assert page.evaluate("document.activeElement.name") == "width"
    second.get_by_label("Width").fill("30")
    second.get_by_label("Height").fill("30")
    second.get_by_label("Name").fill("w40")
    assert not page.evaluate("document.getElementById('upload').checkValidity()"), "two of one name"
    second.get_by_label("Name").fill("square")
    second.get_by_text("More options").click()
    second.get_by_label("Quality").fill("50")
    page.get_by_role("button", name="Add a size").click()
    page.get_by_role("button", name="Remove size 3").click()
    page.locator("#start").click()

    card = card_of(page, "many.png")
    card.get_by_role("link", name="Download").nth(2).wait_for()
    rows = card.locator(".outputs li .size").all_inner_texts()
    assert [row.split(",")[0] for row in rows] == [
        f"w40: 40 {BY} 27 JPEG",
        f"w40: 40 {BY} 27 WebP",
        f"square: 30 {BY} 30 PNG",
    ]
    job = next(job for job in service.request("GET", "/jobs").json() if job["fileName"] == "many.png")
    assert job["options"][1]["quality"] == 50
    for output in job["outputs"]:
        assert service.request("GET", output["path"]).headers["Content-Type"] == output["contentType"]


PRESETS = (
    '{"avatar": {"width": 20, "height": 20, "format": "webp"},'
    ' "all": [{"name": "small", "width": 30, "format": ["webp", "jpeg"]}, {"name": "large", "width": 60},'
    ' {"name": "square", "width": 40, "height": 40, "position": "attention"}]}'
)


@pytest.mark.xdist_group("page-presets")
def test_presets_can_be_chosen_and_are_previewed(
    open_page: Open, picture: Make, card_of: Any, start_service: Any
) -> None:
    service = start_service(THUMBNAILS_PRESETS=PRESETS)
    page = open_page(service.url)
    page.set_input_files("#files", picture("preset.png"))
    preset = page.get_by_label("Preset")
    assert preset.locator("option").all_inner_texts() == ["Sizes of my own", "avatar", "all"]
    page.get_by_label("Width").fill("0")  # what is not sent is not checked
    preset.select_option("all")
    assert page.get_by_label("Width").count() == 1 and not page.get_by_label("Width").is_visible()
    captions = page.locator("#preset-previews figcaption")
    page.wait_for_function("document.querySelectorAll('#preset-previews figcaption').length === 3")
    assert captions.nth(0).inner_text() == f"small (WebP, JPEG): 30 {BY} 20 pixels"
    assert "found by the service" in captions.nth(2).inner_text()
    page.locator("#start").click()
    card = card_of(page, "preset.png")
    card.get_by_role("button", name="Details of").get_by_text("All 4 thumbnails").wait_for()
    card.get_by_role("button", name="Details of").click()
    rows = page.get_by_role("dialog").locator(".outputs .size").all_inner_texts()
    assert [row.split(":")[0] for row in rows] == ["small", "small", "large", "square"]


def test_without_presets_none_are_offered(open_page: Open, picture: Make) -> None:
    page = open_page()
    page.set_input_files("#files", picture())
    page.locator("#start").wait_for()
    assert not page.get_by_label("Preset").is_visible()


def test_details_show_all_of_a_job(open_page: Open, picture: Make, upload: Any, card_of: Any) -> None:
    page = open_page()
    upload(page, picture("earlier.png"))
    upload(page, source := picture("details.png", (200, 100)))
    card_of(page, "details.png").get_by_role("button", name="Details of").click()
    dialog = page.get_by_role("dialog", name="details.png")
    dialog.wait_for()
    assert f"200 {BY} 100 PNG" in dialog.inner_text()
    image = dialog.get_by_role("img")
    page.wait_for_function("image => image.naturalWidth === 320", arg=image.element_handle())
    dialog.get_by_role("button", name="Copy the link").click()
    dialog.get_by_text("The link is copied.").wait_for()  # what is outside of a dialog is not heard
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download the original").click()
    assert download.value.suggested_filename == "details.png"
    assert Path(download.value.path()).read_bytes() == source.read_bytes()
    page.keyboard.press("ArrowRight")
    page.get_by_role("dialog", name="earlier.png").wait_for()
    page.keyboard.press("ArrowLeft")
    dialog.wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.ariaLabel") == "Details of details.png"


def test_what_is_wrong_with_a_picture_is_said_in_words(
    open_page: Open, picture: Make, tmp_path: Path, card_of: Any
) -> None:
    notes, broken = tmp_path / "notes.txt", tmp_path / "broken.png"
    notes.write_text("no picture")
    whole = picture("whole.png", (400, 300)).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    page = open_page()
    page.set_input_files("#files", [notes, broken])
    page.get_by_text("This browser cannot show notes.txt").wait_for()
    page.get_by_role("button", name="Upload 2 pictures").click()
    row = page.locator(".transfer").filter(has_text="notes.txt")
    row.get_by_text("Send a JPEG").wait_for()
    assert row.get_by_role("button", name="Try notes.txt again").count() == 0, "it would be the same"
    row.get_by_role("button", name="Dismiss notes.txt").click()
    assert row.count() == 0
    card_of(page, "broken.png").locator(".error").get_by_text("damaged").wait_for()


def test_delete_can_be_undone(open_page: Open, picture: Make, upload: Any, card_of: Any) -> None:
    page = open_page()
    upload(page, picture("kept.png"), picture("gone.png"))
    card_of(page, "kept.png").get_by_role("button", name="Delete kept.png").click()
    assert card_of(page, "kept.png").count() == 0
    page.get_by_role("button", name="Undo").click()
    card_of(page, "kept.png").wait_for()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        card_of(page, "gone.png").get_by_role("button", name="Delete gone.png").click()
        page.mouse.move(0, 0)  # a message waits for as long as the pointer is on it
    assert deleted.value.status == 204
    page.reload()
    card_of(page, "kept.png").wait_for()
    assert card_of(page, "gone.png").count() == 0


def test_a_delete_that_fails_brings_the_picture_back(
    open_page: Open, picture: Make, upload: Any, card_of: Any
) -> None:
    page = open_page()
    upload(page, picture("stays.png"))
    page.route(
        "**/jobs/*",
        lambda route: route.fulfill(status=503, json={"detail": "The object store is away."}),
    )
    card_of(page, "stays.png").get_by_role("button", name="Details of").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete stays.png").click()
    page.get_by_role("button", name="Dismiss").click()
    page.locator(".toast").get_by_text("could not be deleted. The object store is away.").wait_for()
    card_of(page, "stays.png").wait_for()


def test_whoever_leaves_meant_it(
    open_page: Open, picture: Make, service: Any, eventually: Any, upload: Any, card_of: Any
) -> None:
    page = open_page()
    upload(page, picture("left.png"))
    href = card_of(page, "left.png").get_by_role("link", name="Download").get_attribute("href")
    card_of(page, "left.png").get_by_role("button", name="Delete left.png").click()
    page.goto(service.url + "/healthz")
    eventually(lambda: requests.get(service.url + href, timeout=30).status_code == 404, "it is deleted", 60)


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
