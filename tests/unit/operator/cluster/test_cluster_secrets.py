"""Whose secret signs a webhook."""

import asyncio
import base64
from typing import Any

import pytest

from thumbnails_contract.errors import InvalidJob, Unavailable
from thumbnails_operator.cluster_api import ApiError
from thumbnails_operator.cluster_secrets import CACHE_SECONDS, ClusterSigningSecrets

PATH = "/api/v1/namespaces/red/secrets"
OWN = f"{PATH}/thumbnails-webhook-alice"


@pytest.fixture
def secrets(api: Any, run_blocking: Any, monotonic: Any) -> ClusterSigningSecrets:
    return ClusterSigningSecrets(api, run_blocking, new_bytes=lambda n: b"r" * n, monotonic=monotonic)


def get(secrets: ClusterSigningSecrets, name: str | None = None, account: str = "alice") -> str:
    return asyncio.run(secrets.get("red", account, name))


def put(
    api: Any,
    name: str,
    text: str | None = "whsec_eA==",
    *,
    kind: str = "thumbnails.dev/webhook",
    **labels: str,
) -> None:
    data = {} if text is None else {"secret": base64.b64encode(text.encode()).decode()}
    api.store(f"{PATH}/{name}", {"type": kind, "data": data, "metadata": {"labels": labels}})


def test_an_accounts_own_is_made_when_it_is_missing(api: Any, secrets: ClusterSigningSecrets) -> None:
    made = get(secrets)
    assert made == "whsec_" + base64.b64encode(b"r" * 32).decode()
    stored = api.objects[OWN]
    assert stored["type"] == "thumbnails.dev/webhook"
    assert stored["metadata"]["labels"] == {"thumbnails.dev/account": "alice"}
    assert base64.b64decode(stored["data"]["secret"]).decode() == made


def test_one_that_is_there_is_taken(api: Any, secrets: ClusterSigningSecrets) -> None:
    put(api, "thumbnails-webhook-alice", "whsec_YWRtaW4=\n")
    assert get(secrets) == "whsec_YWRtaW4="
    assert not api.created


def test_of_two_operators_that_make_it_the_first_wins(api: Any, secrets: ClusterSigningSecrets) -> None:
    original = api.find

    def find(path: str) -> Any:
        found = original(path)
        if found is None:
            put(api, "thumbnails-webhook-alice", "whsec_Zmlyc3Q=")
        return found

    api.find = find
    assert get(secrets) == "whsec_Zmlyc3Q="


def test_a_named_one_signs(api: Any, secrets: ClusterSigningSecrets) -> None:
    put(api, "mine", "whsec_bWluZQ==")
    assert get(secrets, "mine") == "whsec_bWluZQ=="


def test_a_changed_one_signs_soon(api: Any, secrets: ClusterSigningSecrets, monotonic: Any) -> None:
    put(api, "mine", "whsec_b2xk")
    assert get(secrets, "mine") == "whsec_b2xk"
    put(api, "mine", "whsec_bmV3")
    assert get(secrets, "mine") == "whsec_b2xk"
    monotonic.now += CACHE_SECONDS
    assert get(secrets, "mine") == "whsec_bmV3"


def test_a_named_one_that_is_missing_is_not_made(api: Any, secrets: ClusterSigningSecrets) -> None:
    with pytest.raises(InvalidJob):
        get(secrets, "missing")
    assert not api.created


@pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/tls"])
def test_other_secrets_of_the_namespace_are_not_read_out(
    api: Any, secrets: ClusterSigningSecrets, kind: str
) -> None:
    put(api, "database", kind=kind)
    with pytest.raises(InvalidJob, match=r"thumbnails\.dev/webhook"):
        get(secrets, "database")


def test_one_without_the_entry_is_none(api: Any, secrets: ClusterSigningSecrets) -> None:
    put(api, "empty", None)
    with pytest.raises(InvalidJob, match="`secret`"):
        get(secrets, "empty")


def test_nobody_signs_as_another_account(api: Any, secrets: ClusterSigningSecrets) -> None:
    put(api, "thumbnails-webhook-bob")
    put(api, "of-bob", **{"thumbnails.dev/account": "bob"})
    for name in ("thumbnails-webhook-bob", "of-bob"):
        with pytest.raises(InvalidJob, match="another account"):
            get(secrets, name)


def test_a_missing_right_is_trouble_of_ours(api: Any, secrets: ClusterSigningSecrets) -> None:
    api.refuse["GET", OWN] = ApiError(403, "Forbidden", "no right")
    with pytest.raises(Unavailable):
        get(secrets)
