"""Labels from rules: what each rule is worth, all of them together, and whether carrying their labels further helped.

Items that have a label are the judges: their labels are learned from nowhere here, so that what is measured on them is honest.

Legend: N items, R rules, C classes, J judges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.annotation.pool import Answers, Pool, all_classes
from graft.annotation.tables import write_weak
from graft.errors import UsageError
from graft.labelling.dawid_skene import Weighed, weigh
from graft.labelling.outcome import RuleResult, StepResult, WeakResult
from graft.labelling.rules import Rule, Votes, apply_rules, read_rules
from graft.labelling.spreading import (
    FEWEST_JUDGES,
    gain,
    neighbour_graph,
    probe,
    propagate,
    self_train,
)
from graft.metrics.intervals import wilson
from graft.results import Interval

SURE = 0.5  # probability from which on a label that was carried further is written
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def rules_of(given: Path | str | Mapping[str, Rule], classes: tuple[str, ...]) -> dict[str, Rule]:
    """Rules from a file, or as they were given."""
    return dict(given) if isinstance(given, Mapping) else read_rules(Path(given).expanduser(), classes)


def check_rules(given: Path | str | Mapping[str, Rule] | None) -> None:
    """Raise what makes rules useless whatever the data are, every line at once: before anything is encoded."""
    if isinstance(given, Mapping) and not given:
        raise UsageError("rules is empty: give at least one.")
    if given is not None:
        rules_of(given, ())


def weak_labels(
    pool: Pool,
    answers: Answers,
    named: tuple[str, ...],
    rules: Path | str | Mapping[str, Rule],
    folder: Path,
    *,
    told: tuple[str, float],
) -> WeakResult:
    """Apply the rules to every item (pictures by their names), weigh them, try to carry the labels further, and write `weak.csv`.

    `told`: the command, and when it began.
    """
    known = pool.labels(answers)
    classes = all_classes(named, known)
    read_by = rules_of(rules, classes)
    words = [content if isinstance(content, str) else id for content, id in zip(pool.contents, pool.ids, strict=True)]
    votes = apply_rules(read_by, words, classes)
    code = {label: i for i, label in enumerate(votes.classes)}
    true_N = np.array([-1 if label is None else code[label] for label in known], np.int64)
    weighed = weigh(votes.votes, len(votes.classes))
    spread = carry_further(pool.x_ND, weighed, true_N, len(votes.classes))
    rows = _rows(known, votes, weighed, spread)
    path = write_weak(folder, pool, rows)
    labelled: dict[str, int] = {}
    for _, _, _, source in rows:
        labelled[source] = labelled.get(source, 0) + 1
    judged = weighed.covered & (true_N >= 0)
    return WeakResult(
        name=pool.name,
        classes=votes.classes,
        counts=pool.count(answers),
        rules=tuple(_rule_results(list(read_by), votes, weighed, true_N)),
        accuracy=_share(weighed.probability.argmax(axis=1)[judged] == true_N[judged]),
        steps=spread.steps,
        labelled=labelled,
        out=str(folder),
        files=(str(path),),
        command=told[0],
        faults=(*pool.faults, *votes.faults),
        seconds=time.perf_counter() - told[1],
    )


@dataclass(frozen=True, eq=False)
class Spread:
    """`ways` hold the probabilities (N, C) of every way by name, `steps` their evidence; `name` is the one chosen, None where none was."""

    name: str | None
    ways: Mapping[str, Floats]
    steps: tuple[StepResult, ...]


def carry_further(x_ND: NDArray[np.float32], weighed: Weighed, true_N: Codes, n_classes: int) -> Spread:
    """A probe on the rules' labels, propagation and self-training, each judged on the labelled items (`true_N` >= 0).

    A judge is learned from by none of them, nor are the votes it got. The probe has to beat the class that the rules name most; each of
    the others the best so far. A way is used where the interval of its paired gain lies above zero, and never with fewer than 20 judges.
    """
    judge_N = true_N >= 0
    weak_N = np.where(weighed.covered & ~judge_N, weighed.probability.argmax(axis=1), -1)
    count_C = np.bincount(weak_N[weak_N >= 0], minlength=n_classes)
    if np.count_nonzero(count_C) < 2:
        return Spread(None, {}, ())
    best_N = np.where(judge_N, int(count_C.argmax()), -1)
    start_NC = np.where((weak_N >= 0)[:, None], weighed.probability, 0.0)
    work: dict[str, Callable[[], Floats]] = {
        "probe": lambda: probe(x_ND, weak_N, n_classes),
        "propagation": lambda: propagate(neighbour_graph(x_ND), start_NC),
        "self-training": lambda: self_train(x_ND, weak_N, n_classes),
    }
    steps: list[StepResult] = []
    used: str | None = None
    ways = {name: way() for name, way in work.items()}
    over, before_J = "the commonest label", best_N[judge_N] == true_N[judge_N]
    for name, p_NC in ways.items():
        right_J = p_NC.argmax(axis=1)[judge_N] == true_N[judge_N]
        paired = gain(right_J, before_J) if len(right_J) else None
        helped = paired is not None and paired.low is not None and paired.low > 0
        steps.append(StepResult(name, _share(right_J), paired, over, helped, _why(paired, over)))
        if helped:
            used, over, before_J = name, name, right_J
    return Spread(used, ways, tuple(steps))


def _why(paired: Interval | None, over: str) -> str:
    if paired is None or paired.low is None or paired.high is None:
        return f"not used: {paired.n if paired else 'no'} labelled items cannot tell whether it helps; {FEWEST_JUDGES} are needed"
    if paired.low > 0:
        return f"used: better than {over}"
    return f"not used: {'worse than' if paired.high < 0 else 'no better than'} {over}, as far as {paired.n} labelled items tell"


def _rows(known: list[str | None], votes: Votes, weighed: Weighed, spread: Spread) -> list[tuple[int, str, float, str]]:
    """(position, label, probability, source) of every item that has a label from somewhere; a person's label is never replaced."""
    rows = []
    carried_NC = spread.ways[spread.name] if spread.name else None
    for i, label in enumerate(known):
        if label is not None:
            rows.append((i, label, 1.0, "given"))
        elif weighed.covered[i]:
            p_C = weighed.probability[i]
            rows.append((i, votes.classes[int(p_C.argmax())], float(p_C.max()), "rules"))
        elif carried_NC is not None and spread.name and carried_NC[i].max() >= SURE:
            rows.append((i, votes.classes[int(carried_NC[i].argmax())], float(carried_NC[i].max()), spread.name))
    return rows


def _rule_results(names: list[str], votes: Votes, weighed: Weighed, true_N: Codes) -> list[RuleResult]:
    found = []
    for r, name in enumerate(names):
        judged = (votes.votes[:, r] >= 0) & (true_N >= 0)
        accuracy = float(weighed.accuracy[r])
        found.append(
            RuleResult(
                rule=name,
                coverage=float(weighed.coverage[r]),
                overlap=float(weighed.overlap[r]),
                conflict=float(weighed.conflict[r]),
                estimated=accuracy if np.isfinite(accuracy) else None,
                measured=_share(votes.votes[judged, r] == true_N[judged]),
            )
        )
    return found


def _share(right: NDArray[np.bool_]) -> Interval | None:
    return wilson(int(right.sum()), len(right)) if len(right) else None
