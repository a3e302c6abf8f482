"""Numbers as people read them."""

from __future__ import annotations

import pytest

from graft.reports.formats import (
    MEASURES,
    brief,
    cut,
    known,
    known_interval,
    measure_named,
    memory,
    percent,
    plural,
    seconds,
    setting,
    size,
)
from graft.results import Interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "< 1 ms"),
        (0.012, "12 ms"),
        (0.9996, "1.0 s"),
        (1.0, "1.0 s"),
        (8.14, "8.1 s"),
        (59.97, "60.0 s"),
        (125, "2 min 5 s"),
        (119.9, "2 min"),
        (4320, "1 h 12 min"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value).replace("\u202f", " ") == text


@pytest.mark.parametrize(("value", "text"), [(0.0, "–"), (12.4, "12 MB"), (1530, "1.5 GB")])
def test_memory(value: float, text: str) -> None:
    assert memory(value).replace("\u202f", " ") == text


def test_shares() -> None:
    assert [percent(v).replace("\u202f", " ") for v in (0, 0.9723, 1)] == ["0 %", "97.2 %", "100 %"]


def test_nearly_sure_is_not_sure() -> None:
    assert [percent(v).replace("\u202f", " ") for v in (0.0004, 0.0005, 0.99949, 0.99951)] == [
        "<0.1 %",
        "0.1 %",
        "99.9 %",
        ">99.9 %",
    ]
    assert [percent(v, 0).replace("\u202f", " ") for v in (0.004, 0.994, 0.996)] == ["<1 %", "99 %", ">99 %"]


def test_intervals() -> None:
    accuracy, loss = MEASURES["accuracy"], MEASURES["log_loss"]
    assert accuracy.range(Interval(0.97, 0.95, 0.985, 360)).replace("\u202f", " ") == "95.0–98.5 %"
    assert accuracy.range(Interval(0.97, None, None, 1)) == ""
    assert loss.range(Interval(0.1, 0.05, 0.2, 9)) == "0.050–0.200"


def test_gains() -> None:
    accuracy, loss = MEASURES["accuracy"], MEASURES["log_loss"]
    assert accuracy.gain(Interval(0.0132, None, None, 5)) == "+1.3"
    assert accuracy.gain_range(Interval(0.0132, -0.002, 0.03, 5)) == "−0.2 to +3.0"
    assert accuracy.gain(Interval(-0.00001, None, None, 5)) == "0.0"
    assert loss.gain(Interval(-0.0132, None, None, 5)) == "−0.013"


def test_words() -> None:
    assert [plural(n, "item") for n in (0, 1, 1200)] == ["0 items", "1 item", "1,200 items"]
    assert plural(2, "label looks", "labels look") == "2 labels look"
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (2e-4, "2e-4"),
        (0.000213, "2.1e-4"),
        (0.001, "1e-3"),
        (0.05, "0.05"),
        (0.385, "0.385"),
        (12.0, "12"),
        (48_000.0, "48000"),
        (3.1e9, "3.1e9"),
        (-0.5, "-0.5"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_settings_in_few_signs(value: float | None, text: str) -> None:
    assert brief(value) == text


def test_settings_of_every_kind() -> None:
    values = (True, False, None, "cosine", 5, 1e-4, ("crop", "flip"))
    assert [setting(v) for v in values] == ["on", "off", "none", "cosine", "5", "1e-4", "crop+flip"]


@pytest.mark.parametrize(("value", "text"), [(0, "–"), (12, "12 bytes"), (594_112, "594 kB"), (13_612_204, "13.6 MB"), (2_500_000_000, "2.5 GB")])  # fmt: skip
def test_sizes(value: int, text: str) -> None:
    assert size(value).replace("\u202f", " ") == text


def test_only_numbers_are_known() -> None:
    assert known(0.0) == 0.0
    assert [known(v) for v in (None, float("nan"), float("inf"), -float("inf"))] == [None] * 4
    assert known_interval(Interval(1.0, 0.5, float("nan"), 3)) == Interval(1.0, None, None, 3)
    assert known_interval(Interval(1.0, 0.5, 1.5, 3)) == Interval(1.0, 0.5, 1.5, 3)
    assert known_interval(Interval(float("nan"), 0.5, 1.5, 3)) is None
    assert known_interval(None) is None


def test_a_measure_that_is_not_known_is_a_plain_number() -> None:
    assert measure_named("accuracy") is MEASURES["accuracy"]
    assert (measure_named("masked-token loss").label, measure_named("x").value(0.5)) == ("Masked-token loss", "0.500")
