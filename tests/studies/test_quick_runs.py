"""Every study's quick run gives what it expects, and every recorded result still says what its page says."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from studies.study import HERE, MARKS, Setting, Study, all_studies, checks, page_text, run

STUDIES = all_studies()
by_name = pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)


def test_all_studies_are_there() -> None:
    assert [s.name for s in STUDIES] == sorted(path.stem for path in HERE.glob("[a-z][0-9][0-9]_*.py"))
    assert all(s.expected and s.expected_quick for s in STUDIES)


@by_name
def test_quick_run(study: Study, tmp_path: Path) -> None:
    result = run(study, Setting(quick=True), tmp_path)
    assert [check for check in result["checks"] if not check["ok"]] == []
    assert json.loads((tmp_path / "result.json").read_text())["numbers"] == result["numbers"]
    drawings = list(tmp_path.glob("*.svg"))
    assert drawings and all(f"]({drawing.name})" in (tmp_path / "README.md").read_text() for drawing in drawings)
    for drawing in drawings:
        ElementTree.parse(drawing)


@by_name
def test_recorded_result(study: Study) -> None:
    """The full run in the repository holds what the study expects, and its page is made of its numbers."""
    folder = HERE / "results" / study.name
    result = json.loads((folder / "result.json").read_text())
    assert not result["quick"]
    assert [check for check in checks(result["numbers"], study.expected) if not check["ok"]] == []
    page = study.present(result["numbers"])
    assert (folder / "README.md").read_text() == page_text(study, result, page)
    assert {p.name: p.read_text() for p in folder.glob("*.svg")} == dict(page.figures)
    assert page.answer in (HERE / "README.md").read_text().split(MARKS[0])[1]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000


def test_a_drift_is_seen() -> None:
    numbers = {"layers": {"last": {"value": 0.8}}}
    assert [c["ok"] for c in checks(numbers, {"layers > last > value": (0.7, 0.9)})] == [True]
    assert [c["ok"] for c in checks(numbers, {"layers > last > value": (0.85, 0.9)})] == [False]
