"""Vectors from co-likes: the loss, minima that are known, and what the recommender says of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from graft.errors import DataError, UsageError
from graft.interactions.likes import Interactions
from graft.recommenders.base import histories_from, histories_of
from graft.recommenders.colikes import CoLikes, Pairs, counted, decompose, grid, pairs_of, weighed
from graft.recommenders.descent import OPTIMISERS, descend, gradient


def likes_of(rows: list[list[int]], n_items: int) -> Interactions:
    """One person a row, without times."""
    user = np.array([u for u, row in enumerate(rows) for _ in row], np.int32)
    item = np.array([i for row in rows for i in sorted(row)], np.int32)
    names = tuple(f"u{u}" for u in range(len(rows))), tuple(f"i{i}" for i in range(n_items))
    return Interactions(*names, user, item, np.ones(len(item), np.float32))


def drawn(people: int = 60, items: int = 25, seed: int = 0) -> Interactions:
    """Two groups of people with an own half of the items each, and a few strays."""
    rng = np.random.default_rng(seed)
    half = items // 2
    rows = []
    for person in range(people):
        own = rng.choice(half, 5, replace=False) + half * (person % 2)
        rows.append(sorted({*own.tolist(), int(rng.integers(items))}))
    return likes_of(rows, items)


def known_rank(items: int, rank: int, seed: int = 0) -> Pairs:
    v_ID = np.random.default_rng(seed).standard_normal((items, rank))
    x_II = v_ID @ v_ID.T
    np.fill_diagonal(x_II, 0)
    return weighed(csr_matrix(x_II))


def brute_force(x_II: NDArray[Any], v_ID: NDArray[Any]) -> float:
    return sum(float(v_ID[i] @ v_ID[j] - x_II[i, j]) ** 2 for i in range(len(v_ID)) for j in range(len(v_ID)) if i != j)


def test_counts_pairs_without_making_them() -> None:
    likes = likes_of([[0, 1, 2], [0, 1], [3], [1, 2]], 4)
    x_II = np.array([[0, 2, 1, 0], [2, 0, 2, 0], [1, 2, 0, 0], [0, 0, 0, 0]], float)
    for pairs in (counted(likes.matrix()), weighed(csr_matrix(x_II))):
        assert np.allclose(pairs.times(np.eye(4)), x_II)
        assert pairs.squares() == 18
    assert np.allclose(pairs_of(likes.matrix(), "log").times(np.eye(4)), np.log1p(x_II))


def test_ppmi_by_hand() -> None:
    """Symmetric, of the formula in words, on three items."""
    x_II = np.array([[0, 2, 1], [2, 0, 0], [1, 0, 0]], float)
    row_I = x_II.sum(axis=1)
    chance_I = row_I**0.75 / (row_I**0.75).sum()
    with np.errstate(divide="ignore"):
        one_II = np.maximum(np.log(x_II / row_I[:, None] / chance_I), 0)
    likes = likes_of([[0, 1], [0, 1], [0, 2]], 3)
    assert np.allclose(pairs_of(likes.matrix(), "ppmi").times(np.eye(3)), (one_II + one_II.T) / 2)


@pytest.mark.parametrize("values", ["counts", "log", "ppmi"])
def test_loss_against_brute_force(values: str) -> None:
    pairs = pairs_of(drawn().matrix(), values)
    v_ID = np.random.default_rng(1).standard_normal((25, 4))
    assert pairs.loss(v_ID) == pytest.approx(brute_force(pairs.times(np.eye(25)), v_ID))


@pytest.mark.parametrize(("items", "rank"), [(30, 3), (60, 4), (500, 5)])
def test_a_matrix_of_known_rank_is_recovered(items: int, rank: int) -> None:
    pairs = known_rank(items, rank)
    v_ID, losses = decompose(pairs, rank, iterations=200)
    assert pairs.loss(v_ID) < 1e-4 * pairs.squares()
    assert losses[-1] == pytest.approx(pairs.change(v_ID))


def test_the_loss_never_rises() -> None:
    for seed in range(4):
        pairs = pairs_of(drawn(seed=seed).matrix())
        _, losses = decompose(pairs, 6, starts=1, seed=seed)
        assert len(losses) > 5 and (np.diff(losses) <= 1e-9 * abs(losses[-1])).all()


def test_no_gradient_is_left_and_no_optimiser_does_better() -> None:
    pairs = pairs_of(drawn().matrix())
    v_ID, losses = decompose(pairs, 3, iterations=500)
    loss, slope_ID = gradient(pairs, v_ID)
    assert loss == pytest.approx(pairs.squares() + losses[-1])
    assert np.abs(slope_ID).max() < 0.02 * np.abs(4 * pairs.times(v_ID)).max()
    reached = descend(pairs, 3, optimiser="adam", rate=0.05, iterations=600)
    assert loss < 1.001 * reached.losses[-1]


def test_more_starts_are_never_worse() -> None:
    pairs = pairs_of(drawn(seed=3).matrix())
    of_one, of_four = (decompose(pairs, 5, starts=starts, seed=1)[1][-1] for starts in (1, 4))
    assert of_four <= of_one


def test_more_dims_than_items() -> None:
    v_ID, _ = decompose(known_rank(6, 2), 10)
    assert v_ID.shape == (6, 10) and np.isfinite(v_ID).all()


def test_gradient_against_differences() -> None:
    pairs = pairs_of(drawn().matrix())
    rng = np.random.default_rng(2)
    v_ID, toward_ID = rng.standard_normal((2, 25, 3))
    step = 1e-5
    by_difference = (pairs.loss(v_ID + step * toward_ID) - pairs.loss(v_ID - step * toward_ID)) / (2 * step)
    assert np.vdot(gradient(pairs, v_ID)[1], toward_ID) == pytest.approx(by_difference, rel=1e-6)


@pytest.mark.parametrize(("optimiser", "rate"), [("sgd", 1e-4), ("momentum", 5e-5), ("adagrad", 0.2), ("adam", 0.05)])
def test_optimisers_bring_the_loss_down(optimiser: str, rate: float) -> None:
    pairs = pairs_of(drawn().matrix())
    _, best = decompose(pairs, 4)
    run = descend(pairs, 4, optimiser=optimiser, rate=rate, iterations=300)
    assert not run.diverged and len(run.losses) == 301
    assert min(run.losses) == pytest.approx(pairs.loss(run.v_ID))
    least = pairs.squares() + best[-1]
    assert 0.99 * least < run.losses[-1] < least + 0.1 * (run.losses[0] - least)


def test_a_rate_too_large_is_told() -> None:
    pairs = pairs_of(drawn().matrix())
    run = descend(pairs, 4, optimiser="sgd", rate=10.0)
    assert run.diverged and len(run.losses) < 20 and np.isfinite(run.v_ID).all()


def test_first_steps_of_adam_and_adagrad_are_the_rate() -> None:
    slope = np.array([[3.0, -0.5]])
    for optimiser in ("adam", "adagrad"):
        assert np.allclose(OPTIMISERS[optimiser](0.1)(slope), [[0.1, -0.1]])
    heavy = OPTIMISERS["momentum"](0.1)
    assert np.allclose(heavy(slope), 0.1 * slope) and np.allclose(heavy(slope), 0.19 * slope)


def test_settings_are_refused() -> None:
    likes = drawn()
    with pytest.raises(UsageError, match="Did you mean 'counts'"):
        CoLikes.fit(likes, values="count")
    with pytest.raises(UsageError, match="length=2"):
        CoLikes.fit(likes, length=2.0)
    with pytest.raises(UsageError, match="optimiser 'adan'"):
        descend(pairs_of(likes.matrix()), 2, optimiser="adan", rate=1.0)
    with pytest.raises(UsageError, match="rate=0"):
        descend(pairs_of(likes.matrix()), 2, optimiser="adam", rate=0.0)
    with pytest.raises(DataError, match="no like"):
        CoLikes.fit(likes_of([], 3))


def test_recommends_from_the_own_half() -> None:
    likes = drawn(people=200)
    for given in ({}, *grid()[:3]):
        model = CoLikes.fit(likes, **{**given, "dims": 4})
        scores_BI = model.scores(histories_from([[0, 1], [13, 14]], 25))
        assert set(np.argsort(-scores_BI[0])[:8]) <= set(range(12)), given
        assert set(np.argsort(-scores_BI[1])[:8]) <= set(range(12, 24)), given


def test_scores_by_hand() -> None:
    """Mean direction of what is liked, item lengths to a power."""
    likes = drawn()
    model = CoLikes.fit(likes, dims=3, length=0.5)
    v_ID = model.item_vectors()
    norm_I = np.linalg.norm(v_ID, axis=1)
    person = (v_ID[2] / norm_I[2] + v_ID[7] / norm_I[7]) / 2
    expected = v_ID @ person / np.sqrt(norm_I)
    assert np.allclose(model.scores(histories_from([[2, 7]], 25))[0], expected, atol=1e-5)


def test_together_counts_people() -> None:
    likes = drawn()
    model = CoLikes.fit(likes, dims=3)
    once = likes.matrix().toarray() > 0
    expected = [(once[:, 2] & once[:, j]).sum() for j in range(25)]
    assert model.together(2, np.arange(25)).tolist() == expected


def test_strangers_and_items_alone() -> None:
    """Items that nobody likes beside another have no vector; who likes nothing else is scored by popularity."""
    likes = likes_of([[0, 1], [0, 1], [0, 2], [3], [3], [3], [3]], 5)
    model = CoLikes.fit(likes, dims=2)
    assert not model.item_vectors()[3:].any()
    scores_BI = model.scores(histories_from([[], [3], [4], [0]], 5))
    assert scores_BI[:3].tolist() == [[3, 2, 1, 4, 0]] * 3
    assert np.isfinite(scores_BI).all() and scores_BI[3, 3] == 0


def test_same_bits_and_back_from_its_state() -> None:
    likes = drawn()
    one, two = CoLikes.fit(likes, dims=5, seed=3), CoLikes.fit(likes, dims=5, seed=3)
    assert one.item_vectors().tobytes() == two.item_vectors().tobytes()
    back = CoLikes.from_state(one.settings, one.state())
    histories = histories_of(likes)
    assert back.scores(histories).tobytes() == one.scores(histories).tobytes()
    assert back.together(0, np.arange(5)).tolist() == one.together(0, np.arange(5)).tolist()
