"""What differs between numbers, counts, ordered levels and sets of labels: heads, the measure to choose by, scores and intervals.

Legend: N items, D dims, K columns of answers (see `graft.data.dataset.Target`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import ModelError
from graft.heads import conformal, multilabel, ordinal, poisson, ridge
from graft.heads.base import Float64Array, FloatArray, TargetHead
from graft.heads.constant import ConstantHead
from graft.heads.neighbours import NeighbourMean, mean_path
from graft.metrics import targets as measures
from graft.results import Interval

KS = (5, 10, 20, 50)
RIDGE_ALPHAS = tuple(10.0 ** (half / 2) for half in range(6, -5, -1))
ALPHAS = (30.0, 3.0, 0.3, 0.03, 0.003)  # largest first: each solution starts from the one before
CONSTANT, NEIGHBOURS = "constant", "k-nn"

Settings = Mapping[str, Any]
Ends = tuple[Float64Array, Float64Array]


@dataclass(frozen=True)
class Kind:
    """One kind of target. `measure` is what is chosen by, lower is better, `loss` computes it from truth and answers (N, K).

    `errors` says how wrong each item's answer is. `head` is the kind's own head, `fit` makes one for each of `alphas`. `constant` says in
    words what the same answer for all is. `misses`, how far each truth lies from its answer, and `interval`, ends from answers and a reach (for
    all, or one an item), are of kinds that have intervals; `level` is what their width may grow with.
    """

    task: str
    measure: str
    loss: Callable[[Float64Array, Float64Array], float]
    errors: Callable[[Float64Array, Float64Array], Float64Array]
    scores: Callable[[Float64Array, Float64Array, Float64Array, int], dict[str, Interval]]
    head: str
    fit: Callable[..., Sequence[TargetHead]]
    alphas: tuple[float, ...]
    constant: str
    misses: Callable[[Float64Array, Float64Array], Float64Array] | None = None
    interval: Callable[[Float64Array, Any], Ends] | None = None
    level: Callable[[Float64Array], Float64Array] | None = None


def _ranks(y_NK: Float64Array) -> NDArray[np.int64]:
    ranks_N: NDArray[np.int64] = y_NK.argmax(axis=1)
    return ranks_N


def _floats(ends: tuple[NDArray[Any], NDArray[Any]]) -> Ends:
    return ends[0].astype(np.float64), ends[1].astype(np.float64)


KINDS = {
    kind.task: kind
    for kind in (
        Kind(
            task="number",
            measure="rmse",
            loss=lambda y, p: measures.rmse(y[:, 0], p[:, 0]),
            errors=lambda y, p: np.abs(y[:, 0] - p[:, 0]),
            scores=lambda y, p, _, seed: measures.number_scores(y[:, 0], p[:, 0], seed),
            head="ridge",
            fit=ridge.fit_path,
            alphas=RIDGE_ALPHAS,
            constant="the mean",
            misses=lambda y, p: conformal.number_misses(y[:, 0], p[:, 0]),
            interval=lambda p, reach: conformal.number_interval(p[:, 0], reach),
            level=lambda p: p[:, 0],
        ),
        Kind(
            task="count",
            measure="poisson_deviance",
            loss=lambda y, p: measures.poisson_deviance(y[:, 0], p[:, 0]),
            errors=lambda y, p: measures.deviances(y[:, 0], p[:, 0]),
            scores=lambda y, p, _, seed: measures.count_scores(y[:, 0], p[:, 0], seed),
            head="poisson",
            fit=poisson.fit_path,
            alphas=ALPHAS,
            constant="the mean rate",
            misses=lambda y, p: conformal.count_misses(y[:, 0], p[:, 0]),
            interval=lambda p, reach: conformal.count_interval(p[:, 0], reach),
            level=lambda p: np.log(np.maximum(p[:, 0], conformal.SMALLEST_RATE)),
        ),
        Kind(
            task="ordinal",
            measure="rps",
            loss=lambda y, p: measures.ranked_probability_score(_ranks(y), p),
            errors=lambda y, p: measures.ranked_scores(_ranks(y), p),
            scores=lambda y, p, _, seed: measures.ordinal_scores(_ranks(y), p, seed),
            head="proportional-odds",
            fit=ordinal.fit_path,
            alphas=ALPHAS,
            constant="the frequencies of the levels",
            misses=lambda y, p: conformal.level_misses(_ranks(y), p),
            interval=lambda p, reach: _floats(conformal.level_interval(p, reach)),
        ),
        Kind(
            task="multilabel",
            measure="log_loss",
            loss=lambda y, p: float(measures.label_losses(y, p).mean()),
            errors=measures.label_losses,
            scores=measures.label_scores,
            head="one-vs-rest",
            fit=multilabel.fit_path,
            alphas=ALPHAS,
            constant="the frequencies of the labels",
        ),
    )
}


@dataclass(frozen=True)
class Contender:
    """One way to answer: `path` fits a head for each of `settings` at once. Rungs: 0 constant, 1 neighbours, 2 the kind's own head."""

    name: str
    rung: int
    settings: tuple[Settings, ...]
    path: Callable[[FloatArray, Float64Array], Sequence[TargetHead]]


def contenders(kind: Kind) -> tuple[Contender, ...]:
    """All ways for a kind, plainest first: the same answer for all items, their neighbours' answers, and the kind's own head."""
    shares = kind.task == "multilabel"

    def neighbours(x_ND: FloatArray, y_NK: Float64Array) -> Sequence[TargetHead]:
        return mean_path(x_ND, y_NK, ConstantHead(shares=shares).fit(y_NK).answer_K, ks=KS)

    return (
        Contender(CONSTANT, 0, ({},), lambda _, y: [ConstantHead(shares=shares).fit(y)]),
        Contender(NEIGHBOURS, 1, tuple({"k": k} for k in KS), neighbours),
        Contender(
            kind.head, 2, tuple({"alpha": a} for a in kind.alphas), lambda x, y: kind.fit(x, y, alphas=kind.alphas)
        ),
    )


HEADS: dict[str, Any] = {
    CONSTANT: ConstantHead,
    NEIGHBOURS: NeighbourMean,
    "ridge": ridge.RidgeHead,
    "poisson": poisson.PoissonHead,
    "proportional-odds": ordinal.OrdinalHead,
    "one-vs-rest": multilabel.MultilabelHead,
}


def head_from_state(name: str, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> TargetHead:
    """The head a saved model describes. Raises ModelError for one that is not known or lacks something."""
    if name not in HEADS:
        raise ModelError(f"The model's head {name!r} is not known; it was written by another Graft.")
    try:
        head: TargetHead = HEADS[name].from_state(arrays, config)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model's head {name!r} is incomplete ({error}).") from error
    return head
