"""k nearest neighbours.

Legend: N items asked about, M items remembered, D dims, C classes, k neighbours, B a block of N.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import Arrays, Config, Float32Array, Float64Array, FloatArray, IntArray, State
from graft.heads.normalise import Normaliser

BLOCK_NUMBERS = 2**24  # similarities held at once: 64 MB
WARMTH = 0.1


class NeighbourHead:
    """A vote of the `k` nearest training items by cosine of normalised vectors (HCL2N); k above their number is cut to it.

    A neighbour weighs exp(cosine / 0.1) (cf. Wu et al. 2018, who take 0.07), and one vote is spread evenly over all classes, so that
    none has probability 0: p = (k * share of the weight + 1 / C) / (k + 1).
    """

    memory: _Memory
    y_M: IntArray
    n_classes: int

    def __init__(self, *, k: int = 10) -> None:
        if k < 1:
            raise ValueError(f"k {k} is not at least 1")
        self.k = k

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        """Remember the items."""
        (fitted,) = fit_path(x_ND, y_N, n_classes, ks=(self.k,))
        self.__dict__.update(fitted.__dict__)
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        """Finite float64 (N, C): log probabilities."""
        near_Nk, cosine_Nk = self.memory.search(x_ND)
        k = min(self.k, near_Nk.shape[1])
        weight_Nk = np.exp((cosine_Nk[:, :k] - cosine_Nk[:, :1]).astype(np.float64) / WARMTH)
        votes_NC = np.zeros((len(near_Nk), self.n_classes))
        np.add.at(votes_NC, (np.arange(len(near_Nk))[:, None], self.y_M[near_Nk[:, :k]]), weight_Nk)
        votes_NC *= k / weight_Nk.sum(axis=1, keepdims=True)
        logits_NC: Float64Array = np.log((votes_NC + 1 / self.n_classes) / (k + 1))
        return logits_NC

    def state(self) -> State:
        """The items remembered and their labels."""
        arrays = {"point": self.memory.point_MD, "label": self.y_M, **self.memory.normaliser.arrays("centre")}
        return arrays, {"k": self.k, "n_classes": self.n_classes, "root": self.memory.normaliser.root}

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(k=config["k"])
        head.y_M, head.n_classes = arrays["label"], config["n_classes"]
        normaliser = Normaliser.from_arrays("HCL2N", config["root"], arrays, "centre")
        head.memory = _Memory(normaliser, arrays["point"], head.k)
        return head


class NeighbourMean:
    """Numbers, counts or shares as the mean of those of the `k` nearest training items; k above their number is cut to it.

    A neighbour weighs as in `NeighbourHead`, and one vote goes to the answer that is right without looking, `rest_K`, so that few
    neighbours move it less and no rate or probability is 0.
    """

    memory: _Memory
    y_MK: Float64Array
    rest_K: Float64Array

    def __init__(self, *, k: int = 10) -> None:
        if k < 1:
            raise ValueError(f"k {k} is not at least 1")
        self.k = k

    def predict(self, x_ND: FloatArray) -> Float64Array:
        """Answers (N, K)."""
        near_Nk, cosine_Nk = self.memory.search(x_ND)
        k = min(self.k, near_Nk.shape[1])
        weight_Nk = np.exp((cosine_Nk[:, :k] - cosine_Nk[:, :1]).astype(np.float64) / WARMTH)
        weight_Nk /= weight_Nk.sum(axis=1, keepdims=True)
        mean_NK = np.stack([w_k @ self.y_MK[near_k] for w_k, near_k in zip(weight_Nk, near_Nk[:, :k], strict=True)])
        answers: Float64Array = (k * mean_NK + self.rest_K) / (k + 1)
        return answers

    def state(self) -> State:
        """The items remembered and their answers."""
        arrays: dict[str, NDArray[Any]] = {
            "point": self.memory.point_MD,
            "answer": self.y_MK,
            "rest": self.rest_K,
            **self.memory.normaliser.arrays("centre"),
        }
        return arrays, {"k": self.k, "root": self.memory.normaliser.root}

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(k=config["k"])
        head.y_MK, head.rest_K = arrays["answer"], arrays["rest"]
        normaliser = Normaliser.from_arrays("HCL2N", config["root"], arrays, "centre")
        head.memory = _Memory(normaliser, arrays["point"], head.k)
        return head


def mean_path(
    x_ND: FloatArray, y_NK: FloatArray, rest_K: Float64Array, *, ks: Sequence[int] = (5, 10, 20, 50)
) -> list[NeighbourMean]:
    """One head for each k, in the order given; they share the items and a search, as those of `fit_path` do."""
    x_ND = np.asarray(x_ND, np.float32)
    normaliser = Normaliser("HCL2N").fit(x_ND)
    memory = _Memory(normaliser, normaliser(x_ND), max(ks))
    heads = [NeighbourMean(k=k) for k in ks]
    for head in heads:
        head.memory, head.y_MK, head.rest_K = memory, np.asarray(y_NK, np.float64), rest_K
    return heads


def fit_path(
    x_ND: FloatArray, y_N: IntArray, n_classes: int, *, ks: Sequence[int] = (1, 3, 5, 10, 20)
) -> list[NeighbourHead]:
    """One head for each k, in the order given; they share the items, and a search when they are asked about the same array."""
    x_ND = np.asarray(x_ND, np.float32)
    normaliser = Normaliser("HCL2N").fit(x_ND)
    memory = _Memory(normaliser, normaliser(x_ND), max(ks))
    heads = [NeighbourHead(k=k) for k in ks]
    for head in heads:
        head.memory, head.y_M, head.n_classes = memory, np.asarray(y_N, np.int64), n_classes
    return heads


class _Memory:
    """Items to search among. The last search is kept, by a digest of what was asked: heads that differ in k alone ask for the same
    one after another.
    """

    def __init__(self, normaliser: Normaliser, point_MD: Float32Array, most: int) -> None:
        self.normaliser, self.point_MD = normaliser, point_MD
        self.most = min(most, len(point_MD))
        self._last: tuple[bytes, tuple[IntArray, Float32Array]] = (
            b"",
            (np.empty(0, np.int64), np.empty(0, np.float32)),
        )

    def search(self, x_ND: FloatArray) -> tuple[IntArray, Float32Array]:
        """Positions and cosines (N, most) of the nearest, nearest first; the earlier item first among equals."""
        asked = blake2b(np.asarray(x_ND, np.float32).tobytes()).digest()
        if asked == self._last[0]:
            return self._last[1]
        near_Nk = np.empty((len(x_ND), self.most), np.int64)
        cosine_Nk = np.empty((len(x_ND), self.most), np.float32)
        block = max(1, BLOCK_NUMBERS // len(self.point_MD))
        for start in range(0, len(x_ND), block):
            part = slice(start, start + block)
            cosine_BM = self.normaliser(x_ND[part]) @ self.point_MD.T
            near_Nk[part] = _nearest(cosine_BM, self.most)
            cosine_Nk[part] = np.take_along_axis(cosine_BM, near_Nk[part], axis=1)
        self._last = (asked, (near_Nk, cosine_Nk))
        return near_Nk, cosine_Nk


def _nearest(cosine_BM: Float32Array, k: int) -> IntArray:
    """Positions (B, k) of the largest, largest first, the earlier position first among equals."""
    near_Bk = np.argpartition(-cosine_BM, k - 1, axis=1)[:, :k]
    near_Bk.sort(axis=1)
    found_Bk = np.take_along_axis(cosine_BM, near_Bk, axis=1)
    near_Bk = np.take_along_axis(near_Bk, np.argsort(-found_Bk, axis=1, kind="stable"), axis=1)
    least_B1 = found_Bk.min(axis=1, keepdims=True)
    cut_B = (cosine_BM == least_B1).sum(axis=1) > (found_Bk == least_B1).sum(
        axis=1
    )  # not all equals of the last fit in
    near_Bk[cut_B] = np.argsort(-cosine_BM[cut_B], axis=1, kind="stable")[:, :k]
    return near_Bk
