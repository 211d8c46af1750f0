"""Nothing that was answered is lost: processes are killed at chance moments while uploads flow.

The moments and the victims follow from a seed, which a failure names. THUMBNAILS_TEST_CRASH_UPLOADS
and THUMBNAILS_TEST_CRASH_SEED choose another size and another run.
"""

import io
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest
import requests
from PIL import Image

Picture = Callable[[int], bytes]

UPLOADS: Final = int(os.environ.get("THUMBNAILS_TEST_CRASH_UPLOADS", "60"))
SEED: Final = int(os.environ.get("THUMBNAILS_TEST_CRASH_SEED", "20261124"))
CLIENTS: Final = 4
PAUSE_SECONDS: Final = 1.5  # of a client after each upload, so that many are killed meanwhile
VICTIMS: Final = ("api", "operator", "worker", "s3", "launcher", "all")
LAUNCHER_PATIENCE_SECONDS: Final = 60.0


class Reaper:
    """Kills processes of a service, and starts the launcher again.

    All in one thread, that of the test: a service dies with the thread that started it.
    """

    def __init__(self, service: Any, chance: random.Random) -> None:
        self._service = service
        self._chance = chance
        self.killed: Counter[str] = Counter()

    def run(self, enough: Callable[[], bool]) -> None:
        """Each victim once in any case, and then whoever chance wants, until it is enough."""
        first = list(VICTIMS)
        self._chance.shuffle(first)
        while first or not enough():
            time.sleep(self._chance.uniform(0.2, 2.0))
            self._kill(first.pop() if first else self._chance.choice(VICTIMS))

    def _kill(self, victim: str) -> None:
        if victim in {"launcher", "all"}:
            doomed = self._service.pids("launcher")
            if victim == "all":
                doomed = list(self._service.processes())
                self._chance.shuffle(doomed)
            for pid in doomed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._service.process.wait(LAUNCHER_PATIENCE_SECONDS)
            self.killed[victim] += 1
            self._service.start()
        elif pids := self._service.pids(victim):
            self.killed[victim] += 1
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(pids), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_answered_ends_right_whatever_is_killed(
    start_service: Any, picture: Picture, webhook_receiver: Any
) -> None:
    service = start_service(WEBHOOK_URL=webhook_receiver.url)
    numbers = iter(range(10**6))
    lock = threading.Lock()
    answered: dict[str, int] = {}
    refusals: list[str] = []

    def upload() -> None:
        """Post pictures until enough were answered with 201, and all victims had their turn."""
        while len(answered) < UPLOADS or len(reaper.killed) < len(VICTIMS):
            with lock:
                number = next(numbers)
            files = {"image": ("picture.png", picture(number), "image/png")}
            try:
                answer = service.request("POST", "/images", files=files)
            except requests.RequestException:
                time.sleep(0.05)  # nobody promised anything
                continue
            if answer.status_code == 201:
                with lock:
                    answered[answer.json()["id"]] = number
            elif answer.status_code != 503:
                refusals.append(answer.text)
            time.sleep(PAUSE_SECONDS)

    reaper = Reaper(service, random.Random(SEED))
    clients = [threading.Thread(target=upload) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    reaper.run(enough=lambda: not any(client.is_alive() for client in clients))
    for client in clients:
        client.join()

    story = f"seed {SEED}, killed: {dict(reaper.killed)}\n{service.log()[-5000:]}"
    assert not refusals, (refusals, story)
    assert len(answered) >= UPLOADS
    secret = (service.data / "webhook-secret").read_text().strip()
    for job_id, number in answered.items():
        job = service.finished(job_id)
        assert job["status"] == "complete", (job, story)
        answer = service.request("GET", job["thumbnailPath"])
        assert answer.status_code == 200, (job, story)
        thumbnail = Image.open(io.BytesIO(answer.content))
        original = Image.open(io.BytesIO(picture(number)))
        assert thumbnail.size == (100, 100)
        assert thumbnail.getpixel((50, 50)) == original.getpixel((50, 50)), (job, story)

        deliveries = webhook_receiver.of_job(job_id)
        assert len({delivery.id for delivery in deliveries}) == 1
        for delivery in deliveries:
            delivery.verify(secret)
            assert delivery.event["type"] == "thumbnailjob.completed"
            assert delivery.event["data"]["status"] == "complete"
