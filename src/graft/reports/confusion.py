"""Who is taken for whom: a heat map of few classes, a list of pairs and a compact picture of many.

Legend: C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from graft.results import Confusion

Number = TypeVar("Number", np.int64, np.float64)

MOST_IN_FULL = 25
MOST_PAIRS = 15
MOST_DOTS = 4000
LEVELS = 4


@dataclass(frozen=True)
class Cell:
    """One cell of the heat map: items, their share of the true class, how strongly it is shaded (0..1), and whether it is right."""

    n: int
    share: float
    shade: float
    right: bool


@dataclass(frozen=True)
class Pair:
    """`n` items of class `true` were called `predicted`: `share` of all items of the class."""

    true: str
    predicted: str
    n: int
    share: float


@dataclass(frozen=True)
class Compact:
    """A picture of a big matrix: SVG paths of squares in a box of `size`, the right ones and the wrong ones, each from faint to strong."""

    size: int
    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class ConfusionView:
    """The section: `cells` (C × C) for few classes, else None and a `compact` picture; the most confused pairs in either case."""

    classes: tuple[str, ...]
    measured_on: str
    total: int
    wrong: int
    pairs: tuple[Pair, ...]
    cells: tuple[tuple[Cell, ...], ...] | None
    compact: Compact | None


def confusion_view(confusion: Confusion) -> ConfusionView:
    """What is drawn of a confusion matrix."""
    counts_CC = np.asarray(confusion.counts, dtype=np.int64).reshape(len(confusion.classes), -1)
    share_CC = counts_CC / np.maximum(counts_CC.sum(1, keepdims=True), 1)
    few = len(confusion.classes) <= MOST_IN_FULL
    total = int(counts_CC.sum())
    return ConfusionView(
        confusion.classes,
        confusion.measured_on,
        total,
        total - int(np.trace(counts_CC)),
        _pairs(confusion.classes, counts_CC, share_CC),
        _cells(counts_CC, share_CC) if few else None,
        None if few else _compact(share_CC),
    )


def _off_diagonal(array_CC: NDArray[Number]) -> NDArray[Number]:
    """A copy with zeros on the diagonal."""
    copy = array_CC.copy()
    np.fill_diagonal(copy, 0)
    return copy


def _pairs(classes: tuple[str, ...], counts_CC: NDArray[np.int64], share_CC: NDArray[np.float64]) -> tuple[Pair, ...]:
    """The pairs with most items, ties by share of the class."""
    true, predicted = np.nonzero(_off_diagonal(counts_CC))
    order = np.lexsort((-share_CC[true, predicted], -counts_CC[true, predicted]))[:MOST_PAIRS]
    return tuple(
        Pair(classes[t], classes[p], int(counts_CC[t, p]), float(share_CC[t, p]))
        for t, p in zip(true[order], predicted[order], strict=True)
    )


def _cells(counts_CC: NDArray[np.int64], share_CC: NDArray[np.float64]) -> tuple[tuple[Cell, ...], ...]:
    """Right cells are shaded by their share, wrong ones by the root of it, so that a few errors are seen beside many hits."""
    return tuple(
        tuple(
            Cell(int(n), float(share), round(float(share if t == p else share**0.5), 3), t == p)
            for p, (n, share) in enumerate(zip(*row, strict=True))
        )
        for t, row in enumerate(zip(counts_CC, share_CC, strict=True))
    )


def _compact(share_CC: NDArray[np.float64]) -> Compact:
    """Wrong squares no smaller than a 150th of the picture, or a single item among hundreds of classes could not be seen."""
    n_classes = len(share_CC)
    diagonal = np.diag_indices(n_classes)
    wrong_CC = _off_diagonal(share_CC)
    true, predicted = np.nonzero(wrong_CC)
    strongest = np.argsort(-wrong_CC[true, predicted], kind="stable")[:MOST_DOTS]
    true, predicted = true[strongest], predicted[strongest]
    return Compact(
        n_classes,
        _squares(diagonal[0], diagonal[1], share_CC[diagonal], max(1.0, n_classes / 250)),
        _squares(true, predicted, np.sqrt(share_CC[true, predicted]), max(1.0, n_classes / 150)),
    )


def _squares(
    true: NDArray[np.intp], predicted: NDArray[np.intp], shade: NDArray[np.float64], side: float
) -> tuple[str, ...]:
    """One path for each level of shade: squares centred on (predicted, true)."""
    level = np.clip(np.ceil(shade * LEVELS).astype(int) - 1, 0, LEVELS - 1)
    off, size = (1 - side) / 2, f"{side:g}"
    return tuple(
        "".join(
            f"M{p + off:g} {t + off:g}h{size}v{size}h-{size}z"
            for t, p in zip(true[level == k].tolist(), predicted[level == k].tolist(), strict=True)
        )
        for k in range(LEVELS)
    )
