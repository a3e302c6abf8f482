"""What a network weighs and costs: parameters by layer, bytes of a training step, multiplications, and the largest batch for a memory.

Activations are not guessed from shapes: a forward pass of one item and one of two are run and what they keep for the backward pass is counted, as
the training loop does to cut its batches; both grow by the same amount an item, from which every other batch follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graft import settings
from graft.encoders.base import Batch, Encoder
from graft.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from graft.trainers.body import Body

FLOAT = 4  # bytes of a number: training keeps weights in f32 whatever it computes in
STATES: Mapping[str, int] = {"sgd": 0, "momentum": 1, "adam": 2}  # numbers an optimiser keeps for each weight
TOKENS = 128
BACKWARD = 2  # passes forward that one backward is worth: gradients of the inputs, and of the weights
CONVENTION = "a multiply-add counts as two; matrix products, convolutions and attention are counted, a backward pass as two forward"


@dataclass(frozen=True)
class Layer:
    """A module with weights of its own: its name, its class, the depth it belongs to, and its numbers."""

    name: str
    kind: str
    depth: str
    parameters: int


@dataclass(frozen=True)
class Bill:
    """What training with one optimiser takes: `state` bytes of its own, `fixed` with weights and gradients, `step` with the activations of the batch and
    what a backward pass needs besides; `largest` is the largest batch for the memory (0: not one item fits).
    """

    optimiser: str
    state: int
    fixed: int
    step: int
    largest: int


@dataclass(frozen=True)
class ModelCount:
    """Numbers, bytes and operations of an encoder's network.

    `kept` bytes of activations are kept for the backward pass of a batch of `batch`, as predicted from batches of one and two (`kept_item` more
    for each item); `measured` is what torch kept of such a batch, None where it was not run for want of memory. `forward` and `training` count
    an item's operations of a forward pass, and of forward and backward pass (torch's own counter takes depthwise convolutions for dense ones
    on the way back). `unused` numbers of the pretrained model do not shape the vector.
    """

    reference: str
    input: str
    parameters: int
    unused: int
    depths: Mapping[str, int]
    layers: tuple[Layer, ...]
    weights: int
    gradients: int
    batch: int
    kept_item: int
    kept: int
    measured: int | None
    forward: int
    training: int
    memory: int
    bills: tuple[Bill, ...]
    convention: str = CONVENTION
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())


def count(encoder: Encoder, *, batch: int, tokens: int, memory_bytes: float | None) -> ModelCount:
    """Count an encoder's network, all of its weights trained.

    `batch` items a step, texts of `tokens` tokens (at most as many as the encoder reads). `memory_bytes` None: what is free now.
    Raises UsageError for numbers below one, ModelError for weights that cannot be used.
    """
    from graft.trainers import memory
    from graft.trainers.body import open_body

    _check(batch, tokens, memory_bytes)
    body = open_body(encoder).train()
    one = _item(encoder, tokens)
    kept = [_kept(body, _batch_of(one, n)) for n in (1, 2)]
    item = kept[1] - kept[0]
    predicted = kept[0] + (batch - 1) * item
    free = settings.free_memory()
    measured = None
    if batch <= 2:
        measured = kept[batch - 1]
    elif free is None or predicted * memory.MARGIN <= memory.SHARE * free:
        measured = _kept(body, _batch_of(one, batch))
    weights = sum(p.nbytes for p in body.parameters())
    room = memory_bytes if memory_bytes is not None else free or 0.0
    forward = _operations(body, one)
    sizes = {name: p.numel() for name, p in body.named_parameters()}
    return ModelCount(
        reference=encoder.info.reference,
        input=_input(encoder, one),
        parameters=sum(sizes.values()),
        unused=_unused(encoder, sizes),
        depths={group.name: sum(sizes[name] for name in group.parameters) for group in body.groups()},
        layers=_layers(body),
        weights=weights,
        gradients=weights,
        batch=batch,
        kept_item=item,
        kept=predicted,
        measured=measured,
        forward=forward,
        training=(1 + BACKWARD) * forward,
        memory=int(room),
        bills=_bills(weights, item, predicted - batch * item, batch, room),
        notes=()
        if measured is not None
        else ("The batch was not run to be measured: it would take more than half of the free memory.",),
    )


def _bills(weights: int, item: int, once: int, batch: int, room: float) -> tuple[Bill, ...]:
    """What each optimiser takes; activations are `once` bytes and `item` more for each item."""
    from graft.trainers.memory import MARGIN, most_items

    return tuple(
        Bill(
            optimiser,
            states * weights,
            (2 + states) * weights,
            int((2 + states) * weights + MARGIN * (once + batch * item)),
            most_items(item * MARGIN, (2 + states) * weights + MARGIN * once, room),
        )
        for optimiser, states in STATES.items()
    )


def _check(batch: int, tokens: int, memory_bytes: float | None) -> None:
    problems = []
    if batch < 1:
        problems.append(f"--batch {batch}: at least 1 item.")
    if tokens < 1:
        problems.append(f"--tokens {tokens}: at least 1 token.")
    if memory_bytes is not None and not 0 < memory_bytes < float("inf"):
        problems.append(f"--memory {memory_bytes / 2**30:g}: gigabytes above 0.")
    if problems:
        raise UsageError(" ".join(problems))


def _item(encoder: Encoder, tokens: int) -> Batch:
    """A batch of one picture, or of one text of so many tokens."""
    from graft.encoders.layers import example

    if encoder.info.modality == "text":
        (prepared,) = encoder.prepare(["graft " * tokens])
        return encoder.collate([np.asarray(prepared)[:tokens]])
    return encoder.collate(encoder.prepare([example(encoder.info)]))


def _batch_of(one: Batch, n: int) -> Batch:
    return {name: np.repeat(array, n, axis=0) for name, array in one.items()}


def _input(encoder: Encoder, one: Batch) -> str:
    if encoder.info.modality == "text":
        return f"{max(array.shape[-1] for array in one.values())} tokens"
    side = one["pixels"].shape[-2:]
    return f"{side[0]} × {side[1]} pixels"


def _kept(body: Body, batch: Batch) -> int:
    """Bytes that a forward pass keeps for the backward pass; the seed draws dropout and dropped paths alike."""
    import torch

    from graft.trainers.memory import kept_bytes

    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    known = {p.untyped_storage().data_ptr() for p in body.parameters()}
    buffers = [buffer.clone() for buffer in body.buffers()]
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        return kept_bytes(lambda: body(tensors), known)
    finally:
        torch.random.set_rng_state(state)
        for buffer, before in zip(body.buffers(), buffers, strict=True):
            buffer.copy_(before)


def _operations(body: Body, one: Batch) -> int:
    """Operations of an item's forward pass."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    tensors = {name: torch.from_numpy(array) for name, array in one.items()}
    body.eval()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        body(tensors)  # attention as matrix products, which are counted on every device
    return int(counter.get_total_flops())


def _layers(body: Body) -> tuple[Layer, ...]:
    """Modules with weights of their own, in the order they are held; weights that two modules share count for the first."""
    depth = {name: group.name for group in body.groups() for name in group.parameters}
    seen: set[int] = set()
    found = []
    for name, module in body.named_modules():
        own = [(key, p) for key, p in module.named_parameters(recurse=False) if id(p) not in seen]
        seen |= {id(p) for _, p in own}
        if own:
            first = f"{name}.{own[0][0]}" if name else own[0][0]
            found.append(Layer(name, type(module).__name__, depth.get(first, ""), sum(p.numel() for _, p in own)))
    return tuple(found)


def _unused(encoder: Encoder, sizes: Mapping[str, int]) -> int:
    module: nn.Module = encoder.module()
    return sum(p.numel() for p in module.parameters()) - sum(sizes.values())
