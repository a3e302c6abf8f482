"""Suspected label errors by confident learning (Northcutt, Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels").

An item is doubted when a model that never saw it is, by the standard of each class, confident that it belongs to another class.

Legend: N items, C classes; row i of a joint is the label given, column j the class the model is confident of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.results import Suspect

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
Index = NDArray[np.int64]


def class_thresholds(p_NC: FloatArray, y_N: IntArray) -> NDArray[np.float64]:
    """(C,) mean probability that items labelled j get for j, the paper's t_j; infinite for a class without an item."""
    count_C = np.bincount(y_N, minlength=p_NC.shape[1])
    total_C = np.bincount(y_N, weights=p_NC[np.arange(len(y_N)), y_N], minlength=p_NC.shape[1])
    threshold_C: NDArray[np.float64] = np.where(count_C > 0, total_C / np.maximum(count_C, 1), np.inf)
    return threshold_C


def confident_joint(p_NC: FloatArray, y_N: IntArray) -> NDArray[np.float64]:
    """Estimated joint distribution (C, C) of given labels and true classes; entries sum to 1, row i to the share of label i.

    An item counts as class j when p_j reaches the threshold of j; where several do, the likeliest of them. Items that reach
    none are not counted, and each row is then scaled back to the number of its items (the paper's calibration). A row in
    which nothing is confident is taken to be right.
    """
    n_classes = p_NC.shape[1]
    confident_NC = p_NC >= class_thresholds(p_NC, y_N)[None, :]
    best_N = np.where(confident_NC, p_NC, -1.0).argmax(axis=1)
    counted = confident_NC.any(axis=1)
    joint = np.bincount(y_N[counted] * n_classes + best_N[counted], minlength=n_classes**2).astype(np.float64)
    joint = joint.reshape(n_classes, n_classes)
    row_C = joint.sum(axis=1)
    joint[row_C == 0] = np.eye(n_classes)[row_C == 0]
    joint *= (np.bincount(y_N, minlength=n_classes) / joint.sum(axis=1))[:, None]
    scaled: NDArray[np.float64] = joint / len(y_N)
    return scaled


def in_whole_items(expected_CC: NDArray[np.float64]) -> Index:
    """Expected counts (C, C) as whole numbers whose rows keep their sums: rounded down, what is missing given to the largest remainders."""
    down_CC = np.floor(expected_CC + 1e-9)
    missing_C = np.rint(expected_CC.sum(axis=1) - down_CC.sum(axis=1)).astype(np.int64)
    place_CC = np.argsort(np.argsort(-(expected_CC - down_CC), axis=1, kind="stable"), axis=1, kind="stable")
    whole: Index = (down_CC + (place_CC < missing_C[:, None])).astype(np.int64)
    return whole


def doubtful(p_NC: FloatArray, y_N: IntArray) -> Index:
    """Positions of the items whose label is doubted, the most doubtful first; empty with fewer than two classes.

    Prune by noise rate: of the items labelled i, as many as the joint expects to be j in truth, those with the largest margin
    p_j - p_i, provided j is likelier than i. Ranked by that margin, ties by position.

    `p_NC` are out-of-fold probabilities (N, C), `y_N` label codes in 0..C-1.
    """
    n, n_classes = p_NC.shape
    if n == 0 or n_classes < 2:
        return np.empty(0, np.int64)
    expected_CC = in_whole_items(confident_joint(p_NC, y_N) * n)
    margin_NC = p_NC - p_NC[np.arange(n), y_N][:, None]
    found = np.zeros(n, bool)
    for given, true in zip(*np.nonzero(expected_CC), strict=True):
        if given != true:
            rows = np.flatnonzero((y_N == given) & (margin_NC[:, true] > 0))
            order = np.argsort(-margin_NC[rows, true], kind="stable")
            found[rows[order[: expected_CC[given, true]]]] = True
    rows = np.flatnonzero(found)
    ranked: Index = rows[np.argsort(-margin_NC[rows].max(axis=1), kind="stable")]
    return ranked


def suspects(
    p_NC: FloatArray, y_N: IntArray, ids: Sequence[str], classes: Sequence[str], *, limit: int | None = None
) -> tuple[Suspect, ...]:
    """The doubted labels as values for the report, the most doubtful first, at most `limit` of them.

    `ids` name the N items, `classes` the C codes. The label suggested is the likeliest class. Raises ValueError when the
    lengths do not agree.
    """
    if not len(p_NC) == len(y_N) == len(ids) or p_NC.shape[1] != len(classes):
        raise ValueError(
            f"{p_NC.shape} probabilities, {len(y_N)} labels, {len(ids)} ids, {len(classes)} classes do not agree"
        )
    found = []
    for row in doubtful(p_NC, y_N)[:limit]:
        given, suggested = int(y_N[row]), int(p_NC[row].argmax())
        found.append(
            Suspect(ids[row], classes[given], classes[suggested], float(p_NC[row, given]), float(p_NC[row, suggested]))
        )
    return tuple(found)
