"""Rankings joined: Cormack's formula by hand, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.retrieval.fusion import reciprocal_ranks

rankings = st.lists(st.lists(st.integers(0, 50), unique=True, max_size=20), min_size=1, max_size=4)


def test_by_hand() -> None:
    items, scores = reciprocal_ranks([np.array([7, 3, 9]), np.array([3, 5])])
    assert items.tolist() == [3, 7, 5, 9]
    assert scores.tolist() == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])
    items, _ = reciprocal_ranks([np.array([1, 2]), np.array([2, 1])], weights=[1, 3], smoothing=1)
    assert items.tolist() == [2, 1]
    items, _ = reciprocal_ranks([np.array([1, 2]), np.array([2, 1])])
    assert items.tolist() == [1, 2]  # a tie: the first ranking decides


@given(rankings)
def test_every_item_once_and_in_order(lists: list[list[int]]) -> None:
    items, scores = reciprocal_ranks([np.array(one, np.int64) for one in lists])
    assert sorted(items.tolist()) == sorted(set().union(*lists))
    assert (np.diff(scores) <= 0).all() and items.dtype == np.int64 and scores.dtype == np.float32
    if len(lists) == 1:
        assert items.tolist() == lists[0]
