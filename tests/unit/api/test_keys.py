"""API keys: their form, what is stored of them, what may be done with them, and who is let in."""

import hashlib
import itertools
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_api.accounts import Access, Caller, Credential, KeyAuthenticator
from thumbnails_api.keys import (
    AccountElsewhere,
    ApiKey,
    InvalidKeyEntry,
    KeyExists,
    NoSuchKey,
    digest_of,
    issue,
    key_id_of,
    new_key,
    parse_entries,
    revoke,
)
from thumbnails_api.keys_settings import KeySettings
from thumbnails_api.keys_store import KeyStoreUnavailable, StoredEntries
from thumbnails_api.keys_watch import KeyWatch
from thumbnails_api.scopes import ALL_SCOPES, Scope
from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.errors import Unauthorized, Unavailable
from thumbnails_contract.logs import redact

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
ID = "abcdef012345"
KEY = f"tn_{ID}_{'Aa0' * 14}Z"
OTHER = f"tn_{ID}_{'Aa0' * 14}Y"
RECORD = ApiKey(ID, "shop", digest_of(KEY), "pictures", "the web shop", NOW)


# ---- form ----


def test_a_new_key_has_an_id_and_256_random_bits() -> None:
    turns = itertools.count()
    key_id, key = new_key(lambda characters: characters[next(turns) % len(characters)])
    assert key == f"tn_{key_id}_{key[16:]}"
    assert key_id_of(key) == key_id
    assert len(key[16:]) == 43
    assert 62**43 > 2**256


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tn_",
        KEY[:-1],
        KEY + "A",
        KEY + "\n",
        KEY.upper(),
        KEY.replace("_", "-"),
        f"tn_{ID[1:]}_A{KEY[16:]}",
        *(KEY[:-1] + character for character in "_-. é٣"),
    ],
)
def test_what_is_no_key_has_no_id(text: str) -> None:
    assert key_id_of(text) is None


# ---- what is stored ----


def test_what_is_stored_is_the_documented_document() -> None:
    assert json.loads(RECORD.to_entry()) == {
        "version": 1,
        "account": "shop",
        "hash": "sha256:" + hashlib.sha256(KEY.encode()).hexdigest(),
        "namespace": "pictures",
        "name": "the web shop",
        "createdAt": "2026-11-24T06:00:00Z",
    }


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        replace(RECORD, revoked_at=NOW),
        replace(RECORD, namespace=None, name="", created_at=None),
        replace(RECORD, name="Grüße \ud800"),
        replace(RECORD, scopes=frozenset({Scope.READ})),
    ],
)
def test_a_record_is_read_as_it_was_written(record: ApiKey) -> None:
    assert ApiKey.parse(ID, record.to_entry()) == record


def test_other_programs_may_write_the_shortest_document() -> None:
    entry = f'{{"version":1,"account":"shop","hash":"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"}}'
    assert ApiKey.parse(ID, entry.encode()) == ApiKey(ID, "shop", digest_of(KEY))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": None},
        {"account": None},
        {"account": ""},
        {"account": "Shop"},
        {"account": "a/b"},
        {"account": ["shop"]},
        {"namespace": "../x"},
        {"namespace": 1},
        {"hash": None},
        {"hash": "sha256:"},
        {"hash": "sha256:" + "0" * 63},
        {"hash": "md5:" + "0" * 64},
        {"hash": KEY},
        {"name": 5},
        {"name": "x" * 1000},
        {"createdAt": "yesterday"},
        {"createdAt": "0001-01-01T00:00:00+14:00"},
        {"revokedAt": "yes"},
        {"revokedAt": True},
        {"scopes": []},
        {"scopes": ["admin"]},
        {"scopes": ["read", "admin"]},
        {"scopes": "read"},
        {"scopes": None},
        {"scopes": {"read": True}},
        {"scopes": [["read"]]},
        {"rights": ["read"]},
    ],
)
def test_an_entry_that_is_not_understood_whole_is_no_key(changes: dict[str, Any]) -> None:
    document = json.loads(RECORD.to_entry()) | changes
    with pytest.raises(InvalidKeyEntry) as caught:
        ApiKey.parse(ID, json.dumps(document).encode())
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("entry", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, KEY.encode()])
def test_an_entry_that_is_no_document_is_no_key(entry: bytes) -> None:
    with pytest.raises(InvalidKeyEntry):
        ApiKey.parse(ID, entry)


@pytest.mark.parametrize("name", ["", "ABCDEF012345", "short", KEY, "..data"])
def test_an_entry_under_another_name_is_no_key_and_its_name_is_not_told(name: str) -> None:
    keys, (trouble,) = parse_entries({name: RECORD.to_entry()})
    assert keys == {}
    assert not name or name not in trouble


def test_one_bad_entry_harms_no_other() -> None:
    keys, troubles = parse_entries({ID: RECORD.to_entry(), "zzzzzzzzzzzz": b"{"})
    assert keys == {ID: RECORD}
    assert troubles == ["the entry zzzzzzzzzzzz is no JSON document"]


def test_no_repr_and_no_log_holds_a_key_or_a_hash() -> None:
    texts = [repr(RECORD), repr(Credential(RECORD.digest, Access(Caller("n", "a"))))]
    texts.append(repr(StoredEntries("1", {ID: RECORD.to_entry()})))
    texts.append(redact(f"GET /?key={KEY} and {KEY!r}"))
    for text in texts:
        assert RECORD.digest.hex() not in text
        assert repr(RECORD.digest) not in text
        assert KEY[16:] not in text
    assert f"tn_{ID}_" in texts[-1]


def test_a_narrow_key_is_none_for_a_version_that_knows_no_scopes_and_a_wide_one_is_as_ever() -> None:
    assert json.loads(replace(RECORD, scopes=frozenset({Scope.READ})).to_entry())["scopes"] == ["read"]
    assert "scopes" not in json.loads(RECORD.to_entry())
    assert RECORD.scopes == ALL_SCOPES
    both = json.loads(RECORD.to_entry()) | {"scopes": ["write", "read"]}
    assert ApiKey.parse(ID, json.dumps(both).encode()) == RECORD


# ---- decisions ----


def test_an_account_belongs_to_one_namespace() -> None:
    elsewhere = replace(RECORD, id="zzzzzzzzzzzz", namespace=None)
    with pytest.raises(AccountElsewhere, match="shop belongs to the namespace pictures"):
        issue(elsewhere, [RECORD], service_namespace="thumbnails")
    assert issue(elsewhere, [RECORD], service_namespace="pictures") == elsewhere
    assert issue(elsewhere, [replace(RECORD, revoked_at=NOW)], service_namespace="thumbnails") == elsewhere
    other = replace(elsewhere, account="blog")
    assert issue(other, [RECORD], service_namespace="thumbnails") == other


def test_an_id_is_used_once() -> None:
    with pytest.raises(KeyExists):
        issue(RECORD, [RECORD], service_namespace="thumbnails")


def test_a_revoked_key_keeps_the_time_of_its_first_revocation() -> None:
    revoked = revoke(ID, {ID: RECORD}, NOW)
    assert revoked == replace(RECORD, revoked_at=NOW)
    assert revoke(ID, {ID: revoked}, datetime.now(UTC)) == revoked


@pytest.mark.parametrize("key_id", ["zzzzzzzzzzzz", "", OTHER + "x"])
def test_there_is_nothing_to_revoke_of_an_unknown_id(key_id: str) -> None:
    with pytest.raises(NoSuchKey) as caught:
        revoke(key_id, {ID: RECORD}, NOW)
    assert OTHER[16:] not in str(caught.value)


# ---- settings ----


def test_without_settings_there_is_no_login() -> None:
    assert not KeySettings.from_environment({}).configured
    assert KeySettings.from_environment({"THUMBNAILS_API_KEYS_SECRET": "x"}).configured
    assert KeySettings.from_environment({"THUMBNAILS_API_KEYS_DIR": "/x"}).configured


@pytest.mark.parametrize(
    ("env", "variable"),
    [
        ({"THUMBNAILS_API_KEYS_SECRET": "A B"}, "THUMBNAILS_API_KEYS_SECRET"),
        (
            {"THUMBNAILS_API_KEYS_SECRET": "x", "THUMBNAILS_API_KEYS_DIR": "/x"},
            "THUMBNAILS_API_KEYS_DIR",
        ),
        ({"THUMBNAILS_NAMESPACE": "a.b"}, "THUMBNAILS_NAMESPACE"),
    ],
)
def test_a_wrong_setting_is_one_line(env: dict[str, str], variable: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^{variable}: [^\n]+$"):
        KeySettings.from_environment(env)


# ---- who is let in ----


class MemoryKeyStore:
    """A KeyStore; `failure` is raised by every read while it is set."""

    def __init__(self, *keys: ApiKey) -> None:
        self.entries = {key.id: key.to_entry() for key in keys}
        self.failure: Exception | None = None
        self.reads = 0

    def read(self, known_version: str | None = None) -> StoredEntries | None:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        version = repr(self.entries)
        return None if version == known_version else StoredEntries(version, dict(self.entries))

    def update(self, decide: Any) -> ApiKey:
        raise NotImplementedError


@pytest.fixture
def store() -> MemoryKeyStore:
    return MemoryKeyStore(RECORD)


@pytest.fixture
def watch(store: MemoryKeyStore) -> KeyWatch:
    return KeyWatch(store, service_namespace="thumbnails")


@pytest.fixture
def authenticator(watch: KeyWatch) -> KeyAuthenticator:
    watch.refresh()
    return KeyAuthenticator(watch)


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER   {KEY}"])
def test_a_key_is_its_account(authenticator: KeyAuthenticator, header: str) -> None:
    assert authenticator.requires_login
    assert authenticator.authenticate(header) == Access(Caller("pictures", "shop"))


def test_a_key_without_a_namespace_is_of_the_service_s_own(store: MemoryKeyStore) -> None:
    store.entries = {ID: replace(RECORD, namespace=None).to_entry()}
    watch = KeyWatch(store, service_namespace="own")
    watch.refresh()
    assert KeyAuthenticator(watch).authenticate(f"Bearer {KEY}") == Access(Caller("own", "shop"))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        f"Bearer{KEY}",
        f"Bearer {OTHER}",
        f"Bearer {KEY} ",
        f"Bearer {KEY}x",
        f"Bearer {KEY}, Bearer {KEY}",
        f"Bearer {KEY},Bearer {KEY}",
        f"Bearer {KEY.replace(ID, 'zzzzzzzzzzzz')}",
        f"Bearer tn_{ID}_",
        f"Bearer tn_{ID}_{RECORD.digest.hex()}",
        f"Bearer sha256:{RECORD.digest.hex()}",
        f"Bearer {ID}",
        "Bearer " + "é" * 59,
        "Bearer \x00",
        "Bearer " + "x" * 30_000,
    ],
)
def test_all_else_is_nobody_s(authenticator: KeyAuthenticator, header: str | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        authenticator.authenticate(header)
    assert caught.value.message == Unauthorized.default_message


def test_an_empty_key_is_not_the_hash_of_nobody(watch: KeyWatch, store: MemoryKeyStore) -> None:
    store.entries = {ID: ApiKey(ID, "shop", bytes(32)).to_entry(), "": RECORD.to_entry()}
    watch.refresh()
    for header in ("Bearer ", None, f"Bearer {KEY}"):
        with pytest.raises(Unauthorized):
            KeyAuthenticator(watch).authenticate(header)


def test_keys_that_are_not_known_yet_are_a_503_and_not_ready(watch: KeyWatch, store: MemoryKeyStore) -> None:
    store.failure = KeyStoreUnavailable("away")
    watch.refresh()
    authenticator = KeyAuthenticator(watch)
    with pytest.raises(Unavailable):
        authenticator.authenticate(f"Bearer {KEY}")
    with pytest.raises(Unavailable):
        authenticator.check()
    store.failure = None
    watch.refresh()
    authenticator.check()
    assert authenticator.authenticate(f"Bearer {KEY}").caller.account == "shop"


def test_a_new_key_counts_and_a_revoked_one_does_not(
    authenticator: KeyAuthenticator, watch: KeyWatch, store: MemoryKeyStore
) -> None:
    second = KEY.replace(ID, "zzzzzzzzzzzz")
    store.entries["zzzzzzzzzzzz"] = ApiKey("zzzzzzzzzzzz", "blog", digest_of(second)).to_entry()
    store.entries[ID] = replace(RECORD, revoked_at=NOW).to_entry()
    watch.refresh()
    assert authenticator.authenticate(f"Bearer {second}") == Access(Caller("thumbnails", "blog"))
    with pytest.raises(Unauthorized):
        authenticator.authenticate(f"Bearer {KEY}")
    del store.entries["zzzzzzzzzzzz"]
    watch.refresh()
    with pytest.raises(Unauthorized):
        authenticator.authenticate(f"Bearer {second}")


@pytest.mark.parametrize("failure", [KeyStoreUnavailable("away"), RuntimeError(KEY)])
def test_known_keys_stay_while_the_store_is_away_which_is_told_once(
    authenticator: KeyAuthenticator,
    watch: KeyWatch,
    store: MemoryKeyStore,
    failure: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.failure = failure
    for _ in range(3):
        watch.refresh()
    assert authenticator.authenticate(f"Bearer {KEY}").caller.account == "shop"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert KEY not in caplog.text


def test_the_watch_follows_the_store_until_it_is_stopped(store: MemoryKeyStore) -> None:
    watch = KeyWatch(store, service_namespace="thumbnails", refresh_seconds=0.001)
    watch.start()
    assert watch.by_id is not None
    store.entries = {}
    while watch.by_id:
        time.sleep(0.001)
    watch.stop(60)
    reads = store.reads
    assert watch.by_id == {}
    assert store.reads == reads


# ---- over HTTP, by an attacker's hand ----


SHOP, RIVAL = f"Bearer {KEY}", "Bearer " + KEY.replace(ID, "zzzzzzzzzzzz")


@pytest.fixture
def service(make_service: Any) -> Any:
    """Two accounts of one namespace, and one of the first's name in another."""
    keys = MemoryKeyStore(
        replace(RECORD, namespace=None),
        ApiKey("zzzzzzzzzzzz", "rival", digest_of(RIVAL[7:])),
        ApiKey("yyyyyyyyyyyy", "shop", digest_of(KEY.replace(ID, "yyyyyyyyyyyy")), "elsewhere"),
    )
    watch = KeyWatch(keys, service_namespace="thumbnails")
    watch.refresh()
    return make_service(authenticator=KeyAuthenticator(watch))


def upload(service: Any, picture: bytes, authorization: str, **headers: str) -> Any:
    headers = {"Authorization": authorization, "Content-Type": "image/jpeg"} | headers
    return service.request("POST", "/images", body=picture, headers=headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/assets"),
        ("GET", "/jobs"),
        ("POST", "/images"),
        ("GET", "/jobs/x"),
        ("DELETE", "/jobs/x"),
        ("GET", "/thumbnails/x"),
        ("GET", "/thumbnails/x/default"),
        ("GET", "/images/x"),
        ("HEAD", "/jobs"),
        ("OPTIONS", "/jobs"),
        ("GET", "/nowhere"),
        ("GET", "/healthz/x"),
        ("GET", "//healthz"),
        ("GET", "/jobs/../healthz"),
        ("GET", "/healthz%2f..%2fjobs"),
        ("GET", "/HEALTHZ"),
        ("GET", "/metrics"),
    ],
)
def test_without_a_key_everything_is_401(service: Any, problem: Any, method: str, path: str) -> None:
    result = service.request(method, path)
    assert result.headers["www-authenticate"] == 'Bearer realm="thumbnails"'
    assert result.status_code == 401
    if method != "HEAD":
        problem(result, 401, "Unauthorized")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/assets/app.js"])
def test_probes_and_the_page_need_no_key(service: Any, path: str) -> None:
    assert service.get(path).status_code == 200


def test_a_service_that_knows_no_keys_yet_is_not_ready(make_service: Any, store: MemoryKeyStore) -> None:
    service = make_service(authenticator=KeyAuthenticator(KeyWatch(store, service_namespace="thumbnails")))
    result = service.get("/readyz")
    assert result.status_code == 503
    assert list(json.loads(result.text)["checks"]) == ["apiKeys"]
    assert service.get("/jobs", headers={"Authorization": SHOP}).status_code == 503


def test_unknown_wrong_and_malformed_get_the_very_same_answer(service: Any) -> None:
    answers = {
        (result.status_code, result.text, tuple(sorted(name for name in result.headers)))
        for header in (f"Bearer {OTHER}", f"Bearer {KEY.replace(ID, '0' * 12)}", "Bearer x", "Basic eDp5")
        for result in [service.get("/jobs", headers={"Authorization": header})]
    }
    assert len(answers) == 1


def test_with_keys_any_host_and_origin_will_do(service: Any) -> None:
    headers = {"Host": "t.example.org", "Origin": "https://example.org", "Authorization": SHOP}
    assert service.get("/jobs", headers=headers).json["reason"] == "NoJobs"


def test_the_key_s_account_is_the_job_s_and_nothing_else_says_so(service: Any, jpeg: bytes) -> None:
    forged = {"X-Account": "rival", "X-Forwarded-User": "rival", "X-Namespace": "elsewhere"}
    result = upload(service, jpeg, SHOP, **forged)
    assert result.status_code == 201
    document = service.store.documents["thumbnails", result.json["id"]]
    assert document["spec"]["account"] == "shop"
    assert document["metadata"]["labels"]["thumbnails.dev/account"] == "shop"
    assert list(service.objects.objects) == [document["spec"]["source"]["objectKey"]]
    assert document["spec"]["source"]["objectKey"].startswith("sources/thumbnails/shop/")


@pytest.mark.parametrize("option", ["account", "namespace", "objectKey", "source", "spec", "batch"])
def test_no_option_chooses_an_account(service: Any, jpeg: bytes, option: str) -> None:
    headers = {"Authorization": SHOP, "Content-Type": "image/jpeg"}
    result = service.request("POST", "/images", body=jpeg, headers=headers, query_string=f"{option}=rival")
    assert result.status_code == 400
    assert service.store.documents == {}


@pytest.mark.parametrize("stranger", [RIVAL, "Bearer " + KEY.replace(ID, "yyyyyyyyyyyy")])
@pytest.mark.parametrize("cached", [True, False])
def test_nobody_sees_another_s_job_its_thumbnails_or_its_original(
    service: Any, jpeg: bytes, problem: Any, stranger: str, cached: bool
) -> None:
    job_id = upload(service, jpeg, SHOP).json["id"]
    service.finish(job_id)
    if not cached:  # what another replica made: found by the live get
        service.jobs._index.drop(next(iter(service.jobs._index.by_key)))
    before = dict(service.objects.objects)
    for method, path, reason in (
        ("GET", f"/jobs/{job_id}", "JobNotFound"),
        ("GET", f"/thumbnails/{job_id}", "ThumbnailNotFound"),
        ("GET", f"/thumbnails/{job_id}/default", "ThumbnailNotFound"),
        ("GET", f"/images/{job_id}", "ImageNotFound"),
        ("DELETE", f"/jobs/{job_id}", "JobNotFound"),
    ):
        theirs = service.request(method, path, headers={"Authorization": stranger, "Prefer": "wait=1"})
        nothing = service.request(
            method, path.replace(job_id, "0" * 8), headers={"Authorization": stranger, "Prefer": "wait=1"}
        )
        assert problem(theirs, 404, reason) == problem(nothing, 404, reason)
    assert service.objects.objects == before
    assert ("thumbnails", job_id) in service.store.documents
    for path in (f"/jobs/{job_id}", f"/thumbnails/{job_id}", f"/images/{job_id}"):
        assert service.get(path, headers={"Authorization": SHOP}).status_code == 200


def test_lists_and_cursors_show_one_s_own_jobs_alone(service: Any, jpeg: bytes, problem: Any) -> None:
    mine = [upload(service, jpeg, SHOP).json["id"] for _ in range(3)]
    problem(service.get("/jobs", headers={"Authorization": RIVAL}), 404, "NoJobs")
    theirs = upload(service, jpeg, RIVAL).json["id"]
    page = service.get("/jobs", query_string="limit=1", headers={"Authorization": SHOP})
    assert [job["id"] for job in page.json] == [mine[-1]]
    query = page.headers["link"].partition(">")[0].partition("?")[2]
    stolen = service.get("/jobs", query_string=query, headers={"Authorization": RIVAL})
    assert {job["id"] for job in stolen.json} <= {theirs}


def test_another_s_object_is_not_served_through_a_job_of_one_s_own(service: Any, jpeg: bytes) -> None:
    theirs = upload(service, jpeg, RIVAL).json["id"]
    mine = upload(service, b"\xff" + jpeg[1:], SHOP).json["id"]
    document = service.store.documents["thumbnails", mine]
    document["spec"]["source"]["objectKey"] = service.store.documents["thumbnails", theirs]["spec"]["source"][
        "objectKey"
    ].replace("sources/thumbnails/", "sources/elsewhere/")
    service.set_status(document, _pending())
    assert service.get(f"/images/{mine}", headers={"Authorization": SHOP}).status_code == 404


def _pending() -> Any:
    from thumbnails_contract.status import Status

    return Status()


# ---- scopes ----


@pytest.fixture
def narrow(make_service: Any) -> Any:
    """A service with a key that may only read, and one of the same account that may only write."""
    keys = MemoryKeyStore(
        replace(RECORD, namespace=None, scopes=frozenset({Scope.READ})),
        ApiKey("zzzzzzzzzzzz", "shop", digest_of(RIVAL[7:]), scopes=frozenset({Scope.WRITE})),
    )
    watch = KeyWatch(keys, service_namespace="thumbnails")
    watch.refresh()
    return make_service(authenticator=KeyAuthenticator(watch))


READER, WRITER = SHOP, RIVAL


def test_a_key_that_may_only_read_changes_nothing(narrow: Any, problem: Any, jpeg: bytes) -> None:
    job_id = upload(narrow, jpeg, WRITER).json["id"]
    headers = {"Authorization": READER}
    for refused in (
        upload(narrow, jpeg, READER),
        narrow.request("DELETE", f"/jobs/{job_id}", headers=headers),
        narrow.request("POST", "/nowhere", headers=headers),
    ):
        problem(refused, 403, "InsufficientScope")
        assert refused.headers["www-authenticate"] == (
            'Bearer realm="thumbnails", error="insufficient_scope", scope="write"'
        )
    assert narrow.get(f"/jobs/{job_id}", headers=headers).json["status"] == "pending"
    assert narrow.get("/jobs", headers=headers).status_code == 200


def test_a_key_that_may_only_write_uploads_and_deletes_and_sees_nothing_else(
    narrow: Any, problem: Any, jpeg: bytes
) -> None:
    job_id = upload(narrow, jpeg, WRITER).json["id"]
    headers = {"Authorization": WRITER}
    for path in ("/jobs", f"/jobs/{job_id}", f"/images/{job_id}", f"/thumbnails/{job_id}", "/events"):
        refused = narrow.get(path, headers=headers)
        problem(refused, 403, "InsufficientScope")
        assert 'scope="read"' in refused.headers["www-authenticate"]
    assert narrow.request("DELETE", f"/jobs/{job_id}", headers=headers).status_code == 204
