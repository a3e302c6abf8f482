"""The same answer for every item, whatever it is: what any other head has to beat.

Legend: N items, D dims, K columns of answers.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from graft.heads.base import Arrays, Config, Float64Array, FloatArray, State


class ConstantHead:
    """The mean of the training answers: of numbers and counts their mean, of indicator rows how often each column is 1.

    With `shares` half an item of either kind is added to each column, so that no probability of a label is 0 or 1 (Jeffreys' prior).
    """

    answer_K: Float64Array

    def __init__(self, *, shares: bool = False) -> None:
        self.shares = shares

    def fit(self, y_NK: FloatArray) -> Self:
        """Learn from answers (N, K); there is nothing else to look at."""
        total_K = np.asarray(y_NK, np.float64).sum(axis=0)
        self.answer_K = (total_K + 0.5) / (len(y_NK) + 1) if self.shares else total_K / len(y_NK)
        return self

    def predict(self, x_ND: FloatArray) -> Float64Array:
        """The answer for every item, (N, K)."""
        return np.tile(self.answer_K, (len(x_ND), 1))

    def state(self) -> State:
        """The answer."""
        return {"answer": self.answer_K}, {"shares": self.shares}

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(shares=config["shares"])
        head.answer_K = arrays["answer"]
        return head
