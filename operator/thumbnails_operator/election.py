"""Decides who leads, by one Lease: the algorithm of client-go's leaderelection, as values and a clock.

Whether a holder still lives is judged by the time that we see its record unchanged on our own
monotonic clock; the clocks of other machines are never compared with ours. What keeps us from looking
keeps the holder from renewing: when that is over, it has some seconds to come back. Its pod is the one
that workers know the way to, and the cluster takes up to a minute to show them another one then.

`generation` must grow from leader to leader, also when somebody deletes the Lease: so it has the
second of the Lease's creation in front and its `leaseTransitions` behind, and fits 53 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final, Self

from thumbnails_contract.timestamps import parse_time

_TRANSITIONS_BITS: Final = 20
RETURN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says. `holder` "" is nobody: it was released."""

    holder: str
    duration_seconds: float
    renew_time: str
    acquire_time: str
    transitions: int
    resource_version: str
    created: datetime

    @classmethod
    def parse(cls, lease: Mapping[str, Any]) -> Self:
        """From a Lease as it is stored."""
        metadata, spec = lease["metadata"], lease.get("spec") or {}
        return cls(
            holder=spec.get("holderIdentity") or "",
            duration_seconds=spec.get("leaseDurationSeconds") or 0,
            renew_time=spec.get("renewTime") or "",
            acquire_time=spec.get("acquireTime") or "",
            transitions=spec.get("leaseTransitions") or 0,
            resource_version=metadata["resourceVersion"],
            created=parse_time(metadata["creationTimestamp"]),
        )

    @property
    def generation(self) -> int:
        """Greater than that of every leader before."""
        return (int(self.created.timestamp()) << _TRANSITIONS_BITS) + self.transitions


class Move(Enum):
    """What a candidate does next."""

    WAIT = auto()
    CREATE = auto()
    TAKE = auto()
    RENEW = auto()


class Election:
    """What one candidate knows. `pod_name` is that of its pod, "" outside one."""

    def __init__(self, identity: str, pod_name: str = "") -> None:
        self._identity = identity
        self._own_pod = f"{pod_name}_" if pod_name else None
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self._blind = False  # whether the last look has failed

    def could_not_look(self) -> None:
        """The API server was away, for everybody perhaps."""
        self._blind = True

    def next_move(self, record: LeaseRecord | None, now: float) -> Move:
        """What to do about the Lease as it is at `now` (monotonic seconds); None: there is none."""
        was_blind, self._blind = self._blind, False
        if record is None:
            self._seen = None
            return Move.CREATE
        if record != self._seen:
            self._seen, self._seen_at = record, now
        elif was_blind:
            self._seen_at = max(self._seen_at, now - record.duration_seconds + RETURN_SECONDS)
        if record.holder == self._identity:
            return Move.RENEW
        if self._own_pod is not None and record.holder.startswith(self._own_pod):
            # An earlier process of this very container: Kubernetes has started us, so it has ended.
            return Move.TAKE
        if not record.holder or now - self._seen_at >= record.duration_seconds:
            return Move.TAKE
        return Move.WAIT


def new_spec(
    record: LeaseRecord | None, identity: str, duration_seconds: float, now: datetime
) -> dict[str, Any]:
    """The spec with which `identity` takes or renews the Lease."""
    time = _micro_time(now)
    holds = record is not None and record.holder == identity
    transitions = 0 if record is None else record.transitions + (not holds)
    return {
        "holderIdentity": identity,
        "leaseDurationSeconds": int(duration_seconds),
        "acquireTime": record.acquire_time if record is not None and holds else time,
        "renewTime": time,
        "leaseTransitions": transitions,
    }


def released_spec(record: LeaseRecord, now: datetime) -> dict[str, Any]:
    """The spec with which a leader steps back: nobody has to wait for it to run out."""
    time = _micro_time(now)
    return {
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "acquireTime": time,
        "renewTime": time,
        "leaseTransitions": record.transitions,
    }


def _micro_time(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
