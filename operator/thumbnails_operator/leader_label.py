"""Marks the leader's pod for the exchange's Service, which selects by this label.

A new leader takes the mark from the others of its Deployment first: one that hangs would let workers
wait for an answer.
"""

import logging
from typing import Final

from thumbnails_contract.names import GROUP

from .cluster_api import ApiError, ClusterApi, pods_path

logger = logging.getLogger(__name__)

LEADER_LABEL: Final = f"{GROUP}/leader"
LEADER_VALUE: Final = "true"
# What tells pods of one Deployment from others, as charts label them.
_OWN_LABELS: Final = (
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
)


class LeaderLabel:
    """Blocks; `pod_name` "" is a process outside a pod, which is not marked."""

    def __init__(self, api: ClusterApi, namespace: str, pod_name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._pod_name = pod_name

    def take(self) -> None:
        """Have the mark, and nobody else. Raises ApiError, Unavailable."""
        if not self._pod_name:
            return
        own = self._api.get(pods_path(self._namespace, self._pod_name))
        labels = own["metadata"].get("labels") or {}
        selector = [f"{name}={labels[name]}" for name in _OWN_LABELS if name in labels]
        marked = self._api.list(
            pods_path(self._namespace), labels=",".join([*selector, f"{LEADER_LABEL}={LEADER_VALUE}"])
        )
        for pod in marked:
            name = pod["metadata"]["name"]
            if name != self._pod_name:
                self._set(name, None)
                logger.info("pod %s was the leader before", name)
        if labels.get(LEADER_LABEL) != LEADER_VALUE:
            self._set(self._pod_name, LEADER_VALUE)

    def _set(self, pod_name: str, value: str | None) -> None:
        try:
            self._api.patch(
                pods_path(self._namespace, pod_name), {"metadata": {"labels": {LEADER_LABEL: value}}}
            )
        except ApiError as error:
            if value is None and error.status == 404:  # noqa: PLR2004 - HTTP's: it is gone
                return
            raise
