"""Proposals: the grid in its order; Bayesian ones the same for the same seed, also after an interruption, and better than chance."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Mapping
from typing import Any

import pytest

from graft.errors import MissingError
from graft.fitting.proposals import Bayes, Grid, check_installed
from graft.fitting.space import Axis, Settings

RATE, RANK = Axis("rate", (), 1e-5, 1e-1, log=True), Axis("rank", (), 1.0, 8.0, whole=True)
AXES = (RATE, RANK)
START = {"rate": 1e-4, "rank": 4}


def hill(values: Mapping[str, Any]) -> float | None:
    """Best at rate 1e-3 and few ranks; a rate above 0.03 fails."""
    if values["rate"] > 0.03:
        return None
    return -abs(math.log10(float(values["rate"])) + 3) - float(values.get("rank", 0)) / 8


def run(proposals: Bayes, count: int) -> list[tuple[Settings, Settings]]:
    found = []
    for _ in range(count):
        proposed = proposals.next()
        assert proposed is not None
        proposals.tell(proposed[0], hill(proposed[0]), proposed[1])
        found.append(proposed)
    return found


def test_a_grid_leaves_out_what_was_tried() -> None:
    axes = (Axis("a", (1, 2)), Axis("b", ("x", "y")))
    grid = Grid(axes)
    grid.tell({"a": 1, "b": "y"}, 0.5)
    assert [grid.next() for _ in range(4)] == [
        *(({"a": a, "b": b},) * 2 for a, b in ((1, "x"), (2, "x"), (2, "y"))),
        None,
    ]


def test_bayes_repeats_itself_and_goes_on_where_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    first = Bayes(AXES, 3)
    first.tell(START, hill(START))
    whole = run(first, 6)
    for tried, asked in whole:
        assert all(axis.holds(tried[axis.name]) for axis in AXES)
        assert tried["rate"] == RATE.rounded(asked["rate"])
    assert len({repr(tried) for tried, _ in whole}) == len(whole)

    again = Bayes(AXES, 3)  # of another process, which has read what was tried
    again.replay(START, hill(START), None)
    for tried, asked in whole[:5]:
        again.replay(tried, hill(tried), asked)
    assert run(again, 1) == whole[5:]

    assert capfd.readouterr() == ("", "")
    assert any(handler.level < logging.CRITICAL for handler in logging.getLogger("ax").handlers)  # as they were


def test_bayes_finds_the_hill() -> None:
    wide = Axis("rate", (), 1e-7, 10.0, log=True)
    search = Bayes((wide,), 0)
    rates = [tried["rate"] for tried, _ in run(search, 10)]
    near = [abs(math.log10(rate) + 3) for rate in rates]
    assert min(near) < 0.1 < min(near[: search.first])


def test_bayes_ends_where_nothing_is_left() -> None:
    small = Bayes((Axis("a", (1, 2)), Axis("b", (True, None))), 0)
    small.tell({"a": 3, "b": None}, 0.0)  # the defaults may lie outside
    found = []
    while (proposed := small.next()) is not None:
        found.append(repr(proposed[0]))
        small.tell(proposed[0], float(proposed[0]["a"]), proposed[1])
    assert len(set(found)) == len(found) == 4


def test_without_ax_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"pip install 'graft\[tune\]'.*--method grid"):
        check_installed()
