"""Skeleton."""
from __future__ import annotations
from graft.heads.base import FloatArray, IntArray

def fit_temperature(logits_NC: FloatArray, y_N: IntArray) -> float: ...                     # probabilities = softmax(logits / T)
def conformal_threshold(p_NC: FloatArray, y_N: IntArray, coverage: float = 0.9) -> float: ...  # predict answers only if its top probability >= threshold
def abstention(p_NC: FloatArray, y_N: IntArray, threshold: float) -> tuple[float, float, float]: ...  # (share abstained, error among answered, error when all are answered)
