"""What studies of small trained networks share: pictures drawn by a seed, a network made by `graft pretrain`, and one training told in numbers.

Legend: N items, C classes, D dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import graft
from graft.data.dataset import Content, Dataset
from graft.data.read import read
from graft.data.splits import folds, save_split, take_shots
from graft.encoders.open import open_encoder
from graft.selection.trials import Plan, measure
from graft.strategies.frozen import STRATEGIES, Task
from graft.strategies.items import Items
from graft.strategies.trained import TRAINED

if TYPE_CHECKING:
    from graft.fitting.pretraining import PretrainResult
    from graft.strategies.tuning import Outcome

Codes = NDArray[np.int64]
FOLDS = 4  # by which the strength of a probe is chosen


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some items of a set: their positions in it, and labels (N,) in 0..C-1 over the set's classes or over `only` those asked for."""

    dataset: Dataset = field(repr=False)
    positions: Codes
    y_N: Codes
    classes: tuple[str, ...]

    @property
    def ids(self) -> list[str]:
        """As the set names them."""
        return [self.dataset.ids[i] for i in self.positions]

    @property
    def contents(self) -> list[Content]:
        """Where the pictures lie."""
        return [self.dataset.contents[i] for i in self.positions]

    def vectors(self, encoder: str) -> NDArray[np.float32]:
        """By the encoder of a reference."""
        return np.asarray(graft.open_encoder(encoder).encode(self.contents), np.float32)

    def items(self, encoder: str) -> Items:
        """As trained strategies take them."""
        return Items.of(open_encoder(encoder), self.contents, self.vectors(encoder), self.classes)


def draw(name: str, shots: int, tested: int, seed: int, only: Sequence[int] | None = None) -> tuple[Pictures, Pictures]:
    """`shots` items a class to learn from, drawn by the seed, and the first `tested` a class to be judged on, the same for all seeds.

    Where a set has no official test part every third item stands in for it. `only` are the classes to draw from, by code.
    """
    dataset = read(name)
    chosen = np.arange(len(dataset.classes)) if only is None else np.asarray(only)
    official = dataset.test_mask if dataset.test_mask is not None else np.arange(len(dataset)) % 3 == 0
    inside = np.isin(dataset.labels, chosen)
    pool = np.flatnonzero(~official & inside)
    train = pool[take_shots(dataset.labels[pool], shots, seed)]
    test = np.concatenate([np.flatnonzero(official & (dataset.labels == c))[:tested] for c in chosen])
    classes = tuple(dataset.classes[c] for c in chosen)
    codes = {int(c): place for place, c in enumerate(chosen)}
    made = [
        Pictures(dataset, positions, np.array([codes[int(c)] for c in dataset.labels[positions]], np.int64), classes)
        for positions in (np.sort(train), test)
    ]
    return made[0], made[1]


def some(pictures: Pictures, count: int, seed: int) -> Pictures:
    """`count` of them at random, whatever their classes."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(pictures.positions))[:count])
    return Pictures(pictures.dataset, pictures.positions[chosen], pictures.y_N[chosen], pictures.classes)


def small_network(
    source: tuple[Pictures, Pictures], recipe: str, seed: int, folder: Path
) -> tuple[str, PretrainResult]:
    """The reference of the encoder that `graft pretrain` makes of the first pictures, judged on the second, and what it says of it."""
    learned, judged = source
    split = folder.with_suffix(".json")
    save_split(split, learned.ids, judged.ids)
    result = graft.pretrain(learned.dataset.source, supervised=True, split=split, train=recipe, seed=seed, out=folder)
    return f"dir:{folder}", result


Probe = tuple[str, Mapping[str, Any]]


def chosen_probe(x_ND: NDArray[np.float32], y_N: Codes, n_classes: int, seed: int) -> Probe:
    """The linear probe with the strength that cross-validation on these items chooses, as `graft fit` starts from it."""
    probe = STRATEGIES["linear-probe"]
    drawn = folds(y_N, None, FOLDS, 1, np.random.default_rng(seed))
    trial = measure(
        probe, x_ND, y_N, Task(n_classes), Plan(tuple(drawn), FOLDS, 1), metric="accuracy", over=lambda: False
    )
    assert trial is not None
    return probe.name, trial.settings


def train(
    strategy: str,
    given: Mapping[str, Any],
    items: Items,
    y_N: Codes,
    n_classes: int,
    seed: int,
    *,
    held: tuple[Items, Codes] | None = None,
    probe: Probe | None = None,
) -> Outcome:
    """One training of a rung of Graft's ladder with these settings; losses on `held` are told by epoch, and nothing is chosen by them.

    `probe` is what a head starts from that starts from a fitted one (None: as the rung has it).
    """
    from graft.strategies.tuning import Job, tune

    rung = TRAINED[strategy].with_given(given, probe)
    return tune(rung, items, y_N, Task(n_classes), Job(rung.recipe(items.encoder.info.modality), seed=seed, held=held))


def accuracy(logits_NC: NDArray[Any], y_N: Codes) -> float:
    """Share right."""
    return float((logits_NC.argmax(axis=1) == y_N).mean())


def losses(outcome: Outcome) -> dict[str, list[float]]:
    """Mean loss by epoch on the items learned from (while they are learned from) and on the held-out ones."""
    epochs = outcome.record.epochs
    return {
        "train": [round(e.loss, 4) for e in epochs],
        "held": [round(e.validation_loss, 4) for e in epochs if e.validation_loss is not None],
    }


def mean_by_epoch(runs: Sequence[Sequence[float]]) -> list[float]:
    """The mean over trainings of equal length."""
    return [round(float(value), 4) for value in np.mean(np.asarray(runs), axis=0)]
