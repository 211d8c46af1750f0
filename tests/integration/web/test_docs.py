"""The page at `/docs`: shows what `/openapi.json` says, with files of this service alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

# One browser, and one service that it looks at.
pytestmark = pytest.mark.xdist_group("page-docs")


def test_every_operation_and_webhook_is_shown_and_can_be_tried(
    open_page: Callable[..., Any], service: Any
) -> None:
    document = service.request("GET", "/openapi.json").json()
    page = open_page(path="/docs")
    page.get_by_role("heading", name="Thumbnails").first.wait_for()
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    for operation_id in ids:
        page.locator(f'.opblock[id$="-{operation_id}"]').wait_for()
    for name in document["webhooks"]:
        page.locator(".webhooks").get_by_text(name).first.wait_for()

    block = page.locator('.opblock[id$="-getHealth"]')
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    block.locator(".live-responses-table").get_by_text('"ok"').wait_for()


def test_a_picture_can_be_uploaded(
    open_page: Callable[..., Any], service: Any, picture: Callable[..., Path]
) -> None:
    page = open_page(path="/docs")
    block = page.locator('.opblock[id$="-postImages"]')
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.locator("input[type=file]").set_input_files(picture("tried.png"))
    block.locator('tr[data-param-name="outputs"] input').fill('[{"name": "small", "width": 7}]')
    with page.expect_response("**/images?*") as answer:
        block.get_by_role("button", name="Execute").click()
    assert answer.value.status == 201
    job = answer.value.json()
    assert job["fileName"] == "tried.png"
    assert [output["name"] for output in job["options"]] == ["small"], "nothing is sent that nobody chose"


def test_nothing_comes_from_elsewhere(open_page: Callable[..., Any], service: Any) -> None:
    page = open_page(path="/docs")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.locator(".opblock").first.wait_for()
    assert any(url.endswith("/docs/swagger-ui-bundle.js") for url in asked)
    assert all(url.startswith((service.url, "data:")) for url in asked)


# What Swagger UI draws in a way that attributes and colours cannot mend.
EXCEPTIONS = {
    "nested-interactive": "the head of each operation is a button, with the link to the operation inside",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_else(open_page: Callable[..., Any], scheme: str) -> None:
    page = open_page(path="/docs", color_scheme=scheme)
    page.locator('.opblock[id$="-postImages"] .opblock-summary-control').click()
    page.get_by_role("button", name="Try it out").first.click()
    page.get_by_role("button", name="Execute").wait_for()
    assert page.get_by_role("combobox", name="fit").first.is_visible(), "fields have names"
    background = page.evaluate("getComputedStyle(document.querySelector('.swagger-ui')).backgroundColor")
    assert (background == "rgb(28, 32, 34)") is (scheme == "dark")
    options = {"rules": {rule: {"enabled": False} for rule in EXCEPTIONS}}
    found = Axe().run(page, options=options)
    assert found.violations_count == 0, found.generate_report()


def test_it_follows_the_scheme_of_the_browser(open_page: Callable[..., Any]) -> None:
    page = open_page(path="/docs", color_scheme="light")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.classList.contains('dark-mode')")
