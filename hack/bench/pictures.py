"""Photos for benchmarks: real ones where there are some, each item with pixels of its own.

A job with the pixels of an earlier one would be answered from the cache, so each item is a photo that is
cut at another place, mirrored or not, and encoded anew. They are made once and kept in `.cache/bench`.
"""

import hashlib
import io
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data"
CACHE = ROOT / ".cache" / "bench"
SMALL = (800, 600)
REAL_NAMES = ("phone.jpg", "photo-2725x2225.jpg", "orientation-1.jpg")

# Of 20 photos: as many in each format. Mostly JPEG, as uploads are.
MIX = ("JPEG",) * 16 + ("PNG",) * 1 + ("WEBP",) * 3


def make(count: int) -> list[Path]:
    """`count` files, no two alike; the same files at each call."""
    return _made("photos", [_path(index) for index in range(count)], _make_one)


def make_small(count: int) -> list[Path]:
    """`count` small generated JPEGs (SMALL), no two alike; the same files at each call."""
    return _made("small pictures", [_small_path(index) for index in range(count)], _make_small)


def describe(files: list[Path]) -> str:
    """What kind of photos they are, for the table."""
    sizes = sorted(file.stat().st_size for file in files)
    origin = "cut from real photographs" if REAL.is_dir() else "generated"
    return (
        f"{len(files)} photos {origin} (80 % JPEG, 15 % WebP, 5 % PNG), each with different pixels, "
        f"{sizes[len(sizes) // 2] / 1e6:.2f} MB in the median, {sum(sizes) / 1e6:.0f} MB in all"
    )


def _made(what: str, files: list[Path], make_one: Callable[[int], None]) -> list[Path]:
    """The files, of which those that are missing are made by their numbers."""
    CACHE.mkdir(parents=True, exist_ok=True)
    todo = [index for index, file in enumerate(files) if not file.exists()]
    if todo:
        print(f"making {len(todo)} {what} ...", flush=True)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(make_one, todo, chunksize=10))
    return _different(files)


def _different(files: list[Path]) -> list[Path]:
    """The files as they are: of two equal ones the second would be answered from the cache."""
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), file)
        if other is not file:
            raise SystemExit(f"void: {file} and {other} are equal")
    return files


def _path(index: int) -> Path:
    return CACHE / f"{'real' if REAL.is_dir() else 'made'}-2-{index:05d}.{MIX[index % len(MIX)].lower()}"


def _small_path(index: int) -> Path:
    return CACHE / f"small-{index:05d}.jpeg"


def _make_small(index: int) -> None:
    temporary = _small_path(index).with_suffix(f".{os.getpid()}")
    generate(index, SMALL).save(temporary, "JPEG", quality=85)
    temporary.replace(_small_path(index))


def _make_one(index: int) -> None:
    generator = np.random.default_rng(index)
    source = _source(index, generator)
    width, height = source.size
    # Between two and twelve megapixels (as far as the photo goes), wherever in it.
    largest = min(12e6, 0.96 * width * height)
    share = float(np.sqrt(generator.uniform(min(2e6, 0.5 * width * height), largest) / (width * height)))
    box_width, box_height = int(width * share), int(height * share)
    left = int(generator.integers(0, width - box_width + 1))
    top = int(generator.integers(0, height - box_height + 1))
    picture = source.crop((left, top, left + box_width, top + box_height))
    if index % 2:
        picture = ImageOps.mirror(picture)
    file = io.BytesIO()
    format_ = MIX[index % len(MIX)]
    if format_ == "PNG":  # screenshots and logos rather than photographs
        picture.thumbnail((900, 900))
        picture.save(file, "PNG", compress_level=6)
    else:
        picture.save(file, format_, quality=int(generator.integers(80, 95)))
    temporary = _path(index).with_suffix(f".{os.getpid()}")
    temporary.write_bytes(file.getvalue())
    temporary.replace(_path(index))


def _source(index: int, generator: np.random.Generator) -> Image.Image:
    if REAL.is_dir():
        with Image.open(REAL / REAL_NAMES[index % len(REAL_NAMES)]) as picture:
            return picture.convert("RGB")
    return _generate(generator, (2800, 2200))


def generate(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture with soft shapes and noise, the same for the same seed."""
    return _generate(np.random.default_rng(seed), size)


def _generate(generator: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    phases = generator.random(6) * 6
    channels = [
        120 * np.sin(9 * x * (i + 1) + phases[i]) * np.cos(7 * y + phases[i + 3]) + 127 for i in range(3)
    ]
    pixels = np.stack(channels, axis=-1) + generator.normal(0, 6, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
