"""Asks the Kubernetes API server whose token it is, and what its owner may do, for `tokens.py`.

The API needs the verb `create` on `tokenreviews` and `subjectaccessreviews`, which have no namespace.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from thumbnails_common.kubernetes_rest import KubernetesRest
from thumbnails_contract.errors import ThumbnailsError, Unavailable
from thumbnails_contract.names import GROUP, PLURAL

from .tokens import User

_TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
_TRIES: Final = 2
_ACCESS_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class ClusterReviews:
    """The Reviews port. `rest` is closed by whoever made it."""

    def __init__(self, rest: KubernetesRest) -> None:
        self._rest = rest

    def whose(self, token: str, audience: str) -> User | None:
        """See the port."""
        status = self._create(
            _TOKEN_REVIEWS,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token, "audiences": [audience]},
            },
        )
        # A server that knows no audiences names none: then the token may be for anybody.
        if not status.get("authenticated") or audience not in (status.get("audiences") or ()):
            return None
        user = status.get("user") or {}
        return User(
            username=str(user.get("username") or ""),
            uid=str(user.get("uid") or ""),
            groups=tuple(user.get("groups") or ()),
            extra=user.get("extra") or {},
        )

    def may(self, user: User, namespace: str, verb: str) -> bool:
        """See the port."""
        status = self._create(
            _ACCESS_REVIEWS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": user.username,
                    "uid": user.uid,
                    "groups": list(user.groups),
                    "extra": dict(user.extra),
                    "resourceAttributes": {
                        "namespace": namespace,
                        "verb": verb,
                        "group": GROUP,
                        "resource": PLURAL,
                    },
                },
            },
        )
        return bool(status.get("allowed")) and not status.get("denied")

    def _create(self, path: str, review: Mapping[str, Any]) -> Mapping[str, Any]:
        """The status of a review. One that fails is tried again: a kept connection may have been closed."""
        for _ in range(_TRIES):
            # Forbidden to us, or away: the client of the API server has written to the log which.
            with suppress(ThumbnailsError):
                status: Mapping[str, Any] = self._rest.call("POST", path, body=review).get("status") or {}
                return status
        raise Unavailable("Tokens cannot be checked just now.")
