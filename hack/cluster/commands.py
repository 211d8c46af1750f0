"""The commands of `python3 hack/cluster`, each of which says step by step what it does."""

import os
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

from hack.cluster import addons, api, archive, build, certs, images, node, packages, pins, store
from hack.cluster.components import COREDNS_IMAGE, PAUSE_IMAGE, configuration_files
from hack.cluster.layout import SOURCES, Layout
from hack.cluster.progress import Progress
from hack.cluster.record import Record, is_alive, only_one, read_record, root_only
from hack.cluster.shell import ClusterError, run

_READY_SECONDS = 180.0
_LOG_LINES = 15


def up(layout: Layout, environment: Mapping[str, str]) -> None:
    """Makes the cluster, unless it is there; after a crash, clears what was left and makes it anew."""
    root_only()
    recipe = build.cluster_recipe()
    programs = layout.cache / recipe.name
    with only_one():
        if _is_up_already(layout, programs):
            return
    progress = Progress(7)
    with progress.step("Debian packages"):
        packages.install(pins.PACKAGES, progress)
    with progress.step("Programs"):
        build.build(recipe, layout.cache, environment, progress)
    with only_one():
        with progress.step("Certificates and configuration"):
            node.stop(layout, _own_record(layout))
            node.check_routes()
            _prepare(layout, programs)
        with progress.step("API server"):
            record = node.start(layout, programs)
            client = api.client(layout, "admin")
            _wait(layout, record, "The API server", lambda: api.is_ready(client))
        with progress.step("DNS, storage class"):
            _deploy(client)
        with progress.step("Images"):
            _wait(layout, record, "The image store", lambda: _store_answers(record))
        with progress.step("Node and DNS ready"):
            _wait(layout, record, "The node", lambda: node.is_node_ready(client))
            _wait(layout, record, "DNS", lambda: _is_dns_ready(client))
    print(
        f"\nThe cluster is up after {progress.seconds:.1f} s. To use it:\n"
        f"  export KUBECONFIG={layout.kubeconfig} PATH={layout.tools}:$PATH"
    )


def _is_up_already(layout: Layout, programs: Path) -> bool:
    """Whether there is nothing to do but load new images; else says what is there that will not do."""
    before = _own_record(layout)
    if before and is_alive(before):
        if before.programs == str(programs) and node.is_healthy(layout):
            _link_tools(layout, programs)
            new = store.load(layout, before)
            print(f"The cluster is up already{f'; new images in it: {new}' if new else ''}.")
            return True
        print("The cluster is not well, or is of other versions: it is made anew.")
    elif before or node.has_link():
        print("The cluster ended without `down`: what it left is cleared.")
    return False


def down(layout: Layout, *, everything: bool, force: bool) -> None:
    """Ends the cluster and what it made; `everything`: with the images that it keeps for the next one."""
    root_only()
    with only_one():
        record = read_record(layout.record) if force else _own_record(layout)
        began = time.monotonic()
        was_there = record is not None or node.has_link() or layout.kubeconfig.exists()
        node.stop(layout, record)
        if everything and layout.state.exists():
            run("rm", "-rf", "--one-file-system", layout.state)
        print(
            f"The cluster is down ({time.monotonic() - began:.1f} s)."
            if was_there
            else "There is no cluster."
        )


def status(layout: Layout) -> bool:
    """Shows whether the cluster is up, and what is in it; False when it is not."""
    record = read_record(layout.record)
    if record is None or not is_alive(record):
        print("There is no cluster." if record is None else "The cluster ended without `down`.")
        return False
    if Path(record.checkout) != layout.checkout:
        print(f"The cluster of {record.checkout} is running on this machine.")
        return False
    root_only()
    healthy = node.is_healthy(layout)
    print(f"The cluster is {'up' if healthy else 'running, but not ready; see .cluster/logs'}.")
    print(f"  kubeconfig  {layout.kubeconfig}\n  programs    {layout.tools}\n  images")
    for name in store.image_names(record):
        print(f"    {name}")
    return healthy


def build_images(layout: Layout, environment: Mapping[str, str], chosen: Sequence[images.Image]) -> None:
    """Builds the project's images, or those that were chosen, and loads them when the cluster is up."""
    root_only()
    progress = Progress(5)
    with progress.step("Debian packages"):
        packages.install(pins.IMAGE_PACKAGES, progress)
    with progress.step("MinIO"):
        recipe = build.minio_recipe()
        minio = layout.cache / recipe.name
        if not chosen or any(image.context == minio for image in chosen):
            build.build(recipe, layout.cache, environment, progress)
    with build.locked(layout.cache / "images.lock", progress):
        with progress.step("Base image"):
            if not images.base_archive(layout).exists():
                progress.note("debootstrap: a minute or two, once")
            images.make_base(layout)
        with progress.step("Images"):
            wanted = chosen or images.project_images(layout.checkout, project_version(layout.checkout), minio)
            progress.note(f"{len(wanted)} to build")
            images.build_in_own_mounts(wanted, SOURCES)
    with progress.step("Loading"):
        _load_when_up(layout, progress.note)


def _load_when_up(layout: Layout, tell: Callable[[str], None]) -> None:
    with only_one():
        record = _own_record(layout)
        if record and is_alive(record):
            tell(f"new images in the cluster: {store.load(layout, record)}")
        else:
            tell("no cluster is up: `up` will load them")


def load_archives(layout: Layout, archives: Sequence[Path]) -> None:
    """Loads archives (of `docker save`, or an OCI layout) into the cluster, and into those to come."""
    root_only()
    for path in archives:
        if not path.is_file():
            raise ClusterError(f"{path} is no file.")
    layout.archives.mkdir(parents=True, exist_ok=True)
    for path in archives:
        run("cp", "--reflink=auto", "--preserve=timestamps", path, layout.archives / path.name)
    _load_when_up(layout, print)


def project_version(checkout: Path) -> str:
    document = tomllib.loads((checkout / "pyproject.toml").read_text())
    version: str = document["project"]["version"]
    return version


def _own_record(layout: Layout) -> Record | None:
    """The record of this checkout's cluster, or of a dead one; ClusterError when another's is alive."""
    record = read_record(layout.record)
    if record and is_alive(record) and Path(record.checkout) != layout.checkout:
        raise ClusterError(
            "Another checkout's cluster is running on this machine, and there can be one only. To end it:\n"
            f"  python3 {record.checkout}/hack/cluster down\n"
            "or, when that checkout is gone: python3 hack/cluster down --force"
        )
    return record


def _prepare(layout: Layout, programs: Path) -> None:
    certs.make_certificates(layout.pki)
    for folder in (
        layout.logs,
        layout.etcd,
        layout.kubelet,
        layout.volumes,
        layout.containerd,
        layout.archives,
    ):
        folder.mkdir(parents=True, exist_ok=True)
    layout.etcd.chmod(0o700)
    for path, content in configuration_files(layout).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    layout.kubeconfig.chmod(0o600)
    _link_tools(layout, programs)
    for image, program in ((PAUSE_IMAGE, "pause"), (COREDNS_IMAGE, "coredns")):
        target = programs / f"{program}.tar"
        if not target.exists():
            archive.program_image(target, image, programs / program)


def _link_tools(layout: Layout, programs: Path) -> None:
    layout.tools.mkdir(parents=True, exist_ok=True)
    for name in ("kubectl", "helm"):
        link = layout.tools / name
        link.unlink(missing_ok=True)
        link.symlink_to(programs / name)


def _deploy(client: api.Client) -> None:
    """Creates the addons in a cluster that has none; waits for the namespace that they are in."""
    give_up = time.monotonic() + _READY_SECONDS
    for path, document in addons.requests():
        while True:
            try:
                client.request("POST", path, document)
            except api.ApiError as error:
                # Namespaces of the system are made just after the API server says that it is ready.
                if error.status not in (403, 404) or time.monotonic() > give_up:
                    raise ClusterError(
                        f"{document['kind']} {document['metadata']['name']}: {error}"
                    ) from error
                time.sleep(0.05)
            else:
                break


def _store_answers(record: Record) -> bool:
    try:
        store.image_names(record)
    except ClusterError:
        return False
    return True


def _is_dns_ready(client: api.Client) -> bool:
    query = urlencode({"labelSelector": "kubernetes.io/service-name=kube-dns"})
    found = client.request("GET", f"/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices?{query}")
    return any(
        endpoint.get("conditions", {}).get("ready")
        for item in found["items"]
        for endpoint in item.get("endpoints") or ()
    )


def _wait(layout: Layout, record: Record, what: str, holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _READY_SECONDS
    while not holds():
        if not is_alive(record):
            raise ClusterError(f"The node ended.\n{_last_lines(layout.logs / 'node.log')}")
        if time.monotonic() > give_up:
            raise ClusterError(f"{what} is not ready after {_READY_SECONDS:.0f} s; see {layout.logs}.")
        time.sleep(0.05)


def _last_lines(log: Path) -> str:
    return os.linesep.join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
