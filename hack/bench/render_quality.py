"""What each step of quality costs in bytes and gives in similarity, for the defaults of each format."""

import io
import statistics
from dataclasses import dataclass

import pictures
from similarity import Reference

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.encode import DEFAULT_QUALITY
from thumbnails_worker.render.pipeline import Wanted, render
from thumbnails_worker.render.resize import load_cykooz, resize_with_pillow

PHOTOS = 6
WIDTH = 400
QUALITIES = {
    Format.JPEG: (60, 70, 75, 80, 85, 90),
    Format.WEBP: (60, 70, 75, 80, 85, 90),
    Format.AVIF: (40, 50, 55, 60, 65, 75),
}


@dataclass(frozen=True)
class Step:
    format: Format
    quality: int
    bytes: float
    psnr: float
    ssim: float


def measure() -> list[Step]:
    """Means over some photos."""
    photos = [path for path in pictures.make(40) if path.suffix == ".jpeg"][:PHOTOS]
    references = [(path.read_bytes(), Reference(path)) for path in photos]
    return [
        _step(references, format_, quality)
        for format_, qualities in QUALITIES.items()
        for quality in qualities
    ]


def _step(references: list[tuple[bytes, Reference]], format_: Format, quality: int) -> Step:
    resize = load_cykooz() or resize_with_pillow
    made = []
    for data, reference in references:
        wanted = [Wanted(Output(width=WIDTH, height=None, quality=quality), format_)]
        file = render(io.BytesIO(data), data, wanted, Limits(), resize).pictures[0].data
        made.append((len(file), reference.compare(file)))
    return Step(
        format_,
        quality,
        statistics.mean(size for size, _ in made),
        statistics.mean(similarity.psnr for _, similarity in made),
        statistics.mean(similarity.ssim for _, similarity in made),
    )


def report(steps: list[Step]) -> str:
    """The table; the defaults are marked."""
    rows = "\n".join(
        f"| {step.format.value} | {f'**{step.quality}**' if default else step.quality} "
        f"| {step.bytes:,.0f} | {step.psnr:.2f} | {step.ssim:.4f} |"
        for step in steps
        for default in [DEFAULT_QUALITY[step.format] == step.quality]
    )
    return f"""\
### Quality: size against similarity

Means over {PHOTOS} photos, {WIDTH} pixels wide; the defaults in bold.

| format | quality | bytes | PSNR | SSIM |
| --- | --- | --- | --- | --- |
{rows}"""


if __name__ == "__main__":
    print(report(measure()))
