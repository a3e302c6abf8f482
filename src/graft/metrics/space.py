"""The shape of a vector space: its dimensions, its cone, its hubs, the gap between two modalities, the way from one item to another.

Every measure looks at directions: rows are scaled to unit length first, as cosine search does. Legend: N and M items, D dims, S steps,
Q queries, C groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Vectors = NDArray[np.floating]

TRIMMED = 0.1  # share of the largest ratios left out of the two-NN fit, as its authors do
RIDGE = 1e-3  # of the mean variance: keeps the separating plane defined where there are more dims than items
ROUNDS = 20  # of k-means; groups hardly move after ten


def unit(x_ND: Vectors) -> Floats:
    """Rows of length 1 in float64; rows of zeros stay zeros."""
    x_ND = np.asarray(x_ND, np.float64)
    length_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return np.asarray(x_ND / np.where(length_N1 > 0, length_N1, 1))


def centred(x_ND: Vectors) -> Floats:
    """Unit rows less their mean, scaled to unit length again ("all but the mean", Mu & Viswanath 2018 without its second step)."""
    rows_ND = unit(x_ND)
    return unit(rows_ND - rows_ND.mean(0))


def cosines(a_ND: Vectors, b_MD: Vectors) -> Floats:
    """Cosines (N, M), within -1..1."""
    return np.asarray((unit(a_ND) @ unit(b_MD).T).clip(-1, 1))


def similar_order(x_ND: Vectors) -> Ints:
    """An order of the items in which neighbours are alike: leaves of average-linkage clustering of cosine distances, each branch turned so
    that the sum of distances between neighbours is least (Bar-Joseph, Gifford & Jaakkola 2001). Meant for up to some hundred items."""
    if len(x_ND) < 3:
        return np.arange(len(x_ND))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance_NN = 1 - cosines(x_ND, x_ND)
    distance_NN = np.maximum((distance_NN + distance_NN.T) / 2, 0)
    np.fill_diagonal(distance_NN, 0)
    tree = linkage(squareform(distance_NN, checks=False), "average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), np.int64)


def representatives(x_ND: Vectors, groups: int, each: int, rng: np.random.Generator) -> Ints:
    """Positions of up to groups × each items: the `each` nearest to the centre of each of `groups` groups, the groups by spherical k-means.

    Centres start far from one another (k-means++, Arthur & Vassilvitskii 2007). A group smaller than `each` gives what it has.
    """
    rows_ND = unit(x_ND)
    n = len(rows_ND)
    if n <= groups * each:
        return np.arange(n)
    centres_CD = rows_ND[rng.integers(n)][None]
    while len(centres_CD) < groups:
        far_N = np.maximum(1 - (rows_ND @ centres_CD.T).max(1), 0)
        if far_N.sum() <= 1e-9:
            break
        centres_CD = np.concatenate([centres_CD, rows_ND[rng.choice(n, p=far_N / far_N.sum())][None]])
    for _ in range(ROUNDS):
        group_N = (rows_ND @ centres_CD.T).argmax(1)
        member_CN = np.eye(len(centres_CD))[:, group_N]
        full_C1 = member_CN.sum(1, keepdims=True) > 0
        centres_CD = np.where(full_C1, unit(member_CN @ rows_ND), centres_CD)
    near_NC = rows_ND @ centres_CD.T
    group_N = near_NC.argmax(1)
    chosen: list[int] = []
    for c in range(len(centres_CD)):
        members = np.flatnonzero(group_N == c)
        chosen += members[np.argsort(-near_NC[members, c], kind="stable")][:each].tolist()
    return np.asarray(chosen, np.int64)


def slerp(a_D: Vectors, b_D: Vectors, steps: int) -> Floats:
    """(S, D): unit vectors from `a_D` to `b_D` at equal angles along the great circle, ends included (Shoemake 1985).

    Raises ValueError for a vector of zeros, for opposite vectors (every great circle joins those) and for fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"{steps} steps: a path has at least its two ends")
    a_D, b_D = unit(np.stack((a_D, b_D)))
    if not a_D.any() or not b_D.any():
        raise ValueError("a vector of zeros has no direction")
    half = float(np.linalg.norm(a_D - b_D)) / 2
    angle = 2 * float(np.arcsin(min(1.0, half)))  # from the half chord: exact for small angles
    if half > 1 - 1e-12:
        raise ValueError("opposite vectors are joined by no single shortest path")
    t_S = np.linspace(0, 1, steps)[:, None]
    if angle < 1e-8:
        return unit(a_D + t_S * (b_D - a_D))
    path_SD = (np.sin((1 - t_S) * angle) * a_D + np.sin(t_S * angle) * b_D) / np.sin(angle)
    return np.asarray(path_SD)


@dataclass(frozen=True)
class Spectrum:
    """How many of the `dims` numbers of a vector carry anything, by four measures.

    `participation` (Σλ)²/Σλ² and `effective_rank` exp(entropy of λ/Σλ) weigh the spectrum λ of the covariance: 1 for a line, `dims` for a
    ball. `components_90`: principal components that hold 90 % of the variance. `intrinsic`: dimensions of the surface the items lie
    on, from the two nearest neighbours of each; None where there are too few distinct items.
    """

    dims: int
    participation: float
    effective_rank: float
    components_90: int
    intrinsic: float | None


def spectrum(x_ND: Vectors) -> Spectrum:
    """The dimensions of N >= 3 items. Participation ratio; effective rank (Roy & Vetterli 2007, of the covariance's eigenvalues);
    two-NN (Facco et al. 2017). With fewer items than dims none of them can exceed N - 1."""
    rows_ND = unit(x_ND)
    centred_ND = rows_ND - rows_ND.mean(0)
    n, dims = centred_ND.shape
    small = centred_ND.T @ centred_ND if dims <= n else centred_ND @ centred_ND.T
    values = np.linalg.eigvalsh(small)[::-1].clip(0)
    if values.sum() <= 1e-12 * n:
        return Spectrum(dims, 0.0, 0.0, 0, None)
    share = values / values.sum()
    some = share[share > 0]
    return Spectrum(
        dims,
        participation=float(1 / (share**2).sum()),
        effective_rank=float(np.exp(-(some * np.log(some)).sum())),
        components_90=int(np.searchsorted(share.cumsum(), 0.9 - 1e-9)) + 1,
        intrinsic=two_nn(rows_ND),
    )


def two_nn(x_ND: Vectors) -> float | None:
    """Intrinsic dimension from the ratio of the distances to the second and to the nearest neighbour (Facco, d'Errico, Rodriguez & Laio 2017).

    Euclidean distances between the rows as they are; copies of an item count once. None with fewer than ten distinct items.
    """
    x_ND = np.unique(np.asarray(x_ND, np.float64), axis=0)
    n = len(x_ND)
    if n < 10:
        return None
    square_N = (x_ND**2).sum(1)
    squared_NN = np.maximum(square_N[:, None] + square_N - 2 * x_ND @ x_ND.T, 0)
    np.fill_diagonal(squared_NN, np.inf)
    first_N, second_N = np.sqrt(np.partition(squared_NN, 1, axis=1)[:, :2]).T
    apart = first_N > 1e-7  # nearer is rounding, not distance
    ratio = np.sort(second_N[apart] / first_N[apart])
    kept = int(len(ratio) * (1 - TRIMMED))
    if kept < 9:
        return None
    log_ratio = np.log(ratio[:kept])
    rest = -np.log1p(-np.arange(1, kept + 1) / len(ratio))
    spread = float((log_ratio**2).sum())
    return float((log_ratio * rest).sum() / spread) if spread > 0 else None


def mean_cosine(x_ND: Vectors) -> float:
    """Mean cosine of all pairs of two different items, -1/(N-1)..1: near 0 where directions are used evenly (Ethayarajh 2019: anisotropy).

    Exact: (|Σu|² - N) / (N (N - 1)) for unit rows u, none of them zero. Raises ValueError with fewer than two items.
    """
    rows_ND = unit(x_ND)
    n = len(rows_ND)
    if n < 2:
        raise ValueError("a pair takes two items")
    return float((np.square(rows_ND.sum(0)).sum() - np.square(rows_ND).sum()) / (n * (n - 1)))


def occurrences(x_ND: Vectors, k: int) -> Ints:
    """(N,): in how many other items' k nearest (by cosine) each item is; the mean is k. Raises ValueError unless 1 <= k < N."""
    neighbours_NK = nearest(x_ND, k)
    return np.bincount(neighbours_NK.ravel(), minlength=len(x_ND)).astype(np.int64)


def nearest(x_ND: Vectors, k: int) -> Ints:
    """(N, k): each item's k nearest others by cosine, in no order. Raises ValueError unless 1 <= k < N."""
    if not 1 <= k < len(x_ND):
        raise ValueError(f"{k} neighbours of {len(x_ND)} items")
    cosine_NN = cosines(x_ND, x_ND)
    np.fill_diagonal(cosine_NN, -np.inf)
    return np.asarray(np.argpartition(-cosine_NN, k - 1, axis=1)[:, :k], np.int64)


@dataclass(frozen=True)
class Hubness:
    """How unevenly items are other items' neighbours. `skewness` of the k-occurrence: 0 is even, above 1 there are hubs (Radovanović,
    Nanopoulos & Ivanović 2010); `antihubs`: share of items in nobody's k nearest; `largest`: the most occurrences of one item."""

    k: int
    skewness: float
    antihubs: float
    largest: int


def hubness(occurrences_N: Ints, k: int) -> Hubness:
    """The figures of a k-occurrence (N,)."""
    n_N = occurrences_N - occurrences_N.mean()
    deviation = float(np.sqrt((n_N**2).mean()))
    skewness = float((n_N**3).mean() / deviation**3) if deviation > 0 else 0.0
    return Hubness(k, skewness, float((occurrences_N == 0).mean()), int(occurrences_N.max()))


@dataclass(frozen=True)
class Gap:
    """The gap between two modalities in one space: `distance` between their mean unit vectors (0..2), `share` of the mean distance between
    an item of one and an item of the other, and how often a plane tells them apart (`separable`, 0.5..1; None with too few items)."""

    distance: float
    share: float
    separable: float | None


def modality_gap(a_ND: Vectors, b_MD: Vectors) -> Gap:
    """The gap of Liang et al. 2022 ("Mind the gap") between items `a_ND` and `b_MD` of two modalities."""
    a_ND, b_MD = unit(a_ND), unit(b_MD)
    distance = float(np.linalg.norm(a_ND.mean(0) - b_MD.mean(0)))
    apart = np.sqrt(np.maximum(2 - 2 * a_ND @ b_MD.T, 0))
    return Gap(distance, distance / max(float(apart.mean()), 1e-12), separability(a_ND, b_MD))


def separability(a_ND: Vectors, b_MD: Vectors) -> float | None:
    """Share of held-out items on the right side of a least-squares plane between two sets, the sets weighing alike: 0.5 is chance.

    The plane is fitted on the even rows and judged on the odd ones, so rows must be in no telling order. None below ten items of either.
    """
    if min(len(a_ND), len(b_MD)) < 10:
        return None
    sides = [np.asarray(x, np.float64) for x in (a_ND, b_MD)]
    learnt, held = [x[::2] for x in sides], [x[1::2] for x in sides]
    means = [x.mean(0) for x in learnt]
    within_DD = sum((x - m).T @ (x - m) / len(x) for x, m in zip(learnt, means, strict=True))
    within_DD = within_DD + RIDGE * max(float(np.trace(within_DD)), 1e-12) / len(means[0]) * np.eye(len(means[0]))
    normal_D = np.linalg.solve(within_DD, means[0] - means[1])
    middle = float(normal_D @ (means[0] + means[1])) / 2
    right = [(held[0] @ normal_D > middle).mean(), (held[1] @ normal_D < middle).mean()]
    return float(np.mean(right))


def best_ranks(scores_QN: Vectors, relevant_QN: NDArray[np.bool_]) -> Ints:
    """(Q,): how many items that do not answer a query score as high as its best answer, or higher: recall@k is the share below k.

    Ties count against the answer, so they never flatter. Raises ValueError for a query without an answer.
    """
    if not relevant_QN.any(1).all():
        raise ValueError("a query has no relevant item")
    best_Q1 = np.where(relevant_QN, scores_QN, -np.inf).max(1, keepdims=True)
    return np.asarray(((scores_QN >= best_Q1) & ~relevant_QN).sum(1), np.int64)


def alignment(a_ND: Vectors, b_ND: Vectors) -> float:
    """Mean squared distance between the two unit vectors of each pair, 0..4, lower is better (Wang & Isola 2020, alpha 2)."""
    return float(np.square(unit(a_ND) - unit(b_ND)).sum(1).mean())


def uniformity(x_ND: Vectors) -> float:
    """log of the mean of exp(-2 distance²) over pairs of different items, -8..0, lower is more even (Wang & Isola 2020, t 2).

    In many dimensions an even sphere has about -4.
    """
    n = len(x_ND)
    kernel_NN = np.exp(4 * cosines(x_ND, x_ND) - 4)
    return float(np.log((kernel_NN.sum() - np.trace(kernel_NN)) / (n * (n - 1))))


def neighbour_purity(x_ND: Vectors, codes_N: Ints, k: int) -> float:
    """Share of the k nearest others that have the item's own code, 0..1, mean over the items whose code at least one other has."""
    same_NK = codes_N[nearest(x_ND, k)] == codes_N[:, None]
    shared_N = np.bincount(codes_N)[codes_N] > 1
    return float(same_NK[shared_N].mean()) if shared_N.any() else 0.0
