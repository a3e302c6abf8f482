"""The generated streaming service has what it promises."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

from graft.errors import UsageError
from graft.interactions.read import read_interactions
from graft.interactions.streamrec import DAYS, START, Generated, generate


@cache
def default() -> Generated:
    return generate()


def test_same_seed_same_bits_and_another_seed_others() -> None:
    first, again, other = (generate(60, 40, views=5, seed=seed) for seed in (1, 1, 2))
    for field in dataclasses.fields(first.reading.interactions):
        left, right = (getattr(made.reading.interactions, field.name) for made in (first, again))
        assert np.array_equal(left, right)
    assert np.array_equal(first.taste_UD, again.taste_UD)
    assert first.reading.catalogue.titles == again.reading.catalogue.titles != other.reading.catalogue.titles
    assert not np.array_equal(first.item_ID, other.item_ID)


@pytest.mark.parametrize(("people", "items"), [(1, 2), (7, 3), (50, 500)])
def test_any_size(people: int, items: int) -> None:
    made = generate(people, items, views=4, seed=3)
    found = made.reading.interactions
    assert (len(found.users), len(found.items)) == (people, items) == (len(made.taste_UD), len(made.item_ID))
    assert len(found) == len(set(zip(found.user_N.tolist(), found.item_N.tolist(), strict=True)))
    assert set(found.user_N.tolist()) == set(range(people))
    assert len(made.reading.catalogue.titles) == len(set(made.reading.catalogue.titles)) == items


def test_a_tenth_of_the_items_has_four_fifths_of_the_views() -> None:
    found = default().reading.interactions
    views_I = np.sort(np.bincount(found.item_N, minlength=len(found.items)))[::-1]
    assert 0.75 < views_I[: len(views_I) // 10].sum() / views_I.sum() < 0.85
    assert 12 < len(found) / len(found.users) < 25


def test_rows_are_sorted_and_within_the_two_years() -> None:
    found = default().reading.interactions
    assert found.time_N is not None
    order = np.lexsort((found.item_N, found.time_N, found.user_N))
    assert np.array_equal(order, np.arange(len(found)))
    assert found.time_N.min() >= START
    assert found.time_N.max() <= START + (DAYS + 1) * 86400


def test_taste_decides_what_is_watched_and_completed() -> None:
    made = default()
    found = made.reading.interactions
    liking_N = (made.taste_UD[found.user_N] * made.item_ID[found.item_N]).sum(1)
    by_appeal = (made.taste_UD @ (made.appeal_I @ made.item_ID)).mean()
    assert liking_N.mean() > by_appeal + 0.1
    assert liking_N[found.weight_N > 0].mean() > liking_N[found.weight_N == 0].mean() + 0.2
    assert 0.4 < found.weight_N.mean() < 0.8
    assert set(found.weight_N.tolist()) == {0, 1}


def test_programmes_are_watched_near_their_release_and_never_before() -> None:
    reading = default().reading
    found, dates = reading.interactions, reading.catalogue.dates
    assert dates is not None
    assert found.time_N is not None
    age_N = (found.time_N - dates[found.item_N]) / 86400
    new_N = dates[found.item_N] > START
    assert age_N.min() >= 0
    assert ((age_N >= 0) & (age_N < 60))[new_N].mean() > 2 * ((age_N >= 60) & (age_N < 120))[new_N].mean()


def test_categories_have_seasons_and_hours() -> None:
    reading = default().reading
    found = reading.interactions
    assert found.time_N is not None
    kinds = sorted({kind for kinds in reading.catalogue.categories for kind in kinds})
    kind_N = np.array([kinds.index(kind) for (kind,) in reading.catalogue.categories])[found.item_N]
    evening_N = (found.time_N - START) % 86400 >= 18 * 3600
    share_C = np.array([evening_N[kind_N == kind].mean() for kind in range(len(kinds))])
    of_evening = np.arange(len(kinds)) % 3 == 0
    assert share_C[of_evening].min() > share_C[~of_evening].max()
    month_N = ((found.time_N - START) // 86400 % 365 // 30.5).astype(int)
    for kind in range(0, len(kinds), 2):
        near_N = np.cos(2 * np.pi * (month_N / 12 - kind / len(kinds))) > 0
        assert near_N[kind_N == kind].mean() > near_N.mean() + 0.05


def test_words_go_with_the_category() -> None:
    """Descriptions tell the category to a reader of single words, as they must to be of use for new items."""
    catalogue = default().reading.catalogue
    assert catalogue.texts is not None
    kinds = sorted({kind for kinds in catalogue.categories for kind in kinds})
    words = sorted({word for text in catalogue.texts for word in text.lower().split()})
    place = {word: i for i, word in enumerate(words)}
    count_CW = np.ones((len(kinds), len(words)))
    for i in range(500):
        for word in catalogue.texts[i].lower().split():
            count_CW[kinds.index(catalogue.categories[i][0]), place[word]] += 1
    log_CW = np.log(count_CW / count_CW.sum(1, keepdims=True))
    right = 0
    for i in range(500, 1000):
        guess = log_CW[:, [place[word] for word in catalogue.texts[i].lower().split()]].sum(1).argmax()
        right += kinds[int(guess)] == catalogue.categories[i][0]
    assert right / 500 > 0.6  # one in ten by chance
    assert all(text.endswith(".") for text in catalogue.texts)


def test_features_tell_of_taste_and_activity() -> None:
    made = default()
    people = made.reading.people
    assert people is not None
    found = made.reading.interactions
    views_U = np.bincount(found.user_N, minlength=len(found.users))
    premium_U = np.array(people.words["plan"]) == "premium"
    assert views_U[premium_U].mean() > 1.3 * views_U[~premium_U].mean()
    young_U, old_U = people.numbers["age"] < 30, people.numbers["age"] > 65
    likeness = (made.taste_UD @ made.taste_UD.T).astype(np.float32)
    assert likeness[young_U][:, young_U].mean() > likeness[young_U][:, old_U].mean() + 0.1


def test_the_named_set_takes_its_settings_from_the_name() -> None:
    reading = read_interactions("data:streamrec:people=30,items=20,views=3,seed=4")
    made = generate(30, 20, views=3, seed=4)
    assert np.array_equal(reading.interactions.item_N, made.reading.interactions.item_N)
    assert reading.how == "events completed = 1, left = 0"
    with pytest.raises(UsageError, match=r"'film' is not known.*items, people, seed, views"):
        read_interactions("data:streamrec:film=3")
    with pytest.raises(UsageError, match="people is 'many'; it must be a whole number"):
        read_interactions("data:streamrec:people=many")
    with pytest.raises(UsageError, match="not 0, 20 and 1000"):
        read_interactions("data:streamrec:people=0")
    with pytest.raises(UsageError, match="takes none of those given"):
        read_interactions("data:streamrec", like=3)
