"""Limits of accounts and addresses: what is counted, what clients are told, and who is not harmed."""

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from limits.storage import MemoryStorage

from thumbnails_api.accounts import Access, Caller
from thumbnails_api.addresses import client_address, parse_networks
from thumbnails_api.job_cache import JobCache
from thumbnails_api.quotas import AccountLimits, UploadQuotas
from thumbnails_api.rate_limits import Counters, Policy, RequestLimit, Window, open_storage
from thumbnails_api.settings import ApiSettings
from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.errors import JobStoreUnavailable, QuotaExceeded, RateLimited, Unauthorized

SHOP, RIVAL = Caller("thumbnails", "shop"), Caller("thumbnails", "rival")


class Login:
    """Whoever says an account's name has its key; `slow` ones are not known from memory."""

    requires_login = True

    def __init__(self) -> None:
        self.asked = 0

    def authenticate(self, authorization: str | None) -> Access:
        self.asked += 1
        if not authorization or authorization.endswith("wrong"):
            raise Unauthorized
        return Access(Caller("thumbnails", authorization))

    def glance(self, authorization: str | None) -> Access | None:
        return None if (authorization or "").startswith("slow") else self.authenticate(authorization)

    def check(self) -> None:
        pass


def as_(account: str, **headers: str) -> dict[str, str]:
    return {"Authorization": account} | headers


# ---- requests ----


def test_without_settings_there_is_no_limit_and_no_header(make_service: Any) -> None:
    headers = make_service().get("/jobs").headers
    assert not [name for name in headers if name.startswith("ratelimit")]


def test_a_client_is_told_what_is_left_and_when_to_come_again(make_service: Any, problem: Any) -> None:
    service = make_service(authenticator=Login(), rate_limit_requests=3, rate_limit_seconds=3600)
    for left in (2, 1, 0):
        answer = service.get("/jobs", headers=as_("shop"))
        assert answer.headers["ratelimit-policy"] == '"requests";q=3;w=3600'
        assert answer.headers["ratelimit"].startswith(f'"requests";r={left};t=')
        assert answer.status_code == 404
    refused = service.get("/jobs", headers=as_("shop"))
    problem(refused, 429, "RateLimited")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["ratelimit"] == f'"requests";r=0;t={refused.headers["retry-after"]}'
    # Neither other accounts, nor probes, nor the page.
    assert service.get("/jobs", headers=as_("rival")).status_code == 404
    for path in ("/healthz", "/readyz", "/"):
        assert service.get(path).status_code == 200


def test_an_account_of_the_same_name_elsewhere_counts_for_itself() -> None:
    limit = RequestLimit(Window(Policy("requests", 1, 3600), Counters()))
    limit.charge(SHOP, [])
    limit.charge(Caller("elsewhere", "shop"), [])
    with pytest.raises(RateLimited):
        limit.charge(SHOP, [])


def test_a_period_ends() -> None:
    limit = RequestLimit(Window(Policy("requests", 1, 1), Counters()))
    limit.charge(SHOP, [])
    while True:
        try:
            limit.charge(SHOP, [])
        except RateLimited:
            time.sleep(0.01)
        else:
            break


def test_replicas_with_a_shared_storage_count_together() -> None:
    storage = MemoryStorage()
    replicas = [Window(Policy("requests", 4, 3600), Counters(storage)) for _ in range(2)]
    usages = [replica.hit("a/b") for _, replica in zip(range(5), itertools.cycle(replicas), strict=False)]
    assert [usage.allowed for usage in usages] == [True] * 4 + [False]
    assert [usage.remaining for usage in usages] == [3, 2, 1, 0, 0]


class FaultyStorage(MemoryStorage):
    """A storage behind a network that may be away, by the contract of the `limits` library."""

    STORAGE_SCHEME = ["thumbnails-test"]  # noqa: RUF012 - as the library has it
    away = False
    calls = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        return ConnectionError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        type(self).calls += 1
        if self.away:
            raise ConnectionError("redis://user:password@host")
        return super().incr(key, expiry, amount)


class Alone:
    """How often a replica had to count by itself."""

    counts = 0

    def count(self) -> None:
        self.counts += 1


@pytest.fixture
def faulty() -> Iterator[type[FaultyStorage]]:
    FaultyStorage.away, FaultyStorage.calls = False, 0
    yield FaultyStorage
    FaultyStorage.away = False


def test_while_the_storage_is_away_each_replica_counts_for_itself(
    faulty: type[FaultyStorage], caplog: pytest.LogCaptureFixture
) -> None:
    now, alone = [100.0], Alone()
    caplog.set_level(logging.INFO)
    counters = Counters(
        open_storage("thumbnails-test://"), counted_alone=alone.count, monotonic=lambda: now[0]
    )
    window = Window(Policy("requests", 2, 3600), counters)
    assert window.hit("a/b").remaining == 1
    faulty.away = True
    assert [window.hit("a/b").allowed for _ in range(3)] == [True, True, False]
    assert faulty.calls == 2  # it is not asked again at once
    assert alone.counts == 3
    assert "password" not in caplog.text
    assert len(caplog.records) == 1
    now[0] += 5
    window.hit("a/b")
    assert len(caplog.records) == 1
    faulty.away = False
    now[0] += 5
    assert window.hit("a/b").remaining == 0
    assert faulty.calls == 4
    assert caplog.records[-1].getMessage() == "the shared counts of rate limits are back"


@pytest.mark.parametrize("uri", ["nonsense", "nowhere://secret@host", "redis://user:secret@host:notaport/0"])
def test_a_storage_that_cannot_be_used_is_one_line_without_its_address(make_service: Any, uri: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^THUMBNAILS_RATE_LIMIT_STORAGE: [^\n]+$") as caught:
        make_service(rate_limit_requests=1, rate_limit_storage=uri)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(ApiSettings(rate_limit_storage=uri))


def test_a_thousand_threads_worth_of_requests_are_counted_once_each() -> None:
    window = Window(Policy("requests", 100, 3600), Counters())
    allowed: list[bool] = []

    def hit() -> None:
        allowed.extend([window.hit("a/b").allowed for _ in range(50)])

    threads = [threading.Thread(target=hit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 100


# ---- uploads ----


def test_bytes_are_counted_and_a_refused_upload_costs_nothing(
    make_service: Any, picture: Any, problem: Any
) -> None:
    small = picture("PNG")
    quota = 2 * len(small) + 10
    service = make_service(rate_limit_upload_bytes=quota)
    headers = {"Content-Type": "image/png"}

    def upload(body: bytes) -> Any:
        return service.request("POST", "/images", body=body, headers=headers)

    large = upload(small + bytes(quota))
    problem(large, 429, "QuotaExceeded")
    assert int(large.headers["retry-after"]) > 0
    first = upload(small)
    assert first.status_code == 201
    assert first.headers["ratelimit-policy"] == f'"upload-bytes";q={quota};w=3600;qu="content-bytes"'
    assert first.headers["ratelimit"].startswith(f'"upload-bytes";r={quota - len(small)};t=')
    assert upload(small).status_code == 201
    problem(upload(small), 429, "QuotaExceeded")
    assert len(service.store.documents) == 2
    assert "ratelimit" not in service.get("/jobs").headers


def test_unfinished_jobs_are_bounded_and_ended_ones_make_room(
    make_service: Any, jpeg: bytes, problem: Any
) -> None:
    service = make_service(max_unfinished_jobs=3)
    first = service.upload(jpeg).json["id"]
    both = service.post_form([("image", "a.jpg", jpeg), ("image", "b.jpg", jpeg)])
    assert both.status_code == 201
    refused = service.upload(jpeg)
    problem(refused, 429, "QuotaExceeded")
    assert refused.headers["retry-after"] == "5"
    service.finish(first)
    assert service.upload(jpeg).status_code == 201
    service.request("DELETE", f"/jobs/{both.json['items'][0]['id']}")
    problem(service.post_form([("image", "a.jpg", jpeg), ("image", "b.jpg", jpeg)]), 429, "QuotaExceeded")
    assert service.upload(jpeg).status_code == 201
    assert len([key for key in service.objects.objects if key.startswith("sources/")]) == 5


def test_jobs_that_are_being_made_count(make_service: Any) -> None:
    service = make_service()
    quotas = AccountLimits.of(ApiSettings(max_unfinished_jobs=2), service.jobs).uploads
    with quotas.reserve_jobs(SHOP, 2):
        with pytest.raises(QuotaExceeded), quotas.reserve_jobs(SHOP, 1):
            raise AssertionError
        with quotas.reserve_jobs(RIVAL, 2):
            pass
    with quotas.reserve_jobs(SHOP, 2):
        pass


def test_the_server_may_refuse_a_body_before_it_comes(make_service: Any) -> None:
    service = make_service()
    settings = ApiSettings(rate_limit_requests=2, rate_limit_upload_bytes=100)
    limits = AccountLimits.of(settings, service.jobs)
    limits.glance(SHOP, 1000)  # nothing is known yet: the app decides
    limits.uploads.charge_bytes(SHOP, 60, [])
    limits.glance(SHOP, 40)
    with pytest.raises(QuotaExceeded):
        limits.glance(SHOP, 41)
    limits.glance(RIVAL, 41)
    for _ in range(2):
        limits.requests.charge(SHOP, [])
    for _ in range(2):  # and it is no request itself
        with pytest.raises(RateLimited):
            limits.glance(SHOP, 0)


# ---- those that nobody knows ----


def test_failed_logins_of_an_address_are_bounded(make_service: Any, problem: Any) -> None:
    login = Login()
    service = make_service(authenticator=login, failed_logins_per_minute=2)
    for _ in range(2):
        problem(service.get("/jobs", headers=as_("wrong")), 401, "Unauthorized")
    refused = service.get("/jobs", headers=as_("wrong"))
    problem(refused, 429, "RateLimited")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    # A valid key is good from wherever; what nobody knows yet is not asked about.
    assert service.get("/jobs", headers=as_("shop")).status_code == 404
    asked = login.asked
    problem(service.get("/jobs", headers=as_("slow-shop")), 429, "RateLimited")
    assert login.asked == asked
    # A request that shows nothing tries nothing.
    problem(service.get("/jobs"), 401, "Unauthorized")


def test_other_addresses_are_not_harmed(make_service: Any, problem: Any) -> None:
    service = make_service(
        authenticator=Login(), failed_logins_per_minute=1, trusted_proxies=parse_networks("127.0.0.0/8")
    )
    for address, status in (("192.0.2.1", 401), ("192.0.2.1", 429), ("192.0.2.2", 401)):
        headers = as_("slow-wrong", **{"X-Forwarded-For": f"192.0.2.99, {address}"})
        assert service.get("/jobs", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3::4", None, "2001:db8:1:2::/64"),
        ("fe80::1%eth0", None, "fe80::/64"),
        ("", None, "unknown"),
        ("10.0.0.1", "203.0.113.9,,", "203.0.113.9"),
    ],
)
def test_an_address_is_the_peer_s_or_what_trusted_proxies_say(
    peer: str, forwarded: str | None, address: str
) -> None:
    assert client_address(peer, forwarded, parse_networks("10.0.0.0/8")) == address


def test_wrong_networks_are_a_wrong_setting() -> None:
    with pytest.raises(InvalidSetting, match=r"^THUMBNAILS_TRUSTED_PROXIES: must be networks"):
        ApiSettings.from_environment({"THUMBNAILS_TRUSTED_PROXIES": "10.0.0.1/8"})
    settings = ApiSettings.from_environment({"THUMBNAILS_TRUSTED_PROXIES": "10.0.0.0/8, ::1/128"})
    assert len(settings.trusted_proxies) == 2


def test_the_storage_may_be_named_by_a_file(tmp_path: Any) -> None:
    (tmp_path / "uri").write_text("redis://:password@host\n")
    env = {"THUMBNAILS_RATE_LIMIT_STORAGE_FILE": str(tmp_path / "uri")}
    assert ApiSettings.from_environment(env).rate_limit_storage == "redis://:password@host"
    assert ApiSettings.from_environment({}).rate_limit_storage == "memory://"


def test_before_the_jobs_are_known_none_is_taken_where_their_number_is_limited(make_store: Any) -> None:
    quotas = UploadQuotas(JobCache(make_store()), bytes_window=None, max_unfinished_jobs=5)
    with pytest.raises(JobStoreUnavailable), quotas.reserve_jobs(SHOP, 1):
        raise AssertionError("there is no telling")
    with UploadQuotas(JobCache(make_store()), bytes_window=None, max_unfinished_jobs=0).reserve_jobs(SHOP, 1):
        pass
