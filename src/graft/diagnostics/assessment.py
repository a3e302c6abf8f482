"""How far the chosen model can be trusted: calibration, abstention, the test, and where it errs.

Everything that is tuned (temperature, threshold) is tuned on out-of-fold predictions of the training items; the test part is
looked at once, at the end. Legend: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import softmax
from graft.heads.calibration import conformal_threshold, fit_temperature
from graft.metrics.classify import confusion, ece, log_loss, per_class, reliability_bins
from graft.metrics.intervals import score_with_intervals, wilson
from graft.results import Abstention, Calibration, ClassRow, Confusion, Interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """Items with known labels and the probabilities given to them by a model that did not learn from them.

    `index` (N,) positions in the data set, `labels` (N,) true codes, `probabilities_NC`, `measured_on` "test" or "folds".
    """

    index: IntArray
    labels: IntArray
    probabilities_NC: FloatArray
    measured_on: str

    @property
    def predicted(self) -> IntArray:
        """(N,) likeliest class codes."""
        codes: IntArray = self.probabilities_NC.argmax(1)
        return codes


def calibrate(logits_NC: NDArray[np.floating[Any]], labels: IntArray) -> Calibration:
    """Temperature scaling (Guo et al. 2017) fitted on out-of-fold `logits_NC`; figures before and after on the same items."""
    temperature = fit_temperature(logits_NC, labels)
    before, after = softmax(logits_NC), softmax(logits_NC / temperature)
    return Calibration(
        temperature=temperature,
        log_loss_before=log_loss(labels, before),
        log_loss_after=log_loss(labels, after),
        ece_before=ece(labels, before),
        ece_after=ece(labels, after),
        bins_before=reliability_bins(labels, before),
        bins_after=reliability_bins(labels, after),
    )


def set_threshold(folds: Judged, coverage: float, judged: Judged) -> Abstention:
    """The threshold below which the model says "unsure", from out-of-fold predictions; its rates measured on `judged`."""
    threshold = conformal_threshold(folds.probabilities_NC, folds.labels, coverage)
    sure = judged.probabilities_NC.max(1) >= threshold
    wrong = judged.predicted != judged.labels
    answered = int(sure.sum())
    return Abstention(
        threshold=threshold,
        coverage=coverage,
        measured_on=judged.measured_on,
        abstained=wilson(len(sure) - answered, len(sure)),
        error=wilson(int((wrong & sure).sum()), answered) if answered else None,
        error_without=wilson(int(wrong.sum()), len(wrong)),
    )


def held_out_metrics(judged: Judged, seed: int) -> Mapping[str, Interval] | None:
    """Accuracy, macro F1, log loss and ECE with 95 % intervals of the test items; None where there are none."""
    if judged.measured_on != "test" or not len(judged.labels):
        return None
    return score_with_intervals(judged.labels, judged.probabilities_NC, seed=seed)


def where_it_errs(
    judged: Judged, classes: Sequence[str], train_counts: IntArray
) -> tuple[Confusion, tuple[ClassRow, ...]]:
    """Confusion counts and the table by class (`train_counts` (C,) training items of each)."""
    counts_CC = confusion(judged.labels, judged.predicted, len(classes))
    scores = per_class(counts_CC)
    matrix = Confusion(tuple(classes), tuple(tuple(int(v) for v in row) for row in counts_CC), judged.measured_on)
    table = tuple(
        ClassRow(
            name=name,
            train=int(train_counts[c]),
            n=int(scores.true[c]),
            precision=_number(scores.precision[c]),
            recall=_number(scores.recall[c]),
            f1=_number(scores.f1[c]),
        )
        for c, name in enumerate(classes)
    )
    return matrix, table


def _number(value: float) -> float | None:
    """None for NaN: undefined, as the precision of a class that was never predicted."""
    return None if np.isnan(value) else float(value)
