"""The ladder and its evidence: every strategy on the same paired folds, and the choice among them.

Legend: N items, D dims, C classes, F folds of all repeats.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.choice import Judgement, judge
from graft.data.splits import folds as draw_folds
from graft.errors import DataError, UsageError, unknown
from graft.heads.base import Head, IntArray
from graft.metrics.intervals import corrected_resampled_t
from graft.results import Interval, StrategyResult
from graft.settings import progress
from graft.strategies.frozen import STRATEGIES, Strategy, Task
from graft.trials import METRICS, Fold, Plan, Trial, measure

MOST_FOLDS = 10


@dataclass(frozen=True)
class Candidate:
    """One encoder in the competition: its reference, its vectors of the N items (float32), and the task in its space."""

    encoder: str
    x_ND: Any = field(repr=False)
    task: Task = field(repr=False)


@dataclass(frozen=True)
class Selection:
    """The choice and the evidence for it.

    `head` is refitted on all items at `settings`. `oof_logits_NC` are the chosen strategy's logits for items its heads had not
    learned from, averaged over repeats, without NaN; None where there are no folds. `results` has one entry for each
    strategy and encoder, cheapest rung first; `how` says in words on what they were measured. `ungrouped` is the chosen
    strategy's score on plain random folds, None where no items belong together.
    """

    chosen: str
    encoder: str
    why: str
    how: str
    metric: str
    results: tuple[StrategyResult, ...]
    settings: dict[str, Any]
    head: Head = field(repr=False)
    oof_logits_NC: NDArray[np.float32] | None = field(repr=False)
    folds: tuple[Fold, ...] = field(repr=False)
    ungrouped: Interval | None = None
    seconds: float = 0.0


def select(
    candidates: Sequence[Candidate],
    y_N: IntArray,
    *,
    groups: IntArray | None = None,
    strategies: Sequence[str] | None = None,
    metric: str = "accuracy",
    folds: int | None = None,
    budget: float | None = None,
    seed: int = 0,
) -> Selection:
    """Measure the strategies on every candidate's vectors, choose one pair, and refit it on all items.

    `y_N` are label codes in 0..C-1, `groups` (N,) codes of items that must stay together (default: none do). `strategies` names
    those to measure, default all. `folds` fixes the number of folds a repeat; by default it follows from the labels a class, and
    the repeats from the cost. `budget` in seconds: a strategy that is not through by then is "stopped", the cheapest that
    can run is always measured. How the choice is made is told in `graft.choice`.

    The same seed gives the same choice and the same bits, unless the budget ran out.
    Raises UsageError for an unknown strategy or metric or fewer than two folds, DataError when nothing can run.
    """
    started = time.perf_counter()
    wanted = _wanted(strategies)
    if metric not in METRICS:
        raise UsageError(unknown("Metric", metric, METRICS))
    y_N = np.asarray(y_N, np.int64)
    counts_C = np.bincount(y_N, minlength=candidates[0].task.n_classes)
    entrants = [_Entrant(s, c, s.refusal(c.task, counts_C)) for s in wanted for c in candidates]
    if all(e.refusal for e in entrants):
        raise DataError("No strategy can run. " + " ".join(f"{e.strategy.name}: {e.refusal}." for e in entrants))
    plan = draw_plan(y_N, groups, candidates, n_folds=folds, seed=seed)
    trials: dict[_Entrant, Trial] = {}
    ...
