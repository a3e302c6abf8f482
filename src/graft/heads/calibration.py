"""Probabilities one can use: temperature scaling, and the threshold below which a prediction is "unsure".

Legend: N items, C classes.
"""

from __future__ import annotations

import math

import numpy as np

from graft.heads.base import FloatArray, IntArray, log_softmax

COLDEST, HOTTEST = 0.02, 50.0


def fit_temperature(logits_NC: FloatArray, y_N: IntArray, *, pull: float = 1.0) -> float:
    """T in 0.02..50 for which softmax(logits / T) has the least log loss on items with known labels (Guo et al. 2017).

    The items must not be among those the logits were learned from. The log loss is convex in 1/T. `pull` adds
    pull/2 * ln(T)**2 to the summed loss: without it a handful of items that are all right would send T to its bound; with fifty items and
    more it changes nothing one can see. 0 turns it off. Without items T is 1.
    """
    from scipy.optimize import minimize_scalar

    if not len(y_N):
        return 1.0
    logits_NC = np.asarray(logits_NC, np.float64)
    rows_N = np.arange(len(y_N))

    def loss(log_t: float) -> float:
        total = -log_softmax(logits_NC / math.exp(log_t))[rows_N, y_N].sum()
        return float(total + pull / 2 * log_t**2)

    found = minimize_scalar(
        loss, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded", options={"xatol": 1e-4}
    )
    return float(math.exp(found.x))


def conformal_threshold(p_NC: FloatArray, y_N: IntArray, coverage: float = 0.9) -> float:
    """The top probability from which on a prediction is given, so that at most 1 - `coverage` of all items get a wrong answer.

    Split conformal prediction (Vovk et al. 2005; Papadopoulos et al. 2002) with the nested sets {likeliest class} if its probability is
    at least the threshold, else all classes. An item's score is 0 where the likeliest class is right and that class's probability where it
    is wrong; the threshold is the next number above the ceil((N + 1) * coverage)-th smallest score, and 0 (always answer) where that
    many are right anyway. `p_NC` (N, C) are probabilities of items the model did not learn from.

    Guaranteed, if these items and a new one are exchangeable: P(the new item is answered, and wrongly) <= 1 - coverage, over the draw of
    both. Not guaranteed: that the error among the answered is as low (it is at most (1 - coverage) / share answered), that it holds within each
    class or kind of item, or anything under a shift of the data. Out-of-fold predictions are only nearly exchangeable with those of the
    refitted model (Barber et al. 2021 prove 1 - 2 * (1 - coverage) for such schemes and see about `coverage`).
    With fewer than coverage / (1 - coverage) items, 9 at 0.9, no threshold below "never answer" has the guarantee: 0 is returned,
    which answers always and promises nothing.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage {coverage} is not between 0 and 1")
    p_NC = np.asarray(p_NC, np.float64)
    n_items = len(y_N)
    rank = math.ceil((n_items + 1) * coverage - 1e-9)  # 10 * 0.9 is 9.000000000000002 in places
    if rank > n_items:
        return 0.0
    score_N = np.sort(np.where(p_NC.argmax(axis=1) == y_N, 0.0, p_NC.max(axis=1)))
    score = float(score_N[rank - 1])
    return math.nextafter(score, math.inf) if score > 0 else 0.0
