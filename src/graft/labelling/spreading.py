"""Labels carried from items that have one to their neighbours: over the graph of vectors, or by a model that learns from itself.

Legend: N items, D dims, C classes, K neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import softmax
from graft.heads.linear import LinearHead
from graft.metrics.intervals import mean_interval
from graft.results import Interval
from graft.settings import progress
from graft.store.index import build, exact, plan, prepared

FloatArray = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLOCK = 1024
FOUND = 0.95  # share of the nearest neighbours that inverted lists have to find
STEPS, ENOUGH = 500, 1e-6
ROUNDS = 5  # of self-training
FEWEST_JUDGES = 20  # labelled items without which nothing is said to have helped


def neighbour_graph(x_ND: FloatArray, k: int = 10) -> Any:
    """Symmetric sparse matrix (N, N) S = D^-1/2 W D^-1/2 of the k nearest by cosine; W is the cosine where it is above 0, else absent.

    An item without a neighbour at a positive cosine has an empty row. Up to some eight million numbers (20,000 items of 384) every pair is
    compared; beyond that inverted lists find .95 of the neighbours, as in an index: 100,000 items take one minute, not four.
    """
    from scipy.sparse import csr_matrix, diags

    n, dim = x_ND.shape
    k = min(k, n - 1)
    if k < 1:
        return csr_matrix((n, n))
    unit_ND = prepared(np.asarray(x_ND, np.float32), "cosine")
    structure, keys = plan(n, dim), np.arange(n)
    segment = (
        exact([unit_ND], keys, dim)
        if structure.kind == "exact"
        else build(lambda: (unit_ND[i : i + BLOCK] for i in range(0, n, BLOCK)), keys, dim, structure, recall=FOUND)
    )
    near, weight = np.empty((n, k), np.int64), np.empty((n, k))
    for start in range(0, n, BLOCK):
        progress("neighbours", start, n)
        block = slice(start, start + BLOCK)
        cosine_BK, rows_BK = segment.search(unit_ND[block], k + 1)
        itself_BK = (rows_BK == keys[block, None]) | (rows_BK < 0)
        itself_BK[~itself_BK.any(axis=1), -1] = True  # copies are as near: the last one found gives way
        order_BK = np.argsort(itself_BK, axis=1, kind="stable")[:, :k]
        near[block] = np.take_along_axis(np.maximum(rows_BK, 0), order_BK, axis=1)
        weight[block] = np.take_along_axis(np.where(itself_BK, 0, np.maximum(cosine_BK, 0)), order_BK, axis=1)
    w_NN = csr_matrix((weight.ravel(), (np.repeat(keys, k), near.ravel())), (n, n))
    w_NN = w_NN.maximum(w_NN.T)
    degree_N = np.asarray(w_NN.sum(axis=1)).ravel()
    half = diags(np.where(degree_N > 0, 1 / np.sqrt(np.where(degree_N > 0, degree_N, 1)), 0))
    return half @ w_NN @ half


def propagate(graph: Any, start_NC: FloatArray, alpha: float = 0.9) -> Floats:
    """Local and global consistency (Zhou et al. 2004): F = (1 - alpha) (I - alpha S)^-1 Y, by iterating F <- alpha S F + (1 - alpha) Y.

    `graph` is S of `neighbour_graph`; rows of `start_NC` are probabilities of the labels known, and zeros elsewhere. Returns (N, C)
    probabilities, rows scaled to sum to 1 and classes to what they had at the start (class mass normalisation, Zhu et al. 2003);
    a row that nothing reaches is uniform.
    """
    start_NC = np.asarray(start_NC, np.float64)
    f_NC = start_NC
    for _ in range(STEPS):
        next_NC = alpha * (graph @ f_NC) + (1 - alpha) * start_NC
        change, f_NC = float(np.abs(next_NC - f_NC).max(initial=0)), next_NC
        if change < ENOUGH * (1 - alpha):
            break
    mass_C = f_NC.sum(axis=0)
    f_NC = f_NC * np.divide(start_NC.sum(axis=0), mass_C, out=np.zeros_like(mass_C), where=mass_C > 0)
    total_N1 = f_NC.sum(axis=1, keepdims=True)
    reached_NC: Floats = f_NC / np.where(total_N1 > 0, total_N1, 1)
    return np.where(total_N1 > 0, reached_NC, 1 / max(start_NC.shape[1], 1))


def probe(x_ND: FloatArray, y_N: Codes, n_classes: int, c: float = 1.0) -> Floats:
    """(N, C) probabilities of all items by a linear probe that learned from those with y >= 0, labels of at least two classes.

    `c` as in `LinearHead`: 1 for labels some of which are wrong.
    """
    known = y_N >= 0
    head = LinearHead(c=c).fit(x_ND[known], y_N[known], n_classes)
    return np.concatenate([softmax(head.logits(x_ND[i : i + BLOCK])) for i in range(0, len(x_ND), BLOCK)])


def self_train(x_ND: FloatArray, y_N: Codes, n_classes: int) -> Floats:
    """Self-training (Yarowsky 1995): a probe learns from the labels (y >= 0) and from its own surest answers to the other items.

    It takes a fifth of them, then two fifths, up to all (curriculum labelling, Cascante-Bonilla et al. 2021, which needs no threshold): of
    each class its surest, as many as its share of the labels allows, so that one easy class does not swallow the others. Returns (N, C)
    probabilities of the last probe.
    """
    known = y_N >= 0
    free = int((~known).sum())
    share_C = np.bincount(y_N[known], minlength=n_classes) / max(1, int(known.sum()))
    p_NC = probe(x_ND, y_N, n_classes)
    for step in range(1, ROUNDS + 1):
        guess_N, sure_N = p_NC.argmax(axis=1), p_NC.max(axis=1)
        joined_N = y_N.copy()
        for c in range(n_classes):
            mine = np.flatnonzero(~known & (guess_N == c))
            most = round(share_C[c] * free * step / ROUNDS)
            joined_N[mine[np.argsort(-sure_N[mine], kind="stable")][:most]] = c
        p_NC = probe(x_ND, joined_N, n_classes)
    return p_NC


def gain(right_J: Mask, before_J: Mask) -> Interval:
    """Mean of right - before over the same items, with its 95 % interval (paired t); below 20 items there is none."""
    if len(right_J) < FEWEST_JUDGES:
        value = float(np.mean(right_J.astype(float) - before_J)) if len(right_J) else float("nan")
        return Interval(value, None, None, len(right_J))
    return mean_interval(right_J.astype(np.float64) - before_J)
