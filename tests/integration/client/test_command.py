"""The command `thumbnails` against a running service."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., Any]
MISSING = "01890000-0000-7000-8000-000000000000"


def a_picture(path: Path, size: tuple[int, int] = (80, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", (8, 6), random.randbytes(144)).resize(size).save(path)
    return path


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three pictures in folders, and what is none."""
    folder = tmp_path / "album"
    a_picture(folder / "one.jpg")
    a_picture(folder / "deep" / "two.png")
    a_picture(folder / "deep" / "deeper" / "three.WEBP")
    (folder / "notes.txt").write_text("no picture")
    a_picture(folder / ".hidden" / "four.jpg")
    return folder


def jobs_of(result: Any) -> dict[str, str]:
    """Job ids by path, from what `put` prints."""
    return {line.split()[1]: line.split()[0] for line in result.stdout.splitlines()}


def test_a_folder_is_uploaded_waited_for_and_saved(
    service: Any, run: Run, album: Path, tmp_path: Path
) -> None:
    target = tmp_path / "thumbs"
    result = run(service.url, "put", album, "--width", 40, "--format", "webp", "--save", target)
    assert result.returncode == 0, result.stderr
    saved = sorted(target.iterdir())
    assert [path.name.split("-")[0] for path in saved] == ["one", "three", "two"]
    for path in saved:
        with Image.open(path) as thumbnail:
            assert (thumbnail.size, thumbnail.format) == ((40, 30), "WEBP")


def test_what_was_uploaded_is_not_sent_again(service: Any, run: Run, album: Path) -> None:
    first = jobs_of(run(service.url, "put", album))
    a_picture(album / "new.png")
    second_result = run(service.url, "put", album)
    second = jobs_of(second_result)
    assert len(first) == 3
    assert second_result.stdout.count("(uploaded before)") == 3
    assert {path: second[path] for path in first} == first
    # Other options, and --again, make jobs of their own; so does a job that is gone.
    assert set(jobs_of(run(service.url, "put", album, "--width", 7)).values()).isdisjoint(second.values())
    assert set(jobs_of(run(service.url, "put", album, "--again")).values()).isdisjoint(second.values())
    once = jobs_of(run(service.url, "put", album / "one.jpg"))
    assert run(service.url, "rm", *once.values()).returncode == 0
    assert jobs_of(run(service.url, "put", album / "one.jpg")) != once


def test_patterns_and_single_files(service: Any, run: Run, album: Path) -> None:
    assert len(jobs_of(run(service.url, "put", f"{album}/**/*.png", album / "one.jpg"))) == 2
    nothing = run(service.url, "put", f"{album}/*.gif")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "no picture is there" in nothing.stderr


def test_one_bad_file_does_not_stop_the_others(service: Any, run: Run, album: Path) -> None:
    result = run(service.url, "put", album / "notes.txt", album / "one.jpg")
    assert result.returncode == 1
    assert len(jobs_of(result)) == 1
    assert "notes.txt: UnsupportedFormat" in result.stderr


def test_get_ls_wait_and_rm(service: Any, run: Run, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "holiday.png")
    (job,) = jobs_of(run(service.url, "put", picture, "-o", "fit=inside", "-o", "format=png,jpeg")).values()
    waited = run(service.url, "wait", job)
    assert waited.returncode == 0 and job in waited.stdout

    into = tmp_path / "into"
    into.mkdir()
    assert run(service.url, "get", job, "--save", into).returncode == 0
    assert sorted(path.suffix for path in into.iterdir()) == [".jpeg", ".png"]
    file = tmp_path / "thumb"
    assert run(service.url, "get", job, "--format", "jpeg", "--save", file).returncode == 0
    with Image.open(file) as thumbnail:
        assert thumbnail.format == "JPEG"

    listed = [json.loads(line) for line in run(service.url, "--json", "ls", "-n", 1000).stdout.splitlines()]
    assert next(each for each in listed if each["id"] == job)["fileName"] == "holiday.png"
    assert run(service.url, "rm", job).returncode == 0
    gone = run(service.url, "wait", job)
    assert gone.returncode == 1 and "JobNotFound" in gone.stderr


def test_a_name_that_ends_in_a_slash_is_a_folder(service: Any, run: Run, tmp_path: Path) -> None:
    (job,) = jobs_of(run(service.url, "put", a_picture(tmp_path / "one.png"))).values()
    assert run(service.url, "wait", job).returncode == 0
    for what, option in ("thumbnail", ()), ("original", ("--original",)):
        assert run(service.url, "get", job, *option, "--save", f"{tmp_path}/new/{what}/").returncode == 0
        assert [path.suffix for path in (tmp_path / "new" / what).iterdir()] == [".png"]
    refused = run(service.url, "get", job, "--save", f"{tmp_path}/one.png/")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert run(service.url, "get", job, job, "--save", f"{tmp_path}/none").returncode == 2


def test_a_job_that_fails_says_why(service: Any, run: Run, tmp_path: Path) -> None:
    whole = a_picture(tmp_path / "whole.png", (400, 300)).read_bytes()
    broken = tmp_path / "broken.png"
    broken.write_bytes(whole[: len(whole) // 2])
    result = run(service.url, "put", broken, "--wait")
    assert result.returncode == 1
    assert "failed: CorruptSource" in result.stderr


def test_nothing_of_a_missing_thumbnail_is_written(service: Any, run: Run, tmp_path: Path) -> None:
    result = run(service.url, "get", MISSING, "--save", tmp_path / "thumb")
    assert result.returncode == 1 and "ThumbnailNotFound" in result.stderr
    assert not (tmp_path / "thumb").exists()


def test_no_server(run: Run, tmp_path: Path) -> None:
    pictures = [a_picture(tmp_path / f"{number}.png") for number in range(9)]
    result = run("http://127.0.0.1:1", "put", *pictures, "--parallel", 1)
    assert result.returncode == 3
    assert "http://127.0.0.1:1 does not answer (connection refused)" in result.stderr
    assert "THUMBNAILS_URL" in result.stderr and "Traceback" not in result.stderr
    failed = [line for line in result.stderr.splitlines() if ".png: http" in line]
    assert len(failed) == 1, "the other files would fare no better"
    assert "8 were not begun" in result.stderr
    assert run("localhost:3000", "ls").returncode == 2


def test_failures_as_json(service: Any, run: Run, album: Path) -> None:
    result = run(service.url, "--json", "put", album / "notes.txt", album / "one.jpg", "--parallel", 1)
    failed, taken = map(json.loads, result.stdout.splitlines())
    assert failed["error"]["reason"] == "UnsupportedFormat" and failed["name"].endswith("notes.txt")
    assert taken["path"].endswith("one.jpg") and taken["status"] in {"pending", "processing", "complete"}


def test_a_preset_that_is_none(service: Any, run: Run, album: Path) -> None:
    result = run(service.url, "put", album / "one.jpg", "--preset", "avatar")
    assert result.returncode == 1 and "There is no preset 'avatar'" in result.stderr


def test_originals_come_back(service: Any, run: Run, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "original.png")
    (job,) = jobs_of(run(service.url, "put", picture)).values()
    into = tmp_path / "into"
    into.mkdir()
    assert run(service.url, "get", "--original", job, "--save", into).returncode == 0
    (saved,) = into.iterdir()
    assert saved.name == f"original-{job[-6:]}.png" and saved.read_bytes() == picture.read_bytes()
