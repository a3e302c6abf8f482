"""How good a classifier is: arrays in, numbers out.

Shapes: N items, C classes, M confidence bins. `labels_N` and `predicted_N` are class codes 0..C-1; `probabilities_NC` rows sum to 1.
A lower log loss and ECE is better, a higher accuracy and F1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

ECE_BINS = 15  # Guo et al. 2017
SMALLEST_PROBABILITY = 1e-15  # keeps the log loss of a certain and wrong answer finite: at most 34.5


@dataclass(frozen=True)
class PerClass:
    """Precision, recall and F1 of each class in [0, 1], NaN where undefined; `true` and `predicted` count items; all (C,)."""

    precision: Floats
    recall: Floats
    f1: Floats
    true: Codes
    predicted: Codes


def accuracy(labels_N: Codes, predicted_N: Codes) -> float:
    """Share of items whose predicted class is the true one."""
    return float(np.mean(labels_N == predicted_N))


def confusion(labels_N: Codes, predicted_N: Codes, n_classes: int) -> Codes:
    """Counts (C, C): row = true class, column = predicted class."""
    counts: Codes = np.bincount(labels_N * n_classes + predicted_N, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def per_class(confusion_CC: Codes) -> PerClass:
    """Precision, recall and F1 of every class from a confusion matrix.

    Precision is NaN for a class never predicted, recall for a class without items, F1 = 2 tp / (true + predicted) for a class that is neither.
    """
    right_C = np.diag(confusion_CC).astype(np.float64)
    true_C, predicted_C = confusion_CC.sum(1), confusion_CC.sum(0)
    with np.errstate(invalid="ignore"):
        return PerClass(
            right_C / predicted_C, right_C / true_C, 2 * right_C / (true_C + predicted_C), true_C, predicted_C
        )


def macro_f1(labels_N: Codes, predicted_N: Codes) -> float:
    """Unweighted mean of the classes' F1, over the classes that occur among the labels or the predictions (as scikit-learn does)."""
    n_classes = int(max(labels_N.max(), predicted_N.max())) + 1
    return float(np.nanmean(per_class(confusion(labels_N, predicted_N, n_classes)).f1))


def item_losses(labels_N: Codes, probabilities_NC: NDArray[np.floating]) -> Floats:
    """Each item's -ln(probability of its true class), with probabilities clipped to at least 1e-15."""
    true_N = probabilities_NC[np.arange(len(labels_N)), labels_N].astype(np.float64)
    losses: Floats = -np.log(np.clip(true_N, SMALLEST_PROBABILITY, 1.0))
    return losses


def log_loss(labels_N: Codes, probabilities_NC: NDArray[np.floating]) -> float:
    """Mean negative natural logarithm of the true class's probability (nats; ln C for a uniform guess)."""
    return float(item_losses(labels_N, probabilities_NC).mean())


def confidence_bins(probabilities_NC: NDArray[np.floating], bins: int = ECE_BINS) -> tuple[Codes, Floats]:
    """Each item's bin 0..M-1 and confidence; confidence = largest probability, bin m holds ((m/M, (m+1)/M]."""
    confidence_N = probabilities_NC.max(1).astype(np.float64)
    return np.clip(np.ceil(confidence_N * bins).astype(np.int64) - 1, 0, bins - 1), confidence_N


def ece(labels_N: Codes, probabilities_NC: NDArray[np.floating], bins: int = ECE_BINS) -> float:
    """Expected calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks"), in [0, 1].

    Items fall by confidence into `bins` bins of equal width; ECE = sum over bins of (n_m / n) * |share right - mean confidence|.
    It is biased upwards when bins hold few items.
    """
    bin_N, confidence_N = confidence_bins(probabilities_NC, bins)
    right_N = probabilities_NC.argmax(1) == labels_N
    return float(np.abs(np.bincount(bin_N, weights=right_N - confidence_N, minlength=bins)).sum() / len(labels_N))


def reliability_bins(
    labels_N: Codes, probabilities_NC: NDArray[np.floating], bins: int = ECE_BINS
) -> tuple[tuple[float, float, int], ...]:
    """Rows (mean confidence, share right, items) of the bins of `ece` that hold items, least confident first."""
    bin_N, confidence_N = confidence_bins(probabilities_NC, bins)
    right_N = probabilities_NC.argmax(1) == labels_N
    return tuple(
        (float(confidence_N[inside].mean()), float(right_N[inside].mean()), int(inside.sum()))
        for m in range(bins)
        if (inside := bin_N == m).any()
    )
