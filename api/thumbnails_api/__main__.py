"""`python -m thumbnails_api`: the API in a cluster, one of several replicas."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import FrameType
from typing import Final

from kubernetes.client import ApiClient, CoreV1Api

from thumbnails_common.kubernetes_client import load_client
from thumbnails_common.kubernetes_jobstore import KubernetesJobStore
from thumbnails_common.kubernetes_rest import KubernetesRest
from thumbnails_common.objectstore import ObjectStore
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract import logs
from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.errors import ObjectStoreUnavailable
from thumbnails_contract.variables import complaints

from .accounts import AnonymousAuthenticator, Authenticator, Caller, KeyAuthenticator
from .job_cache import JobCache
from .keys_directory import DirectoryKeyStore
from .keys_secret import SecretKeyStore
from .keys_settings import KeySettings
from .keys_store import KeyStore
from .keys_watch import KeyWatch
from .links import LinkSigner
from .probes import create_probe_server
from .process_settings import ProcessSettings
from .resources.health import Ready
from .server import Server
from .service import create_service
from .settings import ApiSettings
from .token_reviews import ClusterReviews
from .token_settings import TokenSettings
from .tokens import KeysAndTokens, TokenAuthenticator

log = logging.getLogger(__name__)

_COMPONENT: Final = "thumbnails-api"
_BACKLOG: Final = 1024
_BUCKET_RETRY_SECONDS: Final = 5.0
# Beside the requests' threads: the watches of jobs, the keys, and probes.
_OTHER_CONNECTIONS: Final = 8


def main() -> None:
    """Serve until SIGTERM. Ends with status 1 and one line for a wrong setting."""
    try:
        logs.configure(logs.LogSettings.from_environment(os.environ), "api")
        for line in complaints(os.environ):
            log.warning("%s", line)
        run(os.environ)
    except InvalidSetting as error:
        sys.exit(str(error))


def run(env: Mapping[str, str]) -> None:
    """Wire the API with the cluster's stores, and serve until a signal. Raises InvalidSetting."""
    settings, keys = ApiSettings.from_environment(env), KeySettings.from_environment(env)
    signer = LinkSigner.from_environment(env)
    tokens = TokenSettings.from_environment(env)
    requires_login = keys.configured or tokens.audience is not None
    process = ProcessSettings.from_environment(env, requires_login=requires_login)
    s3 = S3Settings.from_environment(env)
    if settings.redirect_seconds and s3.public_endpoint is None:
        raise InvalidSetting(
            "THUMBNAILS_REDIRECT_SECONDS: needs THUMBNAILS_S3_PUBLIC_ENDPOINT, where clients reach the object"
            " store"
        )
    client = load_client(settings.threads + _OTHER_CONNECTIONS, component=_COMPONENT, env=env)
    with ExitStack() as closing:
        listener = closing.enter_context(_listen("PORT", process.host, process.port))
        probe_listener = closing.enter_context(
            _listen("THUMBNAILS_PROBE_PORT", process.host, process.probe_port)
        )
        store = KubernetesJobStore(client, namespaces=process.namespaces)
        closing.callback(store.close)
        objects = S3ObjectStore(s3)
        closing.callback(objects.close)
        authenticator = _with_tokens(
            _authenticator(keys, client, closing), tokens, KubernetesRest(client), process.namespaces
        )
        jobs = JobCache(store)
        ready = Ready(store, objects, jobs, authenticator)
        service = create_service(
            store,
            objects,
            jobs,
            settings,
            [listener],
            authenticator=authenticator,
            signer=signer,
            ready=ready,
        )
        probes = create_probe_server(ready, service.metrics, probe_listener)
        ending = _Ending(service.server, jobs, ready, process.drain_seconds)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ending.on_signal)

        jobs.start()
        closing.callback(jobs.stop)
        probing = threading.Thread(target=probes.run, name="probes", daemon=True)
        probing.start()
        _start("bucket", _make_bucket, objects, ending.stopped)
        log.info(
            "listening on port %d, probes on port %d",
            listener.getsockname()[1],
            probe_listener.getsockname()[1],
        )
        service.server.run()
        probes.stop()
        probing.join()
    log.info("ended")


class _Ending:
    """What signals do: the first one drains, a second one ends at once what still waits to be drained."""

    def __init__(self, server: Server, jobs: JobCache, ready: Ready, drain_seconds: float) -> None:
        self._server = server
        self._jobs = jobs
        self._ready = ready
        self._drain_seconds = drain_seconds
        self._hurry = threading.Event()
        self.stopped = threading.Event()

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Begin to end, in a thread, since a signal handler must not wait."""
        if self._ready.draining.is_set():
            self._hurry.set()
            return
        self._ready.draining.set()
        _start("ending", self._end)

    def _end(self) -> None:
        log.info("draining for %g s", self._drain_seconds)
        self._hurry.wait(self._drain_seconds)
        self.stopped.set()
        self._server.stop()
        self._jobs.stop()  # whoever waits for a job is let go


def _authenticator(keys: KeySettings, client: ApiClient, closing: ExitStack) -> Authenticator:
    """API keys where they are configured, and nobody's account otherwise."""
    if not keys.configured:
        return AnonymousAuthenticator(Caller(keys.namespace, AnonymousAuthenticator().caller.account))
    store: KeyStore
    if keys.directory is not None:
        store = DirectoryKeyStore(keys.directory)
    else:
        store = SecretKeyStore(CoreV1Api(client), keys.namespace, keys.secret or "")
    watch = KeyWatch(store, service_namespace=keys.namespace)
    watch.start()
    closing.callback(watch.stop)
    return KeyAuthenticator(watch)


def _with_tokens(
    keys: Authenticator, settings: TokenSettings, rest: KubernetesRest, namespaces: tuple[str, ...] | None
) -> Authenticator:
    """Tokens beside API keys, where they are wanted; without keys, tokens alone."""
    if settings.audience is None:
        return keys
    tokens = TokenAuthenticator(
        ClusterReviews(rest),
        audience=settings.audience,
        account=settings.account,
        namespaces=namespaces,
        cache_seconds=settings.cache_seconds,
    )
    return KeysAndTokens(keys, tokens) if keys.requires_login else tokens


def _listen(variable: str, host: str, port: int) -> socket.socket:
    """A listening socket; `::` takes IPv4 as well. Raises InvalidSetting when the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::"
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise InvalidSetting(f"{variable}: port {port} cannot be used: {reason}") from None


def _make_bucket(objects: ObjectStore, stopped: threading.Event) -> None:
    """Make the bucket when it is not there, as soon as the object store answers."""
    while not stopped.is_set():
        try:
            objects.ensure_bucket()
        except ObjectStoreUnavailable as error:
            log.warning("the bucket cannot be made sure of: %s", error.message)
            stopped.wait(_BUCKET_RETRY_SECONDS)
        else:
            return


def _start(name: str, target: object, *arguments: object) -> None:
    threading.Thread(target=target, name=name, args=arguments, daemon=True).start()  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
