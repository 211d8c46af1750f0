"""Outages of what the service stands on, with uploads flowing at a steady rate, and what each of them cost.

Every outage is one row of the table in docs/operating.md: `THUMBNAILS_TEST_OUTAGES` names the file (JSON)
that collects them, `THUMBNAILS_TEST_RATE` is the number of uploads a second.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import pytest
from hack.cluster.faults import RunningNode

RATE = float(os.environ.get("THUMBNAILS_TEST_RATE", "2"))
# What flows before an outage and after it: enough to tell that everything works.
CALM_SECONDS = 5.0
SAMPLE_SECONDS = 0.5
REQUEST_SECONDS = 3.0
Document = dict[str, Any]
NO_FAILURES: Mapping[str, set[str]] = MappingProxyType({})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this takes a minute and more, and most of it the whole node."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for mark in (pytest.mark.outage, pytest.mark.slow, pytest.mark.timeout(900)):
                item.add_marker(mark)


@dataclass
class Story:
    """What the ThumbnailJobs that have not ended, and Events, say meanwhile: sampled by a thread."""

    namespace: str
    kubeconfig: str
    reasons: set[str] = field(default_factory=set)  # of the condition Started
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        from kubernetes import client, config

        self._api: Any = config.new_client_from_config(self.kubeconfig)  # type: ignore[no-untyped-call]
        self._objects: Any = client.CustomObjectsApi(self._api)
        self._core: Any = client.CoreV1Api(self._api)
        self._thread = threading.Thread(target=self._listen, name="story")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._api.close()

    def warnings(self, since: float) -> set[str]:
        """Reasons of Warnings that the namespace's Events tell of this time."""
        events = json.loads(
            self._core.list_namespaced_event(
                self.namespace, field_selector="type=Warning", _preload_content=False
            ).data
        )["items"]
        begun = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
        # Probes fail in any outage; what is told is what else there is.
        return {
            event["reason"]
            for event in events
            if str(event.get("lastTimestamp") or event.get("eventTime") or "") >= begun
            and event["reason"] != "Unhealthy"
        }

    def _listen(self) -> None:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        while not self._done.wait(SAMPLE_SECONDS):
            with suppress(ApiException, HTTPError, OSError, ValueError):  # away, as everything may be here
                answer = self._objects.list_namespaced_custom_object(
                    *("thumbnails.dev", "v1alpha1", self.namespace, "thumbnailjobs"),
                    _request_timeout=REQUEST_SECONDS,
                    field_selector="status.phase=Pending",
                )
                for job in answer["items"]:
                    for condition in job["status"].get("conditions", ()):
                        if condition["type"] == "Started" and condition["status"] == "False":
                            self.reasons.add(condition["reason"])


@dataclass(frozen=True)
class Cost:
    """What one outage cost: a row of the table."""

    name: str
    outage_seconds: float
    uploads: int
    setbacks: Mapping[str, int]  # answers that made clients come again: a status, or "connection"
    # From the end of the outage until the first upload that was taken; 0 when none was sent away.
    uploads_again_seconds: float
    # ... and until the last job that was taken before had ended and its webhook had come.
    jobs_ended_seconds: float
    reasons: list[str]  # why jobs waited, by their conditions
    warnings: list[str]  # reasons of Events


@dataclass
class Outages:
    """Runs outages against one installation."""

    installation: Any
    new_trial: Callable[[], Any]
    eventually: Callable[..., Any]
    a_slow_picture: Callable[[], Any]

    def run(
        self,
        name: str,
        outage: AbstractContextManager[Any],
        *,
        seconds: float = 0.0,
        backlog: int = 6,
        told: frozenset[str] = frozenset(),
        later: frozenset[int] = frozenset(),
    ) -> Document:
        """Have it happen for so long while uploads flow, and check that nothing is lost.

        `backlog`: pictures that are still to be done when it begins. `told`: at least one of these has to be
        the reason why jobs wait, before it ends. `later`: statuses, besides the usual, that make clients come
        again. Gives the jobs by name.
        """
        trial = self.new_trial()
        trial.idempotent = True
        trial.later |= later
        tools = self.installation.tools
        with (
            Story(self.installation.namespace, tools.environment["KUBECONFIG"]) as story,
            trial.uploads_at(RATE),
        ):
            self._await_ended(trial, time.time() + CALM_SECONDS)
            trial.upload(self.a_slow_picture() for _ in range(backlog))
            before = Counter(trial.setbacks)
            began = time.time()
            with outage:
                time.sleep(seconds)
                if told:
                    self.eventually(lambda: story.reasons & told, f"jobs say {told}: {story.reasons}")
            ended = time.time()
            setbacks = trial.setbacks - before
            self.eventually(
                lambda: max(trial.answered.values()) > ended, f"uploads are taken: {trial.setbacks}"
            )
            again = min(at for at in trial.answered.values() if at > ended)
            last = self._await_ended(trial, ended)
            self._await_ended(trial, time.time() + CALM_SECONDS)
        jobs: Document = trial.check(NO_FAILURES)
        cost = Cost(
            name=name,
            outage_seconds=round(ended - began, 1),
            uploads=len(trial.uploads),
            setbacks=dict(setbacks),
            uploads_again_seconds=round(again - ended, 1) if setbacks else 0.0,
            jobs_ended_seconds=round(max(0.0, last - ended), 1),
            reasons=sorted(story.reasons),
            warnings=sorted(story.warnings(began)),
        )
        _keep(cost)
        return jobs

    def _await_ended(self, trial: Any, until: float) -> float:
        """When the last webhook came about the jobs that were, or will be, answered before `until`."""
        time.sleep(max(0.0, until - time.time()))
        due = {name for name, at in trial.answered.copy().items() if at <= until}
        first: dict[str, float] = {}

        def all_told() -> bool:
            time.sleep(SAMPLE_SECONDS)
            for delivery in self.installation.webhooks.all():
                first.setdefault(delivery.event["data"]["jobId"], delivery.at)
            return due <= first.keys()

        self.eventually(all_told, "the end of every job is told")
        return max((first[name] for name in due), default=0.0)


def _keep(cost: Cost) -> None:
    print(json.dumps(asdict(cost)))  # for whoever reads along (-s), or reads why it failed
    file = os.environ.get("THUMBNAILS_TEST_OUTAGES")
    if file:
        path = Path(file)
        rows = json.loads(path.read_text()) if path.exists() else []
        rows = [row for row in rows if row["name"] != cost.name]
        path.write_text(json.dumps([*rows, asdict(cost)], indent=1) + "\n")


@pytest.fixture
def outages(
    faulty: Any,
    node: RunningNode,
    new_trial: Callable[[], Any],
    eventually: Callable[..., Any],
    a_slow_picture: Callable[[], Any],
) -> Outages:
    """All parts of the service are ready."""
    faulty.call_directly()
    for component in ("api", "operator", "minio"):
        faulty.kubectl("rollout", "status", f"deployment/thumbnails-{component}", "--timeout=180s")
    return Outages(faulty, new_trial, eventually, a_slow_picture)


@contextmanager
def _at_once(act: Callable[[], Any]) -> Iterator[None]:
    act()
    yield


@pytest.fixture
def at_once() -> Callable[[Callable[[], Any]], AbstractContextManager[None]]:
    """Makes an outage of something that is done, and not undone."""
    return _at_once
