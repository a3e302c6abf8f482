"""The small CNN that several studies train from nothing: few pictures of a set, the network, one training of it, its answers.

Legend: N pictures, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from graft.data.dataset import Dataset
from graft.data.read import read
from graft.data.splits import take_shots
from graft.encoders.tuned import new_network
from graft.strategies.items import Items
from graft.tensors.augment import Transform
from graft.tensors.objectives import Objective, classification
from graft.trainers.batches import ItemFeed, Prepared
from graft.trainers.body import open_body
from graft.trainers.loop import Hooks, RateGroup, Rates, TrainingRun, train
from graft.trainers.networks import WholeNetwork
from graft.trainers.recipe import Recipe

Codes = NDArray[np.int64]
Logits = NDArray[np.float64]
EVALUATED = 64  # pictures a forward pass takes


@dataclass(frozen=True, eq=False)
class Pictures:
    """N pictures as the network takes them, with the codes of their classes."""

    rows: Prepared
    y_N: Codes
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.y_N)

    def take(self, index: Codes) -> Pictures:
        """The pictures at these positions."""
        return Pictures(self.rows.take(index), self.y_N[index], self.classes)

    def pixels(self, count: int) -> NDArray[np.uint8]:
        """Bytes of the first `count` of them."""
        return np.stack([np.asarray(self.rows.rows[i]) for i in range(min(count, len(self)))])


def positions(dataset: Dataset, shots: int, tested: int, seeds: Sequence[int]) -> tuple[Mapping[int, Codes], Codes]:
    """`shots` training items a class for each seed, and the first `tested` test items a class, the same for all seeds."""
    official = dataset.test_mask if dataset.test_mask is not None else np.arange(len(dataset)) % 3 == 0
    left = np.flatnonzero(~official)
    train_of = {seed: left[take_shots(dataset.labels[left], shots, seed)] for seed in seeds}
    test = [np.flatnonzero(official & (dataset.labels == c))[:tested] for c in range(len(dataset.classes))]
    return train_of, np.concatenate(test)


def draw(data: str, shots: int, tested: int, seeds: Sequence[int], side: int) -> tuple[dict[int, Pictures], Pictures]:
    """Training pictures by seed, and test pictures, of `side` x `side`; see `positions`."""
    dataset = read(data)
    train_of, test = positions(dataset, shots, tested, seeds)
    used = np.unique(np.concatenate([test, *train_of.values()]))
    whole = prepared(dataset.take(used), side)
    return {s: whole.take(np.searchsorted(used, i)) for s, i in train_of.items()}, whole.take(
        np.searchsorted(used, test)
    )


def prepared(dataset: Dataset, side: int) -> Pictures:
    """All pictures of a set, decoded once."""
    network = new_network("image", {"side": side})
    items = Items.of(network, dataset.contents, np.zeros((len(dataset), 1), np.float32), dataset.classes)
    return Pictures(items.rows(), dataset.labels, dataset.classes)


def network(
    n_classes: int, *, seed: int, side: int, width: int = 16, kernel: int = 3, dropout: float = 0.0
) -> WholeNetwork:
    """A new CNN under a linear head; `seed` draws the weights of both. Dropout lies between them."""
    body = open_body(new_network("image", {"side": side, "width": width, "kernel": kernel, "seed": seed}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = nn.Linear(body.dim, n_classes)
    return WholeNetwork(body, nn.Sequential(nn.Dropout(dropout), linear))


def learn(
    model: nn.Module,
    pictures: Pictures,
    recipe: Recipe,
    *,
    seed: int,
    order: int | None = None,
    transforms: Sequence[Transform] = (),
    objective: Objective | None = None,
    evaluate: Callable[[nn.Module], tuple[float, float | None]] | None = None,
    hooks: Hooks | None = None,
) -> TrainingRun:
    """Train all weights at `recipe.rate`; `order` seeds the shuffling (default: `seed`), `seed` all that is random in a step."""
    targets = torch.from_numpy(pictures.y_N)
    feed = ItemFeed(pictures.rows, targets, seed=seed if order is None else order, transforms=transforms)
    rates = Rates((RateGroup("all", list(model.parameters()), recipe.rate or 0.0, 0.0, recipe.weight_decay),))
    found = objective or classification(label_smoothing=recipe.label_smoothing)
    return train(model, feed, found, rates, recipe, seed=seed, evaluate=evaluate, hooks=hooks or Hooks())


def logits(model: nn.Module, pictures: Pictures) -> Logits:
    """(N, C) in evaluation mode; the model is left in the mode it was in."""
    mode, found = model.training, []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(pictures), EVALUATED):
            batch = pictures.rows.batch(np.arange(start, min(start + EVALUATED, len(pictures))))
            found.append(model(batch).double().numpy())
    model.train(mode)
    return np.concatenate(found)


def loss(logits_NC: Logits, y_N: Codes) -> float:
    """Mean cross entropy in nats."""
    shifted = logits_NC - logits_NC.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y_N)), y_N]))


def accuracy(logits_NC: Logits, y_N: Codes) -> float:
    """Share of right answers."""
    return float(np.mean(logits_NC.argmax(axis=1) == y_N))
