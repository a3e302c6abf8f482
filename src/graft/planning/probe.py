"""A quick look at vectors: two of the cheapest strategies on a few folds, and how often the class names alone are right.

Legend: N items, D dims, C classes, F folds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graft.data.splits import folds
from graft.heads.base import IntArray
from graft.settings import one_thread
from graft.strategies.frozen import STRATEGIES, Task

MOST_ITEMS = 600  # a score of .9 on so many stands within 2.4 points (95 %)
MOST_FOLDS = 5
LEARNED = (
    "prototypes",
    "kernel-probe",
)  # the cheapest that learns, and the one nearest to the linear probe it stands for
NAMES = "zero-shot"
SHUFFLES = 199  # of the labels, for the chance of as many hits by luck


@dataclass(frozen=True, eq=False)
class Probe:
    """What the look gave: shares right by fold (F,) of each strategy tried, and the mean number of labels a class they had learned from.

    `items` counts copies once. `scores` is empty where no folds can be drawn. `hits` is the share of the items that the class names alone get
    right, None without names. `p` is the chance of as many hits by folds if labels had nothing to do with the vectors. `sizes` are the mean items of
    a fold's two parts, `seconds` those of the processor for one fold of the kernel probe.
    """

    items: int
    classes: int
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    labels_a_class: float = 0.0
    hits: float | None = None
    sizes: tuple[float, float] = (0.0, 0.0)
    seconds: float = 0.0
    p: float = 0.0

    def mean(self, name: str) -> float:
        """Share right of one strategy over the folds."""
        return float(self.scores[name].mean())


def probe(x_ND: NDArray[np.float32], y_N: IntArray, task: Task, groups_N: IntArray, *, seed: int = 0) -> Probe:
    """Look at `MOST_ITEMS` of the labelled items at most, drawn at random; items of a group stay together, as they do in `fit`.

    The same seed gives the same figures but for `seconds`. Takes a sixth of a second of a processor for 600 items of 1,280 dims.
    """
    some = np.sort(np.random.default_rng(seed).permutation(len(y_N))[:MOST_ITEMS])
    x_ND, groups_N = x_ND[some], groups_N[some]
    y_N = y_N[some].astype(np.int64)
    with one_thread():
        hits = None
        if task.names_CD is not None:
            (head,) = STRATEGIES[NAMES].fit_path(x_ND, y_N, task, [{}])
            hits = float((head.logits(x_ND).argmax(axis=1) == y_N).mean())
        parts = _folds(np.asarray(y_N, np.int64), groups_N, seed)
        if not parts:
            return Probe(len(np.unique(groups_N)), task.n_classes, hits=hits)
        scores: dict[str, list[float]] = {name: [] for name in LEARNED}
        spent, told = 0.0, []
        for train, held in parts:
            answers = []
            for name in LEARNED:
                started = time.thread_time()
                setting = STRATEGIES[name].settings(np.bincount(y_N, minlength=task.n_classes))[0]
                (head,) = STRATEGIES[name].fit_path(x_ND[train], y_N[train], task, [setting])
                answers.append(head.logits(x_ND[held]).argmax(axis=1))
                scores[name].append(float((answers[-1] == y_N[held]).mean()))
                spent += (time.thread_time() - started) if name == "kernel-probe" else 0.0
            told.append((np.stack(answers), y_N[held]))
    learned = [np.bincount(y_N[train]) for train, _ in parts]
    return Probe(
        items=len(np.unique(groups_N)),
        classes=task.n_classes,
        scores={name: np.asarray(values) for name, values in scores.items()},
        labels_a_class=float(np.mean([np.median(counts[counts > 0]) for counts in learned])),
        hits=hits,
        p=by_luck(told, np.random.default_rng(seed)),
        sizes=(float(np.mean([len(t) for t, _ in parts])), float(np.mean([len(h) for _, h in parts]))),
        seconds=spent / len(parts),
    )


def by_luck(told: Sequence[tuple[IntArray, IntArray]], rng: np.random.Generator) -> float:
    """The chance of as many hits if labels had nothing to do with the answers: labels (N,) shuffled beside the answers (S, N) of S strategies."""
    right = sum(int((answers_SN == y_N).sum()) for answers_SN, y_N in told)
    lucky = 0
    for _ in range(SHUFFLES):
        lucky += sum(int((answers_SN == rng.permutation(y_N)).sum()) for answers_SN, y_N in told) >= right
    return (1 + lucky) / (1 + SHUFFLES)


def _folds(y_N: NDArray[np.int64], groups_N: IntArray, seed: int) -> list[tuple[IntArray, IntArray]]:
    """Five folds, or as many as a middling class has items (groups); none where fewer than two classes have two."""
    codes_N = np.unique(groups_N, return_inverse=True)[1].astype(np.int64)
    apart_C = np.unique(np.unique(np.stack([y_N, codes_N]), axis=1)[0], return_counts=True)[1]
    if np.sum(apart_C >= 2) < 2:
        return []
    n_folds = max(2, min(MOST_FOLDS, int(np.median(apart_C[apart_C >= 2]))))
    return list(folds(y_N, codes_N, n_folds, 1, np.random.default_rng(seed)))
