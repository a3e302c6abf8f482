"""Negatives of every kind come from where they should, in the numbers asked, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from graft.errors import UsageError
from graft.interactions.likes import Interactions
from graft.towers.sampling import Sampler, Shares

# Person 0 likes items 0, 1 and left 4; person 1 likes 2, 3; person 2 likes 0 and left 1, 2. Item 5 nobody met.
USER, ITEM = [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 4, 2, 3, 0, 1, 2]
WEIGHT = [1, 1, 0, 1, 1, 1, 0, 0]
KINDS = [("a",), ("a",), ("a", "b"), ("b",), ("b",), ("b",)]


def table() -> Interactions:
    return Interactions(
        users=("p", "q", "r"),
        items=tuple("uvwxyz"),
        user_N=np.array(USER, np.int32),
        item_N=np.array(ITEM, np.int32),
        weight_N=np.array(WEIGHT, np.float32),
    )


def every(times: int = 400) -> np.ndarray:
    return np.tile(np.arange(5), times)  # the five likes: (0,0) (0,1) (1,2) (1,3) (2,0)


def test_random_ones_are_even_over_liked_items() -> None:
    sampler = Sampler(table(), None, Shares(random=1, in_batch=0), 2)
    drawn = sampler.draw(every(), np.random.default_rng(0))
    assert drawn.random_Bn.shape == (2000, 2) and drawn.hard_Bn.shape == (2000, 0)
    count_I = np.bincount(drawn.random_Bn.ravel(), minlength=6)
    assert count_I[4] == count_I[5] == 0  # nobody likes them
    assert np.abs(count_I[:4] - 1000).max() < 120  # 4 standard deviations


def test_same_category_shares_one() -> None:
    sampler = Sampler(table(), KINDS, Shares(random=0, in_batch=0, same_category=1), 3)
    places = every()
    drawn = sampler.draw(places, np.random.default_rng(0))
    assert drawn.random_Bn.shape == (2000, 0) and drawn.hard_Bn.shape == (2000, 3)
    for item, negatives in zip(sampler.item_N[places], drawn.hard_Bn, strict=True):
        assert all(set(KINDS[item]) & set(KINDS[other]) for other in negatives)
    assert {*drawn.hard_Bn[sampler.item_N[places] == 0].ravel()} == {0, 1, 2}
    # Item 2 has both categories: a draws 0, 1, 2 and b draws 2, 3 (4 and 5 have no like).
    assert {*drawn.hard_Bn[sampler.item_N[places] == 2].ravel()} == {0, 1, 2, 3}


def test_left_ones_are_the_persons_own() -> None:
    sampler = Sampler(table(), None, Shares(random=0, in_batch=0, left=1), 2)
    places = every()
    drawn = sampler.draw(places, np.random.default_rng(0))
    user_B = sampler.user_N[places]
    assert {*drawn.hard_Bn[user_B == 0].ravel()} == {4}
    assert {*drawn.hard_Bn[user_B == 2].ravel()} == {1, 2}
    assert {*drawn.hard_Bn[user_B == 1].ravel()} == {0, 1, 2, 3}  # left nothing: random ones


def test_own_likes_are_marked() -> None:
    sampler = Sampler(table(), KINDS, Shares(same_category=0.5, left=0.25), 4)
    places = every()
    drawn = sampler.draw(places, np.random.default_rng(0))
    liked = {(0, 0), (0, 1), (1, 2), (1, 3), (2, 0)}
    user_B = sampler.user_N[places].tolist()
    expected = [[(u, i) in liked for i in row] for u, row in zip(user_B, drawn.hard_Bn.tolist(), strict=True)]
    assert drawn.hard_Bn.shape == (2000, 8) and drawn.own_Bn.tolist() == expected and drawn.own_Bn.any()


def test_same_seed_same_draws() -> None:
    sampler = Sampler(table(), KINDS, Shares(same_category=1, left=1), 4)
    first, again, other = (sampler.draw(every(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first.hard_Bn == again.hard_Bn).all() and (first.random_Bn == again.random_Bn).all()
    assert (first.hard_Bn != other.hard_Bn).any() and (first.random_Bn != other.random_Bn).any()


def test_shares_are_scaled() -> None:
    assert Shares(random=2, in_batch=1, same_category=1, left=0).scaled() == Shares(
        random=0.5, in_batch=0.25, same_category=0.25
    )


def test_all_that_is_wrong_with_shares_is_said() -> None:
    with pytest.raises(UsageError, match="random=-1, left=nan"):
        Shares(random=-1, left=float("nan")).scaled()
    with pytest.raises(UsageError, match="all are 0"):
        Shares(random=0, in_batch=0).scaled()


def test_kinds_that_cannot_be_had() -> None:
    with pytest.raises(UsageError, match="left=0"):
        Sampler(table().likes(), None, Shares(left=1), 1)
    with pytest.raises(UsageError, match="same_category=0"):
        Sampler(table(), None, Shares(same_category=1), 1)
    with pytest.raises(UsageError, match="draws=0"):
        Sampler(table(), None, Shares(), 0)
