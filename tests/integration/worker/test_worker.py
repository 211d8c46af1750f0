"""The worker as a process: protocol, object store, isolation, death of renderers, life and end."""

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from thumbnails_contract.keys import META_NAMES, RENDERER_VERSION
from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits

Start = Callable[..., Any]
Eventually = Callable[[Callable[[], Any]], Any]


def picture(width: int = 400, height: int = 300, format: str = "JPEG", **options: Any) -> bytes:  # noqa: A002
    file = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(file, format, **options)
    return file.getvalue()


def slow_item() -> dict[str, Any]:
    """An item that takes an encoder half a minute, though the file is small: noise, eight times."""
    file = io.BytesIO()
    Image.effect_noise((256, 256), 90).convert("RGB").save(file, "PNG")
    outputs = [Output(name=f"o{index}", width=2000, height=2000, quality=100) for index in range(8)]
    return {"original": file.getvalue(), "outputs": outputs, "format": Format.AVIF}


def test_an_original_becomes_thumbnails_with_their_facts(operator: Any, start: Start) -> None:
    start()
    operator.add(
        "one", picture(), [Output(width=100, height=100), Output(name="b", width=50)], format=Format.WEBP
    )
    result = operator.result("one")
    assert result.error is None
    assert not result.returned
    assert (result.source.format, result.source.width, result.source.height) == ("jpeg", 400, 300)
    assert result.render_seconds > 0
    assert [(o.object_key, o.width, o.height) for o in result.outputs] == [
        ("thumbnails/one/0", 100, 100),
        ("thumbnails/one/1", 50, 38),
    ]
    for output in result.outputs:
        stored = operator.thumbnails[output.object_key]
        assert Image.open(io.BytesIO(stored.file)).size == (output.width, output.height)
        assert (output.etag, output.bytes, output.frames) == ("etag-of-it", len(stored.file), 1)
        assert stored.fields["Content-Type"] == output.content_type == "image/webp"
        assert stored.fields["policy"] == "p"
        meta = {name: stored.fields[f"x-amz-meta-thumbnails-{name}"] for name in META_NAMES}
        assert (meta["width"], meta["height"], meta["frames"]) == (str(output.width), str(output.height), "1")
        assert meta["thumbhash"] == output.thumbhash
        assert 20 < len(output.thumbhash) <= 36
        assert meta["source"].startswith('{"format":"jpeg","width":400,"height":300,"frames":1,"bytes":')
    request = operator.requests[0]
    assert (request.renderer_version, request.poll.holding) == (RENDERER_VERSION, ())
    assert request.poll.capacity > 0


def test_many_items_flow_and_every_lease_is_held_until_its_result_came(operator: Any, start: Start) -> None:
    start(RENDERERS=2)
    for index in range(40):
        operator.add(str(index), picture(300 + index))
    operator.wait_for(lambda: len(operator.results) == 40)
    assert all(result.outputs for result in operator.results.values())
    assert {request.poll.holding for request in operator.requests if request.poll} != {()}
    polls = [request for request in operator.requests if request.poll]
    assert max(len(request.poll.holding) + request.poll.capacity for request in polls) < 40


def test_a_picture_that_cannot_be_rendered_says_why(operator: Any, start: Start) -> None:
    start()
    operator.add("text", b"these are my notes")
    operator.add("cut", picture()[:2000])
    operator.add("empty", b"")
    operator.add("large", picture(), limits=Limits(pixels=1000))
    operator.add("heavy", picture(), limits=Limits(source_bytes=1000))
    operator.add("good", picture())
    reasons = {"text": "UnsupportedFormat", "cut": "CorruptSource", "empty": "CorruptSource"}
    for lease, reason in {**reasons, "large": "SourceTooLarge", "heavy": "SourceTooLarge"}.items():
        result = operator.result(lease)
        assert (result.error.reason, result.retry) == (reason, False)
    assert "120000 pixels; the limit is 1000" in operator.result("large").error.message
    assert operator.result("good").outputs


def test_a_missing_original_and_an_expired_url(operator: Any, start: Start) -> None:
    start()
    operator.add("gone", b"")
    operator.originals.clear()
    assert operator.result("gone").error.reason == "SourceNotFound"
    operator.statuses["/originals/expired"] = [403]
    operator.add("expired", picture())
    result = operator.result("expired")
    assert (result.error.reason, result.retry) == ("ObjectStoreUnavailable", True)


def test_hiccups_of_the_object_store_are_survived(operator: Any, start: Start) -> None:
    start()
    operator.statuses["/originals/one"] = [503, 500]
    operator.statuses["/bucket"] = [503, 507]
    operator.add("one", picture())
    assert operator.result("one").outputs
    assert operator.fetches == ["/originals/one"] * 3


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGSEGV, "WorkerCrashed"), (signal.SIGKILL, "OutOfMemory")]
)
def test_the_death_of_a_renderer_costs_its_picture_only(
    number: int, reason: str, operator: Any, start: Start, eventually: Eventually
) -> None:
    worker = start()
    operator.add("victim", **slow_item())
    (pid,) = eventually(worker.renderers)
    eventually(lambda: _cpu_ticks(pid) > 20)  # it is at work on the picture
    operator.add("next", picture())
    os.kill(pid, number)
    result = operator.result("victim")
    assert (result.error.reason, result.retry) == (reason, True)
    assert operator.result("next").outputs
    assert eventually(worker.renderers) != [pid]


def test_what_a_renderer_has_in_hand_besides_is_not_blamed_for_its_death(
    operator: Any, start: Start, eventually: Eventually
) -> None:
    worker = start()
    (pid,) = eventually(worker.renderers)
    os.kill(pid, signal.SIGSTOP)
    operator.add("victim", picture())
    operator.wait_for(lambda: operator.fetches)
    operator.add("next", picture())

    def are_both_in_hand() -> bool:
        """Then the worker wants one to fetch, and not before."""
        polls = [request.poll for request in operator.requests if request.poll]
        return bool(polls and polls[-1].capacity and set(polls[-1].holding) == {"victim", "next"})

    operator.wait_for(are_both_in_hand)
    os.kill(pid, signal.SIGKILL)
    assert operator.result("victim").error.reason == "OutOfMemory"
    assert operator.result("next").outputs


def test_too_much_cpu_time_ends_a_picture(operator: Any, start: Start) -> None:
    start()
    operator.add("slow", **slow_item(), limits=Limits(cpu_seconds=1))
    operator.add("next", picture())
    result = operator.result("slow")
    assert (result.error.reason, result.retry) == ("DeadlineExceeded", False)
    assert operator.result("next").outputs


def test_too_much_time_by_the_clock_ends_a_picture(operator: Any, start: Start) -> None:
    start()
    operator.add("slow", **slow_item(), limits=Limits(wall_seconds=1))
    operator.add("next", picture())
    result = operator.result("slow")
    assert (result.error.reason, result.retry) == ("DeadlineExceeded", True)
    assert operator.result("next").outputs


def test_too_much_memory_ends_a_picture(operator: Any, start: Start) -> None:
    start(MEMORY_MIB=224)
    # Few pixels in, but its encoder wants more for this one output than a renderer has.
    operator.add("greedy", picture(64, 64), [Output(width=4096, height=4096)], format=Format.WEBP)
    operator.add("next", picture())
    result = operator.result("greedy")
    assert (result.error.reason, result.retry) == ("OutOfMemory", False)
    assert operator.result("next").outputs


def test_a_picture_that_cannot_fit_is_refused_before_it_is_decoded(operator: Any, start: Start) -> None:
    start(MEMORY_MIB=224)
    operator.add("large", picture(6000, 6000, "JPEG", progressive=True))
    result = operator.result("large")
    assert result.error.reason == "SourceTooLarge"
    assert "MiB" in result.error.message


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_of_24_megapixels_fits_into_a_worker_of_the_default_size(
    mode: str, operator: Any, start: Start
) -> None:
    start()
    file = io.BytesIO()
    clear = Image.new(mode, (6000, 4000), (200, 100, 50, 128)[: len(mode)])
    clear.save(file, "WEBP", quality=1, method=0)
    operator.add("large", file.getvalue(), [Output(width=1920, height=1280)])
    assert operator.result("large").outputs


def test_no_renderer_serves_two_accounts(operator: Any, start: Start, eventually: Eventually) -> None:
    worker = start()
    seen = []
    for index, account in enumerate(("a", "a", "b", "a")):
        operator.add(str(index), picture(), account=account)
        assert operator.result(str(index)).outputs
        seen.append(eventually(worker.renderers))
    assert seen[0] == seen[1]
    assert seen[1] != seen[2]
    assert seen[2] != seen[3]


def test_a_renderer_has_no_network_no_environment_and_no_rights(
    operator: Any, start: Start, eventually: Eventually
) -> None:
    worker = start()
    operator.add("one", picture())
    assert operator.result("one").outputs
    (pid,) = eventually(worker.renderers)
    files = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
    assert len([file for file in files if file.startswith("socket:")]) == 1
    sockets = Path(f"/proc/{pid}/net/unix").read_text("ascii")
    assert all(file[8:-1] in sockets for file in files if file.startswith("socket:"))
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    assert "NoNewPrivs:\t1" in status
    limits = Path(f"/proc/{pid}/limits").read_text("ascii")
    assert "Max core file size        0 " in limits
    assert f"Max data size             {(512 - 128) << 20} " in limits
    assert _cpu_ticks(pid) < 1000


def test_the_supervisor_never_loads_a_decoder(operator: Any, start: Start) -> None:
    worker = start()
    operator.add("one", picture())
    assert operator.result("one").outputs
    assert "_imaging" not in Path(f"/proc/{worker.process.pid}/maps").read_text("utf-8")
    assert "_imaging" in Path(f"/proc/{worker.nursery()}/maps").read_text("utf-8")


def test_a_dropped_item_gives_no_result_and_frees_its_renderer(
    operator: Any, start: Start, eventually: Eventually
) -> None:
    worker = start()
    operator.add("unwanted", **slow_item())
    (pid,) = eventually(worker.renderers)
    eventually(lambda: _cpu_ticks(pid) > 20)
    operator.change(drop=["unwanted"])
    operator.add("next", picture())
    assert operator.result("next").outputs
    assert "unwanted" not in operator.results
    assert eventually(worker.renderers) != [pid]


def test_a_worker_that_has_enough_is_told_at_once_what_to_drop(operator: Any, start: Start) -> None:
    start()
    leases = {"one", "two", "three"}
    operator.held_back.update(f"/originals/{lease}" for lease in leases)
    for lease in sorted(leases):
        operator.add(lease, picture())

    def full() -> Any:
        poll = operator.requests[-1].poll if operator.requests else None
        return poll is not None and set(poll.holding) == leases and poll.capacity == 0 and poll.wait_seconds

    operator.wait_for(full)
    operator.change(drop=["two"])
    operator.wait_for(lambda: operator.requests[-1].poll and "two" not in operator.requests[-1].poll.holding)
    operator.change(held_back=set())
    assert operator.result("one").outputs
    assert operator.result("three").outputs
    assert "two" not in operator.results


def test_what_is_to_be_dropped_may_come_with_the_answer_to_a_delivery(
    operator: Any, start: Start, eventually: Eventually
) -> None:
    worker = start(RENDERERS=2)
    operator.add("unwanted", **slow_item())
    pids = eventually(lambda: len(worker.renderers()) == 2 and worker.renderers())
    eventually(lambda: any(_cpu_ticks(pid) > 20 for pid in pids))
    operator.drop_with_delivery = ["unwanted"]
    # Some results may still find a poll to travel with; most come while one is waiting.
    for index in range(50):
        operator.add(str(index), picture())
        assert operator.result(str(index)).outputs
        if not operator.drop_with_delivery:
            break
    eventually(lambda: len(worker.renderers()) == 2 and worker.renderers() != pids)
    assert "unwanted" not in operator.results


def test_stop_finishes_what_is_held_and_ends(operator: Any, start: Start) -> None:
    worker = start()
    operator.held_back.add("/originals/one")
    operator.add("one", picture())
    operator.wait_for(lambda: operator.fetches)
    operator.change(stop=True, held_back=set())
    assert worker.process.wait(60) == 0
    assert operator.result("one").outputs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_back_what_was_not_begun_and_ends_in_time(
    number: int, operator: Any, start: Start
) -> None:
    worker = start()
    operator.held_back.update({"/originals/one", "/originals/two"})
    operator.add("one", picture())
    operator.add("two", picture())
    operator.wait_for(lambda: len(operator.fetches) == 2)
    assert worker.end(number) == 0
    assert operator.result("one").returned
    assert operator.result("two").returned
    assert operator.requests[-1].draining
    operator.change(held_back=set())


def test_a_signal_gives_back_what_takes_too_long(operator: Any, start: Start, eventually: Eventually) -> None:
    worker = start()
    operator.add("slow", **slow_item())
    (pid,) = eventually(worker.renderers)
    eventually(lambda: _cpu_ticks(pid) > 20)
    assert worker.end() == 0
    assert operator.result("slow").returned


def test_nothing_outlives_a_killed_supervisor(operator: Any, start: Start, eventually: Eventually) -> None:
    worker = start(RENDERERS=2)
    operator.add("slow", **slow_item())
    renderers = eventually(lambda: len(worker.renderers()) == 2 and worker.renderers())
    eventually(lambda: any(_cpu_ticks(pid) > 20 for pid in renderers))
    everybody = [worker.nursery(), *renderers]
    assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    eventually(lambda: not any(_alive(pid) for pid in everybody))


def test_a_worker_without_its_nursery_ends(operator: Any, start: Start, eventually: Eventually) -> None:
    worker = start()
    operator.wait_for(lambda: operator.requests)
    eventually(worker.renderers)
    os.kill(worker.nursery(), signal.SIGKILL)
    assert worker.process.wait(60) == 4


def test_a_worker_that_hears_from_no_operator_ends(operator: Any, start: Start) -> None:
    operator.exchange_status = 403
    worker = start(THUMBNAILS_OPERATOR_LOST_SECONDS=1)
    assert worker.process.wait(60) == 3


def test_results_are_kept_while_the_operator_is_away(
    operator: Any, start: Start, eventually: Eventually
) -> None:
    start()
    operator.held_back.add("/originals/one")
    operator.add("one", picture())
    operator.wait_for(lambda: operator.fetches)
    operator.change(exchange_status=503, held_back=set())
    operator.wait_for(lambda: operator.thumbnails)
    tries = len(operator.tokens)
    eventually(lambda: len(operator.tokens) > tries)
    assert not operator.results
    operator.change(exchange_status=200)
    assert operator.result("one").outputs


def test_answers_of_an_earlier_leader_count_for_nothing(
    operator: Any, start: Start, eventually: Eventually
) -> None:
    start()
    operator.change(generation=7)
    operator.add("one", picture())
    assert operator.result("one").outputs
    operator.change(generation=6)
    operator.add("stale", picture())
    operator.wait_for(lambda: not operator.pending)
    operator.change(generation=7)
    operator.add("two", picture())
    assert operator.result("two").outputs
    assert "stale" not in operator.results
    assert "/originals/stale" not in operator.fetches


def test_the_token_is_read_again_when_it_changes(operator: Any, start: Start, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n", "ascii")
    start(THUMBNAILS_EXCHANGE_TOKEN_FILE=token)
    operator.wait_for(lambda: operator.requests)
    token.write_text("second\n", "ascii")
    operator.add("one", picture())
    operator.add("two", picture())
    operator.wait_for(lambda: len(operator.results) == 2)
    assert operator.tokens[0] == "Bearer first"
    assert operator.tokens[-1] == "Bearer second"


def test_a_worker_ends_before_its_deadline(operator: Any, start: Start) -> None:
    worker = start(DEADLINE_SECONDS=3)
    assert worker.process.wait(60) == 0


def test_no_url_and_no_token_is_logged(operator: Any, start: Start, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("open-sesame", "ascii")
    operator.statuses["/originals/one"] = [503]
    operator.statuses["/bucket"] = [403]
    worker = start(THUMBNAILS_LOG_LEVEL="debug", THUMBNAILS_EXCHANGE_TOKEN_FILE=token)
    operator.add("one", picture())
    assert operator.result("one").error.reason == "ObjectStoreUnavailable"
    operator.add("two", b"II*\0" + bytes(50))
    assert operator.result("two").error
    assert worker.end() == 0
    assert worker.log()
    text = worker.log_file.read_text("utf-8")
    assert not [word for word in ("open-sesame", "secret", "http://", "X-Amz", "/bucket") if word in text]


@pytest.mark.parametrize(
    "variables",
    [
        {"THUMBNAILS_EXCHANGE_URL": "ftp://x"},
        {"THUMBNAILS_WORKER_RENDERERS": "0"},
        {"THUMBNAILS_WORKER_RENDERERS": "many"},
        {"THUMBNAILS_WORKER_MEMORY_MIB": "100"},
        {"THUMBNAILS_WORKER_DEADLINE_SECONDS": "soon"},
        {"THUMBNAILS_OPERATOR_LOST_SECONDS": "nan"},
        {"THUMBNAILS_LOG_LEVEL": "loud"},
    ],
)
def test_a_wrong_setting_gives_one_line_that_names_it(variables: dict[str, str], start: Start) -> None:
    worker = start(**variables)
    assert worker.process.wait(60) == 2
    (line,) = worker.log_file.read_text("utf-8").splitlines()
    assert next(iter(variables)) in line


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
