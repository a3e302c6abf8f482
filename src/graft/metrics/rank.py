"""How good rankings are: arrays in, one value a query out, and means over queries with their intervals.

Legend: Q queries, K places of the longest list, J judged items, B resamples. `relevance_QK` holds the gains of the items each
query was shown, best first: 0 for an item that is not relevant, larger for a better one. A list shorter than K is padded with 0, which
changes no measure: an item that is not there is not right. A K beyond the list counts the places it lacks as wrong. All
values lie in [0, 1], higher is better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graft.metrics.intervals import RESAMPLES, bias_corrected
from graft.results import Interval

_DRAWN = 2**18  # numbers drawn at once: a resample at a time costs more in calls than in numbers

Floats = NDArray[np.float64]
AnyFloats = NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_]


def accuracy_at(relevance_QK: AnyFloats, k: int) -> Floats:
    """Share of the first `k` places that hold a relevant item, also called precision at k."""
    result: Floats = _right(relevance_QK, k).sum(axis=1) / k
    return result


def recall_at(relevance_QK: AnyFloats, k: int, relevant_Q: AnyFloats) -> Floats:
    """Share of a query's relevant items found among the first `k`; `relevant_Q` counts all relevant items of each query.

    Raises ValueError where a query has none, or fewer than its list shows.
    """
    count_Q = np.asarray(relevant_Q, np.float64)
    _check_counts(np.count_nonzero(_gains(relevance_QK), axis=1), count_Q)
    result: Floats = _right(relevance_QK, k).sum(axis=1) / count_Q
    return result


def hit_at(relevance_QK: AnyFloats, k: int) -> Floats:
    """1 where any of the first `k` items is relevant, else 0. With one relevant item a query it is recall at k."""
    return np.asarray(_right(relevance_QK, k).any(axis=1), np.float64)


def reciprocal_rank(relevance_QK: AnyFloats) -> Floats:
    """1 / rank of the first relevant item, 0 where none is shown; its mean is the MRR (Voorhees 1999)."""
    right_QK = _right(relevance_QK, None)
    ranks_K = np.arange(1, right_QK.shape[1] + 1)
    inverse_QK: Floats = right_QK / ranks_K
    result: Floats = np.concatenate([inverse_QK, np.zeros((len(inverse_QK), 1))], axis=1).max(axis=1)
    return result


def ndcg_at(relevance_QK: AnyFloats, k: int, ideal_QJ: AnyFloats) -> Floats:
    """Normalised discounted cumulative gain of the first `k` (Järvelin & Kekäläinen 2002) with linear gains, as trec_eval and BEIR have it.

    DCG = sum of gain / log2(1 + rank). `ideal_QJ` holds all judged gains of each query in any order, padded with 0; the DCG of the best
    order of them is what a query's DCG is divided by. Raises ValueError where a query has no gain at all.
    """
    gains_QK, ideal_QJ = _gains(relevance_QK), -np.sort(-_gains(ideal_QJ), axis=1)
    _check_counts(np.count_nonzero(gains_QK, axis=1), np.count_nonzero(ideal_QJ, axis=1))
    result: Floats = _dcg(gains_QK, k) / _dcg(ideal_QJ, k)
    return result


def overlap_recall(found_QK: NDArray[np.int64], exact_QK: NDArray[np.int64]) -> Floats:
    """Share of each query's exact nearest neighbours that an approximate search found; order does not matter, -1 stands for no item.

    Raises ValueError where the two count other queries, or a query has no exact neighbour.
    """
    found_QK, exact_QK = np.asarray(found_QK), np.asarray(exact_QK)
    if len(found_QK) != len(exact_QK):
        raise ValueError(f"{len(found_QK)} searches and {len(exact_QK)} exact answers")
    there_QK = exact_QK >= 0
    _check_counts(np.zeros(len(exact_QK)), there_QK.sum(axis=1))
    shared_Q = np.array(
        [np.isin(exact[there], found).sum() for found, exact, there in zip(found_QK, exact_QK, there_QK, strict=True)],
        np.float64,
    )
    result: Floats = shared_Q / there_QK.sum(axis=1)
    return result


def spearman(a_N: AnyFloats, b_N: AnyFloats) -> float | None:
    """Spearman's rank correlation of two lists (N,), equal values sharing the mean of their ranks; None where one of them does not vary."""
    rows: list[Floats] = [np.asarray(a_N, np.float64), np.asarray(b_N, np.float64)]
    ranks_2N = np.stack([np.mean((row[:, None] > row) + 0.5 * (row[:, None] == row), axis=1) for row in rows])
    centred_2N = ranks_2N - ranks_2N.mean(axis=1, keepdims=True)
    lengths = np.sqrt((centred_2N**2).sum(axis=1))
    return None if not lengths.all() else float(centred_2N[0] @ centred_2N[1] / lengths.prod())


def query_interval(values_Q: Floats, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Mean over queries with the 95 % interval of a bias-corrected bootstrap of the queries (Efron 1987); `n` is Q.

    It tells how far the mean would move with other queries of the kind, the collection being the same. One query has no interval.
    Raises ValueError for no query and for values that are not finite.
    """
    values_Q = np.asarray(values_Q, np.float64)
    if not len(values_Q) or not np.isfinite(values_Q).all():
        raise ValueError(f"{len(values_Q)} values of queries; at least one is needed, and all must be finite")
    mean, n = float(values_Q.mean()), len(values_Q)
    if n < 2:
        return Interval(mean, None, None, n)
    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWN // n)
    blocks = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    means_B = np.concatenate([values_Q[rng.integers(0, n, (block, n))].mean(axis=1) for block in blocks])
    low, high = bias_corrected(means_B, mean)
    return Interval(mean, low, high, n)


def paired_interval(a_Q: Floats, b_Q: Floats, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Mean of a - b over the same queries, with the interval of `query_interval`: above 0 where `a` is better.

    Raises ValueError where the two do not count the same queries.
    """
    if len(a_Q) != len(b_Q):
        raise ValueError(f"{len(a_Q)} values against {len(b_Q)}: a pair has the same queries")
    return query_interval(np.asarray(a_Q, np.float64) - np.asarray(b_Q, np.float64), seed, resamples)


def _gains(relevance_QK: AnyFloats) -> Floats:
    gains_QK = np.asarray(relevance_QK, np.float64)
    if gains_QK.ndim != 2 or not np.isfinite(gains_QK).all() or (gains_QK < 0).any():
        raise ValueError(f"gains must be a table (Q, K) of finite numbers from 0 up; this has shape {gains_QK.shape}")
    return gains_QK


def _right(relevance_QK: AnyFloats, k: int | None) -> NDArray[np.bool_]:
    if k is not None and k < 1:
        raise ValueError(f"k is {k}; it counts places, from 1 up")
    return _gains(relevance_QK)[:, :k] > 0


def _dcg(gains_QK: Floats, k: int) -> Floats:
    if k < 1:
        raise ValueError(f"k is {k}; it counts places, from 1 up")
    first_QK = gains_QK[:, :k]
    result: Floats = first_QK @ (1 / np.log2(np.arange(2, first_QK.shape[1] + 2)))
    return result


def _check_counts(shown_Q: NDArray[np.integer] | Floats, count_Q: NDArray[np.integer] | Floats) -> None:
    if len(shown_Q) != len(count_Q):
        raise ValueError(f"{len(shown_Q)} lists for {len(count_Q)} queries")
    if (none := np.flatnonzero(count_Q <= 0)).size:
        raise ValueError(
            f"{none.size} queries have no relevant item, the first at {none[0]}: nothing can be found for them"
        )
    if (over := np.flatnonzero(shown_Q > count_Q)).size:
        raise ValueError(
            f"query {over[0]} shows {shown_Q[over[0]]:g} relevant items and is said to have {count_Q[over[0]]:g}"
        )
