"""The page at `/docs`: shows what `/openapi.json` says, with files of this service alone."""

from collections.abc import Callable
from typing import Any

import pytest

# One browser, and one service that it looks at.
pytestmark = pytest.mark.xdist_group("page")


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


def test_nothing_comes_from_elsewhere(open_page: Callable[..., Any], service: Any) -> None:
    page = open_page(path="/docs")
    page.locator(".opblock").first.wait_for()
    loaded = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert any(name.endswith("/docs/swagger-ui-bundle.js") for name in loaded)
    assert all(name.startswith((service.url, "data:")) for name in loaded)
