"""Rankings joined into one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SMOOTHING = 60  # of Cormack et al. 2009; 20 to 100 are alike on SciFact


def reciprocal_ranks(
    rankings: Sequence[NDArray[np.int64]], *, weights: Sequence[float] | None = None, smoothing: float = SMOOTHING
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Items and scores of several rankings (arrays of item numbers, best first) as one, best first: the sum of weight / (smoothing + rank).

    An item that a ranking does not hold gets nothing from it. Equal scores are ordered by the first ranking that holds them (reciprocal-rank
    fusion, Cormack, Clarke & Büttcher 2009).
    """
    scores: dict[int, float] = {}
    for weight, ranking in zip(weights or [1.0] * len(rankings), rankings, strict=True):
        for rank, item in enumerate(ranking.tolist(), start=1):
            scores[item] = scores.get(item, 0.0) + weight / (smoothing + rank)
    items = np.fromiter(scores, np.int64, len(scores))
    values = np.fromiter(scores.values(), np.float64, len(scores))
    order = np.argsort(-values, kind="stable")
    return items[order], values[order].astype(np.float32)
