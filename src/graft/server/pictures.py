"""Pictures in and out: uploads, judged by their header before anything is decoded, and thumbnails of an index's items."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from graft.data.dataset import ImageSource
from graft.data.images import FORMATS, UnreadableImage, decode
from graft.server.failures import Refusal, absent

SIDES = {"small": 320, "large": 1280}  # pixels: a tile of the grid at two device pixels a point, and a whole screen
QUALITY = 82


@dataclass(frozen=True)
class Uploaded(ImageSource):
    """A picture that came with a request and lies in memory; it is never written anywhere."""

    path: Path = Path("uploaded")
    raw: bytes = field(default=b"", repr=False)

    def read_bytes(self) -> bytes:
        """The encoded picture."""
        return self.raw


def uploaded(raw: bytes, most_pixels: int) -> Uploaded:
    """What the encoders read. Only the header is looked at here: a file of 1 MB may unpack to gigabytes.

    Raises Refusal: 400 when it is no picture, 413 when it has more than `most_pixels` pixels.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as picture:
            width, height = picture.size
    except Image.DecompressionBombError:
        width = height = 2**16
    except Exception as problem:  # a damaged file may raise nearly anything
        raise Refusal(
            400, "DataError", "The picture cannot be read: it is in no format that is known here."
        ) from problem
    if width * height > most_pixels:
        raise Refusal(
            413,
            "DataError",
            f"The picture has more pixels ({width:,} × {height:,}) than the limit of {most_pixels:,}. Send a smaller one.",
        )
    return Uploaded(raw=raw)


def blank() -> Uploaded:
    """A small grey picture that every encoder takes; some take those of a few pixels for something else."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(stream, "PNG")
    return Uploaded(raw=stream.getvalue())


def thumbnail(raw: bytes, side: int) -> bytes:
    """A JPEG of the picture, at most `side` pixels wide and high. Raises Refusal (404) when the bytes are no picture any more."""
    try:
        picture = decode(raw, side=side)
    except UnreadableImage as problem:
        raise absent(f"The picture cannot be read: {problem}.") from problem
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()


class Thumbnails:
    """The thumbnails asked for last, at most `most` bytes of them. Safe from several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[object, ...]) -> bytes | None:
        """The JPEG kept under `key`."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[object, ...], jpeg: bytes) -> None:
        """Keep one more, and let those go that were asked for the longest ago."""
        with self._lock:
            self._bytes += len(jpeg) - len(self._kept.pop(key, b""))
            self._kept[key] = jpeg
            while self._bytes > self._most:
                self._bytes -= len(self._kept.popitem(last=False)[1])
