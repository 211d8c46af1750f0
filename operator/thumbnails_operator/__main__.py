"""`python -m thumbnails_operator`: the operator in a cluster, one of several replicas of which one leads."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, NoReturn

from thumbnails_common.jobstore import JobStore
from thumbnails_common.kubernetes_client import load_client
from thumbnails_common.kubernetes_jobstore import KubernetesJobStore
from thumbnails_common.objectstore import ObjectStore
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract import logs
from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.errors import ThumbnailsError
from thumbnails_contract.variables import complaints

from .cleaning import create_cleaners
from .cluster_api import ApiError, ClusterApi
from .cluster_events import ClusterEventSink
from .cluster_executor import ClusterExecutor
from .cluster_feed import ClusterFeed
from .cluster_secrets import ClusterSigningSecrets
from .cluster_settings import ClusterSettings
from .controller import Controller, utc_now
from .eraser import Eraser
from .exchange import Exchange
from .handlers import KopfThread
from .identity import TokenReviewIdentifier
from .janitor import Janitor
from .leader_label import LeaderLabel
from .leadership import Leadership
from .metrics import Exposition, Leader, MeasuredSource, OperatorCollector
from .ports import WorkerState
from .probes import Probes
from .settings import OperatorSettings
from .webhook_sender import WebhookSender
from .worker_watch import WorkerWatch

logger = logging.getLogger("thumbnails_operator")

# The pod has 30 s; what is longer than this is not waited for.
SHUTDOWN_SECONDS: Final = 10.0
LABEL_SECONDS: Final = 30.0
LABEL_RETRY_SECONDS: Final = 1.0
# A loop that has not run for so long is not alive.
HEARTBEAT_SECONDS: Final = 0.5
STALLED_SECONDS: Final = 8.0
CLUSTER_THREADS: Final = 8
# A process that has to end sooner does not start itself anew: the kubelet waits longer each time.
LEAST_LIFE_SECONDS: Final = 5.0
COMPONENT: Final = "thumbnails-operator"


class Operator:
    """One process: probes always, everything else while it leads."""

    def __init__(
        self,
        settings: OperatorSettings,
        cluster: ClusterSettings,
        api: ClusterApi,
        store: JobStore,
        objects: ObjectStore,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._api = api
        self._store = store
        self._objects = objects
        self._beat = time.monotonic()
        self._leader: Leader | None = None
        # Calls of the cluster have threads of their own: those of the stores may all wait for a slow one.
        self._threads = ThreadPoolExecutor(CLUSTER_THREADS, thread_name_prefix="cluster")

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises what ends the operator otherwise."""
        loop = asyncio.get_running_loop()
        stop_asked = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop_asked.set)
        generation: asyncio.Future[int] = loop.create_future()

        def elected(number: int) -> None:
            loop.call_soon_threadsafe(generation.set_result, number)

        leadership = Leadership(
            self._api,
            self._cluster,
            elected=elected,
            lost=partial(_start_anew, time.monotonic()),
            alive=self._is_alive,
        )
        exposition = Exposition(OperatorCollector(lambda: self._leader, utc_now))
        probes = Probes(exposition, lambda: None)
        await probes.start(self._cluster.probe_host, self._cluster.probe_port)
        heart = asyncio.create_task(self._keep_beating())
        stopping = asyncio.create_task(stop_asked.wait())
        try:
            leadership.start()
            logger.info("standing by", extra={"identity": self._cluster.identity})
            waiting: set[asyncio.Future[Any]] = {stopping, generation}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if generation.done() and not stop_asked.is_set():
                await self._lead(generation.result(), stopping, leadership.release)
        finally:
            await asyncio.to_thread(leadership.release)
            heart.cancel()
            stopping.cancel()
            await probes.stop()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _lead(self, generation: int, stopping: asyncio.Task[Any], release: Callable[[], None]) -> None:
        """Everything that only the leader does, until `stopping` is done."""
        cluster, run_blocking = self._cluster, self._run_blocking

        # The watch tells the controller, which is given the executor, which is given the watch.
        def worker_changed(state: WorkerState) -> None:
            controller.worker_changed(state)

        watch = WorkerWatch(worker_changed, time.monotonic)
        executor = ClusterExecutor(self._api, watch, run_blocking, cluster.namespaces)
        events = ClusterEventSink(
            self._api,
            instance=cluster.pod_name or cluster.identity,
            clock=utc_now,
            monotonic=time.monotonic,
            new_suffix=partial(secrets.token_hex, 8),
        )
        sender = WebhookSender(self._settings)
        controller = Controller(
            store=self._store,
            objects=self._objects,
            executor=executor,
            secrets=ClusterSigningSecrets(
                self._api, run_blocking, new_bytes=secrets.token_bytes, monotonic=time.monotonic
            ),
            events=events,
            sender=sender,
            settings=self._settings,
            generation=generation,
            deleting=lambda key: janitor.deleting(key),  # noqa: PLW0108 - it is made below
        )
        janitor, eraser = create_cleaners(
            self._objects, controller, self._settings, namespaces=cluster.namespaces
        )
        exchange = Exchange(
            MeasuredSource(controller, controller.counts),
            TokenReviewIdentifier(
                self._api,
                watch,
                run_blocking,
                audience=self._settings.token_audience,
                service_account=self._settings.worker_service_account,
                namespaces=cluster.namespaces,
                monotonic=time.monotonic,
            ),
        )
        feed = ClusterFeed(
            store=self._store,
            fed=controller,
            executor=executor,
            watch=watch,
            make_watcher=lambda listeners, ended: KopfThread(listeners, cluster.namespaces, ended),
            namespaces=cluster.namespaces,
            relist_seconds=cluster.relist_seconds,
        )
        async with AsyncExitStack() as stack:
            events.start()
            stack.push_async_callback(asyncio.to_thread, events.close)
            stack.push_async_callback(sender.close)
            await exchange.start(self._settings.exchange_host, self._settings.exchange_port)
            stack.push_async_callback(exchange.stop)
            self._leader = Leader(controller.jobs, watch.counts, controller.counts)
            running = asyncio.create_task(controller.run(), name="controller")
            others = asyncio.create_task(self._run_others(feed, janitor, eraser), name="feed")
            try:
                await asyncio.wait({stopping, running, others}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # Nothing is handed out or deleted any more and what has ended is written: then, and
                # before all that takes longer, another process may lead.
                controller.pause()
                await controller.stop()
                await asyncio.wait({running}, timeout=SHUTDOWN_SECONDS)
                others.cancel()
                self._leader = None
                await asyncio.to_thread(release)
                await asyncio.wait({running, others}, timeout=SHUTDOWN_SECONDS)
        for task in (running, others):
            if task.done() and not task.cancelled():
                task.result()  # what it raised ends this process

    async def _run_others(self, feed: ClusterFeed, janitor: Janitor, eraser: Eraser) -> None:
        """What feeds the controller, and what cleans up once all jobs are known."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_label())
            await feed.start()
            group.create_task(feed.run())
            group.create_task(janitor.run())
            group.create_task(eraser.run())
            logger.info("leading")

    async def _keep_label(self) -> None:
        label = LeaderLabel(self._api, self._cluster.pod_namespace, self._cluster.pod_name)
        while True:
            seconds = LABEL_SECONDS
            try:
                await self._run_blocking(label.take)
            except (ApiError, ThumbnailsError) as error:
                text = error.message
                logger.warning("workers may not find this leader: its pod cannot be labelled: %s", text)
                seconds = LABEL_RETRY_SECONDS
            await asyncio.sleep(seconds)

    async def _run_blocking(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args))

    async def _keep_beating(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _is_alive(self) -> bool:
        return time.monotonic() - self._beat < STALLED_SECONDS


def _start_anew(born: float) -> NoReturn:
    """End at once, with whatever is under way, since somebody else may lead already; and stand by again.

    The program is started in this process's place: the kubelet, which would start the container again,
    lets it wait for up to five minutes when that happens often (CrashLoopBackOff). With an API server
    that comes and goes, nobody would lead then.
    """
    if time.monotonic() - born > LEAST_LIFE_SECONDS:
        with contextlib.suppress(OSError):
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this very program
    os._exit(1)


def main() -> int:
    """Work until SIGTERM; the exit status."""
    try:
        settings = OperatorSettings.from_environment(os.environ)
        cluster = ClusterSettings.from_environment(os.environ)
        s3 = S3Settings.from_environment(os.environ)
        logs.configure(settings.log, "operator")
        for line in complaints(os.environ):
            logger.warning("%s", line)
        api = ClusterApi(load_client(CLUSTER_THREADS + 4, component=COMPONENT))
        store = KubernetesJobStore.connect(
            namespaces=cluster.namespaces, connections=settings.blocking_threads, component=COMPONENT
        )
    except InvalidSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    objects = S3ObjectStore(s3)
    try:
        asyncio.run(Operator(settings, cluster, api, store, objects).run())
    except Exception:
        logger.exception("the operator cannot go on, and ends")
        return 1
    finally:
        store.close()
        objects.close()
        api.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
