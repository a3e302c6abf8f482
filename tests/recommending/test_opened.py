"""Asking an opened recommender: by title, by person, by history; filters, diversity, reasons, and what is not known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.recommending.small_likes import SEA, SPACE, TITLES, catalogue, folder, likes, saved

from graft.errors import DataError, UsageError
from graft.interactions.likes import Catalogue, Interactions
from graft.recommenders.popularity import Popularity
from graft.recommending.artefact import Saved, write
from graft.recommending.opened import OpenedRecommender, open_recommender


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> OpenedRecommender:
    return open_recommender(folder(tmp_path_factory.mktemp("films") / "model"))


def fans(rows: Interactions, code: int) -> set[int]:
    return set(rows.user_N[rows.item_N == code].tolist())


def test_like_by_a_title_written_loosely(films: OpenedRecommender) -> None:
    found = films.similar("apollo 13", 5)
    assert found.asked == ("Apollo 13 (1995)",)
    assert {r.title for r in found.recommendations} == set(SPACE) - {"Apollo 13 (1995)"}
    rows = likes()
    for one in found.recommendations:
        both = len(fans(rows, 6) & fans(rows, TITLES.index(one.title)))
        assert one.reason == f"liked together by {both} people"


def test_a_title_that_is_not_there(films: OpenedRecommender) -> None:
    with pytest.raises(DataError, match='"xyzzy" is not among the 12 items'):
        films.similar("xyzzy")
    with pytest.raises(DataError, match=r"Nearest: .*Harbour Lights"):
        films.similar("harbour nights of the living dead")


def test_people_get_their_circle_and_nothing_twice(films: OpenedRecommender) -> None:
    (sea, space) = films.recommend(["p00", "p39"], k=2)
    assert {r.title for r in sea.recommendations} == set(SEA) - set(sea.asked)
    assert {r.title for r in space.recommendations} == set(SPACE) - set(space.asked)
    (again,) = films.recommend(["p00"], k=12, exclude_seen=False)
    assert len(again.recommendations) == 12


def test_more_than_there_is_says_so(films: OpenedRecommender) -> None:
    (found,) = films.recommend(["p00"], k=50)
    assert len(found.recommendations) == 8 and "only 8 of the 50" in found.notes[-1]


def test_someone_unknown_gets_what_most_people_like(films: OpenedRecommender) -> None:
    (known, unknown) = films.recommend(["p00", "nobody"], k=12)
    assert known.notes[:1] != unknown.notes[:1] and "nobody called" in unknown.notes[0]
    counts = np.bincount(likes().item_N, minlength=12)
    order = [counts[int(r.item)] for r in unknown.recommendations]
    assert order == sorted(order, reverse=True)
    assert unknown.recommendations[0].reason == f"liked by {max(counts)} people"


def test_histories_of_titles(films: OpenedRecommender) -> None:
    (found,) = films.recommend(histories=[["salt", "Tide (2010)", "no such film at all"]], k=4)
    assert set(found.asked) == {"Salt (2004)", "Tide (2010)"}
    assert {r.title for r in found.recommendations} == set(SEA) - set(found.asked)
    assert "no such film" in found.notes[0]
    with pytest.raises(DataError, match="qqqq"):
        films.recommend(histories=[["qqqq"]])


def test_a_condition_on_items(films: OpenedRecommender) -> None:
    (found,) = films.recommend(["p00"], k=3, where="array_has(categories, 'Space')")
    assert {r.title for r in found.recommendations} <= set(SPACE) and len(found.recommendations) == 3
    with pytest.raises(UsageError, match="Columns: id, title, categories"):
        films.recommend(["p00"], where="price < 3")
    with pytest.raises(UsageError, match="one condition"):
        films.recommend(["p00"], where="id = '1'; drop table x")


def test_wrong_arguments(films: OpenedRecommender) -> None:
    with pytest.raises(UsageError, match="either users or histories"):
        films.recommend()
    with pytest.raises(UsageError, match="diversity=2"):
        films.recommend(["p00"], diversity=2)
    with pytest.raises(UsageError, match="k=0"):
        films.recommend(["p00"], k=0)
    with pytest.raises(UsageError, match="k=0"):
        films.similar("salt", 0)


def test_diversity_brings_the_other_circle_in(films: OpenedRecommender) -> None:
    (near,) = films.recommend(histories=[["Salt (2004)"]], k=4)
    (mixed,) = films.recommend(histories=[["Salt (2004)"]], k=4, diversity=0.9)
    assert near.recommendations[0] == mixed.recommendations[0]
    assert {r.title for r in near.recommendations} <= set(SEA)
    assert {r.title for r in mixed.recommendations} & set(SPACE)


def test_suggestions_as_typed(films: OpenedRecommender) -> None:
    assert films.suggestions("light", 2)[0][1] in ("The Old Lighthouse (2001)", "Harbour Lights (1988)")


def test_more_like_this_is_no_popularity_even_where_popularity_won(tmp_path: Path) -> None:
    rows = likes()
    model = Popularity.fit(rows)
    path = tmp_path / "model"
    path.mkdir()
    own = Saved("popularity", model.settings, model.state(), rows, catalogue(), {"name": "films"})
    write(path, own, "# films")
    found = open_recommender(path).similar("Apollo 13 (1995)", 5)
    assert {r.title for r in found.recommendations} == set(SPACE) - {"Apollo 13 (1995)"}
    shared = [len(fans(rows, 6) & fans(rows, TITLES.index(r.title))) for r in found.recommendations]
    counts = [len(fans(rows, TITLES.index(r.title))) for r in found.recommendations]
    expected = [both / ((len(fans(rows, 6)) * n) ** 0.5 + 10) for both, n in zip(shared, counts, strict=True)]
    assert [r.score for r in found.recommendations] == pytest.approx(expected) == sorted(expected, reverse=True)


def test_what_nobody_likes_is_like_nothing(tmp_path: Path) -> None:
    rows = likes()
    rows = rows.rows(rows.item_N != 6)
    model = Popularity.fit(rows)
    path = tmp_path / "model"
    path.mkdir()
    write(path, Saved("popularity", model.settings, model.state(), rows, catalogue(), {"name": "films"}), "# films")
    found = open_recommender(path).similar("Apollo 13 (1995)", 3)
    assert "nobody is known to like it" in found.notes[0] and len(found.recommendations) == 3


def test_reasons_by_hand(films: OpenedRecommender) -> None:
    """Of all that was liked, the item whose people are nearest by the cosine is named; without a question none are worked out."""
    rows, history = likes(), [0, 3, 7]
    for code, reason in zip(range(12), films.reasons(range(12), history), strict=True):
        own = fans(rows, code)
        near = [len(own & fans(rows, h)) / (len(own) * len(fans(rows, h))) ** 0.5 for h in history]
        best = history[int(np.argmax(near))]
        assert reason == f'liked together with "{TITLES[best]}" by {len(own & fans(rows, best))} people'
    assert films.reasons([7], []) == [f"liked by {len(fans(rows, 7))} people"] and films.reasons([], history) == []
    assert films.reasons([8], [0])[0] == f"liked by {len(fans(rows, 8))} people"  # nobody likes both
    (told,) = films.recommend(["p00"], k=3)
    (bare,) = films.recommend(["p00"], k=3, reasons=False)
    assert [r.item for r in told.recommendations] == [r.item for r in bare.recommendations]
    assert {r.reason for r in bare.recommendations} == {""}


def test_conditions_of_two_models_do_not_meet(films: OpenedRecommender) -> None:
    """Tables of conditions are made once a model and lie in memory, each its own."""
    other = OpenedRecommender(saved())
    other.catalogue = Catalogue(TITLES, (("Both",),) * 12)
    assert len(other.similar("salt", 12, where="array_has(categories, 'Both')").recommendations) == 11
    assert not films.similar("salt", 12, where="array_has(categories, 'Both')").recommendations
    assert films._conditions is films._conditions


def test_people_in_any_order_have_their_own_likes(films: OpenedRecommender) -> None:
    asked = ["p39", "nobody", "p00", "p39"]
    together = films.recommend(asked, k=3)
    for found, user in zip(together, asked, strict=True):
        (alone,) = films.recommend([user], k=3)
        assert (found.asked, found.notes) == (alone.asked, alone.notes)
        assert [(r.item, r.reason) for r in found.recommendations] == [
            (r.item, r.reason) for r in alone.recommendations
        ]
    assert set(together[2].asked) == {TITLES[i] for i in np.flatnonzero(likes().matrix()[0].toarray()[0])}
