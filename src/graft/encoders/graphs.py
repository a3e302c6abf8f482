"""The torch modules that encoders run: a pretrained model wrapped to take the arrays of a batch by name and return one tensor.

This is the only file here that imports torch at its top; it is itself imported only where weights are loaded. Shape suffixes: B batch, T tokens,
C channels, H height, W width, D dims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from graft.errors import ModelError


class TokenStates(nn.Module):
    """Hidden states (B, T, D) of a text model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


class TextFeatures(nn.Module):
    """Pooled and projected text features (B, D) of a joint model; `masked` says whether it was trained with an attention mask."""

    def __init__(self, model: Any, masked: bool) -> None:
        super().__init__()
        self.model, self.masked = model, masked

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask if self.masked else None
        features: Tensor = self.model.get_text_features(input_ids=input_ids, attention_mask=mask).pooler_output
        return features


class PictureFeatures(nn.Module):
    """Features (B, D) of 8-bit pictures (B, 3, H, W): scaled and shifted by channel inside the graph, so that pictures travel as bytes.

    `features(model, pixels)` picks what of the model's output stands for the whole picture.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        model: nn.Module,
        features: Callable[[Any, Tensor], Tensor],
        scale: Sequence[float],
        shift: Sequence[float],
    ) -> None:
        super().__init__()
        self.model, self.features = model, features
        self.register_buffer("scale", torch.tensor(scale).view(1, 3, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.features(self.model, pixels.float() * self.scale + self.shift)


class InnerLayer(nn.Module):
    """What an inner layer of another graph puts out, taken by a forward hook.

    Pictures: the mean over space (B, D). Texts: the states (B, T, D), pooled outside the graph with their mask.
    """

    def __init__(self, outer: nn.Module, layer: nn.Module, name: str, pooled: bool) -> None:
        super().__init__()
        self.outer, self.name, self.pooled = outer, name, pooled
        # A layer that works on the last axis keeps channels there; every other four-dimensional output has them second.
        self.channels_last = isinstance(layer, (nn.LayerNorm, nn.Linear))
        self.caught: list[Tensor] = []
        layer.register_forward_hook(self._catch)

    def _catch(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        del layer, inputs
        first = output[0] if isinstance(output, (tuple, list)) else getattr(output, "last_hidden_state", output)
        if isinstance(first, Tensor):
            self.caught.append(first)

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, pixels: Tensor | None = None
    ) -> Tensor:
        self.caught.clear()
        if pixels is not None:
            self.outer(pixels=pixels)
        else:
            self.outer(input_ids=input_ids, attention_mask=attention_mask)
        if not self.caught:
            raise ModelError(
                f"Layer {self.name!r} puts out no tensor when the model runs, so it has no features. Choose another layer."
            )
        states = self.caught[-1].float()
        self.caught.clear()
        if not self.pooled:
            return states
        if states.dim() == 4:
            return states.mean(dim=(1, 2) if self.channels_last else (2, 3))
        return states.mean(dim=1) if states.dim() == 3 else states
