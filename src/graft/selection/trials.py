"""One strategy measured on paired folds, with the choice of its own settings kept out of its score.

Legend: N items, V items of one fold's validation part, C classes, F folds (all repeats), S settings, T temperatures.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import IntArray
from graft.metrics.classify import macro_f1
from graft.settings import threads
from graft.strategies.frozen import Settings, Strategy, Task

Floats = NDArray[np.float64]
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

METRICS = ("accuracy", "macro_f1", "log_loss")
TEMPERATURES = np.exp(np.linspace(np.log(0.05), np.log(20), 21)).astype(
    np.float32
)  # steps of a third: log loss is flat there
LOSS_WEIGHT = 0.25


@dataclass(frozen=True)
class Plan:
    """The folds that every strategy is measured on: `repeats` times `n_folds` pairs of (training, validation) positions."""

    folds: tuple[Fold, ...]
    n_folds: int
    repeats: int

    @property
    def sizes(self) -> tuple[float, float]:
        """Mean items of a training and of a validation part, as the corrected resampled t-test wants them."""
        return float(np.mean([len(t) for t, _ in self.folds])), float(np.mean([len(v) for _, v in self.folds]))


@dataclass(frozen=True)
class FoldScores:
    """One strategy's raw scores by fold and setting: share right and macro F1 (F, S), log loss by temperature (F, S, T)."""

    accuracy_FS: Floats
    macro_f1_FS: Floats
    log_loss_FST: Floats


@dataclass(frozen=True)
class Trial:
    """What one strategy did. `scores` hold a value for each fold, larger is better (log loss negated), from settings that the
    other folds of the same repeat chose. `settings` is the choice of all folds, `oof_NC` its logits for items it did not learn
    from, averaged over repeats; `known_N` is False where some fold had no other item of the class to learn from, so that its probability
    says nothing of the strategy. `memory_mb` is the most that arrays took at once while one fold was fitted.
    """

    raw: FoldScores = field(repr=False)
    scores: Mapping[str, Floats]
    settings: Settings
    oof_NC: NDArray[np.float32] = field(repr=False)
    known_N: NDArray[np.bool_] = field(repr=False)
    seconds: float
    memory_mb: float


def measure(
    strategy: Strategy, items: Any, y_N: IntArray, task: Task, plan: Plan, *, metric: str, over: Callable[[], bool]
) -> Trial | None:
    """Fit the strategy's path of settings on every fold, several folds at once.

    None when `over()` says that time is up before the last. `seconds` are those of the processor, which do not depend on how many folds
    ran beside each other.
    """
    settings = strategy.settings(np.bincount(y_N, minlength=task.n_classes))

    def one(fold: Fold, watch: bool = False) -> tuple[NDArray[np.float32], float, float] | None:
        if over():
            return None
        train, validation = fold
        started = time.thread_time()
        with _ArrayPeak(watch=watch) as peak:
            heads = strategy.fit_path(items[train], y_N[train], task, settings)
        held = items[validation]
        logits_SVC = np.stack([head.logits(held) for head in heads]).astype(np.float32)
        return logits_SVC, time.thread_time() - started, peak.megabytes

    oof_SNC = np.zeros((len(settings), len(y_N), task.n_classes), np.float32)
    known_N = np.ones(len(y_N), bool)
    rows: list[tuple[Floats, Floats, Floats]] = []
    seconds, memory = 0.0, 0.0
    first = one(plan.folds[0], watch=True)  # alone: the memory of two folds could not be told apart
    with ThreadPoolExecutor(threads()) as pool:
        for (train, validation), result in zip(plan.folds, chain([first], pool.map(one, plan.folds[1:])), strict=True):
            if result is None:
                return None
            logits_SVC, spent, megabytes = result
            seconds, memory = seconds + spent, max(memory, megabytes)
            known_V = np.isin(y_N[validation], y_N[train])
            known_N[validation] &= known_V
            oof_SNC[:, validation] += logits_SVC / plan.repeats
            rows.append(score(logits_SVC, y_N[validation], known_V))
    raw = FoldScores(*(np.stack(column) for column in zip(*rows, strict=True)))
    scores, best = cross_fitted(raw, plan.n_folds, metric)
    return Trial(raw, scores, settings[best], oof_SNC[best], known_N, seconds, memory)


class _ArrayPeak:
    """The most memory that Python and numpy held at once inside the block; nothing where someone else is tracing already."""

    def __init__(self, *, watch: bool) -> None:
        self.watch = watch and not tracemalloc.is_tracing()
        self.megabytes = 0.0

    def __enter__(self) -> _ArrayPeak:
        if self.watch:
            tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.watch:
            self.megabytes = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()


def score(
    logits_SVC: NDArray[np.float32], y_V: IntArray, known_V: NDArray[np.bool_] | None = None
) -> tuple[Floats, Floats, Floats]:
    """Accuracy (S,), macro F1 (S,) and log loss at every temperature (S, T) of one fold.

    Log loss is that of the items whose class could be learned (`known_V`, default all; all where none could): any other costs what the
    head gives a class it has never seen, which is arbitrary.
    """
    if known_V is None or not known_V.any():
        known_V = np.ones(len(y_V), bool)
    n_settings, n_items, _ = logits_SVC.shape
    guess_SV = logits_SVC.argmax(axis=2)
    accuracy_S = (guess_SV == y_V).mean(axis=1)
    macro_f1_S = np.array([macro_f1(np.asarray(y_V, np.int64), guess_V) for guess_V in guess_SV])
    shifted_SVC = logits_SVC - logits_SVC.max(axis=2, keepdims=True)
    true_SV = shifted_SVC[:, np.arange(n_items), y_V]
    log_loss_ST = np.empty((n_settings, len(TEMPERATURES)))
    for t, temperature in enumerate(TEMPERATURES):
        total_SV = np.exp(shifted_SVC[:, known_V] / temperature).sum(axis=2)
        log_loss_ST[:, t] = (np.log(total_SV) - true_SV[:, known_V] / temperature).mean(axis=1)
    return accuracy_S, macro_f1_S, log_loss_ST


def cross_fitted(raw: FoldScores, n_folds: int, metric: str) -> tuple[dict[str, Floats], int]:
    """Scores (F,) by metric in which no fold chose its own setting or temperature, and the setting that all folds choose.

    For a fold the setting is the best by the mean of the *other* folds of its repeat (other repeats hold the same items and
    would tell); likewise the temperature, of which only log loss knows.
    """
    n_all = len(raw.accuracy_FS)
    scores: dict[str, Floats] = {name: np.empty(n_all) for name in METRICS}
    for fold in range(n_all):
        first = fold - fold % n_folds
        others = [f for f in range(first, first + n_folds) if f != fold]
        setting, temperature = _choose(raw, others, metric)
        scores["accuracy"][fold] = raw.accuracy_FS[fold, setting]
        scores["macro_f1"][fold] = raw.macro_f1_FS[fold, setting]
        scores["log_loss"][fold] = -raw.log_loss_FST[fold, setting, temperature]
    return scores, _choose(raw, range(n_all), metric)[0]


def _choose(raw: FoldScores, folds: Sequence[int], metric: str) -> tuple[int, int]:
    """Positions of the best setting and of its best temperature by the mean over `folds`; the first of equals."""
    loss_ST = raw.log_loss_FST[list(folds)].mean(axis=0)
    temperature_S = loss_ST.argmin(axis=1)
    value_S = -loss_ST.min(axis=1)
    if metric != "log_loss":
        right_FS = raw.accuracy_FS if metric == "accuracy" else raw.macro_f1_FS
        value_S = right_FS[list(folds)].mean(axis=0) + LOSS_WEIGHT * value_S
    setting = int(value_S.argmax())
    return setting, int(temperature_S[setting])
