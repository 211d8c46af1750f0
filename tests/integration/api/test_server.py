"""The API on its real server with real HTTP: bodies of every kind, limits, slow and gone clients, the end."""

import contextlib
import hashlib
import http.client
import threading
import time
from typing import Any

import pytest
import requests

from thumbnails_api.server import connections_within

# A GIF's header is all that the API looks at; the rest is as large as a test needs it.
GIF = b"GIF89a\x0a\x00\x0a\x00\x00\x00\x00"
GIF_TYPE = {"Content-Type": "image/gif"}


def picture(size: int) -> bytes:
    return GIF + bytes(size - len(GIF))


def stored(server: Any) -> Any:
    ((facts, digest),) = server.objects.objects.values()
    return facts.bytes, digest


def test_curl_s_form_upload(server: Any) -> None:
    content = picture(3_000_000)
    result = requests.post(f"{server.url}/images", files={"image": ("a.gif", content)}, timeout=60)
    assert result.status_code == 201
    assert stored(server) == (len(content), hashlib.sha256(content).hexdigest())
    job = requests.get(server.url + result.headers["Location"], timeout=60).json()
    assert job["status"] == "pending"
    assert job["fileName"] == "a.gif"


@pytest.mark.parametrize("size", [13, 8_000, 200_000, 3_000_000])
def test_a_raw_body_in_memory_and_on_disk(server: Any, size: Any) -> None:
    content = picture(size)
    result = requests.post(f"{server.url}/images", data=content, headers=GIF_TYPE, timeout=60)
    assert result.status_code == 201
    assert stored(server) == (size, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("size", [13, 3_000_000])
def test_a_chunked_body(server: Any, size: Any) -> None:
    content = picture(size)
    chunks = (content[start : start + 70_000] for start in range(0, size, 70_000))
    result = requests.post(f"{server.url}/images", data=chunks, headers=GIF_TYPE, timeout=60)
    assert result.status_code == 201
    assert stored(server) == (size, hashlib.sha256(content).hexdigest())


def test_expect_100_continue(server: Any, answer_on: Any) -> None:
    content = picture(2_000_000)
    with server.connect() as connection:
        connection.sendall(
            b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/gif\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(content)
        )
        assert answer_on(connection).status == 100
        connection.sendall(content)
        assert answer_on(connection).status == 201


def test_an_oversized_request_that_waits_for_100_gets_its_413_at_once(
    start_server: Any, answer_on: Any
) -> None:
    server = start_server(max_request_bytes=1_000_000)
    with server.connect() as connection:
        connection.sendall(
            b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/gif\r\n"
            b"Expect: 100-continue\r\nContent-Length: 1000001\r\n\r\n"
        )
        answer = answer_on(connection)
    assert answer.status == 413
    assert answer.json["reason"] == "PayloadTooLarge"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_far_too_much_reads_its_413(start_server: Any, chunked: Any) -> None:
    server = start_server(max_request_bytes=1_000_000)
    content = picture(20_000_000)
    data = (
        (content[start : start + 100_000] for start in range(0, len(content), 100_000))
        if chunked
        else content
    )
    result = requests.post(f"{server.url}/images", data=data, headers=GIF_TYPE, timeout=60)
    assert result.status_code == 413
    assert result.json()["reason"] == "PayloadTooLarge"
    assert server.objects.objects == {}
    assert requests.get(f"{server.url}/healthz", timeout=60).status_code == 200
    metrics = requests.get(f"{server.url}/metrics", timeout=60).text
    assert 'thumbnails_api_problems_total{reason="PayloadTooLarge"} 1.0' in metrics


def test_a_refused_client_can_send_on_until_it_has_read_why(start_server: Any, answer_on: Any) -> None:
    server = start_server(max_request_bytes=1_000_000)
    with server.connect() as connection:
        connection.sendall(b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n")
        answer = answer_on(connection)
        for _ in range(50):
            connection.sendall(bytes(100_000))  # a connection that is closed already would be reset
        assert answer.status == 413
        assert connection.recv(10) == b""


def test_the_limit_itself_is_within_the_limit(start_server: Any) -> None:
    server = start_server(max_request_bytes=1_000_000)
    result = requests.post(f"{server.url}/images", data=picture(1_000_000), headers=GIF_TYPE, timeout=60)
    assert result.status_code == 201


def test_a_picture_over_its_own_limit_is_413(start_server: Any) -> None:
    server = start_server(max_upload_bytes=1_000_000)
    content = picture(1_000_001)
    for options in ({"data": content, "headers": GIF_TYPE}, {"files": {"image": content}}):
        result = requests.post(f"{server.url}/images", timeout=60, **options)
        assert result.status_code == 413
        assert result.headers["Content-Type"] == "application/problem+json"


def test_bodies_beyond_the_spool_are_503_and_later_ones_are_taken(
    start_server: Any, eventually: Any, answer_on: Any
) -> None:
    server = start_server(max_spool_bytes=2_000_000)
    server.objects.hold = threading.Event()
    results = []

    def post() -> None:
        results.append(
            requests.post(f"{server.url}/images", data=picture(1_500_000), headers=GIF_TYPE, timeout=100)
        )

    first = threading.Thread(target=post)
    first.start()
    assert server.objects.holding.acquire(timeout=60)
    post()
    (refused,) = results
    assert refused.status_code == 503
    assert refused.json()["reason"] == "Overloaded"
    assert int(refused.headers["Retry-After"]) > 0
    server.objects.hold.set()
    first.join(60)
    assert results[1].status_code == 201
    post()
    assert results[2].status_code == 201


def test_clients_that_announce_much_and_send_nothing_take_no_room(start_server: Any, answer_on: Any) -> None:
    server = start_server(max_spool_bytes=2_000_000)
    head = (
        b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/gif\r\n"
        b"Content-Length: 1900000\r\n\r\n"
    )
    idle = [server.connect() for _ in range(8)]
    for connection in idle:
        connection.sendall(head + picture(1000))
    for _ in range(3):
        # The room of the one before is given back just after its answer.
        deadline = time.monotonic() + 30
        while True:
            result = requests.post(
                f"{server.url}/images", data=picture(1_500_000), headers=GIF_TYPE, timeout=60
            )
            if result.status_code == 201 or time.monotonic() > deadline:
                break
        assert result.status_code == 201
    statuses = []
    for connection in idle:
        connection.sendall(bytes(1_899_000))
        statuses.append(answer_on(connection).status)
        if statuses[-1] == 201:
            break
    assert statuses[-1] == 201
    for connection in idle:
        connection.close()


def test_uploads_that_outgrow_the_room_together_are_503_in_their_midst(
    start_server: Any, answer_on: Any
) -> None:
    server = start_server(max_spool_bytes=2_000_000)
    server.objects.hold = threading.Event()
    head = (
        b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/gif\r\n"
        b"Expect: 100-continue\r\nContent-Length: 1500000\r\n\r\n"
    )
    with server.connect() as first, server.connect() as second:
        for connection in (first, second):
            connection.sendall(head)
            assert answer_on(connection).status == 100  # each alone finds room
        first.sendall(picture(1_500_000))
        assert server.objects.holding.acquire(timeout=60)
        second.sendall(picture(1_500_000))
        refused = answer_on(second)
        assert (refused.status, refused.json["reason"]) == (503, "Overloaded")
        server.objects.hold.set()
        assert answer_on(first).status == 201


def test_a_client_that_goes_away_in_mid_upload_gives_its_room_back(start_server: Any) -> None:
    server = start_server(max_spool_bytes=2_000_000)
    for _ in range(5):
        with server.connect() as connection:
            connection.sendall(
                b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/gif\r\n"
                b"Content-Length: 1500000\r\n\r\n" + picture(500_000)
            )
    deadline_tries = 200
    for _ in range(deadline_tries):
        result = requests.post(f"{server.url}/images", data=picture(1_500_000), headers=GIF_TYPE, timeout=60)
        if result.status_code == 201:
            break
        assert result.status_code == 503
    assert result.status_code == 201
    assert len(server.store.documents) == 1


def test_slow_and_idle_clients_do_not_hold_others_up(start_server: Any, answer_on: Any) -> None:
    server = start_server(max_following_requests=0, threads=2, max_waiting_requests=1)
    content = picture(100_000)
    head = b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    idle = [server.connect() for _ in range(50)]
    slow = [server.connect() for _ in range(20)]
    for connection in slow:
        connection.sendall(head + content[:50_000])
    assert (
        requests.post(f"{server.url}/images", data=content, headers=GIF_TYPE, timeout=60).status_code == 201
    )
    for connection in slow:
        connection.sendall(content[50_000:])
    assert {answer_on(connection).status for connection in slow} == {201}
    for connection in idle:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert {answer_on(connection).status for connection in idle} == {200}
    for connection in idle + slow:
        connection.close()


@pytest.mark.parametrize("begun", [b"P", b"POST /images HTTP/1.1\r\nHost: localhost\r\nX-Header: "])
def test_a_head_that_never_ends_is_a_408_however_busy_its_connection_is(
    start_server: Any, answer_on: Any, begun: bytes
) -> None:
    server = start_server(head_timeout_seconds=2)
    with server.connect() as slow, server.connect() as body, server.connect() as idle:
        slow.sendall(begun)
        body.sendall(b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        slow.settimeout(0.2)
        answer = b""
        while not answer:  # each byte is a sign of life
            slow.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(65536)
        assert answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.0 408 "))
        assert b'"RequestTimeout"' in answer + slow.recv(65536)
        # A body, and a connection without a request, may take their time.
        body.sendall(picture(1000))
        assert answer_on(body).status == 201
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_on(idle).status == 200


def test_the_time_of_a_head_begins_with_its_first_byte(start_server: Any, answer_on: Any) -> None:
    server = start_server(head_timeout_seconds=1)
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer_on(connection).status == 200
            time.sleep(2.2)  # longer than a head may take, and than it takes to look for them


def test_waiting_requests_leave_threads_for_others(start_server: Any) -> None:
    server = start_server(max_following_requests=0, threads=3, max_waiting_requests=2)
    job_id = requests.post(f"{server.url}/images", data=picture(100), headers=GIF_TYPE, timeout=60).json()[
        "id"
    ]
    answers = []

    def wait() -> None:
        headers = {"Prefer": "wait=30"}
        answers.append(requests.get(f"{server.url}/jobs/{job_id}", headers=headers, timeout=100))

    waiters = [threading.Thread(target=wait) for _ in range(6)]
    for waiter in waiters:
        waiter.start()
    assert requests.get(f"{server.url}/jobs/{job_id}", timeout=25).json()["status"] == "pending"
    server.finish(job_id, 10)
    for waiter in waiters:
        waiter.join(60)
    applied = [answer for answer in answers if "Preference-Applied" in answer.headers]
    assert len(answers) == 6
    assert len(applied) >= 2
    assert {answer.json()["status"] for answer in applied} == {"complete"}


def test_a_job_s_end_reaches_the_api_by_the_watch(server: Any, eventually: Any) -> None:
    job_id = requests.post(f"{server.url}/images", data=picture(100), headers=GIF_TYPE, timeout=60).json()[
        "id"
    ]
    server.finish(job_id, 5_000_000)
    headers = {"Prefer": "wait=30"}
    job = requests.get(f"{server.url}/jobs/{job_id}", headers=headers, timeout=60).json()
    assert job["status"] == "complete"
    thumbnail = requests.get(server.url + job["thumbnailPath"], timeout=60)
    assert thumbnail.status_code == 200
    assert len(thumbnail.content) == 5_000_000
    part = requests.get(server.url + job["thumbnailPath"], headers={"Range": "bytes=4000000-"}, timeout=60)
    assert (part.status_code, len(part.content)) == (206, 1_000_000)
    again = requests.get(
        server.url + job["thumbnailPath"], headers={"If-None-Match": thumbnail.headers["ETag"]}, timeout=60
    )
    assert (again.status_code, again.content) == (304, b"")
    head = requests.head(server.url + job["thumbnailPath"], timeout=60)
    assert head.headers["Content-Length"] == "5000000"
    eventually(lambda: all(body.closed.is_set() for body in server.objects.bodies), "bodies are closed")


def test_answers_without_a_body_keep_the_connection(server: Any, answer_on: Any) -> None:
    job_id = requests.post(f"{server.url}/images", data=picture(100), headers=GIF_TYPE, timeout=60).json()[
        "id"
    ]
    server.finish(job_id, 10)
    requests.get(f"{server.url}/jobs/{job_id}", headers={"Prefer": "wait=30"}, timeout=60)
    path = job_id.encode()
    with server.connect() as connection:
        for line, status in (
            (b"GET /thumbnails/%b HTTP/1.1\r\nIf-None-Match: *" % path, 304),
            (b"DELETE /jobs/%b HTTP/1.1" % path, 204),
            (b"GET /healthz HTTP/1.1", 200),
        ):
            connection.sendall(line + b"\r\nHost: localhost\r\n\r\n")
            answer = answer_on(connection)
            assert (answer.status, answer.headers.get("connection")) == (status, None)
        connection.sendall(b"DELETE /jobs/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer_on(connection).headers["connection"] == "close"


def test_a_store_that_breaks_off_cuts_the_connection(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    job_id = requests.post(f"{server.url}/images", data=picture(100), headers=GIF_TYPE, timeout=60).json()[
        "id"
    ]
    server.finish(job_id, 5_000_000)
    requests.get(f"{server.url}/jobs/{job_id}", headers={"Prefer": "wait=30"}, timeout=60)
    server.objects.breaks_after = 1_000_000
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", f"/thumbnails/{job_id}")
    response = connection.getresponse()
    assert response.status == 200
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()
    assert "Traceback" not in caplog.text


def test_a_client_that_goes_away_while_it_is_served_gives_the_body_back(server: Any, eventually: Any) -> None:
    job_id = requests.post(f"{server.url}/images", data=picture(100), headers=GIF_TYPE, timeout=60).json()[
        "id"
    ]
    server.finish(job_id, 200_000_000)
    requests.get(f"{server.url}/jobs/{job_id}", headers={"Prefer": "wait=30"}, timeout=60)
    with server.connect() as connection:
        connection.sendall(b"GET /thumbnails/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % job_id.encode())
        connection.recv(1000)
    eventually(server.objects.bodies[0].closed.is_set, "the body is closed")


def test_clients_that_do_not_read_their_answer_leave_threads_for_others(start_server: Any) -> None:
    server = start_server(max_following_requests=0, threads=2, max_waiting_requests=1)
    job_id = requests.post(f"{server.url}/images", data=picture(100), headers=GIF_TYPE, timeout=60).json()[
        "id"
    ]
    server.finish(job_id, 30_000_000)
    requests.get(f"{server.url}/jobs/{job_id}", headers={"Prefer": "wait=30"}, timeout=60)
    stalled = [server.connect() for _ in range(4)]
    for connection in stalled:
        connection.sendall(b"GET /thumbnails/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % job_id.encode())
    assert requests.get(f"{server.url}/jobs/{job_id}", timeout=60).status_code == 200
    for connection in stalled:
        connection.close()


def test_a_page_of_another_origin_cannot_post(server: Any) -> None:
    headers = GIF_TYPE | {"Origin": "https://example.org"}
    result = requests.post(f"{server.url}/images", data=picture(100), headers=headers, timeout=60)
    assert result.status_code == 403
    assert result.json()["reason"] == "ForbiddenOrigin"
    assert server.store.documents == {}


@pytest.mark.parametrize(
    ("open_files", "wanted", "connections"),
    [(1024, 4096, 256), (1_048_576, 4096, 4096), (100, 4096, 16), (20_000, 100, 100)],
)
def test_there_are_no_more_connections_than_files(open_files: int, wanted: int, connections: int) -> None:
    assert connections_within(open_files, wanted) == connections


def test_the_server_says_nothing_of_itself(server: Any) -> None:
    assert "Server" not in requests.get(f"{server.url}/", timeout=60).headers


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET /" + b"x" * 50_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http_are_a_400_and_harm_nobody(server: Any, answer_on: Any, request_: Any) -> None:
    with server.connect() as connection:
        connection.sendall(request_)
        assert answer_on(connection).status == 400
    assert requests.get(f"{server.url}/healthz", timeout=60).status_code == 200


# ---- the end ----


@pytest.mark.parametrize(
    "head",
    [
        b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 41\r\nTransfer-Encoding: chunked\r\n",
        b"POST /images HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"POST /images HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
        b"POST /images HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n",
        b"POST /images HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \x0bchunked\r\n",
        b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 41\r\n",
        b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n",
        b"POST /images HTTP/2.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_body_of_unclear_length_hides_no_second_request(server: Any, head: bytes) -> None:
    """Whatever a proxy before us takes for its end: the connection ends with the first answer."""
    with server.connect() as connection:
        connection.sendall(head + b"\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answers = b""
        while data := connection.recv(65536):
            answers += data
    assert answers.count(b"HTTP/1.") == 1
    assert b" 400 " in answers.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /jobs HTTP/1.1\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
        b"GET http://evil.example/jobs HTTP/1.1\r\nHost: localhost\r\n",
    ],
)
def test_there_is_one_host(server: Any, head: bytes, answer_on: Any) -> None:
    with server.connect() as connection:
        connection.sendall(head + b"Connection: close\r\n\r\n")
        assert answer_on(connection).status == 400


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"3;", b"a" * 65536), (b"0\r\n", b"X-A: b\r\n" * 8192), (b"", b"1\r\na\r\n" * 8192)],
)
def test_chunks_that_are_all_frame_are_refused_before_they_cost_anything(
    server: Any, answer_on: Any, begin: bytes, more: bytes
) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /images HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + begin
        )
        for _ in range(4):
            connection.sendall(more)
        assert answer_on(connection).status == 400


def test_stop_lets_a_running_upload_end(server: Any) -> None:
    server.objects.hold = threading.Event()
    results = []

    def post() -> None:
        results.append(requests.post(f"{server.url}/images", data=picture(100), headers=GIF_TYPE, timeout=60))

    upload = threading.Thread(target=post)
    upload.start()
    assert server.objects.holding.acquire(timeout=60)
    server.server.stop()
    server.objects.hold.set()
    upload.join(60)
    assert results[0].status_code == 201
    server.thread.join(60)
    assert not server.thread.is_alive()


def test_stop_does_not_wait_for_idle_clients(server: Any) -> None:
    with server.connect() as connection:
        server.stop()
        assert connection.recv(10) == b""
    with pytest.raises(OSError, match="refused"):
        server.connect()
