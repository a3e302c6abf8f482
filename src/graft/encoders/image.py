"""Image encoders from transformers' vision models, and raw pixels as the encoder every other has to beat.

What stands for a whole picture is each family's custom: ViT the CLS token after the last norm (as its classifier reads it; the pooler is not used), DINOv2
the same (joined with the mean of the patch tokens where a classifier was trained on both), ConvNeXt, ResNet and Swin the mean over space (their pooler).
Features are not normalised. Shape suffixes: B batch, T tokens, D dims, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.encoders import folders
from graft.encoders.base import Array, Batch, Classifier, EncoderInfo, FloatArray, Prepared
from graft.encoders.fingerprint import fingerprint
from graft.encoders.pictures import BILINEAR, Preprocessing, read_preprocessing
from graft.errors import ModelError, unknown

if TYPE_CHECKING:
    import torch

Features = Callable[[Any, "torch.Tensor"], "torch.Tensor"]


def cls_token(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The first token's state (B, D)."""
    first: torch.Tensor = model(pixel_values=pixels).last_hidden_state[:, 0]
    return first


def pooler(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The model's own pooled output (B, D)."""
    pooled: torch.Tensor = model(pixel_values=pixels).pooler_output
    return pooled.flatten(1)


def cls_and_mean(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """CLS token and mean of the patch tokens (B, 2 D), as DINOv2's linear classifiers read them (Oquab et al. 2023)."""
    import torch

    states = model(pixel_values=pixels).last_hidden_state
    skip = 1 + getattr(model.config, "num_register_tokens", 0)
    return torch.cat([states[:, 0], states[:, skip:].mean(dim=1)], dim=1)


# model_type: features, and the length of their vectors where config.json leaves it out as the family's default
FAMILIES: dict[str, tuple[Features, str, int]] = {
    "vit": (cls_token, "hidden_size", 768),
    "dinov2": (cls_token, "hidden_size", 768),
    "dinov2_with_registers": (cls_token, "hidden_size", 768),
    "convnext": (pooler, "hidden_sizes", 768),
    "convnextv2": (pooler, "hidden_sizes", 768),
    "resnet": (pooler, "hidden_sizes", 2048),
    "swin": (pooler, "hidden_size", 768),
}


class PictureEncoder:
    """What all image encoders do alike: pictures become bytes, batches are stacked, vectors come out as they are."""

    preprocessing: Preprocessing

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        """Bytes (3, H, W) of each PIL picture in RGB."""
        return [self.preprocessing(picture) for picture in items]

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        """`pixels` (B, 3, H, W)."""
        return {"pixels": np.stack(prepared)}

    def finish(self, raw: Array, batch: Batch) -> FloatArray:
        """Features as they are."""
        del batch
        return np.ascontiguousarray(raw, np.float32)

    def classifier(self) -> Classifier | None:
        """None unless the encoder says otherwise."""
        return None


class VisionEncoder(PictureEncoder):
    """A transformers vision model's folder; implements `base.Encoder`."""

    def __init__(self, reference: str, folder: Path) -> None:
        self.reference, self.folder = reference, folder
        self.config = folders.model_config(folder)
        kind = self.config["model_type"]
        if kind not in FAMILIES:
            raise ModelError(f"{folder / 'config.json'}: " + unknown("Vision model type", kind, FAMILIES))
        self.features, key, default = FAMILIES[kind]
        size = self.config.get(key, default)
        self.dim = int(size[-1] if isinstance(size, list) else size)
        self.classifies = any("ForImageClassification" in name for name in self.config.get("architectures") or ())
        if kind.startswith("dinov2") and self.classifies:
            self.features, self.dim = cls_and_mean, 2 * self.dim
        self.preprocessing = read_preprocessing(folder)

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts; `space` names the features that are taken."""
        files = folders.named_files(self.folder)
        mark = fingerprint([self.features.__name__, repr(self.preprocessing)], files)
        return EncoderInfo(
            reference=self.reference,
            fingerprint=mark,
            space=f"{self.config['model_type']}, {self.features.__name__}: {mark[:16]}",
            dim=self.dim,
            modality="image",
            normalised=False,
            image_side=self.preprocessing.side,
            licence=folders.licence(self.folder),
            parameters=folders.parameters(path for _, path in files),
        )

    def module(self) -> torch.nn.Module:
        """Features (B, D) of bytes; ViT's pooler, which is not used, may be missing."""
        from graft.encoders.graphs import PictureFeatures

        unused = ("pooler",) if self.features is not pooler else ()
        return PictureFeatures(
            folders.load(self.folder, unused=unused), self.features, self.preprocessing.scale, self.preprocessing.shift
        )

    def classifier(self) -> Classifier | None:
        """The linear layer of a `...ForImageClassification` checkpoint with the names in its `id2label`; None for other checkpoints."""
        if not self.classifies:
            return None
        files = folders.weight_files(self.folder)
        for layer in ("classifier", "classifier.1"):
            tensors = folders.read_tensors(files, (f"{layer}.weight", f"{layer}.bias"))
            weight = tensors.get(f"{layer}.weight")
            if weight is None:
                continue
            if weight.ndim != 2 or weight.shape[1] != self.dim:
                raise ModelError(
                    f"{self.folder}: the classifier reads {weight.shape[-1]} features, the encoder has {self.dim}."
                )
            labels = self.config.get("id2label") or {}
            names = tuple(str(labels.get(str(k), f"LABEL_{k}")) for k in range(len(weight)))
            return Classifier(weight, tensors.get(f"{layer}.bias", np.zeros(len(weight), np.float32)), names)
        raise ModelError(f"{self.folder} should hold a classifier (config.json says so), but its weights have none.")


class PixelEncoder(PictureEncoder):
    """A picture's own values, 0..1 in channel, row, column order, after resizing to a square: the baseline without any pretraining."""

    def __init__(self, reference: str, side: int) -> None:
        self.reference = reference
        self.preprocessing = Preprocessing(side, side, None, None, BILINEAR, (1 / 255,) * 3, (0.0,) * 3)

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts; there are no weights."""
        mark, side = fingerprint(["pixels", repr(self.preprocessing)]), self.preprocessing.side
        return EncoderInfo(
            reference=self.reference,
            fingerprint=mark,
            space=f"pixels: {mark[:16]}",
            dim=3 * side**2,
            modality="image",
            normalised=False,
            image_side=side,
            parameters=0,
        )

    def module(self) -> torch.nn.Module:
        """Values (B, D) of bytes."""
        from torch import nn

        from graft.encoders.graphs import PictureFeatures

        return PictureFeatures(
            nn.Flatten(), lambda flatten, x: flatten(x), self.preprocessing.scale, self.preprocessing.shift
        )
