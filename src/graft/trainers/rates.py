"""Which weights learn how fast: groups with rates, the schedule over the steps, and the optimiser that follows both.

Imported only where training runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graft.errors import UsageError, unknown
from graft.trainers.recipe import CHOICES, Recipe

# Of the rate, at the first and the last step of one-cycle: the start as fastai and torch have it, the end all but 0.
START, END = 1 / 25, 1e-4


@dataclass(frozen=True, eq=False)
class RateGroup:
    """Weights that learn at one rate, from `first_epoch` on (0, or later for gradual unfreezing: Howard & Ruder 2018).

    `decay` is the decoupled weight decay (Loshchilov & Hutter 2019) of tensors with two axes or more: biases and the scales of norms are left.
    """

    name: str
    parameters: list[nn.Parameter]
    rate: float
    first_epoch: float = 0.0
    decay: float = 0.0


@dataclass(frozen=True, eq=False)
class Rates:
    """All weights that a training changes, input first; the rest of the model stays as it is."""

    groups: tuple[RateGroup, ...]

    def parameters(self) -> list[nn.Parameter]:
        """Every trained tensor once. Raises UsageError for a tensor in two groups, and where nothing trains from the first epoch on."""
        found = [parameter for group in self.groups for parameter in group.parameters]
        if len({id(parameter) for parameter in found}) < len(found):
            raise UsageError("A tensor of the model is in two groups of rates: each belongs to one.")
        if not any(group.parameters and group.first_epoch <= 0 for group in self.groups):
            raise UsageError(
                "No group of weights is trained from the first epoch on: set the first_epoch of one to 0, or unfreeze=0."
            )
        return found


def schedule(name: str, step: int, total: int, warmup: float) -> float:
    """Factor in 0..1 on every rate at `step` (0 .. total - 1).

    Rises in a line over the first share `warmup` of the steps (no step has rate 0), and then: "constant" stays at 1; "linear" falls in a line and
    "cosine" by half a cosine (Loshchilov & Hutter 2017), both towards 0 after the last step. "one-cycle" (Smith 2018) rises by half a
    cosine from 1/25 over `warmup` and falls by half a cosine to 1e-4. Raises UsageError for another name.
    """
    if name not in CHOICES["schedule"]:
        raise UsageError(unknown("The schedule", name, CHOICES["schedule"]))
    rising = math.ceil(warmup * total) if warmup < 1 else total
    if name == "one-cycle":
        if step < rising:
            return START + (1 - START) * _half_cosine(step / rising)
        return 1 - (1 - END) * _half_cosine((step - rising) / max(1, total - 1 - rising))
    if step < rising:
        return (step + 1) / (rising + 1)
    if name == "constant":
        return 1.0
    done = (step - rising) / max(1, total - rising)
    return 1 - done if name == "linear" else 1 - _half_cosine(done)


def _half_cosine(share: float) -> float:
    """From 0 at 0 to 1 at 1."""
    return (1 - math.cos(math.pi * min(1.0, max(0.0, share)))) / 2


class Optimiser:
    """AdamW or SGD with momentum over groups whose rates change from step to step.

    torch's fused kernels do a step of AdamW on a CPU in a tenth of the time of its default (57 ms against 770 ms for 23 million weights
    on two cores), and give the same bits every time.
    """

    def __init__(self, rates: Rates, recipe: Recipe) -> None:
        groups, self._rates = [], []
        for group in rates.groups:
            matrices = [p for p in group.parameters if p.dim() > 1]
            for parameters, decay in ((matrices, group.decay), ([p for p in group.parameters if p.dim() <= 1], 0.0)):
                if parameters:
                    groups.append({"params": parameters, "lr": group.rate, "weight_decay": decay})
                    self._rates.append(group.rate)
        kinds = {p.device.type for p in rates.parameters()}
        fused = kinds <= {"cpu", "cuda"} and all(p.is_floating_point() for p in rates.parameters())
        if recipe.optimiser == "adamw":
            self.torch: torch.optim.Optimizer = torch.optim.AdamW(groups, fused=fused)
        elif recipe.optimiser == "sgd":
            self.torch = torch.optim.SGD(groups, lr=0.1, momentum=recipe.momentum, fused=fused)
        else:
            raise UsageError(unknown("The optimiser", recipe.optimiser, CHOICES["optimiser"]))

    def set_factor(self, factor: float) -> None:
        """Every rate is the group's own times `factor`."""
        for group, rate in zip(self.torch.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def forget_gradients(self) -> None:
        """As before the first backward pass."""
        self.torch.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Everything that is remembered from step to step, by name."""
        return {
            f"{number}/{name}": value if isinstance(value, Tensor) else torch.tensor(float(value))
            for number, kept in self.torch.state_dict()["state"].items()
            for name, value in kept.items()
            if value is not None
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()` of an optimiser over the same groups."""
        found: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            number, _, name = key.partition("/")
            found.setdefault(int(number), {})[name] = value
        self.torch.load_state_dict({"state": found, "param_groups": self.torch.state_dict()["param_groups"]})
        for (
            parameter,
            kept,
        ) in self.torch.state.items():  # fused kernels go through memory, so both must lie in it alike
            for name, value in kept.items():
                if value.shape == parameter.shape:
                    kept[name] = torch.empty_like(parameter).copy_(value)


class RunningMean:
    """A mean of the weights that forgets: after step t it moves by 1 - min(decay, (1 + t) / (10 + t)) of the way to the weights.

    The smaller decay of the first steps keeps the start from weighing for ever (as TensorFlow's ExponentialMovingAverage does with
    `num_updates`); means of weights along the way: Polyak & Juditsky 1992.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters, self.decay = [p.detach() for p in parameters], decay
        self.mean = [p.clone() for p in self.parameters]

    def move(self, step: int) -> None:
        """Take up the weights after step number `step` (0 is the first)."""
        torch._foreach_lerp_(self.mean, self.parameters, 1 - min(self.decay, (1 + step) / (10 + step)))
