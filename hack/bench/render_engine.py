"""One renderer in a process of its own, for `make bench-render`: a line of JSON for a picture, a line back.

Each makes the same of a file: a thumbnail of a width, with Lanczos3, without metadata, with the same
settings of the writer. `render_sharp.mjs` is the same for sharp.
"""

import io
import json
import mmap
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# The same as sharp's defaults, but for the quality of WebP, which is sharp's as well.
QUALITY: Final = 80
WEBP_METHOD: Final = 4
PNG_LEVEL: Final = 6

Engine = Callable[[Path, bytes, dict[str, Any]], bytes]


def pillow() -> Engine:
    """What one writes who uses Pillow alone."""
    from PIL import Image, ImageSequence  # noqa: PLC0415 - each process loads its own renderer alone

    def write(frames: list[Image.Image], durations: list[int], task: dict[str, Any]) -> bytes:
        options: dict[str, dict[str, Any]] = {
            "jpeg": {"quality": QUALITY, "optimize": True, "progressive": task["progressive"]},
            "png": {"compress_level": PNG_LEVEL},
            "webp": {"quality": QUALITY, "method": WEBP_METHOD},
            "gif": {},
        }
        more = {"save_all": True, "append_images": frames[1:], "duration": durations, "loop": 0}
        file = io.BytesIO()
        frames[0].save(file, task["format"], **options[task["format"]], **(more if len(frames) > 1 else {}))
        return file.getvalue()

    def render(_path: Path, data: bytes, task: dict[str, Any]) -> bytes:
        image = Image.open(io.BytesIO(data))
        if getattr(image, "n_frames", 1) == 1 or task["format"] == "jpeg":
            image.thumbnail((task["width"], 1 << 20), Image.Resampling.LANCZOS)
            return write([image], [], task)
        frames, durations = [], []
        for frame in ImageSequence.Iterator(image):
            small = frame.convert("RGB")
            small.thumbnail((task["width"], 1 << 20), Image.Resampling.LANCZOS)
            frames.append(small)
            durations.append(frame.info["duration"])
        return write(frames, durations, task)

    return render


def ours(resizer: str) -> Engine:
    """The worker's `render`, set up as in the worker's renderer process."""
    from thumbnails_contract.spec import Format, Output  # noqa: PLC0415 - as above
    from thumbnails_contract.wire import Limits  # noqa: PLC0415
    from thumbnails_worker import linux  # noqa: PLC0415
    from thumbnails_worker.render import pipeline  # noqa: PLC0415
    from thumbnails_worker.render.resize import load_cykooz, resize_with_pillow  # noqa: PLC0415

    resize = load_cykooz() if resizer == "cykooz" else resize_with_pillow
    if resize is None:
        raise ImportError("cykooz.resizer")
    linux.keep_freed_memory()
    limits = Limits()

    def render(path: Path, _data: bytes, task: dict[str, Any]) -> bytes:
        quality = QUALITY if task["format"] in ("jpeg", "webp") else None
        wanted = pipeline.Wanted(
            Output(width=task["width"], height=None, quality=quality), Format(task["format"])
        )
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            return pipeline.render(file, data, [wanted], limits, resize).pictures[0].data

    return render


def vips() -> Engine:
    """The library beneath sharp, by its Python binding."""
    import pyvips  # noqa: PLC0415 - as above

    pyvips.cache_set_max(0)

    def render(_path: Path, data: bytes, task: dict[str, Any]) -> bytes:
        animated = "n=-1" if task["format"] == "gif" else ""
        image = pyvips.Image.thumbnail_buffer(
            data, task["width"], height=1_000_000, size="down", option_string=animated
        )
        saved: bytes
        match task["format"]:
            case "jpeg":
                saved = image.jpegsave_buffer(
                    Q=QUALITY, optimize_coding=True, interlace=task["progressive"], keep="none"
                )
            case "png":
                saved = image.pngsave_buffer(compression=PNG_LEVEL, keep="none")
            case "webp":
                saved = image.webpsave_buffer(Q=QUALITY, effort=WEBP_METHOD, keep="none")
            case _:
                saved = image.gifsave_buffer(keep="none")
        return saved

    return render


def main() -> None:
    engines = {
        "pillow": pillow,
        "ours": lambda: ours("cykooz"),
        "fallback": lambda: ours("pillow"),
        "vips": vips,
    }
    render = engines[sys.argv[1]]()
    path, data = Path(), b""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        if Path(task["file"]) != path:
            path = Path(task["file"])
            data = path.read_bytes()
        wall, cpu = time.perf_counter(), time.process_time()
        made = render(path, data, task)
        answer = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "bytes": len(made)}
        if task["to"]:
            Path(task["to"]).write_bytes(made)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
