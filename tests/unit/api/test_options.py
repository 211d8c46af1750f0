"""Options of an upload: what each may be, what is said when it is not, and who wins."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_api.options import OPTION_NAMES, merge_fields, parse_options, parse_query
from thumbnails_api.presets import parse_presets
from thumbnails_contract.errors import InvalidOption
from thumbnails_contract.spec import (
    DEFAULT_OUTPUTS,
    BatchWebhooks,
    Fit,
    Format,
    Metadata,
    Position,
    Priority,
    Webhook,
)


def options(**fields: str) -> Any:
    return parse_options(fields, max_side_pixels=4096)


def test_the_default_is_100_by_100_covered_in_the_original_s_format() -> None:
    assert options().outputs == DEFAULT_OUTPUTS
    assert options().priority is None
    assert options().batch_webhooks is BatchWebhooks.BOTH
    assert options().webhook is None
    assert options().ttl_seconds_after_finished is None


def test_every_option_arrives_where_it_belongs() -> None:
    parsed = options(
        width="320",
        height="200",
        fit="contain",
        position="top-right",
        background="#FF000080",
        format="webp, jpg",
        quality="75",
        animated="false",
        withoutEnlargement="true",
        metadata="keep",
        webhookUrl="https://example.org:8443/hook?a=b",
        priority="bulk",
        ttlSecondsAfterFinished="0",
    )
    (output,) = parsed.outputs
    assert (output.width, output.height) == (320, 200)
    assert (output.fit, output.position) == (Fit.CONTAIN, Position.TOP_RIGHT)
    assert output.background == "#ff000080"
    assert output.formats == (Format.WEBP, Format.JPEG)
    assert output.quality == 75
    assert output.animated is False
    assert output.without_enlargement is True
    assert output.metadata is Metadata.KEEP
    assert parsed.webhook == Webhook("https://example.org:8443/hook?a=b")
    assert parsed.priority is Priority.BULK
    assert parsed.ttl_seconds_after_finished == 0


@pytest.mark.parametrize(
    ("fields", "size"),
    [({"width": "50"}, (50, None)), ({"height": "50"}, (None, 50)), ({"fit": "inside"}, (100, 100))],
)
def test_one_side_is_enough(fields: Any, size: Any) -> None:
    (output,) = options(**fields).outputs
    assert (output.width, output.height) == size


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("width", "0", "1 to 4096"),
        ("width", "4097", "1 to 4096"),
        ("height", "ten", "whole number"),
        ("height", "1e2", "whole number"),
        ("width", "-5", "whole number"),
        ("width", "\u0661\u0660", "whole number"),
        ("width", "9" * 5000, "whole number"),
        ("fit", "squeeze", "cover, contain, inside, outside, fill"),
        ("position", "north", "top-left"),
        ("background", "red", "#rrggbb"),
        ("background", "#12345", "#rrggbb"),
        ("format", "bmp", "webp"),
        ("format", "jpeg,,png", "webp"),
        ("quality", "101", "1 to 100"),
        ("animated", "maybe", "true or false"),
        ("metadata", "some", "strip, keep"),
        ("priority", "high", "interactive, bulk"),
        ("ttlSecondsAfterFinished", "-1", "whole number"),
        ("ttlSecondsAfterFinished", "2147483648", "2147483647"),
        ("webhookUrl", "ftp://example.org", "http or https"),
        ("webhookUrl", "https://", "http or https"),
        ("webhookUrl", "https://user:secret@example.org", "http or https"),
        ("webhookUrl", "HTTP://user:secret@example.org", "http or https"),
        ("webhookUrl", "https://example.org:port", "http or https"),
        ("webhookUrl", "https://[::1", "http or https"),
        ("webhookUrl", "/hook", "http or https"),
        ("webhookUrl", "https://example.org/ hook", "http or https"),
        ("webhookUrl", "https://example.org/" + "x" * 2048, "2048"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: Any, value: Any, allowed: Any) -> None:
    with pytest.raises(InvalidOption) as raised:
        options(**{name: value})
    said = "must be" if name == "webhookUrl" else "is"  # a URL may hold a secret
    assert raised.value.message.startswith(f"{name} {said} ")
    assert "secret" not in raised.value.message
    assert allowed in raised.value.message
    assert len(raised.value.message) < 250


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("widht", "width"),
        ("Format", "format"),
        ("without_enlargement", "withoutEnlargement"),
        ("webhook", "webhookUrl"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(given: Any, near: Any) -> None:
    with pytest.raises(InvalidOption, match=f"Did you mean {near}"):
        merge_fields([(given, "1")], [])


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(InvalidOption, match="width, height, fit"):
        merge_fields([("zzzzzz", "1")], [])


def test_a_form_may_have_fields_of_its_own_but_no_misspelt_option() -> None:
    assert merge_fields([], [("title", "holiday"), ("csrf_token", "x"), ("width", "2")]) == {"width": "2"}
    with pytest.raises(InvalidOption, match="width"):
        merge_fields([], [("widht", "1")])


def test_form_fields_win_over_the_query() -> None:
    merged = merge_fields([("width", "1"), ("fit", "fill")], [("width", "2")])
    assert merged == {"width": "2", "fit": "fill"}


def test_an_empty_field_is_none() -> None:
    assert merge_fields([("width", "1")], [("width", " "), ("height", "")]) == {"width": "1"}


@pytest.mark.parametrize("place", [0, 1])
def test_the_same_option_twice_is_refused(place: Any) -> None:
    places: list[list[tuple[str, str]]] = [[], []]
    places[place] = [("width", "1"), ("width", "2")]
    with pytest.raises(InvalidOption, match="more than once"):
        merge_fields(*places)


def test_a_query_may_name_a_colour_without_its_hash() -> None:
    assert options(background="00ff00").outputs[0].background == "#00ff00"


def test_a_query_with_too_many_fields_is_refused() -> None:
    with pytest.raises(InvalidOption):
        parse_query("&".join(f"a{i}=1" for i in range(1000)))


@given(st.dictionaries(st.sampled_from(OPTION_NAMES), st.text()))
def test_any_text_is_an_option_or_a_clear_refusal(fields: Any) -> None:
    try:
        parsed = options(**merge_fields([], list(fields.items())))
    except InvalidOption:
        return
    (output,) = parsed.outputs
    assert output.width or output.height
    assert type(output).parse(output.to_manifest()) == output


# ---- several outputs -------------------------------------------------------------------------------


def test_several_outputs_each_with_formats_of_its_own() -> None:
    text = """[{"name": "small", "width": 100, "animated": false},
               {"name": "large", "width": 1600, "height": null, "fit": "inside",
                "format": ["webp", "avif"]}]"""
    small, large = options(outputs=text).outputs
    assert (small.name, small.width, small.animated, small.formats) == ("small", 100, False, (Format.AUTO,))
    assert (large.name, large.width, large.height, large.fit) == ("large", 1600, None, Fit.INSIDE)
    assert large.formats == (Format.WEBP, Format.AVIF)
    (single,) = options(outputs='{"width": 50}').outputs
    assert (single.name, single.width) == ("default", 50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "no JSON"),
        ("[]", "1 to 8"),
        ("3", "1 to 8"),
        (f"[{','.join(['{}'] * 9)}]", "1 to 8"),
        ("[1, {}]", r"outputs\[0\] is no JSON object"),
        ('[{"name": "a"}, {"name": "b", "width": "x"}]', r"outputs\[1\]\.width is 'x'"),
        ('[{"name": "a"}, {"name": "b", "width": 1.5}]', r"outputs\[1\]\.width is no text"),
        ('[{"name": "a"}, {"name": "a"}]', "a name of its own"),
        ("[{}, {}]", "a name of its own"),
        ('{"name": "No Name"}', "name is 'No Name'"),
        ('{"widht": 1}', "Did you mean width"),
        ('{"width": 5000}', "from 1 to 4096"),
    ],
)
def test_wrong_outputs(text: str, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        options(outputs=text)


PRESETS = parse_presets(
    """{"card": {"width": 320, "format": "webp"}, "both": [{"name": "a", "width": 1}, {"name": "b"}]}"""
)


def with_presets(**fields: str) -> Any:
    return parse_options(fields, max_side_pixels=4096, presets=PRESETS).outputs


def test_a_preset_is_asked_for_by_name_and_may_be_changed() -> None:
    assert with_presets(preset="card") == options(width="320", format="webp").outputs
    assert with_presets(preset="card", quality="50", width="10")[0].quality == 50
    assert with_presets(preset="card", quality="50", width="10")[0].width == 10
    assert [output.name for output in with_presets(preset="both")] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preset": "nothing"}, "There are: card, both"),
        ({"preset": "both", "width": "1"}, "width cannot be given beside a preset of several"),
        ({"preset": "card", "outputs": "[{}]"}, "preset cannot be given beside outputs"),
        ({"width": "1", "outputs": "[{}]"}, "width cannot be given beside outputs"),
    ],
)
def test_presets_that_cannot_be(fields: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        with_presets(**fields)


def test_without_presets() -> None:
    with pytest.raises(InvalidOption, match="There are none on this service"):
        options(preset="card")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be a JSON object"),
        ("{", "must be a JSON object"),
        ('{"A": {}}', "names of presets"),
        ('{"a": {"width": 0}}', "preset a: width is '0'"),
        ('{"a": [{}, {}]}', "preset a: Each"),
    ],
)
def test_wrong_presets(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_presets(text)
