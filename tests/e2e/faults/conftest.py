"""Faults that are caused from outside, and what must hold after each of them.

Nothing is lost, whatever dies: an upload that was answered ends with a right picture or with a clear
reason, and its client is told so, once or more often, with one and the same id. Pictures are made up
anew for every upload, so none of them is found in the cache.
"""

import io
import random
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
import requests
from PIL import Image, ImageChops

PATIENCE_SECONDS = 180.0
MAX_ATTEMPTS = 3
WORKERS = "app.kubernetes.io/component=worker"
WORKER_MIB = 512
# What is left of a worker's memory for supervisor, renderer and a small picture, but not for a large one.
SPARE_MIB = 180
# Later; or what was cut off may still be under way.
LATER = frozenset({503, 409})
Colour = tuple[int, int, int]
Document = dict[str, Any]


# ---- pictures ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picture:
    """An upload that nobody has seen before, and what its thumbnail must look like."""

    content: bytes
    fields: Mapping[str, str]
    size: tuple[int, int]  # of the thumbnail
    format: str
    colours: tuple[Colour, ...]  # of its quarters

    def check(self, thumbnail: bytes) -> None:
        """Raise AssertionError unless this is the thumbnail of this very picture."""
        with Image.open(io.BytesIO(thumbnail)) as image:
            assert (image.size, image.format) == (self.size, self.format)
            quarters = image.convert("RGB").resize((2, 2), Image.Resampling.BOX)
        for place, colour in zip(((0, 0), (1, 0), (0, 1), (1, 1)), self.colours, strict=True):
            seen: Any = quarters.getpixel(place)
            far = max(abs(one - other) for one, other in zip(seen, colour, strict=True))
            assert far <= 12, f"{place}: {seen} is not {colour}"


def a_picture(width: int = 100, height: int = 100, format_: str = "webp") -> Picture:
    """A picture of four grainy colours, and the wish for a thumbnail of it."""
    colours = tuple(_a_colour() for _ in range(4))
    quarters = Image.new("RGB", (2, 2))
    quarters.putdata(colours)
    side = 600
    grain = Image.merge("RGB", [Image.effect_noise((side, side), 12)] * 3)
    picture = ImageChops.add(quarters.resize((side, side), Image.Resampling.NEAREST), grain, offset=-128)
    file = io.BytesIO()
    picture.save(file, random.choice(("JPEG", "PNG", "WEBP")), quality=90)
    fields = {"width": str(width), "height": str(height), "format": format_}
    return Picture(file.getvalue(), fields, (width, height), format_.upper(), colours)


def _a_colour() -> Colour:
    return random.randrange(32, 224), random.randrange(32, 224), random.randrange(32, 224)


def a_slow_picture() -> Picture:
    """One that keeps a worker busy for some tenths of a second, and needs little memory."""
    return a_picture(1600, 1600)


# ---- faults ------------------------------------------------------------------------------------------

# Runs in a container, and has its main process killed, which kill(2) cannot do there: from within its
# namespace process 1 takes no SIGKILL, but the kernel sends it one when memory is out. What a file in memory
# holds belongs to no process, so that the main process is the largest.
KILL = """
import os
with open("/proc/1/oom_score_adj", "w") as file:
    file.write("1000")
ballast = os.memfd_create("ballast")
while True:
    os.write(ballast, bytes(1 << 20))
"""

# Takes memory of a worker's container for as long as that lives. With `container`, the kernel's choice is the
# main process, and the container ends with it; otherwise a renderer asks for being chosen. With cgroup v2 the
# container ends in any case (memory.oom.group): the answer tells.
BALLAST = """
import contextlib, os, signal, sys
mib, victim = int(sys.argv[1]), sys.argv[2]
if victim == "container":
    with open("/proc/1/oom_score_adj", "w") as file:
        file.write("1000")
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        if pid not in ("1", str(os.getpid())):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as file:
                file.write("0")
ballast = os.memfd_create("ballast")
for _ in range(mib):
    os.write(ballast, bytes(1 << 20))
whole = "0"
with contextlib.suppress(FileNotFoundError), open("/sys/fs/cgroup/memory.oom.group") as file:
    whole = file.read().strip()
print("ready", whole, flush=True)
signal.pause()
"""


class WorkerPods:
    """What happens to the pods of workers from now on: who ran, and how they ended."""

    def __init__(self, tools: Any, namespace: str) -> None:
        self._tools = tools
        self._namespace = namespace
        self._lock = threading.Condition()
        self._running: set[str] = set()
        self._ended: dict[str, str] = {}
        self._traps: dict[str, subprocess.Popen[str]] = {}
        self._trapped: set[str] = set()
        self._victim = ""
        self._dies_whole = False
        state = ".status.containerStatuses[0].state"
        line = f"{{.metadata.name}} {{{state}.running.startedAt}}|{{{state}.terminated.reason}}{{'\\n'}}"
        self._watch = self._start(
            "get", "pods", f"--selector={WORKERS}", "--watch", f"--output=jsonpath={line}"
        )
        self._threads: list[threading.Thread] = []
        self._begin(self._read)

    def _start(self, *arguments: str) -> "subprocess.Popen[str]":
        process: subprocess.Popen[str] = self._tools.start(
            "kubectl", "--namespace", self._namespace, *arguments
        )
        return process

    def _begin(self, life: Callable[[], None]) -> None:
        thread = threading.Thread(target=life)
        self._threads.append(thread)
        thread.start()

    def _read(self) -> None:
        assert self._watch.stdout is not None
        for line in self._watch.stdout:
            name, _, state = line.strip().partition(" ")
            running, separator, ended = state.partition("|")
            if not separator:
                continue  # kubectl speaks of itself
            with self._lock:
                if running:
                    self._running.add(name)
                    self._set_trap(name)
                if ended:
                    self._ended[name] = ended
                self._lock.notify_all()

    def _set_trap(self, name: str) -> None:
        if not self._victim or name in self._traps:
            return
        ballast = str(WORKER_MIB - SPARE_MIB)
        trap = self._start("exec", name, "--", "python", "-c", BALLAST, ballast, self._victim)
        self._traps[name] = trap
        self._begin(partial(self._await_trap, name, trap))

    def _await_trap(self, name: str, trap: "subprocess.Popen[str]") -> None:
        assert trap.stdout is not None
        for line in trap.stdout:
            if line.startswith("ready"):
                with self._lock:
                    self._trapped.add(name)
                    self._dies_whole |= line.split()[1] == "1"
                    self._lock.notify_all()

    def tighten_memory(self, victim: str) -> bool:
        """From now on, take so much memory of each worker that a large picture is too much for it.

        `victim`: whom the kernel kills then, "renderer" or the whole "container". Returns when it is done to
        the workers that run; whether it is the container.
        """
        with self._lock:
            self._victim = victim
            for name in self._running - self._ended.keys():
                self._set_trap(name)
            done = self._lock.wait_for(
                lambda: self._trapped and self._trapped >= self._running - self._ended.keys(),
                PATIENCE_SECONDS,
            )
            assert done, "some worker has memory to spare"
            return victim == "container" or self._dies_whole

    def running(self) -> set[str]:
        """The pods that run, or were never seen to end."""
        with self._lock:
            return self._running - self._ended.keys()

    def await_running(self) -> str:
        """The name of one that runs."""
        with self._lock:
            assert self._lock.wait_for(lambda: self._running - self._ended.keys(), PATIENCE_SECONDS)
            return min(self._running - self._ended.keys())

    def ended(self) -> dict[str, str]:
        """The pods whose container has ended, and why."""
        with self._lock:
            return dict(self._ended)

    def close(self) -> None:
        for process in (self._watch, *self._traps.values()):
            process.kill()
        for thread in self._threads:
            thread.join()
        for process in (self._watch, *self._traps.values()):
            process.communicate()


# ---- what clients see --------------------------------------------------------------------------------


@dataclass(slots=True)
class Trial:
    """The uploads of one test, from the answer to the end of each."""

    installation: Any
    workers: WorkerPods | None
    eventually: Callable[..., Any]
    uploads: dict[str, Picture] = field(default_factory=dict)  # those that were answered, by the job's name
    answered: dict[str, float] = field(default_factory=dict)  # when, in seconds since the epoch
    setbacks: Counter[str] = field(default_factory=Counter)  # what made clients try again
    earlier: frozenset[str] = frozenset()  # jobs of other tests
    idempotent: bool = False  # whether clients say what is one and the same upload, so that it is one job
    later: frozenset[int] = LATER  # what tells clients to come again

    def upload(self, pictures: Iterable[Picture]) -> list[str]:
        """Upload each; the names of the jobs, in that order."""
        with self._new_client() as session:
            return [self._send(session, picture) for picture in pictures]

    def upload_large(self, content: bytes, side: int, formats: str) -> str:
        """Upload something that is not expected to become a thumbnail; the job's name."""
        fields = {"width": str(side), "height": str(side), "format": formats}
        return self.upload([Picture(content, fields, (side, side), formats, ())])[0]

    @contextmanager
    def uploads_flow(self, clients: int = 3) -> Iterator[Callable[[int], None]]:
        """Have several clients upload one picture after the other meanwhile.

        Gives a function that waits until so many more were answered.
        """
        done = threading.Event()

        def live() -> None:
            with self._new_client() as session:
                while not done.wait(0.1):
                    self._send(session, a_picture())

        def await_more(count: int) -> None:
            goal = len(self.uploads) + count

            def enough() -> bool:
                for each in futures:
                    if each.done():
                        each.result()  # tells what is wrong
                return len(self.uploads) >= goal

            self.eventually(enough, f"{count} more uploads are answered; before that: {self.setbacks}")

        with ThreadPoolExecutor(clients) as pool:
            futures = [pool.submit(live) for _ in range(clients)]
            try:
                yield await_more
            finally:
                done.set()
        for each in futures:
            each.result()

    @contextmanager
    def uploads_at(self, rate: float, clients: int = 48) -> Iterator[None]:
        """Have so many uploads a second begin meanwhile, however long the earlier ones take."""
        done = threading.Event()
        futures: list[Future[None]] = []

        def upload() -> None:
            with self._new_client() as session:
                self._send(session, a_picture())

        def live() -> None:
            due = time.monotonic()
            while not done.wait(max(0.0, due - time.monotonic())):
                due += 1 / rate
                futures.append(pool.submit(upload))

        with ThreadPoolExecutor(clients) as pool:
            clock = pool.submit(live)
            try:
                yield
            finally:
                done.set()
                clock.result()
        for each in futures:
            each.result()

    def _new_client(self) -> requests.Session:
        session: requests.Session = self.installation.new_session(self.installation.key)
        return session

    def _send(self, session: requests.Session, picture: Picture) -> str:
        """POST /images, as often as a real client would: when it hears nothing, or "later"."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if self.idempotent else {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            setback, delay = "connection", 0.5
            with suppress(requests.RequestException):  # not even the whole answer
                answer = session.post(
                    f"{self.installation.api_url}/images",
                    files={"image": ("picture", picture.content)},
                    data=picture.fields,
                    headers=headers,
                    timeout=30,
                )
                if answer.status_code == 201:
                    name: str = answer.json()["id"]
                    self.answered[name] = time.time()
                    self.uploads[name] = picture
                    return name
                assert answer.status_code in self.later, f"{answer.status_code}: {answer.text}"
                setback, delay = str(answer.status_code), float(answer.headers["Retry-After"])
            self.setbacks[setback] += 1
            assert time.monotonic() < deadline, f"no upload is taken: {self.setbacks}"
            time.sleep(delay)

    def jobs(self) -> dict[str, Document]:
        """All ThumbnailJobs of the installation by name."""
        found = self.installation.get("thumbnailjobs")["items"]
        return {job["metadata"]["name"]: job for job in found}

    def unfinished(self) -> int:
        """How many of them have not ended."""
        return sum(job["status"]["phase"] in {"Pending", "Running"} for job in self.jobs().values())

    def await_middle(self) -> None:
        """Return when some of the uploads have ended and others have not."""

        def halfway() -> bool:
            unfinished = self.unfinished()
            assert unfinished, "all work is done before anything could happen"
            return unfinished <= len(self.uploads) - 2

        self.eventually(halfway, "some work is done")

    def kill(self, pod: str) -> None:
        """Have the main process of the pod's container killed (SIGKILL)."""
        begun = self._starts(pod)
        killer = self.installation.tools.start(
            "kubectl", "--namespace", self.installation.namespace, "exec", pod, "--", "python", "-c", KILL
        )
        words, _ = killer.communicate(timeout=60)
        assert killer.returncode, "it ends with the container"
        self.eventually(lambda: self._starts(pod) != begun, f"{pod} is killed: {words}")

    def _starts(self, pod: str) -> list[str]:
        """When the running containers of the pod were started."""
        where = "{.status.containerStatuses[*].state.running.startedAt}"
        started: str = self.installation.kubectl(
            "get", "pod", pod, "--ignore-not-found", f"--output=jsonpath={where}"
        )
        return started.split()

    def scale(self, component: str, replicas: int) -> None:
        """Have so many pods of the component's Deployment, as soon as they have started or ended."""
        selector = f"--selector=app.kubernetes.io/component={component}"
        self.installation.kubectl("scale", "deployment", selector, f"--replicas={replicas}")
        self.await_ready(component, replicas)

    def await_setbacks(self, which: str, count: int) -> None:
        """Return when clients were told that often to come again, or were not answered ("connection")."""
        self.eventually(lambda: self.setbacks[which] >= count, f"{count} x {which}: {self.setbacks}")

    def await_ready(self, component: str, count: int) -> None:
        """Return when so many pods of the component are ready, and no other one is there."""

        def ready() -> bool:
            pods = self.installation.pods(component)
            return len(pods) == count and all(_is_ready(pod) for pod in pods)

        self.eventually(ready, f"{count} {component} ready")

    def check(self, failed: Mapping[str, set[str]] = MappingProxyType({})) -> dict[str, Document]:
        """Every job ends with the right picture, or as in `failed` with one of these reasons, and is told of.

        Gives the jobs by name.
        """
        self.eventually(lambda: not self.unfinished(), "all jobs have ended")
        jobs = self.jobs()
        assert self.uploads.keys() <= jobs.keys() - self.earlier
        if self.idempotent:
            assert jobs.keys() - self.earlier == self.uploads.keys(), "one job for each upload"
        for name, picture in self.uploads.items():
            status = jobs[name]["status"]
            if name in failed:
                assert status["phase"] == "Failed", status
                assert status["error"]["reason"] in failed[name] and status["error"]["message"], status
            else:
                assert status["phase"] == "Succeeded", status
                picture.check(self.thumbnail(name))
        self._check_webhooks(failed)
        return jobs

    def thumbnail(self, name: str) -> bytes:
        """GET /thumbnails/{id}."""
        answer = self.installation.request("GET", f"/thumbnails/{name}")
        assert answer.status_code == 200, answer.text
        content: bytes = answer.content
        return content

    def _check_webhooks(self, failed: Mapping[str, set[str]]) -> None:
        """The end of each job was told, under an id of its own."""
        told: dict[str, set[tuple[str, str]]] = {}

        def all_told() -> bool:
            for delivery in self.installation.webhooks.all():
                told.setdefault(delivery.about, set()).add((delivery.event["type"], delivery.id))
            return self.uploads.keys() <= told.keys()

        self.eventually(all_told, "every end is told")
        for name in self.uploads:
            ((type_, _),) = told[name]
            assert type_ == ("thumbnailjob.failed" if name in failed else "thumbnailjob.completed")
        ids = [id_ for about in told.values() for _, id_ in about]
        assert len(ids) == len(set(ids))


def _is_ready(pod: Document) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


# ---- fixtures ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def faulty(start_installation: Callable[..., Any]) -> Any:
    """The installation on which all of this happens: two replicas of everything that can have two."""
    return start_installation(
        api={"replicas": 2},
        settings={
            # One worker: the neighbours of a guilty picture always die with it, unless it is tried alone.
            "maxWorkers": 1,
            "workerMemoryMib": WORKER_MIB,
            "maxAttempts": MAX_ATTEMPTS,
            # An upload that was cut off is taken over by its client's next try after these, and some more.
            "maxWaitSeconds": 1,
            "createDeadlineSeconds": 5,
        },
    )


@pytest.fixture
def trial(faulty: Any, tools: Any, eventually: Callable[..., Any]) -> Iterator[Trial]:
    """A test's own uploads; no worker of an earlier test is left."""
    faulty.kubectl("delete", "jobs", f"--selector={WORKERS}", "--cascade=foreground")
    workers = WorkerPods(tools, faulty.namespace)
    try:
        trial = Trial(faulty, workers, eventually)
        trial.earlier = frozenset(trial.jobs())
        yield trial
    finally:
        workers.close()


@pytest.fixture
def new_trial(faulty: Any, eventually: Callable[..., Any]) -> Callable[[], Trial]:
    """A function that begins a test's own uploads, without a look at workers."""

    def begin() -> Trial:
        trial = Trial(faulty, None, eventually)
        trial.earlier = frozenset(trial.jobs())
        return trial

    return begin


@pytest.fixture
def max_attempts() -> int:
    """So often a picture is tried whose worker dies."""
    return MAX_ATTEMPTS


@pytest.fixture(name="a_picture")
def a_picture_fixture() -> Callable[..., Picture]:
    return a_picture


@pytest.fixture(name="a_slow_picture")
def a_slow_picture_fixture() -> Callable[[], Picture]:
    return a_slow_picture
