"""What is liked now, joined with what a person likes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.recommenders.tables import likes_of, two_tastes

from graft.errors import DataError, UsageError
from graft.interactions.likes import Interactions
from graft.recommenders.base import histories_from, histories_of
from graft.recommenders.ease import EASE
from graft.recommenders.neighbours import ItemNeighbours
from graft.recommenders.popularity import DAY, Popularity
from graft.recommenders.top import top_k
from graft.recommenders.trend import TENTH, Trend, aged

KNN: dict[str, Any] = {"model": "item-knn"}


def timed(seed: int = 0) -> Interactions:
    """Two tastes, one like every six hours in an order that is drawn."""
    table_UI = two_tastes(40, 16, seed)
    count = int(np.count_nonzero(table_UI))
    order_N = np.random.default_rng(seed).permutation(count).astype(np.float64)
    return likes_of(table_UI, DAY / 4 * order_N)


def test_scores_by_hand() -> None:
    likes = timed()
    model = Trend.fit(likes, **KNN, days=5.0, lift=0.3)
    histories = histories_of(likes)
    told_UI = ItemNeighbours.fit(likes).scores(histories)
    sd_I = told_UI.std(axis=0)
    lift_UI = (told_UI - told_UI.mean(axis=0)) / (sd_I + sd_I.mean())
    exact_UI = np.log(Popularity.fit(likes, days=5.0).popular() + TENTH) + 0.3 * lift_UI
    np.testing.assert_allclose(model.scores(histories), exact_UI, atol=1e-4)


def test_without_lift_it_is_recent_popularity() -> None:
    likes = timed()
    histories = histories_of(likes)
    model, recent = Trend.fit(likes, **KNN, lift=0.0), Popularity.fit(likes, days=7.0)
    np.testing.assert_array_equal(top_k(model, histories, 5)[0], top_k(recent, histories, 5)[0])


def test_the_moment_of_asking_counts() -> None:
    """Item 0 is liked on the first day, item 1 on the hundredth."""
    table_UI = np.zeros((8, 3), np.float32)
    table_UI[:4, 0], table_UI[4:, 1] = 1, 1
    likes = likes_of(table_UI, np.array([0.0] * 4 + [100.0] * 4) * DAY)
    model = Trend.fit(likes, **KNN)
    for now, first in ((DAY, 0), (100 * DAY, 1), (None, 1)):
        histories = histories_from([[2]], 3, now=now)
        assert model.scores(histories)[0].argmax() == first


def test_likes_fade() -> None:
    likes = timed()
    assert likes.time_N is not None
    late = aged(likes, 10.0)
    age_N = (likes.time_N.max() - likes.time_N) / DAY
    np.testing.assert_allclose(late.weight_N, 0.5 ** (age_N / 10), rtol=1e-5)
    assert late.weight_N.max() == 1 and (aged(likes, 0.01).weight_N > 0).all()
    assert aged(likes, None).weight_N.tolist() == likes.weight_N.tolist()
    given: dict[str, Any] = {"regularisation": 20.0}
    inner = Trend.fit(likes, given=given, half_life=10.0).inner
    np.testing.assert_array_equal(inner.state()["weight"], EASE.fit(late, **given).state()["weight"])


def test_strangers_get_the_trend_alone() -> None:
    likes = timed()
    model = Trend.fit(likes, **KNN, lift=5.0)
    known, stranger = model.scores(histories_from([[0, 2], []], 16))
    np.testing.assert_allclose(stranger, np.log(model.recent.popular() + TENTH), rtol=1e-5)
    assert np.abs(known - stranger).max() > 0.5


def test_tells_tastes_apart() -> None:
    model = Trend.fit(timed(), **KNN, lift=1.5)
    items_BK, _ = top_k(model, histories_from([[0, 4, 8], [1, 5, 9]], 16), 4)
    assert ((items_BK % 2 == [[0], [1]]).sum(axis=1) >= 3).all()


def test_any_model_within_and_back_from_its_state() -> None:
    likes = timed()
    histories = histories_of(likes, now=50 * DAY)
    few: dict[str, dict[str, Any]] = {
        "co-likes": {"dims": 4, "starts": 1},
        "item2vec": {"epochs": 1},
        "als": {"dims": 4, "iterations": 2},
        "ease": {},
        "ppmi-svd": {"dims": 4},
    }
    for model, given in few.items():
        one = Trend.fit(likes, model=model, given=given, half_life=30.0, days=None)
        back = Trend.from_state(one.settings, one.state())
        assert back.scores(histories).tobytes() == one.scores(histories).tobytes()
        assert (one.item_vectors() is None) == (model == "ease")


def test_what_cannot_work_is_refused() -> None:
    likes = timed()
    with pytest.raises(DataError, match="have no times"):
        Trend.fit(replace(likes, time_N=None), **KNN)
    with pytest.raises(UsageError, match="Did you mean 'ease'"):
        Trend.fit(likes, model="eas")
    with pytest.raises(UsageError, match="half_life=0"):
        Trend.fit(likes, half_life=0.0)
    with pytest.raises(UsageError, match="lift=-1"):
        Trend.fit(likes, lift=-1.0)
    with pytest.raises(UsageError, match="days=0"):
        Trend.fit(likes, days=0.0)


def releases(
    weeks: int = 12, people: int = 200, each: int = 20, seed: int = 0
) -> tuple[Interactions, NDArray[np.bool_]]:
    """Each week 20 new items, half of either taste, of which everyone likes some of their own; and of the last week, which part comes last."""
    rng = np.random.default_rng(seed)
    user, item, day = [], [], []
    for person in range(people):
        for week in range(weeks):
            own = week * each + 2 * rng.choice(each // 2, 4, replace=False) + person % 2
            user += [person] * 4
            item += own.tolist()
            day += np.sort(7 * week + 7 * rng.random(4)).tolist()
    names = tuple(f"u{u}" for u in range(people)), tuple(f"i{i}" for i in range(weeks * each))
    rows = np.array(user, np.int32), np.array(item, np.int32)
    likes = Interactions(*names, *rows, np.ones(len(user), np.float32), np.array(day) * DAY)
    return likes, np.array(day) > 7 * weeks - 3


def test_the_union_beats_both_where_taste_and_season_decide() -> None:
    likes, last_N = releases()
    before, after = likes.rows(~last_N), likes.rows(last_N)
    histories = histories_of(before)
    model = Trend.fit(before, **KNN, days=7.0)

    def hits(scored: Trend | Popularity | ItemNeighbours) -> float:
        items_BK, _ = top_k(scored, histories, 5)
        return float((items_BK[after.user_N] == after.item_N[:, None]).any(axis=1).mean())

    assert isinstance(model.inner, ItemNeighbours)
    alone = max(hits(model.recent), hits(model.inner))
    assert hits(model) > alone + 0.05
