"""Rows of a sparse matrix as small dense arrays: almost equally long rows together, so that little is padded.

Legend: R rows, B rows of a batch, L places of a row (padded).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Batch = tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]


def alike(indptr: NDArray[Any], most: int) -> Iterator[Batch]:
    """Batches of the rows that are not empty, shortest first, of about `most` places at most, but at least one row.

    A batch is the rows (B,), the places (B, L) of their entries in `indices` and `data` of the matrix, 0 where a row is shorter than L,
    and which of the places are theirs (B, L).
    """
    length_R = np.diff(indptr)
    order = np.argsort(length_R, kind="stable")
    order = order[length_R[order] > 0]
    length = length_R[order]
    start = 0
    while start < len(order):
        longest = length[start] + length[start] // 8
        stop = int(np.searchsorted(length, longest, side="right"))
        stop = min(stop, start + max(1, most // int(longest)))
        rows_B = order[start:stop]
        offset_L = np.arange(length[stop - 1])
        inside_BL = offset_L < length[start:stop, None]
        yield rows_B, np.where(inside_BL, indptr[rows_B][:, None] + offset_L, 0), inside_BL
        start = stop
