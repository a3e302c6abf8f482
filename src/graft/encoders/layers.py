"""Features of an inner layer of another encoder: what the model knows half way, which a task unlike its training may need more than the end.

Shape suffixes: B batch, T tokens, D dims.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from graft import settings
from graft.encoders.base import Array, Batch, Classifier, Encoder, EncoderInfo, FloatArray, Prepared
from graft.encoders.fingerprint import fingerprint, remember, remembered
from graft.encoders.text import pool
from graft.errors import ModelError, UsageError

if TYPE_CHECKING:
    import torch


class LayerEncoder:
    """The mean over space (pictures) or tokens (texts) of what the layer `name` puts out; not normalised. Implements `base.Encoder`.

    `name` is a module's path in the pretrained model, such as encoder.layer.3 or _blocks.10.
    """

    def __init__(self, base: Encoder, name: str) -> None:
        self.base, self.name = base, name

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts. How long the vectors are is seen only by running the model once; it is remembered in the cache folder, so only the first time takes torch.

        Raises UsageError when the model has no such layer.
        """
        base = self.base.info
        mark = fingerprint([base.fingerprint, "layer", self.name])
        memo = settings.cache_dir() / "layers.json"
        dim = remembered(memo).get(mark)
        if not isinstance(dim, int):
            dim = self._measured_dim()
            remember(memo, mark, dim)
        return EncoderInfo(
            reference=f"layer:{base.reference}:{self.name}",
            fingerprint=mark,
            space=f"{base.space}, layer {self.name}",
            dim=dim,
            modality=base.modality,
            normalised=False,
            max_tokens=base.max_tokens,
            image_side=base.image_side,
            licence=base.licence,
            parameters=base.parameters,
        )

    def _measured_dim(self) -> int:
        import torch

        batch = self.collate(self.prepare([example(self.base.info)] * 2))
        with torch.inference_mode():
            raw = self.module()(**{name: torch.from_numpy(array) for name, array in batch.items()})
        return int(self.finish(raw.numpy(), batch).shape[1])

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        """As the base encoder does."""
        return self.base.prepare(items)

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        """As the base encoder does."""
        return self.base.collate(prepared)

    def module(self) -> torch.nn.Module:
        """The base encoder's graph up to the layer. Raises UsageError for an unknown name, with those that are near."""
        from graft.encoders.graphs import InnerLayer

        graph: Any = self.base.module()
        layers = {name: layer for name, layer in graph.model.named_modules() if name}
        if self.name not in layers:
            near = difflib.get_close_matches(self.name, layers, n=8, cutoff=0.4) or list(layers)[:8]
            raise UsageError(f"{self.base.info.reference} has no layer {self.name!r}. Near it: {', '.join(near)}.")
        return InnerLayer(graph, layers[self.name], self.name, pooled=self.base.info.modality == "image").eval()

    def finish(self, raw: Array, batch: Batch) -> FloatArray:
        """Texts: the mean over tokens. Raises ModelError when the layer's output is neither states nor features."""
        states = np.asarray(raw, np.float32)
        if len(states) != len(next(iter(batch.values()))):
            raise ModelError(
                f"Layer {self.name!r} puts out {len(states)} rows for every batch, so they are no features of its items. Choose another layer."
            )
        if states.ndim == 3 and "attention_mask" in batch and states.shape[1] == batch["attention_mask"].shape[1]:
            states = pool(states, batch["attention_mask"], "mean")
        if states.ndim != 2:
            raise ModelError(
                f"Layer {self.name!r} puts out an array of shape {states.shape}, in which no features can be told. Choose another layer."
            )
        return np.ascontiguousarray(states)

    def classifier(self) -> Classifier | None:
        """None: the classifier reads the last layer."""
        return None


def example(info: EncoderInfo) -> Any:
    """An item to run a model on once: a sentence, or a black picture of the side the model takes."""
    if info.modality == "text":
        return "An example sentence, of some words."
    from PIL import Image

    return Image.new("RGB", (info.image_side or 224,) * 2)
