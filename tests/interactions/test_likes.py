"""Interactions as matrices."""

from __future__ import annotations

import numpy as np

from graft.interactions.likes import Interactions

FOUND = Interactions(
    users=("a", "b", "c"),
    items=("x", "y", "z"),
    user_N=np.array([0, 0, 2], np.int32),
    item_N=np.array([2, 1, 1], np.int32),
    weight_N=np.array([3.0, 0.0, 1.0], np.float32),
    time_N=np.array([1.0, 2.0, 3.0]),
)


def test_likes_are_weighed_and_seen_is_all() -> None:
    assert FOUND.matrix().toarray().tolist() == [[0, 0, 3], [0, 0, 0], [0, 1, 0]]
    assert FOUND.seen().toarray().tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0]]
    for matrix in (FOUND.matrix(), FOUND.seen()):
        assert matrix.dtype == np.float32
        assert matrix.has_sorted_indices


def test_rows_keep_people_and_items() -> None:
    last = FOUND.rows(np.array([2]))
    assert (last.users, last.items, len(last)) == (FOUND.users, FOUND.items, 1)
    assert last.time_N is not None
    assert (last.user_N.tolist(), last.time_N.tolist()) == ([2], [3])
    assert FOUND.likes().weight_N.tolist() == [3, 1]
