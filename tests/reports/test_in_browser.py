"""Reports in a real browser: nothing spills over on a phone, nothing is complained of, and the map and the tables answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reports.browser import look, run
from tests.reports.samples import SAMPLES
from tests.reports.trainings import search

from graft.reports.build import fit_report
from graft.reports.tune import tune_report

MEASURE = """
const field = document.querySelector(".field"), tip = document.querySelector(".tip");
if (field) field.dispatchEvent(new window.KeyboardEvent("keydown", { key: "ArrowRight" }));
const sortable = document.querySelector("table.sortable");
const cells = () => [...sortable.tBodies[0].rows].map((row) => parseFloat(row.cells[1].textContent));
const sorted = [];
if (sortable) for (const time of [1, 2]) { sortable.tHead.querySelectorAll("button")[1].click(); sorted.push(cells()); }
return {
  wide: document.documentElement.scrollWidth, room: window.innerWidth,
  heads: [...document.querySelectorAll("h1, h2")].map((head) => head.textContent),
  paper: window.getComputedStyle(document.body).backgroundColor,
  tip: tip ? !tip.hidden && tip.textContent : null, sorted,
  broken: [...document.images].filter((image) => image.complete && !image.naturalWidth).length,
  shown: sortable ? [...sortable.tBodies[0].rows].filter((row) => row.offsetHeight).length : null,
  nameless: [...document.querySelectorAll("img:not([alt]), svg:not([aria-hidden]):not([aria-label]), table:not(:has(caption)), button:empty")].length,
  twice: [...document.querySelectorAll("[id]")].length - new Set([...document.querySelectorAll("[id]")].map((e) => e.id)).size,
};
"""


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: fit_report(sample.result, sample.evidence) for name, make in SAMPLES.items() if (sample := make())}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


def test_every_report_at_three_widths(pages: dict[str, str], folder: Path) -> None:
    views = [(name, width) for name in pages for width in (360, 820, 1280)]
    seen = look([(pages[name], width) for name, width in views], MEASURE, folder)
    assert seen.console == []
    for (name, width), found in zip(views, seen.found, strict=True):
        where = f"{name} at {width}: {found.get('error', '')}"
        assert found["room"] == width, where
        assert found["wide"] <= width, where
        assert (found["broken"], found["nameless"], found["twice"]) == (0, 0, 0), where
        assert {"The ladder", "The data", "How to reproduce it"} <= set(found["heads"]), where
        assert found["paper"] == "rgb(255, 255, 255)", where
        if name != "one_label":
            up, down = found["sorted"]
            assert up == sorted(up), where
            assert down == sorted(down, reverse=True), where
            assert found["shown"] == min(len(up), 20), where
            assert found["tip"], where


def test_dark_where_the_reader_prefers_it(pages: dict[str, str], folder: Path) -> None:
    seen = look([(pages["pictures"], 360)], MEASURE, folder, dark=True)
    assert seen.console == []
    assert seen.found[0]["paper"] == "rgb(20, 25, 28)"


def test_prints(pages: dict[str, str], folder: Path) -> None:
    page, paper = folder / "report.html", folder / "report.pdf"
    page.write_text(pages["pictures"], "utf-8")
    run(page, folder, {"print-to-pdf": str(paper)})
    assert paper.read_bytes().startswith(b"%PDF")
    assert 2 <= paper.read_bytes().count(b"/Type /Page\n") <= 12


CARDS = """
const cards = [...document.querySelectorAll("details.run")];
const shown = cards.map((card) => card.open);
cards.forEach((card) => { card.open = true; });
const inside = (element) => { const box = element.getBoundingClientRect(); return box.width > 0 && box.right <= window.innerWidth + 0.5 && box.left >= 0; };
return {
  wide: document.documentElement.scrollWidth, room: window.innerWidth, shown,
  names: cards.map((card) => card.querySelector("h3").textContent.trim()),
  spilled: [...document.querySelectorAll(".run .plot-area, .ranges svg, .run .strip svg, .tried svg")].filter((e) => !inside(e)).length,
  drawn: document.querySelectorAll(".lines path, .ranges path").length,
  tiny: [...document.querySelectorAll(".run figure, .ranges li")].filter((e) => e.offsetWidth < 120).length,
  nameless: [...document.querySelectorAll("svg:not([aria-hidden]):not([aria-label]), table:not(:has(caption))")].length,
};
"""


def test_trained_rungs_at_three_widths(pages: dict[str, str], folder: Path) -> None:
    views = [(name, width) for name in ("climbed", "hostile") for width in (360, 820, 1280)]
    seen = look([(pages[name], width) for name, width in views], CARDS, folder)
    assert seen.console == []
    for (name, width), found in zip(views, seen.found, strict=True):
        where = f"{name} at {width}: {found.get('error', '')}"
        assert found["wide"] <= found["room"] == width, where
        assert (found["tiny"], found["nameless"]) == (0, 0), where
        if name == "climbed":
            assert found["spilled"] == 0, where
            assert found["names"] == [
                "head-only",
                "last-blocks",
                "contrastive",
                "lora chosen",
                "gradual",
                "finetune",
            ]
            assert found["shown"] == [False, False, False, True, False, True], where
            assert found["drawn"] == 4 + 2 + 1 + 2 + 2 + 1 + 17 + 2 + 1 + 1, where


def test_a_search_at_three_widths(folder: Path) -> None:
    page = tune_report(search())
    for dark in (False, True):
        seen = look([(page, width) for width in (360, 820, 1280)], MEASURE, folder, dark=dark)
        assert seen.console == []
        for width, found in zip((360, 820, 1280), seen.found, strict=True):
            assert found["wide"] <= found["room"] == width
            assert (found["nameless"], found["twice"], found["shown"]) == (0, 0, 20)
            assert found["heads"][1:] == ["Best so far", "What each setting does", "Every try", "How to reproduce it"]


def test_trained_rungs_print(pages: dict[str, str], folder: Path) -> None:
    page, paper = folder / "report.html", folder / "report.pdf"
    page.write_text(pages["climbed"], "utf-8")
    run(page, folder, {"print-to-pdf": str(paper)})
    assert 2 <= paper.read_bytes().count(b"/Type /Page\n") <= 16
