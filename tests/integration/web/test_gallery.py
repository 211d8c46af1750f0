"""The gallery: newest first, page by page, and as things are now."""

import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.xdist_group("page")

Open = Callable[..., Any]
Make = Callable[..., Path]
MISSING = "01890000-0000-7000-8000-000000000000"


def post(url: str, file: Path, **options: Any) -> Any:
    answer = requests.post(
        f"{url}/images", files={"image": (file.name, file.read_bytes())}, params=options, timeout=30
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.xdist_group("page-gallery")
def test_it_has_pages_newest_first(open_page: Open, picture: Make, start_service: Any) -> None:
    url = start_service().url
    page = open_page(url)
    page.get_by_text("Nothing here yet").wait_for()
    names = [f"{number}.png" for number in range(27)]
    for name in names[:-1]:
        post(url, picture(name))
    page = open_page(url)
    page.locator("li.picture").nth(23).wait_for()
    assert page.locator("li.picture").count() == 24
    page.get_by_role("button", name="Show more").click()
    page.locator("li.picture").nth(25).wait_for()
    assert page.evaluate("document.activeElement.ariaLabel") == "Details of 1.png"
    assert not page.get_by_role("button", name="Show more").is_visible()
    # What comes meanwhile goes where it belongs, not to the end.
    post(url, picture(names[-1]))
    page.locator("li.picture").nth(26).wait_for()
    assert page.locator("li.picture h3").all_text_contents() == names[::-1]


def test_what_others_do_is_seen(open_page: Open, picture: Make, service: Any, card_of: Any) -> None:
    page = open_page()
    page.wait_for_load_state("networkidle")
    job = post(service.url, picture("by-others.png"), width=40)
    card = card_of(page, "by-others.png")
    card.get_by_role("link", name="Download").wait_for()
    card.get_by_role("button", name="Details of").click()
    page.get_by_role("dialog", name="by-others.png").wait_for()
    assert service.request("DELETE", f"/jobs/{job['id']}").status_code == 204
    page.get_by_role("dialog", name="by-others.png").wait_for(state="hidden")
    card.wait_for(state="detached")


@pytest.mark.xdist_group("page-gallery")
def test_an_outage_is_said_and_ends(open_page: Open, picture: Make, service: Any, card_of: Any) -> None:
    page = open_page()
    page.wait_for_load_state("networkidle")
    page.context.set_offline(offline=True)
    page.get_by_role("alert").get_by_text("The service does not answer").wait_for()
    post(service.url, picture("meanwhile.png"))
    page.context.set_offline(offline=False)
    card_of(page, "meanwhile.png").wait_for()
    page.get_by_role("alert").wait_for(state="hidden")


def test_missed_news_are_asked_for(open_page: Open, picture: Make, service: Any, card_of: Any) -> None:
    """`reset`: the service cannot tell any more what happened since."""
    page = open_page()
    told: list[str] = []

    def forget_once(route: Any) -> None:
        if told:
            route.continue_()
            return
        told.append("reset")
        post(service.url, picture("missed.png"))
        route.fulfill(content_type="text/event-stream", body="retry: 10\n\nid: 1\nevent: reset\ndata: {}\n\n")

    page.route("**/events", forget_once)
    card_of(page, "missed.png").wait_for()


@pytest.mark.parametrize(
    "name",
    [
        "a" * 180 + ".png",
        "\N{ARABIC LETTER SAD}\N{ARABIC LETTER WAW}\N{ARABIC LETTER REH}\N{ARABIC LETTER TEH MARBUTA} 1.png",
        "gnp.\N{RIGHT-TO-LEFT OVERRIDE}exe.png",
        "<img src=x onerror=alert(1)>.png",
    ],
    ids=["long", "right-to-left", "override", "markup"],
)
def test_names_stay_in_their_place(
    open_page: Open, picture: Make, name: str, card_of: Any, service: Any, tmp_path: Path
) -> None:
    file = tmp_path / f"{random.getrandbits(32)}"
    file.write_bytes(picture().read_bytes())
    page = open_page(viewport={"width": 360, "height": 800})
    page.set_input_files("#files", [{"name": name, "mimeType": "image/png", "buffer": file.read_bytes()}])
    page.locator("#start").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#start").click()
    heading = page.locator("li.picture h3").first
    card = page.locator("li.picture").first
    card.get_by_role("link", name="Download").wait_for()
    heading.filter(has_text=re.compile(r"\S")).wait_for()
    assert "<img" not in heading.inner_html()
    assert heading.evaluate("h => getComputedStyle(h).direction") == (
        "rtl" if name.startswith("\N{ARABIC LETTER SAD}") else "ltr"
    )
    card.get_by_role("button", name="Details of").click()
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.get_by_role("dialog").evaluate("d => d.scrollWidth <= d.clientWidth")


def test_the_pictures_of_a_zip_are_a_batch_that_can_be_looked_at_alone(
    open_page: Open, picture: Make, tmp_path: Path, card_of: Any, upload: Any
) -> None:
    album = tmp_path / "album.zip"
    with zipfile.ZipFile(album, "w") as archive:
        for name in ("zip-1.png", "zip-2.png"):
            archive.write(picture(name), name)
        archive.writestr("notes.txt", "no picture")
    page = open_page()
    upload(page, picture("not-in-the-zip.png"))
    page.set_input_files("#files", album)
    page.get_by_text("of every picture in album.zip").wait_for()
    page.locator("#start").click()
    row = page.locator(".transfer").filter(has_text="album.zip")
    row.get_by_text("1 of 3 was refused. notes.txt: Send a JPEG").wait_for()
    card_of(page, "zip-1.png").get_by_role("button", name="1 of 3 in a batch").click()
    card_of(page, "not-in-the-zip.png").wait_for(state="detached")
    assert page.evaluate("document.activeElement.id") == "gallery-title"
    assert page.locator("li.picture h3").all_text_contents() == ["zip-2.png", "zip-1.png"]
    page.get_by_role("button", name="Show all").click()
    card_of(page, "not-in-the-zip.png").wait_for()
