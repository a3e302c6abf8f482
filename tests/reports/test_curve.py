"""The learning curve in a report: its sentences, its picture, and nothing that spills over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.reports.browser import look
from tests.reports.samples import SAMPLES

from graft.label_curve import CurvePoint, CurveResult, Expected, LabelCurve, LabelTarget
from graft.reports.build import curve_report, fit_report
from graft.reports.curve import curve_view, gained, told, told_first, twice

TARGETS = (
    LabelTarget(0.9, "told", 40, 25, 110),
    LabelTarget(0.92, "told", 60, 5),
    LabelTarget(0.8, "reached"),
    LabelTarget(0.85, "reached", None, None, 1),
    LabelTarget(0.95, "open", None, 0, None, "the labels there are may do"),
    LabelTarget(0.96, "far", None, 120, None, "it takes more than ten times"),
    LabelTarget(0.97, "flat", None, 9, None, "the error does not fall"),
)


def point(labels: int) -> CurvePoint:
    accuracy = 0.95 - 0.3 * (labels / 16) ** -0.5
    return CurvePoint(labels, accuracy, accuracy - 0.03, accuracy + 0.03)


CURVE = LabelCurve(
    strategy="linear-probe",
    encoder="minilm",
    labels=200,
    classes=4,
    draws=5,
    settings={"c": 3.0},
    measured=tuple(point(n) for n in (16, 30, 60, 120, 160)),
    fitted=tuple(point(n) for n in (16, 30, 60, 120, 160, 200, 400, 800, 1600, 2000)),
    expected=(
        Expected(**vars(point(200)), gain=(0.0, 0.0, 0.0)),
        *(Expected(**vars(point(n)), gain=(0.02, -0.001, 0.031)) for n in (400, 800, 2000)),
    ),
    power=(0.5, 0.3, 0.8),
    targets=TARGETS,
)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        *zip(
            TARGETS,
            [
                "To reach 90\u202f% you need about 40 more labels a class (25 to 110).",
                "To reach 92\u202f% you need about 60 more labels a class (at least 5).",
                "80\u202f% is reached with the labels there are.",
                "85\u202f% is reached with the labels there are, though it may take up to 1 more label a class.",
                "What 95\u202f% takes cannot be told: the labels there are may do.",
                "What 96\u202f% takes cannot be told: it takes more than ten times. At least 120 more labels a class are needed.",
                "What 97\u202f% takes cannot be told: the error does not fall.",
            ],
            strict=True,
        )
    ],
)
def test_each_answer_is_a_sentence(target: LabelTarget, says: str) -> None:
    assert told(target) == says


def test_the_picture_holds_measured_and_forecast() -> None:
    view = curve_view(CURVE)
    assert view is not None
    assert len(view.marks) == 5
    assert view.line.count("L") == 4 and view.ahead.count("L") == 5
    assert [t.text for t in view.x.ticks] == ["20", "50", "100", "200", "500", "1,000", "2,000"]
    assert 0 < view.now < 100
    assert curve_view(replace(CURVE, fitted=(), reason="too few")) is None


def test_what_twice_the_labels_bring_is_a_sentence() -> None:
    says = "Twice the labels (400) would bring 89.0\u202f% right (86.0\u202f% to 92.0\u202f%): +2.0 points (\u22120.1 to +3.1)."
    assert twice(CURVE) == says
    assert told_first(CURVE) == f"{says} {told(TARGETS[0])}"
    assert (
        told_first(replace(CURVE, targets=())) == f"{says} There is hardly an error left that more labels could mend."
    )
    assert gained(CURVE.expected[0]) == ("", "")
    older = replace(CURVE, expected=tuple(Expected(**vars(point(n))) for n in (200, 400)))
    assert twice(older) == "" and gained(older.expected[1]) == ("", "")


MEASURE = """
return { wide: document.documentElement.scrollWidth, room: window.innerWidth,
  told: document.querySelectorAll(".told li").length, marks: document.querySelectorAll(".grown circle").length,
  nameless: [...document.querySelectorAll("svg:not([aria-hidden]):not([aria-label]), table:not(:has(caption))")].length };
"""


def test_on_a_desk_and_on_a_phone(tmp_path: Path) -> None:
    sample = next(make() for name, make in SAMPLES.items() if name == "pictures")
    alone = curve_report(CurveResult("pets", "pets.csv", 200, CURVE, command="graft diagnose curve pets.csv"))
    within = fit_report(replace(sample.result, labels=CURVE), sample.evidence)
    seen = look([(page, width) for page in (alone, within) for width in (390, 1280)], MEASURE, tmp_path)
    assert seen.console == []
    for found in seen.found:
        assert found["wide"] <= found["room"]
        assert (found["told"], found["marks"], found["nameless"]) == (7, 5, 0)


def test_a_fit_without_a_curve_says_why() -> None:
    sample = next(iter(SAMPLES.values()))()
    few = LabelCurve("linear-probe", "minilm", 12, 3, reason="too few labels: it takes 64 or more")
    assert "too few labels: it takes 64 or more" in fit_report(replace(sample.result, labels=few), sample.evidence)
    assert "more-labels" not in fit_report(replace(sample.result, labels=None), sample.evidence)
