"""Queries with answers one can work out: margins by hand, k-centre on a line, typicality on planted clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.labelling.queries import at_random, best_first, closeness, entropy, k_centre, k_means, typical

LINE = np.arange(11, dtype=np.float32)[:, None]


def mask(n: int, *rows: int) -> np.ndarray:
    found = np.zeros(n, bool)
    found[list(rows)] = True
    return found


def test_margins_and_entropy_by_hand() -> None:
    p = np.array([[0.5, 0.5, 0.0], [0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert closeness(p) == pytest.approx([1.0, 0.5, 0.0, 1.0])
    by_hand = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)) / np.log(3)
    assert entropy(p) == pytest.approx([np.log(2) / np.log(3), by_hand, 0.0, 1.0])
    assert entropy(np.ones((2, 1))).tolist() == closeness(np.ones((2, 1))).tolist() == [0, 0]


def test_k_centre_on_a_line() -> None:
    """From 0 the farthest is 10, then the middle, then the middles of the halves."""
    found = k_centre(LINE, mask(11, 0), 4)
    assert found.rows[:2].tolist() == [10, 5]
    assert set(found.rows[2:].tolist()) <= {2, 3, 7, 8}
    assert found.score == pytest.approx([10, 5, 2, 2])


def test_k_centre_starts_in_the_middle_without_labels() -> None:
    assert k_centre(LINE, mask(11), 1).rows.tolist() == [5]
    assert set(k_centre(LINE, mask(11), 3).rows.tolist()) == {0, 5, 10}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(0, 5), st.integers(1, 20))
def test_k_centre_picks_what_the_plain_algorithm_picks(seed: int, n: int, labelled: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3)).astype(np.float32)
    given_N = mask(n, *range(min(labelled, n)))
    found = k_centre(x, given_N, k)
    covered = [*np.flatnonzero(given_N)] or [int(found.rows[0])]
    picks = [*zip(found.rows, found.score, strict=True)]
    for row, score in picks if given_N.any() else picks[1:]:
        distance = np.linalg.norm(x[:, None] - x[covered], axis=2).min(1)
        assert score == pytest.approx(distance.max(), rel=1e-3, abs=1e-3)
        assert distance[row] == pytest.approx(distance.max(), rel=1e-3, abs=1e-3)
        covered.append(int(row))
    assert len(set(found.rows.tolist())) == len(found.rows)
    assert not given_N[found.rows].any()


def test_stale_distances_do_not_change_the_picks() -> None:
    """More items than a block, so that most distances are bounds and not brought up to date."""
    x = np.random.default_rng(0).standard_normal((9000, 4)).astype(np.float32)
    found = k_centre(x, mask(9000, 3), 30)
    distance = np.linalg.norm(x - x[3], axis=1)
    for row in found.rows:
        assert distance[row] == pytest.approx(distance.max(), rel=1e-4)
        distance = np.minimum(distance, np.linalg.norm(x - x[row], axis=1))


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four far clusters of 60, 40, 30 and 20 items; the first of each lies in its very middle."""
    rng = np.random.default_rng(seed)
    centres = 20 * np.eye(4, 6, dtype=np.float32)
    sizes = (60, 40, 30, 20)
    parts = [c + rng.standard_normal((n, 6)).astype(np.float32) for c, n in zip(centres, sizes, strict=True)]
    for part in parts:
        part[0] = part[1:].mean(0)
    return np.concatenate(parts), np.repeat(np.arange(4), sizes)


def test_typical_items_of_planted_clusters() -> None:
    x, cluster = planted()
    found = typical(x, mask(len(x)), 4, seed=1)
    assert cluster[found.rows].tolist() == [0, 1, 2, 3], "one of each, the largest first"
    assert found.rows.tolist() == [0, 60, 100, 130], "the middle of each"
    assert found.score == pytest.approx(np.array([60, 40, 30, 20]) / 150)


def test_typical_prefers_clusters_without_a_label() -> None:
    x, cluster = planted()
    assert set(cluster[typical(x, mask(len(x), 5, 70), 2, seed=0).rows].tolist()) == {2, 3}


def test_typical_takes_no_more_than_there_is() -> None:
    x, _ = planted()
    found = typical(x[:5], mask(5, 0), 10, seed=0)
    assert sorted(found.rows.tolist()) == [1, 2, 3, 4]
    assert not len(typical(x[:2], mask(2, 0, 1), 3, seed=0).rows)


def test_k_means_finds_planted_clusters() -> None:
    x, cluster = planted()
    _, found = k_means(x, 4, np.random.default_rng(0))
    assert len({*zip(found.tolist(), cluster.tolist(), strict=True)}) == 4


def test_a_batch_without_near_duplicates() -> None:
    """The three best are copies of one item up to a hundredth: one of them is asked for."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 8)).astype(np.float32)
    x[1], x[2] = x[0] + 0.01, x[0] - 0.01
    score = np.linspace(1, 0, 50)
    found = best_first(score, x, np.arange(50), 5)
    assert found.rows.tolist() == [0, 3, 4, 5, 6]
    assert found.score.tolist() == score[[0, 3, 4, 5, 6]].tolist()
    same = best_first(np.ones(9), np.ones((9, 3)), np.arange(9), 4)
    assert same.rows.tolist() == [0], "where every item is a copy one label tells all"


def test_only_unlabelled_items_are_asked_for() -> None:
    x = np.random.default_rng(0).standard_normal((20, 3))
    assert best_first(np.arange(20.0), x, np.array([2, 7]), 5).rows.tolist() == [7, 2]
    assert not len(best_first(np.arange(20.0), x, np.empty(0, np.int64), 5).rows)
    assert sorted(at_random(np.array([4, 9]), 5, 0).tolist()) == [4, 9]


def test_one_item() -> None:
    x = np.ones((1, 4), np.float32)
    assert k_centre(x, mask(1), 5).rows.tolist() == [0]
    assert typical(x, mask(1), 5, 0).rows.tolist() == [0]
    assert best_first(np.ones(1), x, np.array([0]), 5).rows.tolist() == [0]
