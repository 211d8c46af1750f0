"""Writes the section of docs/benchmarks.md about a cluster, from what was measured."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import page
from cluster_audit import Write, Writes
from cluster_measure import Burst, Many, Pair
from cluster_usage import Usage
from pictures import SMALL

_NOT_MEASURED: Final = "not measured"
_COMPONENTS: Final = ("api", "operator", "worker")


@dataclass(frozen=True)
class Figures:
    """All of a run."""

    cold: Pair
    warm: Pair
    bare: Many
    bursts: Sequence[Burst]


def report(figures: Figures) -> str:
    """The section, whole."""
    (cold, cold_bare), (warm, by_hand) = figures.cold.medians, figures.warm.medians
    bare, bursts = figures.bare, figures.bursts
    photos = " Photos: those of `make bench`." if len(bursts) > 1 else ""
    return f"""\
## On Kubernetes, against bare Jobs

{page.made_by("make bench-cluster")} The control plane, the nodes, the object store and this client are \
where the cluster has them: with `make cluster`, all on these cores.

Small pictures: JPEG of {SMALL[0]} x {SMALL[1]}, generated.{photos} All have \
different pixels, and are in the bucket before. Each job makes the default thumbnail of 100 x 100; all of a \
burst are opened and compared with what the renderer makes of the same originals. Nothing was answered \
from the cache. A bare Job runs `true`, in an image that is on the node. By hand: a create, a patch of the \
status, and the watch event of it, for the same object, with no operator there.

| | ThumbnailJobs | against | |
| --- | --- | --- | --- |
| one, no worker running, to Complete (median of {len(figures.cold.ours)}) | {cold:.2f} s \
| a bare Job: {cold_bare:.2f} s | **{cold / cold_bare:.2f} x** (to reach: 0.6) |
| one, a worker lingering, to Complete (median of {len(figures.warm.ours)}) | {warm * 1e3:.0f} ms \
| by hand: {by_hand * 1e3:.0f} ms | **{(warm - by_hand) * 1e3:.0f} ms** over it (to reach: 60) |
{_rows(_burst_row(burst, bare) for burst in bursts)}
{_writes_section(figures)}
### Where the CPU time of a ThumbnailJob goes

{_cpu_table(bursts)}
The API server, etcd, the kubelet and the object store take the rest.

### Memory of a pod

The largest pod of each component. Idle: without the pages of files, which can be had again; at most: \
with them.

{_memory_table(bursts)}"""


def _burst_row(burst: Burst, bare: Many) -> str:
    goal = " (to reach: 15)" if burst.what == "small pictures" else ""
    workers = len(burst.after.get("worker", {})) or "some"
    return (
        f"| {burst.count:,} {burst.what} at once, {workers} workers | {burst.rate:.1f} a second "
        f"({burst.seconds:.1f} s) | {bare.count:,} bare Jobs at once: {bare.rate:.2f} a second "
        f"({bare.seconds:.1f} s) | **{burst.rate / bare.rate:.1f} x**{goal} |"
    )


def _writes_section(figures: Figures) -> str:
    lone, burst, bare = figures.warm.writes, figures.bursts[0].writes, figures.bare.writes
    if lone is None or burst is None or bare is None:
        return f"Writes to the API server: {_NOT_MEASURED}; its audit log is needed for them.\n"
    columns = (
        ("a lone ThumbnailJob", lone, len(figures.warm.ours)),
        (f"of {figures.bursts[0].count:,}", burst, figures.bursts[0].count),
        (f"a bare Job, of {figures.bare.count:,}", bare, figures.bare.count),
    )
    kinds = sorted({write for _, writes, _ in columns for write in writes}, key=_order)
    rows = [
        (f"{who}: {verb} {resource}", [writes[Write(who, verb, resource)] / n for _, writes, n in columns])
        for who, verb, resource in kinds
    ]
    rows.append(("**of ThumbnailJobs** (to reach: 3)", [_of_jobs(writes) / n for _, writes, n in columns]))
    rows.append(("all", [writes.total() / n for _, writes, n in columns]))
    return f"""\
### Writes to the API server

By its audit log, without those of Leases:

{_table(["requests for each", *(name for name, _, _ in columns)], rows, "{:.2f}")}"""


def _order(write: Write) -> tuple[bool, Write]:
    return not write.is_of_thumbnail_jobs, write


def _of_jobs(writes: Writes) -> int:
    return sum(count for write, count in writes.items() if write.is_of_thumbnail_jobs)


def _cpu_table(bursts: Sequence[Burst]) -> str:
    rows = [
        (name, [_milliseconds(burst.cpu_seconds(name), burst) for burst in bursts])
        for name in reversed(_COMPONENTS)
    ]
    rows.append(("this client", [_milliseconds(burst.client_cpu_seconds, burst) for burst in bursts]))
    names = ", ".join(f'"{name}"' for name, _ in rows)
    bars = ", ".join(f"{values[0] or 0:.1f}" for _, values in rows)
    return f"""\
{_table(["component", *(burst.what for burst in bursts)], rows, "{:.1f} ms")}
```mermaid
xychart-beta
    title "CPU time a ThumbnailJob, {bursts[0].what} (ms)"
    x-axis [{names}]
    y-axis "ms"
    bar [{bars}]
```
"""


def _milliseconds(seconds: float | None, burst: Burst) -> float | None:
    return None if seconds is None else seconds / burst.count * 1e3


def _memory_table(bursts: Sequence[Burst]) -> str:
    rows = []
    for name in _COMPONENTS:
        idle = _largest(bursts[0].before.get(name, {}), lambda each: each.now_mib)
        most = [_largest(burst.after.get(name, {}), lambda each: each.most_mib) for burst in bursts]
        rows.append(f"| {name} | {idle if name != 'worker' else 'none runs'} | {' | '.join(most)} |")
    return _rows(
        [
            f"| component | idle | {' | '.join(f'at most, {burst.what}' for burst in bursts)} |",
            f"| --- | --- | {' | '.join('---' for _ in bursts)} |",
            *rows,
        ]
    )


def _largest(pods: dict[str, Usage], what: Callable[[Usage], float]) -> str:
    return f"{max(map(what, pods.values())):.0f} MiB" if pods else _NOT_MEASURED


def _table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[float | None]]], form: str) -> str:
    def cell(value: float | None) -> str:
        return _NOT_MEASURED if value is None else form.format(value)

    return _rows(
        [
            f"| {' | '.join(head)} |",
            f"| {' | '.join('---' for _ in head)} |",
            *(f"| {name} | {' | '.join(map(cell, values))} |" for name, values in rows),
        ]
    )


def _rows(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)
