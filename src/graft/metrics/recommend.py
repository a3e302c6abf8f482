"""How good recommendations are: where each person's targets stand in a ranking of the whole catalogue, and what is recommended.

Ties count as their expectation over all orders of the tied items, each as likely as any other: a scorer that gives every item the same score gets what
chance gets, neither luck nor the order of the catalogue. All values lie in [0, 1]; higher is better but for `gini`.

Legend: P people, B people of a batch, I items, M targets of all people of a batch, K places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]
Codes = NDArray[np.integer[Any]]

HEAD_SHARE = 0.8  # of the likes belong to the head; the items outside it are the tail
_CELLS = 2**24  # scores held at a time, 64 MB in float32
_COMPARED = 2**22  # comparisons of targets with items at a time


@dataclass(frozen=True, eq=False)
class Places:
    """Where targets stand, (M,) each: `row_M` whose target (0..people-1, ascending), `above_M` how many items score more, `tied_M` how many score the same,
    the target itself counted. A target's rank is then any of above + 1 .. above + tied with the same chance. Everybody has a target."""

    row_M: NDArray[np.int64]
    above_M: NDArray[np.int64]
    tied_M: NDArray[np.int64]
    people: int

    def __post_init__(self) -> None:
        without = np.flatnonzero(self.targets() == 0)
        if without.size:
            raise ValueError(
                f"{without.size} people have no target, the first at {without[0]}: nothing can be found for them"
            )

    def targets(self) -> NDArray[np.int64]:
        """Targets of each person, (B,)."""
        return np.bincount(self.row_M, minlength=self.people)


def places(
    scores_BI: Scores, row_M: Codes, item_M: Codes, seen_BI: NDArray[np.bool_] | csr_matrix | None = None
) -> Places:
    """Places of the targets (person `row_M`, ascending; item `item_M`) among all items that a person has not seen.

    `seen_BI`: a mask, or a sparse matrix whose stored cells are seen. Raises ValueError for scores that are not finite, for a target that was seen,
    and for a person without a target.
    """
    return _places(_unseen(scores_BI, seen_BI), row_M, item_M)


def _places(unseen_BI: Scores, row_M: Codes, item_M: Codes) -> Places:
    rows_M, items_M = np.asarray(row_M, np.int64), np.asarray(item_M, np.int64)
    if (np.diff(rows_M) < 0).any():
        raise ValueError("targets must be sorted by person")
    target_M = unseen_BI[rows_M, items_M]
    if np.isneginf(target_M).any():
        first = int(np.flatnonzero(np.isneginf(target_M))[0])
        raise ValueError(f"item {items_M[first]} is a target of person {rows_M[first]}, who has seen it")
    above_M, tied_M = np.empty(len(rows_M), np.int64), np.empty(len(rows_M), np.int64)
    step = max(1, _COMPARED // unseen_BI.shape[1])
    for start in range(0, len(rows_M), step):
        part = slice(start, start + step)
        rows_MI, one_M1 = unseen_BI[rows_M[part]], target_M[part, None]
        above_M[part] = (rows_MI > one_M1).sum(1)
        tied_M[part] = (rows_MI == one_M1).sum(1)
    return Places(rows_M, above_M, tied_M, len(unseen_BI))


def hit_rate(found: Places, k: int) -> Floats:
    """HR@k of each person: the chance that any target is among the first `k`.

    Only the best group of ties that holds a target counts: with m targets among its E items and s of the `k` places left to it the chance is
    1 - C(E - m, s) / C(E, s), the hypergeometric chance of not drawing none.
    """
    above_B, tied_B, wanted_B = _best_group(found)
    slots_B = np.clip(_positive(k) - above_B, 0, tied_B)
    other_B = tied_B - wanted_B
    miss_B = np.where(slots_B > other_B, -np.inf, _log_choose(other_B, slots_B) - _log_choose(tied_B, slots_B))
    return np.asarray(-np.expm1(miss_B), np.float64)


def recall(found: Places, k: int) -> Floats:
    """Recall@k of each person: the expected share of the targets among the first `k`."""
    chance_M = np.clip((_positive(k) - found.above_M) / found.tied_M, 0, 1)
    return _mean_by_person(found, chance_M)


def reciprocal_rank(found: Places) -> Floats:
    """Expected 1 / rank of each person's first target; the mean over people is the MRR.

    With m targets among the E items of the best group after G others, the first stands at G + r with chance C(E - r, m - 1) / C(E, m).
    """
    above_B, tied_B, wanted_B = _best_group(found)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, (above_B + tied_B).max(initial=0) + 1))])
    mean_B: Floats = (harmonic[above_B + tied_B] - harmonic[above_B]) / tied_B
    for b in np.flatnonzero(wanted_B > 1).tolist():
        group, wanted = int(tied_B[b]), int(wanted_B[b])
        rank = np.arange(1, group - wanted + 2)
        log_chance = _log_choose(group - rank, np.full(len(rank), wanted - 1)) - _log_choose(group, wanted)
        mean_B[b] = (np.exp(log_chance) / (above_B[b] + rank)).sum()
    return mean_B


def ndcg(found: Places, k: int) -> Floats:
    """Expected nDCG@k of each person: gain 1 a target, discount 1 / log2(1 + rank), over that of the best order (Järvelin & Kekäläinen 2002)."""
    discount = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, _positive(k) + 2)))])
    first_M, last_M = np.minimum(found.above_M, k), np.minimum(found.above_M + found.tied_M, k)
    gain_M = (discount[last_M] - discount[first_M]) / found.tied_M
    ideal_B = discount[np.minimum(found.targets(), k)]
    return np.asarray(np.bincount(found.row_M, gain_M, minlength=found.people) / ideal_B, np.float64)


# What is recommended


def shown(scores_BI: Scores, k: int, seen_BI: NDArray[np.bool_] | csr_matrix | None = None) -> NDArray[np.float32]:
    """The chance that an item is among a person's first `k`, (B, I): 1 and 0 but for ties at the last places. Rows sum to `k`, or to the items not seen."""
    return _shown(_unseen(scores_BI, seen_BI), k)


def _shown(unseen_BI: Scores, k: int) -> NDArray[np.float32]:
    k = min(_positive(k), unseen_BI.shape[1])
    last_B1 = np.partition(unseen_BI, -k, axis=1)[:, -k, None]
    above_BI, tied_BI = unseen_BI > last_B1, unseen_BI == last_B1
    left_B1 = k - above_BI.sum(1, keepdims=True)
    chance_BI = np.where(above_BI, 1.0, np.where(tied_BI, left_B1 / tied_BI.sum(1, keepdims=True), 0.0))
    return np.asarray(np.where(np.isneginf(unseen_BI), 0.0, chance_BI), np.float32)


def gini(exposure_I: Floats) -> float:
    """How unequally items are recommended (Gini 1912): 0 all the same, towards 1 only one. NaN when nothing is recommended."""
    sorted_I, count = np.sort(np.asarray(exposure_I, np.float64)), len(exposure_I)
    total = sorted_I.sum()
    if total <= 0:
        return float("nan")
    return float(((2 * np.arange(1, count + 1) - count - 1) * sorted_I).sum() / (count * total))


def in_head(likes_I: Codes | Floats, share: float = HEAD_SHARE) -> NDArray[np.bool_]:
    """The most liked items, as few as hold `share` of all likes, (I,); of items liked equally the earlier ones."""
    likes_I = np.asarray(likes_I, np.float64)
    order = np.argsort(-likes_I, kind="stable")
    before_I = np.cumsum(likes_I[order]) - likes_I[order]
    head_I = np.zeros(len(likes_I), bool)
    head_I[order[(before_I < share * likes_I.sum() - 1e-9) & (likes_I[order] > 0)]] = True
    return head_I


def tail_share(exposure_I: Floats, head_I: NDArray[np.bool_]) -> float:
    """Share of what is recommended that lies outside the head. NaN when nothing is recommended."""
    total = float(exposure_I.sum())
    return float(exposure_I[~head_I].sum()) / total if total > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class Ranked:
    """Measures of a scorer: `each` maps "hr@10", "recall@10", "ndcg@10", .. and "mrr" to one value a person, (P,), in the order asked, so that two scorers
    are compared by `rank.paired_interval`; `exposure_I` is how often an item is expected among the first `k` places; `coverage`, the expected share of
    items that anybody is shown there, `gini` and `tail` (share outside the head) are of these places."""

    each: dict[str, Floats]
    k: int
    exposure_I: Floats
    coverage: float
    gini: float
    tail: float


def rank_people(
    score: Callable[[slice], Scores],
    targets: Sequence[Codes],
    seen: csr_matrix,
    likes_I: Codes | Floats,
    *,
    ks: Sequence[int] = (10, 100),
) -> Ranked:
    """Rank the whole catalogue for everybody and measure, some people at a time; no more than 2^24 scores are held.

    `score(part)` gives the scores (B, I) of the people `part` (a slice of 0..P-1); `targets` a person's items, one or more; `seen` (P, I) stores what each
    has seen, which is not recommended; `likes_I` how often each item was liked, which tells head from tail. Coverage, Gini and tail are of the first
    of `ks`.
    Raises ValueError as `places` does, and where the counts of people differ.
    """
    people, items = seen.shape
    if len(targets) != people or not people:
        raise ValueError(
            f"{len(targets)} people with targets, {people} with what they have seen: there must be as many, and some"
        )
    step = max(1, _CELLS // items)
    parts: list[dict[str, Floats]] = []
    exposure_I, unshown_I = np.zeros(items), np.zeros(items)
    for start in range(0, people, step):
        part = slice(start, min(start + step, people))
        scores_BI = np.asarray(score(part))
        if scores_BI.shape != (part.stop - start, items):
            raise ValueError(f"scores have shape {scores_BI.shape} where {(part.stop - start, items)} is expected")
        row_M = np.repeat(np.arange(part.stop - start), [len(found) for found in targets[part]])
        unseen_BI = _unseen(scores_BI, seen[part])
        parts.append(_measures(_places(unseen_BI, row_M, np.concatenate(targets[part])), ks))
        chance_BI = _shown(unseen_BI, ks[0])
        exposure_I += chance_BI.sum(0, dtype=np.float64)
        with np.errstate(divide="ignore"):
            unshown_I += np.log1p(-chance_BI).sum(0, dtype=np.float64)
    each = {name: np.concatenate([measured[name] for measured in parts]) for name in parts[0]}
    coverage = float(-np.expm1(unshown_I).mean())
    return Ranked(each, ks[0], exposure_I, coverage, gini(exposure_I), tail_share(exposure_I, in_head(likes_I)))


def _measures(found: Places, ks: Sequence[int]) -> dict[str, Floats]:
    measured = {"mrr": reciprocal_rank(found)}
    for k in ks:
        measured |= {f"hr@{k}": hit_rate(found, k), f"recall@{k}": recall(found, k), f"ndcg@{k}": ndcg(found, k)}
    return measured


def _unseen(scores_BI: Scores, seen_BI: NDArray[np.bool_] | csr_matrix | None) -> Scores:
    """Scores with -inf where an item was seen."""
    if not np.isfinite(scores_BI).all():
        bad = np.argwhere(~np.isfinite(scores_BI))[0]
        raise ValueError(
            f"the score of item {bad[1]} for person {bad[0]} is {scores_BI[tuple(bad)]}; scores must be finite"
        )
    if seen_BI is None:
        return scores_BI
    unseen_BI = np.array(scores_BI)
    unseen_BI[seen_BI.nonzero()] = -np.inf
    return unseen_BI


def _best_group(found: Places) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each person's first group of ties with a target: items above it, items in it, targets in it; (B,) each."""
    start_B = np.searchsorted(found.row_M, np.arange(found.people))
    above_B = np.minimum.reduceat(found.above_M, start_B)
    best_M = found.above_M == above_B[found.row_M]
    wanted_B = np.bincount(found.row_M[best_M], minlength=found.people)
    tied_B = np.zeros(found.people, np.int64)
    tied_B[found.row_M[best_M]] = found.tied_M[best_M]
    return above_B, tied_B, wanted_B


def _mean_by_person(found: Places, value_M: Floats) -> Floats:
    return np.asarray(np.bincount(found.row_M, value_M, minlength=found.people) / found.targets(), np.float64)


def _log_choose(n: Any, k: Any) -> Floats:
    """log C(n, k) for 0 <= k <= n; meaningless, and not used, elsewhere."""
    from scipy.special import gammaln

    n, k = np.asarray(n, np.float64), np.asarray(k, np.float64)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1), np.float64)


def _positive(k: int) -> int:
    if k < 1:
        raise ValueError(f"k is {k}; it counts places, from 1 up")
    return k
