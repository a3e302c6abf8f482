"""How far the intervals of answers reach: as far everywhere, or further for some answers where folds show that this is better.

Legend: N items, K columns of answers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from graft.heads import conformal
from graft.heads.base import Float64Array
from graft.metrics.intervals import mean_interval, wilson
from graft.metrics.targets import interval_scores
from graft.targets.contest import Outcome
from graft.targets.kinds import CONSTANT, Ends, Kind
from graft.targets.result import Reach


def reach_of_choice(outcome: Outcome, kind: Kind, y_NK: Float64Array, coverage: float) -> Reach | None:
    """The reach of the chosen contender's answers, out of fold in the first drawing; one answer for all has no spread to grow with."""
    grows = kind if outcome.trial.contender.name != CONSTANT else replace(kind, level=None)
    return reach_of(grows, y_NK, outcome.trial.once_NK, outcome.folds_N, coverage)


def reach_of(
    kind: Kind, y_NK: Float64Array, answers_NK: Float64Array, folds_N: NDArray[np.int64], coverage: float
) -> Reach | None:
    """The reach at `coverage`, from answers out of fold and the folds they are of; None for a kind without intervals.

    A spread is learned on the other folds and divides each fold's misses (Papadopoulos et al. 2008). It is used only where intervals so made have
    the lower interval score than those as wide everywhere, both made for each fold by the others, by the paired interval over items.
    """
    if kind.misses is None or kind.interval is None:
        return None
    misses_N = kind.misses(y_NK, answers_NK)
    far = conformal.reach(misses_N, coverage)
    if far is None or kind.level is None or not misses_N.any():
        return Reach(coverage, far)
    level_N, factor_N, gain_N = kind.level(answers_NK), np.ones(len(misses_N)), np.zeros(len(misses_N))
    for fold in np.unique(folds_N):
        held, others = folds_N == fold, folds_N != fold
        spread = conformal.fit_spread(level_N[others], misses_N[others])
        factor_N[held] = spread(level_N[held])
        plain = conformal.reach(misses_N[others], coverage)
        even = conformal.reach(misses_N[others] / spread(level_N[others]), coverage)
        if plain is not None and even is not None:
            ends = [kind.interval(answers_NK[held], reach) for reach in (plain, even * factor_N[held])]
            before_n, after_n = (interval_scores(y_NK[held, 0], low_n, high_n, coverage) for low_n, high_n in ends)
            gain_N[held] = before_n - after_n
    gain_N /= max(float(np.abs(gain_N).max()), 1e-300)  # squares of large numbers stay finite
    if (mean_interval(gain_N).low or 0.0) <= 0:
        return Reach(coverage, far)
    return Reach(coverage, conformal.reach(misses_N / factor_N, coverage), conformal.fit_spread(level_N, misses_N))


def ends_of(kind: Kind, answers_NK: Float64Array, reach: Reach) -> Ends | None:
    """Low and high ends (N,) of the intervals of answers; None where there are none."""
    if kind.interval is None or reach.value is None:
        return None
    if reach.spread is None or kind.level is None:
        return kind.interval(answers_NK, reach.value)
    return kind.interval(answers_NK, reach.value * reach.spread(kind.level(answers_NK)))


def measured(kind: Kind, reach: Reach, y_NK: Float64Array, answers_NK: Float64Array, on: str) -> Reach:
    """The reach with how often its intervals held the truth of these items, and how wide they are on average."""
    ends = ends_of(kind, answers_NK, reach)
    if ends is None:
        return reach
    low_N, high_N = ends
    levels = kind.task == "ordinal"
    truth_N = y_NK.argmax(axis=1) if levels else y_NK[:, 0]
    inside = int(((low_N <= truth_N) & (truth_N <= high_N)).sum())
    width = float((high_N - low_N).mean()) + levels  # an interval of levels counts them
    return Reach(reach.coverage, reach.value, reach.spread, wilson(inside, len(truth_N)), width, on)
