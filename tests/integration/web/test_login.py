"""The page of a service with login: who has a key, how long it is kept, and links for those who have none."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.xdist_group("page-login")

Open = Callable[..., Any]
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, service: Any) -> Any:
    """A service that asks for keys, for the tests of this module."""
    guarded = type(service)(tmp_path_factory.mktemp("guarded") / "data", {"THUMBNAILS_LOGIN": "on"})
    try:
        yield guarded.start()
    finally:
        guarded.clear()


@pytest.fixture
def make_key(guarded: Any, eventually: Any) -> Callable[..., str]:
    """A function that makes a key as administrators do, and returns when it counts."""

    def make(account: str, *more: str) -> str:
        key = keys(guarded, "create", "--account", account, *more)
        headers = {"Authorization": f"Bearer {key}"}
        eventually(lambda: guarded.request("GET", "/presets", headers=headers).ok, "the key counts")
        return key

    return make


def keys(service: Any, *arguments: str) -> str:
    program = "import sys; from thumbnails_api.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, "keys", *arguments],
        env={**os.environ, "THUMBNAILS_DATA": str(service.data)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()


def sign_in(page: Any, key: str, *, stay: bool = False, taken: bool = True) -> None:
    page.get_by_label("API key").fill(f" {key}\n")
    if stay:
        page.get_by_label("Stay signed in on this device").check()
    page.locator("#sign-in").get_by_role("button", name="Sign in").click()
    if taken:  # until then the page takes no pictures
        page.get_by_role("button", name="Sign out").wait_for()


def kept(page: Any) -> list[bool]:
    """Whether something is kept for this tab, and on this device."""
    found: list[bool] = page.evaluate("[sessionStorage.length > 0, localStorage.length > 0]")
    return found


def test_a_wrong_key_is_said_and_not_kept(open_page: Open, guarded: Any) -> None:
    page = open_page(guarded.url)
    page.get_by_role("heading", name="Sign in").wait_for()
    assert page.evaluate("document.activeElement.name") == "key"
    assert not page.get_by_role("alert").is_visible(), "nothing was wrong yet"
    sign_in(page, "tnk_wrong", taken=False)
    page.get_by_role("alert").get_by_text("does not take this key").wait_for()
    assert kept(page) == [False, False]
    assert page.evaluate("document.activeElement.name") == "key"
    page.route("**/events", lambda route: route.fulfill(status=429, json={"detail": "Too many tries."}))
    sign_in(page, "tnk_wrong", taken=False)
    page.get_by_role("alert").get_by_text("Too many tries.").wait_for()
    assert kept(page) == [False, False], "what was not tried is not kept"
    field = page.get_by_label("API key")
    assert field.get_attribute("type") == "password"
    page.get_by_role("button", name="Show").click()
    assert field.get_attribute("type") == "text"


def test_a_key_is_kept_for_the_tab_alone(
    open_page: Open, guarded: Any, make_key: Any, picture: Make, upload: Any, card_of: Any
) -> None:
    page = open_page(guarded.url)
    sign_in(page, make_key("tab"))
    upload(page, picture("mine.png"))
    thumbnail = card_of(page, "mine.png").get_by_role("img", name="Thumbnail of mine.png")
    page.wait_for_function("image => image.naturalWidth > 0", arg=thumbnail.element_handle())
    with page.expect_download() as download:
        card_of(page, "mine.png").get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "mine-320x240.png"
    assert kept(page) == [True, False]
    page.reload()
    card_of(page, "mine.png").wait_for()
    other = open_page(guarded.url, context=page.context)
    other.get_by_role("heading", name="Sign in").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert kept(page) == [False, False]
    assert page.locator("li.picture").count() == 0


def test_a_key_stays_on_the_device_until_sign_out_in_any_tab(
    open_page: Open, guarded: Any, make_key: Any
) -> None:
    page = open_page(guarded.url)
    sign_in(page, make_key("device"), stay=True)
    page.get_by_role("button", name="Sign out").wait_for()
    other = open_page(guarded.url, context=page.context)
    other.get_by_role("button", name="Sign out").click()
    for each in (page, other):
        each.get_by_role("heading", name="Sign in").wait_for()
        assert kept(each) == [False, False]


def test_copied_links_need_no_key_and_end(
    open_page: Open, guarded: Any, make_key: Any, picture: Make, upload: Any, card_of: Any
) -> None:
    page = open_page(guarded.url)
    sign_in(page, make_key("links"))
    upload(page, picture("shared.png"))
    card_of(page, "shared.png").get_by_role("button", name="Copy the link").click()
    page.locator(".toast").get_by_text("Whoever has it sees this thumbnail until").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert "signature=" in link
    assert requests.get(link, timeout=30).headers["Content-Type"] == "image/png"
    card_of(page, "shared.png").get_by_role("button", name="Details of").click()
    page.get_by_label("Copied links work").select_option("for a day")
    with page.expect_response("**/links?seconds=86400"):
        page.get_by_role("dialog").get_by_role("button", name="Copy the link").click()


def test_a_key_that_is_revoked_meanwhile_is_asked_for_again(
    open_page: Open, guarded: Any, make_key: Any, picture: Make, card_of: Any, upload: Any
) -> None:
    page = open_page(guarded.url)
    key = make_key("revoked")
    sign_in(page, key)
    upload(page, picture("before.png"))
    listed = keys(guarded, "list").splitlines()
    (key_id,) = [line.split()[0] for line in listed if " revoked " in line]
    keys(guarded, "revoke", key_id)
    page.get_by_role("heading", name="Sign in").wait_for()
    page.get_by_role("alert").wait_for()
    assert kept(page) == [False, False]
    sign_in(page, make_key("revoked"))
    card_of(page, "before.png").wait_for()


def test_a_key_that_may_only_look_says_so(
    open_page: Open, guarded: Any, make_key: Any, picture: Make
) -> None:
    page = open_page(guarded.url)
    sign_in(page, make_key("reader", "--scope", "read"))
    page.set_input_files("#files", picture("refused.png"))
    page.locator("#start").click()
    row = page.locator(".transfer").filter(has_text="refused.png")
    row.get_by_text("write").wait_for()
    assert page.get_by_role("button", name="Sign out").is_visible()


def test_over_plain_http_it_shows_pictures_that_others_are_sent_to_the_object_store_for(
    open_page: Open,
    elsewhere: Callable[[str], str],
    start_service: Any,
    eventually: Any,
    picture: Make,
    upload: Any,
    card_of: Any,
) -> None:
    service = start_service(THUMBNAILS_LOGIN="on", THUMBNAILS_REDIRECT_SECONDS="300")
    key = keys(service, "create", "--account", "shop")
    headers = {"Authorization": f"Bearer {key}"}
    eventually(lambda: service.request("GET", "/presets", headers=headers).ok, "the key counts")
    page = open_page(elsewhere(service.url))
    assert not page.evaluate("isSecureContext")
    sign_in(page, key)
    upload(page, picture("elsewhere.png"))
    image = card_of(page, "elsewhere.png").locator("img").first
    page.wait_for_function("(image) => image.naturalWidth > 0", arg=image.element_handle())
    (job,) = service.request("GET", "/jobs", headers=headers).json()
    sent = service.request("GET", job["thumbnailPath"], headers=headers, allow_redirects=False)
    assert sent.status_code == 307
