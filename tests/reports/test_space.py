"""The report of a space: whole, safe, and readable on every screen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.diagnostics.small_index import SmallIndex
from tests.reports.browser import look

from graft.diagnostics.drawn import Question
from graft.diagnostics.space import examine
from graft.reports.space import SpaceEvidence, SpaceResult, curves, heat_view, plane_view, space_report

Made = tuple[SpaceResult, SpaceEvidence]

MEASURE = """
const field = document.querySelector(".field"), tip = document.querySelector(".tip");
field.dispatchEvent(new window.KeyboardEvent("keydown", { key: "ArrowRight" }));
return {
  wide: document.documentElement.scrollWidth, room: window.innerWidth,
  heads: [...document.querySelectorAll("h1, h2")].map((head) => head.textContent),
  paper: window.getComputedStyle(document.body).backgroundColor,
  tip: !tip.hidden && tip.textContent,
  cells: document.querySelectorAll(".similar .cells rect").length,
  broken: [...document.images].filter((image) => image.complete && !image.naturalWidth).length,
  nameless: [...document.querySelectorAll("img:not([alt]), .similar:not([aria-label]), table:not(:has(caption)), button:empty")].length,
  twice: [...document.querySelectorAll("[id]")].length - new Set([...document.querySelectorAll("[id]")].map((e) => e.id)).size,
};
"""


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    indexes = {"pictures": SmallIndex(), "texts": SmallIndex(modality="text")}
    return {name: examine(index, Question(), name=name, path=name) for name, index in indexes.items()}


@pytest.fixture(scope="module")
def pages(made: dict[str, Made]) -> dict[str, str]:
    return {name: space_report(*one) for name, one in made.items()}


def test_every_number_and_sentence_is_on_the_page(made: dict[str, Made], pages: dict[str, str]) -> None:
    result, page = made["pictures"][0], pages["pictures"]
    for finding in result.findings:
        assert finding.reading.replace("'", "&#39;").replace("&", "&amp;").replace("&amp;#39;", "&#39;") in page
    assert "Where texts meet pictures" in page
    assert "Where texts meet pictures" not in pages["texts"]
    assert len(page) < 5_000_000


def test_nothing_comes_from_outside(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
        assert "http" not in re.sub(r"http-equiv", "", page)


def test_words_that_mean_harm_are_shown_as_words(made: dict[str, Made]) -> None:
    result, evidence = made["pictures"]
    evil = "<script>alert(1)</script>"
    heat = replace(result.heat_maps[0], rows=(evil, *result.heat_maps[0].rows[1:]))
    page = space_report(replace(result, name=evil, index=evil, heat_maps=(heat,)), evidence)
    assert evil not in page
    assert "&lt;script&gt;alert" in page


def test_at_three_widths(made: dict[str, Made], pages: dict[str, str], tmp_path: Path) -> None:
    views = [(name, width) for name in pages for width in (360, 820, 1280)]
    seen = look([(pages[name], width) for name, width in views], MEASURE, tmp_path)
    assert seen.console == []
    for (name, width), found in zip(views, seen.found, strict=True):
        where = f"{name} at {width}: {found.get('error', '')}"
        assert found["room"] == width, where
        assert found["wide"] <= width, where
        assert (found["broken"], found["nameless"], found["twice"]) == (0, 0, 0), where
        assert {"Who is like whom", "From one to another", "Crowding", "Hubs"} <= set(found["heads"]), where
        assert found["tip"], where
        assert found["cells"] == sum(len(h.rows) * len(h.columns) for h in made[name][0].heat_maps), where


def test_dark_where_the_reader_prefers_it(pages: dict[str, str], tmp_path: Path) -> None:
    seen = look([(pages["pictures"], 360)], MEASURE, tmp_path, dark=True)
    assert seen.console == []
    assert seen.found[0]["paper"] == "rgb(20, 25, 28)"


def test_heat_map_shades_from_least_to_greatest() -> None:
    view = heat_view(("a", "b"), ("a", "b", "c"), ((1.0, 0.2, 0.4), (0.2, 1.0, 0.8)))
    shade = {(cell.row, cell.column): cell.shade for cell in view.cells}
    assert shade[0, 0] == shade[1, 1] == 1  # an item with itself lies beyond the scale
    assert shade[0, 1] < shade[0, 2] < shade[1, 2]
    assert view.best == ("b", "c", 0.8)
    assert view.cells[1].title == "a · b: 0.200"
    assert 0.2 <= view.low < 0.21 and 0.78 < view.high <= 0.8
    assert heat_view(("a",), ("a",), ((1.0,),)).best is None


def test_curves_step_over_their_bins() -> None:
    view = curves(((0.0, 0.5, 0.0), (0.5, 0.25, 1.0)), str)
    assert view is not None
    assert [tick.text for tick in view.x.ticks] == ["0.0", "0.25", "0.5", "0.75", "1.0"]
    assert view.after == "M0 100V100H50V0H100V100"
    assert curves((), str) is None


def test_planes_keep_distances() -> None:
    view = plane_view((((0.0, 0.0), (2.0, 0.0)), ((0.0, 1.0), (2.0, 1.0))))
    assert view.pictures == ((4.0, 73.0), (96.0, 73.0))
    assert view.texts == ((4.0, 27.0), (96.0, 27.0))
    assert len(view.pairs) == 2
