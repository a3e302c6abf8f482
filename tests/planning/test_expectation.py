"""What is expected, on probes made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.made import ground, probed

from graft.planning.expectation import CURVE, RULE, SKILL, WIDE, Expected, Ground, base_of, expectations, full
from graft.strategies.expected import advantage
from graft.strategies.frozen import STRATEGIES
from graft.strategies.trained import TRAINED


def test_without_a_probe_public_sets_speak() -> None:
    value, spread = base_of(ground(classes=2, labels=1))
    assert value == pytest.approx(0.5 + 0.5 * SKILL[0])
    assert spread > 0.1
    assert base_of(ground(labels=100))[0] > base_of(ground(labels=1))[0]


def test_mistakes_are_carried_along_the_curve() -> None:
    probe = probed(0.8, labels=10)
    assert full(probe, "kernel-probe", ground(probe, labels=40)) == pytest.approx(1 - 0.2 / 4**CURVE)
    assert full(probe, "kernel-probe", ground(probe, labels=5)) == pytest.approx(0.8)  # never back


def test_many_items_leave_little_to_what_was_known() -> None:
    few, many = (base_of(ground(probed(0.5, items=n, labels=20))) for n in (10, 100_000))
    expected = 0.5 - advantage("kernel-probe", 20, names=True)
    assert many[0] == pytest.approx(expected, abs=1e-3)
    assert few[0] > many[0] and few[1] > many[1]


def test_strategies_stand_apart_by_what_is_known_of_them() -> None:
    found = expectations(ground(labels=5))
    assert set(found) == {*STRATEGIES, *(name for name, rung in TRAINED.items() if "image" in rung.climbed)}
    gap = found["named-linear-probe"].value - found["linear-probe"].value
    assert gap == pytest.approx(advantage("named-linear-probe", 5, names=True))
    without = expectations(ground(labels=5, worded=False))
    assert not [name for name in without if "named" in name or name == "zero-shot"]


def test_names_that_are_right_lift_heads_that_start_from_them() -> None:
    plain = expectations(ground(probed(0.6, items=50, hits=0.1)))
    helped = expectations(ground(probed(0.6, items=50, hits=0.9)))
    assert helped["named-linear-probe"].value > 0.85 > plain["named-linear-probe"].value
    assert plain["zero-shot"].high < 0.4 < helped["zero-shot"].low


def test_a_rung_that_trains_is_ahead_only_where_something_is_known() -> None:
    found = expectations(ground(probed(0.7, items=400)))
    best = max(found[name].value for name in STRATEGIES)
    assert found["last-blocks"].value > best > found["lora"].value
    handful = expectations(ground(classes=3, labels=5))
    assert all(
        found.value < max(handful[name].value for name in STRATEGIES)
        for name, found in handful.items()
        if name in TRAINED
    )


def test_no_labels_and_no_classes() -> None:
    assert set(expectations(ground(labels=0))) == {"zero-shot"}
    assert expectations(ground(classes=1)) == {} == expectations(ground(classes=0, labels=0))


@given(
    right=st.floats(0, 1),
    items=st.integers(2, 5000),
    classes=st.integers(2, 300),
    labels=st.floats(1, 1e6),
    hits=st.none() | st.floats(0, 1),
    modality=st.sampled_from(["text", "image"]),
)
def test_ranges_hold_their_value_and_are_shares(
    right: float, items: int, classes: int, labels: float, hits: float | None, modality: str
) -> None:
    probe = probed(right, items=items, classes=classes, labels=max(1.0, labels / 2), hits=hits)
    whole = Ground(modality, classes, labels, probe)
    for found in (*expectations(whole).values(), *expectations(replace(whole, probe=None)).values()):
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_range_is_wide_on_both_sides_in_log_odds() -> None:
    found = Expected.around(0.8, 0.5)
    odds = [share / (1 - share) for share in (found.low, found.value, found.high)]
    assert odds == pytest.approx([4 / math.exp(0.8225), 4, 4 * math.exp(0.8225)])
    assert Expected.around(0.99, 0.1).high == 1.0 == Expected.around(1.3, 0.1).value
    assert Expected.around(0.0, 0.1).low == 0.0 < Expected.around(0.0, 0.1).high


def test_with_more_items_and_labels_ranges_narrow_but_not_to_nothing() -> None:
    widths = []
    for n in (20, 200, 10**6):
        found = expectations(ground(probed(0.7, items=n, labels=n / 10), labels=n / 10))["linear-probe"]
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2] > 2 * WIDE * RULE * 0.9 * 0.7 * 0.3


def test_labels_that_luck_explains_promise_nothing() -> None:
    lucky = replace(probed(0.35, items=100, labels=16), p=0.4)
    found, related = (expectations(ground(p, labels=20, classes=3)) for p in (lucky, replace(lucky, p=0.01)))
    assert ground(lucky, labels=20).unrelated and not ground(replace(lucky, hits=0.9), labels=20).unrelated
    best, hoped = (max(some[name].value for name in STRATEGIES) for some in (found, related))
    assert found["last-blocks"].value < best and related["last-blocks"].value > hoped
    assert found["linear-probe"].value < related["linear-probe"].value  # no curve to carry it along
