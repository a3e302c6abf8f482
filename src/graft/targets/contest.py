"""The contest: every way to answer on the same folds, and the choice among them by paired differences.

Legend: N items, D dims, K columns of answers, F folds of all repeats.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graft.data.splits import folds as draw_folds
from graft.errors import DataError
from graft.heads.base import Float64Array, TargetHead
from graft.metrics.intervals import corrected_resampled_t
from graft.reports.formats import measure_named
from graft.results import Interval, StrategyResult
from graft.targets.kinds import Contender, Kind, Settings, contenders

FOLDS, MANY_ITEMS = 5, 1000  # with fewer items the folds are drawn twice

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Trial:
    """One contender on the folds at the setting that did best there: a loss for each fold, and answers out of fold.

    `answers_NK` are averaged over the drawings of the folds; `once_NK` are those of the first drawing, each of one head.
    """

    contender: Contender
    encoder: str
    setting: Settings
    losses_F: Float64Array
    answers_NK: Float64Array = field(repr=False)
    once_NK: Float64Array = field(repr=False)
    seconds: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """The choice: its `trial` with the head refitted on all training items, the record of all contenders, and how they were measured.

    `folds_N` is each item's fold in the first drawing.
    """

    trial: Trial
    head: TargetHead
    folds_N: NDArray[np.int64]
    results: tuple[StrategyResult, ...]
    why: str
    how: str


def contest(
    pools: Sequence[tuple[str, NDArray[np.float32]]],
    y_NK: Float64Array,
    strata_N: NDArray[np.int64],
    groups_N: NDArray[np.int64],
    kind: Kind,
    *,
    folds: int | None,
    seed: int,
) -> Outcome:
    """Measure all contenders on all encoders' vectors (`pools`: reference and (N, D)) and choose.

    The encoder is the one whose best contender errs least. On it a contender is taken over the one that stands when the paired
    interval of what it errs less lies above 0, plainest first: so nothing is taken that was not shown to be better.
    Raises UsageError for folds that cannot be drawn, DataError when all items belong together.
    """
    plan, repeats = _plan(strata_N, groups_N, folds, seed)
    trials = [
        measured(contender, reference, x_ND, y_NK, plan, kind)
        for reference, x_ND in pools
        for contender in contenders(kind)
    ]
    best = min(trials, key=lambda trial: float(trial.losses_F.mean()))
    ours = [trial for trial in trials if trial.encoder == best.encoder]
    parted = float(np.mean([len(learn) for learn, _ in plan])), float(np.mean([len(held) for _, held in plan]))
    stands, gains = ours[0], {}
    for trial in ours[1:]:
        gains[id(trial)] = (corrected_resampled_t(stands.losses_F - trial.losses_F, *parted), stands)
        if (gains[id(trial)][0].low or 0.0) > 0:
            stands = trial
    x_ND = next(x_ND for reference, x_ND in pools if reference == best.encoder)
    results = tuple(_result(trial, gains.get(id(trial)), stands, parted, kind) for trial in trials)
    how = f"{len(plan) // repeats} folds{', drawn twice' if repeats > 1 else ''}, alike in the target, near duplicates kept together"
    why = _why(stands, ours, gains, kind)
    folds_N = np.zeros(len(y_NK), np.int64)
    for fold, (_, held) in enumerate(plan[: len(plan) // repeats]):
        folds_N[held] = fold
    return Outcome(stands, refitted(stands, x_ND, y_NK), folds_N, results, why, how)


def _plan(
    strata_N: NDArray[np.int64], groups_N: NDArray[np.int64], folds: int | None, seed: int
) -> tuple[list[Fold], int]:
    groups = len(np.unique(groups_N))
    if groups < 2:
        raise DataError("All items to learn from belong together, so none can be held back to measure on.")
    repeats = 1 if len(strata_N) >= MANY_ITEMS else 2
    return draw_folds(strata_N, groups_N, folds or min(FOLDS, groups), repeats, np.random.default_rng(seed)), repeats


def measured(
    contender: Contender,
    encoder: str,
    x_ND: NDArray[np.float32],
    y_NK: Float64Array,
    plan: Sequence[Fold],
    kind: Kind,
) -> Trial:
    """One contender on the folds of `plan` (positions to learn from and held back), at the setting that errs least there."""
    started = time.perf_counter()
    count = len(contender.settings)
    losses_SF = np.empty((count, len(plan)))
    answers_SNK, once_SNK = np.zeros((count, *y_NK.shape)), np.zeros((count, *y_NK.shape))
    times_N = np.zeros(len(y_NK))
    for f, (learn, held) in enumerate(plan):
        for s, head in enumerate(contender.path(x_ND[learn], y_NK[learn])):
            answers_nK = head.predict(x_ND[held])
            losses_SF[s, f] = kind.loss(y_NK[held], answers_nK)
            answers_SNK[s, held] += answers_nK
            once_SNK[s, held[times_N[held] == 0]] = answers_nK[times_N[held] == 0]
        times_N[held] += 1
    best = int(losses_SF.mean(axis=1).argmin())
    return Trial(
        contender,
        encoder,
        contender.settings[best],
        losses_SF[best],
        answers_SNK[best] / np.maximum(times_N, 1)[:, None],
        once_SNK[best],
        time.perf_counter() - started,
    )


def refitted(trial: Trial, x_ND: NDArray[np.float32], y_NK: Float64Array) -> TargetHead:
    """The trial's contender at its setting, learned from all items."""
    return trial.contender.path(x_ND, y_NK)[trial.contender.settings.index(trial.setting)]


def _result(
    trial: Trial, gain: tuple[Interval, Trial] | None, chosen: Trial, parted: tuple[float, float], kind: Kind
) -> StrategyResult:
    return StrategyResult(
        name=trial.contender.name,
        rung=trial.contender.rung,
        status="measured",
        encoder=trial.encoder,
        metrics={kind.measure: corrected_resampled_t(trial.losses_F, *parted)},
        gain=gain and gain[0],
        gain_over=gain and gain[1].contender.name,
        versus_chosen=None if trial is chosen else corrected_resampled_t(chosen.losses_F - trial.losses_F, *parted),
        seconds=trial.seconds,
        settings=trial.setting,
    )


def _why(stands: Trial, ours: Sequence[Trial], gains: dict[int, tuple[Interval, Trial]], kind: Kind) -> str:
    label = measure_named(kind.measure).label
    said = []
    for trial in ours[1:]:
        gain, over = gains[id(trial)]
        name = kind.constant if over is ours[0] else over.contender.name
        ends = "" if gain.low is None else f", {gain.low:.3g} to {gain.high:.3g}"
        better = (gain.low or 0.0) > 0
        verdict = "errs less than" if better else "is not shown to err less than"
        said.append(
            f"{trial.contender.name.capitalize()} {verdict} {name} on the same folds: {label} {trial.losses_F.mean():.4g} beside "
            f"{over.losses_F.mean():.4g} ({'less by' if better else 'a difference of'} {gain.value:.3g}{ends})."
        )
    if stands is ours[0]:
        return " ".join(
            [*said, f"So the answer for every item is {kind.constant}: these vectors were not shown to say more."]
        )
    return " ".join([f"{stands.contender.name.capitalize()} was chosen.", *said])
