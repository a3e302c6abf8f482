"""Spaces whose spread is known."""

from __future__ import annotations

import numpy as np
import pytest

from graft.towers.watch import spread


def test_known_spreads() -> None:
    even = spread(np.concatenate([np.eye(4), -np.eye(4)]))
    assert even.effective_rank == pytest.approx(4) and even.mean_cosine == pytest.approx(-1 / 7) and not even.collapsed
    one = spread(np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.5, 1.0, 1.5]]))
    assert one.effective_rank == pytest.approx(1) and one.mean_cosine == pytest.approx(1) and one.collapsed
    # Singular values 2 and 1 (three rows along one axis would be sqrt 3: four against one is 2 against 1): shares 2/3 and 1/3.
    uneven = spread(np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]]))
    assert uneven.effective_rank == pytest.approx(np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))))


def test_a_narrow_cone_is_a_collapse_though_its_rank_is_not_one() -> None:
    rng = np.random.default_rng(0)
    cone = np.ones(32) + 0.2 * rng.standard_normal((200, 32))
    found = spread(cone)
    assert found.mean_cosine > 0.95 and found.effective_rank > 1.5 and found.collapsed
    assert not spread(rng.standard_normal((200, 32))).collapsed


def test_line_of_both_directions_is_a_collapse() -> None:
    found = spread(np.outer([1.0, -1.0] * 10, np.ones(8)))
    assert found.effective_rank == pytest.approx(1, abs=1e-6) and found.mean_cosine < 0 and found.collapsed
    assert "epoch 3" in found.note(2) and "effective rank is 1.0 of 8" in found.note(2)


def test_items_nothing_is_known_of_do_not_count() -> None:
    rows = np.random.default_rng(1).standard_normal((30, 5))
    assert spread(np.concatenate([rows, np.zeros((9, 5))])) == spread(rows)


def test_no_spread() -> None:
    with pytest.raises(ValueError, match="two items"):
        spread(np.array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="finite"):
        spread(np.array([[1.0, np.nan], [0.0, 1.0]]))
