"""The originals of `make bench-render`: made once from a real photo where there is one, else generated."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pictures
from PIL import Image, ImageDraw, ImageOps

FOLDER = pictures.CACHE / "render"
PHOTO = pictures.REAL / "photo-2725x2225.jpg"
PHOTO_SIZE = (2725, 2225)


@dataclass(frozen=True)
class Original:
    """One kind of file, and what its thumbnails are written as."""

    name: str
    file: Path
    written_as: str
    progressive: bool = False
    widths: tuple[int, ...] = (100, 256, 720)


def make() -> list[Original]:
    """All of them, the photo first."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    return [
        Original("JPEG 2725 x 2225", _file("photo.jpg", _photo_file), "jpeg"),
        Original("JPEG 12 MP", _file("12mp.jpg", lambda: _jpeg(_tiled(4000, 3000))), "jpeg"),
        Original(
            "JPEG 12 MP, written progressive",
            _file("12mp.jpg", lambda: _jpeg(_tiled(4000, 3000))),
            "jpeg",
            progressive=True,
            widths=(1280,),  # as ours are from 640,000 pixels on
        ),
        Original("JPEG 48 MP", _file("48mp.jpg", lambda: _jpeg(_tiled(8000, 6000))), "jpeg"),
        Original("PNG 2048 x 1536, RGBA", _file("alpha.png", _png), "png"),
        Original(
            "WebP 2725 x 2225", _file("photo.webp", lambda: _save(_photo(), "WEBP", quality=80)), "webp"
        ),
        Original("GIF 960 x 720, 24 frames", _file("animated.gif", _gif), "gif"),
        Original(
            "TIFF 2725 x 2225, LZW",
            _file("photo.tif", lambda: _save(_photo(), "TIFF", compression="tiff_lzw")),
            "jpeg",
        ),
    ]


def _file(name: str, maker: Callable[[], bytes]) -> Path:
    path = FOLDER / f"{'real' if PHOTO.exists() else 'made'}-{name}"
    if not path.exists():
        path.write_bytes(maker())
    return path


def _photo() -> Image.Image:
    if PHOTO.exists():
        with Image.open(PHOTO) as picture:
            return picture.convert("RGB")
    return pictures.generate(1, PHOTO_SIZE)


def _photo_file() -> bytes:
    return PHOTO.read_bytes() if PHOTO.exists() else _save(_photo(), "JPEG", quality=85)


def _tiled(width: int, height: int) -> Image.Image:
    """The photo beside and below its mirror images: as much detail a pixel as it has itself."""
    photo = _photo()
    sheet = Image.new("RGB", (width, height))
    for y in range(-(-height // photo.height)):
        for x in range(-(-width // photo.width)):
            tile = ImageOps.mirror(photo) if x % 2 else photo
            sheet.paste(ImageOps.flip(tile) if y % 2 else tile, (x * photo.width, y * photo.height))
    return sheet


def _jpeg(picture: Image.Image) -> bytes:
    return _save(picture, "JPEG", quality=85)


def _png() -> bytes:
    """A photo in a soft-edged oval: opaque, half transparent and clear pixels."""
    photo = ImageOps.fit(_photo(), (2048, 1536))
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).ellipse((300, 200, 1748, 1336), fill=255)
    photo.putalpha(mask.resize((256, 192)).resize(photo.size, Image.Resampling.BICUBIC))
    return _save(photo, "PNG")


def _gif() -> bytes:
    """A pan over the photo."""
    photo = ImageOps.fit(_photo(), (1200, 720))
    frames = [
        photo.crop((10 * index, 0, 10 * index + 960, 720)).quantize(255, dither=Image.Dither.NONE)
        for index in range(24)
    ]
    return _save(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=80, loop=0)


def _save(picture: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()
