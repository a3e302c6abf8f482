"""The first screen of a report: what was chosen, and the one figure a reader takes away, said with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from graft.reports.formats import MEASURES, Measure
from graft.results import FitResult, Interval


@dataclass(frozen=True)
class Figure:
    """One measure: on the test part and cross-validated, None where it was not taken."""

    measure: Measure
    test: Interval | None
    folds: Interval | None


@dataclass(frozen=True)
class Verdict:
    """`headline` is None where nothing could be measured; `measured_on` is "test", "folds" or "nothing".

    `baseline` is the share right of always naming the largest class, on the items the confusion matrix was counted on.
    """

    measure: Measure
    headline: Interval | None
    measured_on: str
    baseline: float | None
    figures: tuple[Figure, ...]


def verdict(result: FitResult) -> Verdict:
    """The chosen metric on the test part; without one, cross-validated; without either, nothing."""
    chosen = result.chosen_result
    folds = dict(chosen.metrics) if chosen else {}
    test = dict(result.test or {})
    measured_on = "test" if result.metric in test else "folds" if result.metric in folds else "nothing"
    headline = {"test": test, "folds": folds, "nothing": {}}[measured_on].get(result.metric)
    names = sorted({*test, *folds} & MEASURES.keys(), key=list(MEASURES).index)
    figures = tuple(Figure(MEASURES[name], test.get(name), folds.get(name)) for name in names)
    return Verdict(MEASURES[result.metric], headline, measured_on, _baseline(result, measured_on), figures)


def _baseline(result: FitResult, measured_on: str) -> float | None:
    confusion = result.confusion
    if result.metric != "accuracy" or confusion is None or confusion.measured_on != measured_on:
        return None
    sizes = [sum(row) for row in confusion.counts]
    return max(sizes) / sum(sizes) if sum(sizes) else None
