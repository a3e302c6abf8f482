"""A contender of the climb: what one strategy answered on some of the folds, its scores, and its paired gain over another.

Legend: V items of one fold's validation part, C classes, F folds, S shares of the way from the old weights to the new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import IntArray
from graft.metrics.intervals import corrected_resampled_t, mean_interval
from graft.results import Interval, StrategyResult, TrainingRecord
from graft.selection.trials import Floats, Fold, FoldScores, Plan, cross_fitted, score
from graft.strategies.frozen import Task
from graft.strategies.items import Items
from graft.strategies.trained import Trained


@dataclass(frozen=True, eq=False)
class Ground:
    """What the climb stands on: the items with their labels, the folds of the frozen rungs, the metric, and the best frozen strategy.

    `base` gives its logits (V, C) on a fold's validation part, learned from the fold's other part; `probe` is the linear probe that trained
    rungs start from, with its settings.
    """

    items: Items
    y_N: IntArray
    task: Task
    plan: Plan
    metric: str
    chosen: str
    base: Callable[[Fold], NDArray[np.float32]]
    probe: tuple[str, Mapping[str, Any]]


@dataclass(eq=False)
class Contender:
    """One contender on some of the folds: logits (S, V, C) by fold."""

    name: str
    logits: dict[int, NDArray[np.float32]]
    y: Mapping[int, IntArray]
    known: Mapping[int, NDArray[np.bool_]]
    metric: str
    shares: tuple[float, ...] = (1.0,)
    seconds: float = 0.0
    record: TrainingRecord | None = None
    reason: str = ""
    scores: dict[str, Floats] = field(default_factory=dict)
    place: int = 0

    @classmethod
    def of_base(cls, ground: Ground, folds: Sequence[int]) -> Contender:
        """The best frozen strategy on these folds."""
        made = cls(ground.chosen, {}, *answers(ground), ground.metric)
        for fold in folds:
            made.logits[fold] = ground.base(ground.plan.folds[fold])[None].astype(np.float32)
        made.settle()
        return made

    @property
    def share(self) -> float:
        """The share of the way to the new weights that the folds chose."""
        return self.shares[self.place]

    def settle(self) -> None:
        """Scores by fold, larger is better; with one fold nothing is chosen by it, so the whole way counts."""
        folds = sorted(self.logits)
        rows = [
            score(self.logits[f] if len(folds) > 1 else self.logits[f][:1], self.y[f], self.known[f]) for f in folds
        ]
        raw = FoldScores(*(np.stack(column) for column in zip(*rows, strict=True)))
        if len(folds) > 1:
            self.scores, self.place = cross_fitted(raw, len(folds), self.metric)
        else:
            loss = -raw.log_loss_FST.min(axis=2)[:, 0]
            self.scores = {"accuracy": raw.accuracy_FS[:, 0], "macro_f1": raw.macro_f1_FS[:, 0], "log_loss": loss}

    def chosen_logits(self) -> dict[int, NDArray[np.float32]]:
        """(V, C) by fold at the chosen share."""
        return {fold: logits[self.place] for fold, logits in self.logits.items()}

    def on(self, folds: Sequence[int]) -> Contender:
        """The same contender on some of its folds alone."""
        part = replace(self, logits={fold: self.logits[fold] for fold in folds}, scores={}, place=0)
        part.settle()
        return part

    def gain_over(self, other: Contender, ground: Ground) -> Interval:
        """Paired difference in the metric on the folds both were run on; by items where there is one fold alone."""
        folds = sorted(set(self.logits) & set(other.logits))
        mine = self if len(folds) == len(self.logits) else self.on(folds)
        theirs = other if len(folds) == len(other.logits) else other.on(folds)
        if len(folds) > 1:
            return corrected_resampled_t(mine.scores[self.metric] - theirs.scores[self.metric], *ground.plan.sizes)
        rows = self._judged(folds[0], self.metric)
        both = [contender.logits[folds[0]][contender.place][rows] for contender in (mine, theirs)]
        return paired_items(both[0], both[1], self.y[folds[0]][rows], self.metric)

    def _judged(self, fold: int, metric: str) -> NDArray[np.int64]:
        """Items of one fold that a metric is of: log loss leaves those out whose class could not be learned, as `score` does."""
        known_V = self.known[fold]
        return np.flatnonzero(known_V if metric == "log_loss" and known_V.any() else np.ones_like(known_V))

    def result(
        self, ground: Ground, rung: Trained, gain: Interval, over: str, cost: Mapping[str, float]
    ) -> StrategyResult:
        """What is reported of it."""
        assert self.record is not None
        one = len(self.logits) == 1
        record = replace(
            self.record,
            measured_on="one split" if one else "folds",
            folds=len(self.logits),
            predicted_seconds=cost["fold"] * len(self.logits),
            interpolation=self._sweep(),
        )
        return StrategyResult(
            rung.name,
            rung.rung,
            "measured",
            self.reason,
            ground.items.encoder.info.reference,
            metrics={name: self._interval(name, values, ground) for name, values in self.scores.items()},
            gain=gain,
            gain_over=over,
            seconds=self.seconds,
            memory_mb=record.memory_mb,
            settings={**record.recipe, **({"share": self.share} if len(self.shares) > 1 else {})},
            training=record,
        )

    def _sweep(self) -> tuple[tuple[float, float], ...]:
        """Mean share right (or the metric) at each share of the way, over the folds."""
        if len(self.shares) == 1:
            return ()
        found = []
        for place, share in enumerate(self.shares):
            values = [
                score(logits[place : place + 1], self.y[f], self.known[f])[0][0] for f, logits in self.logits.items()
            ]
            found.append((share, float(np.mean(values))))
        return tuple(sorted(found))

    def _interval(self, name: str, values: Floats, ground: Ground) -> Interval:
        """The metric's mean as people write it, with its interval."""
        values = -values if name == "log_loss" else values
        if len(values) > 1:
            found = corrected_resampled_t(values, *ground.plan.sizes)
        else:
            (fold,) = self.logits
            rows = self._judged(fold, name)
            found = _one_split(name, float(values[0]), self.logits[fold][self.place][rows], self.y[fold][rows])
        top = np.inf if name == "log_loss" else 1.0
        low, high = (None if end is None else float(np.clip(end, 0.0, top)) for end in (found.low, found.high))
        return replace(found, low=low, high=high)


def paired_items(mine_VC: NDArray[np.float32], theirs_VC: NDArray[np.float32], y_V: IntArray, metric: str) -> Interval:
    """Difference of two classifiers on the same items, larger is better, with an interval over the items.

    Student's t of the items' differences for accuracy and log loss; for macro F1 the percentiles of 1,000 bootstrap draws of the items.
    """
    from graft.metrics.classify import macro_f1

    if metric == "macro_f1":
        guesses = [np.asarray(logits.argmax(axis=1), np.int64) for logits in (mine_VC, theirs_VC)]
        truth_V = np.asarray(y_V, np.int64)
        rng = np.random.default_rng(0)
        draws = rng.integers(0, len(y_V), (1000, len(y_V)))
        gaps = [macro_f1(truth_V[d], guesses[0][d]) - macro_f1(truth_V[d], guesses[1][d]) for d in draws]
        low, high = np.quantile(gaps, [0.025, 0.975])
        value = macro_f1(truth_V, guesses[0]) - macro_f1(truth_V, guesses[1])
        return Interval(float(value), float(low), float(high), len(y_V))
    if metric == "log_loss":
        return mean_interval(_item_loss(theirs_VC, y_V) - _item_loss(mine_VC, y_V))
    right = [(logits.argmax(axis=1) == y_V).astype(np.float64) for logits in (mine_VC, theirs_VC)]
    return mean_interval(right[0] - right[1])


def _item_loss(logits_VC: NDArray[np.float32], y_V: IntArray) -> Floats:
    """Log loss of every item at the temperature that is best for all of them."""
    from graft.heads.base import log_softmax

    loss: Floats = -log_softmax(_scaled(logits_VC, y_V))[np.arange(len(y_V)), y_V]
    return loss


def _scaled(logits_VC: NDArray[np.float32], y_V: IntArray) -> Floats:
    """The logits at that temperature."""
    from graft.heads.calibration import fit_temperature

    return np.asarray(logits_VC, np.float64) / fit_temperature(logits_VC, np.asarray(y_V, np.int64))


def _one_split(name: str, value: float, logits_VC: NDArray[np.float32], y_V: IntArray) -> Interval:
    """A metric on one validation part with its interval over the items."""
    from graft.heads.base import softmax
    from graft.metrics.intervals import score_with_intervals

    found = score_with_intervals(np.asarray(y_V, np.int64), softmax(_scaled(logits_VC, y_V)), seed=0)[name]
    return replace(found, value=value) if name == "log_loss" else found


def answers(ground: Ground) -> tuple[dict[int, IntArray], dict[int, NDArray[np.bool_]]]:
    """Labels of each fold's validation part, and whether their class occurs in the other part."""
    y = {f: ground.y_N[validation] for f, (_, validation) in enumerate(ground.plan.folds)}
    known = {f: np.isin(y[f], ground.y_N[train]) for f, (train, _) in enumerate(ground.plan.folds)}
    return y, known
