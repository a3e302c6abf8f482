"""The learning curve as a picture and in words: what was measured, what more labels are expected to bring, and what a target takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graft.label_curve import CurvePoint, Expected, LabelCurve, LabelTarget
from graft.reports.charts import Axis, Tick, linear_axis
from graft.reports.formats import count, percent


@dataclass(frozen=True)
class Mark:
    """A measured size: its place, the ends of its interval, and what is said when one points at it."""

    x: float
    y: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class CurveView:
    """The picture, in per cent of a plot: the band and the line as SVG paths in a box of 100 × 100, the line in two: as measured, and as forecast.

    `now` is where the labels that there are stand, `wanted` are the targets as (height, words).
    """

    x: Axis
    y: Axis
    band: str
    line: str
    ahead: str
    marks: tuple[Mark, ...]
    now: float
    wanted: tuple[tuple[float, str], ...]


def curve_view(curve: LabelCurve) -> CurveView | None:
    """The picture of a curve; None where nothing was measured."""
    if not curve.fitted:
        return None
    low, high = curve.fitted[0].labels, curve.fitted[-1].labels
    x = Axis(low, high, True, False, ())
    x = Axis(low, high, True, False, tuple(Tick(x.at(n), count(n)) for n in _round_counts(low, high)))
    values = [end for p in (*curve.fitted, *curve.measured) for end in (p.low, p.high)]
    y = linear_axis(values, lambda share: percent(share, 0), lowest=0.0, highest=1.0)
    upper = [f"{x.at(p.labels):g} {y.at(p.high):g}" for p in curve.fitted]
    lower = [f"{x.at(p.labels):g} {y.at(p.low):g}" for p in reversed(curve.fitted)]
    top = curve.measured[-1].labels
    behind = [p for p in curve.fitted if p.labels <= top]
    ahead = curve.fitted[max(0, len(behind) - 1) :]
    marks = tuple(
        Mark(
            x.at(p.labels),
            y.at(p.accuracy),
            y.at(p.low),
            y.at(p.high),
            f"{count(p.labels)} labels: {percent(p.accuracy)}",
        )
        for p in curve.measured
    )
    wanted = tuple((y.at(t.accuracy), percent(t.accuracy)) for t in curve.targets if y.low <= t.accuracy <= y.high)
    return CurveView(
        x,
        y,
        f"M{'L'.join([*upper, *lower])}Z",
        _path(behind, x, y),
        _path(ahead, x, y),
        marks,
        x.at(curve.labels),
        wanted,
    )


def _path(points: Sequence[CurvePoint], x: Axis, y: Axis) -> str:
    return "M" + "L".join(f"{x.at(p.labels):g} {y.at(p.accuracy):g}" for p in points) if len(points) > 1 else ""


def _round_counts(low: float, high: float) -> list[int]:
    """1, 2 and 5 of each decade within, or 1 and 3 where those are more than eight."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10**power for power in range(9) for step in steps if low <= step * 10**power <= high]
        if len(found) <= 7:
            break
    return found


def told(target: LabelTarget) -> str:
    """What it takes to reach a target, or why that is not told, as a sentence."""
    wanted = percent(target.accuracy).replace(".0", "")
    if target.status == "told":
        low = count(target.low or 0)
        ends = f"at least {low}" if target.high is None else f"{low} to {count(target.high)}"
        return f"To reach {wanted} you need about {_more(target.more)} a class ({ends})."
    if target.status == "reached":
        least = f", though it may take up to {_more(target.high)} a class" if target.high else ""
        return f"{wanted} is reached with the labels there are{least}."
    at_least = f" At least {_more(target.low)} a class are needed." if target.low and target.status != "flat" else ""
    return f"What {wanted} takes cannot be told: {target.reason}.{at_least}"


def _more(number: int | None) -> str:
    return f"{count(number or 0)} more {'label' if number == 1 else 'labels'}"


def twice(curve: LabelCurve) -> str:
    """What twice the labels would bring, as a sentence; empty where it is not known."""
    found = next((p for p in curve.expected if p.labels == 2 * curve.labels), None)
    value, interval = gained(found) if found else ("", "")
    if found is None or not value:
        return ""
    return (
        f"Twice the labels ({count(found.labels)}) would bring {percent(found.accuracy)} right ({percent(found.low)} to {percent(found.high)}): "
        f"{value} points ({interval})."
    )


def gained(point: Expected) -> tuple[str, str]:
    """By how many points accuracy grows, and its interval; empty for what there is now."""
    if point.gain is None or not any(point.gain):  # unknown, or of the labels there are
        return "", ""
    value, low, high = (f"{round(100 * part, 1) + 0.0:+.1f}".replace("-", "\u2212") for part in point.gain)  # no -0.0
    return value, f"{low} to {high}"


def told_first(curve: LabelCurve) -> str:
    """The sentences a reader takes away: what twice the labels would bring, and what the first target takes."""
    if curve.reason:
        return f"How many labels it takes cannot be told: {curve.reason}."
    first = told(curve.targets[0]) if curve.targets else "There is hardly an error left that more labels could mend."
    return f"{twice(curve)} {first}".strip()
