"""Collapse: item vectors that come to lie in few directions, or in one, so that everybody is recommended the same.

Legend: I items, D dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.metrics.space import mean_cosine, unit

Vectors = NDArray[np.floating[Any]]

LEAST_RANK, MOST_COSINE = (
    1.5,
    0.95,
)  # beyond either a space is called collapsed: below two directions nothing can be told apart


@dataclass(frozen=True)
class Spread:
    """How item vectors fill their space: `effective_rank` 1..D, `mean_cosine` of pairs of different items, `dims` D."""

    effective_rank: float
    mean_cosine: float
    dims: int

    @property
    def collapsed(self) -> bool:
        """Whether the vectors lie in fewer than `LEAST_RANK` directions, or point almost the same way; never with one dim, which has only one."""
        return self.dims > 1 and (self.effective_rank < LEAST_RANK or self.mean_cosine > MOST_COSINE)

    def note(self, epoch: int) -> str:
        """What is said when training was stopped after `epoch` (0 is the first)."""
        return (
            f"The item vectors collapsed in epoch {epoch + 1}: their effective rank is {self.effective_rank:.1f} of {self.dims}, their mean cosine "
            f"{self.mean_cosine:.2f}, so training was stopped. Take a lower rate, more random negatives, or for triplets a wider margin."
        )


def spread(x_ID: Vectors) -> Spread:
    """Effective rank (exp of the entropy of the singular values of the unit rows, as shares of their sum: Roy & Vetterli 2007) and mean cosine.

    The rows are not centred: vectors that all point one way have rank 1. Rows of zeros, which are items nothing is known of, do not count.
    Raises ValueError for fewer than two other rows, and for values that are not finite.
    """
    rows_ID = unit(x_ID)
    if not np.isfinite(rows_ID).all():
        raise ValueError("the vectors have values that are not finite")
    rows_ID = rows_ID[rows_ID.any(axis=1)]
    square_D = np.linalg.eigvalsh(rows_ID.T @ rows_ID).clip(0)
    share_D = np.sqrt(square_D) / np.sqrt(square_D).sum()
    some = share_D[share_D > 0]
    return Spread(float(np.exp(-(some * np.log(some)).sum())), mean_cosine(rows_ID), rows_ID.shape[1])
