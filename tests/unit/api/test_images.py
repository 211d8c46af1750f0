"""POST /images and GET /images/{id}: the contract, limits before anything is stored, order of writes."""

import hashlib
import io
import json
import logging
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from thumbnails_common.jobstore import Refused
from thumbnails_contract import logs
from thumbnails_contract.errors import (
    JobStoreUnavailable,
    ObjectStoreUnavailable,
    QuotaExceeded,
)


def test_a_picture_is_answered_with_its_job(service: Any, jpeg: bytes) -> None:
    result = service.upload(jpeg, name="holiday.jpg")
    assert result.status_code == 201
    job = result.json
    assert result.headers["location"] == f"/jobs/{job['id']}"
    assert job["status"] == "pending"
    assert job["thumbnailPath"] is None
    assert job["imagePath"] == f"/images/{job['id']}"
    assert job["createdAt"] == "2026-11-24T06:00:00Z"
    assert job["fileName"] == "holiday.jpg"
    assert job["outputs"] == []
    assert "error" not in job


def test_the_original_is_stored_before_the_job_under_its_hash(service: Any, jpeg: bytes) -> None:
    job = service.upload(jpeg).json
    key = f"sources/thumbnails/default/{hashlib.sha256(jpeg).hexdigest()}/{job['id']}"
    facts, content = service.objects.objects[key]
    assert content == jpeg
    assert facts.content_type == "image/jpeg"
    spec = service.store.documents["thumbnails", job["id"]]["spec"]
    assert spec["source"] == {"objectKey": key}
    assert (
        spec["outputs"][0] | {"width": 100, "height": 100, "fit": "cover", "formats": ["auto"]}
        == spec["outputs"][0]
    )
    assert key not in service.upload(jpeg).text  # no internals in what clients see


def test_no_object_key_is_shown(service: Any, jpeg: bytes) -> None:
    assert "sources/" not in service.upload(jpeg).text


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_the_five_formats_are_taken_whatever_they_are_called(
    service: Any, picture: Any, format_: Any
) -> None:
    result = service.upload(picture(format_), name="notes.txt")
    assert result.status_code == 201
    (facts, _), *_ = service.objects.objects.values()
    assert facts.content_type == f"image/{format_.lower()}"


@pytest.mark.parametrize(
    "content",
    [
        b"just a note",
        b"GIF is what this text begins with, but it is none",
        b"%PDF-1.7 ...",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"BM" + bytes(100),
        b"\x00\x00\x00\x18ftypheic" + bytes(50),
        b"\x00\x00\x00\x18ftypavif" + bytes(50),
        b"\x89PN",
    ],
)
def test_other_content_is_415_even_when_it_is_called_a_jpeg(service: Any, problem: Any, content: Any) -> None:
    problem(service.upload(content, name="a.jpg"), 415, "UnsupportedFormat")
    assert service.objects.objects == {}
    assert service.store.documents == {}


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [("width", None, b"100")],
        [("image", "a.jpg", b"")],
        [("image", None, b"not a file")],
        [("image", "", b"")],
    ],
    ids=["empty form", "no image", "empty file", "text field", "nothing selected"],
)
def test_no_image_is_400(service: Any, problem: Any, parts: Any) -> None:
    problem(service.post_form(parts), 400, "MissingImage")


def test_a_file_in_another_field_is_pointed_out(service: Any, problem: Any, jpeg: bytes) -> None:
    document = problem(service.post_form([("file", "a.jpg", jpeg)]), 400, "MissingImage")
    assert "'image'" in document["detail"]
    assert "'file'" in document["detail"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"image": "..."}'),
        ("application/x-www-form-urlencoded", b"image=1"),
        ("multipart/mixed; boundary=x", b"--x--"),
        ("image/jpeg", b""),
    ],
)
def test_a_body_that_cannot_have_an_image_is_400(
    service: Any, problem: Any, content_type: Any, body: Any
) -> None:
    result = service.request("POST", "/images", body=body, headers={"Content-Type": content_type})
    problem(result, 400, "MissingImage")


@pytest.mark.parametrize("content_type", ["text/plain", "image/jpeg", "application/octet-stream"])
def test_a_raw_body_of_another_format_is_415(service: Any, problem: Any, content_type: Any) -> None:
    result = service.request("POST", "/images", body=b"a note", headers={"Content-Type": content_type})
    problem(result, 415, "UnsupportedFormat")


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "image/png", "application/octet-stream", "application/x-www-form-urlencoded"],
)
def test_a_raw_body_is_taken_with_options_in_the_query(service: Any, jpeg: bytes, content_type: Any) -> None:
    result = service.request(
        "POST",
        "/images",
        query_string="width=320&fit=inside",
        body=jpeg,
        headers={"Content-Type": content_type},
    )
    assert result.status_code == 201
    (output,) = result.json["options"]
    assert (output["width"], output.get("height"), output["fit"]) == (320, None, "inside")
    ((_, content),) = service.objects.objects.values()
    assert content == jpeg


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no delimiter at all",
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n\xff\xd8\xff cut off',
        b"--b\r\n\r\nno name\r\n--b--",
        b"--b\r\n" + b"x" * 20_000 + b"\r\n\r\n\r\n--b--",
    ],
)
def test_a_malformed_form_is_400(service: Any, problem: Any, body: Any) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    problem(service.request("POST", "/images", body=body, headers=headers), 400, "InvalidRequest")
    assert service.objects.objects == {}


def test_a_form_without_boundary_is_400(service: Any, problem: Any, jpeg: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    problem(service.request("POST", "/images", body=jpeg, headers=headers), 400, "InvalidRequest")


def test_form_fields_win_over_the_query(service: Any, jpeg: bytes) -> None:
    (output,) = service.upload(jpeg, "/images?width=50&height=60", width="70").json["options"]
    assert (output["width"], output["height"]) == (70, 60)


def test_a_wrong_option_in_the_query_is_400_even_when_a_field_wins(
    service: Any, problem: Any, jpeg: bytes
) -> None:
    problem(service.upload(jpeg, "/images?width=wide", width="70"), 400, "InvalidOption")


def test_a_wrong_option_is_400_and_nothing_is_stored(service: Any, problem: Any, jpeg: bytes) -> None:
    document = problem(service.upload(jpeg, widht="100"), 400, "InvalidOption")
    assert "width" in document["detail"]
    problem(service.upload(jpeg, "/images?fit=squeeze"), 400, "InvalidOption")
    assert service.objects.objects == {}


def test_options_of_the_job_itself_reach_its_spec(service: Any, jpeg: bytes) -> None:
    result = service.upload(
        jpeg,
        webhookUrl="https://example.org/hook?token=secret",
        priority="bulk",
        ttlSecondsAfterFinished="60",
    )
    spec = service.store.documents["thumbnails", result.json["id"]]["spec"]
    assert spec["webhook"] == {"url": "https://example.org/hook?token=secret"}
    assert spec["priority"] == "bulk"
    assert spec["ttlSecondsAfterFinished"] == 60
    assert result.json["webhook"]["host"] == "example.org"
    assert "secret" not in result.text


def test_a_picture_with_too_many_bytes_is_413(make_service: Any, problem: Any, jpeg: bytes) -> None:
    service = make_service(max_upload_bytes=len(jpeg) - 1)
    problem(service.upload(jpeg), 413, "PayloadTooLarge")
    raw = service.request("POST", "/images", body=jpeg, headers={"Content-Type": "image/jpeg"})
    problem(raw, 413, "PayloadTooLarge")
    assert service.objects.objects == {}
    assert make_service(max_upload_bytes=len(jpeg)).upload(jpeg).status_code == 201


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_a_picture_with_too_many_pixels_is_422_by_its_header(
    make_service: Any, problem: Any, picture: Any, format_: Any
) -> None:
    service = make_service(max_pixels=60 * 40 - 1)
    document = problem(service.upload(picture(format_)), 422, "SourceTooLarge")
    assert "60 x 40" in document["detail"]
    assert service.objects.objects == {}


def test_a_bomb_is_refused_although_it_is_small(service: Any, problem: Any) -> None:
    header = struct.pack(">LLBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">L", 13) + b"IHDR" + header + bytes(4)
    problem(service.upload(bomb), 422, "SourceTooLarge")


def test_a_truncated_header_is_for_the_worker_to_judge(service: Any, jpeg: bytes) -> None:
    assert service.upload(jpeg[:30]).status_code == 201


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\photo.jpg", "photo.jpg"),
        ("a\x01b\u202egpj.exe", "abgpj.exe"),
        ("Ä" * 300, "Ä" * 255),
        ("..", ".."),
    ],
)
def test_the_file_name_is_fit_to_be_shown(service: Any, jpeg: bytes, given: Any, kept: Any) -> None:
    assert service.upload(jpeg, name=given).json["fileName"] == kept


# ---- several pictures ----


def test_several_pictures_are_a_batch(service: Any, jpeg: bytes, picture: Any) -> None:
    result = service.post_form(
        [("image", "a.jpg", jpeg), ("image", "b.png", picture("PNG")), ("width", None, b"50")]
    )
    assert result.status_code == 201
    batch_id, items = result.json["batchId"], result.json["items"]
    assert [item["fileName"] for item in items] == ["a.jpg", "b.png"]
    assert [item["batch"] for item in items] == [
        {"id": batch_id, "index": 0, "size": 2},
        {"id": batch_id, "index": 1, "size": 2},
    ]
    assert {item["options"][0]["width"] for item in items} == {50}
    labels = service.store.documents["thumbnails", items[0]["id"]]["metadata"]["labels"]
    assert labels["thumbnails.dev/batch"] == batch_id


def test_a_batch_of_which_some_were_taken_is_207(service: Any, jpeg: bytes) -> None:
    result = service.post_form(
        [("image", "a.jpg", jpeg), ("image", "notes.txt", b"notes"), ("image", "c", b"")]
    )
    assert result.status_code == 207
    first, second, third = result.json["items"]
    assert first["status"] == "pending"
    assert (second["status"], second["reason"], second["fileName"]) == (415, "UnsupportedFormat", "notes.txt")
    assert third["reason"] == "MissingImage"
    assert len(service.store.documents) == 1


def test_what_nobody_expected_in_the_midst_of_a_batch_costs_one_picture(
    service: Any, jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    service.objects.failures["put"] = [RuntimeError("a secret of ours")]
    result = service.post_form([("image", "a.jpg", jpeg), ("image", "b.jpg", jpeg)])
    assert result.status_code == 207
    first, second = result.json["items"]
    assert (first["status"], first["reason"], first["fileName"]) == (500, "InternalError", "a.jpg")
    assert second["status"] == "pending"
    assert "a secret of ours" not in result.text
    assert "RuntimeError" in caplog.text


def test_a_batch_of_which_none_was_taken_is_a_problem(service: Any, problem: Any) -> None:
    result = service.post_form([("image", "a.txt", b"notes"), ("image", "b", b"")])
    document = problem(result, 415, "UnsupportedFormat")
    assert [item["status"] for item in document["items"]] == [415, 400]


def test_a_store_that_fails_in_the_midst_of_a_batch_costs_one_picture(service: Any, jpeg: bytes) -> None:
    service.objects.failures["put"] = [ObjectStoreUnavailable()]
    result = service.post_form([("image", "a.jpg", jpeg), ("image", "b.jpg", jpeg)])
    assert result.status_code == 207
    assert [item["status"] for item in result.json["items"]] == [503, "pending"]


def test_more_pictures_than_the_limit_are_400(make_service: Any, problem: Any, jpeg: bytes) -> None:
    service = make_service(max_images=2)
    problem(service.post_form([("image", "a.jpg", jpeg)] * 3), 400, "InvalidRequest")
    problem(service.post_form([("image", "a.jpg", jpeg)] * 100), 400, "InvalidRequest")
    assert service.objects.objects == {}


def test_a_batch_is_bulk_and_a_single_picture_is_not(service: Any, jpeg: bytes) -> None:
    assert service.upload(jpeg).json["priority"] == "interactive"
    assert service.upload(jpeg, priority="bulk").json["priority"] == "bulk"
    parts = [("image", "a.jpg", jpeg), ("image", "b.jpg", jpeg)]
    assert {job["priority"] for job in service.post_form(parts).json["items"]} == {"bulk"}
    answer = service.post_form([*parts, ("priority", None, b"interactive")])
    assert {job["priority"] for job in answer.json["items"]} == {"interactive"}


def batch_of(service: Any, item: dict[str, Any]) -> dict[str, Any]:
    batch: dict[str, Any] = service.store.documents["thumbnails", item["id"]]["spec"]["batch"]
    return batch


def test_the_last_job_of_a_batch_says_how_many_there_are(service: Any, jpeg: bytes) -> None:
    parts = [("image", "a.jpg", jpeg), ("image", "notes.txt", b"notes"), ("image", "b.jpg", jpeg)]
    items = service.post_form([*parts, ("image", "more.txt", b"notes")]).json["items"]
    first, last = batch_of(service, items[0]), batch_of(service, items[2])
    assert (first["index"], first["size"], first.get("jobs")) == (0, 4, None)
    assert (last["index"], last["size"], last["jobs"]) == (2, 4, 2)
    assert first["webhooks"] == "both"


def test_pictures_that_could_not_be_stored_are_no_jobs_of_the_batch(service: Any, jpeg: bytes) -> None:
    service.objects.failures["put"] = [ObjectStoreUnavailable()]
    items = service.post_form([("image", f"{number}.jpg", jpeg) for number in range(3)]).json["items"]
    assert batch_of(service, items[2])["jobs"] == 2


@pytest.mark.parametrize("word", ["each", "once", "both"])
def test_what_is_told_of_a_batch_can_be_chosen(service: Any, jpeg: bytes, word: str) -> None:
    parts = [("image", "a.jpg", jpeg), ("image", "b.jpg", jpeg)]
    items = service.post_form([*parts, ("batchWebhooks", None, word.encode())]).json["items"]
    assert {batch_of(service, item)["webhooks"] for item in items} == {word}


@pytest.mark.parametrize(("word", "told"), [("each", True), ("once", False), ("both", True)])
def test_a_job_of_which_nobody_is_told_has_no_webhook(
    service: Any, jpeg: bytes, word: str, told: bool
) -> None:
    parts = [("image", "a.jpg", jpeg), ("image", "b.jpg", jpeg), ("batchWebhooks", None, word.encode())]
    items = service.post_form([*parts, ("webhookUrl", None, b"https://example.com/hook")]).json["items"]
    assert {"webhook" in item for item in items} == {told}


# ---- ZIPs ----


def pack(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def post_zip(service: Any, data: bytes, path: str = "/images", **headers: str) -> Any:
    return service.request("POST", path, body=data, headers={"Content-Type": "application/zip"} | headers)


def test_a_zip_as_the_body_is_a_batch_of_its_files(service: Any, jpeg: bytes, picture: Any) -> None:
    data = pack({"album/": b"", "album/a.jpg": jpeg, "album/b.png": picture("PNG"), "__MACOSX/._a.jpg": b"x"})
    result = post_zip(service, data, "/images?width=50")
    assert result.status_code == 201
    items = result.json["items"]
    assert [item["fileName"] for item in items] == ["a.jpg", "b.png"]
    assert [item["batch"] for item in items] == [
        {"id": result.json["batchId"], "index": index, "size": 2} for index in range(2)
    ]
    assert {(item["options"][0]["width"], item["priority"]) for item in items} == {(50, "bulk")}
    assert sorted(content for _, content in service.objects.objects.values()) == sorted(
        [jpeg, picture("PNG")]
    )


def test_a_zip_is_known_by_its_content(service: Any, jpeg: bytes) -> None:
    data = pack({"a.jpg": jpeg})
    for content_type in ("application/octet-stream", "image/jpeg", "application/x-zip-compressed", ""):
        result = post_zip(service, data, **{"Content-Type": content_type})
        assert (result.status_code, len(result.json["items"])) == (201, 1)
    assert post_zip(service, jpeg).json["status"] == "pending"


def test_a_zip_may_be_a_part_beside_others(service: Any, jpeg: bytes, picture: Any) -> None:
    data = pack({"b.png": picture("PNG"), "notes.txt": b"notes", "c.jpg": jpeg})
    result = service.post_form(
        [("image", "a.jpg", jpeg), ("image", "all.zip", data), ("image", "d.jpg", jpeg)]
    )
    assert result.status_code == 207
    items = result.json["items"]
    assert [item["fileName"] for item in items] == ["a.jpg", "b.png", "notes.txt", "c.jpg", "d.jpg"]
    assert items[2]["reason"] == "UnsupportedFormat"
    assert [item["batch"]["index"] for item in items if "batch" in item] == [0, 1, 3, 4]
    assert batch_of(service, items[4])["jobs"] == 4


def test_a_broken_zip_is_400(service: Any, problem: Any, jpeg: bytes) -> None:
    broken = pack({"a.jpg": jpeg})[:-20]
    problem(post_zip(service, broken), 400, "InvalidArchive")
    problem(post_zip(service, b"no zip"), 400, "InvalidArchive")
    problem(service.upload(broken, name="all.zip"), 400, "InvalidArchive")
    both = service.post_form([("image", "a.jpg", jpeg), ("image", "all.zip", broken)])
    assert both.status_code == 207
    assert (both.json["items"][1]["fileName"], both.json["items"][1]["reason"]) == (
        "all.zip",
        "InvalidArchive",
    )


def test_a_zip_without_pictures_is_a_problem(service: Any, problem: Any) -> None:
    problem(post_zip(service, pack({})), 400, "MissingImage")
    document = problem(post_zip(service, pack({"notes.txt": b"notes"})), 415, "UnsupportedFormat")
    assert [item["fileName"] for item in document["items"]] == ["notes.txt"]
    assert service.objects.objects == {}


def test_a_bomb_is_refused_before_anything_is_stored(make_service: Any, problem: Any, jpeg: bytes) -> None:
    service = make_service(max_archive_entries=2, max_archive_bytes=2 * len(jpeg))
    problem(post_zip(service, pack(dict.fromkeys("abc", jpeg))), 413, "ArchiveTooLarge")
    problem(post_zip(service, pack({"a": jpeg, "b": jpeg + b"x"})), 413, "ArchiveTooLarge")
    assert service.objects.objects == {}
    assert post_zip(service, pack({"a": jpeg, "b": jpeg})).status_code == 201


def test_a_zip_may_be_larger_than_a_picture(make_service: Any, problem: Any, picture: Any) -> None:
    noise = [picture("PNG", (20 + number, 20)) for number in range(50)]
    service = make_service(max_upload_bytes=max(len(each) for each in noise))
    data = pack({f"{number}.png": each for number, each in enumerate(noise)})
    assert len(data) > max(len(each) for each in noise)
    assert post_zip(service, data).status_code == 201
    problem(service.request("POST", "/images", body=noise[-1] + b"more"), 413, "PayloadTooLarge")


def test_what_comes_out_of_a_zip_counts_as_uploaded(make_service: Any, problem: Any, picture: Any) -> None:
    flat = picture("TIFF", (100, 100))
    data = pack({"a.tiff": flat})
    assert len(data) < len(flat) / 10
    service = make_service(rate_limit_upload_bytes=len(flat) - 1)
    refused = post_zip(service, data)
    problem(refused, 429, "QuotaExceeded")
    assert refused.headers["ratelimit"].count("upload-bytes") == 1
    assert service.objects.objects == {}
    service = make_service(rate_limit_upload_bytes=len(flat) + 100)
    taken = post_zip(service, data)
    assert taken.status_code == 201
    assert ";r=100;" in taken.headers["ratelimit"]


def test_a_zip_sent_again_with_its_key_is_one_batch(service: Any, problem: Any, jpeg: bytes) -> None:
    key = {"Idempotency-Key": '"album"'}
    first = post_zip(service, pack({"a.jpg": jpeg, "b.jpg": jpeg}), **key)
    again = post_zip(service, pack({"a.jpg": jpeg, "b.jpg": jpeg}), **key)
    assert again.content == first.content
    assert len(service.store.documents) == 2
    problem(post_zip(service, pack({"a.jpg": jpeg, "c.jpg": jpeg}), **key), 422, "IdempotencyKeyReused")


def unlinked_files() -> int:
    """How many files this process has open that have no name any more: spools."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except FileNotFoundError:  # that of the look itself
            continue
    return sum("(deleted)" in name for name in links)


def test_the_space_of_each_file_is_given_back_before_the_next(service: Any, picture: Any) -> None:
    """Two at most are on disk: the one that is stored, and the next one, which was looked at."""
    big = picture("TIFF", (700, 600))
    assert len(big) > 1 << 20
    before, seen = unlinked_files(), []
    put = service.objects.put

    def counting(*args: Any, **options: Any) -> Any:
        seen.append(unlinked_files() - before)
        return put(*args, **options)

    service.objects.put = counting
    assert post_zip(service, pack({f"{number}.tiff": big for number in range(6)})).status_code == 201
    assert len(seen) == 6
    assert max(seen) <= 2
    assert unlinked_files() == before


def test_copies_of_pictures_are_of_the_spool_and_give_it_back(make_service: Any, picture: Any) -> None:
    """Parts of a form are copied, and what is in a ZIP is unpacked: more than the body that was received."""
    big = picture("TIFF", (700, 600))
    service = make_service(max_spool_bytes=2 * len(big) + 1000)
    data = pack({f"{number}.tiff": big for number in range(5)})
    for _ in range(3):
        assert post_zip(service, data).status_code == 201
        assert service.upload(big).status_code == 201
    refused = service.post_form([("image", f"{number}.tiff", big) for number in range(3)])
    assert (refused.status_code, refused.json["reason"]) == (503, "Overloaded")
    small = make_service(max_spool_bytes=len(big) + 1000)
    some = post_zip(small, data)
    assert some.status_code == 207
    assert {item.get("reason") for item in some.json["items"]} == {None, "Overloaded"}
    assert small.upload(big).status_code == 201


# ---- trouble while storing ----


def test_no_201_when_the_object_store_is_away(service: Any, problem: Any, jpeg: bytes) -> None:
    service.objects.failures["put"] = [ObjectStoreUnavailable()]
    result = service.upload(jpeg)
    problem(result, 503, "ObjectStoreUnavailable")
    assert int(result.headers["retry-after"]) > 0
    assert service.store.documents == {}


def test_no_201_when_the_job_store_is_away_for_long(make_service: Any, problem: Any, jpeg: bytes) -> None:
    service = make_service(create_deadline_seconds=0)
    service.store.failures["create"] = [JobStoreUnavailable()] * 100
    result = service.upload(jpeg)
    problem(result, 503, "JobStoreUnavailable")
    assert int(result.headers["retry-after"]) > 0
    # The create may have gone through after all: the original must stay.
    assert len(service.objects.objects) == 1


def test_an_uncertain_create_is_tried_again_under_the_same_name(service: Any, jpeg: bytes) -> None:
    service.store.failures["create"] = [JobStoreUnavailable(), JobStoreUnavailable()]
    assert service.upload(jpeg).status_code == 201
    assert service.store.calls.count("create") == 3
    assert len(service.store.documents) == 1
    assert service.slept == sorted(service.slept)


def test_after_a_lost_answer_the_taken_name_means_success(service: Any, jpeg: bytes) -> None:
    service.store.after["create"] = [JobStoreUnavailable()]
    result = service.upload(jpeg)
    assert result.status_code == 201
    assert list(service.store.documents) == [("thumbnails", result.json["id"])]


def test_a_taken_name_without_a_lost_answer_is_no_success(
    make_service: Any, problem: Any, jpeg: bytes
) -> None:
    service = make_service()
    first = service.upload(jpeg).json["id"]
    # The next id again, as if the generator had failed.
    document = service.store.documents["thumbnails", first]
    taken = "00000000-0000-7000-8000-000000000002"
    service.store.documents["thumbnails", taken] = document
    problem(service.upload(jpeg), 500, "InternalError")


def test_a_quota_is_429_and_the_original_is_deleted(service: Any, problem: Any, jpeg: bytes) -> None:
    service.store.failures["create"] = [QuotaExceeded()]
    answer = service.upload(jpeg)
    problem(answer, 429, "QuotaExceeded")
    assert int(answer.headers["Retry-After"]) > 0, "clients know when to come again"
    assert service.objects.objects == {}


def test_what_the_store_refuses_is_400_and_the_original_is_deleted(
    service: Any, problem: Any, jpeg: bytes
) -> None:
    service.store.failures["create"] = [Refused("spec.ttlSecondsAfterFinished: too large")]
    problem(service.upload(jpeg), 400, "InvalidOption")
    assert service.objects.objects == {}


def test_an_original_that_cannot_be_deleted_changes_nothing_for_the_client(
    service: Any, problem: Any, jpeg: bytes
) -> None:
    service.store.failures["create"] = [QuotaExceeded()]
    service.objects.failures["delete"] = [ObjectStoreUnavailable()]
    problem(service.upload(jpeg), 429, "QuotaExceeded")


def test_an_unexpected_error_is_a_500_without_details(
    service: Any, problem: Any, jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(manifest: Any) -> None:
        raise RuntimeError("secret path /var/lib/x")

    service.store.create = broken
    result = service.upload(jpeg)
    problem(result, 500, "InternalError")
    assert "secret" not in result.text
    assert "Traceback" not in result.text
    assert "RuntimeError" in caplog.text


# ---- the original ----


def test_the_original_comes_back(service: Any, jpeg: bytes) -> None:
    job = service.upload(jpeg, name="a b.jpg").json
    result = service.get(job["imagePath"])
    assert result.status_code == 200
    assert result.content == jpeg
    assert result.headers["content-type"] == "image/jpeg"
    assert result.headers["etag"]
    assert "a b.jpg" in result.headers["content-disposition"]


def test_an_original_that_is_gone_is_404(service: Any, problem: Any, jpeg: bytes) -> None:
    job = service.upload(jpeg).json
    service.objects.objects.clear()
    problem(service.get(job["imagePath"]), 404, "ImageNotFound")


@pytest.mark.parametrize("path", ["/images/123", "/images/..", "/images/ABC", "/images/%00"])
def test_an_unknown_original_is_404(service: Any, problem: Any, path: Any) -> None:
    problem(service.get(path), 404, "ImageNotFound")


def test_a_job_that_names_an_object_of_another_namespace_shows_nothing(
    service: Any, problem: Any, jpeg: bytes
) -> None:
    job = service.upload(jpeg).json
    document = service.store.documents["thumbnails", job["id"]]
    service.objects.objects["sources/other/x"] = next(iter(service.objects.objects.values()))
    document["spec"]["source"]["objectKey"] = "sources/other/x"
    document["metadata"]["resourceVersion"] = "99"
    service.jobs.put(json.loads(json.dumps(document)))
    problem(service.get(job["imagePath"]), 404, "ImageNotFound")


@pytest.mark.parametrize(
    ("disposition", "kept"),
    [
        (b'filename="caf\xe9.jpg"', "caf\u00e9.jpg"),
        (b"filename*=UTF-8''%ff", None),
        (b"filename*=NONE-SUCH''a.jpg", None),
    ],
)
def test_a_file_name_in_a_strange_encoding_refuses_no_picture(
    service: Any, jpeg: bytes, disposition: bytes, kept: str | None
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; ' + disposition + b"\r\n\r\n"
    body = head + jpeg + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    result = service.request("POST", "/images", body=body, headers=headers)
    assert result.status_code == 201
    assert result.json["fileName"] == kept


# ---- traces ----------------------------------------------------------------------------------------

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def annotations_after(service: Any, jpeg: bytes, **headers: str) -> dict[str, str]:
    body = {"Content-Type": "image/jpeg"}
    job = service.request("POST", "/images", body=jpeg, headers=body | headers).json["id"]
    found: dict[str, str] = service.store.get("thumbnails", job)["metadata"]["annotations"]
    return found


def test_a_trace_is_carried_on_to_the_job(service: Any, jpeg: bytes) -> None:
    found = annotations_after(service, jpeg, traceparent=TRACE, tracestate="a=1")
    assert found["thumbnails.dev/traceparent"] == TRACE
    assert found["thumbnails.dev/tracestate"] == "a=1"


def test_an_upload_without_a_valid_trace_begins_one(service: Any, jpeg: bytes) -> None:
    begun = [annotations_after(service, jpeg, traceparent="x", tracestate="a=1") for _ in range(2)]
    parents = {found["thumbnails.dev/traceparent"] for found in begun}
    assert len(parents) == 2
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", parent) for parent in parents)
    assert "thumbnails.dev/tracestate" not in begun[0]


def test_all_that_is_logged_of_a_request_names_it_and_its_trace(service: Any, jpeg: bytes) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure(logs.LogSettings("INFO", "json"), "api", stream=stream)
        service.objects.failures["get"] = [ObjectStoreUnavailable()]
        job = service.upload(jpeg).json["id"]
        service.finish(job)
        service.get(f"/thumbnails/{job}", headers={"X-Request-Id": "mine", "traceparent": TRACE})
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    ours = [line for line in lines if line.get("requestId") == "mine"]
    assert [line["level"] for line in ours] == ["WARNING", "INFO"]  # why, and the answer
    assert {line["traceId"] for line in ours} == {TRACE.split("-")[1]}
    assert all(line["traceId"] for line in lines)
