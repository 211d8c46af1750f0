"""What a run of steady.py has written down, as figures: its section of docs/benchmarks.md and its picture."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import page
from hack.chart.dashboard import Panel
from hack.chart.picture import Line, draw
from pictures import SMALL

MIB: Final = 1 << 20
PART_SECONDS: Final = 600.0
COMPONENTS: Final = ("api", "operator", "worker", "minio", "etcd", "kube-apiserver")
_KINDS: Final = {"working_set": "working set", "anonymous": "anonymous"}

Record = Mapping[str, Any]
Points = Sequence[tuple[float, float]]  # seconds since the start, MiB


@dataclass(frozen=True)
class Run:
    """All that was written down, by kind."""

    settings: Record
    memory: Sequence[Record] = ()
    uploads: Sequence[Record] = ()
    refused: Sequence[Record] = ()
    setbacks: Sequence[Record] = ()
    kills: Sequence[Record] = ()
    checks: Sequence[Record] = ()
    webhooks: Record | None = None
    ended: Record | None = None

    @property
    def seconds(self) -> float:
        """How long pictures were uploaded, as far as it is known."""
        if self.ended is not None:
            return float(self.ended["at"])
        return max((float(each["at"]) for each in (*self.memory, *self.uploads)), default=0.0)

    @property
    def failures(self) -> list[str]:
        """All that is not as it ought to be, in words; none of it was checked in a run that was cut short."""
        found = [f"upload {each['number']} was refused: {each['why']}" for each in self.refused]
        found += [f"job {each['id']}: {each['why']}" for each in self.checks if each["why"]]
        if self.webhooks is not None and self.webhooks["missing"]:
            found.append(f"{self.webhooks['missing']} ends of jobs were not told by webhook")
        return found


def read(records: Iterable[Record]) -> Run:
    """The run of these records, in the order in which they were written."""
    kinds: dict[str, list[Record]] = {}
    for record in records:
        kinds.setdefault(record["kind"], []).append(record)
    if "run" not in kinds:
        raise ValueError("no record says how it was run")
    return Run(
        settings=kinds["run"][0],
        memory=kinds.get("memory", ()),
        uploads=kinds.get("upload", ()),
        refused=kinds.get("refused", ()),
        setbacks=kinds.get("setback", ()),
        kills=kinds.get("kill", ()),
        checks=kinds.get("check", ()),
        webhooks=next(iter(kinds.get("webhooks", ())), None),
        ended=next(iter(kinds.get("ended", ())), None),
    )


def largest(run: Run, component: str, kind: str) -> Points:
    """Of each sample the largest pod of a component, or its process."""
    at: dict[float, float] = {}
    for sample in run.memory:
        if sample["component"] == component:
            at[sample["at"]] = max(at.get(sample["at"], 0.0), sample[kind] / MIB)
    return sorted(at.items())


def slope(points: Points, since: float) -> float | None:
    """MiB an hour by least squares, of what was seen after `since`; None when that is too little to tell."""
    later = [point for point in points if point[0] >= since]
    if len({at for at, _ in later}) < 3:
        return None
    times, values = zip(*later, strict=True)
    return statistics.linear_regression(times, values).slope * 3600


def part(run: Run) -> float:
    """How many seconds the first and the last part have that are compared: a third of a short run."""
    return min(PART_SECONDS, run.seconds / 3)


def report(run: Run, picture: str) -> str:
    """The section, whole; `picture` is the address of what `picture_of` draws, seen from the page."""
    settings = run.settings
    kills = f", the operator that leads killed every {settings['kill_minutes']:g} minutes" * bool(run.kills)
    return f"""\
## Steady load

{page.made_by("make bench-steady")} On the cluster of `make cluster`, with control plane, object store and \
client on the same cores: {settings["rate"]:g} pictures a second uploaded for {run.seconds / 60:.0f} \
minutes (JPEG of {SMALL[0]} x {SMALL[1]}, no two files alike), {settings["api"]} API, {settings["operator"]} \
operators{kills}. A finished job becomes history after {settings["ttl_seconds"]} s, so that after a while as \
many leave as come. When all was uploaded, every job was asked for, and its thumbnail fetched and opened.

{_rows(_counts(run))}
Memory of the largest pod of each component, or of its process: what cannot be had again (*working set*, \
as the kubelet has it; of a process all that is resident), and of it what belongs to no file \
(*anonymous*). Samples are {settings["sample_seconds"]:g} s apart; medians of the first and the last \
{part(run) / 60:.0f} minutes; the slope is that of all after the first. An operator that was killed begins \
anew, and a leader reads all jobs at once. The API comes to its level with what it remembers: the jobs there \
are, the last 10,000 changes (a quarter of an hour here) and the last 10,000 deletions (an hour). Object \
store and etcd have files in their working sets.

{_rows(_memory(run))}
![Memory of each component over the run]({picture})"""


def _counts(run: Run) -> Iterator[Sequence[str]]:
    # The head of a table without one is its first row.
    yield "uploads sent", f"{len(run.uploads) + len(run.refused):,}"
    yield "---", "---"
    yield "answered `201`", f"{len(run.uploads):,}"
    again = Counter(each["what"] for each in run.setbacks)
    told = ", ".join(f"{count:,} x {what}" for what, count in sorted(again.items())) or "never"
    yield "sent again, since the answer was", told
    yield "leaders killed", f"{len(run.kills):,}"
    if not run.checks:
        yield "jobs checked", "none: the run was cut short"
        return
    right = sum(not each["why"] for each in run.checks)
    yield "complete, with the right thumbnail", f"{right:,} (of them from history: {_history(run):,})"
    yield "**lost or wrong**", f"**{len(run.uploads) - right + len(run.refused):,}**"
    if run.webhooks is not None:
        told = f"{run.webhooks['jobs']:,} (twice or more: {run.webhooks['repeated']:,})"
        yield "ends told by webhook", told


def _history(run: Run) -> int:
    return sum(each["history"] for each in run.checks)


def _memory(run: Run) -> Iterator[Sequence[str]]:
    length = part(run)
    yield "component", "start", "first", "last", "at most", "slope", "anonymous, first", "last", "slope"
    yield ("---",) * 9
    for component in COMPONENTS:
        all_, own = (largest(run, component, kind) for kind in _KINDS)
        if not all_:
            yield component, "not seen", *[""] * 7
            continue
        most = max(value for _, value in all_)
        yield (
            component,
            _mib(all_[0][1]),
            *_ends(run, all_),
            _mib(most),
            _rise(all_, length),
            *_ends(run, own),
            _rise(own, length),
        )


def _ends(run: Run, points: Points) -> tuple[str, str]:
    """The medians of the first and the last part."""
    length = part(run)
    return _mib(_median(points, 0, length)), _mib(_median(points, run.seconds - length, run.seconds))


def _rise(points: Points, since: float) -> str:
    rise = slope(points, since)
    return "-" if rise is None else f"{rise:+.1f} MiB/h"


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _median(points: Points, since: float, until: float) -> float | None:
    values = [value for at, value in points if since <= at <= until]
    return statistics.median(values) if values else None


def _mib(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} MiB"


def picture_of(run: Run) -> str:
    """Memory of each component over time, as SVG."""
    panels = [Panel(component, "", "bytes", {}) for component in COMPONENTS]
    lines = {
        component: [
            Line(name, [(at, value * MIB) for at, value in largest(run, component, kind)])
            for kind, name in _KINDS.items()
        ]
        for component in COMPONENTS
    }
    return draw({"Memory of the largest pod, or of the process": panels}, lines, max(run.seconds, 1.0))
