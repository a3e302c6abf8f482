"""Prototypes: the nearest class mean, alone or begun from the class's name.

Legend: N items, D dims, C classes, L weights tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from graft.heads.base import (
    LOW,
    Arrays,
    Config,
    Float32Array,
    Float64Array,
    FloatArray,
    IntArray,
    State,
    log_softmax,
    one_hot,
    unit_rows,
)
from graft.heads.calibration import fit_temperature
from graft.heads.normalise import Normaliser
from graft.heads.zero_shot import NamePrior

WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
EXPECTED_WEIGHT = 4.0
SCALE = 10.0


class PrototypeHead:
    """Logits -scale * |x - prototype|^2 of normalised vectors, prototypes being class means (Wang et al. 2019; Snell et al. 2017).

    With `names_CD` (C, D) they are named: prototype = unit(sum of the class's examples + name_weight * name), items and names each
    centred and of length 1 (LCL2N, whatever `normalisation` says). The scale is fitted on leave-one-out logits. `name_weight` None picks
    one of 0..32 by the leave-one-out log loss (a margin, which wavers less than the error), shrunk towards 4 on a log scale, or towards
    less where the names do not fit the labels (`NamePrior`); 4 with centred names is about 6 with names as they are.
    """

    normaliser: Normaliser
    mean_CD: Float32Array
    absent_C: IntArray
    scale: float
    picked_weight: float

    def __init__(
        self, *, normalisation: str = "L2N", names_CD: FloatArray | None = None, name_weight: float | None = None
    ) -> None:
        self.normalisation = normalisation
        self.given_names_CD, self.name_weight = names_CD, name_weight

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        """Learn from vectors (N, D) and labels (N,) in 0..n_classes-1."""
        x_ND, y_N = np.asarray(x_ND, np.float32), np.asarray(y_N, np.int64)
        if self.given_names_CD is None:
            return self._fit_means(x_ND, y_N, n_classes)
        return self._fit_named(x_ND, y_N, NamePrior(self.given_names_CD).fit(x_ND, y_N, n_classes))

    def _fit_means(self, x_ND: Float32Array, y_N: IntArray, n_classes: int) -> Self:
        self.normaliser = Normaliser(self.normalisation).fit(x_ND)
        x_ND = self.normaliser(x_ND)
        count_C = np.bincount(y_N, minlength=n_classes)
        sum_CD = _sums(x_ND, y_N, n_classes)
        size_C1: Float32Array = np.maximum(count_C, 1)[:, None].astype(np.float32)
        self.mean_CD = sum_CD / size_C1
        self.absent_C = np.flatnonzero(count_C == 0)
        present_C = np.flatnonzero(count_C)
        squared_NC = self._squared(x_ND)[:, present_C]
        expected = SCALE / max(float(squared_NC.mean()), 1e-12)
        many_N = count_C[y_N] > 1
        squared_NC, y_N = squared_NC[many_N], y_N[many_N]
        # Without item i its class's mean is n / (n - 1) times as far from it.
        own_N = np.searchsorted(present_C, y_N)
        squared_NC[np.arange(len(y_N)), own_N] *= (count_C[y_N] / (count_C[y_N] - 1)) ** 2
        self.scale = _fitted_scale(-squared_NC, own_N, expected)
        return self

    def _fit_named(self, x_ND: Float32Array, y_N: IntArray, prior: NamePrior) -> Self:
        self.normaliser, self.absent_C = prior.normaliser, np.empty(0, np.int64)
        x_ND = self.normaliser(x_ND)
        sum_CD = _sums(x_ND, y_N, len(prior.names_CD))
        count_C = np.bincount(y_N, minlength=len(prior.names_CD))
        many_N = count_C[y_N] > 1  # without its only example a class is its name alone, and would tell only of names
        expected = min(EXPECTED_WEIGHT, prior.scale / 2)
        tried = (*WEIGHTS, expected) if self.name_weight is None else (self.name_weight,)
        best = np.inf
        for weight in tried:
            cosine_NC = _left_out(x_ND, y_N, sum_CD, prior.names_CD, weight)[many_N]
            scale = _fitted_scale(cosine_NC, y_N[many_N], SCALE)
            loss = -log_softmax(scale * cosine_NC)[np.arange(len(cosine_NC)), y_N[many_N]].sum()
            loss += 0.5 * np.log((weight + 0.25) / (expected + 0.25)) ** 2
            if loss < best:
                best, self.picked_weight, self.scale = loss, weight, scale / 2  # -|x - p|^2 is 2 * cosine - 2
        mean_CD = sum_CD + max(self.picked_weight, 1e-3) * prior.names_CD  # a class without examples is its name
        self.mean_CD = unit_rows(mean_CD)
        return self

    def _squared(self, x_ND: Float32Array) -> Float64Array:
        """Squared distances (N, C) to the prototypes."""
        cross_NC = (x_ND @ self.mean_CD.T).astype(np.float64)
        norm_N1 = np.einsum("nd,nd->n", x_ND, x_ND)[:, None].astype(np.float64)
        squared_NC: Float64Array = norm_N1 - 2 * cross_NC + np.einsum("cd,cd->c", self.mean_CD, self.mean_CD)
        return np.maximum(squared_NC, 0)

    def logits(self, x_ND: FloatArray) -> Float64Array:
        """Finite float64 (N, C)."""
        logits_NC = -self.scale * self._squared(self.normaliser(x_ND))
        if len(self.absent_C):
            logits_NC[:, self.absent_C] = -np.inf
            logits_NC = np.maximum(log_softmax(logits_NC), LOW)
        return logits_NC

    def state(self) -> State:
        """Prototypes, centre and scale."""
        arrays = {"mean": self.mean_CD, "absent": self.absent_C, **self.normaliser.arrays("centre")}
        config = {"normalisation": self.normaliser.kind, "root": self.normaliser.root, "scale": self.scale}
        return arrays, config

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(normalisation=config["normalisation"])
        head.mean_CD, head.absent_C, head.scale = arrays["mean"], arrays["absent"], config["scale"]
        head.normaliser = Normaliser.from_arrays(config["normalisation"], config["root"], arrays, "centre")
        return head


def fit_path(
    x_ND: FloatArray, y_N: IntArray, n_classes: int, *, names_CD: FloatArray, name_weights: Sequence[float | None]
) -> list[PrototypeHead]:
    """One named head for each weight, in the order given; they share what the names tell of these items."""
    x_ND, y_N = np.asarray(x_ND, np.float32), np.asarray(y_N, np.int64)
    prior = NamePrior(names_CD).fit(x_ND, y_N, n_classes)
    return [PrototypeHead(names_CD=names_CD, name_weight=w)._fit_named(x_ND, y_N, prior) for w in name_weights]


def _sums(x_ND: Float32Array, y_N: IntArray, n_classes: int) -> Float32Array:
    """Each class's vectors added up (C, D)."""
    sum_CD: Float32Array = one_hot(y_N, n_classes).T @ x_ND
    return sum_CD


def _left_out(
    x_ND: Float32Array, y_N: IntArray, sum_CD: Float32Array, names_CD: Float32Array, weight: float
) -> Float64Array:
    """Cosines (N, C) to the named prototypes, each item's own class's without the item."""
    raw_CD = (sum_CD + weight * names_CD).astype(np.float64)
    dot_NC = x_ND.astype(np.float64) @ raw_CD.T
    norm_C = np.linalg.norm(raw_CD, axis=1)
    cosine_NC: Float64Array = dot_NC / np.maximum(norm_C, 1e-9)
    rows_N = np.arange(len(y_N))
    own_N = dot_NC[rows_N, y_N]
    length_N = np.einsum("nd,nd->n", x_ND, x_ND).astype(np.float64)
    norm_N = np.sqrt(np.maximum(norm_C[y_N] ** 2 - 2 * own_N + length_N, 0))
    left = own_N - length_N
    cosine_NC[rows_N, y_N] = np.where(norm_N > 1e-6, left / np.maximum(norm_N, 1e-6), 0.0)
    return cosine_NC


def _fitted_scale(logits_NC: Float64Array, y_N: IntArray, expected: float) -> float:
    """The factor by which logits become probabilities, near `expected` unless the items say otherwise."""
    return expected / fit_temperature(expected * logits_NC, y_N)
