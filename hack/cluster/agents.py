"""The two loops that run in the node beside Kubernetes' own: network policies, and volumes."""

import shutil
from typing import Never

from hack.cluster import api, netpol, volumes
from hack.cluster.layout import Layout
from hack.cluster.shell import CommandFailed, run

# Long enough to take a burst of pods as one change, short enough for nobody to wait for it.
_SETTLE_SECONDS = 0.05


def run_network_policy(layout: Layout) -> Never:
    """Keeps nftables in step with pods, namespaces and NetworkPolicies."""
    applied = ""

    def reconcile(known: tuple[list[api.Document], ...]) -> None:
        nonlocal applied
        pods, namespaces, policies = known
        wanted = netpol.ruleset(
            [pod for document in pods if (pod := netpol.parse_pod(document)) is not None],
            {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in namespaces},
            [netpol.parse_policy(document) for document in policies],
        )
        if wanted == applied:
            return
        try:
            run("nft", "-f", "-", stdin=wanted)
        except CommandFailed as error:
            # Said, and tried again with the next change: a wrong rule must not end all others.
            print(f"{error}\n{wanted}", flush=True)
        else:
            applied = wanted

    api.reconcile_forever(
        api.client(layout, "network-policy"),
        ("/api/v1/pods", "/api/v1/namespaces", "/apis/networking.k8s.io/v1/networkpolicies"),
        reconcile,
        _SETTLE_SECONDS,
    )


def run_volumes(layout: Layout) -> Never:
    """Makes and removes the folders behind PersistentVolumes."""
    client = api.client(layout, "volumes")
    path = "/api/v1/persistentvolumes"

    def reconcile(known: tuple[list[api.Document], ...]) -> None:
        claims, existing = known
        todo = volumes.plan(claims, existing, layout.volumes)
        for volume in todo.create:
            folder = layout.volumes / volume["metadata"]["name"]
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)  # for pods that are not root and name no fsGroup
            try:
                client.request("POST", path, volume)
            except api.ApiError as error:
                if error.status != 409:  # made before, and not yet seen
                    raise
        for name in todo.delete:
            shutil.rmtree(layout.volumes / name, ignore_errors=True)
            try:
                client.request("DELETE", f"{path}/{name}")
            except api.ApiError as error:
                if error.status != 404:
                    raise

    api.reconcile_forever(client, ("/api/v1/persistentvolumeclaims", path), reconcile, _SETTLE_SECONDS)
