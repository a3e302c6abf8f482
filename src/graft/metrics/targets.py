"""How good predictions of numbers, counts, ordered classes and sets of labels are: arrays in, values with 95 % intervals out.

Shapes: N items, K ordered levels, L labels, B bootstrap resamples, S statistics. Every measure but average precision is a function of
sums over items, so that one matrix product gives all its resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from graft.metrics.intervals import LEVEL, RESAMPLES, bias_corrected, resampled_sums
from graft.results import Interval

SMALLEST_PROBABILITY = 1e-15
SMALLEST_RATE = 1e-12
_RANKED_WORK = 2 * 10**8  # resampled items x labels x resamples that average precision may take; fewer resamples beyond

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Values = Callable[[Floats, int], Mapping[str, Floats]]


# One number an item, or one matrix of them


def rmse(y_N: Floats, p_N: Floats) -> float:
    """Root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(np.mean((y_N - p_N) ** 2)))


def deviances(y_N: Floats, rate_N: Floats) -> Floats:
    """Each item's Poisson deviance 2 (y ln(y / rate) - (y - rate)), 0 for a rate that is the count; rates are taken as at least 1e-12."""
    rate_N = np.maximum(rate_N, SMALLEST_RATE)
    deviance_N: Floats = 2 * (_xlogy(y_N, y_N) - _xlogy(y_N, rate_N) - y_N + rate_N)
    return deviance_N


def poisson_deviance(y_N: Floats, rate_N: Floats) -> float:
    """Mean Poisson deviance; 0 is perfect."""
    return float(deviances(y_N, rate_N).mean())


def ranked_scores(ranks_N: Codes, p_NK: Floats) -> Floats:
    """Each item's ranked probability score (Epstein 1969): mean over the K - 1 cuts between levels of (P(rank <= k) - [rank <= k])²; in 0..1."""
    below_NK = np.cumsum(p_NK, axis=1)[:, :-1]
    truth_NK = ranks_N[:, None] <= np.arange(p_NK.shape[1] - 1)
    scores: Floats = ((below_NK - truth_NK) ** 2).mean(axis=1)
    return scores


def ranked_probability_score(ranks_N: Codes, p_NK: Floats) -> float:
    """Mean ranked probability score; 0 is perfect."""
    return float(ranked_scores(ranks_N, p_NK).mean())


def median_ranks(p_NK: Floats) -> Codes:
    """The median level of each item's distribution, which errs least in mean ranks."""
    reached: Codes = (np.cumsum(p_NK, axis=1) < 0.5 - 1e-12).sum(axis=1).clip(max=p_NK.shape[1] - 1).astype(np.int64)
    return reached


def kappa(counts_KK: Floats) -> float:
    """Quadratic weighted kappa (Cohen 1968) of counts [true][predicted]: 1 is perfect, 0 what independent answers of the same spread
    reach; NaN where all answers and truths are one level."""
    return float(_kappas(counts_KK[None])[0])


def label_losses(y_NL: Floats, p_NL: Floats) -> Floats:
    """Each item's binary log loss (nats), mean over its labels; probabilities are kept 1e-15 away from 0 and 1."""
    p_NL = np.clip(p_NL, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    losses: Floats = -(y_NL * np.log(p_NL) + (1 - y_NL) * np.log1p(-p_NL)).mean(axis=1)
    return losses


def average_precision(y_N: Floats, p_N: Floats) -> float:
    """Area under the curve of precision over recall as a sum of steps; equal scores are one step; NaN without a positive item."""
    return float(_average_precisions(y_N, p_N, np.ones((1, len(y_N))))[0])


def interval_scores(y_N: Floats, low_N: Floats, high_N: Floats, coverage: float) -> Floats:
    """Width of each interval, and 2 / (1 - coverage) times what the truth lies outside of it: lower is better (Gneiting & Raftery 2007)."""
    outside_N = np.maximum(low_N - y_N, 0) + np.maximum(y_N - high_N, 0)
    scores_N: Floats = high_N - low_N + 2 / (1 - coverage) * outside_N
    return scores_N


# All measures of a kind, with intervals


def number_scores(y_N: Floats, p_N: Floats, seed: int) -> dict[str, Interval]:
    """RMSE and MAE in the target's unit, and R2 = 1 - squared error / that of the items' own mean (NaN where they are all equal)."""
    scale = float(np.abs(y_N - y_N.mean()).max()) or 1.0  # squares of large numbers stay within float32
    y_N, p_N = (y_N - y_N.mean()) / scale, (p_N - y_N.mean()) / scale
    error_N = y_N - p_N

    def values(sums_BS: Floats, n: int) -> Mapping[str, Floats]:
        spread_B = sums_BS[:, 3] - sums_BS[:, 2] ** 2 / n
        return {
            "rmse": scale * np.sqrt(sums_BS[:, 1] / n),
            "mae": scale * sums_BS[:, 0] / n,
            "r2": 1 - _ratio(sums_BS[:, 1], spread_B),
        }

    return _scored(np.column_stack([np.abs(error_N), error_N**2, y_N, y_N**2]), values, seed)


def count_scores(y_N: Floats, rate_N: Floats, seed: int) -> dict[str, Interval]:
    """Mean Poisson deviance, D2 = 1 - deviance / that of the items' own mean rate, and MAE of the rates."""
    mean = max(float(y_N.mean()), SMALLEST_RATE)
    unit_N = y_N / mean  # terms around 0, of which float32 sums tell a small null deviance of large counts
    null_N = deviances(unit_N, np.ones(len(unit_N)))
    columns_NS = np.column_stack([deviances(y_N, rate_N), unit_N - 1, null_N, np.abs(y_N - rate_N)])

    def values(sums_BS: Floats, n: int) -> Mapping[str, Floats]:
        moved_B = np.maximum(sums_BS[:, 1] / n, SMALLEST_RATE - 1)  # a resample's own mean over that of all, less 1
        null_B = sums_BS[:, 2] - 2 * n * ((1 + moved_B) * np.log1p(moved_B) - moved_B)
        null_B = np.where(null_B > 1e-5 * sums_BS[:, 2], null_B, 0)  # of equal counts, but for rounding
        return {
            "poisson_deviance": sums_BS[:, 0] / n,
            "d2": 1 - _ratio(sums_BS[:, 0], mean * null_B),
            "mae": sums_BS[:, 3] / n,
        }

    return _scored(columns_NS, values, seed)


def ordinal_scores(ranks_N: Codes, p_NK: Floats, seed: int) -> dict[str, Interval]:
    """Ranked probability score, quadratic weighted kappa, mean distance in ranks and accuracy; the answer is the median level."""
    n, levels = p_NK.shape
    answer_N = median_ranks(p_NK)
    columns_NS = np.zeros((n, levels * levels + 2))
    columns_NS[np.arange(n), ranks_N * levels + answer_N] = 1
    columns_NS[:, -2], columns_NS[:, -1] = ranked_scores(ranks_N, p_NK), np.abs(ranks_N - answer_N)

    def values(sums_BS: Floats, n: int) -> Mapping[str, Floats]:
        counts_BKK = sums_BS[:, :-2].reshape(-1, levels, levels)
        return {
            "rps": sums_BS[:, -2] / n,
            "kappa": _kappas(counts_BKK),
            "rank_error": sums_BS[:, -1] / n,
            "accuracy": np.trace(counts_BKK, axis1=1, axis2=2) / n,
        }

    return _scored(columns_NS, values, seed)


def label_scores(y_NL: Floats, p_NL: Floats, thresholds_L: Floats, seed: int) -> dict[str, Interval]:
    """Log loss, micro and macro F1 and Hamming loss (share of wrong answers) at the thresholds, and macro average precision.

    Macro means are over the labels that occur. Average precision has a percentile interval of at most 200 resamples.
    """
    answers_NL = p_NL >= thresholds_L
    labels = y_NL.shape[1]
    columns_NS = np.column_stack(
        [y_NL * answers_NL, y_NL, answers_NL, label_losses(y_NL, p_NL), (answers_NL != (y_NL > 0)).mean(axis=1)]
    )

    def values(sums_BS: Floats, n: int) -> Mapping[str, Floats]:
        both_BL, true_BL, given_BL = (sums_BS[:, i * labels : (i + 1) * labels] for i in range(3))
        occurs_BL = true_BL + given_BL
        f1_BL = np.divide(2 * both_BL, occurs_BL, out=np.zeros_like(both_BL), where=occurs_BL > 0)
        return {
            "log_loss": sums_BS[:, -2] / n,
            "micro_f1": _ratio(2 * both_BL.sum(axis=1), occurs_BL.sum(axis=1)),
            "macro_f1": _ratio(f1_BL.sum(axis=1), (occurs_BL > 0).sum(axis=1)),
            "hamming": sums_BS[:, -1] / n,
        }

    return {**_scored(columns_NS, values, seed), "average_precision": _macro_average_precision(y_NL, p_NL, seed)}


def _scored(columns_NS: Floats, values: Values, seed: int) -> dict[str, Interval]:
    """Every value with its bias-corrected bootstrap interval; fewer than two items, and what is no number, have none."""
    n = len(columns_NS)
    exact = values(columns_NS.sum(axis=0)[None], n)
    drawn = {}
    if n > 1:
        drawn = dict(values(resampled_sums(columns_NS.astype(np.float32), RESAMPLES, np.random.default_rng(seed)), n))
    return {name: _interval(float(value[0]), drawn.get(name), n) for name, value in exact.items()}


def _interval(value: float, drawn_B: Floats | None, n: int) -> Interval:
    if drawn_B is None or not math.isfinite(value) or not (known := np.isfinite(drawn_B)).any():
        return Interval(value, None, None, n)
    return Interval(value, *bias_corrected(drawn_B[known], value), n)


def _macro_average_precision(y_NL: Floats, p_NL: Floats, seed: int) -> Interval:
    n, labels = y_NL.shape
    resamples = int(np.clip(_RANKED_WORK // max(1, n * labels), 50, 200))
    rng = np.random.default_rng(seed)
    times_BN = np.ones((1 + resamples, n))
    for b in range(1, 1 + resamples):
        times_BN[b] = np.bincount(rng.integers(0, n, n), minlength=n)
    each_LB = np.stack([_average_precisions(y_NL[:, label], p_NL[:, label], times_BN) for label in range(labels)])
    met_LB = np.isfinite(each_LB)
    macro_B = _ratio(np.where(met_LB, each_LB, 0).sum(axis=0), met_LB.sum(axis=0))
    drawn_B = macro_B[1:][np.isfinite(macro_B[1:])]
    if n < 2 or not len(drawn_B):
        return Interval(float(macro_B[0]), None, None, n)
    low, high = np.quantile(drawn_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(macro_B[0]), float(low), float(high), n)


def _average_precisions(y_N: Floats, p_N: Floats, times_BN: Floats) -> Floats:
    """Average precision with each row of weights, (B,); NaN where no positive item has weight."""
    order = np.argsort(-p_N, kind="stable")
    ordered_N = -p_N[order]
    last_N = np.searchsorted(ordered_N, ordered_N, side="right") - 1  # of those with the same score
    seen_BN = np.cumsum(times_BN[:, order], axis=1)[:, last_N]
    weight_BN = times_BN[:, order] * y_N[order]
    found_BN = np.cumsum(weight_BN, axis=1)[:, last_N]
    precision_BN = np.divide(found_BN, seen_BN, out=np.zeros_like(found_BN), where=seen_BN > 0)
    return _ratio((weight_BN * precision_BN).sum(axis=1), weight_BN.sum(axis=1))


def _kappas(counts_BKK: Floats) -> Floats:
    levels = counts_BKK.shape[1]
    weight_KK = (np.arange(levels)[:, None] - np.arange(levels)) ** 2
    true_BK, given_BK = counts_BKK.sum(axis=2), counts_BKK.sum(axis=1)
    chance_B = np.einsum("bi,ij,bj->b", true_BK, weight_KK, given_BK) / np.maximum(true_BK.sum(axis=1), 1)
    return 1 - _ratio((counts_BKK * weight_KK).sum(axis=(1, 2)), chance_B)


def _ratio(above: NDArray[np.floating], below: NDArray[np.floating] | Codes) -> Floats:
    """The quotient, NaN where there is nothing below."""
    quotient: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 1e-12)
    return quotient


def _xlogy(x_N: Floats, y_N: Floats) -> Floats:
    """x ln y, 0 where x is 0."""
    product: Floats = x_N * np.log(np.where(x_N > 0, y_N, 1))
    return product
