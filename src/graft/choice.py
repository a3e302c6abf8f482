"""Which strategy to take, from what was measured and from what is known beforehand, and the reasons in words.

**Shrunk scores.** With few labels a fold's score says little. Each mean is therefore blended with what is expected of the strategy at
this number of labels a class: shrunk = (n * mean + m * (base + advantage)) / (n + m), where n counts the items measured on, m is
`PSEUDO_ITEMS`, `advantage` is `ADVANTAGE` (points over the linear probe) and base, the same for all, is the mean over the strategies
measured of mean - advantage. With n much larger than m the measurement alone decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.metrics.intervals import corrected_resampled_t
from graft.results import Interval

Floats = NDArray[np.float64]

HALF_A_POINT = 0.005
PSEUDO_ITEMS = 100.0
LABELS = (1, 2, 5, 10, 20, 50, 100)
ADVANTAGE: Mapping[str, tuple[float, ...]] = {
    "zero-shot": (0.0, 0.0, -0.05, -0.1, -0.15, -0.2, -0.25),
    "prototypes": (0.0, 0.0, -0.01, -0.02, -0.03, -0.04, -0.05),
    "named-prototypes": (0.05, 0.05, 0.03, 0.01, -0.02, -0.03, -0.05),
    "neighbours": (-0.01, -0.03, -0.03, -0.03, -0.03, -0.02, -0.02),
    "linear-probe": (0.0,) * 7,
    "named-linear-probe": (0.03, 0.03, 0.03, 0.02, 0.01, 0.0, 0.0),
    "kernel-probe": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.005),
}


@dataclass(frozen=True, eq=False)
class Standing:
    """One strategy that was measured: its name, rung and encoder, and its score on every fold (larger is better)."""

    name: str
    rung: int
    encoder: str
    scores_F: Floats
    seconds: float


@dataclass(frozen=True)
class Choice:
    """Position of the chosen strategy among the standings, of the one with the best shrunk score, and all shrunk scores."""

    chosen: int
    best: int
    shrunk: tuple[float, ...]


def advantage(name: str, labels_a_class: float) -> float:
    """What the strategy is expected to be ahead of the linear probe, in shares of items; 0 for one that is not in the table."""
    if name not in ADVANTAGE:
        return 0.0
    return float(np.interp(np.log(max(labels_a_class, 1.0)), np.log(LABELS), ADVANTAGE[name]))


def choose(standings: Sequence[Standing], *, items: int, labels_a_class: float, sizes: tuple[float, float]) -> Choice:
    """The best shrunk score, or the cheapest strategy within half a point of it whose paired interval to it holds zero."""
    means = np.array([s.scores_F.mean() for s in standings])
    expected = np.array([advantage(s.name, labels_a_class) for s in standings])
    shrunk = (items * means + PSEUDO_ITEMS * (np.mean(means - expected) + expected)) / (items + PSEUDO_ITEMS)
    best = int(shrunk.argmax())
    order = sorted(range(len(standings)), key=lambda i: (standings[i].rung, -shrunk[i]))
    for i in order[: order.index(best)]:
        if shrunk[best] - shrunk[i] < HALF_A_POINT and not told_apart(standings[best], standings[i], sizes):
            return Choice(i, best, tuple(shrunk))
    return Choice(best, best, tuple(shrunk))


def difference(a: Standing, b: Standing, sizes: tuple[float, float]) -> Interval:
    """Mean paired difference a - b over the folds, with its corrected interval."""
    return corrected_resampled_t(a.scores_F - b.scores_F, *sizes)


def told_apart(a: Standing, b: Standing, sizes: tuple[float, float]) -> bool:
    """True when the interval of the paired difference does not hold zero."""
    gap = difference(a, b, sizes)
    return gap.low is not None and gap.high is not None and (gap.low > 0 or gap.high < 0)
