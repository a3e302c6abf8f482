"""What every head is, and the numerics they share.

Legend: N items, D dims, C classes, P classes with at least one example. Vectors are float32; logits and probabilities are float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]
Arrays = Mapping[str, NDArray[Any]]
Config = Mapping[str, Any]
State = tuple[dict[str, NDArray[Any]], dict[str, Any]]

LOW = -30.0  # log probability of a class nothing is known about: e**-30 is about 1e-13, small and finite


@runtime_checkable
class Head(Protocol):
    """A small classifier on vectors: arrays in, arrays out; settings go into the constructor.

    `fit` is deterministic and may be called again. Classes (codes 0..C-1) without an example are allowed and get low, finite logits.
    """

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        """Learn from `x_ND` (float32) with labels `y_N` in 0..n_classes-1; returns itself."""

    def logits(self, x_ND: FloatArray) -> Float64Array:
        """Finite float64 (N, C) whose softmax are the head's probabilities."""

    def state(self) -> State:
        """Arrays (for safetensors) and a configuration (plain JSON) from which `from_state` rebuilds the fitted head."""

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described; it gives the same logits."""


def log_softmax(logits_NC: FloatArray) -> Float64Array:
    """Log probabilities (N, C) of logits, in float64 and without overflow."""
    shifted_NC = np.asarray(logits_NC, np.float64)
    shifted_NC = shifted_NC - shifted_NC.max(axis=1, keepdims=True)
    result: Float64Array = shifted_NC - np.log(np.exp(shifted_NC).sum(axis=1, keepdims=True))
    return result


def softmax(logits_NC: FloatArray) -> Float64Array:
    """Probabilities (N, C) of logits: rows sum to one."""
    return np.exp(log_softmax(logits_NC))


def unit_rows(x_ND: FloatArray) -> Float32Array:
    """Rows scaled to length 1 (float32); a row of zeros stays zero."""
    long_ND = np.asarray(x_ND, np.float32)
    norm_N1: Float32Array = np.linalg.norm(long_ND, axis=1, keepdims=True)
    norm_N1[norm_N1 == 0] = 1
    return long_ND / norm_N1


def one_hot(y_N: IntArray, n_classes: int) -> Float32Array:
    """Labels as indicator rows (N, C) in float32."""
    rows_NC = np.zeros((len(y_N), n_classes), np.float32)
    rows_NC[np.arange(len(y_N)), y_N] = 1
    return rows_NC


def item_weights(y_N: IntArray, *, balanced: bool) -> Float64Array:
    """A weight for each item, mean 1: all ones, or such that every class that occurs weighs the same in sum."""
    if not balanced or not len(y_N):
        return np.ones(len(y_N))
    count_C = np.bincount(y_N)
    weights: Float64Array = len(y_N) / (np.count_nonzero(count_C) * count_C[y_N].astype(np.float64))
    return weights


def spread_out(logits_NP: FloatArray, present_P: IntArray, n_classes: int) -> Float64Array:
    """Logits of the classes with examples as log probabilities of all `n_classes`; the others get `LOW`."""
    if len(present_P) == n_classes:
        return np.asarray(logits_NP, np.float64)
    all_NC = np.full((len(logits_NP), n_classes), LOW)
    all_NC[:, present_P] = np.maximum(log_softmax(logits_NP), LOW)
    return all_NC


class TargetHead(Protocol):
    """A small model that answers numbers instead of classes: arrays in, arrays out; settings go into the constructor.

    Answers have K columns: one for a number or a count (its rate), a probability for each of K ordered levels (rows sum to 1) or for each of K labels.
    """

    def predict(self, x_ND: FloatArray) -> Float64Array:
        """Finite answers (N, K)."""

    def state(self) -> State:
        """Arrays (for safetensors) and a configuration (plain JSON) from which `from_state` rebuilds the fitted head."""

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described; it gives the same answers."""
