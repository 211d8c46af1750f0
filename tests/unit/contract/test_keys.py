"""Object keys: what lies where, what is the same thumbnail, and whose originals a job may name."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_contract import keys
from thumbnails_contract.errors import ForbiddenSource
from thumbnails_contract.spec import Fit, Format, Metadata, Output, Position, Spec

SHA = "ab" * 32


def test_an_uploaded_original_names_its_owner_and_its_content() -> None:
    key = keys.source_key("ns", "acme", SHA, "job-1")
    assert key == f"sources/ns/acme/{SHA}/job-1"
    assert keys.parse_source_key(key) == keys.UploadedSource("ns", "acme", SHA, "job-1")
    assert keys.source_identity(key, "ns", "acme") == SHA


@pytest.mark.parametrize(
    "key", ["sources/ns/photo.jpg", f"sources/ns/acme/{SHA}", f"sources/ns/acme/{SHA.upper()}/job"]
)
def test_other_keys_have_no_identity_of_their_own(key: str) -> None:
    assert keys.parse_source_key(key) is None
    assert keys.source_identity(key, "ns", "acme") is None


def test_the_identity_in_the_key_of_another_account_is_not_believed() -> None:
    assert keys.source_identity(keys.source_key("ns", "other", SHA, "job"), "ns", "acme") is None


@pytest.mark.parametrize(
    "key", ["sources/ns/a.jpg", "sources/ns/deep/er/a.jpg", f"sources/ns/acme/{SHA}/job"]
)
def test_a_job_may_name_originals_of_its_namespace(key: str) -> None:
    keys.check_source_key(key, "ns")


@pytest.mark.parametrize(
    "key",
    [
        "sources/other/a.jpg",
        "sources/ns",
        "sources/ns/",
        "sources/ns-2/a.jpg",
        "sources/ns/../other/a.jpg",
        "sources/ns/./a.jpg",
        "sources/ns//a.jpg",
        "thumbnails/ns/a.jpg",
        "/sources/ns/a.jpg",
        "",
    ],
)
def test_a_job_may_name_nothing_else(key: str) -> None:
    with pytest.raises(ForbiddenSource):
        keys.check_source_key(key, "ns")


BASE = Output(width=100, height=100)


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(BASE, width=101),
        dataclasses.replace(BASE, height=None),
        dataclasses.replace(BASE, fit=Fit.FILL),
        dataclasses.replace(BASE, position=Position.TOP),
        dataclasses.replace(BASE, background="#ffffff"),
        dataclasses.replace(BASE, quality=80),
        dataclasses.replace(BASE, animated=False),
        dataclasses.replace(BASE, without_enlargement=True),
        dataclasses.replace(BASE, metadata=Metadata.KEEP),
    ],
)
def test_every_option_makes_another_recipe(other: Output) -> None:
    assert keys.recipe_hash(other, Format.AUTO) != keys.recipe_hash(BASE, Format.AUTO)


def test_every_option_is_covered_by_the_test_above() -> None:
    options = {field.name for field in dataclasses.fields(Output)} - {"name", "formats"}
    assert len(options) == 9


def test_the_name_of_an_output_is_not_part_of_its_recipe() -> None:
    renamed = dataclasses.replace(BASE, name="other")
    assert keys.recipe_hash(renamed, Format.AUTO) == keys.recipe_hash(BASE, Format.AUTO)


def test_formats_are_recipes_of_their_own_whatever_was_asked_for_beside_them() -> None:
    several = dataclasses.replace(BASE, formats=(Format.WEBP, Format.JPEG))
    hashes = [recipe for _, _, recipe in keys.recipes(Spec("sources/ns/a", outputs=(several,)))]
    assert hashes == [keys.recipe_hash(BASE, Format.WEBP), keys.recipe_hash(BASE, Format.JPEG)]


def test_recipe_hashes_stay_the_same_between_releases() -> None:
    """A changed hash renders everything again: change it on purpose only, with RENDERER_VERSION."""
    assert keys.recipe_hash(BASE, Format.AUTO) == "75ee4504f84e81f7f09e996e588a9144"


@given(st.text(max_size=8), st.integers(0, 10))
def test_foreign_identities_differ_by_etag_and_size(etag: str, size: int) -> None:
    assert keys.foreign_identity(etag, size) != keys.foreign_identity(etag, size + 1)
    assert keys.foreign_identity(etag, size) != keys.foreign_identity(etag + "x", size)
