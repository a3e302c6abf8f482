"""`graft diagnose space` writes a folder, whole or not at all, and says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.diagnostics.small_index import SmallIndex

from graft.errors import UsageError
from graft.reports.space import SpaceResult
from graft.results import from_json
from graft.verbs.diagnose import space


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A path under which a small index opens."""
    monkeypatch.setattr("graft.retrieval.opened.open_index", lambda _: SmallIndex())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_result_and_report_stand_beside_each_other(small: Path, tmp_path: Path) -> None:
    result = space(small, path=["beach/0000.png", "snow/0004.png"], sample=50, out=tmp_path / "found")
    assert (result.name, result.sampled) == ("photos", 50)
    assert from_json(SpaceResult, json.loads((tmp_path / "found" / "result.json").read_text())) == result
    page = (tmp_path / "found" / "report.html").read_text()
    assert "--path beach/0000.png --path snow/0004.png --sample 50" in result.command
    assert "--sample 50" in page
    assert {p.name for p in (tmp_path / "found").iterdir()} == {"result.json", "report.html"}


def test_nothing_is_overwritten(small: Path, tmp_path: Path) -> None:
    first, second = space(small), space(small)
    assert (first.out, second.out) == ("graft-out/photos-space", "graft-out/photos-space-2")
    with pytest.raises(UsageError, match="never overwritten"):
        space(small, out=tmp_path / first.out)


def test_a_wrong_view_leaves_nothing_behind(small: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="image"):
        space(small, view="imag", out=tmp_path / "found")
    assert not (tmp_path / "found").exists()
