"""What every recommender must do, whoever wrote it.

Legend: U users, I items, B people of a batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import numpy as safetensors
from tests.recommenders.tables import likes_of, two_tastes

from graft.errors import DataError
from graft.interactions.likes import Interactions
from graft.recommenders import als, bpr, colikes, cooccurrence, ease, item2vec, mlp, neighbours, popularity, trend
from graft.recommenders.base import Float32Array, Histories, Recommender, Settings, histories_from, histories_of
from graft.recommenders.top import top_k

PEOPLE, ITEMS = 60, 24


@dataclass(frozen=True)
class Case:
    """A recommender to hold to the contract; `personal` says that it tells people apart."""

    name: str
    fit: Callable[..., Recommender]
    grid: Callable[[], list[Settings]]
    settings: Settings
    personal: bool = True


CASES = (
    Case("popularity", popularity.Popularity.fit, popularity.grid, {}, personal=False),
    Case("popularity-week", popularity.Popularity.fit, popularity.grid, {"days": 7.0}, personal=False),
    Case("item-knn", neighbours.ItemNeighbours.fit, neighbours.grid, {"neighbours": 10}),
    Case("ppmi-svd", cooccurrence.Cooccurrence.fit, cooccurrence.grid, {"dims": 6}),
    Case("ease", ease.EASE.fit, ease.grid, {"regularisation": 20.0}),
    Case("als", als.ALS.fit, als.grid, {"dims": 6, "regularisation": 1.0, "iterations": 6}),
    Case("bpr", bpr.BPR.fit, bpr.grid, {"dims": 6, "epochs": 60}),
    Case("co-likes", colikes.CoLikes.fit, colikes.grid, {"dims": 4}),
    Case("item2vec", item2vec.Item2Vec.fit, item2vec.grid, {"dims": 8, "epochs": 60}),
    # Whom it does not know it tells what is liked lately, not of all time; its own tests ask for taste.
    Case("trend", trend.Trend.fit, trend.grid, {"model": "item-knn"}, personal=False),
    Case("mlp", mlp.PairScorer.fit, mlp.grid, {"dims": 8, "epochs": 80, "rate": 0.01}),
)


@pytest.fixture(params=CASES, ids=[case.name for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def timed(weights_UI: Any) -> Interactions:
    """Likes, one an hour."""
    return likes_of(weights_UI, 3600 * np.arange(np.count_nonzero(weights_UI), dtype=np.float64))


_fitted: dict[str, Recommender] = {}


def fitted(case: Case) -> Recommender:
    """Fitted on two tastes, where nobody likes item 23 and person 59 likes nothing; once for all tests."""
    if case.name not in _fitted:
        _fitted[case.name] = case.fit(timed(table()), **case.settings)
    return _fitted[case.name]


def table() -> NDArray[np.float32]:
    table_UI = two_tastes(PEOPLE, ITEMS)
    table_UI[:, -1] = 0
    table_UI[-1] = 0
    return table_UI


def assert_scores(scores_BI: Float32Array, people: int, items: int = ITEMS) -> None:
    assert scores_BI.shape == (people, items)
    assert scores_BI.dtype == np.float32
    assert np.isfinite(scores_BI).all()


def test_scores_are_finite_and_tell_items_apart(case: Case) -> None:
    model = fitted(case)
    assert isinstance(model, Recommender)
    scores_BI = model.scores(histories_of(timed(table())))
    assert_scores(scores_BI, PEOPLE)
    assert (scores_BI.std(axis=1) > 0).all()


def test_what_is_recommended_is_to_the_taste(case: Case) -> None:
    """New people who like three items of one taste: at least four of the five best others are of it."""
    if not case.personal:
        return
    histories = histories_from([[0, 4, 8], [1, 5, 9]], ITEMS)
    items_BK, _ = top_k(fitted(case), histories, 5)
    assert ((items_BK % 2 == [[0], [1]]).sum(axis=1) >= 4).all()


def test_a_batch_is_its_people_one_by_one(case: Case) -> None:
    model, everyone = fitted(case), histories_of(timed(table()))
    one_by_one = np.concatenate([model.scores(everyone.part(b, b + 1)) for b in range(PEOPLE)])
    np.testing.assert_allclose(model.scores(everyone), one_by_one, rtol=1e-4, atol=1e-5)


def test_known_people_chosen_by_code_are_those_people(case: Case) -> None:
    model, likes = fitted(case), timed(table())
    chosen = np.array([7, 3, 59], np.int32)
    together = model.scores(histories_of(likes))[chosen]
    np.testing.assert_allclose(model.scores(histories_of(likes, chosen)), together, rtol=1e-4, atol=1e-5)


def test_the_state_on_disk_gives_the_same_scores(case: Case) -> None:
    model, everyone = fitted(case), histories_of(timed(table()))
    settings = json.loads(json.dumps(model.settings))
    again = type(model).from_state(settings, safetensors.load(safetensors.save(model.state())))
    assert again.name == model.name
    np.testing.assert_array_equal(again.scores(everyone), model.scores(everyone))
    vectors, vectors_again = model.item_vectors(), again.item_vectors()
    assert (vectors is None) == (vectors_again is None)
    if vectors is not None and vectors_again is not None:
        assert vectors.shape[0] == ITEMS
        np.testing.assert_array_equal(vectors, vectors_again)


def test_the_same_seed_gives_the_same_bits(case: Case) -> None:
    likes = timed(table())
    settings = case.settings | {"seed": 3} | ({"epochs": 2} if "epochs" in case.settings else {})
    first, second = (case.fit(likes, **settings).state() for _ in range(2))
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], name)


def test_scores_are_fresh_and_may_be_changed(case: Case) -> None:
    model, everyone = fitted(case), histories_of(timed(table()))
    first = model.scores(everyone)
    kept = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(model.scores(everyone), kept)


def test_without_a_known_like_popularity_decides(case: Case) -> None:
    """Nothing liked, and only what nobody else likes: both get the order of popularity, alone or beside others."""
    popular_I = table().sum(axis=0)
    scores_BI = fitted(case).scores(histories_from([[], [ITEMS - 1], [0, 2]], ITEMS))
    assert_scores(scores_BI, 3)
    for row in scores_BI[: 2 if case.personal else 0]:
        np.testing.assert_allclose(row, popular_I)


def test_an_item_nobody_liked_is_not_pushed(case: Case) -> None:
    scores_BI = fitted(case).scores(histories_from([[0, 4, 8], [1, 5]], ITEMS))
    assert (scores_BI[:, -1] < np.sort(scores_BI, axis=1)[:, -3]).all()


def test_histories_in_any_order_score_alike(case: Case) -> None:
    model, sorted_one = fitted(case), histories_from([[2, 4, 9]], ITEMS)
    matrix = sorted_one.matrix.copy()
    matrix.indices[:] = [9, 2, 4]
    matrix.has_sorted_indices = False
    np.testing.assert_allclose(model.scores(Histories(matrix)), model.scores(sorted_one), rtol=1e-4, atol=1e-5)


def test_likes_in_any_order_of_items_are_learned_from(case: Case) -> None:
    """A log sorted by person and time has items in any order."""
    likes = timed(table())
    order = np.lexsort((np.random.default_rng(0).random(len(likes)), likes.user_N))
    mixed = Interactions(
        likes.users, likes.items, likes.user_N[order], likes.item_N[order], likes.weight_N[order], likes.time_N
    )
    settings = case.settings | ({"epochs": 2} if "epochs" in case.settings else {})
    assert_scores(case.fit(mixed, **settings).scores(histories_of(mixed)), PEOPLE)


@pytest.mark.parametrize(
    "weights_UI",
    [
        [[1.0]],
        [[1.0, 0, 1.0, 1.0]],
        [[1.0], [1.0], [1.0]],
        [[1.0, 1.0, 1.0], [0, 1.0, 0], [0, 0, 0]],
        [[1.0, 0], [0, 1.0]],
        [[5.0, 0.2, -1.0], [0, 3.0, 1.0], [-1.0, 0, -1.0]],
    ],
    ids=["one of each", "one person", "one item", "all items liked by one", "nothing in common", "weights, and seen"],
)
def test_the_smallest_tables_are_fitted(case: Case, weights_UI: list[list[float]]) -> None:
    settings = case.settings | ({"epochs": 2} if "epochs" in case.settings else {})
    likes = timed(weights_UI)
    model = case.fit(likes, **settings)
    people, items = np.shape(weights_UI)
    assert_scores(model.scores(histories_of(likes)), people, items)
    assert_scores(model.scores(histories_from([[], list(range(items))], items)), 2, items)


def test_without_any_like_there_is_nothing_to_learn(case: Case) -> None:
    with pytest.raises(DataError, match="no like among 2 interactions"):
        case.fit(timed([[-1.0, 0], [0, -1.0]]), **case.settings)


def test_the_grid_is_of_settings_that_fit_takes(case: Case) -> None:
    grid = case.grid()
    assert grid
    assert len({json.dumps(settings, sort_keys=True) for settings in grid}) == len(grid)
    few = {"epochs": 1}
    for settings in grid[:: max(1, len(grid) // 3)]:
        settings = settings | (few if "epochs" in settings else {})
        model = case.fit(timed(two_tastes(8, 6)), **settings)
        assert settings.items() <= model.settings.items()
