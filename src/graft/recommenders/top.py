"""The k best items of each person.

Legend: B people of a batch, I items, K top, G groups of items, C candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import UsageError
from graft.recommenders.base import Float32Array, Histories, Scorer

BLOCK_NUMBERS = 2**22  # scores held at once: 16 MB
GROUPS = 4  # groups of items for each place among the best: about 1.15 candidates a place are left
Best = tuple[NDArray[np.int32], Float32Array]


def top_k(
    recommender: Scorer,
    histories: Histories,
    k: int,
    *,
    exclude_seen: bool = True,
    allowed_I: NDArray[np.bool_] | None = None,
) -> Best:
    """Codes (B, K) int32 and scores (B, K) of the `k` best items of each person, best first, the lower code first among equals.

    `exclude_seen` leaves out what is in a person's history, `allowed_I` all items it does not allow. Where fewer than `k` are left, -1 and
    -inf fill up. Raises UsageError for `k` below 1 or `allowed_I` of another length.
    """
    people, n_items = histories.matrix.shape
    if k < 1:
        raise UsageError(f"k is {k}; at least 1 item must be asked for.")
    if allowed_I is not None and len(allowed_I) != n_items:
        raise UsageError(f"allowed_I tells of {len(allowed_I)} items; the catalogue has {n_items}.")
    items_BK, scores_BK = np.full((people, k), -1, np.int32), np.full((people, k), -np.inf, np.float32)
    block = max(1, BLOCK_NUMBERS // n_items)
    for start in range(0, people, block):
        part = histories.part(start, start + block)
        scores_BI = recommender.scores(part)
        if exclude_seen:
            row_M = np.repeat(np.arange(len(part)), np.diff(part.matrix.indptr))
            scores_BI[row_M, part.matrix.indices] = -np.inf
        if allowed_I is not None:
            scores_BI[:, ~allowed_I] = -np.inf
        most = min(k, n_items)
        items_BK[start : start + block, :most], scores_BK[start : start + block, :most] = best(scores_BI, most)
    return items_BK, scores_BK


def best(scores_BI: Float32Array, k: int) -> Best:
    """Codes and scores (B, K) of the `k` (1..I) largest of each row, largest first, the lower code first among equals; -1 for -inf.

    The k-th largest of the maxima of many groups of items is at most the k-th largest score, and close to it: one pass that takes maxima and
    one that compares leave few candidates to sort, where partitioning a row moves all its numbers several times.
    """
    rows, n_items = scores_BI.shape
    groups = GROUPS * k
    largest_BG = scores_BI
    if n_items >= 2 * groups:
        width = n_items // groups
        largest_BG = scores_BI[:, : width * groups].reshape(rows, width, groups).max(axis=1)
        rest_BR = scores_BI[:, width * groups :]  # n_items % groups columns, fewer than there are groups
        np.maximum(largest_BG[:, : rest_BR.shape[1]], rest_BR, out=largest_BG[:, : rest_BR.shape[1]])
    from_largest = largest_BG.shape[1] - k
    least_B1 = np.partition(largest_BG, from_largest, axis=1)[:, from_largest, None]
    place_C = np.flatnonzero(scores_BI >= least_B1)
    row_C, item_C = np.divmod(place_C, n_items)
    count_B = np.bincount(row_C, minlength=rows)
    crowded_B = count_B > 2 * groups  # many equals, or few items allowed
    items_BK, found_BK = np.empty((rows, k), np.int32), np.empty((rows, k), np.float32)
    if crowded_B.any():
        items_BK[crowded_B], found_BK[crowded_B] = _sorted(scores_BI[crowded_B], None, k)
        kept_C = ~crowded_B[row_C]
        place_C, row_C, item_C = place_C[kept_C], row_C[kept_C], item_C[kept_C]
        count_B = np.where(crowded_B, 0, count_B)
    if len(place_C):
        nth_C = np.arange(len(row_C)) - np.repeat(np.cumsum(count_B) - count_B, count_B)
        shape = (rows, int(count_B.max()))
        candidate_BC, code_BC = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int32)
        candidate_BC[row_C, nth_C] = scores_BI.ravel()[place_C]
        code_BC[row_C, nth_C] = item_C
        plain_B = ~crowded_B
        items_BK[plain_B], found_BK[plain_B] = _sorted(candidate_BC[plain_B], code_BC[plain_B], k)
    return items_BK, found_BK


def _sorted(scores_BC: Float32Array, code_BC: NDArray[Any] | None, k: int) -> Best:
    """The `k` largest of each row by sorting it whole; `code_BC` ascends along a row, the place itself where None."""
    order_BK = np.argsort(-scores_BC, axis=1, kind="stable")[:, :k]
    found_BK = np.take_along_axis(scores_BC, order_BK, axis=1)
    items_BK = order_BK if code_BC is None else np.take_along_axis(code_BC, order_BK, axis=1)
    return np.where(np.isneginf(found_BK), -1, items_BK).astype(np.int32), found_BK
