"""Indexes and searches as people read them."""

from __future__ import annotations

from PIL import Image

from graft.results import EncoderSummary, Interval
from graft.search_results import (
    Evaluation,
    Hit,
    IndexResult,
    IndexVersions,
    QueryScore,
    Recall,
    SearchResult,
    ViewSummary,
    WayResult,
)
from graft.tables.render import render
from graft.tables.search import half_blocks

ENCODER = EncoderSummary("minilm", "f" * 64, "s", 384, "text", "f32", "cpu")
VIEW = ViewSummary("text", 384, "cosine", "text", ENCODER, "ivf", 100, 4, Recall(10, 0.981, 0.972, 400), 2**21)
INDEX = IndexResult(
    "found", 3, 12_000, added=7, unchanged=11_993, views=(VIEW,), columns={"year": "int64"}, seconds={"read": 1.0}
)


def test_an_index_tells_what_changed_and_how_it_is_searched() -> None:
    text = render(INDEX, terminal=False)
    assert "found: 12,000 items, version 3" in text and "7 added, 11,993 unchanged." in text
    assert "ivf, 4 of 100 lists" in text and "0.981 (0.972)" in text and "year (int64)" in text
    assert "graft serve found" in text


def test_versions_mark_the_served_one() -> None:
    lines = render(IndexVersions("found", 2, (INDEX, IndexResult("found", 2, 5))), terminal=False).splitlines()
    assert lines[2].startswith("3") and "served" not in lines[2]
    assert lines[3].startswith("2") and lines[3].endswith("served")


def test_hits_are_a_table_and_nothing_is_said_to_match_when_nothing_does() -> None:
    hit = Hit("a\x1b[31m", 0.51, 0.42, "A text\nof two lines", {"year": 1999, "title": None})
    text = render(SearchResult("boats", (hit,), False, 9, 1, 0.004), terminal=False)
    assert "Nothing matches" in text and "0.510  0.42" in text and "1999" in text and "A text of two lines" in text
    assert "\x1b" not in text and "9 items, version 1, 4 ms." in text
    assert "No item passes the filter" in render(SearchResult("boats", (), False, 9, 1), terminal=False)


def test_an_evaluation_shows_ways_gains_and_the_worst() -> None:
    plain = WayResult("plain", "measured", metrics={"mrr": Interval(0.5, 0.4, 0.6, 30)})
    better = WayResult(
        "hybrid",
        "measured",
        "",
        {"mrr": Interval(0.7, 0.6, 0.8, 30)},
        Interval(0.2, 0.1, 0.3, 30),
        True,
        {"words": 1.0},
    )
    worst = QueryScore("where is it", "", 0.0, 0.1, (("x", False), ("y", True)))
    found = Evaluation(
        "found", "j.csv", 30, 9, "mrr", (plain, better), "hybrid", "hybrid helps.", worst=(worst,), adopted=True
    )
    text = render(found, terminal=False)
    assert "+0.200  +0.100 to +0.300" in text and "words 1.0" in text and "hybrid helps." in text
    assert "-x, +y" in text and "search.json" in text


def test_a_picture_becomes_half_blocks() -> None:
    text = half_blocks(Image.new("RGB", (40, 20), (255, 0, 0)), 8)
    assert text.plain == "▀" * 8 + "\n" + "▀" * 8
    assert str(text.spans[0].style) == "rgb(255,0,0) on rgb(255,0,0)" or "255" in str(text.spans[0].style)
