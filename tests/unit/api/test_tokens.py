"""Callers with Kubernetes tokens: what is asked, what it is taken for, and what is remembered."""

import base64
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from thumbnails_api.accounts import Access, AnonymousAuthenticator, Caller
from thumbnails_api.process_settings import ProcessSettings
from thumbnails_api.scopes import Scope
from thumbnails_api.token_settings import TokenSettings
from thumbnails_api.tokens import KeysAndTokens, TokenAuthenticator, User
from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.errors import Forbidden, Unauthorized, Unavailable

AUDIENCE = "thumbnails-api"
NOW = 1_800_000_000
ALL = {"get", "list", "create", "delete"}


def jwt(**claims: Any) -> str:
    def part(document: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part({'aud': [AUDIENCE], 'exp': NOW + 60, **claims})}.c2ln"


def bearer(**claims: Any) -> str:
    return f"Bearer {jwt(**claims)}"


class FakeReviews:
    """The Reviews port: `tokens` are valid, and `verbs` are what everybody may do."""

    def __init__(self) -> None:
        self.username = "system:serviceaccount:pictures:shop"
        self.verbs = set(ALL)
        self.failure: Exception | None = None
        self.nobody = False
        self.asked: list[Any] = []
        self.hold: threading.Event | None = None
        self.holding = threading.Event()

    def whose(self, token: str, audience: str) -> User | None:
        self.asked.append(audience)
        if self.hold is not None:
            self.holding.set()
            assert self.hold.wait(60)
        if self.failure is not None:
            raise self.failure
        return None if self.nobody else User(self.username, "uid", ("group",), {"key": ["value"]})

    def may(self, user: User, namespace: str, verb: str) -> bool:
        assert user == User(self.username, "uid", ("group",), {"key": ["value"]})
        self.asked.append((namespace, verb))
        return verb in self.verbs


@pytest.fixture
def reviews() -> FakeReviews:
    return FakeReviews()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def authenticator(
    reviews: FakeReviews, clock: Clock, namespaces: Sequence[str] | None = ("pictures",)
) -> TokenAuthenticator:
    return TokenAuthenticator(
        reviews,
        audience=AUDIENCE,
        account="default",
        namespaces=namespaces,
        cache_seconds=30,
        monotonic=clock,
        epoch=lambda: NOW,
    )


def test_a_service_account_acts_in_its_own_namespace(reviews: FakeReviews, clock: Clock) -> None:
    assert authenticator(reviews, clock).authenticate(bearer()) == Access(Caller("pictures", "default"))
    assert reviews.asked[0] == AUDIENCE
    assert {namespace for namespace, _ in reviews.asked[1:]} == {"pictures"}


@pytest.mark.parametrize(
    ("verbs", "scopes"),
    [
        ({"get", "list"}, {Scope.READ}),
        ({"create", "delete"}, {Scope.WRITE}),
        ({"get", "list", "create"}, {Scope.READ}),
        (ALL, {Scope.READ, Scope.WRITE}),
    ],
)
def test_its_rights_are_its_scopes(
    reviews: FakeReviews, clock: Clock, verbs: set[str], scopes: set[Scope]
) -> None:
    reviews.verbs = verbs
    assert authenticator(reviews, clock).authenticate(bearer()).scopes == scopes


def test_one_that_may_nothing_of_this_service_or_elsewhere_is_a_403(
    reviews: FakeReviews, clock: Clock
) -> None:
    for verbs, username in (
        ({"get", "create"}, reviews.username),
        (ALL, "system:serviceaccount:elsewhere:shop"),
        (ALL, "alice"),
        (ALL, "system:serviceaccount:pictures"),
        (ALL, "system:node:pictures:shop"),
    ):
        reviews.verbs, reviews.username = set(verbs), username
        with pytest.raises(Forbidden):
            authenticator(reviews, clock).authenticate(bearer())
    reviews.username, reviews.verbs = "system:serviceaccount:elsewhere:shop", set(ALL)
    everywhere = authenticator(reviews, clock, namespaces=None)
    assert everywhere.authenticate(bearer()).caller.namespace == "elsewhere"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer a.b.c",
        "Bearer a.b",
        f"Basic {jwt()}",
        bearer(aud=["https://kubernetes.default.svc"]),
        bearer(aud="thumbnails-exchange"),
        bearer(aud=None),
        bearer(aud={AUDIENCE: 1}),
        bearer(exp=NOW),
        bearer(exp=None),
        bearer(exp="never"),
        "Bearer e30.W10.c2ln",
        "Bearer e30." + base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=") + ".c2ln",
        "Bearer " + "x" * 9000,
    ],
)
def test_what_is_not_for_us_by_its_own_words_is_not_asked_about(
    reviews: FakeReviews, clock: Clock, header: str | None
) -> None:
    for method in (authenticator(reviews, clock).authenticate, authenticator(reviews, clock).glance):
        with pytest.raises(Unauthorized):
            method(header)
    assert reviews.asked == []


def test_an_audience_may_stand_alone(reviews: FakeReviews, clock: Clock) -> None:
    access = authenticator(reviews, clock).authenticate(bearer(aud=AUDIENCE))
    assert access.caller == Caller("pictures", "default")


def test_answers_are_remembered_for_a_while(reviews: FakeReviews, clock: Clock) -> None:
    known = authenticator(reviews, clock)
    assert known.glance(bearer()) is None
    access = known.authenticate(bearer())
    asked = len(reviews.asked)
    reviews.nobody = True
    clock.now = 29.9
    assert known.authenticate(bearer()) == known.glance(bearer()) == access
    assert len(reviews.asked) == asked
    assert known.glance(bearer(jti="another")) is None
    clock.now = 30
    assert known.glance(bearer()) is None
    with pytest.raises(Unauthorized):
        known.authenticate(bearer())


def test_a_refusal_is_remembered_more_shortly(reviews: FakeReviews, clock: Clock) -> None:
    known = authenticator(reviews, clock)
    reviews.verbs = set()
    for _ in range(3):
        with pytest.raises(Forbidden, match="may not use ThumbnailJobs"):
            known.authenticate(bearer())
    assert len(reviews.asked) == 3
    with pytest.raises(Forbidden):
        known.glance(bearer())
    reviews.verbs = set(ALL)
    clock.now = 10
    assert known.authenticate(bearer()).caller.namespace == "pictures"


def test_an_api_server_that_is_away_is_a_503_and_not_remembered(reviews: FakeReviews, clock: Clock) -> None:
    known = authenticator(reviews, clock)
    reviews.failure = Unavailable()
    with pytest.raises(Unavailable):
        known.authenticate(bearer())
    reviews.failure = None
    assert known.authenticate(bearer()).caller.namespace == "pictures"


def test_requests_at_the_same_time_ask_once(reviews: FakeReviews, clock: Clock) -> None:
    known = authenticator(reviews, clock)
    reviews.hold = threading.Event()
    answers: list[Access] = []
    threads = [
        threading.Thread(target=lambda: answers.append(known.authenticate(bearer()))) for _ in range(8)
    ]
    threads[0].start()
    assert reviews.holding.wait(60)
    for thread in threads[1:]:
        thread.start()
    reviews.hold.set()
    for thread in threads:
        thread.join(60)
    assert len(set(answers)) == 1
    assert len(answers) == 8
    assert reviews.asked.count(AUDIENCE) == 1


def test_a_surprise_does_not_leave_others_waiting(reviews: FakeReviews, clock: Clock) -> None:
    known = authenticator(reviews, clock)
    reviews.failure = RuntimeError()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            known.authenticate(bearer())


def test_no_token_is_kept(reviews: FakeReviews, clock: Clock) -> None:
    known = authenticator(reviews, clock)
    known.authenticate(bearer())
    assert jwt() not in repr(vars(known))


def test_keys_and_tokens_live_side_by_side(reviews: FakeReviews, clock: Clock) -> None:
    both = KeysAndTokens(AnonymousAuthenticator(Caller("a", "key")), authenticator(reviews, clock))
    assert both.authenticate(bearer()).caller == Caller("pictures", "default")
    assert both.glance(f"Bearer tn_{'a' * 12}_{'b' * 43}") == Access(Caller("a", "key"))
    both.check()


def test_over_http_a_right_that_is_missing_is_a_scope(
    make_service: Any, reviews: FakeReviews, clock: Clock, problem: Any
) -> None:
    reviews.verbs = {"get", "list"}
    service = make_service(authenticator=authenticator(reviews, clock))
    headers = {"Authorization": bearer()}
    problem(service.get("/jobs", headers=headers), 404, "NoJobs")
    refused = service.request("POST", "/images", headers=headers)
    problem(refused, 403, "InsufficientScope")
    assert 'scope="write"' in refused.headers["www-authenticate"]


def test_tokens_are_a_login_too() -> None:
    assert TokenSettings.from_environment({}) == TokenSettings(None, "default", 30)
    settings = TokenSettings.from_environment(
        {
            "THUMBNAILS_API_TOKEN_AUDIENCE": AUDIENCE,
            "THUMBNAILS_API_TOKEN_ACCOUNT": "shop",
            "THUMBNAILS_API_TOKEN_CACHE_SECONDS": "10",
        }
    )
    assert settings == TokenSettings(AUDIENCE, "shop", 10)
    with pytest.raises(InvalidSetting, match="THUMBNAILS_API_TOKEN_ACCOUNT: must be the name of an account"):
        TokenSettings.from_environment({"THUMBNAILS_API_TOKEN_ACCOUNT": "a/b"})
    with pytest.raises(InvalidSetting, match="THUMBNAILS_API_TOKEN_AUDIENCE"):
        ProcessSettings.from_environment({"THUMBNAILS_HOST": "0.0.0.0"}, requires_login=False)
