"""How many labels: errors counted on nested subsets of the training folds, and what the curve through them says of more labels.

Legend: N items, D dims, J draws (one a fold), P sizes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.label_curve import CurvePoint, Expected, LabelCurve, LabelTarget
from graft.metrics.curve import FARTHEST, FEWEST_DRAWS, FEWEST_SIZES, Curve, Reach, fit_curve, reach
from graft.settings import one_thread, progress
from graft.strategies.frozen import STRATEGIES, Settings, Strategy, Task

Codes = NDArray[np.int64]
Fold = tuple[Codes, Codes]

PROBE = "linear-probe"  # stands for strategies that train an encoder, or learn nothing from labels
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995)  # targets people name
STEP, MOST_SIZES = 1.6, 7  # a size is about this many times the one before
SPAN = 24  # the largest size is at most so many times the least: near chance errors follow no power law
FEWEST_A_CLASS, FEWEST = 2, 16  # labels of the least size, a class and in all
TIMES = (1, 2, 4, 10)  # multiples of the labels there are, for which accuracy is said


@dataclass(frozen=True, eq=False)
class Ground:
    """What is learned from: one encoder's vectors (N, D) of the labelled items, label codes (N,), the task, the encoder's name."""

    x_ND: Any = field(repr=False)
    y_N: Codes
    task: Task
    encoder: str


@dataclass(frozen=True, eq=False)
class Tally:
    """Wrong answers (J, P) among the `tested_J` held-out items of each draw, after learning from `sizes_P` items."""

    errors_JP: NDArray[np.float64]
    tested_J: Codes
    sizes_P: Codes


def sizes_for(most: int, n_classes: int, count: int = MOST_SIZES) -> Codes:
    """Rising sizes of nested subsets of `most` items, the last of them all: `count` of them, or fewer, about a factor of 1.6 apart, where that
    suffices; empty where there are too few items.

    The least has two items a class, 16 in all, and a 24th of all; four sizes a factor of 4 apart are the least to see a curve in.
    """
    least = max(FEWEST_A_CLASS * n_classes, FEWEST, math.ceil(most / SPAN))
    if most < 4 * least:
        return np.empty(0, np.int64)
    count = min(count, max(FEWEST_SIZES, round(math.log(most / least, STEP)) + 1))
    return np.unique(np.rint(np.geomspace(least, most, count)).astype(np.int64))


def nested(y_N: Codes, rng: np.random.Generator) -> Codes:
    """The items in an order whose every beginning holds the classes in about the shares they have, one of each class first."""
    order = rng.permutation(len(y_N))
    counts_C = np.bincount(y_N)
    rank_N = np.empty(len(y_N))
    for code in np.flatnonzero(counts_C):
        members = order[y_N[order] == code]
        rank_N[members] = (np.arange(len(members)) + rng.random(len(members))) / len(members)
        rank_N[members[0]] -= 1.0
    found: Codes = np.argsort(rank_N, kind="stable")
    return found


def count_errors(
    strategy: Strategy,
    settings: Settings,
    ground: Ground,
    folds: Sequence[Fold],
    *,
    sizes_P: Codes,
    rounds: int = 1,
    known_N: Codes | None = None,
    seed: int = 0,
) -> Tally:
    """Learn from nested subsets of each fold's training part, and count the errors on its validation part.

    `folds` of several `rounds` hold out the same items again, which are no new items: an item's errors are their mean over the rounds, and the draws
    are the folds of the first round. A size above what a fold has is all it has, so `sizes_P` should end with the smallest training part.
    `known_N` are predictions for all items after learning from whole training parts (one round), which then need not be made again.
    """
    wrong_PN = np.zeros((len(sizes_P), len(ground.y_N)))
    with one_thread():
        for number, (train, held) in enumerate(folds):
            progress("learning curve", number, len(folds))
            order = train[nested(ground.y_N[train], np.random.default_rng([seed, number]))]
            for place, size in enumerate(sizes_P if known_N is None else sizes_P[:-1]):
                some = order[:size]
                (head,) = strategy.fit_path(ground.x_ND[some], ground.y_N[some], ground.task, [settings])
                wrong_PN[place, held] += (head.logits(ground.x_ND[held]).argmax(axis=1) != ground.y_N[held]) / rounds
        progress("learning curve", len(folds), len(folds))
    if known_N is not None:
        wrong_PN[-1] = known_N != ground.y_N
    blocks = [held for _, held in folds[: len(folds) // rounds]]
    errors_JP = np.array([wrong_PN[:, block].sum(axis=1) for block in blocks]).reshape(len(blocks), len(sizes_P))
    return Tally(errors_JP, np.array([len(block) for block in blocks], np.int64), sizes_P)


@dataclass(frozen=True, eq=False)
class Drawn:
    """How the curve is drawn: `folds` of so many `rounds`, sizes at most, and predictions that are known already (see `count_errors`)."""

    folds: Sequence[Fold]
    rounds: int = 1
    most_sizes: int = MOST_SIZES
    known_N: Codes | None = None


def learning_curve(
    ground: Ground,
    drawn: Drawn,
    *,
    chosen: str,
    settings: Settings | None = None,
    targets: Sequence[float] = (),
    seed: int = 0,
) -> LabelCurve:
    """The curve of the `chosen` strategy at its `settings`, and the forecast for `targets` (accuracies; the next two round ones by default).

    Strategies that train an encoder, and those that learn nothing from labels, are stood for by a linear probe. With too few items for four sizes
    or fewer than three folds the curve is not measured, and its `reason` says so.
    """
    started = time.perf_counter()
    name, own = stand_in(chosen, settings, ground)
    blank = LabelCurve(name, ground.encoder, len(ground.y_N), int(np.count_nonzero(np.bincount(ground.y_N))))
    most = min((len(train) for train, _ in drawn.folds), default=0)
    sizes_P = sizes_for(most, blank.classes, drawn.most_sizes)
    if not len(sizes_P) or len(drawn.folds) < FEWEST_DRAWS * drawn.rounds:
        need = 4 * max(FEWEST_A_CLASS * blank.classes, FEWEST)
        reason = (
            f"too few labels: it takes {need:,} or more to learn from in each of three folds, and there are {most:,}"
            if not len(sizes_P)
            else f"too few folds: it takes {FEWEST_DRAWS}, and there are {len(drawn.folds) // drawn.rounds}, as many as were asked for or as "
            "groups of items that stay together allow"
        )
        return LabelCurve(**{**vars(blank), "reason": reason})
    known_N = drawn.known_N if name == chosen else None
    tally = count_errors(
        STRATEGIES[name], own, ground, drawn.folds, sizes_P=sizes_P, rounds=drawn.rounds, known_N=known_N, seed=seed
    )
    found = forecast(fit_curve(tally.errors_JP, tally.tested_J, tally.sizes_P, seed=seed), blank, targets)
    return LabelCurve(
        **{**vars(found), "draws": len(drawn.folds), "settings": dict(own), "seconds": time.perf_counter() - started}
    )


def stand_in(chosen: str, settings: Settings | None, ground: Ground) -> tuple[str, Settings]:
    """The strategy that is measured for the chosen one, and its settings: its first where none are given."""
    strategy = STRATEGIES.get(chosen)
    if strategy is None or chosen == "zero-shot":
        strategy, settings = STRATEGIES[PROBE], None
    if settings is None:
        settings = strategy.settings(np.bincount(ground.y_N, minlength=ground.task.n_classes))[0]
    return strategy.name, settings


def forecast(curve: Curve, blank: LabelCurve, targets: Sequence[float]) -> LabelCurve:
    """What the curve says of the labels there are, of multiples of them, and of the targets, in accuracies."""
    now = blank.labels
    along = np.geomspace(curve.sizes_P[0], FARTHEST * now, 40)
    expected = tuple(Expected(**vars(_point(curve, n)), gain=curve.gain(n, now)) for n in (t * now for t in TIMES))
    wanted = tuple(targets) or tuple(level for level in LEVELS if level > expected[0].accuracy)[:2]
    measured = tuple(
        CurvePoint(int(n), 1 - float(p), 1 - float(high), 1 - float(low))
        for n, p, low, high in zip(curve.sizes_P, curve.error_P, curve.low_P, curve.high_P, strict=True)
    )
    return LabelCurve(
        **{
            **vars(blank),
            "measured": measured,
            "fitted": tuple(_point(curve, n) for n in along),
            "expected": expected,
            "power": curve.exponent(),
            "targets": tuple(target(curve, level, now, blank.classes) for level in wanted),
        }
    )


def _point(curve: Curve, labels: float) -> CurvePoint:
    error, low, high = curve.at(labels)
    return CurvePoint(round(labels), 1 - error, 1 - high, 1 - low)


def target(curve: Curve, accuracy: float, now: int, n_classes: int) -> LabelTarget:
    """What `accuracy` takes beyond the `now` labels there are, in labels a class."""
    found = reach(curve, 1 - accuracy, now)

    def more(labels: float | None) -> int | None:
        return None if labels is None else max(0, math.ceil((labels - now) / n_classes - 1e-9))

    told = more(found.labels) if found.status == "told" else None
    return LabelTarget(accuracy, found.status, told, more(found.low), more(found.high), _reason(found, curve))


def _reason(found: Reach, curve: Curve) -> str:
    if found.status == "flat":
        return (
            f"over {curve.sizes_P[0]:.0f} to {curve.top:.0f} labels the error does not fall beyond what chance explains"
        )
    if found.status == "far":
        return f"by the curve it takes more than {FARTHEST:.0f} times the labels there are"
    if found.status == "open":
        return f"the labels there are may do, and {FARTHEST:.0f} times as many may not: the accuracy now is not known well enough for a number"
    return ""
