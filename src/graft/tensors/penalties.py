"""Against forgetting: penalties that hold weights near where they started, and how far they went.

Weights are mappings from `named_parameters()` names to tensors. A penalty is made once from the start and called at every step; it is in float32 and
has gradients to the model's weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from graft.errors import ModelError, UsageError, unknown

Penalty = Callable[[], Tensor]
FISHER_LABELS = ("drawn", "expected", "given")


class Depth(Protocol):
    """Weights of one depth of a model, as `trainers.body.Group` has them."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> Sequence[str]: ...


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter as it is now, by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def l2sp(model: nn.Module, before: Mapping[str, Tensor], weight: float, *, others: float = 0.0) -> Penalty:
    """weight / 2 |w - w0|^2 over the trained weights that `before` holds, others / 2 |w|^2 over those it does not: L2-SP (Li et al. 2018).

    `before` are the pretrained weights w0; a new head is not among them. Trained are those that require gradients when the penalty is called, so
    layers may thaw later. Raises ModelError where the model has none of these weights, or shapes differ; UsageError for negative weights.
    """
    _check_weight("l2sp", weight)
    _check_weight("l2sp of other weights", others)
    held = _held(model, before, {})
    free = [parameter for name, parameter in model.named_parameters() if name not in before] if others else []

    def penalty() -> Tensor:
        near = _sum([(one.now - one.start_here()).square().sum() for one in held if one.now.requires_grad])
        small = _sum([now.square().sum() for now in free if now.requires_grad])
        return weight / 2 * near + others / 2 * small

    return penalty


def ewc(model: nn.Module, before: Mapping[str, Tensor], fisher: Mapping[str, Tensor], weight: float) -> Penalty:
    """weight / 2 * sum of F (w - w0)^2 over the trained weights: elastic weight consolidation (Kirkpatrick et al. 2017).

    `fisher` says how much each weight mattered for the old task (`fisher_diagonal` at w0 on its data); weights without an entry in both
    mappings are free. Raises ModelError where there is none to hold, or shapes differ; UsageError for a negative weight.
    """
    _check_weight("ewc", weight)
    held = _held(model, {name: start for name, start in before.items() if name in fisher}, fisher)

    def penalty() -> Tensor:
        trained = [one for one in held if one.now.requires_grad]
        return weight / 2 * _sum([(one.factor_here() * (one.now - one.start_here()).square()).sum() for one in trained])

    return penalty


def fisher_diagonal(
    model: nn.Module,
    batches: Iterable[dict[str, Tensor]],
    *,
    n: int = 200,
    labels: str = "drawn",
    seed: int = 0,
) -> dict[str, Tensor]:
    """Mean over the first `n` items of the squared gradient of log p(y | x), for each trained weight: the diagonal of Fisher's information.

    The model gives logits (B, C) of a batch; it is run item by item, as it is (put it into evaluation mode), one way back an item. y is
    "drawn" from the model's own p(y | x) (an unbiased estimate; the default), "expected" under it (exact, one way back for every class), or
    "given" as the batch's codes `targets` (the empirical Fisher, which is another thing: Kunstner et al. 2019). Gradients are left as they
    were. Raises UsageError for other `labels` and for no items.
    """
    if labels not in FISHER_LABELS:
        raise UsageError(unknown("The choice of Fisher's labels", labels, FISHER_LABELS))
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    weights = list(trained.values())
    sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights]
    generator, seen = torch.Generator().manual_seed(seed), 0
    for item in _single(batches, n):
        log_p_C = log_softmax(model(item).float(), dim=1)[0]
        seen += 1
        p_C = log_p_C.detach().exp()
        if labels == "expected":
            ways = [(code, float(p)) for code, p in enumerate(p_C)]
        elif labels == "drawn":
            ways = [(int(torch.multinomial(p_C.cpu(), 1, generator=generator)), 1.0)]
        else:
            ways = [(int(item["targets"][0]), 1.0)]
        for at, (code, share) in enumerate(ways):
            found = torch.autograd.grad(log_p_C[code], weights, retain_graph=at + 1 < len(ways), allow_unused=True)
            for total, gradient in zip(sums, found, strict=True):
                if gradient is not None:
                    total.add_(share * gradient.float().square())
    if not seen:
        raise UsageError("Fisher's information needs at least one item; there are none.")
    return {name: total / seen for name, total in zip(trained, sums, strict=True)}


def drift(before: Mapping[str, Tensor], model: nn.Module, groups: Iterable[Depth]) -> dict[str, tuple[float, float]]:
    """How far the weights of each group went: (|w - w0|, |w - w0| / |w0|), Euclidean over all numbers of the group.

    `before` is a `snapshot`; `model` the one whose names the groups use. Where the group started at zero the second number is 0 if it still
    is there, else 1. Raises ModelError for a name that `before` or the model lacks.
    """
    now = dict(model.named_parameters())
    found: dict[str, tuple[float, float]] = {}
    for group in groups:
        if lacking := [name for name in group.parameters if name not in before or name not in now]:
            raise ModelError(f"Group {group.name!r} names weights that are not known: {', '.join(lacking[:3])}.")
        moved = start = 0.0
        for name in group.parameters:
            old = before[name].detach().double()
            moved += float((now[name].detach().to(old) - old).square().sum())
            start += float(old.square().sum())
        relative = math.sqrt(moved / start) if start else float(moved > 0)
        found[group.name] = (math.sqrt(moved), relative)
    return found


def _single(batches: Iterable[dict[str, Tensor]], n: int) -> Iterable[dict[str, Tensor]]:
    """The first n items, as batches of one."""
    left = n
    for batch in batches:
        size = min(left, len(next(iter(batch.values()))))
        yield from ({name: tensor[at : at + 1] for name, tensor in batch.items()} for at in range(size))
        left -= size
        if left <= 0:
            return


class _Held:
    """A weight, where it started, and how much it matters; both follow it when the model is put on another device."""

    def __init__(self, now: nn.Parameter, start: Tensor, factor: Tensor | None) -> None:
        self.now, self._start, self._factor = now, start.detach(), factor
        if start.data_ptr() == now.data_ptr():  # the model's own tensor, as state_dict() gives it: it would move along
            self._start = self._start.clone()

    def start_here(self) -> Tensor:
        self._start = self._start.to(self.now)
        return self._start

    def factor_here(self) -> Tensor:
        self._factor = torch.ones_like(self.now) if self._factor is None else self._factor.to(self.now)
        return self._factor


def _held(model: nn.Module, before: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> list[_Held]:
    """The model's weights that `before` has. Raises ModelError where there are none, or shapes differ."""
    known = {name: parameter for name, parameter in model.named_parameters() if name in before}
    if not known:
        names = [name for name, _ in model.named_parameters()]
        raise ModelError(
            f"None of the weights has a start to be held near: the model has {', '.join(names[:3]) or 'none'}, "
            f"the start {', '.join([*before][:3]) or 'none'}."
        )
    if wrong := [n for n, p in known.items() if {p.shape} != {before[n].shape, factors.get(n, before[n]).shape}]:
        raise ModelError(f"These weights have another shape than at their start: {', '.join(wrong[:3])}.")
    return [_Held(now, before[name], factors.get(name)) for name, now in known.items()]


def _sum(parts: Sequence[Tensor]) -> Tensor:
    # where all is frozen the zero still has a way back, so that a loop need not ask
    return torch.stack(list(parts)).sum() if parts else torch.zeros((), requires_grad=True)


def _check_weight(name: str, weight: float) -> None:
    if not weight >= 0:
        raise UsageError(f"{name}={weight}: a penalty's weight is 0 or more.")
