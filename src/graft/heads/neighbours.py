"""k nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import Float64Array, FloatArray, IntArray, State, unit_rows


class NeighbourHead:
    """Similarity-weighted vote of the k nearest items by cosine."""

    def __init__(self, *, k: int = 10) -> None:
        self.k = k

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        self.x_ND, self.y_N, self.n_classes = unit_rows(x_ND), np.asarray(y_N, np.int64), n_classes
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        x_ND = unit_rows(x_ND)
        k = min(self.k, len(self.y_N))
        out = []
        for start in range(0, len(x_ND), 512):
            s = x_ND[start : start + 512] @ self.x_ND.T
            near = np.argpartition(-s, k - 1, axis=1)[:, :k]
            weight = np.exp(10 * (np.take_along_axis(s, near, 1) - 1)).astype(np.float64) + 1e-9
            votes = np.zeros((len(s), self.n_classes))
            np.add.at(votes, (np.arange(len(s))[:, None], self.y_N[near]), weight)
            out.append(np.log((votes / weight.sum(1, keepdims=True) + 0.05 / self.n_classes) / 1.05))
        return np.concatenate(out) if out else np.empty((0, self.n_classes))

    def state(self) -> State:
        return {"x": self.x_ND, "y": self.y_N}, {"k": self.k, "n_classes": self.n_classes}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self:
        return cls(k=config["k"]).fit(arrays["x"], arrays["y"], config["n_classes"])


def fit_path(x_ND: FloatArray, y_N: IntArray, n_classes: int, *, ks: tuple[int, ...] = (1, 3, 5, 10, 20)) -> list[NeighbourHead]:
    """One head a k."""
    return [NeighbourHead(k=k).fit(x_ND, y_N, n_classes) for k in ks]
