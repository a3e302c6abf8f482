"""The choice judged: how far its intervals reach, from which probability a label is answered, and its measures on items held out.

Legend: N items, K columns of answers, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.diagnostics.evidence import shown
from graft.heads.base import Float64Array
from graft.heads.multilabel import thresholds
from graft.metrics import targets as measures
from graft.metrics.classify import confusion
from graft.results import Example, Interval
from graft.targets.contest import Outcome
from graft.targets.kinds import KINDS
from graft.targets.reach import measured, reach_of_choice
from graft.targets.result import LabelRow, Reach, Seen
from graft.targets.steps import Ready

MOST_POINTS, MOST_WORST = 1500, 12


@dataclass(frozen=True, eq=False)
class Proof:
    """`judged` are positions of the items the figures are of, `answers_NK` what was answered there, `on` "test" or "folds"."""

    judged: NDArray[np.int64]
    answers_NK: Float64Array
    on: str
    scores: Mapping[str, Interval]
    reach: Reach | None
    thresholds_L: Float64Array
    labels: tuple[LabelRow, ...]
    confusion: tuple[tuple[int, ...], ...]


def prove(ready: Ready, outcome: Outcome, x_ND: NDArray[np.float32], *, coverage: float, seed: int) -> Proof:
    """Set reach and thresholds on the out-of-fold answers, then judge on the test part once; on those answers where there is none."""
    kind, y_NK = KINDS[ready.target.task], ready.target.values
    train, test = ready.parts
    out_of_fold = outcome.trial.answers_NK
    thresholds_L = thresholds(y_NK[train], out_of_fold) if kind.task == "multilabel" else np.empty(0)
    judged, answers_NK, on = (
        (test, outcome.head.predict(x_ND[test]), "test") if len(test) else (train, out_of_fold, "folds")
    )
    reach = reach_of_choice(outcome, kind, y_NK[train], coverage)
    if reach is not None:
        reach = measured(kind, reach, y_NK[judged], answers_NK, on)
    labels: tuple[LabelRow, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    if kind.task == "multilabel":
        labels = _label_rows(ready, y_NK[judged], answers_NK, thresholds_L)
    if kind.task == "ordinal":
        ranks_N = y_NK[judged].argmax(axis=1)
        found = confusion(ranks_N, measures.median_ranks(answers_NK), y_NK.shape[1])
        counts = tuple(tuple(int(n) for n in row) for row in found)
    return Proof(
        judged=judged,
        answers_NK=answers_NK,
        on=on,
        scores=kind.scores(y_NK[judged], answers_NK, thresholds_L, seed),
        reach=reach,
        thresholds_L=thresholds_L,
        labels=labels,
        confusion=counts,
    )


def _label_rows(
    ready: Ready, y_NL: Float64Array, p_NL: Float64Array, thresholds_L: Float64Array
) -> tuple[LabelRow, ...]:
    train, _ = ready.parts
    rows = []
    for label, name in enumerate(ready.target.names):
        truth, given = y_NL[:, label], p_NL[:, label] >= thresholds_L[label]
        both, answered, true = float(truth @ given), float(given.sum()), float(truth.sum())
        rows.append(
            LabelRow(
                name=name,
                train=int(ready.target.values[train, label].sum()),
                n=int(true),
                threshold=float(thresholds_L[label]),
                precision=both / answered if answered else None,
                recall=both / true if true else None,
                f1=2 * both / (answered + true) if answered + true else None,
                average_precision=measures.average_precision(truth, p_NL[:, label]) if true else None,
            )
        )
    return tuple(rows)


def worth_seeing(ready: Ready, proof: Proof, seed: int) -> Seen:
    """Truth and answer of the judged items (at most 1,500, a seeded draw), and the dozen with the largest errors as people see them."""
    dataset, task = ready.dataset, ready.target.task
    y_NK, p_NK = ready.target.values[proof.judged], proof.answers_NK
    errors_N = KINDS[task].errors(y_NK, p_NK)
    points: tuple[tuple[float, float, str], ...] = ()
    if task in ("number", "count"):
        rows = np.sort(np.random.default_rng(seed).permutation(len(y_NK))[:MOST_POINTS])
        points = tuple((float(y_NK[i, 0]), float(p_NK[i, 0]), dataset.ids[proof.judged[i]]) for i in rows)
    worst = tuple(
        Example(
            item=dataset.ids[proof.judged[i]],
            **shown(dataset.contents[proof.judged[i]]),
            true=in_words(ready, y_NK[i], np.full(p_NK.shape[1], 0.5)),
            predicted=in_words(ready, p_NK[i], proof.thresholds_L),
            probability=float(errors_N[i]),
        )
        for i in np.argsort(-errors_N, kind="stable")[:MOST_WORST]
    )
    return Seen(proof.on, points, worst)


def in_words(ready: Ready, answer_K: Float64Array, thresholds_L: Float64Array) -> str:
    """One answer, or one truth, as a person would write it."""
    names = ready.target.names
    if ready.target.task == "ordinal":
        return names[int(measures.median_ranks(answer_K[None])[0])]
    if ready.target.task == "multilabel":
        return ", ".join(name for name, p, t in zip(names, answer_K, thresholds_L, strict=True) if p >= t) or "none"
    return f"{answer_K[0]:,.4g}" if abs(answer_K[0]) < 10_000 else f"{answer_K[0]:,.0f}"
