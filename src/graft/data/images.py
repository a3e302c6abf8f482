"""From the bytes of a picture file to an upright 8-bit RGB picture, whatever way it was stored.

What is done, in this order: only the first frame of an animation; JPEG decoded at 1/2, 1/4 or 1/8 where a small side is
enough; 16- and 32-bit greys scaled to 8 bits; transparency laid on white; CMYK, palettes and greys turned to RGB; the camera's
rotation (EXIF) applied. Colour profiles are not applied. Formats that run programs or read other files (EPS, WMF) are refused.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA", "QOI")
# fmt: off
SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".ico", ".tga", ".qoi",
})
# fmt: on
MAX_PIXELS = 178_956_970  # 179 megapixels (Pillow's own limit): decoded, that is half a gigabyte
_ORIENTATION = 0x0112
_PILLOW = r"PIL(\.|$)"


class UnreadableImage(ValueError):  # noqa: N818 (it reads as what it is)
    """The bytes are no picture that can be decoded; the message says why."""


def decode(raw: bytes, *, side: int | None = None) -> Image.Image:
    """An upright RGB picture from a file's bytes.

    `side`: the side in pixels a model wants. A large JPEG is then decoded at a fraction of its size, several times faster, while
    both sides stay at least 2 × `side`, so that the model's own resizing still decides the sharpness. Thread safe.
    Raises UnreadableImage when the bytes are empty, truncated, no picture, or more than `MAX_PIXELS` pixels.
    """
    if not raw:
        raise UnreadableImage("the file is empty")
    from PIL import Image, UnidentifiedImageError

    _hush()
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise UnreadableImage(f"{width} × {height} pixels are more than the limit of {MAX_PIXELS:,}")
            if side is not None and picture.format in ("JPEG", "MPO"):
                picture.draft(None, (2 * side, 2 * side))
            picture.load()
            return _upright(_to_rgb(picture), picture)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as problem:
        raise UnreadableImage("not a picture in a format that is read") from problem
    except Image.DecompressionBombError as problem:
        raise UnreadableImage(f"more pixels than the limit of {MAX_PIXELS:,}") from problem
    except Exception as problem:  # a damaged file may raise nearly anything inside the decoders
        raise UnreadableImage(str(problem) or type(problem).__name__) from problem


def suffix(path: str) -> str:
    """The lower-case suffix of a file name or posix path with its dot, "" without one (pathlib's is ten times slower)."""
    stem, dot, end = path.rpartition("/")[2].rpartition(".")
    return (dot + end).lower() if stem else ""


def _hush() -> None:
    """Keep Pillow's remarks on odd files away from the user: what matters is raised.

    `warnings.catch_warnings` is not thread safe and this is called from threads, so one filter for Pillow's modules is put in
    front; it is put there again if somebody has reset the list.
    """
    if ("ignore", None, Warning, re.compile(_PILLOW), 0) not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW)


def _to_rgb(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_eight_bits(picture)).convert("RGB")
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def _to_eight_bits(picture: Image.Image) -> Any:
    """Deep greys as uint8 (height, width): 16 bits over 256; 32-bit integers by the range they use; floats 0..1 or 0..255, else by range."""
    deep = np.asarray(picture)
    if picture.mode.startswith("I;16"):
        return (deep >> 8).astype(np.uint8)
    values = np.nan_to_num(deep.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if picture.mode == "F" and low >= 0.0 and high <= 1.0:
        values = values * 255.0
    elif low < 0.0 or high > 65535.0 or (picture.mode == "F" and high > 255.0):
        values = (values - low) * (255.0 / max(high - low, 1e-12))
    elif high > 255.0:
        values = values // 256.0
    return np.clip(values, 0.0, 255.0).astype(np.uint8)


def _upright(rgb: Image.Image, stored: Image.Image) -> Image.Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = stored.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF says nothing about the pixels
        orientation = 1
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    if turn is not None:
        return rgb.transpose(turn)
    return rgb.copy() if rgb is stored else rgb


def thumbnail_uri(image: Image.Image, side: int = 96) -> str:
    """A `data:` URI of the picture (RGB) shrunk to at most `side` pixels: 1 to 4 kB as WebP, for reports that stand alone."""
    from PIL import features

    small = image.copy()
    small.thumbnail((side, side))
    kind = "webp" if features.check("webp") else "jpeg"
    stream = io.BytesIO()
    small.convert("RGB").save(stream, format=kind, quality=75)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
