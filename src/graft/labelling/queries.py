"""Which unlabelled items are worth a label next: pure functions on vectors and probabilities.

Legend: N items, D dims, C classes, K items picked, L items that are labelled, B items of a block, M members of a cluster.
Distances are Euclidean; put vectors on one footing first (`graft.heads.normalise`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Float32Array = NDArray[np.float32]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLOCK = 4096  # rows of a matrix product: its result stays in the processor's cache
CLUSTERS = 500  # at most, as in TypiClust
NEIGHBOURS = 20  # of TypiClust's typicality
CANDIDATES = 512  # of a large cluster, those nearest its centre, whose typicality is computed
SAMPLE, ROUNDS = 10_000, 10  # items and rounds of k-means
STARTS = 4  # items a cluster among which its starts are looked for
SAME = 1e-5  # squared distance, as a share of the largest squared length, up to which two rows are one item in float32


@dataclass(frozen=True, eq=False)
class Picked:
    """Items in the order in which to ask for them: `rows` (K,) positions, and `score` (K,) that says why, the higher the better."""

    rows: Index
    score: NDArray[np.float64]


def entropy(p_NC: FloatArray) -> NDArray[np.float64]:
    """(N,) entropy of each row of probabilities as a share of the largest possible, in [0, 1]; 0 for one class (Shannon 1948)."""
    if p_NC.shape[1] < 2:
        return np.zeros(len(p_NC))
    p_NC = np.asarray(p_NC, np.float64)
    surprise_NC = -p_NC * np.log(np.maximum(p_NC, 1e-300))
    share_N: NDArray[np.float64] = surprise_NC.sum(axis=1) / np.log(p_NC.shape[1])
    return share_N


def closeness(p_NC: FloatArray) -> NDArray[np.float64]:
    """(N,) 1 - (p of the likeliest - p of the second), in [0, 1]: 1 for a tie (margin sampling, Scheffer et al. 2001)."""
    if p_NC.shape[1] < 2:
        return np.zeros(len(p_NC))
    two_N2 = np.partition(np.asarray(p_NC, np.float64), -2, axis=1)[:, -2:]
    close_N: NDArray[np.float64] = 1 - (two_N2[:, 1] - two_N2[:, 0])
    return close_N


def best_first(score_N: FloatArray, x_ND: FloatArray, unlabelled: Index, k: int) -> Picked:
    """The up to `k` best of the positions `unlabelled` by `score_N`, without near duplicates of one already picked.

    Near means nearer than half of what is usual: the median distance of the 1,000 best candidates to their nearest neighbour among
    them. Where items are copies of each other fewer than `k` come out: a label for one tells the rest.
    """
    order = unlabelled[np.argsort(-np.asarray(score_N)[unlabelled], kind="stable")][: max(20 * k, 1000)]
    if not len(order) or k < 1:
        return Picked(np.empty(0, np.int64), np.empty(0))
    near_ND = np.ascontiguousarray(x_ND[order], np.float32)
    radius = _usual_distance(near_ND[:1000]) / 4  # squared: half the distance
    least_N = np.full(len(order), np.inf, np.float32)
    chosen: list[int] = []
    for place in range(len(order)):
        if least_N[place] <= radius:
            continue
        chosen.append(place)
        if len(chosen) == k:
            break
        np.minimum(least_N, _squared(near_ND, near_ND[place : place + 1])[:, 0], out=least_N)
    rows = order[chosen]
    return Picked(rows, np.asarray(score_N, np.float64)[rows])


def k_centre(x_ND: FloatArray, labelled_N: Mask, k: int) -> Picked:
    """Greedy k-centre (core-set selection, Sener & Savarese 2018): each pick is the item farthest from all labelled and picked ones.

    `score` is that distance. Without a label the item nearest the mean comes first, with the largest distance from it as its score.
    Fewer than `k` come out where the rest are copies. A distance only shrinks as items are picked, so that what was computed for fewer
    of them is a bound: only items that may be farthest are brought up to date, and the picks are those of the plain algorithm.
    """
    x_ND = np.ascontiguousarray(x_ND, np.float32)
    length_N = np.einsum("nd,nd->n", x_ND, x_ND)
    distance_N = np.full(len(x_ND), np.inf, np.float32)
    rows: list[int] = []
    score: list[float] = []
    if labelled_N.any():
        centres_LD, centre_length_L = x_ND[labelled_N], length_N[labelled_N]
        for i in range(0, len(x_ND), BLOCK):
            block = slice(i, i + BLOCK)
            distance_N[block] = _squared(x_ND[block], centres_LD, length_N[block], centre_length_L).min(axis=1)
        distance_N[labelled_N] = 0
    elif len(x_ND) and k > 0:
        first = int(_squared(x_ND, x_ND.mean(axis=0, keepdims=True), length_N)[:, 0].argmin())
        distance_N = _squared(x_ND, x_ND[first : first + 1], length_N)[:, 0]
        rows, score = [first], [float(np.sqrt(distance_N.max()))]
    counted_N = np.full(len(x_ND), len(rows))  # how many of `rows` each distance knows of
    same = SAME * float(length_N.max(initial=0))
    while len(rows) < min(k, len(x_ND)):
        best = int(distance_N.argmax())
        if counted_N[best] == len(rows):
            if distance_N[best] <= same:
                break
            rows.append(best)
            score.append(float(np.sqrt(distance_N[best])))
            continue
        block_B = _largest(distance_N, BLOCK)
        block_B = block_B[counted_N[block_B] < len(rows)]
        new = rows[int(counted_N[block_B].min()) :]
        fresh_B = _squared(x_ND[block_B], x_ND[new], length_N[block_B], length_N[new]).min(axis=1)
        distance_N[block_B] = np.minimum(distance_N[block_B], fresh_B)
        counted_N[block_B] = len(rows)
    return Picked(np.array(rows, np.int64), np.array(score))


def typical(x_ND: FloatArray, labelled_N: Mask, k: int, seed: int) -> Picked:
    """The most typical item of each cluster that has no label (TypiClust, Hacohen et al. 2022): for the first few labels.

    k-means into L + K clusters (at most 500); clusters with the fewest labels first, of those the largest; from each the item
    with the least mean distance to its 20 nearest neighbours in the cluster. `score` is the share of all items in its cluster. In a
    cluster of more than 512 items the 512 nearest the centre are looked at.
    """
    x_ND = np.ascontiguousarray(x_ND, np.float32)
    free = int((~labelled_N).sum())
    k = min(k, free)
    if k < 1:
        return Picked(np.empty(0, np.int64), np.empty(0))
    rng = np.random.default_rng(seed)
    clusters = max(1, min(int(labelled_N.sum()) + k, CLUSTERS, len(x_ND)))
    centres, cluster_N = k_means(x_ND, clusters, rng)
    members = np.split(np.argsort(cluster_N, kind="stable"), np.cumsum(np.bincount(cluster_N, minlength=clusters))[:-1])
    labels_C = np.bincount(cluster_N[labelled_N], minlength=clusters)
    size_C = np.array([len(m) for m in members])
    open_C = np.array([int((~labelled_N[m]).sum()) for m in members])
    ranked: dict[int, list[int]] = {}
    rows: list[int] = []
    while len(rows) < k:
        free_C = np.flatnonzero(open_C > 0)
        c = int(free_C[np.lexsort((-size_C[free_C], labels_C[free_C]))[0]])
        if c not in ranked:
            order_M = _by_typicality(x_ND[members[c]], centres[c])
            ranked[c] = [int(row) for row in members[c][order_M] if not labelled_N[row]][::-1]
        rows.append(ranked[c].pop())
        labels_C[c] += 1
        open_C[c] -= 1
    return Picked(np.array(rows, np.int64), size_C[cluster_N[rows]] / len(x_ND))


def at_random(unlabelled: Index, k: int, seed: int) -> Index:
    """`k` of the positions, drawn without replacement: the baseline of every other way."""
    drawn: Index = np.random.default_rng(seed).permutation(unlabelled)[:k]
    return drawn


def k_means(x_ND: FloatArray, clusters: int, rng: np.random.Generator) -> tuple[Float32Array, Index]:
    """Centres (clusters, D) and the cluster of each row (N,): Lloyd's algorithm from k-means++ (Arthur & Vassilvitskii 2007).

    Learned on 10,000 rows at most (20 a cluster where that is more), for ten rounds.
    """
    from scipy.sparse import csr_matrix

    x_ND = np.ascontiguousarray(x_ND, np.float32)
    most = max(SAMPLE, 20 * clusters)
    learn_ND = x_ND if len(x_ND) <= most else x_ND[np.sort(rng.choice(len(x_ND), most, replace=False))]
    first = max(2000, STARTS * clusters)
    centres = _spread(learn_ND if len(learn_ND) <= first else rng.permutation(learn_ND)[:first], clusters, rng)
    for _ in range(ROUNDS):
        nearest_N = _assigned(learn_ND, centres)
        ones = np.ones(len(learn_ND), np.float32)
        member = csr_matrix((ones, (nearest_N, np.arange(len(learn_ND)))), (clusters, len(learn_ND)))
        count = np.bincount(nearest_N, minlength=clusters)
        moved = np.asarray(member @ learn_ND / np.maximum(count, 1)[:, None], np.float32)
        moved[count == 0] = centres[count == 0]
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres, _assigned(x_ND, centres)


def _spread(x_ND: Float32Array, clusters: int, rng: np.random.Generator) -> Float32Array:
    """k-means++: starts are drawn with a probability that grows with the squared distance to those before; of a few draws the best."""
    chosen = [int(rng.integers(len(x_ND)))]
    length_N = np.einsum("nd,nd->n", x_ND, x_ND)
    distance_N = _squared(x_ND, x_ND[chosen], length_N)[:, 0]
    draws = 2 + int(np.log(clusters))
    for _ in range(clusters - 1):
        sum_N = np.cumsum(distance_N, dtype=np.float64)
        drawn = np.searchsorted(sum_N, rng.random(draws) * sum_N[-1], side="right")
        drawn = np.minimum(drawn, len(x_ND) - 1)
        least_NB = np.minimum(distance_N[:, None], _squared(x_ND, x_ND[drawn], length_N))
        best = int(least_NB.sum(axis=0, dtype=np.float64).argmin())
        chosen.append(int(drawn[best]))
        distance_N = least_NB[:, best]
    return x_ND[chosen].copy()


def _assigned(x_ND: Float32Array, centres_CD: Float32Array) -> Index:
    half_C = np.einsum("cd,cd->c", centres_CD, centres_CD) / 2
    parts = [(x_ND[i : i + BLOCK] @ centres_CD.T - half_C).argmax(axis=1) for i in range(0, len(x_ND), BLOCK)]
    return np.concatenate(parts).astype(np.int64)


def _by_typicality(x_MD: Float32Array, centre_D: Float32Array) -> Index:
    """Positions of a cluster's members, the most typical first; those that were not looked at come last, nearest the centre first."""
    from_centre_M = _squared(x_MD, centre_D[None])[:, 0].argsort(kind="stable")
    near, rest = from_centre_M[:CANDIDATES], from_centre_M[CANDIDATES:]
    if len(x_MD) < 3:
        return from_centre_M.astype(np.int64)
    distance_BM = np.sqrt(_squared(x_MD[near], x_MD))
    k = min(NEIGHBOURS + 1, len(x_MD))  # itself among them, at distance 0
    mean_B = np.partition(distance_BM, k - 1, axis=1)[:, :k].mean(axis=1)
    return np.concatenate([near[mean_B.argsort(kind="stable")], rest]).astype(np.int64)


def _usual_distance(x_ND: Float32Array) -> float:
    """Median over rows of the squared distance to the nearest other row; 0 for a single row."""
    if len(x_ND) < 2:
        return 0.0
    squared_NN = _squared(x_ND, x_ND)
    np.fill_diagonal(squared_NN, np.inf)
    median = float(np.median(squared_NN.min(axis=1)))
    return max(median, SAME * float(np.einsum("nd,nd->n", x_ND, x_ND).max()) * 4)


def _largest(values_N: Float32Array, count: int) -> Index:
    if len(values_N) <= count:
        return np.arange(len(values_N))
    return np.argpartition(values_N, len(values_N) - count)[len(values_N) - count :]


def _squared(
    a_ND: FloatArray, b_MD: FloatArray, a_length_N: FloatArray | None = None, b_length_M: FloatArray | None = None
) -> Float32Array:
    """Squared distances (N, M); squared lengths of the rows where they are known already."""
    a_N = np.einsum("nd,nd->n", a_ND, a_ND) if a_length_N is None else a_length_N
    b_M = np.einsum("md,md->m", b_MD, b_MD) if b_length_M is None else b_length_M
    squared_NM = np.asarray(a_ND @ b_MD.T, np.float32)
    squared_NM *= -2
    squared_NM += a_N[:, None]
    squared_NM += b_M
    return np.maximum(squared_NM, 0, out=squared_NM)
