"""The order of encoders, and which signal decided it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graft.encoders.base import EncoderInfo
from graft.planning.domain import Distance
from graft.planning.encoders import Entry, rank
from graft.planning.probe import Probe

FAR = Distance("far")


def entry(name: str, scores: list[float], *, logme: float | None = 0.0, parameters: int | None = 10) -> Entry:
    info = EncoderInfo(name, name, name, 8, "image", True, licence="mit", parameters=parameters)
    probe = Probe(100, 3, {"kernel-probe": np.array(scores)} if scores else {}, sizes=(80.0, 20.0))
    return Entry(info, FAR, probe, logme)


GOOD, FAIR = [0.9, 0.92, 0.91, 0.9, 0.92], [0.7, 0.71, 0.7, 0.71, 0.7]


def test_a_lead_that_is_no_chance_decides() -> None:
    rows, decided = rank([entry("a", FAIR, logme=9.0, parameters=100), entry("b", GOOD)], [("c", "it takes texts")])
    assert [row.reference for row in rows] == ["b", "a", "c"] and decided.startswith("the probe")
    assert (
        rows[1].gap is not None
        and rows[1].gap.high is not None
        and rows[1].gap.high < 0
        and "beyond chance" in rows[1].reason
    )
    assert rows[2].status == "unfit" and rows[0].licence == "mit" and [row.static for row in rows[:2]] == [2, 1]


def test_a_lead_that_may_be_chance_is_said_and_equals_go_by_logme() -> None:
    close = [x + d for x, d in zip(GOOD, (0.02, -0.03, 0.01, -0.01, 0.0), strict=True)]
    rows, decided = rank(
        [entry("a", GOOD, logme=0.1), entry("b", close, logme=0.2), entry("far off", FAIR, logme=0.9)], []
    )
    assert [row.reference for row in rows] == ["a", "b", "far off"] and "may be chance" in decided
    assert "may be chance" in rows[1].reason and "beyond chance" in rows[2].reason
    rows, decided = rank([entry("a", GOOD, logme=0.1), entry("b", GOOD[::-1], logme=0.2)], [])
    assert rows[0].reference == "b" and decided.startswith("LogME")
    rows, decided = rank([entry("a", GOOD), entry("b", GOOD, parameters=99)], [])
    assert rows[0].reference == "b"


def test_the_probe_is_the_mean_of_its_strategies() -> None:
    both = Probe(100, 3, {"prototypes": np.full(5, 0.5), "kernel-probe": np.full(5, 0.7)}, sizes=(80.0, 20.0))
    rows, _ = rank([replace(entry("a", FAIR), probe=both), entry("b", FAIR)], [])
    assert [row.reference for row in rows] == ["b", "a"]
    assert rows[1].probe is not None and rows[1].probe.value == pytest.approx(0.6)


def test_without_folds_size_and_pretraining_speak() -> None:
    entries = [
        entry("pixels", [], parameters=0),
        entry("layer:big:x", [], parameters=100),
        entry("big", [], parameters=100),
    ]
    rows, decided = rank(entries, [])
    assert [row.reference for row in rows] == ["big", "layer:big:x", "pixels"] and decided.startswith("size")


def test_one_alone_needs_no_decision() -> None:
    rows, decided = rank([entry("a", GOOD)], [("b", "it takes texts")])
    assert rows[0].reference == "a" and "only one" in decided
