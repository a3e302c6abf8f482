"""The first screen of a report (the one figure a reader takes away), and the items shown: the surest right and wrong ones, the labels that look wrong."""

from __future__ import annotations

from dataclasses import dataclass

from graft.reports.formats import MEASURES, Measure
from graft.results import ClassRow, Evidence, Example, FitResult, Interval

MOST_CLASSES = 20
MOST_A_CLASS = 5
MOST_DOUBTS = 24
MOST_ROWS = 1000


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


@dataclass(frozen=True)
class ClassCases:
    """One class's items; `errors` of its `n` items went to another class (None where not counted)."""

    name: str
    n: int
    errors: int | None
    right: tuple[Example, ...]
    wrong: tuple[Example, ...]


@dataclass(frozen=True)
class Doubt:
    """A label that looks wrong, with its item where it can be shown."""

    item: str
    given: str
    suggested: str
    p_given: float
    p_suggested: float
    text: str
    picture: str


def class_cases(result: FitResult, evidence: Evidence) -> tuple[ClassCases, ...]:
    """The twenty classes with most errors, those first; five items of each kind."""
    rows = {row.name: row for row in result.per_class}
    names = [
        name
        for name in dict.fromkeys([*rows, *evidence.right, *evidence.wrong])
        if evidence.right.get(name) or evidence.wrong.get(name)
    ]
    cases = []
    for name in names:
        row = rows.get(name)
        errors = None if row is None or row.recall is None else round(row.n * (1 - row.recall))
        right, wrong = evidence.right.get(name, ()), evidence.wrong.get(name, ())
        cases.append(ClassCases(name, row.n if row else 0, errors, right[:MOST_A_CLASS], wrong[:MOST_A_CLASS]))
    return tuple(sorted(cases, key=lambda c: -(c.errors or 0))[:MOST_CLASSES])


def doubts(result: FitResult, evidence: Evidence) -> tuple[Doubt, ...]:
    """The first suspects, each with its text or picture."""
    shown = {example.item: example for example in evidence.suspects}
    found = []
    for s in result.suspects[:MOST_DOUBTS]:
        example = shown.get(s.item)
        found.append(
            Doubt(
                s.item,
                s.given,
                s.suggested,
                s.p_given,
                s.p_suggested,
                example.text if example else "",
                example.picture if example else "",
            )
        )
    return tuple(found)


def worst_first(rows: tuple[ClassRow, ...]) -> tuple[ClassRow, ...]:
    """Rows of the table by class, the lowest F1 first, at most a thousand; classes without a figure last."""
    return tuple(sorted(rows, key=lambda row: 2.0 if row.f1 is None else row.f1)[:MOST_ROWS])
