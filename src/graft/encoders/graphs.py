"""The torch modules that encoders run: a pretrained model wrapped to take the arrays of a batch by name and return one tensor.

This is the only file here that imports torch at its top; it is itself imported only where weights are loaded. Shape suffixes: B batch, T tokens,
C channels, H height, W width, D dims, P prompt vectors, L layers, N heads.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from graft.encoders.text import OFFSET_POSITIONS
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


# -- what tuning adds -------------------------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    """x + up(gelu(down(x))): an adapter of `width` channels (Houlsby et al. 2019) on the last axis, or on the second for feature maps.

    `up` starts at zero, so that at first nothing is changed.
    """

    def __init__(self, channels: int, width: int, maps: bool) -> None:
        super().__init__()
        self.down: nn.Module = nn.Conv2d(channels, width, 1) if maps else nn.Linear(channels, width)
        self.up: nn.Module = nn.Conv2d(width, channels, 1) if maps else nn.Linear(width, channels)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        inner = nn.functional.gelu(self.down(x))
        return x + torch.as_tensor(self.up(inner))


def attach_bottleneck(layer: nn.Module, width: int) -> Bottleneck:
    """Put a bottleneck behind a linear layer, a convolution or a batch norm, as its child `adapter`: no name of the model changes.

    Raises ModelError for another layer, or one that has an adapter.
    """
    inner = getattr(layer, "base_layer", layer)  # LoRA wraps the layer
    channels = next(
        (n for k in ("out_features", "out_channels", "num_features") if (n := getattr(inner, k, None))), None
    )
    if channels is None or hasattr(layer, "adapter"):
        raise ModelError(f"A {type(layer).__name__} takes no bottleneck adapter, or has one already.")
    adapter = Bottleneck(channels, width, maps=not isinstance(inner, nn.Linear))
    layer.add_module("adapter", adapter)
    layer.register_forward_hook(_through_adapter)
    return adapter


def _through_adapter(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    del inputs
    adapted: Tensor = layer.adapter(output)  # type: ignore[operator]
    return adapted


class PromptedStates(nn.Module):
    """Hidden states (B, T, D) of a text model that attends to P trained vectors besides the text; none of them is put out.

    `prompt` (P, D) stands among the word embeddings (prompt tuning, Lester et al. 2021), or `prefix` (P, 2 L D) among every layer's keys and values
    (prefix tuning, Li & Liang 2021), as peft lays it out. Unlike in peft the text keeps its positions, and the prompt has the last of the table:
    texts lose no length to it, and untrained vectors change those of MiniLM less (cosine 0.96 to 0.98 against 0.62 to 0.85, prefixes 0.98 to 0.99
    against 0.85 to 0.96).
    """

    def __init__(self, model: Any, kind: str, vectors: Tensor) -> None:
        super().__init__()
        self.model, self.kind = model, kind
        self.register_parameter(kind, nn.Parameter(vectors))
        config = model.config
        self.length = len(vectors)
        self.first = (config.pad_token_id or 0) + 1 if config.model_type in OFFSET_POSITIONS else 0
        self.end = int(config.max_position_embeddings)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        texts = torch.arange(input_ids.shape[1], device=input_ids.device) + self.first
        seen = attention_mask.new_ones((input_ids.shape[0], self.length))
        states: Tensor
        if self.kind == "prompt":
            words = self.model.get_input_embeddings()(input_ids)
            more = self.get_parameter("prompt").expand(words.shape[0], -1, -1)
            ends = torch.arange(self.end - self.length, self.end, device=input_ids.device)
            states = self.model(
                inputs_embeds=torch.cat([words, more], dim=1),
                attention_mask=torch.cat([attention_mask, seen], dim=1),
                position_ids=torch.cat([texts, ends])[None],
            ).last_hidden_state
            return states[:, : input_ids.shape[1]]
        states = self.model(
            input_ids=input_ids,
            attention_mask=torch.cat([seen, attention_mask], dim=1),
            position_ids=texts[None],
            past_key_values=self._kept(input_ids.shape[0]),
        ).last_hidden_state
        return states

    def _kept(self, batch: int) -> Any:
        """Keys and values of every layer (B, N, P, D / N)."""
        from transformers import DynamicCache

        config = self.model.config
        heads = config.num_attention_heads
        parts = self.get_parameter("prefix").view(self.length, 2 * config.num_hidden_layers, heads, -1)
        parts_LNPD = parts.permute(1, 2, 0, 3)[:, None].expand(-1, batch, -1, -1, -1)
        pairs = [(parts_LNPD[place], parts_LNPD[place + 1]) for place in range(0, len(parts_LNPD), 2)]
        cache = DynamicCache(pairs)
        # The cache joins each pair to an empty tensor, which is no step of a graph that OpenVINO could follow.
        for layer, (keys, values) in zip(cache.layers, pairs, strict=True):
            layer.keys, layer.values = keys, values
        return cache


def prompted(graph: Any, kind: str, vectors: Tensor) -> PromptedStates:
    """A text model's graph with prompt or prefix vectors.

    Raises ModelError where the model has no text states to attend to, does not take the vectors, or they have another shape.
    """
    if not isinstance(graph, TokenStates):
        raise ModelError(
            f"A {kind} is for the states of a text transformer, which this encoder's graph does not put out."
        )
    model: Any = graph.model
    config, takes = model.config, inspect.signature(model.forward).parameters
    needed = {"position_ids", "inputs_embeds" if kind == "prompt" else "past_key_values"}
    if not needed <= set(takes) or not isinstance(getattr(config, "max_position_embeddings", None), int):
        raise ModelError(f"A text model of type {config.model_type} takes no {kind}. Take lora or adapters.")
    words = model.get_input_embeddings().weight
    width = words.shape[1] if kind == "prompt" else 2 * config.num_hidden_layers * config.hidden_size
    if vectors.ndim != 2 or vectors.shape[1] != width or len(vectors) > config.max_position_embeddings:
        raise ModelError(f"The {kind} has shape {tuple(vectors.shape)} instead of (length, {width}).")
    return PromptedStates(model, kind, vectors)


# -- small networks ---------------------------------------------------------------------------------------------------


class SmallConvolutions(nn.Module):
    """Maps (B, 3, H, W) of 0..1 to the mean over space of three blocks (B, 4 `width`): convolution, group norm or none, ReLU, and between them halving.

    Group norm knows no statistics of a batch, so that small batches train it and evaluation is the same function.
    """

    def __init__(self, width: int, kernel: int, norm: bool) -> None:
        super().__init__()
        channels = (3, width, 2 * width, 4 * width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.MaxPool2d(2) if place else nn.Identity(),
                nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=not norm),
                nn.GroupNorm(math.gcd(8, after), after) if norm else nn.Identity(),
                nn.ReLU(),
            )
            for place, (before, after) in enumerate(pairwise(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x.mean(dim=(2, 3))


class BagOfWords(nn.Module):
    """The mean of word embeddings (`vocabulary`, `dim`), then one hidden layer with ReLU: (B, T) ids to (B, `dim`) features."""

    def __init__(self, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, dim)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(dim, dim), nn.ReLU())])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask[..., None].to(self.words.weight.dtype)
        x: Tensor = (self.words(input_ids) * mask).sum(dim=1) / mask.sum(dim=1)
        for block in self.blocks:
            x = block(x)
        return x


class WordFeatures(nn.Module):
    """Features (B, D) of a network that takes ids and mask."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        features: Tensor = self.model(input_ids, attention_mask)
        return features


def small_network(config: Mapping[str, Any]) -> nn.Module:
    """The graph of a small network with weights drawn by `config["seed"]`; `encoders.tuned.new_network` says what the settings are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        if config["network"] == "bag":
            return WordFeatures(BagOfWords(config["vocabulary"], config["dim"])).eval()
        network = SmallConvolutions(config["width"], config["kernel"], config["norm"] == "group")
    scale, shift = (1 / 64,) * 3, (-2.0,) * 3  # bytes to about -2 .. 2
    return PictureFeatures(network, _run, scale, shift).eval()


def _run(model: Any, x: Tensor) -> Tensor:
    features: Tensor = model(x)
    return features
