"""What is known of other sets' curves: the shipped numbers are those that the kept counts give, and a planted law is found."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from bench.curve import RESULTS, judged, learned

from graft.metrics.curve import EXPERIENCE, Experience

SIZES = [20, 34, 56, 95, 159, 268, 450]


def known_curve(name: str, law: tuple[float, float, float], tested: int = 200_000) -> dict[str, Any]:
    """Counts of a set whose error is (error at 450) * (floor + (1 - floor) * (n / 450)^-c), without luck."""
    error, c, floor = law

    def at(n: float) -> float:
        return error * (floor + (1 - floor) * math.pow(n / 450, -c))

    row = " ".join(str(round(at(n) * tested)) for n in SIZES)
    forecast = {"sizes": SIZES, "tested": [tested] * 4, "errors": [row] * 4}
    truth = [[round(500 * times), at(500 * times), 1e-4] for times in (1, 1.25, 1.5, 2, 3, 5, 10)]
    return {"data": name, "labels": 500, "forecasts": [forecast] * 2, "truth": truth}


def test_the_shipped_experience_is_what_the_kept_counts_give() -> None:
    found = learned(json.loads(RESULTS.read_text())["counts"])
    assert found.mean == pytest.approx(EXPERIENCE.mean, abs=0.006)
    assert found.deviation == pytest.approx(EXPERIENCE.deviation, abs=0.006)
    assert found.correlation == pytest.approx(EXPERIENCE.correlation, abs=0.006)


def test_a_set_that_is_judged_teaches_nothing() -> None:
    counts = json.loads(RESULTS.read_text())["counts"]
    others = {name: found for name, found in counts.items() if found["data"] != "usps"}
    assert learned(counts, "usps") == learned(others)
    assert learned(counts, "usps") != learned(counts)


def test_experience_finds_the_law_that_sets_share() -> None:
    rng = np.random.default_rng(0)
    counts = {str(k): known_curve(str(k), (rng.uniform(0.05, 0.2), 0.6, 0.4)) for k in range(8)}
    found = learned(counts, reach_back=0.01)
    assert math.exp(found.mean[0]) == pytest.approx(0.6, rel=0.05)
    assert 1 / (1 + math.exp(-found.mean[1])) == pytest.approx(0.4, abs=0.04)
    assert max(found.deviation) < 0.3  # nothing differs but what the grid and its least spread leave


def test_forecasts_of_a_planted_law_are_judged_right() -> None:
    found = judged(
        known_curve("one", (0.1, 0.6, 0.4)), Experience((math.log(0.6), math.log(0.4 / 0.6)), (0.5, 0.7), -0.8)
    )
    ten = found["at"]["10"]
    assert ten["truth"] == pytest.approx(0.1 * (0.4 + 0.6 * (5000 / 450) ** -0.6))
    assert (ten["covered"], ten["of"], ten["gain"]["covered"]) == (2, 2, 2)
    assert ten["off"] < 0.002
    twice = found["questions"]["2"]
    assert (twice["asked"], twice["both"], twice["both_hold"]) == (2, 2, 2)
