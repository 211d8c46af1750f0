"""Decides which packets NetworkPolicies let through, as a ruleset for nftables.

A pod that some policy selects is isolated in that policy's directions, and then only gets, or sends,
what one of its policies allows (https://kubernetes.io/docs/concepts/services-networking/network-policies/).
Answers to an allowed connection always pass, and so does what the node itself sends to its pods (probes).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hack.cluster.selectors import Selector, parse_selector

INGRESS = "Ingress"
EGRESS = "Egress"
TABLE = "thumbnails_network_policy"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with an address of its own. `ports` are its named ports: (name, protocol) -> number."""

    namespace: str
    name: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Port:
    """One entry of a rule's `ports`; without a number or name, all ports of the protocol."""

    protocol: str
    number: int | None = None
    last: int | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """An `ipBlock`: addresses of a range, save some."""

    cidr: str
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodPeer:
    """Pods by label, in the policy's namespace (no namespaces given) or in those that match."""

    pods: Selector
    namespaces: Selector | None


@dataclass(frozen=True, slots=True)
class Rule:
    """What one entry of `ingress` or `egress` allows; no peers: everybody; no ports: all ports."""

    peers: tuple[Block | PodPeer, ...]
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A NetworkPolicy. Directions that are not in `rules` are none of its business."""

    namespace: str
    pods: Selector
    rules: Mapping[str, tuple[Rule, ...]]


def parse_pod(document: Mapping[str, Any]) -> Pod | None:
    """None for a pod that has no address, has ended (its address may be another's) or shares the node's."""
    status = document.get("status", {})
    spec = document["spec"]
    address = status.get("podIP")
    if not address or spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    # A sidecar is an init container that stays.
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    ports = {
        (port["name"], port.get("protocol", "TCP")): port["containerPort"]
        for container in containers
        for port in container.get("ports") or ()
        if port.get("name")
    }
    meta = document["metadata"]
    return Pod(meta["namespace"], meta["name"], address, meta.get("labels") or {}, ports)


def parse_policy(document: Mapping[str, Any]) -> Policy:
    """A NetworkPolicy of networking.k8s.io/v1."""
    spec = document["spec"]
    default = [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]
    rules: dict[str, tuple[Rule, ...]] = {}
    for direction in spec.get("policyTypes") or default:
        entries = spec.get(direction.lower()) or ()
        peers_field = "from" if direction == INGRESS else "to"
        rules[direction] = tuple(_parse_rule(entry, peers_field) for entry in entries)
    return Policy(document["metadata"]["namespace"], parse_selector(spec.get("podSelector") or {}), rules)


def _parse_rule(entry: Mapping[str, Any], peers_field: str) -> Rule:
    return Rule(
        peers=tuple(_parse_peer(peer) for peer in entry.get(peers_field) or ()),
        ports=tuple(_parse_port(port) for port in entry.get("ports") or ()),
    )


def _parse_peer(peer: Mapping[str, Any]) -> Block | PodPeer:
    if block := peer.get("ipBlock"):
        return Block(block["cidr"], tuple(block.get("except") or ()))
    namespaces = peer.get("namespaceSelector")
    return PodPeer(
        pods=parse_selector(peer.get("podSelector") or {}),
        namespaces=None if namespaces is None else parse_selector(namespaces),
    )


def _parse_port(port: Mapping[str, Any]) -> Port:
    protocol = port.get("protocol", "TCP")
    value = port.get("port")
    if isinstance(value, str):
        return Port(protocol, name=value)
    return Port(protocol, number=value, last=port.get("endPort"))


def ruleset(
    pods: Iterable[Pod], namespaces: Mapping[str, Mapping[str, str]], policies: Iterable[Policy]
) -> str:
    """A script for `nft -f` that puts exactly these policies in the place of those before it.

    `namespaces` maps names to labels. Equal input gives equal text, whatever its order.
    """
    world = sorted(pods, key=lambda pod: (pod.namespace, pod.name))
    wanted = list(policies)
    chains: list[str] = []
    jumps: dict[str, list[str]] = {INGRESS: [], EGRESS: []}
    for pod in world:
        for direction in (INGRESS, EGRESS):
            mine = [
                policy
                for policy in wanted
                if direction in policy.rules
                and policy.namespace == pod.namespace
                and policy.pods.matches(pod.labels)
            ]
            if not mine:
                continue
            name = f"{direction.lower()}_{pod.address.replace('.', '_')}"
            lines = {
                line
                for policy in mine
                for rule in policy.rules[direction]
                for line in _allow(rule, policy.namespace, direction, pod, world, namespaces)
            }
            body = "".join(f"    {line}\n" for line in [*sorted(lines), "drop"])
            chains.append(f"  chain {name} {{ # {pod.namespace}/{pod.name}\n{body}  }}\n")
            jumps[direction].append(f"{pod.address} : jump {name}")
    return _script(chains, jumps)


def _script(chains: Sequence[str], jumps: Mapping[str, Sequence[str]]) -> str:
    def verdicts(field_name: str, direction: str) -> str:
        if not jumps[direction]:
            return ""
        return f"    ip {field_name} vmap {{ {', '.join(jumps[direction])} }}\n"

    leaving = verdicts("saddr", EGRESS)
    return (
        # Adding the table first lets the deletion succeed the first time too; all of it is one transaction.
        f"table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n"
        + "".join(chains)
        + "  chain forward {\n    type filter hook forward priority filter; policy accept;\n"
        + "    ct state established,related accept\n"
        + leaving
        + verdicts("daddr", INGRESS)
        # The API server and NodePorts: from pods to the node itself.
        + "  }\n  chain input {\n    type filter hook input priority filter; policy accept;\n"
        + "    ct state established,related accept\n"
        + leaving
        + "  }\n}\n"
    )


def _allow(
    rule: Rule,
    policy_namespace: str,
    direction: str,
    pod: Pod,
    world: Sequence[Pod],
    namespaces: Mapping[str, Mapping[str, str]],
) -> Iterable[str]:
    """The lines that let through what a rule allows; `return` goes on to the other end's policies."""
    side = "saddr" if direction == INGRESS else "daddr"
    if not rule.peers:
        receivers = [pod] if direction == INGRESS else world
        for match in _any_address(rule.ports, receivers, direction):
            yield f"{match} return".lstrip()
        return
    for peer in rule.peers:
        if isinstance(peer, Block):
            if ":" in peer.cidr:
                continue  # pods have no IPv6 address here
            excluded = f" ip {side} != {{ {', '.join(sorted(peer.excluded))} }}" if peer.excluded else ""
            receivers = [pod] if direction == INGRESS else []
            for match in _port_matches(rule.ports, receivers):
                yield f"ip {side} {peer.cidr}{excluded}{match} return"
            continue
        others = [other for other in world if _is_peer(other, peer, policy_namespace, namespaces)]
        if direction == INGRESS:
            if others:
                addresses = ", ".join(sorted(other.address for other in others))
                for match in _port_matches(rule.ports, [pod]):
                    yield f"ip saddr {{ {addresses} }}{match} return"
        else:
            for other in others:
                for match in _port_matches(rule.ports, [other]):
                    yield f"ip daddr {other.address}{match} return"


def _is_peer(
    pod: Pod, peer: PodPeer, policy_namespace: str, namespaces: Mapping[str, Mapping[str, str]]
) -> bool:
    if peer.namespaces is None:
        in_namespace = pod.namespace == policy_namespace
    else:
        in_namespace = peer.namespaces.matches(namespaces.get(pod.namespace, {}))
    return in_namespace and peer.pods.matches(pod.labels)


def _any_address(ports: Sequence[Port], receivers: Sequence[Pod], direction: str) -> Iterable[str]:
    """Like _port_matches, for a rule that names no peer; a named port is then each receiver's own."""
    if not ports:
        yield ""
    for port in ports:
        if port.name is None or direction == INGRESS:
            yield from (match.lstrip() for match in _port_matches([port], receivers))
        else:
            for receiver in receivers:
                for match in _port_matches([port], [receiver]):
                    yield f"ip daddr {receiver.address}{match}"


def _port_matches(ports: Sequence[Port], receivers: Sequence[Pod]) -> Iterable[str]:
    """A match for each entry, with a space in front; named ports are looked up at the receivers."""
    if not ports:
        yield ""
    for port in ports:
        protocol = port.protocol.lower()
        if port.name is not None:
            for receiver in receivers:
                number = receiver.ports.get((port.name, port.protocol))
                if number is not None:
                    yield f" {protocol} dport {number}"
        elif port.number is None:
            yield f" meta l4proto {protocol}"
        elif port.last is not None:
            yield f" {protocol} dport {port.number}-{port.last}"
        else:
            yield f" {protocol} dport {port.number}"
