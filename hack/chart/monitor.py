"""Draws docs/monitoring.svg anew from a real run: `python -m hack.chart.monitor --namespace NAMESPACE`.

It needs a release of the chart in a cluster (KUBECONFIG, `kubectl`) with its first API key, and `make chart`.
It uploads pictures for some minutes, reads the metrics of all pods meanwhile, and evaluates the dashboard's
queries as Prometheus does (go/promtool/rangequery).
"""

import argparse
import base64
import io
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import requests
from hack.chart import dashboard, tools
from hack.chart.picture import Line, draw
from hack.cluster.layout import layout_from_environment
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

PICTURE: Final = Path(__file__).parents[2] / "docs" / "monitoring.svg"
STEP_SECONDS: Final = 5
_FORMATS: Final = ("JPEG", "JPEG", "JPEG", "PNG", "WEBP", "GIF", "TIFF")
_COMPONENTS: Final = ("api", "operator")


def kubectl(namespace: str, *arguments: str) -> str:
    """What kubectl says; what it complains of goes to the terminal. Raises CalledProcessError."""
    command = ["kubectl", "--namespace", namespace, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@contextmanager
def forwarded(namespace: str, service: str) -> Iterator[str]:
    """The URL of a Service, for as long as it is needed."""
    command = ["kubectl", "--namespace", namespace, "port-forward", f"service/{service}", ":3000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            # Forwarding from 127.0.0.1:41234 -> 3000
            yield "http://" + process.stdout.readline().split()[2]
        finally:
            process.terminate()


def photo(chance: random.Random) -> bytes:
    """A picture of one of many kinds and sizes; one in thirty is cut off, one in twenty is no new one."""
    if chance.random() < 1 / 20:
        chance = random.Random(1)
    small = Image.frombytes("RGB", (4, 3), chance.randbytes(36))
    side = chance.choice((400, 800, 1600, 2400))
    file = io.BytesIO()
    small.resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(file, chance.choice(_FORMATS))
    data = file.getvalue()
    return data[: len(data) // 2] if chance.random() < 1 / 30 else data


def upload(url: str, key: str, over: threading.Event, seconds: float) -> None:
    """Pictures, in a tide that comes and goes; now and then something that is none."""
    chance, session = random.Random(), requests.Session()
    session.headers["Authorization"] = f"Bearer {key}"
    session.trust_env = False
    began = time.monotonic()
    while not over.is_set():
        tide = abs(0.5 - ((time.monotonic() - began) / seconds * 2) % 1) * 2
        with suppress(requests.ConnectionError, requests.Timeout):  # it is seen in the picture
            body = b"%PDF-1.7" if chance.random() < 1 / 25 else photo(chance)
            job = session.post(f"{url}/images?width=320", data=body, timeout=30).json()
            if chance.random() < 1 / 3 and "id" in job:
                session.get(f"{url}/jobs/{job['id']}", headers={"Prefer": "wait=10"}, timeout=30)
                session.get(f"{url}/thumbnails/{job['id']}", timeout=30)
        over.wait(0.8 * tide)


def scrape(namespace: str) -> Iterator[str]:
    """The samples of all pods now, as lines with the labels that a PodMonitor gives them, and the time."""
    for component in _COMPONENTS:
        selector = f"--selector=app.kubernetes.io/component={component}"
        found = json.loads(kubectl(namespace, "get", "pods", selector, "--output=json"))
        for pod in found["items"]:
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/metrics"
            now = int(time.time() * 1000)
            labels = {"namespace": namespace, "pod": name, "component": component}
            for family in text_string_to_metric_families(kubectl(namespace, "get", "--raw", path)):
                for sample in family.samples:
                    said = ",".join(
                        f"{key}={json.dumps(text)}" for key, text in (sample.labels | labels).items()
                    )
                    yield f"{sample.name}{{{said}}} {sample.value} {now}"


def evaluate(program: Path, samples: Path, namespace: str, start: int, end: int) -> dict[str, list[Line]]:
    """The lines of each panel, by its title."""
    asked = [
        (panel, legend, query) for panel in dashboard.panels() for legend, query in panel.queries.items()
    ]
    queries = [
        query.replace("$namespace", namespace).replace(dashboard.RATE, f"{6 * STEP_SECONDS}s")
        for _, _, query in asked
    ]
    request = {"start": start, "end": end, "step": STEP_SECONDS, "queries": queries}
    done = subprocess.run(
        [program, samples], input=json.dumps(request), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    lines: dict[str, list[Line]] = {}
    for (panel, legend, _), matrix in zip(asked, json.loads(done.stdout), strict=True):
        for series in matrix or []:
            points = [(at - start, float(value)) for at, value in series["values"]]
            points = [point for point in points if point[1] == point[1]]
            if any(value for _, value in points) or panel.is_stat:
                lines.setdefault(panel.title, []).append(Line(named(legend, series["metric"]), points))
    return lines


def named(legend: str, labels: Mapping[str, str]) -> str:
    """A legend with labels in their places."""
    for key, value in labels.items():
        legend = legend.replace(f"{{{{{key}}}}}", value)
    return legend


def run(namespace: str, release: str, url: str | None, seconds: int, program: Path) -> str:
    """The picture of so many seconds."""
    secret = kubectl(namespace, "get", "secret", f"{release}-api-key", "-o", "jsonpath={.data.key}")
    key, over = base64.b64decode(secret).decode(), threading.Event()
    way: AbstractContextManager[str] = nullcontext(url) if url else forwarded(namespace, f"{release}-api")
    with way as address, tempfile.NamedTemporaryFile("w") as samples:
        uploads = [threading.Thread(target=upload, args=(address, key, over, seconds)) for _ in range(3)]
        start = int(time.time())
        for thread in uploads:
            thread.start()
        try:
            for turn in itertools.count(1):
                with suppress(subprocess.CalledProcessError):  # a gap in the picture
                    samples.writelines(f"{line}\n" for line in scrape(namespace))
                if turn * STEP_SECONDS > seconds:
                    break
                time.sleep(max(0.0, start + turn * STEP_SECONDS - time.time()))
        finally:
            over.set()
            for thread in uploads:
                thread.join()
        samples.flush()
        lines = evaluate(program, Path(samples.name), namespace, start, start + seconds)
    return draw(dashboard.ROWS, lines, seconds)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="hack.chart.monitor", description=__doc__)
    parser.add_argument("--namespace", default="thumbnails")
    parser.add_argument("--release", default="thumbnails")
    parser.add_argument("--url", help="where the API is; without it, a port is forwarded")
    parser.add_argument("--seconds", type=int, default=300)
    options = parser.parse_args(arguments)
    program = tools.built(layout_from_environment(os.environ).cache).get("rangequery")
    if program is None:
        sys.exit("`make chart` builds what evaluates the queries")
    picture = run(options.namespace, options.release, options.url, options.seconds, program)
    PICTURE.write_text(picture, "utf-8")
    print(f"{PICTURE.name}: {len(picture) // 1024} KiB, {datetime.now(UTC):%Y-%m-%d}")


if __name__ == "__main__":
    main(sys.argv[1:])
