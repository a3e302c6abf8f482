"""Items shown to the reader: the most confident right and wrong ones of each class, and the labels that look wrong."""

from __future__ import annotations

from dataclasses import dataclass

from graft.results import ClassRow, Evidence, Example, FitResult

MOST_CLASSES = 20
MOST_A_CLASS = 5
MOST_DOUBTS = 24
MOST_ROWS = 1000


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
