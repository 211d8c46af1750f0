"""Kubernetes tokens against a real API server: its word about audiences, accounts and rights."""

from collections.abc import Iterator
from typing import Any

import pytest

from thumbnails_api.accounts import Access, Caller
from thumbnails_api.scopes import Scope
from thumbnails_api.token_reviews import ClusterReviews
from thumbnails_api.tokens import TokenAuthenticator
from thumbnails_common.kubernetes_client import load_client
from thumbnails_common.kubernetes_rest import KubernetesRest
from thumbnails_contract.errors import Forbidden, Unauthorized, Unavailable

AUDIENCE = "thumbnails-api"


@pytest.fixture
def namespace(make_namespace: Any) -> str:
    return str(make_namespace())


@pytest.fixture
def rest(cluster: Any) -> Iterator[KubernetesRest]:
    rest = KubernetesRest(load_client(4, component="tests", env={"KUBECONFIG": cluster.kubeconfig}))
    yield rest
    rest.close()


def authenticator(rest: KubernetesRest, *namespaces: str) -> TokenAuthenticator:
    return TokenAuthenticator(
        ClusterReviews(rest), audience=AUDIENCE, account="default", namespaces=namespaces, cache_seconds=0
    )


class Accounts:
    """Makes service accounts with rights, and their tokens."""

    def __init__(self, cluster: Any, namespace: str) -> None:
        from kubernetes import client

        self._core = cluster.core
        self._rbac: Any = client.RbacAuthorizationV1Api(cluster.core.api_client)
        self._namespace = namespace

    def make(self, name: str, *verbs: str) -> None:
        self._core.create_namespaced_service_account(self._namespace, {"metadata": {"name": name}})
        if not verbs:
            return
        rule = {"apiGroups": ["thumbnails.dev"], "resources": ["thumbnailjobs"], "verbs": list(verbs)}
        self._rbac.create_namespaced_role(self._namespace, {"metadata": {"name": name}, "rules": [rule]})
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self._namespace}],
        }
        self._rbac.create_namespaced_role_binding(self._namespace, binding)

    def delete(self, name: str) -> None:
        self._core.delete_namespaced_service_account(name, self._namespace)

    def bearer(self, name: str, *audiences: str) -> str:
        request = {"spec": {"audiences": list(audiences), "expirationSeconds": 600}}
        made = self._core.create_namespaced_service_account_token(name, self._namespace, request)
        return f"Bearer {made.status.token}"


@pytest.fixture
def accounts(cluster: Any, namespace: str) -> Accounts:
    return Accounts(cluster, namespace)


def test_a_token_is_what_its_account_may_do(rest: KubernetesRest, accounts: Accounts, namespace: str) -> None:
    known = authenticator(rest, namespace)
    accounts.make("reader", "get", "list", "watch")
    accounts.make("writer", "create", "delete")
    accounts.make("both", "*")
    caller = Caller(namespace, "default")
    for name, scopes in (
        ("reader", {Scope.READ}),
        ("writer", {Scope.WRITE}),
        ("both", {Scope.READ, Scope.WRITE}),
    ):
        access = known.authenticate(accounts.bearer(name, AUDIENCE))
        assert access == Access(caller, frozenset(scopes))
    assert known.authenticate(accounts.bearer("both", "elsewhere", AUDIENCE)).caller == caller


def test_a_token_for_somebody_else_is_nobody_s(
    rest: KubernetesRest, accounts: Accounts, namespace: str
) -> None:
    accounts.make("both", "*")
    known = authenticator(rest, namespace)
    with pytest.raises(Unauthorized):
        known.authenticate(accounts.bearer("both", "thumbnails-exchange"))
    # Its own words are not believed: the claims of a right one, under the signature of another.
    head, claims, _ = accounts.bearer("both", AUDIENCE).split(".")
    *_, signature = accounts.bearer("both", "thumbnails-exchange").split(".")
    with pytest.raises(Unauthorized):
        known.authenticate(f"{head}.{claims}.{signature}")
    # And the API server itself holds to the audience.
    token = accounts.bearer("both", "thumbnails-exchange").removeprefix("Bearer ")
    assert ClusterReviews(rest).whose(token, AUDIENCE) is None


def test_an_account_without_rights_of_another_namespace_or_deleted(
    rest: KubernetesRest, accounts: Accounts, namespace: str
) -> None:
    accounts.make("nothing")
    accounts.make("both", "*")
    known = authenticator(rest, namespace)
    with pytest.raises(Forbidden):
        known.authenticate(accounts.bearer("nothing", AUDIENCE))
    token = accounts.bearer("both", AUDIENCE)
    with pytest.raises(Forbidden):
        authenticator(rest, "default").authenticate(token)
    assert known.authenticate(token).caller.namespace == namespace
    accounts.delete("both")

    def refused() -> bool:
        try:
            known.authenticate(token)
        except Unauthorized:
            return True
        return False

    # The API server forgets an account after some seconds.
    for _ in range(600):
        if refused():
            break
        _pause()
    assert refused()


def test_without_the_right_to_review_it_is_a_503(
    cluster: Any, accounts: Accounts, namespace: str, rest: KubernetesRest
) -> None:
    from kubernetes import client

    accounts.make("both", "*")
    powerless = client.Configuration()
    administrator = cluster.core.api_client.configuration
    powerless.host, powerless.ssl_ca_cert = administrator.host, administrator.ssl_ca_cert
    powerless.verify_ssl = administrator.verify_ssl
    powerless.api_key["BearerToken"] = accounts.bearer("both", "https://kubernetes.default.svc").split()[1]
    powerless.api_key_prefix["BearerToken"] = "Bearer"
    weak = KubernetesRest(client.ApiClient(powerless))
    with pytest.raises(Unavailable):
        authenticator(weak, namespace).authenticate(accounts.bearer("both", AUDIENCE))
    weak.close()


def _pause() -> None:
    import time

    time.sleep(0.1)
