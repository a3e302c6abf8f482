"""The ladder and its evidence: every strategy on the same paired folds, and the choice among them.

Legend: N items, D dims, C classes, F folds of all repeats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.splits import folds as draw_folds
from graft.errors import DataError, UsageError, unknown
from graft.heads.base import Head, IntArray
from graft.metrics.intervals import corrected_resampled_t
from graft.results import Interval, StrategyResult
from graft.selection.choice import Standing, Wording, choose, choose_unmeasured, difference, explain
from graft.selection.trials import METRICS, Fold, Plan, Trial, measure
from graft.settings import one_thread, progress
from graft.strategies.expected import names_hold
from graft.strategies.frozen import STRATEGIES, Settings, Strategy, Task, strategies_named

MOST_FOLDS, MOST_REPEATS = 10, 2
UNMEASURED = "not measured: with these labels no folds can be drawn"
ENOUGH_ITEMS = 2000  # to see whether class names mean anything
MANY_ITEMS = 1000  # from here on five folds once tell enough; with fewer items folds are more and repeated


@dataclass(frozen=True, eq=False)
class Candidate:
    """One encoder in the competition: its reference, its vectors of the N items (float32), and the task in its space."""

    encoder: str
    x_ND: Any = field(repr=False)
    task: Task = field(repr=False)


@dataclass(frozen=True, eq=False)
class Selection:
    """The choice and the evidence for it.

    `head` is refitted on all items at `settings`. `oof_logits_NC` are the chosen strategy's logits for items its heads had not
    learned from, averaged over repeats, without NaN; `oof_known_N` is False where a fold had no other item of the class to learn from.
    Both are None where there are no folds. `results` has one entry for each strategy
    and encoder, cheapest rung first; `how` says in words on what they were measured.
    """

    chosen: str
    encoder: str
    why: str
    how: str
    metric: str
    results: tuple[StrategyResult, ...]
    settings: Settings
    head: Head = field(repr=False)
    oof_logits_NC: NDArray[np.float32] | None = field(repr=False)
    oof_known_N: NDArray[np.bool_] | None = field(repr=False)
    folds: tuple[Fold, ...] = field(repr=False)
    repeats: int = 0


@dataclass(frozen=True, eq=False)
class _Entrant:
    """A strategy on a candidate, whether the class names mean something there, and what became of it: `refusal`, else `trial`, else
    it was stopped or there were no folds.
    """

    strategy: Strategy
    candidate: Candidate
    refusal: str | None
    names: bool
    trial: Trial | None = None


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

    `y_N` are label codes in 0..C-1, `groups` (N,) codes of items that stay together (default: each is alone). `strategies` names
    those to measure (default all). `folds` is their number in a repeat; by default folds and repeats follow from the labels a
    class and the number of items. `budget` in seconds: a strategy not through by then is "stopped"; the cheapest that can run is
    always measured. How the choice is made is told in `graft.selection.choice`.

    The same seed gives the same choice and the same bits, unless a budget ran out.
    Raises UsageError for an unknown strategy or metric and for folds that cannot be drawn, DataError when nothing can run.
    """
    if metric not in METRICS:
        raise UsageError(unknown("Metric", metric, METRICS))
    with one_thread():
        y_N = np.asarray(y_N, np.int64)
        entrants = _entrants(candidates, y_N, strategies)
        plan = draw_plan(y_N, groups, n_folds=folds, seed=seed)
        if plan is None:
            return _unmeasured(entrants, y_N, metric)
        entrants = _measured(entrants, y_N, plan, metric, budget)
        through = [entrant for entrant in entrants if entrant.trial is not None]
        standings = [_standing(entrant, metric) for entrant in through]
        counts_C = np.bincount(y_N)
        choice = choose(
            standings,
            items=len(y_N),
            labels_a_class=float(np.median(counts_C[counts_C > 0])),
            sizes=plan.sizes,
            metric=metric,
        )
        winner = through[choice.chosen]
        assert winner.trial is not None
        return Selection(
            chosen=winner.strategy.name,
            encoder=winner.candidate.encoder,
            why=explain(standings, choice, Wording(metric, plan.sizes, len(candidates) > 1), _stopped(entrants)),
            how=_words(plan, grouped=groups is not None and len(np.unique(groups)) < len(y_N)),
            metric=metric,
            results=tuple(_result(e, entrants, winner, metric, plan) for e in entrants),
            settings=winner.trial.settings,
            head=_refit(winner, y_N, winner.trial.settings),
            oof_logits_NC=winner.trial.oof_NC,
            oof_known_N=winner.trial.known_N,
            repeats=plan.repeats,
            folds=plan.folds,
        )


def _entrants(candidates: Sequence[Candidate], y_N: IntArray, strategies: Sequence[str] | None) -> list[_Entrant]:
    """Every strategy on every candidate, cheapest rung first; raises DataError when none of them can run."""
    counts_C = np.bincount(y_N, minlength=candidates[0].task.n_classes)
    names = [_names_hold(candidate, y_N) for candidate in candidates]
    entrants = [
        _Entrant(s, c, s.refusal(c.task, counts_C), held)
        for s in strategies_named(strategies)
        for c, held in zip(candidates, names, strict=True)
    ]
    if all(entrant.refusal for entrant in entrants):
        reasons = "; ".join(f"{e.strategy.name}: {e.refusal}" for e in entrants)
        raise DataError(f"None of the strategies can run. {reasons}.")
    return entrants


def score_ungrouped(selection: Selection, candidate: Candidate, y_N: IntArray, *, seed: int) -> Interval:
    """What the choice scores on as many plain folds, which may part groups: what one would have believed without grouping.

    `candidate` is the chosen encoder's; `selection` must have been measured.
    """
    plan = draw_plan(y_N, None, n_folds=len(selection.folds) // selection.repeats, repeats=selection.repeats, seed=seed)
    assert plan is not None, "there were folds with groups kept together"
    with one_thread():
        trial = measure(
            STRATEGIES[selection.chosen],
            candidate.x_ND,
            y_N,
            candidate.task,
            plan,
            metric=selection.metric,
            over=_never,
        )
    assert trial is not None
    return _metric(selection.metric, trial.scores[selection.metric], plan)


def draw_plan(
    y_N: IntArray, groups: IntArray | None, *, n_folds: int | None = None, repeats: int | None = None, seed: int = 0
) -> Plan | None:
    """The folds for these labels; None when fewer than two classes have two items (groups) to put on different sides.

    By default as many folds as a middling class has items (of those with two or more), so that each fold takes about one of each, at most ten; done twice
    while items are few (the split is then a large part of the chance; ten repeats would narrow the corrected interval by no more than
    an eighth); five folds once for many items.
    Raises UsageError when `n_folds` is under two or above the number of groups.
    """
    alone_N = np.arange(len(y_N)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(alone_N.max()) + 1
    if n_folds is not None and n_groups > 1 and not 2 <= n_folds <= n_groups:
        raise UsageError(
            f"--folds {n_folds}: allowed are 2 to {n_groups}, the number of training items that may be parted."
        )
    pairs = np.unique(np.stack([y_N, alone_N]), axis=1)
    groups_C = np.unique(pairs[0], return_counts=True)[1]
    if np.sum(groups_C >= 2) < 2:
        return None
    many = len(y_N) > MANY_ITEMS
    fold_count = n_folds or max(2, min(5 if many else MOST_FOLDS, int(np.median(groups_C[groups_C >= 2]))))
    repeats = repeats or max(1, min(MOST_REPEATS, MANY_ITEMS // len(y_N)))
    drawn = draw_folds(np.asarray(y_N, np.int64), alone_N, fold_count, repeats, np.random.default_rng(seed))
    return Plan(tuple(drawn), fold_count, repeats)


def _measured(
    entrants: Sequence[_Entrant], y_N: IntArray, plan: Plan, metric: str, budget: float | None
) -> list[_Entrant]:
    """Every entrant with its trial, in order, while the budget lasts; the first that can run is never stopped."""
    import scipy.linalg
    import scipy.optimize  # a second, which would be counted as the first strategy's

    _ = scipy.linalg, scipy.optimize
    started = time.perf_counter()
    done: list[_Entrant] = []
    for number, entrant in enumerate(entrants):
        progress("select", number, len(entrants))
        first = all(e.trial is None for e in done)
        over = _never if first or budget is None else _after(started + budget)
        if entrant.refusal is None:
            x_ND, task = entrant.candidate.x_ND, entrant.candidate.task
            entrant = replace(entrant, trial=measure(entrant.strategy, x_ND, y_N, task, plan, metric=metric, over=over))
        done.append(entrant)
    progress("select", len(entrants), len(entrants))
    return done


def _never() -> bool:
    return False


def _after(moment: float) -> Callable[[], bool]:
    return lambda: time.perf_counter() > moment


def _standing(entrant: _Entrant, metric: str) -> Standing:
    trial = entrant.trial
    assert trial is not None
    strategy, encoder = entrant.strategy, entrant.candidate.encoder
    return Standing(strategy.name, strategy.rung, encoder, trial.scores[metric], trial.seconds, entrant.names)


def _refit(winner: _Entrant, y_N: IntArray, settings: Settings) -> Head:
    return winner.strategy.fit_path(winner.candidate.x_ND, y_N, winner.candidate.task, [settings])[0]


def _result(
    entrant: _Entrant, entrants: Sequence[_Entrant], winner: _Entrant, metric: str, plan: Plan
) -> StrategyResult:
    """What is reported of one entrant: its scores, its gain over the best of the cheaper rungs, and where it stands to the chosen."""
    name, rung, encoder = entrant.strategy.name, entrant.strategy.rung, entrant.candidate.encoder
    if entrant.trial is None:
        status, reason = (
            ("skipped", entrant.refusal)
            if entrant.refusal
            else ("stopped", "the time budget ran out before its last fold")
        )
        return StrategyResult(name, rung, status, reason or "", encoder)
    own = _standing(entrant, metric)
    cheaper = [_standing(e, metric) for e in entrants if e.trial is not None and e.strategy.rung < rung]
    before = max(cheaper, key=lambda s: float(s.scores_F.mean()), default=None)
    return StrategyResult(
        name,
        rung,
        "measured",
        encoder=encoder,
        metrics={measure: _metric(measure, values_F, plan) for measure, values_F in entrant.trial.scores.items()},
        gain=None if before is None else difference(own, before, plan.sizes),
        gain_over=None if before is None else before.name,
        versus_chosen=None if entrant is winner else difference(own, _standing(winner, metric), plan.sizes),
        seconds=entrant.trial.seconds,
        memory_mb=entrant.trial.memory_mb,
        settings=entrant.trial.settings,
    )


def _metric(name: str, values_F: NDArray[np.float64], plan: Plan) -> Interval:
    """A metric's mean over the folds as people write it: shares within 0 and 1, log loss with its own sign."""
    found = corrected_resampled_t(values_F if name != "log_loss" else -values_F, *plan.sizes)
    top = np.inf if name == "log_loss" else 1.0
    low, high = (None if end is None else float(np.clip(end, 0.0, top)) for end in (found.low, found.high))
    return replace(found, low=low, high=high)


def _unmeasured(entrants: Sequence[_Entrant], y_N: IntArray, metric: str) -> Selection:
    """The choice without folds: by what is expected beforehand, and by how zero-shot, which learns nothing, did on the items."""
    able = [entrant for entrant in entrants if entrant.refusal is None]
    names = {e.candidate.encoder: e.names for e in able if e.candidate.task.names_CD is not None}
    place, why = choose_unmeasured([(e.strategy.name, e.candidate.encoder) for e in able], names)
    winner = able[place]
    settings = winner.strategy.settings(np.bincount(y_N, minlength=winner.candidate.task.n_classes))[0]
    return Selection(
        chosen=winner.strategy.name,
        encoder=winner.candidate.encoder,
        why=why,
        how="not measured: folds need two classes with two items (or groups) each",
        metric=metric,
        results=tuple(
            StrategyResult(
                e.strategy.name,
                e.strategy.rung,
                "skipped",
                e.refusal or UNMEASURED,
                e.candidate.encoder,
                settings=settings if e is winner else {},
            )
            for e in entrants
        ),
        settings=settings,
        head=_refit(winner, y_N, settings),
        oof_logits_NC=None,
        oof_known_N=None,
        folds=(),
    )


def _names_hold(candidate: Candidate, y_N: IntArray) -> bool:
    """Whether zero-shot, which learns nothing, gets more of the labelled items right than chance would; False without names."""
    zero_shot, task = STRATEGIES["zero-shot"], candidate.task
    if task.names_CD is None:
        return False
    some = np.linspace(0, len(y_N) - 1, min(len(y_N), ENOUGH_ITEMS)).astype(np.int64)
    (head,) = zero_shot.fit_path(candidate.x_ND[some], y_N[some], task, [{}])
    hits = float((head.logits(candidate.x_ND[some]).argmax(axis=1) == y_N[some]).mean())
    return names_hold(hits, len(some), task.n_classes)


def _stopped(entrants: Sequence[_Entrant]) -> list[str]:
    return [e.strategy.name for e in entrants if e.trial is None and e.refusal is None]


def _words(plan: Plan, *, grouped: bool) -> str:
    repeats = {1: "once", 2: "twice"}.get(plan.repeats, f"{plan.repeats} times")
    return f"{plan.n_folds} stratified folds, {repeats}" + (", what belongs together kept together" if grouped else "")
