"""Intervals that hold the truth as often as asked, from answers to items that were not learned from (split conformal prediction).

Legend: N items, K levels. With scores of exchangeable items the intervals hold the truth of a new item with at least the coverage asked
for, whatever the head (Vovk et al. 2005; Lei et al. 2018). Scores from out-of-fold answers come from heads of a little fewer items, which widens
them rather than not; each score is of one head's answer, as the mean of several heads' would miss by less than the answers to new items do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from graft.heads.base import Float64Array, IntArray


def reach(scores_N: Float64Array, coverage: float) -> float | None:
    """The ceil((N + 1) coverage)-th smallest score; None where so few items cannot promise it."""
    place = math.ceil((len(scores_N) + 1) * coverage)
    return float(np.sort(scores_N)[place - 1]) if place <= len(scores_N) else None


SMALLEST_RATE = 1e-12  # as a deviance takes it; items without a single count above 0 have rate 0
MOST_SLOPE = 4.0  # an interval is at most e^4, 55, times as wide at one end of the answers as at the other


@dataclass(frozen=True)
class Spread:
    """How an answer's interval widens with its level: by exp(slope * (place - 1/2)), place 0 at the level `low` and 1 at `high`, not beyond."""

    slope: float
    low: float
    high: float

    def __call__(self, level_N: Float64Array) -> Float64Array:
        """Factors (N,) for answers at these levels: 1 halfway."""
        return np.exp(self.slope * (self._place(level_N) - 0.5))

    def _place(self, level_N: Float64Array) -> Float64Array:
        place_N: Float64Array = (np.clip(level_N, self.low, self.high) - self.low) / max(self.high - self.low, 1e-300)
        return place_N


def fit_spread(level_N: Float64Array, scores_N: Float64Array) -> Spread:
    """The likeliest spread if scores are exponential, as the misses of a Laplace distribution: minimise ln mean(score / factor) + mean ln factor.

    Scores divided by it are the normalised nonconformity of Papadopoulos et al. 2008. Their spread reads the vectors; on simulated tables one that
    reads the answer alone was as near or nearer, with one number to learn (docs/LOG.md).
    """
    from scipy.optimize import minimize_scalar

    low, high = float(level_N.min()), float(level_N.max())
    place_N = Spread(0.0, low, high)._place(level_N)
    unit_N = scores_N / max(float(scores_N.max()), 1e-300)

    def loss(slope: float) -> float:
        return math.log(float((unit_N * np.exp(-slope * place_N)).mean()) + 1e-300) + slope * float(place_N.mean())

    bounds = (-MOST_SLOPE, MOST_SLOPE)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return Spread(float(found.x) if unit_N.any() and place_N.any() else 0.0, low, high)


def number_misses(y_N: Float64Array, p_N: Float64Array) -> Float64Array:
    """|y - p|: without a spread the interval of a number is as wide everywhere."""
    misses: Float64Array = np.abs(y_N - p_N)
    return misses


def number_interval(p_N: Float64Array, reach: float | Float64Array) -> tuple[Float64Array, Float64Array]:
    """Ends (N,) of the interval, which holds what misses by at most `reach`, one for all or one an item."""
    return p_N - reach, p_N + reach


def count_misses(y_N: Float64Array, rate_N: Float64Array) -> Float64Array:
    """|y - rate| / sqrt(rate): the interval of a count widens with its rate as a Poisson count spreads; rates are taken as at least 1e-12."""
    misses: Float64Array = np.abs(y_N - rate_N) / np.sqrt(np.maximum(rate_N, SMALLEST_RATE))
    return misses


def count_interval(rate_N: Float64Array, reach: float | Float64Array) -> tuple[Float64Array, Float64Array]:
    """Ends (N,), whole numbers from 0 on."""
    half_N = reach * np.sqrt(rate_N) + 1e-9 * (1 + rate_N)  # what lies on an end is inside
    return np.maximum(np.ceil(rate_N - half_N), 0), np.floor(rate_N + half_N)


def level_misses(ranks_N: IntArray, p_NK: Float64Array) -> Float64Array:
    """How far out in its distribution a level lies: the larger of the probabilities below it and above it."""
    return outside(p_NK)[np.arange(len(ranks_N)), ranks_N]


def level_interval(p_NK: Float64Array, reach: float) -> tuple[IntArray, IntArray]:
    """First and last level (N,) of those no further out than `reach`; the median level where that is none."""
    out_NK = outside(p_NK)
    inside_NK = out_NK <= np.maximum(reach, out_NK.min(axis=1, keepdims=True)) + 1e-12
    return inside_NK.argmax(axis=1), p_NK.shape[1] - 1 - inside_NK[:, ::-1].argmax(axis=1)


def outside(p_NK: Float64Array) -> Float64Array:
    """Larger of the probabilities below and above each level, (N, K); 0.5 or less only for a median."""
    upto_NK = np.cumsum(p_NK, axis=1)
    larger: Float64Array = np.maximum(upto_NK - p_NK, 1 - upto_NK)
    return larger
