"""Skeleton."""
from __future__ import annotations
from collections.abc import Mapping
from typing import Any, Self
from numpy.typing import NDArray
from graft.heads.base import Float64Array, FloatArray, IntArray, State


class ZeroShotHead:
    """logits = scale * cos(x, name). `fit` only checks shapes and keeps the names; the scale is put right by temperature calibration."""
    def __init__(self, names_CD: FloatArray, *, scale: float = 20.0) -> None: ...
    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self: ...
    def logits(self, x_ND: FloatArray) -> Float64Array: ...
    def state(self) -> State: ...
    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self: ...


class BridgeHead:
    """Class-name bridge; names of the user's classes meet a classifier's K classes: cosines_CK = cos(text of my class, text of classifier's class)."""
    def __init__(self, weight_KD: FloatArray, bias_K: FloatArray, cosines_CK: FloatArray, *, beta: float = 30.0) -> None: ...
    # fit, logits, state, from_state as above


def class_probabilities(x_ND: FloatArray, weight_KD: FloatArray, bias_K: FloatArray) -> Float64Array: ...   # (N, K) softmax(x W' + b)
def class_scores(p_NK: FloatArray, cosines_CK: FloatArray, beta: float = 30.0) -> Float64Array: ...          # (N, C) softmax_K(beta cos) . p
def conse(p_NK: FloatArray, names_KT: FloatArray, *, top: int = 10) -> Float64Array: ...                    # (N, T) unit rows, Norouzi et al. 2014
def synthesised_names(weight_KD: FloatArray, cosines_CK: FloatArray, *, beta: float = 30.0) -> FloatArray: ...  # (C, D) unit rows in the picture encoder's space
