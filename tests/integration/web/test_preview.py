"""The preview: the very part of the picture, and the very size, that the renderer gives."""

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image, ImageChops, ImageStat

from thumbnails_contract.spec import Fit, Output, Position
from thumbnails_worker.render.geometry import anchor_of, place

pytestmark = pytest.mark.xdist_group("page-preview")

BY = "\N{MULTIPLICATION SIGN}"
Open = Callable[..., Any]
Make = Callable[..., Path]


def cases() -> Iterator[tuple[tuple[int, int], Output]]:
    chance = random.Random(7)
    for number in range(3000):
        size = (chance.choice([1, 3, 90, 333, 4000]), chance.randint(1, 3000))
        width, height = chance.randint(1, 900), chance.choice([None, 1, 50, 77, chance.randint(1, 900)])
        if number % 3 == 0 and height is not None:
            width, height = height, width
        output = Output(
            name="default",
            width=None if height is not None and number % 5 == 0 else width,
            height=height,
            fit=chance.choice(list(Fit)),
            position=chance.choice(list(Position)),
            without_enlargement=chance.random() < 0.3,
        )
        yield size, output


def test_its_geometry_is_the_renderers(open_page: Open) -> None:
    given = [
        [
            {"width": size[0], "height": size[1]},
            {
                "width": output.width,
                "height": output.height,
                "fit": output.fit.value,
                "position": output.position.value,
                "withoutEnlargement": output.without_enlargement,
            },
        ]
        for size, output in cases()
    ]
    script = """async (cases) => {
        const { place } = await import("/assets/geometry.js");
        return cases.map(([source, output]) => {
            const { crop, size, canvas, offset } = place(source, output);
            return [
                [crop.left, crop.top, crop.left + crop.width, crop.top + crop.height],
                [size.width, size.height], [canvas.width, canvas.height], [offset.x, offset.y],
            ];
        });
    }"""
    found = open_page().evaluate(script, given)
    for (source, output), (crop, size, canvas, offset) in zip(cases(), found, strict=True):
        wanted = place(source, output, anchor_of(output.position))
        assert crop == pytest.approx(wanted.crop), (source, output)
        assert (tuple(size), tuple(canvas), tuple(offset)) == (wanted.size, wanted.canvas, wanted.offset)


POSITIONS = [position.value for position in Position if position is not Position.ATTENTION]
WIDE, NARROW = (200, 120), (80, 200)
CASES = [
    *(("cover", position, box) for position in POSITIONS for box in (WIDE, NARROW)),
    *(("contain", position, box) for position in POSITIONS for box in (WIDE, NARROW)),
    *((fit, "center", WIDE) for fit in ("inside", "outside", "fill")),
]


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean of the absolute differences of levels."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


def test_it_looks_like_the_thumbnail(open_page: Open, service: Any, tmp_path: Path) -> None:
    source = tmp_path / "scene.png"
    blocks = Image.frombytes("RGB", (6, 9), random.Random(3).randbytes(162))
    blocks.resize((240, 360), Image.Resampling.BICUBIC).save(source)
    page = open_page()
    page.set_input_files("#files", source)
    page.get_by_text("More options").click()
    page.get_by_label("Background").select_option("colour")
    page.get_by_role("textbox", name="Colour").fill("#336699")
    shots = {}
    for fit, position, (width, height) in CASES:
        page.get_by_label("Width").fill(str(width))
        page.get_by_label("Height").fill(str(height))
        page.get_by_label("Fit").select_option(fit)
        if fit in {"cover", "contain"}:
            page.get_by_label("Position").select_option(position)
        box = page.locator("#sizes .preview-box")
        shots[fit, position, (width, height)] = Image.open(io.BytesIO(box.screenshot())).convert("RGB")
    for (fit, position, (width, height)), shot in shots.items():
        answer = requests.post(
            f"{service.url}/images",
            data=source.read_bytes(),
            params={
                "width": str(width),
                "height": str(height),
                "fit": fit,
                "position": position,
                "background": "#336699",
                "format": "png",
            },
            headers={"Content-Type": "image/png"},
            timeout=60,
        )
        thumbnail = Image.open(
            io.BytesIO(service.request("GET", service.finished(answer.json()["id"])["thumbnailPath"]).content)
        )
        scale = min(1, 280 / thumbnail.width, 280 / thumbnail.height)
        shown = thumbnail.convert("RGB").resize(
            (round(thumbnail.width * scale), round(thumbnail.height * scale)), Image.Resampling.LANCZOS
        )
        assert abs(shot.width - shown.width) <= 1 and abs(shot.height - shown.height) <= 1, (
            fit,
            position,
            width,
        )
        assert difference(shot.resize(shown.size), shown) < 4, (fit, position, width)
    for box, positions in ((WIDE, ("top", "center", "bottom")), (NARROW, ("left", "center", "right"))):
        one, two, three = (shots["cover", position, box] for position in positions)
        assert difference(one, two) > 20 and difference(two, three) > 20, "they can be told apart"


def test_it_says_the_size_and_what_it_does_not_know(open_page: Open, picture: Make, tmp_path: Path) -> None:
    page = open_page()
    page.set_input_files("#files", picture(size=(300, 150)))
    caption = page.locator("#sizes figcaption")
    page.get_by_label("Width").fill("100")
    page.get_by_label("Height").fill("140")
    assert caption.inner_text() == f"100 {BY} 140 pixels"
    page.get_by_label("Position").select_option("attention")
    assert "where it is cut is found by the service" in caption.inner_text()
    page.get_by_label("Fit").select_option("inside")
    assert caption.inner_text() == f"100 {BY} 50 pixels"
    assert page.get_by_label("Position").is_disabled()
    page.get_by_label("Fit").select_option("outside")
    page.get_by_label("Height").fill("300")
    assert caption.inner_text() == f"600 {BY} 300 pixels; enlarged 2.0 times"
    page.get_by_text("More options").click()
    page.get_by_label("Never enlarge").check()
    assert caption.inner_text() == f"300 {BY} 150 pixels"

    # Only a browser that knows TIFF could show one.
    page.get_by_role("button", name="Cancel").click()
    Image.open(picture()).save(tmp_path / "scan.tif")
    page.set_input_files("#files", tmp_path / "scan.tif")
    page.get_by_text("This browser cannot show scan.tif").wait_for()


def test_each_of_the_chosen_can_be_looked_at_and_left_out(
    open_page: Open, picture: Make, card_of: Any
) -> None:
    page = open_page()
    page.set_input_files("#files", [picture(f"look-{number}.png", (90, 30 * number)) for number in (1, 2, 3)])
    caption = page.locator("#sizes figcaption")
    page.get_by_label("Fit").select_option("inside")
    page.get_by_label("Width").fill("90")
    page.get_by_label("Height").fill("90")
    page.get_by_text("look-1.png").wait_for()
    page.get_by_role("button", name="Next picture").click()
    caption.get_by_text(f"90 {BY} 60 pixels").wait_for()
    page.get_by_role("button", name="Leave out").click()
    caption.get_by_text(f"90 {BY} 90 pixels").wait_for()
    page.get_by_role("button", name="Upload 2 pictures").click()
    card_of(page, "look-3.png").wait_for()
    card_of(page, "look-1.png").wait_for()
    assert card_of(page, "look-2.png").count() == 0
