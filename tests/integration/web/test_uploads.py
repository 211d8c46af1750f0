"""Uploads: how far each is, what is tried again, many at once, and all the ways to choose pictures."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.xdist_group("page-uploads")

Open = Callable[..., Any]
Make = Callable[..., Path]


def row_of(page: Any, name: str) -> Any:
    return page.locator(".transfer").filter(has_text=name)


def fail_uploads(page: Any, *answers: dict[str, Any]) -> list[str]:
    """Answer the first uploads like this, in place of the service; their Idempotency-Keys, of all uploads."""
    left = list(answers)
    keys: list[str] = []

    def handle(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if not left:
            route.continue_()
        elif answer := left.pop(0):
            route.fulfill(**answer)
        else:
            route.abort()

    page.route("**/images", handle)
    return keys


BUSY = {"status": 503, "headers": {"Retry-After": "2"}, "json": {"detail": "The service is busy."}}
LOST: dict[str, Any] = {}


def test_what_may_pass_is_tried_again_when_the_service_says(
    open_page: Open, picture: Make, card_of: Any
) -> None:
    page = open_page()
    keys = fail_uploads(page, BUSY, LOST)
    page.set_input_files("#files", picture("patient.png"))
    page.locator("#start").click()
    row_of(page, "patient.png").get_by_text("The service is busy. Again in").wait_for()
    card_of(page, "patient.png").get_by_role("link", name="Download").wait_for()
    assert len(keys) == 3 and len(set(keys)) == 1, "all tries are one upload"


def test_what_failed_can_be_tried_again_by_hand(open_page: Open, picture: Make, card_of: Any) -> None:
    page = open_page()
    later = {**BUSY, "status": 429, "headers": {"Retry-After": "2700"}, "json": {"detail": "Too much."}}
    keys = fail_uploads(page, later, later)
    page.set_input_files("#files", [picture("one.png"), picture("two.png")])
    page.locator("#start").click()
    for name in ("one.png", "two.png"):
        row_of(page, name).get_by_text("Too much. It may go on in 45 minutes.").wait_for()
    page.get_by_role("button", name="Try one.png again").click()
    card_of(page, "one.png").wait_for()
    page.get_by_role("button", name="Try two.png again").click()
    card_of(page, "two.png").wait_for()
    assert len(keys) == 4 and len(set(keys)) == 2
    page.locator(".group").wait_for(state="detached")  # all is done: nothing is left to look at


def test_all_that_failed_can_be_tried_again_at_once(open_page: Open, picture: Make, card_of: Any) -> None:
    page = open_page()
    down = {"status": 500, "headers": {"Retry-After": "999"}, "json": {}}
    fail_uploads(page, down, down)
    page.set_input_files("#files", [picture("three.png"), picture("four.png")])
    page.locator("#start").click()
    page.get_by_role("button", name="Try the failed again").click()
    for name in ("three.png", "four.png"):
        card_of(page, name).wait_for()


def test_a_real_limit_is_waited_for(open_page: Open, picture: Make, start_service: Any, card_of: Any) -> None:
    files = [picture(f"limited-{number}.png") for number in range(5)]
    two = 2 * max(file.stat().st_size for file in files) + 2000
    service = start_service(
        THUMBNAILS_RATE_LIMIT_UPLOAD_BYTES=str(two), THUMBNAILS_RATE_LIMIT_UPLOAD_SECONDS="4"
    )
    page = open_page(service.url)
    page.set_input_files("#files", files)
    page.locator("#start").click()
    page.locator(".transfer").get_by_text("Again in").first.wait_for()
    for file in files:
        card_of(page, file.name).wait_for()
    assert page.locator(".transfer.bad").count() == 0


def test_bytes_are_told_as_they_go(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    slow = page.context.new_cdp_session(page)
    slow.send("Network.enable")
    slow.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000},
    )
    large = tmp_path / "large.jpg"
    large.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 3_000_000)
    page.set_input_files("#files", large)
    page.locator("#start").click()
    page.locator(".transfer .state").get_by_text(re.compile(r"Uploading, [\d.]+ [KM]B of 3\.0 MB")).wait_for()
    assert 0 < page.locator(".transfer progress").evaluate("bar => bar.value") < 1
    page.get_by_role("button", name="Cancel").click()
    page.locator(".group").wait_for(state="detached")


def test_a_file_over_the_limit_is_refused_in_words(
    open_page: Open, tmp_path: Path, start_service: Any
) -> None:
    service = start_service(THUMBNAILS_MAX_UPLOAD_BYTES="200000", THUMBNAILS_MAX_REQUEST_BYTES="400000")
    large, huge = tmp_path / "large.jpg", tmp_path / "huge.jpg"
    large.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 300_000)
    huge.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 9_000_000)
    page = open_page(service.url)
    page.set_input_files("#files", [large, huge])
    page.locator("#start").click()
    row_of(page, "large.jpg").get_by_text("bytes").wait_for()
    row_of(page, "huge.jpg").get_by_text("bytes").wait_for()
    assert page.get_by_role("button", name="Try large.jpg again").count() == 0


def test_a_file_that_is_gone_is_said(open_page: Open, picture: Make) -> None:
    page = open_page()
    vanishing = picture("vanishing.png")
    page.set_input_files("#files", vanishing)
    page.locator("#start").wait_for()
    vanishing.unlink()
    page.locator("#start").click()
    row_of(page, "vanishing.png").get_by_text("The file could not be read.").wait_for()


def test_pictures_dropped_and_pasted(open_page: Open, picture: Make, card_of: Any) -> None:
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


@pytest.fixture
def album(picture: Make, tmp_path: Path) -> Path:
    """Two pictures in folders, and what is none."""
    picture("album/one.png")
    picture("album/deep/deeper/two.png")
    picture("album/.hidden/three.png")
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    return tmp_path / "album"


def test_a_folder_is_dropped(open_page: Open, album: Path) -> None:
    page = open_page()
    drag = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(album)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        drag.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 150, "data": data})
    page.get_by_role("button", name="Upload 2 pictures").wait_for()


def test_a_folder_is_picked(open_page: Open, album: Path) -> None:
    page = open_page()
    page.set_input_files("#folder", album)
    page.get_by_role("button", name="Upload 2 pictures").wait_for()


def test_two_hundred_at_once(
    open_page: Open, picture: Make, service: Any, hear: Any, eventually: Any
) -> None:
    """The page goes on answering, has no row for each that waits, and does not talk without end."""
    page = open_page()
    said = hear(page)
    files = [picture(f"crowd/{number}.png", (12 + number % 7, 9)) for number in range(200)]
    page.set_input_files("#files", files)
    page.evaluate("""() => {
        window.rows = 0;
        setInterval(() => {
            window.rows = Math.max(window.rows, document.querySelectorAll(".transfer").length);
        }, 20);
    }""")
    page.get_by_label("Width").fill("16")
    page.get_by_label("Height").fill("16")
    page.get_by_role("button", name="Upload 200 pictures").click()
    page.get_by_text("more pictures waiting").wait_for()
    # Other things can be done meanwhile.
    page.set_input_files("#files", picture("beside.png"))
    page.get_by_role("button", name="Cancel").last.wait_for()
    page.locator("#cancel").click()
    page.locator(".group").wait_for(state="detached", timeout=100_000)
    assert page.locator("li.picture").count() >= 200
    assert page.evaluate("window.rows") < 150
    said("pictures done.")
    assert page.evaluate("window.heard.length") < 100


def test_leaving_asks_while_something_is_on_its_way(open_page: Open, picture: Make, service: Any) -> None:
    page = open_page()
    page.route("**/images", lambda _route: None)  # never answered
    page.set_input_files("#files", picture("leaving.png"))
    page.locator("#start").click()
    row_of(page, "leaving.png").wait_for()
    asked: list[str] = []

    def leave(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", leave)
    page.goto(service.url + "/healthz")
    assert asked == ["beforeunload"]


def test_an_upload_can_be_cancelled(open_page: Open, picture: Make, card_of: Any, service: Any) -> None:
    page = open_page()
    page.route("**/images", lambda _route: None)  # never answered
    page.set_input_files("#files", [picture(f"cancel-{number}.png") for number in range(5)])
    page.locator("#start").click()
    page.get_by_text("2 more pictures waiting").wait_for()
    page.locator(".group").get_by_role("button", name="Cancel").click()
    page.locator(".group").wait_for(state="detached")
    answer = requests.get(f"{service.url}/jobs", timeout=30)
    jobs = answer.json() if answer.ok else []  # 404: there are none
    assert not any((job.get("fileName") or "").startswith("cancel-") for job in jobs)
