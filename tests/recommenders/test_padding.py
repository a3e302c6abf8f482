"""Rows in batches: each once, with its own places, little padded."""

from __future__ import annotations

import numpy as np
import pytest

from graft.recommenders.padding import alike


@pytest.mark.parametrize("most", [1, 30, 10_000])
def test_every_entry_is_in_one_batch_at_its_row(most: int) -> None:
    length_R = np.random.default_rng(0).integers(0, 40, 200)
    indptr = np.concatenate([[0], np.cumsum(length_R)])
    rows, padded = [], 0
    for rows_B, place_BL, inside_BL in alike(indptr, most):
        assert place_BL.size <= most or len(rows_B) == 1
        assert (place_BL[~inside_BL] == 0).all()
        padded += int((~inside_BL).sum())
        for row, places_L, inside_L in zip(rows_B, place_BL, inside_BL, strict=True):
            np.testing.assert_array_equal(places_L[inside_L], np.arange(indptr[row], indptr[row + 1]))
        rows += rows_B.tolist()
    np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(length_R))
    assert padded <= indptr[-1] / 8
