"""Augmentation of batches of pictures: what moves pixels becomes one warp, what changes colours one matrix, whatever was asked for.

Each named augmentation only draws amounts, one a picture; they are then done together, so that all at once cost little more than one. On
one thread a picture of 224 x 224 takes 2 ms for crop, colour and flip, and 7 for all there is, where a step of EfficientNet-Lite0 takes 100.
Transforms take and give batches whose `pixels` (B, 3, H, W) are bytes, or floats of 0..255; the same generator gives the same bits.

Legend: B pictures, C = 3 channels, H height, W width, K taps of a kernel, R pictures that are blurred or sharpened, O operations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, max_pool2d, pad

from graft.errors import UsageError, unknown
from graft.tensors.objectives import soft_targets

Transform = Callable[[dict[str, Tensor], torch.Generator], dict[str, Tensor]]

# Amounts at strength 1; they grow with it, and at 0 nothing is done.
LEAST_AREA = 0.4  # of the picture that a crop keeps, to the power of the strength
ASPECT = math.log(4 / 3)  # of a crop's width to its height, either way (Szegedy et al. 2015)
TURN = math.radians(15)
JITTER = 0.3  # of brightness, contrast, saturation, either way
HUE = 0.03  # of the colour circle, either way
GREY, BLURRED = 0.2, 0.3  # share of pictures made grey (Chen et al. 2020), blurred
SIGMA = 2 / 224  # the widest blur, in sides of the picture (Chen et al. 2020: 2 of 224 pixels)
RAND_OPERATIONS = 2  # of those below, for each picture
# RandAugment's ranges at a third of its scale, near the 9 of 30 it found best for ResNet-50 (Cubuk et al. 2020)
RAND = {
    "angle": math.radians(10),
    "shear_x": 0.1,
    "shear_y": 0.1,
    "shift_x": 0.15,
    "shift_y": 0.15,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
    "detail": 0.9,
    "posterise": 1.3,
    "solarise": 0.33,
}
LUMA = (0.299, 0.587, 0.114)
# RGB to brightness and two axes of colour, between which hue turns (NTSC's YIQ)
YIQ = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
RGB = torch.linalg.inv(YIQ)

# Whose pictures say something else in a mirror: classes that are sides, digits or letters
SIDES = re.compile(
    "left(wards?)?|right(wards?)?|(anti|counter)?clockwise|east(bound)?|west(bound)?"
    "|links|rechts|gauche|droite|izquierda|derecha|sinistra|destra"
)
DIGITS = re.compile(r"\d+|.|zero|one|two|three|four|five|six|seven|eight|nine")
SAY_NOTHING = re.compile("class|label|digit|letter|number|character|char|no")
# A picture looks like writing when thin strokes stand out from an even ground. Measured shares of such pictures: MNIST 1.0, USPS .9, printed
# pages 1.0; Fashion-MNIST .2, CIFAR-10, Tiny-ImageNet, Flickr8k photos and steel surfaces at most .1.
GROUND, STANDS_OUT, STROKE, WRITING = 0.4, 60, 0.2, 1 / 3
SAMPLE = 64


class _Draws:
    """Random numbers for the B pictures of a batch, all from one generator."""

    def __init__(self, n: int, generator: torch.Generator, device: torch.device) -> None:
        self.n, self._generator, self._device = n, generator, device

    def uniform(self, low: float, high: float, *more: int) -> Tensor:
        """(B, ...) within low..high."""
        drawn = torch.rand(self.n, *more, generator=self._generator, device=self._generator.device)
        return (low + (high - low) * drawn).to(self._device)

    def chance(self, p: float) -> Tensor:
        """(B,) bool, true with probability p."""
        return self.uniform(0, 1) < p


class _Amounts:
    """What is to be done to each picture, (B,) each; as made, nothing.

    `width` and `height` are the share of the picture that is seen around the centre (`x`, `y`) in -1..1, `angle` is in radians, `sigma` of the
    blur in pixels; `detail` is the share of what the blur takes away that is added (-1: the blurred picture); `solarise` the share of the
    levels, from the top, that is turned over; `posterise` the bits that are lost.
    """

    def __init__(self, n: int, device: torch.device) -> None:
        one, zero = torch.ones(n, device=device), torch.zeros(n, device=device)
        self.width, self.height, self.mirror = one, one, one
        self.x, self.y, self.angle, self.shear_x, self.shear_y, self.shift_x, self.shift_y = (zero,) * 7
        self.brightness, self.contrast, self.saturation, self.hue = one, one, one, zero
        self.sigma, self.detail, self.solarise, self.posterise = (zero,) * 4

    @property
    def moves(self) -> bool:
        """Whether any pixel changes its place."""
        still = (self.x, self.y, self.angle, self.shear_x, self.shear_y, self.shift_x, self.shift_y)
        whole = (self.width, self.height, self.mirror)
        return any(bool((a != 0).any()) for a in still) or any(bool((a != 1).any()) for a in whole)

    @property
    def colours(self) -> bool:
        """Whether any colour changes."""
        as_is = (self.brightness, self.contrast, self.saturation)
        return bool((self.hue != 0).any()) or any(bool((a != 1).any()) for a in as_is)


# -- what may be asked for: each draws amounts ------------------------------------------------------------------------


def _crop(do: _Amounts, draws: _Draws, strength: float) -> None:
    """A part of the picture, stretched to the whole (Szegedy et al. 2015)."""
    area, aspect = draws.uniform(LEAST_AREA**strength, 1), draws.uniform(-ASPECT, ASPECT).mul(strength).exp()
    do.width, do.height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    do.x = draws.uniform(-1, 1) * (1 - do.width)
    do.y = draws.uniform(-1, 1) * (1 - do.height)


def _flip(do: _Amounts, draws: _Draws, strength: float) -> None:
    """Left and right changed, for half of the pictures."""
    do.mirror = torch.where(draws.chance(0.5 if strength else 0), -do.mirror, do.mirror)


def _rotation(do: _Amounts, draws: _Draws, strength: float) -> None:
    """Turned by up to 15 degrees; the corners are filled by reflection."""
    do.angle = do.angle + draws.uniform(-TURN, TURN) * strength


def _colour(do: _Amounts, draws: _Draws, strength: float) -> None:
    """Other brightness, contrast, saturation, and a little of hue (Chen et al. 2020, milder)."""
    reach = min(JITTER * strength, 0.9)
    do.brightness = do.brightness * draws.uniform(1 - reach, 1 + reach)
    do.contrast = do.contrast * draws.uniform(1 - reach, 1 + reach)
    do.saturation = do.saturation * draws.uniform(1 - reach, 1 + reach)
    do.hue = do.hue + draws.uniform(-HUE, HUE) * strength


def _grey(do: _Amounts, draws: _Draws, strength: float) -> None:
    """No colour at all, for a fifth of the pictures."""
    do.saturation = torch.where(draws.chance(GREY * strength), 0.0, do.saturation)


def _blur(do: _Amounts, draws: _Draws, strength: float) -> None:
    """A Gaussian blur of 0.1 to 2 pixels of 224, for three pictures in ten."""
    chosen = draws.chance(BLURRED if strength else 0)
    do.sigma = torch.where(chosen, draws.uniform(0.05 * SIGMA, SIGMA) * strength, do.sigma)
    do.detail = torch.where(chosen, -1.0, do.detail)


def _rand(do: _Amounts, draws: _Draws, strength: float) -> None:
    """Two operations out of eleven for each picture, as RandAugment draws them (Cubuk et al. 2020).

    Like it, not equal: they are done in one order, and equalising and automatic contrast are not among them.
    """
    chosen_BO = draws.uniform(0, 1, len(RAND)).argsort(dim=1) < RAND_OPERATIONS
    signed_BO = draws.uniform(-1, 1, len(RAND)).sign() * chosen_BO * strength
    by = {name: signed_BO[:, at] * reach for at, (name, reach) in enumerate(RAND.items())}
    for name in ("angle", "shear_x", "shear_y", "shift_x", "shift_y"):
        setattr(do, name, getattr(do, name) + by[name])
    for name in ("brightness", "contrast", "saturation"):
        setattr(do, name, getattr(do, name) * (1 + by[name]).clamp(min=0.1))
    chosen = (by["detail"] != 0) & (do.sigma == 0)
    do.sigma, do.detail = torch.where(chosen, SIGMA / 2, do.sigma), torch.where(chosen, by["detail"], do.detail)
    do.solarise, do.posterise = by["solarise"].abs().clamp(max=1), by["posterise"].abs().round().clamp(max=6)


KINDS: Mapping[str, Callable[[_Amounts, _Draws, float], None]] = {
    "crop": _crop,
    "flip": _flip,
    "rotation": _rotation,
    "colour": _colour,
    "grey": _grey,
    "rand": _rand,
    "blur": _blur,
}
NAMES = tuple(KINDS)
AUTO = ("crop", "colour")  # what nearly no label minds; `flip` joins where `flips_allowed` says so


def augmentation(names: Sequence[str], strength: float = 1.0) -> Transform:
    """A transform that does the augmentations of `names` (out of NAMES, in whatever order) to every batch's `pixels`.

    `strength` scales how far they go: 1 as is usual when a pretrained network is tuned, 0 changes nothing. Pixels keep their type.
    Raises UsageError for names that are not known and a strength outside 0..3; the transform raises it for a batch without pictures.
    """
    if wrong := [name for name in names if name not in KINDS]:
        raise UsageError(" ".join(unknown("The augmentation of pictures", name, NAMES) for name in wrong))
    if not 0 <= strength <= 3:
        raise UsageError(f"The strength of augmentation lies between 0 and 3, not {strength}.")
    chosen = [kind for name, kind in KINDS.items() if name in names]  # in one order, so that equal sets give equal bits

    def transform(batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        if "pixels" not in batch:
            raise UsageError(f"{', '.join(names)}: these augmentations are for pictures, and the items are none.")
        pixels = batch["pixels"]
        draws, do = _Draws(len(pixels), generator, pixels.device), _Amounts(len(pixels), pixels.device)
        for kind in chosen:
            kind(do, draws, strength)
        return {**batch, "pixels": _done(pixels, do)}

    return transform


def read_names(augment: str, allowed: Sequence[str], auto: Sequence[str]) -> tuple[str, ...]:
    """The names in a recipe's `augment`: joined by +, or "auto" (which may be joined too) for `auto`, or "none".

    Raises UsageError for names outside `allowed`.
    """
    given = [name.strip() for name in augment.split("+") if name.strip()]
    names = [name for part in given if part != "none" for name in (auto if part == "auto" else (part,))]
    if wrong := [name for name in names if name not in allowed]:
        raise UsageError(" ".join(unknown("The augmentation", name, (*allowed, "auto", "none")) for name in wrong))
    return tuple(dict.fromkeys(names))


def for_pictures(
    augment: str, classes: Sequence[str], pixels: Tensor | NDArray[Any], strength: float = 1.0
) -> tuple[Transform | None, str]:
    """The transform a recipe's `augment` asks for, or None for none, and a note for the report on what was decided.

    With "auto" pictures are flipped only where `flips_allowed` says so of `classes` and a sample of `pixels`; "flip" by name is done.
    """
    allowed, reason = flips_allowed(classes, pixels) if "auto" in augment.split("+") else (False, "")
    names = read_names(augment, NAMES, (*AUTO, "flip") if allowed else AUTO)
    note = f"Pictures are not flipped: {reason}." if reason and "flip" not in names else ""
    return (augmentation(names, strength) if names else None), note


# -- doing it ---------------------------------------------------------------------------------------------------------


def _done(pixels: Tensor, do: _Amounts) -> Tensor:
    """All amounts applied once; rounded where bytes were given."""
    x_BCHW = pixels.float()
    if do.moves:
        x_BCHW = _warped(x_BCHW, do)
    if do.colours:
        x_BCHW = _coloured(x_BCHW, do)
    if bool((do.detail != 0).any()):
        x_BCHW = _detailed(x_BCHW, do)
    if bool((do.posterise != 0).any() | (do.solarise != 0).any()):
        x_BCHW = _levelled(x_BCHW.clamp(0, 255), do)
    x_BCHW = x_BCHW.clamp(0, 255)
    return x_BCHW if pixels.is_floating_point() else x_BCHW.round().to(pixels.dtype)


def _warped(x_BCHW: Tensor, do: _Amounts) -> Tensor:
    """Each output pixel reads, bilinearly, where the inverse of crop, turn, shear, shift and flip sends it; outside lies the reflection."""
    n, _, height, width = x_BCHW.shape
    cos, sin, ratio = do.angle.cos(), do.angle.sin(), height / width
    # rows: input x and y; columns: output x and y, all in -1..1; the turn is in pixels, hence the ratio of the sides
    turn = torch.stack([cos, -sin * ratio, sin / ratio, cos], dim=1).view(n, 2, 2)
    one = torch.ones_like(cos)
    shear = torch.stack([one, do.shear_x, do.shear_y, one], dim=1).view(n, 2, 2)
    size = torch.stack([do.width, do.height], dim=1)
    flip = torch.stack([do.mirror, one], dim=1)
    linear_B22 = size[:, :, None] * (turn @ shear) * flip[:, None, :]
    # shifts are shares of a side: twice as much in coordinates of -1..1
    centre_B2 = torch.stack([do.x + 2 * do.shift_x * do.width, do.y + 2 * do.shift_y * do.height], dim=1)
    across_W = (2 * torch.arange(width, device=x_BCHW.device) + 1) / width - 1
    down_H = (2 * torch.arange(height, device=x_BCHW.device) + 1) / height - 1
    from_row = linear_B22[:, :, 1, None] * down_H + centre_B2[:, :, None]
    from_column = linear_B22[:, :, 0, None] * across_W
    grid_BHW2 = torch.stack([from_row[:, axis, :, None] + from_column[:, axis, None, :] for axis in (0, 1)], dim=-1)
    return grid_sample(x_BCHW, grid_BHW2, mode="bilinear", padding_mode="reflection", align_corners=False)


def _coloured(x_BCHW: Tensor, do: _Amounts) -> Tensor:
    """Brightness, then contrast about the picture's mean grey, saturation and hue: one matrix a picture.

    Values are cut to 0..255 once, at the end. Hue turns in YIQ, which keeps the brightness of every pixel.
    """
    n, device = len(x_BCHW), x_BCHW.device
    luma_C = torch.tensor(LUMA, device=device)
    grey_B = x_BCHW.mean(dim=(2, 3)) @ luma_C * do.brightness
    fade_BCC = do.saturation.view(n, 1, 1) * torch.eye(3, device=device) + (1 - do.saturation).view(n, 1, 1) * luma_C
    angle = 2 * math.pi * do.hue
    turn_BCC = torch.eye(3, device=device).repeat(n, 1, 1)
    turn_BCC[:, 1, 1] = turn_BCC[:, 2, 2] = angle.cos()
    turn_BCC[:, 1, 2], turn_BCC[:, 2, 1] = -angle.sin(), angle.sin()
    hue_BCC = RGB.to(device) @ turn_BCC @ YIQ.to(device)
    matrix_BCC = (do.contrast * do.brightness).view(n, 1, 1) * (hue_BCC @ fade_BCC)
    # grey stays grey under saturation and hue, so contrast's constant needs no matrix
    shift_B11 = ((1 - do.contrast) * grey_B).view(n, 1, 1)
    return torch.baddbmm(shift_B11, matrix_BCC, x_BCHW.flatten(2)).view_as(x_BCHW)


def _detailed(x_BCHW: Tensor, do: _Amounts) -> Tensor:
    """x + detail * (x - blurred x), for the pictures where `detail` is not 0."""
    rows = (do.detail != 0).nonzero()[:, 0]
    sigma_R = (do.sigma[rows] * min(x_BCHW.shape[2:])).clamp(min=1e-3)
    radius = max(1, min(math.ceil(3 * float(sigma_R.max())), min(x_BCHW.shape[2:]) - 1))
    taps_K = torch.arange(-radius, radius + 1, device=x_BCHW.device)
    kernel_RK = (-(taps_K**2) / (2 * sigma_R[:, None] ** 2)).exp()
    kernel_RK = (kernel_RK / kernel_RK.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)
    sharp = x_BCHW[rows]
    planes = sharp.reshape(
        1, -1, *sharp.shape[2:]
    )  # each channel of each picture is a channel with a kernel of its own
    wide = pad(planes, (radius,) * 4, mode="reflect")
    across = conv2d(wide, kernel_RK[:, None, None, :], groups=len(kernel_RK))
    blurred = conv2d(across, kernel_RK[:, None, :, None], groups=len(kernel_RK)).view_as(sharp)
    detail_R = do.detail[rows].view(-1, 1, 1, 1)
    return x_BCHW.index_copy(0, rows, sharp + detail_R * (sharp - blurred))


def _levelled(x_BCHW: Tensor, do: _Amounts) -> Tensor:
    """Fewer levels (posterise), and the brightest levels turned over (solarise)."""
    step = (2**do.posterise).view(-1, 1, 1, 1)
    x_BCHW = torch.where(step > 1, (x_BCHW / step).floor() * step, x_BCHW)
    most = (256 * (1 - do.solarise)).view(-1, 1, 1, 1)
    return torch.where(x_BCHW >= most, 255 - x_BCHW, x_BCHW)


# -- what a mirror would make wrong -----------------------------------------------------------------------------------


def flips_allowed(classes: Sequence[str], pixels: Tensor | NDArray[Any]) -> tuple[bool, str]:
    """Whether left and right may be changed without breaking labels; if not, the reason, as part of a sentence.

    Not where classes name sides (left, clockwise, west), where half of the classes are digits or letters, or where a third of the `pixels`
    (N, 3, H, W; bytes, the first 64 count) look like writing. Wrongly saying no costs little; wrongly saying yes breaks labels.
    """
    words = {name: re.findall(r"[^\W_]+", name.lower()) for name in classes}
    sided = [name for name, parts in words.items() if any(SIDES.fullmatch(part) for part in parts)]
    if len(sided) > 1 or 10 * len(sided) >= len(words) > 0:  # one among many may be a right whale
        return False, f"the class {sided[0]!r} names a side, which a mirror changes"
    signs = [name for name, parts in words.items() if _is_sign(parts)]
    if signs and 2 * len(signs) >= len(words):
        return False, f"classes such as {signs[0]!r} may stand for digits or letters, which a mirror breaks"
    sample = torch.as_tensor(pixels)[:SAMPLE]
    share = float(_writing(sample).float().mean()) if len(sample) else 0.0
    if share >= WRITING:
        return False, f"{share:.0%} of the pictures look like writing, which a mirror breaks"
    return True, ""


def _is_sign(parts: Sequence[str]) -> bool:
    """Whether a class's name is nothing but digits and letters, such as "7", "Digit 3", "B", "0 - zero"."""
    telling = [part for part in parts if not SAY_NOTHING.fullmatch(part)]
    return bool(telling) and all(DIGITS.fullmatch(part) for part in telling)


def _writing(pixels: Tensor) -> Tensor:
    """(B,) bool: one level of grey covers much, what differs most from it is far from it, thin, and little lies between the two."""
    grey_BHW = torch.einsum("bchw,c->bhw", pixels.float(), torch.tensor(LUMA)).round().clamp(0, 255)
    n, height, width = grey_BHW.shape
    counts_BL = torch.zeros(n, 256).scatter_add_(1, grey_BHW.long().flatten(1), torch.ones(n, height * width))
    near = conv2d(counts_BL[:, None, None], torch.ones(1, 1, 1, 33), padding=(0, 16))[:, 0, 0]  # within 16 levels
    covered_B, ground_B = near.max(dim=1)
    distance_BHW = (grey_BHW - ground_B[:, None, None]).abs()
    # the farthest level but for one pixel in two hundred, which may be noise
    far_B = distance_BHW.flatten(1).sort(dim=1).values[:, int(0.995 * (height * width - 1))]
    ink_BHW = (distance_BHW > 0.5 * far_B[:, None, None]).float()
    ink_B = ink_BHW.mean(dim=(1, 2))
    between_B = ((distance_BHW > 16) & (ink_BHW == 0)).float().mean(dim=(1, 2))
    side = max(
        3, round(STROKE * min(height, width)) | 1
    )  # a stroke is thinner than this: no such square lies within it
    within_B1HW = -max_pool2d(max_pool2d(-ink_BHW[:, None], (1, side), 1, (0, side // 2)), (side, 1), 1, (side // 2, 0))
    thick_B = within_B1HW.mean(dim=(1, 2, 3)) / ink_B.clamp(min=1e-6)
    even = covered_B >= GROUND * height * width
    return even & (far_B >= STANDS_OUT) & (between_B <= 0.1 + 0.75 * ink_B) & (thick_B < 0.02)


# -- two pictures in one ----------------------------------------------------------------------------------------------


def mixup(alpha: float, n_classes: int, *, key: str = "pixels") -> Transform:
    """x = l x_i + (1 - l) x_j and the same of the targets, l ~ Beta(alpha, alpha) for each item, j a random other place (Zhang et al. 2018).

    `key` names what is mixed: pictures, or kept activations and vectors (Verma et al. 2019), in float32. Targets become float32 (B, C).
    Raises UsageError for alpha not above 0; the transform for a batch without `key` (token ids cannot be mixed).
    """
    _check_alpha("mixup", alpha)

    def transform(batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        x, other_B, share_B = _partners(batch, key, alpha, generator, "mixup")
        share = share_B.view(-1, *[1] * (x.dim() - 1))
        mixed = torch.lerp(x.float()[other_B], x.float(), share)
        return {**batch, key: mixed, "targets": _mixed_targets(batch["targets"], n_classes, other_B, share_B)}

    return transform


def cutmix(alpha: float, n_classes: int) -> Transform:
    """A box of a random other picture of the batch is pasted in; targets are mixed by area (Yun et al. 2019).

    The box has the picture's proportions, about 1 - l of its area with l ~ Beta(alpha, alpha), a uniform centre, and is cut at the edges. Pixels keep
    their type, targets become float32 (B, C). Raises UsageError for alpha not above 0, and for a batch without `pixels`.
    """
    _check_alpha("cutmix", alpha)

    def transform(batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        x_BCHW, other_B, share_B = _partners(batch, "pixels", alpha, generator, "cutmix")
        inside = []
        for size in x_BCHW.shape[2:]:
            centre_B = (torch.rand(len(x_BCHW), generator=generator, device=generator.device) * size).to(x_BCHW.device)
            half_B, place = size * (1 - share_B).sqrt() / 2, torch.arange(size, device=x_BCHW.device)
            low_B, high_B = (centre_B - half_B).round(), (centre_B + half_B).round()
            inside.append((place >= low_B[:, None]) & (place < high_B[:, None]))
        box_BHW = inside[0][:, :, None] & inside[1][:, None, :]
        kept_B = 1 - box_BHW.float().mean(dim=(1, 2))
        pixels = torch.where(box_BHW[:, None], x_BCHW[other_B], x_BCHW)
        return {**batch, "pixels": pixels, "targets": _mixed_targets(batch["targets"], n_classes, other_B, kept_B)}

    return transform


def either(transforms: Sequence[Transform]) -> Transform:
    """One of these transforms for each batch, each as likely: mixup and cutmix are not done to one picture."""

    def transform(batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        chosen = int(torch.randint(len(transforms), (), generator=generator, device=generator.device))
        return transforms[chosen](batch, generator)

    return transform


def _check_alpha(name: str, alpha: float) -> None:
    if not alpha > 0:
        raise UsageError(
            f"{name}={alpha}: its Beta parameter must be above 0; to do without it, leave the transform out."
        )


def _partners(
    batch: dict[str, Tensor], key: str, alpha: float, generator: torch.Generator, name: str
) -> tuple[Tensor, Tensor, Tensor]:
    """What is mixed, each item's partner (B,), and the share (B,) each keeps of itself."""
    if key not in batch:
        raise UsageError(f"{name} mixes {key}, and these items have none; it is for pictures.")
    x, device = batch[key], batch[key].device
    other_B = torch.randperm(len(x), generator=generator, device=generator.device).to(device)
    # torch draws no Beta from a generator, so numpy does, from a seed that the generator gives
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    share = np.random.default_rng(seed).beta(alpha, alpha, len(x)).astype(np.float32)
    return x, other_B, torch.from_numpy(share).to(device)


def _mixed_targets(targets: Tensor, n_classes: int, other_B: Tensor, share_B: Tensor) -> Tensor:
    soft_BC = soft_targets(targets, n_classes)
    return torch.lerp(soft_BC[other_B], soft_BC, share_B[:, None])
