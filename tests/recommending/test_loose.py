"""Titles found as people write them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.errors import UsageError
from graft.recommending.loose import BESIDE, Titles, find, forms, plain
from graft.recommending.opened import SURE

TITLES = (
    "Apollo 13 (1995)",
    "Apollo 18 (2011)",
    "Godfather, The (1972)",
    "Godfather: Part II, The (1974)",
    "Godfather: Part III, The (1990)",
    "Matrix, The (1999)",
    "Matrix Reloaded, The (2003)",
    "Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)",
    "Seven (a.k.a. Se7en) (1995)",
    "Misérables, Les (1995)",
    "Misérables, Les (2012)",
    "Blade Runner (1982)",
    "Blade Runner 2049 (2017)",
    "2001: A Space Odyssey (1968)",
    "Star Wars: Episode IV - A New Hope (1977)",
    "Star Wars: Episode V - The Empire Strikes Back (1980)",
    "Fast & Furious (2009)",
    "Avventura, L' (1960)",
    "千と千尋の神隠し (2001)",
    "",
)


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("apollo 13", "Apollo 13 (1995)"),
        ("APOLLO  13!", "Apollo 13 (1995)"),
        ("apolo 13", "Apollo 13 (1995)"),
        ("Apollo 13 1995", "Apollo 13 (1995)"),
        ("apollo", "Apollo 13 (1995)"),
        ("the godfather", "Godfather, The (1972)"),
        ("godfather part 2", "Godfather: Part II, The (1974)"),
        ("godfather part two", "Godfather: Part II, The (1974)"),
        ("the godfather iii", "Godfather: Part III, The (1990)"),
        ("godfater 3", "Godfather: Part III, The (1990)"),
        ("the matrix", "Matrix, The (1999)"),
        ("Matrix, The", "Matrix, The (1999)"),
        ("matrx", "Matrix, The (1999)"),
        ("amélie", "Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)"),
        ("le fabuleux destin d'amelie poulain", "Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)"),
        ("se7en", "Seven (a.k.a. Se7en) (1995)"),
        ("les miserables 2012", "Misérables, Les (2012)"),
        ("les miserables", "Misérables, Les (1995)"),
        ("blade runner", "Blade Runner (1982)"),
        ("blade runner 2049", "Blade Runner 2049 (2017)"),
        ("2001 space odyssey", "2001: A Space Odyssey (1968)"),
        ("star wars 4", "Star Wars: Episode IV - A New Hope (1977)"),
        ("empire strikes back", "Star Wars: Episode V - The Empire Strikes Back (1980)"),
        ("fast and furious", "Fast & Furious (2009)"),
        ("the godf", "Godfather, The (1972)"),
        ("blade run", "Blade Runner (1982)"),
        ("blade runner 20", "Blade Runner 2049 (2017)"),
        ("matrix rel", "Matrix Reloaded, The (2003)"),
        ("l'avv", "Avventura, L' (1960)"),
        ("l'avventura", "Avventura, L' (1960)"),
        ("千と千尋", "千と千尋の神隠し (2001)"),
    ],
)
def test_written_loosely(query: str, title: str) -> None:
    assert find(TITLES, query, 1)[0].title == title


def test_a_title_typed_in_part_is_sure_enough_to_be_taken() -> None:
    titles = [
        "Toy Story (1995)",
        "Toy Story 2 (1999)",
        "Toy, The (1982)",
        "Tokyo Story (1953)",
        "West Side Story (1961)",
    ]
    for typed in ("toy st", "toy sto", "toy stor", "toy story"):
        found = find(titles, typed, 2)
        assert [one.title for one in found] == titles[:2] and found[0].score > SURE
    assert find(titles, "sto", 1)[0].score < SURE  # a word that some title has inside, and none begins with


def test_scores_fall_from_one() -> None:
    found = Titles(TITLES).find("the matrix", 4)
    assert [f.title for f in found[:2]] == ["Matrix, The (1999)", "Matrix Reloaded, The (2003)"]
    assert found[0].score == 1 > found[1].score > 0
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    assert all(TITLES[f.place] == f.title for f in found)


def test_the_year_decides_between_equals() -> None:
    titles = Titles(TITLES)
    for year, other in (("1995", "2012"), ("2012", "1995")):
        best, second = titles.find(f"Les Miserables ({year})", 2)
        assert best.title == f"Misérables, Les ({year})" and second.title == f"Misérables, Les ({other})"
        assert best.score == 1 > second.score


def test_ids_are_found_exactly() -> None:
    titles = Titles(("Toy Story (1995)", "2 Guns (2013)", "One, Two, Three (1961)"), ("1", "2", "3"))
    best = titles.find("1", 3)[0]
    assert (best.place, best.score) == (0, 1.0)
    assert titles.find("2")[0].title == "2 Guns (2013)"
    with pytest.raises(UsageError, match="2 ids for 1 titles"):
        Titles(("a",), ("1", "2"))


def test_a_title_to_the_letter_is_before_others_of_the_same_words() -> None:
    titles = ("The Matrix", "Matrix, The (1999)", "matrix")
    for place, title in enumerate(titles):
        assert find(titles, title, 1)[0].place == place


def test_unknown_titles_give_the_nearest_and_nothing_gives_nothing() -> None:
    assert find(TITLES, "apollonia", 2)[0].title.startswith("Apollo")
    assert 0 < find(TITLES, "apollonia", 1)[0].score < 0.8
    assert find(TITLES, "", 3) == find((), "apollo", 3) == find(("", "?"), "apollo", 3) == []
    with pytest.raises(UsageError, match="k is 0"):
        find(TITLES, "apollo", 0)


def test_plain_words() -> None:
    assert plain("Godfather: Part II, The (1974)") == ("godfather 2", 1974)
    assert plain("Léon: The Professional") == ("leon the professional", 0)
    assert plain("The") == ("the", 0)
    assert plain("S.W.A.T. (2003)") == ("swat", 2003)
    assert plain("Rocky IV") == ("rocky 4", 0)
    assert plain("I, Robot (2004–)") == ("i robot", 2004)
    known, year = forms("Seven (a.k.a. Se7en) (1995)")
    assert (known["seven"], known["se7en"], year) == (1, BESIDE, 1995)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=6), st.text(max_size=12), st.integers(1, 5))
def test_any_text(titles: list[str], query: str, k: int) -> None:
    """Scores stay in their range, places are different, and the same question has the same answer."""
    found = find(titles, query, k)
    assert found == find(titles, query, k)
    assert len(found) <= k and len({f.place for f in found}) == len(found)
    assert all(0 < f.score <= 1 and f.title == titles[f.place] for f in found)
    if query and query in titles and query == query.strip():
        assert found[0].title == query and found[0].score == 1


def test_real_titles(shared_data: Path) -> None:
    """Every title of MovieLens is found by its plain words; nearly always it is the first, else it shares them with another."""
    with (shared_data / "ml-latest-small" / "movies.csv").open(encoding="utf-8", newline="") as stream:
        titles = tuple(row["title"] for row in csv.DictReader(stream))
    index = Titles(titles)
    for name in titles[::300]:
        words = plain(name)[0]
        assert any(plain(found.title)[0] == words for found in index.find(words, 3)), name
    for query, name in (
        ("apollo 13", "Apollo 13 (1995)"),
        ("godfather part 2", "Godfather: Part II, The (1974)"),
        ("toy st", "Toy Story (1995)"),
    ):
        assert index.find(query, 1)[0].title == name
