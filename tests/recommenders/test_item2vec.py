"""Skip-gram on what a person likes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.recommenders.tables import likes_of, two_tastes

from graft.errors import DataError, UsageError
from graft.recommenders.base import histories_from
from graft.recommenders.item2vec import Item2Vec, _step, _Vectors
from graft.recommenders.top import top_k


def test_one_step_against_differences() -> None:
    """The slopes of a step are those of the loss that the module states, summed over the batch."""
    rng = np.random.default_rng(0)
    u_ID, w_ID = rng.standard_normal((2, 6, 3))
    own_B, other_B, drawn_K = np.array([0, 1, 0]), np.array([2, 3, 4]), np.array([5, 2, 1, 5])

    def loss(u: NDArray[Any], w: NDArray[Any]) -> float:
        def log_s(x: Any) -> float:
            return -float(np.log1p(np.exp(-x)))

        total = 0.0
        for i, j in zip(own_B, other_B, strict=True):
            negatives = [log_s(-u[i] @ w[k]) for k in drawn_K if k not in (i, j)]
            total -= log_s(u[i] @ w[j]) + 5 / len(drawn_K) * sum(negatives)
        return total

    seen: list[tuple[NDArray[Any], NDArray[Any]]] = []

    class Kept(_Vectors):
        def step(self, row_B: NDArray[Any], slope_BD: NDArray[Any]) -> None:
            whole = np.zeros(self.value_ID.shape)
            np.add.at(whole, row_B, slope_BD)
            seen.append((self.value_ID, whole))

    item, context = (Kept(x.astype(np.float32), 0.1) for x in (u_ID, w_ID))
    _step(item, context, own_B, other_B, drawn_K, 5)
    step = 1e-5
    for which, (_, slope_ID) in enumerate(seen):
        for place in np.ndindex(6, 3):
            changed = np.zeros((6, 3))
            changed[place] = step
            above, below = (
                loss(u_ID + sign * changed * (which == 0), w_ID + sign * changed * (which == 1)) for sign in (1, -1)
            )
            assert slope_ID[place] == pytest.approx((above - below) / (2 * step), abs=1e-4)


def test_rows_that_occur_twice_are_added_up() -> None:
    vectors = _Vectors(np.zeros((3, 2), np.float32), 0.5)
    vectors.step(np.array([1, 1, 2]), np.array([[1, 0], [2, 0], [0, -4]], np.float32))
    # AdaGrad by rows: 3 by the root of 9 / 2, -4 by the root of 16 / 2.
    np.testing.assert_allclose(vectors.value_ID, 0.5 * np.sqrt(2) * np.array([[0, 0], [-1, 0], [0, 1]]), atol=1e-6)


def test_items_of_one_taste_lie_together() -> None:
    model = Item2Vec.fit(likes_of(two_tastes(80, 20)), dims=8, epochs=25)
    v_ID = model.item_vectors()
    unit_ID = v_ID / np.linalg.norm(v_ID, axis=1, keepdims=True)
    cosine_II = unit_ID @ unit_ID.T
    same_II = (np.arange(20)[:, None] - np.arange(20)) % 2 == 0
    np.fill_diagonal(same_II, False)
    different_II = (np.arange(20)[:, None] - np.arange(20)) % 2 == 1
    assert cosine_II[same_II].mean() > cosine_II[different_II].mean() + 0.5
    items_BK, _ = top_k(model, histories_from([[0, 2], [1, 3]], 20), 5)
    assert (items_BK % 2 == [[0], [1]]).all()


def test_seeds() -> None:
    likes = likes_of(two_tastes(40, 12))
    one, same, other = (Item2Vec.fit(likes, dims=4, epochs=2, seed=seed).item_vectors() for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes() != other.tobytes()


def test_nothing_beside_it() -> None:
    """Items that nobody likes beside another have no vector and are never drawn; who likes them alone gets popularity."""
    model = Item2Vec.fit(likes_of([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]), dims=3, epochs=3)
    assert not model.item_vectors()[2:].any()
    assert model.scores(histories_from([[2], []], 4)).tolist() == [[2, 2, 1, 0]] * 2


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(DataError, match="no like"):
        Item2Vec.fit(likes_of([[-1.0]]))
    for given in ({"dims": 0}, {"negatives": 0}, {"rate": 0.0}, {"length": 1.5}, {"epochs": -1}):
        with pytest.raises(UsageError, match=f"{next(iter(given))}="):
            Item2Vec.fit(likes_of([[1, 1]]), **given)
