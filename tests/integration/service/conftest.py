"""Pictures for the end-to-end tests: different each time, so that no job is answered from the cache."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

SHARED_PICTURES = Path(__file__).parents[4] / "shared" / "data"

Photo = Callable[..., bytes]


@pytest.fixture(scope="session")
def photo() -> Photo:
    """A function that makes a file: smooth colours with some noise, no two alike."""
    generator = np.random.default_rng()

    def make(width: int = 640, height: int = 480, format_: str = "JPEG", **options: Any) -> bytes:
        x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
        phase = generator.random(3) * 6
        channels = [127 + 120 * np.sin(4 * x + 3 * y * (i + 1) + phase[i]) for i in range(3)]
        pixels = np.stack(channels, axis=-1) + generator.normal(0, 4, (height, width, 3))
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        file = io.BytesIO()
        picture.save(file, format_, **options)
        return file.getvalue()

    return make


class Client:
    """The contract over HTTP, as a client of the service sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post_image(
        self, data: bytes, content_type: str = "image/jpeg", *, name: str = "photo.jpg", **fields: str
    ) -> requests.Response:
        """POST /images as a form, answered when the job has ended."""
        return self.request(
            "POST",
            "/images",
            files={"image": (name, data, content_type)},
            data=fields,
            headers={"Prefer": "wait=30"},
        )

    def render(self, data: bytes, content_type: str = "image/jpeg", **fields: str) -> Image.Image:
        """The thumbnail of a picture that must be rendered well."""
        job = self.post_image(data, content_type, **fields).json()
        assert job["status"] == "complete", job
        answer = self.get(job["thumbnailPath"])
        assert answer.status_code == 200
        picture = Image.open(io.BytesIO(answer.content))
        assert answer.headers["Content-Type"] == Image.MIME[picture.format or ""]
        picture.load()
        return picture


@pytest.fixture
def client(service: Any) -> Iterator[Client]:
    client = Client(service.url)
    yield client
    client.session.close()


@pytest.fixture
def shared_pictures() -> Path:
    """Real photographs, where the machine has them."""
    if not SHARED_PICTURES.is_dir():
        pytest.skip("the folder of real photographs is not on this machine")
    return SHARED_PICTURES
