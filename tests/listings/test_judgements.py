"""Tables of judgements: what answers a question, and how well."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.small_inputs import Row, table

from graft.errors import DataError
from graft.listings.judgements import Judged, read_judgements


def of(folder: Path, header: Row, *cells: Row) -> tuple[list[Judged], list[str]]:
    judged, faults = read_judgements(table(folder / "j.csv", cells, header))
    return judged, [fault.problem for fault in faults]


def test_rows_of_one_question_are_put_together(tmp_path: Path) -> None:
    cells = [
        ("red boat", "a", 2, "colour", "test"),
        ("blue sky", "b", 1, "", ""),
        ("red boat", "c", 0.5, "colour", "test"),
        ("red boat", "d", 0, "", "test"),
    ]
    judged, faults = of(tmp_path, ("query", "id", "relevance", "group", "part"), *cells)
    assert judged == [Judged("red boat", {"a": 2.0, "c": 0.5}, "colour", "test"), Judged("blue sky", {"b": 1.0})]
    assert faults == []


def test_without_relevance_a_pair_counts_one(tmp_path: Path) -> None:
    judged, _ = of(tmp_path, ("Question", "image"), ("a", "x"), ("a", "y"))
    assert judged == [Judged("a", {"x": 1.0, "y": 1.0})]


def test_faulty_rows_are_listed(tmp_path: Path) -> None:
    cells = [
        ("a", "x", "1"),
        ("", "x", "1"),
        ("b", "", "1"),
        ("c", "x", "good"),
        ("d", "x", "-1"),
        ("e", "x", "nan"),
        ("f", "x", "inf"),
    ]
    judged, faults = of(tmp_path, ("query", "id", "score"), *cells)
    assert [j.text for j in judged] == ["a"]
    assert faults[:3] == ["it has no query", "it has no id", "its relevance is no number"]
    assert faults[3:] == ["its relevance is not a number from 0 up"] * 3


def test_what_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'id'.*Columns: query, other"):
        of(tmp_path, ("query", "other"), ("a", "x"))
    with pytest.raises(DataError, match="no judgement"):
        of(tmp_path, ("query", "id", "gain"), ("a", "x", 0))
