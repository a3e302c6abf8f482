"""BPR: the gradient of a step, what it draws, and the map for new people.

Legend: U users, I items, D dims.
"""

from __future__ import annotations

import numpy as np
from tests.recommenders.tables import likes_of, two_tastes

from graft.recommenders.base import Histories, histories_of
from graft.recommenders.bpr import BPR, _Learner, _map


def learner(regularisation: float = 0.0, rate: float = 1e-3) -> _Learner:
    return _Learner(likes_of(two_tastes(12, 8)).matrix(), 3, rate, regularisation, np.random.default_rng(0))


def test_a_step_goes_down_the_loss() -> None:
    """A step changes the loss of its pairs by rate times gradient times gradient over its root mean square, to first order."""
    it = learner()
    user_P, item_P, other_P = np.array([0, 0, 5]), np.array([1, 2, 1]), np.array([3, 4, 6])
    weight_P1 = np.array([[1.0], [2.0], [0.5]], np.float32)

    def loss(person_UE: np.ndarray, item_IE: np.ndarray) -> float:
        margin_P = np.vecdot(person_UE[user_P], item_IE[item_P] - item_IE[other_P])
        return float((weight_P1[:, 0] * np.log1p(np.exp(-margin_P))).sum())

    person_UE, item_IE = it.person_UE.astype(np.float64), it.item_IE.astype(np.float64)
    numeric: list[np.ndarray] = []
    for which in range(2):
        tables = [person_UE.copy(), item_IE.copy()]
        gradient = np.zeros_like(tables[which])
        for place in np.ndindex(*gradient.shape):
            for sign in (1, -1):
                tables[which][place] += sign * 1e-5
                gradient[place] += sign * loss(tables[0], tables[1]) / 2e-5
                tables[which][place] -= sign * 1e-5
        numeric.append(gradient)
    numeric[0][:, -1] = 0  # the 1 of people stays
    it._step(user_P, item_P, other_P, weight_P1)
    for moved, before, gradient in zip((it.person_UE, it.item_IE), (person_UE, item_IE), numeric, strict=True):
        root = np.sqrt(1e-6 + (gradient**2).mean(axis=1, keepdims=True))
        np.testing.assert_allclose(moved - before, -1e-3 * gradient / root, atol=2e-6)


def test_what_is_put_behind_is_never_liked_and_evenly_drawn() -> None:
    it = learner()
    x_UI = two_tastes(12, 8)
    user_P = np.repeat(np.arange(12), 4000)
    count_UI = np.bincount(user_P * 8 + it._others(user_P), minlength=96).reshape(12, 8)
    assert (count_UI[x_UI > 0] == 0).all()
    share_UI = (x_UI == 0) / (x_UI == 0).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(count_UI / 4000, share_UI, atol=0.05)


def test_the_map_is_found_where_there_is_one() -> None:
    rng = np.random.default_rng(0)
    matrix = likes_of(two_tastes(200, 30)).matrix()
    item_ID, true_DD = rng.standard_normal((30, 4)).astype(np.float32), rng.standard_normal((4, 4))
    mean_UD = matrix @ item_ID / np.maximum(matrix.sum(axis=1).A1[:, None], 1)
    found_DD = _map(matrix, (mean_UD @ true_DD).astype(np.float32), item_ID)
    np.testing.assert_allclose(found_DD, true_DD, rtol=0.05, atol=0.05)


def test_known_people_have_learned_vectors_and_new_ones_mapped() -> None:
    likes = likes_of(two_tastes(60, 24))
    model = BPR.fit(likes, dims=4, epochs=3)
    known = histories_of(likes, np.array([5, 6]))
    mixed = Histories(known.matrix, users_B=np.array([5, -1], np.int32))
    vectors_BD = model.person_vectors(mixed)
    np.testing.assert_array_equal(vectors_BD[0], model.state()["person"][5])
    new_BD = model.person_vectors(Histories(known.matrix))
    np.testing.assert_allclose(vectors_BD[1], new_BD[1], rtol=1e-5)
    assert not np.allclose(new_BD[0], vectors_BD[0])


def test_someone_who_likes_everything_teaches_nothing_and_stops_nothing() -> None:
    x_UI = two_tastes(20, 6)
    x_UI[0] = 1
    it = _Learner(likes_of(x_UI).matrix(), 3, 0.1, 0.0, np.random.default_rng(0))
    assert 0 not in it.user_N[it.order_N]
    it.epoch()
