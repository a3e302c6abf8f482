"""Zero-shot heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import Float64Array, FloatArray, IntArray, State, softmax, unit_rows


class ZeroShotHead:
    """logits = scale * cos(x, name)."""

    def __init__(self, names_CD: FloatArray, *, scale: float = 20.0) -> None:
        self.names_CD, self.scale = unit_rows(names_CD), scale

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        return self.scale * (unit_rows(x_ND) @ self.names_CD.T).astype(np.float64)

    def state(self) -> State:
        return {"names": self.names_CD}, {"scale": self.scale}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self:
        return cls(arrays["names"], scale=config["scale"])


class BridgeHead:
    """Class-name bridge."""

    def __init__(self, weight_KD: FloatArray, bias_K: FloatArray, cosines_CK: FloatArray, *, beta: float = 30.0) -> None:
        self.weight_KD, self.bias_K, self.cosines_CK, self.beta = weight_KD, bias_K, cosines_CK, beta

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        scores = class_scores(class_probabilities(x_ND, self.weight_KD, self.bias_K), self.cosines_CK, self.beta)
        result: Float64Array = np.log(scores + 1e-12)
        return result

    def state(self) -> State:
        return {"weight": self.weight_KD, "bias": self.bias_K, "cosines": self.cosines_CK}, {"beta": self.beta}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self:
        return cls(arrays["weight"], arrays["bias"], arrays["cosines"], beta=config["beta"])


def class_probabilities(x_ND: FloatArray, weight_KD: FloatArray, bias_K: FloatArray) -> Float64Array:
    """(N, K) softmax(x W' + b)."""
    return softmax(x_ND @ weight_KD.T + bias_K)


def class_scores(p_NK: FloatArray, cosines_CK: FloatArray, beta: float = 30.0) -> Float64Array:
    """(N, C) softmax_K(beta cos) . p."""
    result: Float64Array = p_NK @ softmax(beta * cosines_CK).T
    return result


def conse(p_NK: FloatArray, names_KT: FloatArray, *, top: int = 10) -> Float64Array:
    """(N, T) unit rows, Norouzi et al. 2014."""
    cut = np.sort(p_NK, axis=1)[:, -top][:, None]
    return unit_rows(np.where(p_NK >= cut, p_NK, 0) @ names_KT).astype(np.float64)


def synthesised_names(weight_KD: FloatArray, cosines_CK: FloatArray, *, beta: float = 30.0) -> FloatArray:
    """(C, D) unit rows in the picture encoder's space."""
    return unit_rows(softmax(beta * cosines_CK) @ weight_KD)
