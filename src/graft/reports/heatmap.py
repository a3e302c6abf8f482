"""A matrix of similarities as a picture: cells shaded from the least to the greatest, rows and columns named.

Legend: N rows, M columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft.reports.formats import cut, decimal

CELL = 18  # side of a cell in the picture's own units
NAME_LETTERS = 30
FAINTEST = 0.03  # opacity of the least similar, which must differ from no cell at all


@dataclass(frozen=True)
class HeatCell:
    """A square: column, row, how strongly it is shaded (0..1), and what is said when one points at it."""

    column: int
    row: int
    shade: float
    title: str


@dataclass(frozen=True)
class HeatView:
    """The picture: cells, the ends and the middle of the scale, and the two different things most alike with their similarity."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[HeatCell, ...]
    low: float
    high: float
    best: tuple[str, str, float] | None

    @property
    def middle(self) -> float:
        """The value halfway between the ends."""
        return (self.low + self.high) / 2


def heat_view(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]) -> HeatView:
    """The scale runs from the 1st to the 99th percentile of what is not an item with itself; beyond, the colour stays at its end."""
    values_NM = np.asarray(values, np.float64).reshape(len(rows), len(columns))
    own_NM = np.array([[a == b for b in columns] for a in rows]).reshape(values_NM.shape)
    others = values_NM[~own_NM] if (~own_NM).any() else values_NM.ravel()
    low, high = (float(v) for v in np.percentile(others, (1, 99)))
    shade_NM = ((values_NM - low) / max(high - low, 1e-9)).clip(0, 1) * (1 - FAINTEST) + FAINTEST
    row, column = np.unravel_index(int(np.where(own_NM, -np.inf, values_NM).argmax()), values_NM.shape)
    cells = tuple(
        HeatCell(m, n, round(float(shade_NM[n, m]), 2), _title(rows[n], columns[m], float(values_NM[n, m])))
        for n in range(len(rows))
        for m in range(len(columns))
    )
    best = None if own_NM.all() else (rows[int(row)], columns[int(column)], float(values_NM[row, column]))
    return HeatView(tuple(rows), tuple(columns), cells, low, high, best)


def _title(row: str, column: str, value: float) -> str:
    return f"{cut(row, NAME_LETTERS)} · {cut(column, NAME_LETTERS)}: {decimal(value)}"
