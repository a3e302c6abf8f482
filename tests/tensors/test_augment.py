"""Augmentation of pictures: exact where it can be told, harmless at strength 0, the same bits from the same generator, and no flip that breaks a label."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from torch import Tensor

from graft.encoders.efficientnet import EfficientNetLite0, imagenet_names
from graft.errors import UsageError
from graft.tensors import augment
from graft.tensors.augment import (
    AUTO,
    NAMES,
    _Amounts,
    _done,
    augmentation,
    flips_allowed,
    for_pictures,
    read_names,
)

LUMA = torch.tensor(augment.LUMA)


def photos(n: int = 4, height: int = 24, width: int = 32, seed: int = 0) -> Tensor:
    """Smooth coloured pictures as bytes, so that a resampled one differs little from the true one."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(n, 3, 5, 5, generator=generator) * 255
    large = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic", align_corners=True)
    return large.clamp(0, 255).round().to(torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def amounts(pixels: Tensor, **values: float) -> _Amounts:
    """Amounts for every picture alike."""
    do = _Amounts(len(pixels), pixels.device)
    for name, value in values.items():
        assert hasattr(do, name)
        setattr(do, name, torch.full((len(pixels),), value))
    return do


def pillow(pixels: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """The same change by Pillow."""
    pictures = [change(Image.fromarray(row.permute(1, 2, 0).numpy())) for row in pixels]
    return torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference in levels."""
    return float((a.float() - b.float()).abs().max())


# -- what is done is what it is called --------------------------------------------------------------------------------


def test_a_flip_changes_left_and_right_exactly() -> None:
    pixels = photos(32)
    flipped = augmentation(["flip"])({"pixels": pixels}, generator())["pixels"]
    turned = [bool((row == one.flip(2)).all()) for row, one in zip(flipped, pixels, strict=True)]
    kept = [bool((row == one).all()) for row, one in zip(flipped, pixels, strict=True)]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert 8 <= sum(turned) <= 24


def test_a_crop_is_the_part_of_the_picture_enlarged() -> None:
    """Against Pillow's bilinear resize of the same box; its edges look beyond the box, as a warp does."""
    pixels = photos(2, 32, 32)
    do = amounts(pixels, width=0.5, height=0.75, x=-0.25, y=0.25)
    found = _done(pixels, do)
    # the centre of the box lies at (1 + x) / 2 of the side
    box = (32 * 0.375 - 8, 32 * 0.625 - 12, 32 * 0.375 + 8, 32 * 0.625 + 12)
    expected = pillow(pixels, lambda p: p.transform((32, 32), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR))
    assert apart(found, expected) <= 1


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 36)])
def test_a_turn_is_one_in_pixels_whatever_the_shape(height: int, width: int) -> None:
    """Inside the circle that a turn leaves in the picture; Pillow turns against the clock, a positive angle here with it."""
    pixels = photos(2, height, width)
    found = _done(pixels, amounts(pixels, angle=math.radians(10)))
    expected = pillow(pixels, lambda p: p.rotate(10, Image.Resampling.BILINEAR))
    y, x = torch.meshgrid(torch.arange(height) - height / 2 + 0.5, torch.arange(width) - width / 2 + 0.5, indexing="ij")
    inside = (x**2 + y**2).sqrt() < min(height, width) / 2 - 1
    assert apart(found[..., inside], expected[..., inside]) <= 1
    assert apart(found, pixels) > 10


def test_a_full_turn_is_none_and_corners_are_reflected() -> None:
    pixels = photos()
    assert apart(_done(pixels, amounts(pixels, angle=2 * math.pi)), pixels) <= 1
    white = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    assert bool((_done(white, amounts(white, angle=0.3)) == 200).all())


def test_a_shift_moves_by_a_share_of_the_side() -> None:
    pixels = photos(2, 20, 40)
    found = _done(pixels, amounts(pixels, shift_x=0.25, shift_y=-0.1))
    assert torch.equal(found[:, :, 2:, :30], pixels[:, :, :18, 10:])


def _sheared(picture: Image.Image, moved: float) -> Image.Image:
    return picture.transform((32, 32), Image.Transform.AFFINE, (1, 0, moved, 0, 1, 0), Image.Resampling.BILINEAR)


def test_a_shear_moves_rows_in_proportion_to_their_height() -> None:
    pixels = photos(1, 32, 32)
    found = _done(pixels, amounts(pixels, shear_x=0.125))
    for row in (3, 15, 28):  # a row's x moves by shear * y
        moved = 0.125 * ((row + 0.5) - 16)
        expected = pillow(pixels, partial(_sheared, moved=moved))
        assert apart(found[:, :, row, 4:28], expected[:, :, row, 4:28]) <= 1


def _enhanced(picture: Image.Image, by: Callable[[Image.Image], Any], factor: float) -> Image.Image:
    done: Image.Image = by(picture).enhance(factor)
    return done


@pytest.mark.parametrize("factor", [0.7, 1.2])
def test_colours_are_those_of_pillow(factor: float) -> None:
    """Pillow rounds the grey it blends with, so one level of difference remains."""
    pixels = photos(3).clamp(30, 200)
    for name, enhance in (
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ):
        found = _done(pixels, amounts(pixels, **{name: factor}))
        assert apart(found, pillow(pixels, partial(_enhanced, by=enhance, factor=factor))) <= 1
        assert apart(found, pixels) > 5


def test_grey_has_no_colour_and_hue_keeps_brightness() -> None:
    pixels = photos(64).float().clamp(60, 190)
    grey = _done(pixels, amounts(pixels, saturation=0.0))
    torch.testing.assert_close(grey, torch.einsum("bchw,c->bhw", pixels, LUMA)[:, None].expand_as(pixels))
    done = augmentation(["grey"])({"pixels": pixels}, generator())["pixels"]
    colourless = (done.amax(dim=1) - done.amin(dim=1)).flatten(1).amax(dim=1) < 0.01
    assert 4 <= int(colourless.sum()) <= 24  # a fifth of 64
    turned = _done(pixels, amounts(pixels, hue=0.03))
    torch.testing.assert_close(*(torch.einsum("bchw,c->bhw", x, LUMA) for x in (turned, pixels)), atol=0.1, rtol=0)
    assert apart(turned, pixels) > 3
    assert apart(_done(pixels, amounts(pixels, hue=1.0)), pixels) < 0.01


def test_hue_turns_red_towards_yellow_or_blue_as_the_colour_circle_does() -> None:
    red = torch.tensor([180.0, 90.0, 90.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    there, back = (_done(red, amounts(red, hue=h))[0, :, 0, 0] for h in (0.08, -0.08))
    assert {int(there.argmin()), int(back.argmin())} == {1, 2}


def test_blur_is_gaussian_and_detail_its_opposite() -> None:
    pixels = photos(2, 40, 40)
    noisy = (pixels.float() + torch.randint(-20, 20, pixels.shape, generator=generator())).clamp(0, 255).to(torch.uint8)
    sigma = 1.5
    found = _done(noisy, amounts(noisy, sigma=sigma / 40, detail=-1.0))
    # Pillow's blur is an extended box blur, near a Gaussian; away from the edges, which it repeats instead of reflecting
    expected = pillow(noisy, lambda p: p.filter(ImageFilter.GaussianBlur(sigma)))
    assert apart(found[..., 6:-6, 6:-6], expected[..., 6:-6, 6:-6]) <= 4
    point = torch.zeros(1, 3, 21, 21)
    point[..., 10, 10] = 255
    spread = _done(point, amounts(point, sigma=1 / 21, detail=-1.0))[0, 0]
    taps = torch.exp(-(torch.arange(-3, 4) ** 2) / 2)
    taps /= taps.sum()
    torch.testing.assert_close(spread[7:14, 7:14], 255 * taps[:, None] * taps[None, :])
    middle = pixels.float().clamp(90, 160)
    blurred, sharper = (_done(middle, amounts(middle, sigma=1 / 40, detail=d)) for d in (-1.0, 1.0))
    torch.testing.assert_close(sharper + blurred, 2 * middle)


def test_fewer_levels_and_levels_turned_over() -> None:
    pixels = photos()
    assert torch.equal(
        _done(pixels, amounts(pixels, posterise=2.0)), pillow(pixels, lambda p: ImageOps.posterize(p, 6))
    )
    assert torch.equal(
        _done(pixels, amounts(pixels, solarise=0.5)), pillow(pixels, lambda p: ImageOps.solarize(p, 128))
    )


# -- what is drawn ----------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.integers(0, 2**31), st.booleans())
@settings(max_examples=40, deadline=None)
def test_pixels_keep_shape_type_and_range_and_come_again(names: list[str], seed: int, floats: bool) -> None:
    pixels = photos(3).float() if floats else photos(3)
    before = pixels.clone()
    batch = {"pixels": pixels, "targets": torch.arange(3)}
    once, again = (augmentation(order, 2.0)(batch, generator(seed)) for order in (names, names[::-1]))
    assert once["pixels"].shape == pixels.shape
    assert once["pixels"].dtype == pixels.dtype
    assert 0 <= float(once["pixels"].min()) <= float(once["pixels"].max()) <= 255
    assert torch.equal(once["pixels"], again["pixels"])
    assert once["targets"] is batch["targets"]
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_changes_nothing_and_more_changes_more(name: str) -> None:
    noise = torch.randint(-20, 20, (24, 3, 64, 64), generator=generator(1))  # so that a blur of half a pixel is seen
    pixels = (photos(24, 64, 64) + noise).clamp(0, 255).to(torch.uint8)
    weak, usual, strong = (
        augmentation([name], strength)({"pixels": pixels}, generator())["pixels"].float() for strength in (0, 1, 2.5)
    )
    assert torch.equal(weak, pixels.float())
    assert float((usual - pixels.float()).abs().mean()) > 0.1
    if name != "flip":  # there is no half of a flip
        changed = [float((x - pixels.float()).abs().mean()) for x in (usual, strong)]
        assert changed[1] > changed[0]


def test_every_picture_draws_for_itself() -> None:
    one = photos(1).expand(8, -1, -1, -1)
    done = augmentation(["crop", "rotation", "colour"])({"pixels": one}, generator())["pixels"]
    assert len({row.numpy().tobytes() for row in done}) == 8


def test_rand_does_two_operations_a_picture() -> None:
    do = _Amounts(500, torch.device("cpu"))
    augment._rand(do, augment._Draws(500, generator(), torch.device("cpu")), 1.0)
    neutral = {"brightness": 1, "contrast": 1, "saturation": 1}
    touched = torch.stack([getattr(do, name) != neutral.get(name, 0) for name in augment.RAND])
    assert set(touched.sum(dim=0).tolist()) == {2}
    assert bool((touched.sum(dim=1) > 50).all())  # each of eleven in about 2 / 11 of 500


def test_crops_keep_the_area_and_stay_inside() -> None:
    do = _Amounts(2000, torch.device("cpu"))
    augment._crop(do, augment._Draws(2000, generator(), torch.device("cpu")), 1.0)
    area = do.width * do.height
    assert 0.37 < float(area.min()) < 0.45 < 0.65 < float(area.mean()) < 0.75
    assert bool(((do.x.abs() + do.width) <= 1 + 1e-6).all() and ((do.y.abs() + do.height) <= 1 + 1e-6).all())


def test_it_costs_less_than_a_tenth_of_a_training_step() -> None:
    """In processor time against a step of EfficientNet-Lite0 in the same run; on a quiet machine it was a fiftieth."""
    pixels = photos(2, 224, 224)
    network = EfficientNetLite0().module()

    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    transform = augmentation((*AUTO, "flip"))
    step = seconds(lambda: network(pixels).sum().backward())
    assert min(seconds(lambda: transform({"pixels": pixels}, generator())) for _ in range(4)) < 0.1 * step


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'flop' is not known\. Did you mean 'flip'"):
        augmentation(["flop"])
    with pytest.raises(UsageError, match="between 0 and 3, not 4"):
        augmentation(["flip"], 4)
    with pytest.raises(UsageError, match="are for pictures"):
        augmentation(["crop"])({"input_ids": torch.zeros(1, 3)}, generator())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("none", ()),
        ("", ()),
        ("auto", ("crop", "colour")),
        ("crop+flip", ("crop", "flip")),
        ("auto+flip+crop", ("crop", "colour", "flip")),
    ],
)
def test_names_are_read(text: str, names: tuple[str, ...]) -> None:
    assert read_names(text, NAMES, AUTO) == names


def test_unknown_names_are_all_named() -> None:
    with pytest.raises(UsageError, match=r"'blurr'.*'kropp'"):
        read_names("blurr+crop+kropp", NAMES, AUTO)


# -- flips ------------------------------------------------------------------------------------------------------------


def pages(n: int, ink: int = 20, paper: int = 240) -> Tensor:
    """Lines of writing."""
    rows = []
    for seed in range(n):
        page = Image.new("RGB", (96, 96), (paper,) * 3)
        draw = ImageDraw.Draw(page)
        for line in range(6):
            draw.text((4, 4 + 15 * line), f"word {seed} and {line * 37} lines", fill=(ink,) * 3)
        rows.append(torch.from_numpy(np.array(page)).permute(2, 0, 1))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("classes", "part"),
    [
        ([str(digit) for digit in range(10)], "'0' may stand for digits or letters"),
        (["0 - zero", "1 - one", "2 - two"], "'0 - zero' may stand"),
        (["A", "b", "C", "other"], "'A' may stand"),
        (["Digit_3", "digit_7"], "'Digit_3' may stand"),
        (["turn_left", "straight on"], "'turn_left' names a side"),
        (["Counter-clockwise", "still"], "'Counter-clockwise' names a side"),
        (["counterclockwise", "still"], "'counterclockwise' names a side"),
        (["右", "左"], "may stand"),
        (["cat", "dog"], None),
        (["T-shirt/top", "Trouser", "Bag"], None),
        (["3d printer", "copyright sign"], None),
    ],
)
def test_classes_that_a_mirror_would_break(classes: list[str], part: str | None) -> None:
    allowed, reason = flips_allowed(classes, photos())
    assert allowed == (part is None)
    assert (part or "") in reason


def test_the_thousand_classes_of_photographs_may_be_flipped() -> None:
    assert flips_allowed(imagenet_names(), photos()) == (True, "")


def test_pictures_that_look_like_writing() -> None:
    for writing in (pages(6), pages(6, ink=230, paper=15)):
        allowed, reason = flips_allowed(["letter", "invoice"], writing)
        assert not allowed
        assert reason == "100% of the pictures look like writing, which a mirror breaks"
    mixed = torch.cat([pages(3), photos(1, 96, 96)])
    assert "75%" in flips_allowed(["a kind", "another"], mixed.numpy())[1]
    # an object on an even ground is not thin, and an empty page has nothing on it
    blob = torch.full((2, 3, 64, 64), 250, dtype=torch.uint8)
    blob[0, :, 10:50, 20:50] = 30
    assert flips_allowed(["bag", "shoe"], blob) == (True, "")
    assert flips_allowed(["bag", "shoe"], blob[:0]) == (True, "")


def test_thick_letters_in_grey_look_like_writing() -> None:
    """As scanned digits do: few pixels, soft edges, strokes an eighth of the side."""
    signs = []
    for sign in "0123456789abcdef":
        small = Image.new("L", (16, 16), 0)
        ImageDraw.Draw(small).text((4, 1), sign, fill=255, font=ImageFont.load_default(12))
        signs.append(torch.from_numpy(np.array(small.resize((64, 64), Image.Resampling.BICUBIC).convert("RGB"))))
    allowed, reason = flips_allowed(["first", "second"], torch.stack(signs).permute(0, 3, 1, 2))
    assert not allowed
    assert "look like writing" in reason


def test_auto_flips_where_it_may_and_says_where_not() -> None:
    pixels = photos(16)
    transform, note = for_pictures("auto", ["cat", "dog"], pixels)
    assert note == ""
    assert transform is not None
    for classes, wanted, flips in ((["cat", "dog"], "auto", True), (["6", "9"], "auto", False)):
        transform, note = for_pictures(wanted, classes, pixels)
        expected = augmentation((*AUTO, "flip") if flips else AUTO)
        assert transform is not None
        assert torch.equal(
            transform({"pixels": pixels}, generator())["pixels"], expected({"pixels": pixels}, generator())["pixels"]
        )
        assert note == (
            ""
            if flips
            else "Pictures are not flipped: classes such as '6' may stand for digits or letters, which a mirror breaks."
        )
    asked, note = for_pictures("flip", ["6", "9"], pixels)
    assert asked is not None
    assert note == ""
    assert for_pictures("none", ["6", "9"], pixels) == (None, "")
