"""How well the rules foretold a fit, from what they know before the ladder is measured. Nothing here is timed, so that a fit stays the same to the bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import IntArray
from graft.metrics.rank import spearman
from graft.planning.expectation import Expected, Ground, expectations
from graft.planning.probe import probe
from graft.results import Interval, PlanCheck, StrategyResult
from graft.strategies.expected import ALIKE
from graft.strategies.frozen import Task


def foretell(
    x_ND: NDArray[np.float32], y_N: IntArray, task: Task, groups_N: IntArray, *, modality: str, seed: int
) -> dict[str, Expected]:
    """What is expected of every strategy on these labelled items: vectors (N, D), codes (N,), and codes of what stays together."""
    return expectations(ground_of(x_ND, y_N, task, groups_N, modality=modality, seed=seed))


def ground_of(
    x_ND: NDArray[np.float32], y_N: IntArray, task: Task, groups_N: IntArray, *, modality: str, seed: int
) -> Ground:
    """What expectations on these items rest on."""
    pairs = np.unique(np.stack([y_N, groups_N]), axis=1)  # copies teach nothing new
    counts_C = np.bincount(pairs[0], minlength=task.n_classes)
    labels = float(np.median(counts_C[counts_C > 0]))
    found = probe(x_ND, y_N, task, groups_N, seed=seed)
    return Ground(modality, task.n_classes, labels, found, worded=task.names_CD is not None)


def check(
    expected: Mapping[str, Expected],
    results: Sequence[StrategyResult],
    chosen: StrategyResult | None,
    test: Mapping[str, Interval] | None,
) -> PlanCheck | None:
    """Set what was expected beside what was measured; None where nothing was, or nothing was expected.

    `results` are those on the chosen encoder. The strategy that was expected to be best (the cheapest within half a point) is judged on the test
    part where it is the one that was `chosen`, else by its cross-validated accuracy.
    """
    both = [r for r in results if r.status == "measured" and r.name in expected and "accuracy" in r.metrics]
    if not both:
        return None
    bar = max(expected[r.name].value for r in both) - ALIKE["accuracy"]
    top = min((r for r in both if expected[r.name].value > bar), key=lambda r: r.rung)
    tested = test is not None and chosen is not None and chosen.name == top.name
    measured = test["accuracy"] if tested and test is not None else top.metrics["accuracy"]
    found = expected[top.name]
    return PlanCheck(
        top=top.name,
        expected=Interval(found.value, found.low, found.high, 0),
        measured=measured,
        measured_on="test" if tested else "folds",
        held=found.low <= measured.value <= found.high,
        rank_correlation=spearman(
            np.array([expected[r.name].value for r in both]), np.array([r.metrics["accuracy"].value for r in both])
        ),
        strategies=len(both),
    )
