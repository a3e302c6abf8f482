"""The upper rungs: strategies that train, tried in order of cost while each proves its worth on the folds of the frozen ones.

A rung is timed on a few steps before it is run. What does not fit into the time left is skipped, and the result says what it would take;
where only one fold fits, one is run. After the first fold a rung that is already below the best is stopped. The climb ends at the first
rung whose paired gain over the best so far does not keep its interval above zero. Legend: N items, V items of one fold's validation part,
C classes, F folds, S shares of the way from the old weights to the new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import ModelError
from graft.heads.base import IntArray
from graft.results import Interval, StrategyResult, TrainingRecord
from graft.selection.choice import worth_taking
from graft.selection.contender import Contender, Ground, answers
from graft.strategies.expected import HANDFUL, expected_gain, likely_wrong
from graft.strategies.items import Items
from graft.strategies.trained import Trained

MOST_SPLITS = (
    5  # folds a trained rung is measured on; more would cost as much again and narrow the corrected interval little
)
FEWEST_ERRORS = 6  # mistakes of the best so far below which no rung could prove a gain: a sign test needs six that all fall on one side
PROBE_STEPS = 3
SINGLE = (0,)


@dataclass(frozen=True, eq=False)
class Climb:
    """How it went: a result for every rung, and the rung that won with its share of the way and out-of-fold logits, or None."""

    results: tuple[StrategyResult, ...]
    winner: Trained | None = None
    share: float = 1.0
    logits: Mapping[int, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    folds: tuple[int, ...] = ()
    why: str = ""


@dataclass(frozen=True, eq=False)
class Limits:
    """What bounds a climb: `left` tells the seconds left, `forced` has every rung run that fits, whatever the one before it gained, and with
    `only` the best of them wins even without a proven gain.

    `splits` is the number of folds, None for as many as fit.
    """

    left: Callable[[], float]
    forced: bool = False
    only: bool = False
    splits: int | None = None


Train = Callable[[Trained, Items, IntArray, int, "tuple[Items, IntArray] | None"], Any]


def climb(ground: Ground, rungs: Sequence[Trained], limits: Limits, train: Train) -> Climb:
    """Try the rungs in order of predicted cost, first those of which experience expects a gain.

    `train(rung, items, labels, fold, held)` gives a `tuning.Outcome`; fold -1 is a rehearsal. Every rung gets a result: measured with its
    paired gain over the best so far, or skipped with the reason.
    """
    best = Contender.of_base(ground, _folds_run(ground, limits.splits))
    timed, results = _timed(ground, rungs, limits, best, train)
    winner: tuple[Trained, Contender] | None = None
    run: list[tuple[Trained, Contender]] = []
    ended = ""
    said: list[str] = []
    frozen = best
    for _, rung, cost in sorted(timed, key=lambda entry: (not _expected(ground, entry[1], frozen), entry[0])):
        if ended and not limits.forced:
            results[rung.name] = _skipped(ground, rung, ended, cost)
            continue
        n_folds = _affordable(ground, cost, limits)
        if n_folds == 0:
            results[rung.name] = _skipped(ground, rung, _too_dear(cost, limits), cost)
            continue
        measured = _measure(ground, rung, n_folds, best, train)
        gain = measured.gain_over(best, ground)
        results[rung.name] = measured.result(ground, rung, gain, best.name, cost)
        run.append((rung, measured))
        proven = gain.low is not None and gain.low > 0 and _enough_mended(measured, best)
        expected = _expected(ground, rung, frozen) if best is frozen else 0.0
        favoured = worth_taking(gain, expected, items=sum(map(len, _validated(measured))), metric=ground.metric)
        verdict = "proven" if proven else "experience" if favoured else ""
        last = verdict or ("" if limits.forced else "ended")
        said.append(_told(rung.name, gain, best.name, measured, ground.metric, last))
        if verdict:
            winner, best = (rung, measured), measured
        if not proven:
            ended = f"the rung before it, {rung.name}, gained nothing that could be told from chance"
    ordered = tuple(results[rung.name] for rung in rungs)
    if winner is None and limits.only and run:
        winner = max(run, key=lambda pair: float(pair[1].scores[ground.metric].mean()))
        said.append(f"{winner[0].name.capitalize()} was taken because strategies that train were asked for by name.")
    if limits.only and not run:
        said.append("None of the strategies asked for by name could be trained, so the best frozen one was taken.")
    if winner is None:
        return Climb(ordered, why=" ".join(said))
    rung, found = winner
    return Climb(ordered, rung, found.share, found.chosen_logits(), tuple(found.logits), " ".join(said))


def _timed(
    ground: Ground, rungs: Sequence[Trained], limits: Limits, best: Contender, train: Train
) -> tuple[list[tuple[float, Trained, dict[str, float]]], dict[str, StrategyResult]]:
    """The rungs that can run with what they are predicted to cost, and results of those that cannot."""
    timed: list[tuple[float, Trained, dict[str, float]]] = []
    results: dict[str, StrategyResult] = {}
    for rung in rungs:
        refusal = rung.refusal(ground.task, np.bincount(ground.y_N)) or rung.unfit(ground.items.encoder.info)
        if refusal is None and not limits.forced:
            refusal = _nothing_to_gain(best, experience=_expected(ground, rung, best) > 0)
        if refusal is None and limits.left() <= 0:
            refusal = "no time was left for it"
        if refusal is None:
            try:
                cost = rehearse(ground, rung, train)
                timed.append((cost["fold"], rung, cost))
            except ModelError as error:
                refusal = str(error)
        if refusal is not None:
            results[rung.name] = _skipped(ground, rung, refusal)
    return timed, results


def _expected(ground: Ground, rung: Trained, frozen: Contender) -> float:
    """What the rung is expected to gain over the best frozen strategy, in shares of items; of a handful of items nothing is (docs/LOG.md)."""
    if len(ground.y_N) <= HANDFUL:
        return 0.0
    counts_C = np.bincount(ground.y_N)
    labels, items = float(np.median(counts_C[counts_C > 0])), sum(map(len, _validated(frozen)))
    return expected_gain(rung.name, ground.items.encoder.info.modality, labels, likely_wrong(_mistakes(frozen), items))


def _validated(found: Contender) -> list[IntArray]:
    """Labels of the validation parts that it answered on."""
    return [found.y[fold] for fold in found.logits]


def _mistakes(found: Contender) -> int:
    """How many items of those validation parts it gets wrong."""
    return sum(int((logits[found.place].argmax(axis=1) != found.y[f]).sum()) for f, logits in found.logits.items())


def _folds_run(ground: Ground, splits: int | None) -> list[int]:
    """The first folds of the first repeat."""
    return list(range(min(splits or MOST_SPLITS, MOST_SPLITS if splits is None else splits, ground.plan.n_folds)))


def _nothing_to_gain(best: Contender, *, experience: bool) -> str | None:
    """Why a rung is not worth a try: too few mistakes to prove a gain by, or none at all where experience may stand in for proof."""
    errors = _mistakes(best)
    if errors >= (1 if experience else FEWEST_ERRORS):
        return None
    made = {0: "no mistakes", 1: "one mistake"}.get(errors, f"{errors} mistakes")
    return f"{best.name} makes {made} on the folds, too few for any rung to prove that it does better"


def _enough_mended(found: Contender, best: Contender) -> bool:
    """Whether it is right on so many more items, of the folds both answered, that a sign test could prove it.

    The folds' interval alone says too much where few folds differ by the same one item, for then it has no width. Other metrics than
    accuracy do not move in steps of one item.
    """
    if found.metric != "accuracy":
        return True
    both = sorted(set(found.logits) & set(best.logits))
    return _mistakes(best.on(both)) - _mistakes(found.on(both)) >= FEWEST_ERRORS


def rehearse(ground: Ground, rung: Trained, train: Train) -> dict[str, float]:
    """Seconds that the rung is predicted to take, from a few of its steps on a few items.

    `fold` for one fold, `refit` for the training on all items, `shared` for what is computed once for all folds: decoded pictures, and the
    frozen layers' output.
    """
    recipe = rung.recipe(ground.items.encoder.info.modality)
    train_part, validation = ground.plan.folds[0]
    rng = np.random.default_rng(0)
    some = rng.permutation(train_part)[: PROBE_STEPS * recipe.batch]
    if len(np.unique(ground.y_N[some])) < 2:
        others = train_part[ground.y_N[train_part] != ground.y_N[some[0]]]
        if not len(others):
            raise ModelError("the first fold leaves it items of one class to learn from")
        some = np.append(some, others[:1])
    few = ground.items[some].alone()
    outcome = train(rung, few, ground.y_N[some], -1, None)
    started = time.perf_counter()
    outcome.course.rows(few.alone())
    shared = (time.perf_counter() - started) / len(few) * len(ground.items)
    outcome.head(1.0)  # fitted before the clock starts
    started = time.perf_counter()
    outcome.head(1.0).logits(few)
    forward = (time.perf_counter() - started) / len(few)
    step = 1 / max(outcome.record.items_per_second, 1e-9)
    passes = outcome.course.passes(recipe, len(train_part))  # the rehearsal's own is of one pass
    evaluated = len(validation) * len(rung.settings(np.bincount(ground.y_N)))
    return {
        "fold": passes * len(train_part) * step + forward * evaluated,
        "refit": passes * len(ground.y_N) * step,
        "shared": shared,
    }


def _affordable(ground: Ground, cost: Mapping[str, float], limits: Limits) -> int:
    """How many folds fit into the time left, with the training on all items that follows; 0 for none."""
    wanted = len(_folds_run(ground, limits.splits))
    if limits.splits is not None:
        return wanted
    left, once = limits.left(), cost["refit"] + cost["shared"]
    if cost["fold"] * wanted + once <= left:
        return wanted
    return 1 if cost["fold"] + once <= left else 0


def _measure(ground: Ground, rung: Trained, n_folds: int, best: Contender, train: Train) -> Contender:
    """Train and answer on each fold; given up after the first where it is already below the best beyond doubt."""
    shares = tuple(s["share"] for s in rung.settings(np.bincount(ground.y_N)))
    made = Contender(rung.name, {}, *answers(ground), ground.metric, shares)
    for fold in range(n_folds):
        started = time.perf_counter()
        train_part, validation = ground.plan.folds[fold]
        held = (ground.items[validation], ground.y_N[validation])
        outcome = train(rung, ground.items[train_part], ground.y_N[train_part], fold, held if fold == 0 else None)
        logits = np.stack([outcome.head(share).logits(held[0]) for share in shares]).astype(np.float32)
        made.logits[fold] = logits
        made.seconds += time.perf_counter() - started
        made.record = made.record or outcome.record
        if fold == 0 and n_folds > 1:
            first = made.on([0]).gain_over(best.on([0]) if 0 in best.logits else best, ground)
            if first.high is not None and first.high < 0:
                made.reason = "below the best on the first fold beyond doubt, so the others were not run"
                break
    made.settle()
    return made


def _skipped(ground: Ground, rung: Trained, reason: str, cost: Mapping[str, float] | None = None) -> StrategyResult:
    record = None if cost is None else TrainingRecord(rung.name, predicted_seconds=cost["fold"])
    reference = ground.items.encoder.info.reference
    return StrategyResult(rung.name, rung.rung, "skipped", reason, reference, training=record)


def _too_dear(cost: Mapping[str, float], limits: Limits) -> str:
    need = cost["fold"] + cost["refit"] + cost["shared"]
    return (
        f"one validation split and the training on all items would take about {_time(need)}, and {_time(limits.left())} are left: "
        f"--budget with more time lets it run"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _told(name: str, gain: Interval, over: str, measured: Contender, metric: str, verdict: str) -> str:
    """One sentence of the climb."""
    unit, factor = ("points", 100.0) if metric != "log_loss" else ("nats", 1.0)
    digits = 1 if factor == 100 else 3
    between = (
        ""
        if gain.low is None or gain.high is None
        else f" ({factor * gain.low:+.{digits}f} to {factor * gain.high:+.{digits}f})"
    )
    where = "one validation split" if len(measured.logits) == 1 else f"{len(measured.logits)} of the folds"
    words = {
        "proven": "which is a gain beyond doubt",
        "ended": "which proves no gain, so the climb ended",
        "": "which proves no gain",
        "experience": "which proves nothing with so few labels; experience at this number of labels favours it, so it was taken",
    }
    if gain.low is not None and gain.low > 0 and verdict in ("", "ended"):
        words = {name: said.replace("proves", "with so few items proves") for name, said in words.items()}
    found = f"{factor * gain.value:+.{digits}f} {unit}{between} against {over} on {where}"
    return f"{name.capitalize()} trained the encoder: {found}, {words[verdict]}."
