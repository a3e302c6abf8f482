"""What people read of recommenders in the terminal."""

from __future__ import annotations

import math
from dataclasses import replace

from tests.recommending.told import films, hostile, nothing_measured, two_models

from graft.recommending.opened import Recommendation, Recommendations
from graft.tables.render import render


def answers() -> Recommendations:
    """Answers of which one has no title."""
    return Recommendations(
        recommendations=(
            Recommendation("1", "Toy Story (1995)", 0.8712, 'liked together with "Aladdin (1992)" by 1,204 people'),
            Recommendation("tt-0042", "", 0.5, "liked by 12 people"),
            Recommendation("x\x1b[31m", "夜 \u202e\n<b>", math.nan, "new: nobody has liked it yet"),
        ),
        asked=("Aladdin (1992)", "Fargo (1996)"),
        model="ease",
        notes=(
            '"Tuy Stori" is not known and was left out',
            "only 3 of the 10 asked for: no more items are allowed or left",
        ),
    )


def shown(result: object) -> str:
    return render(result, terminal=False)


def row(text: str, start: str) -> list[str]:
    """The cells of the last line that starts so."""
    line = [line for line in text.splitlines() if line.startswith(start)][-1]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_fit_shows_all_models_and_what_to_type_next() -> None:
    text = shown(films())
    assert text.startswith("films: ease\n")
    assert flat(films().why) in flat(text)
    assert row(text, "ease ") == [
        "ease",
        "0.243",
        "0.231 to 0.255",
        "0.583",
        "+0.014",
        "+0.008 to +0.020",
        "als",
        "3.6",
        "chosen",
    ]
    assert row(text, "mlp ") == ["mlp", "skipped: PyTorch is not installed."]
    assert row(text, "popularity ") == ["popularity", "0.118", "0.106 to 0.130", "0.283", "0.1"]
    assert (
        "575,281 likes of 6,040 people, 3,883 items, 424,928 more seen but not liked. A like: rated 4 or higher"
        in flat(text)
    )
    assert "Read as user: userId (guessed), item: movieId (guessed)" in flat(text)
    assert "3 of 1,000,212 rows were merged" in text and "Of the ids in movies.csv 177 are in no interaction." in text
    assert "219.7 s in all. The report: graft-out/films/report.html" in text
    assert text.rstrip().endswith(
        "To use it:\n  graft recommend like graft-out/films 'Toy Story (1995)'\n  graft recommend for graft-out/films --user 17"
    )
    assert "\u202f" not in text


def test_a_fit_that_was_not_kept_names_no_folder() -> None:
    text = shown(replace(two_models(), out=""))
    assert "report" not in text and "To use it" not in text
    assert row(text, "popularity ")[-1] == "chosen"


def test_numbers_that_are_none_and_words_that_mean_harm_stop_nothing() -> None:
    assert "nan" not in shown(nothing_measured()).split()
    assert "\x07" not in shown(hostile()) and "\u202e" not in shown(hostile())


def test_answers_have_places_titles_scores_and_reasons() -> None:
    text = shown(answers())
    assert text.startswith("For: Aladdin (1992), Fargo (1996)\n")
    assert row(text, "1 ") == ["1", "Toy Story (1995)", "0.871", 'liked together with "Aladdin (1992)" by 1,204 people']
    assert row(text, "2 ")[:3] == ["2", "tt-0042", "0.5"], "the id where no title is known"
    assert row(text, "3 ")[-1] == "new: nobody has liked it yet"
    assert "\x1b" not in text and "\u202e" not in text and "nan" not in text
    assert text.rstrip().endswith(
        '"Tuy Stori" is not known and was left out\nonly 3 of the 10 asked for: no more items are allowed or left'
    )


def test_no_answer_is_said_to_be_none() -> None:
    assert shown(Recommendations((), notes=("only 0 of the 10 asked for",))) == (
        "Nothing can be recommended.\nonly 0 of the 10 asked for\n"
    )


def test_long_histories_are_cut() -> None:
    long = Recommendations((Recommendation("1", "t", 1.0, ""),), asked=tuple(f"film {k}" for k in range(40)))
    assert "film 11 and 28 more" in flat(shown(long))
