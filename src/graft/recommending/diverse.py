"""Answers that are good and unlike each other: maximal marginal relevance (Carbonell & Goldstein 1998).

Legend: C candidates, K answers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Likeness = Callable[[NDArray[np.int32]], NDArray[np.float32]]


def diverse(
    codes_C: NDArray[np.int32], scores_C: NDArray[np.float32], likeness: Likeness, k: int, weight: float
) -> NDArray[np.int64]:
    """Places (K,) among the candidates: one after the other the largest of (1 - weight) score - weight (largest likeness to those before).

    Scores are brought to 0..1 over the candidates, `likeness` gives cosines (C, C); `weight` is in 0..1, and the first is the best one.
    """
    low, high = float(scores_C.min()), float(scores_C.max())
    relevance_C = (scores_C - low) / (high - low) if high > low else np.ones(len(scores_C), np.float32)
    likeness_CC = likeness(codes_C)
    nearest_C = np.full(len(codes_C), -np.inf)
    chosen = [int(np.argmax(relevance_C))]
    while len(chosen) < min(k, len(codes_C)):
        nearest_C = np.maximum(nearest_C, likeness_CC[chosen[-1]])
        worth_C = (1 - weight) * relevance_C - weight * nearest_C
        worth_C[chosen] = -np.inf
        chosen.append(int(np.argmax(worth_C)))
    return np.array(chosen, np.int64)
