"""The WorkerIdentifier port in a cluster: the token is reviewed, its pod lives, and a Job of ours owns it.

A worker's token is projected by the kubelet: bound to its pod, with the exchange as its only audience.
The API server goes on accepting the token of a deleted pod for some seconds, so the pod is looked at
as well; what the watch knows of it is enough, and is asked for only when the watch knows nothing yet.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from thumbnails_contract.errors import Unavailable
from thumbnails_contract.names import WORKER_LABEL

from .cluster_api import TOKEN_REVIEWS, ApiError, ClusterApi, jobs_path, pods_path
from .lease import WorkerKey
from .ports import WorkerIdentity
from .worker_watch import WorkerWatch, job_uid

logger = logging.getLogger(__name__)

POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"
_USER_PREFIX: Final = "system:serviceaccount:"
# To which pod a token is bound never changes; how long the API server is not asked whether it still holds.
REVIEW_SECONDS: Final = 60.0
MAX_REVIEWS: Final = 4096
_ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token belongs to: a pod, and the service account it runs as."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str


class TokenReviewIdentifier:
    """See the module's text."""

    def __init__(
        self,
        api: ClusterApi,
        watch: WorkerWatch,
        run_blocking: Callable[..., Awaitable[Any]],
        *,
        audience: str,
        service_account: str,
        namespaces: tuple[str, ...] | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._api = api
        self._watch = watch
        self._run_blocking = run_blocking
        self._audience = audience
        self._service_account = service_account
        self._namespaces = namespaces
        self._monotonic = monotonic
        self._reviews: dict[bytes, tuple[float, Bearer]] = {}

    async def identify(self, token: str) -> WorkerIdentity | None:
        """The worker whose token this is; None for any other. Raises Unavailable."""
        bearer = await self._review(token)
        if bearer is None or bearer.service_account != self._service_account:
            return None
        if self._namespaces is not None and bearer.namespace not in self._namespaces:
            return None
        try:
            return await self._worker_of(bearer)
        except ApiError as error:
            logger.warning("a worker's pod cannot be looked at: %s", error.message)
            raise Unavailable from error

    async def _review(self, token: str) -> Bearer | None:
        # Tokens themselves are not kept in memory for longer than a request.
        digest, now = hashlib.sha256(token.encode()).digest(), self._monotonic()
        known = self._reviews.get(digest)
        if known is not None and now - known[0] < REVIEW_SECONDS:
            return known[1]
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            review = await self._run_blocking(self._api.create, TOKEN_REVIEWS, body)
        except ApiError as error:
            logger.warning("tokens of workers cannot be reviewed: %s", error.message)
            raise Unavailable from error
        bearer = bearer_of(review.get("status") or {}, self._audience)
        if bearer is None:
            self._reviews.pop(digest, None)
            return None
        if len(self._reviews) >= MAX_REVIEWS:
            self._reviews.clear()
        self._reviews[digest] = (now, bearer)
        return bearer

    async def _worker_of(self, bearer: Bearer) -> WorkerIdentity | None:
        pod = self._watch.pod(bearer.namespace, bearer.pod_name)
        if pod is None or pod["metadata"]["uid"] != bearer.pod_uid:
            pod = await self._run_blocking(self._api.find, pods_path(bearer.namespace, bearer.pod_name))
        if pod is None or pod["metadata"]["uid"] != bearer.pod_uid:
            return None
        if (pod.get("status") or {}).get("phase") in _ENDED:
            return None
        owner = job_uid(pod)
        name = (pod["metadata"].get("labels") or {}).get(WORKER_LABEL)
        if not owner or not name:
            return None
        job = self._watch.job(WorkerKey(bearer.namespace, name))
        if job is None or job["metadata"]["uid"] != owner:
            job = await self._run_blocking(self._api.find, jobs_path(bearer.namespace, name))
        if job is None or job["metadata"]["uid"] != owner:
            return None
        if (job["metadata"].get("labels") or {}).get(WORKER_LABEL) != name:
            return None
        return WorkerIdentity(bearer.namespace, name, bearer.pod_uid)


def bearer_of(status: Mapping[str, Any], audience: str) -> Bearer | None:
    """Whose token was reviewed; None when it is none, is meant for others, or is bound to no pod."""
    if not status.get("authenticated") or audience not in (status.get("audiences") or ()):
        return None
    user = status.get("user") or {}
    extra = user.get("extra") or {}
    names, uids = extra.get(POD_NAME) or (), extra.get(POD_UID) or ()
    username = str(user.get("username", ""))
    namespace, _, account = username.removeprefix(_USER_PREFIX).partition(":")
    if not username.startswith(_USER_PREFIX) or not account:
        return None
    match list(names), list(uids):
        case [str(pod_name)], [str(pod_uid)]:
            return Bearer(namespace, account, pod_name, pod_uid)
    return None
