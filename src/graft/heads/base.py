"""What every head is, and the numerics they share.

Legend: N items, D dims, C classes. Vectors are float32; logits and probabilities are float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]
State = tuple[dict[str, NDArray[Any]], dict[str, Any]]

LOW = -30.0  # log probability given where a formula would say "impossible": e**-30 is about 1e-13


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
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self:
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


def unit_rows(x_ND: FloatArray) -> NDArray[np.float32]:
    """Rows scaled to length 1 (float32); a row of zeros stays zero."""
    x_ND = np.asarray(x_ND, np.float32)
    norm_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.where(norm_N1 > 0, norm_N1, 1)
