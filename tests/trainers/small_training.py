"""A training that takes milliseconds: points on either side of a plane, and a small network with dropout and a batch norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.trainers.batches import ItemFeed, Prepared
from graft.trainers.loop import Hooks, RateGroup, Rates, TrainingRun, train
from graft.trainers.recipe import Recipe

N, DIMS = 40, 6


class Net(nn.Module):
    """Logits (B, 2) of a batch's "x" (B, 6); a plain one gives the same in training as in evaluation."""

    def __init__(self, seed: int = 0, *, plain: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.lower = nn.Linear(DIMS, 8)
            self.norm = nn.Identity() if plain else nn.BatchNorm1d(8)
            self.upper = nn.Linear(8, 2)
        self.drop = nn.Dropout(0.0 if plain else 0.3)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        out: Tensor = self.upper(self.drop(torch.tanh(self.norm(self.lower(batch["x"])))))
        return out


def stacked(rows: Sequence[Any]) -> dict[str, Any]:
    """Points as a batch."""
    return {"x": np.stack(rows)}


def points(n: int = N, seed: int = 0, **options: Any) -> ItemFeed:
    """A feed of labelled points."""
    x_ND = np.random.default_rng(seed).normal(size=(n, DIMS)).astype(np.float32)
    return ItemFeed(Prepared(x_ND, stacked), torch.from_numpy((x_ND[:, 0] > 0).astype(np.int64)), seed=seed, **options)


def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Cross entropy."""
    return nn.functional.cross_entropy(model(batch), batch["targets"])


def rates(net: nn.Module, rate: float = 0.01, **options: Any) -> Rates:
    """All weights in one group."""
    return Rates((RateGroup("all", list(net.parameters()), rate, **options),))


def validation(feed: ItemFeed) -> Callable[[nn.Module], tuple[float, float | None]]:
    """Mean loss over a feed's items, and no score."""

    def measured(model: nn.Module) -> tuple[float, float | None]:
        losses = [float(loss(model, batch).detach()) * len(batch["targets"]) for batch in feed.ordered(16)]
        return sum(losses) / len(feed), None

    return measured


def trained(net: Net | None = None, recipe: Recipe | None = None, **options: Any) -> tuple[Net, TrainingRun]:
    """A small training from start to end: two epochs of ten steps unless the recipe says otherwise."""
    net = net or Net()
    given: dict[str, Any] = {
        "feed": points(),
        "objective": loss,
        "rates": rates(net),
        "seed": 0,
        "hooks": Hooks(),
    } | options
    run = train(net, recipe=recipe or Recipe(epochs=2, batch=4), **given)
    return net, run


def bits(net: nn.Module) -> dict[str, bytes]:
    """Every weight and buffer, bit for bit."""
    return {name: tensor.numpy().tobytes() for name, tensor in net.state_dict().items()}
