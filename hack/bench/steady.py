"""`make bench-steady`: an hour of uploads while leaders are killed: all of it is kept, and memory is flat.

On the cluster of `make cluster`, since the memory of pods and control plane is read from this machine. All is
written down as it happens, a JSON line each: `--draw FILE` makes the section of a run that was cut short.
Ctrl-C ends the uploads; what was uploaded by then is checked.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

import page
import pictures
import steady_memory
from cluster_release import CHART, RELEASE, Release, installed, kubectl, run
from hack import receiver_pod
from hack.cluster.faults import RunningNode
from hack.cluster.layout import layout_from_environment
from kubernetes import client, config
from steady_load import Client, Uploads, check, told
from steady_report import COMPONENTS, MIB, Record, picture_of, read, report

LOCAL: Final = Path(__file__).parents[2] / ".cluster"
PICTURE: Final = page.DOCUMENT.parent / "steady.svg"
ORIGINALS: Final = 60  # photos with pixels of their own; each upload is another file
SAMPLE_SECONDS: Final = 10.0
PODS: Final = ("api", "operator", "worker", "minio")
PROCESSES: Final = ("etcd", "kube-apiserver")
WEBHOOK_SECONDS: Final = 300.0


@dataclass
class Log:
    """The file of a run: a line for each thing that happened, written at once."""

    file: TextIO
    began: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def clock(self) -> float:
        """Seconds since the run began."""
        return round(time.monotonic() - self.began, 1)

    def keep(self, record: Mapping[str, Any]) -> None:
        """Write a line."""
        with self._lock:
            self.counts[record["kind"]] += 1
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()


class Watched:
    """A release, looked at and disturbed."""

    def __init__(self, release: Release, node: RunningNode, kubeconfig: str) -> None:
        api: Any = config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]
        self._core: Any = client.CoreV1Api(api)
        self._objects: Any = client.CustomObjectsApi(api)
        self._namespace = release.namespace
        self._node = node

    def memory(self) -> Iterator[tuple[str, str, steady_memory.Memory]]:
        """Component, pod or process, and what it has now."""
        pods = self._core.list_namespaced_pod(self._namespace, _request_timeout=SAMPLE_SECONDS).items
        for pod in pods:
            component = (pod.metadata.labels or {}).get("app.kubernetes.io/component")
            if component in PODS and pod.status.phase == "Running":
                found = steady_memory.of_pod(pod.metadata.uid)
                if found is not None:
                    yield component, pod.metadata.name, found
        for name in PROCESSES:
            pid = self._node.pid(name)
            found = None if pid is None else steady_memory.of_process(pid)
            if found is not None:
                yield name, str(pid), found

    def kill_leader(self) -> str | None:
        """Kill the operator that leads, at once; its name, or None when there is none just now."""
        pods = self._core.list_namespaced_pod(
            self._namespace, label_selector="thumbnails.dev/leader=true", _request_timeout=SAMPLE_SECONDS
        ).items
        names: list[str] = [pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is None]
        if not names:
            return None
        self._core.delete_namespaced_pod(
            names[0], self._namespace, grace_period_seconds=0, _request_timeout=SAMPLE_SECONDS
        )
        return names[0]

    def jobs(self) -> set[str]:
        """The names of all ThumbnailJobs."""
        names: set[str] = set()
        more: str | None = ""
        while more is not None:
            answer = self._objects.list_namespaced_custom_object(
                "thumbnails.dev", "v1alpha1", self._namespace, "thumbnailjobs", limit=500, _continue=more
            )
            names |= {job["metadata"]["name"] for job in answer["items"]}
            more = answer["metadata"].get("continue") or None
        return names


@dataclass(frozen=True)
class Plan:
    """What a run does, in seconds."""

    rate: float
    seconds: float
    kill_seconds: float  # 0: never
    sample_seconds: float = SAMPLE_SECONDS


def drive(
    plan: Plan,
    uploads: Uploads,
    log: Log,
    memory: Callable[[], Iterator[tuple[str, str, steady_memory.Memory]]],
    kill_leader: Callable[[], str | None],
) -> None:
    """Upload for as long as planned, or until Ctrl-C; sample, kill and tell meanwhile."""
    thread = threading.Thread(target=uploads.run, args=(plan.rate,), name="uploads")
    thread.start()
    kill_at = plan.kill_seconds or float("inf")
    tell_at = 60.0
    now: dict[str, float] = {}
    try:
        for turn in range(int(plan.seconds / plan.sample_seconds) + 1):
            time.sleep(max(0.0, turn * plan.sample_seconds - log.clock()))
            with reported("memory", log):
                now = _sample(memory, log)
            if log.clock() >= kill_at:
                with reported("kill", log):
                    name = kill_leader()
                    if name is not None:  # or else at the next turn
                        log.keep({"kind": "kill", "at": log.clock(), "pod": name})
                        kill_at += plan.kill_seconds
            if log.clock() >= tell_at:
                tell_at += 60.0
                print(_progress(log, uploads, now), flush=True)
        time.sleep(max(0.0, plan.seconds - log.clock()))
    except KeyboardInterrupt:
        print("  ended early: what was uploaded is checked", flush=True)
    finally:
        uploads.stop()
        thread.join()


@contextmanager
def reported(what: str, log: Log) -> Iterator[None]:
    """A look at the cluster may fail: that is written down, and the run goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it was, it is a gap in an hour, not its end
        log.keep({"kind": "gap", "at": log.clock(), "what": what, "why": f"{type(error).__name__}: {error}"})


def _sample(
    memory: Callable[[], Iterator[tuple[str, str, steady_memory.Memory]]], log: Log
) -> dict[str, float]:
    at, largest = log.clock(), dict[str, float]()
    for component, name, found in memory():
        log.keep({"kind": "memory", "at": at, "component": component, "name": name, **found._asdict()})
        largest[component] = max(largest.get(component, 0.0), found.working_set / MIB)
    return largest


def _progress(log: Log, uploads: Uploads, now: Mapping[str, float]) -> str:
    memory = ", ".join(f"{name} {now[name]:.0f}" for name in COMPONENTS if name in now)
    return (
        f"  {log.clock() / 60:3.0f} min: {uploads.sent:,} sent, {log.counts['upload']:,} taken, "
        f"{log.counts['refused']} refused, {log.counts['setback']} sent again, {log.counts['kill']} leaders "
        f"killed, {log.counts['gap']} gaps; MiB: {memory}"
    )


@contextmanager
def webhooks_taken(image: str) -> Iterator[tuple[str, str]]:
    """The URL of a receiver of webhooks in a namespace of its own, and its address."""
    namespace = f"bench-receiver-{uuid.uuid4().hex[:8]}"
    run("kubectl", "create", "namespace", namespace)
    try:
        kubectl(namespace, "wait", "--for=create", "serviceaccount/default", "--timeout=120s")
        objects = {"apiVersion": "v1", "kind": "List", "items": receiver_pod.receiver_objects(image)}
        kubectl(namespace, "apply", "--filename=-", stdin=json.dumps(objects))
        kubectl(namespace, "wait", "--for=condition=Ready", f"pod/{receiver_pod.NAME}", "--timeout=120s")
        yield (
            f"http://{receiver_pod.NAME}.{namespace}.svc:{receiver_pod.PORT}",
            _address(namespace, receiver_pod.NAME),
        )
    finally:
        run("kubectl", "delete", "namespace", namespace, "--wait=false")


def values(ttl_seconds: int, url: str, address: str) -> dict[str, Any]:
    """Of the release: two of everything, on a node of two cores."""
    small = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
    return {
        "api": {"replicas": 2, **small},
        "operator": {"replicas": 2, **small},
        "minio": small,
        "webhook": {"url": url},
        "settings": {"ttlSeconds": ttl_seconds, "maxWorkers": 2, "webhookAllow": f"{address}/32"},
    }


def count_webhooks(address: str, jobs: Mapping[str, int], log: Log) -> None:
    """Wait until the end of each job was told, for as long as that may take, and write down what came."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + WEBHOOK_SECONDS
    while True:
        with opener.open(f"http://{address}:{receiver_pod.PORT}/", timeout=60) as answer:
            counts = told(json.load(answer), jobs)
        missing = sum(count == 0 for count in counts.values())
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(5)
    repeated = sum(count > 1 for count in counts.values())
    log.keep({"kind": "webhooks", "jobs": len(counts) - missing, "missing": missing, "repeated": repeated})


def _address(namespace: str, service: str) -> str:
    return kubectl(namespace, "get", "service", service, "--output=jsonpath={.spec.clusterIP}")


def _operator_image(values_file: Path | None) -> str:
    given = ("--values", str(values_file)) if values_file else ()
    shown = run(
        "helm", "template", RELEASE, str(CHART), *given, "--show-only", "templates/operator/deployment.yaml"
    )
    return next(
        line.split()[-1].strip('"') for line in shown.splitlines() if line.strip().startswith("image:")
    )


def measure(options: argparse.Namespace, kubeconfig: str, log: Log) -> None:
    """The whole run, on a release of its own."""
    node = RunningNode.of_kubeconfig(Path(kubeconfig), layout_from_environment(os.environ).record)
    if node is None:
        raise SystemExit("needs the cluster that `make cluster` starts: its memory is read from this machine")
    originals = [file.read_bytes() for file in pictures.make_small(ORIGINALS)]
    with ExitStack() as stack:
        url, receiver = stack.enter_context(webhooks_taken(_operator_image(options.values)))
        release = stack.enter_context(installed(options.values, values(options.ttl, url, receiver)))
        api = Client(
            f"http://{_address(release.namespace, f'{RELEASE}-api')}:3000",
            release.secret(f"{RELEASE}-api-key", "key"),
        )
        watched = Watched(release, node, kubeconfig)
        plan = Plan(options.rate, options.minutes * 60, options.kill_every * 60)
        log.began = time.monotonic()
        log.keep(
            {
                "kind": "run",
                "rate": plan.rate,
                "kill_minutes": options.kill_every,
                "ttl_seconds": options.ttl,
                "sample_seconds": SAMPLE_SECONDS,
                "api": 2,
                "operator": 2,
            }
        )
        uploads = Uploads(api, originals, log.keep, log.clock)
        drive(plan, uploads, log, watched.memory, watched.kill_leader)
        log.keep({"kind": "ended", "at": log.clock()})
        print(f"  checking {len(uploads.jobs):,} jobs ...", flush=True)
        check(api, uploads.jobs, len(originals), watched.jobs(), log.keep)
        with reported("webhooks", log):
            count_webhooks(receiver, uploads.jobs, log)


def publish(records: Path, *, print_only: bool) -> bool:
    """Draw the section and its picture from a file of records; whether all was as it ought to be."""
    seen = read(_records(records))
    section = report(seen, PICTURE.name)
    print(section)
    for failure in seen.failures:
        print(f"FAILED: {failure}")
    if not print_only:
        PICTURE.write_text(picture_of(seen), "utf-8")
        page.write_section("steady", section)
    return not seen.failures


def _records(file: Path) -> Iterator[Record]:
    with file.open("r", encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):  # the last one of a run that was killed may be half
                yield json.loads(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long pictures are uploaded")
    parser.add_argument("--rate", type=float, default=3.0, help="uploads a second")
    parser.add_argument(
        "--kill-every", type=float, default=5.0, help="minutes between kills of the leader; 0: none"
    )
    parser.add_argument("--ttl", type=int, default=600, help="seconds after which finished jobs are history")
    parser.add_argument("--values", type=Path, help="values of the chart that this cluster needs")
    parser.add_argument(
        "--draw", type=Path, metavar="FILE", help="measure nothing: draw what a run wrote down"
    )
    parser.add_argument("--print-only", action="store_true", help="leave docs/ as it is")
    options = parser.parse_args()
    records: Path | None = options.draw
    if records is None:
        os.environ.setdefault("KUBECONFIG", str(LOCAL / "kubeconfig"))
        os.environ["PATH"] = f"{LOCAL / 'bin'}:{os.environ['PATH']}"
        signal.signal(
            signal.SIGTERM, lambda *_: sys.exit("ended by a signal")
        )  # what is installed is removed
        pictures.CACHE.mkdir(parents=True, exist_ok=True)
        records = pictures.CACHE / f"steady-{time.strftime('%Y%m%dT%H%M%S')}.jsonl"
        print(f"all is written down in {records} (of a run cut short: --draw draws it)", flush=True)
        with records.open("w", encoding="utf-8") as file:
            measure(options, os.environ["KUBECONFIG"], Log(file))
    if not publish(records, print_only=options.print_only):
        sys.exit(1)


if __name__ == "__main__":
    main()
