"""Every way a picture is stored comes out as the RGB a person sees; what cannot be decoded says why."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from graft.data import images
from graft.data.images import SUFFIXES, UnreadableImage, decode, suffix, thumbnail_uri


def stored(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format=kind, **options)
    return stream.getvalue()


def pixel(raw: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    picture = decode(raw)
    assert picture.mode == "RGB"
    value = picture.getpixel((x, y))
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


def photo(width: int = 640, height: int = 480) -> Image.Image:
    rng = np.random.default_rng(0)
    small = Image.fromarray((rng.random((12, 16, 3)) * 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def test_grey_and_one_bit() -> None:
    assert pixel(stored(Image.new("L", (4, 3), 90))) == (90, 90, 90)
    assert pixel(stored(Image.new("1", (4, 3), 1))) == (255, 255, 255)
    assert pixel(stored(Image.new("1", (4, 3), 0))) == (0, 0, 0)


def test_transparency_lies_on_white() -> None:
    assert pixel(stored(Image.new("RGBA", (2, 2), (200, 0, 0, 0)))) == (255, 255, 255)
    assert pixel(stored(Image.new("RGBA", (2, 2), (200, 0, 0, 255)))) == (200, 0, 0)
    red, green, blue = pixel(stored(Image.new("RGBA", (2, 2), (0, 0, 0, 128))))
    assert red == green == blue and abs(red - 127) <= 1
    assert pixel(stored(Image.new("LA", (2, 2), (0, 0)))) == (255, 255, 255)
    assert pixel(stored(Image.new("RGB", (2, 2), (9, 8, 7)), transparency=(9, 8, 7))) == (255, 255, 255)


def test_palettes_with_and_without_transparency() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putdata([0, 1])
    plain = stored(picture)
    assert pixel(plain, 0) == (10, 20, 30) and pixel(plain, 1) == (40, 50, 60)
    one = stored(picture, transparency=0)
    assert pixel(one, 0) == (255, 255, 255) and pixel(one, 1) == (40, 50, 60)
    many = stored(picture, transparency=bytes([255, 0]))
    assert pixel(many, 0) == (10, 20, 30) and pixel(many, 1) == (255, 255, 255)
    gif = stored(picture, "GIF", transparency=1)
    assert pixel(gif, 0) == (10, 20, 30) and pixel(gif, 1) == (255, 255, 255)


def test_cmyk() -> None:
    assert pixel(stored(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "TIFF")) == (255, 255, 255)
    assert pixel(stored(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF")) == (255, 0, 0)
    red, green, blue = pixel(stored(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert red > 245 and green < 10 and blue < 10


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    raw = stored(Image.fromarray(values), kind)
    assert np.asarray(decode(raw))[0, :, 1].tolist() == [0, 0, 1, 128, 255]


def test_sixteen_bit_pgm_is_big_endian() -> None:
    raw = b"P5 2 1 65535\n" + np.array([[256 * 7, 65535]], dtype=">u2").tobytes()
    assert np.asarray(decode(raw))[0, :, 0].tolist() == [7, 255]


def test_wide_integers_and_floats() -> None:
    def as_array(values: list[float], dtype: type) -> bytes:
        return stored(Image.fromarray(np.array([values], dtype=dtype)), "TIFF")

    assert np.asarray(decode(as_array([0, 100, 255], np.int32)))[0, :, 0].tolist() == [0, 100, 255]
    assert np.asarray(decode(as_array([0, 256, 65535], np.int32)))[0, :, 0].tolist() == [0, 1, 255]
    assert np.asarray(decode(as_array([-1000, 1000], np.int32)))[0, :, 0].tolist() == [0, 255]
    assert np.asarray(decode(as_array([0.0, 0.5, 1.0], np.float32)))[0, :, 0].tolist() == [0, 127, 255]
    assert np.asarray(decode(as_array([0.0, 40.0, 200.0], np.float32)))[0, :, 0].tolist() == [0, 40, 200]
    assert np.asarray(decode(as_array([float("nan"), 1.0], np.float32)))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_rotation_is_applied(orientation: int) -> None:
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = (255, 0, 0)  # a red corner, upper left
    upright[8:, 16:] = (0, 0, 255)  # a blue one, lower right
    undo: dict[int, Callable[[Any], Any]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),  # to be shown, it is turned clockwise
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        raw = stored(Image.fromarray(np.ascontiguousarray(undo[orientation](upright))), kind, exif=exif)
        assert np.array_equal(np.asarray(decode(raw)), upright), kind
    jpeg = decode(
        stored(Image.fromarray(np.ascontiguousarray(undo[orientation](upright))), "JPEG", exif=exif, quality=95), side=4
    )
    assert jpeg.size == (12, 8)  # half the size, as 8 is twice the side
    seen = np.asarray(jpeg).astype(int)
    assert seen[1, 1, 0] > 200 and seen[1, 1, 2] < 60 and seen[6, 10, 2] > 200


def test_damaged_exif_says_nothing() -> None:
    raw = stored(Image.new("RGB", (8, 8), (1, 2, 3)), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert pixel(raw) == (1, 2, 3)


def test_animations_give_their_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        raw = stored(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert pixel(raw) == (255, 0, 0), kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_truncated_files_are_told(kind: str) -> None:
    raw = stored(photo(), kind)
    with pytest.raises(UnreadableImage):
        decode(raw[: len(raw) // 2])


def test_what_is_no_picture_is_told() -> None:
    with pytest.raises(UnreadableImage, match="empty"):
        decode(b"")
    for raw in (b"hello", b"\x00" * 100, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg></svg>"):
        with pytest.raises(UnreadableImage, match="not a picture"):
            decode(raw)


def test_pixel_bombs_are_refused_before_they_are_unpacked() -> None:
    bomb = stored(Image.new("1", (20_000, 10_000)))
    assert len(bomb) < 100_000
    with pytest.raises(UnreadableImage, match="more"):
        decode(bomb)


def test_the_limit_holds_whatever_pillows_own_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    with pytest.raises(UnreadableImage, match="10 × 10 pixels"):
        decode(stored(Image.new("L", (10, 10))))


def test_pillows_warnings_do_not_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    raw = stored(Image.new("RGB", (8, 8), (5, 6, 7)))  # Pillow warns from 61 pixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Image.DecompressionBombWarning):
            Image.open(io.BytesIO(raw))
        assert pixel(raw) == (5, 6, 7)
        warnings.resetwarnings()
        warnings.simplefilter("error")
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(pixel, [raw] * 20)) == {(5, 6, 7)}


def test_large_jpegs_are_decoded_small_but_never_below_twice_the_side() -> None:
    raw = stored(photo(1920, 1280), "JPEG", quality=90)
    assert decode(raw).size == (1920, 1280)
    assert decode(raw, side=224).size == (960, 640)
    assert decode(raw, side=160).size == (480, 320)
    assert decode(raw, side=20).size == (240, 160)
    assert decode(raw, side=641).size == (1920, 1280)
    resized = [
        np.asarray(decode(raw, side=side).resize((224, 224), Image.Resampling.BICUBIC), dtype=float)
        for side in (None, 224)
    ]
    assert np.abs(resized[0] - resized[1]).mean() < 2.0
    assert decode(stored(photo()), side=20).size == (640, 480)


def test_grey_and_cmyk_jpegs_are_decoded_small_too() -> None:
    for mode in ("L", "CMYK"):
        picture = decode(stored(photo().convert(mode), "JPEG"), side=100)
        assert picture.mode == "RGB" and picture.size == (320, 240)


def test_thumbnails_are_small_data_uris() -> None:
    uri = thumbnail_uri(photo(), side=48)
    matched = re.fullmatch(r"data:image/(webp|jpeg);base64,(.+)", uri)
    assert matched and len(uri) < 4000
    with Image.open(io.BytesIO(base64.b64decode(matched[2]))) as small:
        assert small.size == (48, 36)
    with Image.open(io.BytesIO(base64.b64decode(thumbnail_uri(Image.new("RGB", (8, 8))).split(",")[1]))) as tiny:
        assert tiny.size == (8, 8)


def test_suffixes() -> None:
    assert (
        suffix("a/b.C/x.JPG") == ".jpg" and suffix("a.b/noext") == "" and suffix(".png") == "" and ".jpeg" in SUFFIXES
    )


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]), data=st.data())
def test_damaged_files_never_raise_anything_else(kind: str, data: st.DataObject) -> None:
    raw = bytearray(stored(photo(32, 24), kind))
    for where, value in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=8)):
        raw[where] = value
    try:
        picture = decode(bytes(raw[: data.draw(st.integers(1, len(raw)))]), side=8)
    except UnreadableImage as problem:
        assert str(problem)
    else:
        assert picture.mode == "RGB"
