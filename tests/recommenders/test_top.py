"""The best k against a full sort, with equals, gaps, and what must not be recommended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from graft.errors import UsageError
from graft.recommenders.base import Arrays, Float32Array, Histories, Settings, histories_from
from graft.recommenders.top import best, top_k


class Fixed:
    """Scores that are given, a row a person by code."""

    name = "fixed"

    def __init__(self, scores_UI: Any) -> None:
        self.scores_UI, self.settings = np.asarray(scores_UI, np.float32), Settings()
        self.asked: list[int] = []

    def scores(self, histories: Histories) -> Float32Array:
        assert histories.users_B is not None
        self.asked.append(len(histories))
        return self.scores_UI[histories.users_B].copy()

    def item_vectors(self) -> None:
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        return {}

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Fixed:
        raise NotImplementedError


def histories(items: list[list[int]], n_items: int) -> Histories:
    return Histories(histories_from(items, n_items).matrix, users_B=np.arange(len(items), dtype=np.int32))


def sorted_whole(scores_BI: Float32Array, k: int) -> tuple[NDArray[Any], Float32Array]:
    order_BK = np.argsort(-scores_BI, axis=1, kind="stable")[:, :k]
    found_BK = np.take_along_axis(scores_BI, order_BK, axis=1)
    return np.where(np.isneginf(found_BK), -1, order_BK), found_BK


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 10]), st.sampled_from([1, 7, 150, 333]), st.integers(1, 60))
def test_the_best_are_those_of_a_full_sort(seed: int, k: int, n_items: int, kinds: int) -> None:
    """With as few as one distinct score, some rows of equals, and many left out."""
    rng = np.random.default_rng(seed)
    scores_BI = rng.integers(0, kinds, (5, n_items)).astype(np.float32)
    scores_BI[1] = rng.standard_normal(n_items)
    scores_BI[2] = 1.0
    scores_BI[3, rng.random(n_items) < 0.97] = -np.inf
    k = min(k, n_items)
    wanted_BK, wanted_scores_BK = sorted_whole(scores_BI, k)
    items_BK, found_BK = best(scores_BI, k)
    np.testing.assert_array_equal(items_BK, wanted_BK)
    np.testing.assert_array_equal(found_BK, wanted_scores_BK)
    assert items_BK.dtype == np.int32


def test_seen_and_forbidden_items_are_left_out_and_gaps_filled() -> None:
    model = Fixed([[5, 4, 3, 2], [1, 2, 3, 4]])
    asked = histories([[0], []], 4)
    items_BK, scores_BK = top_k(model, asked, 3, allowed_I=np.array([True, False, True, True]))
    np.testing.assert_array_equal(items_BK, [[2, 3, -1], [3, 2, 0]])
    np.testing.assert_array_equal(scores_BK, [[3, 2, -np.inf], [4, 3, 1]])
    items_BK, _ = top_k(model, asked, 2, exclude_seen=False)
    np.testing.assert_array_equal(items_BK, [[0, 1], [3, 2]])


def test_more_than_the_catalogue_is_filled_up() -> None:
    items_BK, scores_BK = top_k(Fixed([[1, 2]]), histories([[]], 2), 4)
    np.testing.assert_array_equal(items_BK, [[1, 0, -1, -1]])
    np.testing.assert_array_equal(scores_BK[0, 2:], -np.inf)


def test_many_people_are_asked_about_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.recommenders.top.BLOCK_NUMBERS", 80)
    scores_UI = np.random.default_rng(0).standard_normal((7, 40))
    model = Fixed(scores_UI)
    items_BK, _ = top_k(model, histories([[1]] * 7, 40), 3)
    assert model.asked == [2, 2, 2, 1]
    scores_UI[:, 1] = -9
    np.testing.assert_array_equal(items_BK, np.argsort(-scores_UI, axis=1)[:, :3])


def test_nobody_asked() -> None:
    items_BK, scores_BK = top_k(Fixed(np.zeros((0, 3))), histories([], 3), 2)
    assert items_BK.shape == scores_BK.shape == (0, 2)


def test_questions_that_make_no_sense() -> None:
    model, asked = Fixed([[1, 2]]), histories([[]], 2)
    with pytest.raises(UsageError, match="k is 0"):
        top_k(model, asked, 0)
    with pytest.raises(UsageError, match="tells of 3 items; the catalogue has 2"):
        top_k(model, asked, 1, allowed_I=np.ones(3, np.bool_))
