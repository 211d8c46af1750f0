"""Accounts through REST, on each job store, by an attacker's hand: what is another account's is not there.

`shop` owns everything. `rival` is another account of the same namespace, `twin` an account of that name in
another namespace. Both know all names there are: ids, batches, cursors, event ids, object keys, links.
"""

import asyncio
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from falcon import testing
from PIL import Image

from thumbnails_api.accounts import Access, Caller
from thumbnails_api.app import create_app
from thumbnails_api.job_cache import JobCache
from thumbnails_api.links import LinkSigner
from thumbnails_api.settings import ApiSettings
from thumbnails_common.jobstore import JobStore, list_all
from thumbnails_common.objectstore import NoSuchObject, ObjectExists, ObjectFacts
from thumbnails_contract.errors import Unauthorized
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import Condition, ConditionType, OutputFacts, Status
from thumbnails_operator.counts import Counts
from thumbnails_operator.eraser import Eraser
from thumbnails_operator.informer import Owned
from thumbnails_operator.settings import OperatorSettings

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
SECRET = "s" * 32
ATTACKERS = ("rival", "twin")


class Objects:
    """As much of an ObjectStore as the API uses."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[ObjectFacts, bytes]] = {}

    def put(
        self,
        key: str,
        data: BinaryIO,
        length: int,
        *,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
        only_if_absent: bool = False,
    ) -> str:
        if only_if_absent and key in self.objects:
            raise ObjectExists
        content = data.read(length)
        etag = hashlib.md5(content).hexdigest()
        self.objects[key] = (ObjectFacts(key, etag, length, NOW, content_type), content)
        return etag

    def head(self, key: str) -> ObjectFacts:
        if key not in self.objects:
            raise NoSuchObject
        return self.objects[key][0]

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Any:
        facts = self.head(key)
        end = None if length is None else offset + length
        body = io.BytesIO(self.objects[key][1][offset:end])
        body.facts = facts  # type: ignore[attr-defined]
        return body

    def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> Iterator[ObjectFacts]:
        found = sorted(key for key in self.objects if key.startswith(prefix) and key > (after or ""))
        return (self.objects[key][0] for key in found[:limit])

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def check(self) -> None:
        pass


@dataclass
class Login:
    """Whoever says an account's name has its key."""

    callers: Mapping[str, Caller]
    requires_login: bool = True

    def authenticate(self, authorization: str | None) -> Access:
        caller = self.callers.get(authorization or "")
        if caller is None:
            raise Unauthorized
        return Access(caller)

    glance = authenticate

    def check(self) -> None:
        pass


@dataclass
class World:
    """The API on a real job store, with what `shop` has."""

    client: testing.TestClient
    store: JobStore
    objects: Objects
    jobs: JobCache
    namespace: str
    ids: list[str] = field(default_factory=list)

    def request(self, who: str, method: str, path: str, **options: Any) -> testing.Result:
        headers = {"Host": "localhost:3000", "Authorization": who} | options.pop("headers", {})
        return self.client.simulate_request(method, path, headers=headers, **options)

    def get(self, who: str, path: str, **headers: str) -> testing.Result:
        return self.request(who, "GET", path, headers=headers)

    def upload(self, who: str, picture: bytes, **headers: str) -> testing.Result:
        headers = {"Content-Type": "image/png"} | headers
        return self.request(who, "POST", "/images", body=picture, headers=headers)

    def upload_batch(self, who: str, *pictures: bytes) -> testing.Result:
        body = b"".join(
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + each + b"\r\n"
            for each in pictures
        )
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        return self.request(who, "POST", "/images", body=body + b"--x--\r\n", headers=headers)

    def finish(self, job_id: str) -> None:
        """One thumbnail, and the status that says so."""
        document = self.store.get(self.namespace, job_id)
        key = f"thumbnails/{self.namespace}/shop/{'a' * 64}/{'b' * 32}"
        etag = self.objects.put(key, io.BytesIO(b"thumbnail"), 9, content_type="image/png")
        output = OutputFacts("default", "auto", key, 10, 10, 9, "image/png", etag)
        condition = Condition(ConditionType.COMPLETE, True, "Rendered", "", NOW)
        status = Status(conditions=(condition,), outputs=(output,), start_time=NOW, completion_time=NOW)
        version = document["metadata"]["resourceVersion"]
        patch = status.to_manifest()
        self.jobs.put(self.store.patch_status(self.namespace, job_id, patch, resource_version=version))

    def snapshot(self) -> tuple[Any, Any]:
        """All that there is."""
        documents = [self.store.get(self.namespace, job_id) for job_id in self.ids]
        return documents, dict(self.objects.objects)


@pytest.fixture
def picture() -> Callable[[int], bytes]:
    def make(number: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (20 + number, 20)).save(file, "PNG")
        return file.getvalue()

    return make


@pytest.fixture
def world(backend: Any, job_store: JobStore, picture: Callable[[int], bytes]) -> Iterator[World]:
    objects = Objects()
    jobs = JobCache(job_store)
    callers = {
        "shop": Caller(backend.namespace, "shop"),
        "rival": Caller(backend.namespace, "rival"),
        "twin": Caller(backend.other_namespace, "shop"),
    }
    app = create_app(
        job_store,
        objects,  # type: ignore[arg-type]
        jobs,
        ApiSettings(max_following_requests=0),
        authenticator=Login(callers),
        signer=LinkSigner.from_text(SECRET),
        sleep=lambda _seconds: None,
    )
    jobs.start()
    try:
        assert jobs.wait_synced(60)
        world = World(testing.TestClient(app), job_store, objects, jobs, backend.namespace)
        world.ids.append(world.upload("shop", picture(0)).json["id"])
        world.ids += [item["id"] for item in world.upload_batch("shop", picture(1), picture(2)).json["items"]]
        world.finish(world.ids[0])
        yield world
    finally:
        job_store.close()  # which ends the watch
        jobs.stop(60)


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_no_id_of_another_account_leads_anywhere(world: World, attacker: str) -> None:
    before = world.snapshot()
    for job_id in world.ids:
        for method, path in (
            ("GET", f"/jobs/{job_id}"),
            ("HEAD", f"/jobs/{job_id}"),
            ("DELETE", f"/jobs/{job_id}"),
            ("GET", f"/jobs/{job_id}/events"),
            ("GET", f"/jobs/{job_id}/links"),
            ("GET", f"/images/{job_id}"),
            ("HEAD", f"/images/{job_id}"),
            ("GET", f"/thumbnails/{job_id}"),
            ("HEAD", f"/thumbnails/{job_id}"),
            ("GET", f"/thumbnails/{job_id}/default"),
        ):
            nobody = "01980000-0000-7000-8000-000000000000"
            answers = [
                world.request(
                    attacker,
                    method,
                    each,
                    headers={
                        "Prefer": "wait=1",
                        "If-None-Match": "*",
                        "Last-Event-ID": "1",
                        "Range": "bytes=0-",
                    },
                )
                for each in (path, path.replace(job_id, nobody))
            ]
            assert answers[0].status_code == 404, (method, path)
            assert answers[0].content == answers[1].content
            names = [sorted(answer.headers) for answer in answers]
            assert names[0] == names[1]
    assert world.snapshot() == before
    assert world.get("shop", f"/thumbnails/{world.ids[0]}").content == b"thumbnail"
    assert world.get("shop", f"/images/{world.ids[0]}").status_code == 200


@pytest.mark.parametrize("attacker", ATTACKERS)
@pytest.mark.parametrize(
    "header",
    [
        "X-Account",
        "X-Thumbnails-Account",
        "X-Namespace",
        "X-Forwarded-User",
        "X-Remote-User",
        "Impersonate-User",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "Cookie",
    ],
)
def test_no_header_says_who_somebody_is(world: World, attacker: str, header: str) -> None:
    for value in ("shop", f"system:serviceaccount:{world.namespace}:shop", f"/jobs/{world.ids[0]}"):
        assert world.get(attacker, f"/jobs/{world.ids[0]}", **{header: value}).status_code == 404
        assert world.get("", f"/jobs/{world.ids[0]}", **{header: value}).status_code == 401


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_no_way_of_writing_a_path_leads_past_the_account(world: World, attacker: str) -> None:
    job_id = world.ids[0]
    key = next(key for key in world.objects.objects if key.startswith("sources/"))
    for path in (
        f"/jobs/{world.namespace}/{job_id}",
        f"/jobs/{world.namespace}%2F{job_id}",
        f"/jobs/..%2F{world.namespace}%2F{job_id}",
        f"/images/{key}",
        f"/images/{key.replace('/', '%2F')}",
        f"/thumbnails/{key.replace('/', '%2F')}",
        f"/thumbnails/x/..%2F{job_id}",
        f"/jobs/{job_id}%00",
        f"/jobs/{job_id.upper()}",
        f"/jobs/{job_id}%20",
    ):
        assert world.get(attacker, path).status_code == 404, path


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_lists_cursors_and_filters_show_nothing_of_another_account(world: World, attacker: str) -> None:
    page = world.get("shop", "/jobs?limit=1")
    following = page.headers["link"].partition("<")[2].partition(">")[0]
    for path in ("/jobs", following, "/jobs?status=complete", "/jobs?status=pending&limit=1000"):
        assert world.get(attacker, path).json["reason"] == "NoJobs"
    batch = world.get("shop", f"/jobs/{world.ids[1]}").json["batch"]["id"]
    assert world.get(attacker, f"/jobs?batch={batch}").status_code in {400, 404}
    for name in ("account", "namespace", "labelSelector", "labels"):
        assert world.get(attacker, f"/jobs?{name}=shop").status_code in {400, 404}


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_events_tell_nothing_of_another_account(
    world: World, attacker: str, picture: Callable[[int], bytes]
) -> None:
    def ids(text: str) -> set[str]:
        return {known for known in world.ids if known in text}

    for last in ("", "0", "1", "99999999999999999999", "x"):
        headers = {"Last-Event-ID": last} if last else {}
        assert ids(world.get(attacker, "/events", **headers).text) == set()
    # Events of one's own account, from a place in another one's.
    mine = world.upload(attacker, picture(9)).json["id"]
    for last in ("0", "1"):
        text = world.get(attacker, "/events", **{"Last-Event-ID": last}).text
        assert ids(text) == set()
    assert world.get(attacker, f"/jobs/{mine}/events").status_code == 200


@pytest.mark.parametrize("attacker", ATTACKERS)
@pytest.mark.parametrize(
    "option", ["account", "namespace", "objectKey", "source", "batch", "batchId", "name", "id"]
)
def test_no_option_puts_a_picture_into_another_account(
    world: World, attacker: str, option: str, picture: Callable[[int], bytes]
) -> None:
    before = world.snapshot()
    headers = {"Content-Type": "image/png"}
    refused = world.request(attacker, "POST", f"/images?{option}=shop", body=picture(3), headers=headers)
    assert refused.status_code == 400
    assert world.snapshot() == before


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_the_same_picture_is_another_job_and_another_original(
    world: World, attacker: str, picture: Callable[[int], bytes]
) -> None:
    before = set(world.objects.objects)
    mine = world.upload(attacker, picture(0))
    assert mine.status_code == 201
    (added,) = set(world.objects.objects) - before
    namespace = world.namespace if attacker == "rival" else added.split("/")[1]
    assert added.startswith(f"sources/{namespace}/{mine.json['account']}/")
    assert world.request(attacker, "DELETE", f"/jobs/{mine.json['id']}").status_code == 204
    assert before <= set(world.objects.objects)


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_an_idempotency_key_of_another_account_is_one_of_one_s_own(
    world: World, attacker: str, picture: Callable[[int], bytes]
) -> None:
    key = {"Idempotency-Key": '"of-the-shop"'}
    first = world.upload("shop", picture(4), **key)
    theirs = world.upload(attacker, picture(5), **key)
    assert theirs.status_code == 201
    assert theirs.json["id"] != first.json["id"]
    assert "idempotency-replayed" not in theirs.headers
    again = world.upload("shop", picture(4), **key)
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_a_link_cannot_be_bent_to_another_account(
    world: World, attacker: str, picture: Callable[[int], bytes]
) -> None:
    mine = world.upload(attacker, picture(6)).json["id"]
    made = urlsplit(world.get(attacker, f"/jobs/{mine}/links").json["thumbnailPath"])
    victim = f"/thumbnails/{world.ids[0]}"
    query = {name: values[0] for name, values in parse_qs(made.query).items()}
    for changes in ({}, {"owner": f"{world.namespace}.shop"}, {"expires": "9999999999"}, {"signature": ""}):
        answer = world.client.simulate_get(f"{victim}?{urlencode(query | changes)}")
        assert answer.status_code == 403
        assert json.loads(answer.text)["reason"] == "InvalidLink"
    # A link of one's own to a job of another: signed by somebody who has the secret of a thief's dream.
    caller = Caller(world.namespace, "rival")
    forged = LinkSigner.from_text(SECRET).sign(victim, None, caller, 9_999_999_999)
    assert world.client.simulate_get(forged).status_code == 404


def test_a_job_that_names_another_account_s_original_does_not_show_it(
    world: World, manifest: Callable[..., dict[str, Any]]
) -> None:
    """As somebody with kubectl, or its like, would make it."""
    theirs = world.store.get(world.namespace, world.ids[0])["spec"]["source"]["objectKey"]
    document = manifest("thief", account="rival", source={"objectKey": theirs})
    world.store.create(document)
    assert world.get("rival", "/jobs/thief").status_code == 200
    assert world.get("rival", "/images/thief").status_code == 404
    assert world.request("rival", "DELETE", "/jobs/thief").status_code == 204
    assert theirs in world.objects.objects
    tombstone = json.loads(world.objects.objects[f"tombstones/{world.namespace}/thief"][1])
    assert theirs not in json.dumps(tombstone)


def test_an_account_can_be_erased_by_itself_alone_and_completely(
    world: World, picture: Callable[[int], bytes]
) -> None:
    mine = {attacker: world.upload(attacker, picture(8)).json["id"] for attacker in ATTACKERS}
    assert world.request("rival", "DELETE", "/accounts/shop").json["reason"] == "AccountNotFound"
    assert world.get("rival", "/accounts/shop/erasure").status_code == 404
    assert world.request("", "DELETE", "/accounts/shop").status_code == 401
    assert world.request("shop", "DELETE", "/accounts/shop").status_code == 202
    assert world.upload("shop", picture(7)).json["reason"] == "AccountBeingErased"
    for attacker in ATTACKERS:  # the other namespace's account of that name is another one
        assert world.upload(attacker, picture(7)).status_code == 201
        assert world.get(attacker, f"/jobs/{mine[attacker]}").status_code == 200
    assert world.get("twin", "/accounts/shop/erasure").json["reason"] == "NotFound"
    erase(world)
    assert world.get("shop", "/accounts/shop/erasure").json["status"] == "done"
    eventually(lambda: all(world.get("shop", f"/jobs/{job_id}").status_code == 404 for job_id in world.ids))
    left = [key for key in world.objects.objects if f"{world.namespace}/shop" in key]
    assert left == [f"erasures/done/{world.namespace}/shop"]
    for attacker in ATTACKERS:
        assert world.get(attacker, f"/images/{mine[attacker]}").status_code == 200
    assert world.upload("shop", picture(7)).status_code == 201


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the API's copy of the jobs knows."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def erase(world: World) -> None:
    """What the operator does, until it is done."""
    now = 0.0

    class Janitor:
        async def remove(self, keys: Iterable[str]) -> None:
            world.objects.delete(keys)

    async def run_blocking(function: Any, *arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    async def delete_job(job: Owned) -> None:
        world.store.delete(job.key.namespace, job.key.name, uid=job.uid)

    def jobs() -> list[Owned]:
        found = [ThumbnailJob.parse(each) for each in list_all(world.store, world.namespace).items]
        return [Owned(job.key, job.uid, job.spec.account) for job in found]

    objects: Any = world.objects
    eraser = Eraser(
        objects,
        Janitor(),
        jobs,
        delete_job,
        tuple,
        OperatorSettings(),
        Counts(),
        run_blocking,
        clock=lambda: NOW,
        monotonic=lambda: now,
    )
    for _ in range(4):
        asyncio.run(eraser.look())
        now += 60


def test_labels_do_not_move_a_job_to_another_account(
    world: World, manifest: Callable[..., dict[str, Any]]
) -> None:
    document = manifest("labelled", account="rival")
    document["metadata"]["labels"] = {"thumbnails.dev/account": "shop"}
    world.store.create(document)
    assert world.get("shop", "/jobs/labelled").status_code == 404
    assert world.get("rival", "/jobs/labelled").status_code == 200
