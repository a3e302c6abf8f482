"""Pictures as a model wants them: resized, cropped, as bytes; what is left (scaling by channel) happens inside the model's graph.

Read from `preprocessor_config.json` and done with Pillow, to the bit as transformers' own processors do it without torchvision
(very long pictures to within one step of a byte).
Shape suffixes: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.encoders.folders import read_json
from graft.errors import MissingError, ModelError, unknown

if TYPE_CHECKING:
    from PIL.Image import Image

HALF, IMAGENET = ((0.5,) * 3,) * 2, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
BILINEAR, BICUBIC = 2, 3  # Pillow's numbers, which the files use

# What a processor's file may leave out, by the processor's family, as in transformers.
_SHORT_224 = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "resample": BICUBIC,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "ViT": {"size": {"height": 224, "width": 224}, "resample": BILINEAR, "image_mean": HALF[0], "image_std": HALF[1]},
    "Siglip": {"size": {"height": 224, "width": 224}, "resample": BICUBIC, "image_mean": HALF[0], "image_std": HALF[1]},
    "Bit": {**_SHORT_224, "image_mean": CLIP[0], "image_std": CLIP[1]},
    "CLIP": {**_SHORT_224, "image_mean": CLIP[0], "image_std": CLIP[1]},
    "ConvNext": {
        "size": {"shortest_edge": 384},
        "crop_pct": 224 / 256,
        "resample": BICUBIC,
        "image_mean": HALF[0],
        "image_std": HALF[1],
    },
}
STRETCH = 4  # pictures longer than this times their width are cut before they are resized
SQUARE = ("ViT", "Siglip")  # whose bare number for a size means a square, not the shorter edge


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the model's input: resize (to height and width, or its shorter edge to a length), centre crop, scale, shift.

    `scale` and `shift` turn a byte of each channel into the model's number: x * scale + shift.
    """

    height: int | None
    width: int | None
    shortest: int | None
    crop: tuple[int, int] | None
    resample: int
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    @property
    def side(self) -> int:
        """Length of the shorter edge after resizing and before cropping: a picture decoded at a smaller scale should keep at least this."""
        return self.shortest or max(self.height or 0, self.width or 0)

    def __call__(self, picture: Image) -> NDArray[np.uint8]:
        """An RGB picture as bytes (3, H, W)."""
        resized = self._resized(picture)
        return np.ascontiguousarray(np.asarray(resized, np.uint8).transpose(2, 0, 1))

    def _resized(self, picture: Image) -> Image:
        from PIL import Image as Pictures

        if self.shortest is None:
            width, height = self.width or picture.width, self.height or picture.height
        else:
            short, long = sorted(picture.size)
            grown = int(self.shortest * long / short)
            width, height = (self.shortest, grown) if picture.width <= picture.height else (grown, self.shortest)
        crop_height, crop_width = self.crop or (height, width)
        top, left = (height - crop_height) // 2, (width - crop_width) // 2
        y0, y1, x0, x1 = max(top, 0), min(top + crop_height, height), max(left, 0), min(left + crop_width, width)
        filter_ = Pictures.Resampling(self.resample)
        if max(width, height) <= STRETCH * min(width, height):
            resized = picture.resize((width, height), filter_).crop((x0, y0, x1, y1))
        else:  # only what the crop keeps is resized, or a strip one pixel high would grow without bound; Pillow rounds a few bytes otherwise then
            down, across = picture.height / height, picture.width / width
            resized = picture.resize((x1 - x0, y1 - y0), filter_, box=(x0 * across, y0 * down, x1 * across, y1 * down))
        if resized.size == (crop_width, crop_height):
            return resized
        canvas = Pictures.new(
            "RGB", (crop_width, crop_height)
        )  # a crop larger than the picture is filled up with black
        canvas.paste(resized, (x0 - left, y0 - top))
        return canvas


def affine(mean: Sequence[float], std: Sequence[float], factor: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(x * factor - mean) / std as x * scale + shift."""
    return tuple(factor / s for s in std), tuple(-m / s for m, s in zip(mean, std, strict=True))


def read_preprocessing(folder: Path) -> Preprocessing:
    """The preprocessing a model's folder says.

    Raises MissingError without the file, ModelError for a processor that is not known or gives pictures of different sizes.
    """
    config = _processor(folder)
    name = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    family = (
        name.removesuffix("Pil").removesuffix("Fast").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    )
    if family not in DEFAULTS:
        raise ModelError(
            f"{folder / 'preprocessor_config.json'}: "
            + unknown("Image processor", name, (f"{known}ImageProcessor" for known in DEFAULTS))
        )
    settings = {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        **DEFAULTS[family],
    }
    settings.update({key: value for key, value in config.items() if value is not None})
    try:
        return _preprocessing(family, settings)
    except (KeyError, TypeError, ValueError) as problem:
        raise ModelError(f"The image preprocessing of {folder} cannot be followed: {problem}") from None


def _processor(folder: Path) -> Mapping[str, Any]:
    """The processor's settings: in a file of their own, or inside the one of a joint processor."""
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder / "preprocessor_config.json")
    joint = read_json(folder / "processor_config.json") if (folder / "processor_config.json").is_file() else {}
    if isinstance(joint.get("image_processor"), dict):
        return dict(joint["image_processor"])
    raise MissingError(
        f"{folder} holds no preprocessor_config.json, so how the model wants its pictures cannot be told."
    )


def _preprocessing(family: str, settings: Mapping[str, Any]) -> Preprocessing:
    height = width = shortest = None
    crop = _pair(settings["crop_size"]) if settings.get("do_center_crop") else None
    if settings["do_resize"]:
        size = settings["size"]
        if isinstance(size, (int, list, tuple)):
            size = {"height": size, "width": size} if isinstance(size, int) and family in SQUARE else size
            size = {"shortest_edge": size} if isinstance(size, int) else size
        if isinstance(size, Mapping) and size.get("shortest_edge") and not size.get("longest_edge"):
            shortest = int(size["shortest_edge"])
        else:
            height, width = _pair(size)
    if (
        family == "ConvNext" and shortest is not None
    ):  # its own rule: small ones are cropped from a larger picture, large ones squeezed to a square
        if shortest < 384:
            crop, shortest = (shortest, shortest), int(shortest / settings["crop_pct"])
        else:
            height, width, shortest = shortest, shortest, None
    if crop is None and height is None:
        raise ValueError("pictures would keep different sizes, but a batch needs one size")
    if settings.get("do_pad"):
        raise ValueError("do_pad is set, which Graft does not do")
    factor = float(settings["rescale_factor"]) if settings["do_rescale"] else 1.0
    mean, std = (
        (settings["image_mean"], settings["image_std"]) if settings["do_normalize"] else ((0.0,) * 3, (1.0,) * 3)
    )
    scale, shift = affine([float(m) for m in mean], [float(s) for s in std], factor)
    return Preprocessing(height, width, shortest, crop, int(settings["resample"]), scale, shift)


def _pair(size: Any) -> tuple[int, int]:
    """(height, width) from a number, a pair, or a mapping."""
    if isinstance(size, Mapping):
        return int(size["height"]), int(size["width"])
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)
