"""The map from content to vectors against a known linear truth, and its measure against chance."""

from __future__ import annotations

import numpy as np
import pytest

from graft.errors import DataError, UsageError
from graft.interactions.likes import Interactions
from graft.towers.new_items import ContentMap, hold_out_items, judge, learn_map, liked_together

ITEMS, C, D = 120, 6, 4


def truth(noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    content_IC, weight_CD = rng.standard_normal((ITEMS, C)), rng.standard_normal((C, D))
    return content_IC, weight_CD, 3 + content_IC @ weight_CD + noise * rng.standard_normal((ITEMS, D))


def test_a_linear_truth_is_found() -> None:
    content_IC, weight_CD, vectors_ID = truth()
    found = learn_map(content_IC, vectors_ID)
    assert found.strength == 1e-3 and found.explained > 0.999
    new_MC = np.random.default_rng(1).standard_normal((5, C))
    assert found.vectors(new_MC) == pytest.approx(3 + new_MC @ weight_CD, abs=0.02)


def test_ridge_by_its_closed_form() -> None:
    """Against (X'X + s m)^-1 X'Y on centred data, m the mean eigenvalue."""
    content_IC, _, vectors_ID = truth(noise=2.0)
    found = learn_map(content_IC, vectors_ID)
    x, y = (part - part.mean(0) for part in (content_IC, vectors_ID))
    gram_CC = x.T @ x
    direct = np.linalg.solve(gram_CC + found.strength * np.trace(gram_CC) / C * np.eye(C), x.T @ y)
    assert found.weight_CD == pytest.approx(direct, abs=1e-5)


def test_content_that_says_nothing_is_damped() -> None:
    rng = np.random.default_rng(3)
    found = learn_map(rng.standard_normal((ITEMS, 40)), rng.standard_normal((ITEMS, D)))
    assert found.strength >= 1 and found.explained < 0.05
    assert np.linalg.norm(found.vectors(rng.standard_normal((9, 40))) - found.offset_D, axis=1).max() < 1


def test_unknown_items_are_left_out() -> None:
    content_IC, _, vectors_ID = truth()
    content_IC[:5], vectors_ID[5:10] = 0, 0
    found = learn_map(content_IC, vectors_ID)
    again = learn_map(content_IC[10:], vectors_ID[10:])
    assert found.explained > 0.999
    assert found.weight_CD == pytest.approx(again.weight_CD, abs=0.02)


def test_state_brings_it_back() -> None:
    content_IC, _, vectors_ID = truth(noise=0.1)
    found = learn_map(content_IC, vectors_ID)
    again = ContentMap.from_state(found.state())
    assert (again.vectors(content_IC) == found.vectors(content_IC)).all()
    assert (again.strength, again.explained) == (found.strength, found.explained)


def test_content_that_does_not_fit() -> None:
    content_IC, _, vectors_ID = truth()
    with pytest.raises(DataError, match="19 items have both"):
        learn_map(content_IC[:19], vectors_ID[:19])
    found = learn_map(content_IC, vectors_ID)
    with pytest.raises(DataError, match="rows of 6 numbers"):
        found.vectors(content_IC[:, :5])
    content_IC[7, 2] = np.nan
    with pytest.raises(DataError, match="1 rows, the first 7"):
        learn_map(content_IC, vectors_ID)


def groups(people: int = 60, items: int = 40) -> Interactions:
    """People of even codes like half of the items of even codes, the others half of the odd ones."""
    rng = np.random.default_rng(4)
    pairs = [(u, i) for u in range(people) for i in range(items) if u % 2 == i % 2 and rng.random() < 0.5]
    user_N, item_N = np.array(pairs).T
    return Interactions(
        users=tuple(map(str, range(people))),
        items=tuple(map(str, range(items))),
        user_N=user_N.astype(np.int32),
        item_N=item_N.astype(np.int32),
        weight_N=np.ones(len(pairs), np.float32),
    )


def test_held_out_items_leave_no_trace() -> None:
    likes = groups()
    usable_I = np.arange(40) < 30
    held = hold_out_items(likes, share=0.2, usable_I=usable_I, seed=1)
    assert len(held.items_M) == 6 and held.items_M.max() < 30
    assert not np.isin(held.train.item_N, held.items_M).any()
    assert len(held.train) + np.isin(likes.item_N, held.items_M).sum() == len(likes)
    pairs = {*zip(held.users_B[held.row_N].tolist(), held.items_M[held.column_N].tolist(), strict=True)}
    assert pairs == {
        (u, i) for u, i in zip(likes.user_N.tolist(), likes.item_N.tolist(), strict=True) if i in held.items_M
    }


def test_content_beats_chance_and_no_content_is_chance() -> None:
    """Content tells the group, so a new item's vector lies with its group; a constant scorer gets exactly what popularity gets."""
    likes = groups()
    content_IC = np.random.default_rng(5).standard_normal((40, 3)) * 0.1 + np.where(np.arange(40) % 2, 1, -1)[:, None]
    held = hold_out_items(likes, share=0.25, seed=0)
    vectors_ID = np.zeros((40, 2))
    vectors_ID[np.arange(40), np.arange(40) % 2] = 1
    vectors_ID[held.items_M] = 0  # the model has not seen them
    found = learn_map(content_IC, vectors_ID)
    new_MD = found.vectors(content_IC[held.items_M])
    judged = judge(held, lambda matrix, _: liked_together(matrix, vectors_ID, new_MD), k=3)
    assert judged.hit_rate.value > 0.8 > judged.chance.value + 0.1
    assert judged.over_chance.low is not None and judged.over_chance.low > 0
    level = judge(held, lambda _, users: np.zeros((len(users), len(held.items_M))), k=3)
    assert level.over_chance.value == 0 and level.recall.value == pytest.approx(3 / 10)


def test_nothing_to_hold_out() -> None:
    with pytest.raises(UsageError, match="share=1"):
        hold_out_items(groups(), share=1)
    one = groups().rows(groups().item_N == 0)
    with pytest.raises(DataError, match="cannot be judged"):
        hold_out_items(one, share=0.5)
