"""What every encoder is: facts read without weights, preparation of items, a torch module, and the last step outside it.

An encoder never runs itself: `runtime.open_runner` runs `module()` (through OpenVINO or torch) and the engine puts the parts together:
`finish(run(collate(prepare(items))))`. Shape suffixes: B items of a batch, T tokens, D dims, K classes, CHW channel, row, column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float32]
Array = NDArray[Any]
Prepared = NDArray[Any]  # one item: int64 token ids (T,), or uint8 pixels (3, H, W)
Batch = dict[str, Array]  # arguments of the module's forward by name, first axis B


@dataclass(frozen=True)
class EncoderInfo:
    """Facts about an encoder, had from its small files and the hash of its weights; torch is not imported for them.

    `fingerprint` (64 hex digits) changes with weights, configuration, tokenizer or preprocessing, so it may key stored vectors. Vectors of
    two encoders may be compared if and only if their `space` is equal. `modality` is what it takes: "text", "image", or "joint" for an
    encoder of both, whose towers are had by `open_encoder(reference, modality=...)`. `image_side` is the side in pixels the model sees
    after preprocessing (before a crop, so that pictures decoded at a smaller scale stay large enough), `max_tokens` where texts are cut.
    """

    reference: str
    fingerprint: str
    space: str
    dim: int
    modality: str
    normalised: bool
    max_tokens: int | None = None
    image_side: int | None = None
    licence: str | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Classifier:
    """The last linear layer of a classifier: class logits of features x_D are `weight_KD @ x_D + bias_K`; `names` say the K classes."""

    weight: FloatArray
    bias: FloatArray
    names: tuple[str, ...]


@runtime_checkable
class Encoder(Protocol):
    """A pretrained function from items to vectors, in the parts an engine needs to run it fast."""

    @property
    def info(self) -> EncoderInfo:
        """Facts; the first call may hash the weights (remembered by path, size and time of change)."""

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        """Items (str, or PIL pictures in RGB) as small arrays, in order; safe to call from several threads."""

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        """Prepared items as one batch: texts are padded to the longest, pictures stacked."""

    def module(self) -> torch.nn.Module:
        """The weights as a torch module in float32, whose forward takes the arrays of `collate` by name and returns one tensor.

        Raises ModelError when weights are missing, do not fit, or would need code from the model's folder.
        """

    def finish(self, raw: Array, batch: Batch) -> FloatArray:
        """The module's output as vectors (B, D): pools and normalises in float32, outside the graph, where half precision would cost fidelity."""

    def classifier(self) -> Classifier | None:
        """The classifier these features came from, or None when there is none."""
