"""How far two samples are apart: a linear classifier between them, kernel distances, and what share of each class one of them holds.

Under the null hypothesis both samples come from one distribution. What is compared with it is a permutation null: the same statistic
after the samples' names were dealt out anew. Items of one cluster (copies of each other) stand in one fold, and those of one sample among them
are dealt together, for they are no independent draws.

Legend: N items of both samples, D dims, K folds, U units that are dealt (a cluster's items in one sample), P labellings (the first is the true one),
C classes, B resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.metrics.intervals import LEVEL, wilson
from graft.results import Interval

FOLDS = 5
PERMUTATIONS = 199  # the least p is 1 / 200
SHRINK = 1e-3  # least share of the identity in a covariance: columns that are constant have no inverse
RESAMPLES = 300
QUANTILES = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)

Floats = NDArray[np.float64]
AnyFloats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Discrimination:
    """A linear classifier's out-of-fold answers to "which sample is it of?".

    `scores_N` are higher for items that look like the second sample, above 0 where they are taken for it. `auc` is the area under the ROC curve with
    DeLong's interval, `null` that of labellings dealt at random, `p` the share of labellings (the true one among them) that reach `auc`.
    `wrong` counts errors in the first and the second sample, of `sizes` items.
    """

    scores_N: Floats
    auc: Interval
    null: Floats
    p: float
    wrong: tuple[int, int]
    sizes: tuple[int, int]

    @property
    def error(self) -> Interval:
        """Mean of the two samples' error rates, so that unequal sizes do not matter; 0.5 is chance. Newcombe's interval (1998)."""
        one, two = (wilson(wrong, size) for wrong, size in zip(self.wrong, self.sizes, strict=True))
        assert one.low is not None and one.high is not None and two.low is not None and two.high is not None
        middle = (one.value + two.value) / 2
        down = math.hypot(one.value - one.low, two.value - two.low) / 2
        up = math.hypot(one.high - one.value, two.high - two.value) / 2
        return Interval(middle, max(0.0, middle - down), min(1.0, middle + up), sum(self.sizes))

    @property
    def a_distance(self) -> Interval:
        """Proxy A-distance, 2 (1 - 2 error): 0 where nothing tells the samples apart, 2 where everything does (Ben-David et al. 2010)."""
        error = self.error
        assert error.low is not None and error.high is not None
        far = [max(0.0, 2 * (1 - 2 * e)) for e in (error.value, error.high, error.low)]
        return Interval(far[0], far[1], far[2], error.n)

    @property
    def accuracy(self) -> float:
        """Share of all items that are told right."""
        return 1 - sum(self.wrong) / sum(self.sizes)

    @property
    def majority(self) -> float:
        """Accuracy of always naming the larger sample."""
        return max(self.sizes) / sum(self.sizes)

    @property
    def mcc(self) -> float:
        """Matthews correlation of answer and truth, in [-1, 1]; 0 is chance."""
        (wrong_a, wrong_b), (n_a, n_b) = self.wrong, self.sizes
        said_b = n_b - wrong_b + wrong_a
        under = math.sqrt(n_a * n_b * said_b * (n_a + n_b - said_b))
        return ((n_a - wrong_a) * (n_b - wrong_b) - wrong_a * wrong_b) / under if under else 0.0


def discriminate(
    x_ND: AnyFloats,
    second_N: Bools,
    cluster_N: Ints,
    rng: np.random.Generator,
    *,
    permutations: int = PERMUTATIONS,
) -> Discrimination | None:
    """Cross-validated linear discriminant between two samples, with its permutation null; None where a sample has fewer than two clusters.

    Fisher's discriminant under a covariance that is shrunk towards a sphere (Chen et al. 2010, "Shrinkage Algorithms for MMSE Covariance
    Estimation"), cut half way between the means. The covariance is that of both samples together, so it knows no labels: each fold's is
    factored once, and every labelling of the null takes two matrix products (the whole classifier is refitted for each of them, which
    Ojala & Garriga 2010 call test 1). A constant column says nothing and does no harm. Few items of many dims are turned into the space that
    they span, in which the classifier lies too: the same scores, without a covariance of all dims.
    """
    dims = x_ND.shape[1]
    x_ND = np.asarray(x_ND, np.float32) - x_ND.mean(0, dtype=np.float64).astype(np.float32)
    if 2 * len(x_ND) <= dims:  # with more items the basis costs what it saves
        x_ND = x_ND @ np.linalg.qr(x_ND.T)[0]
    n_folds = min(FOLDS, *(len(np.unique(cluster_N[side])) for side in (second_N, ~second_N)))
    if n_folds < 2:
        return None
    fold_N = _folds(second_N, cluster_N, n_folds, rng)
    second_NP = _dealt(second_N, cluster_N, fold_N, permutations, rng)
    moments = [_Moments.of(x_ND[fold_N == k], second_NP[fold_N == k]) for k in range(n_folds)]
    whole = _Moments.total(moments)
    scores_N = np.zeros(len(x_ND))
    over_P, pairs_P = np.zeros(permutations + 1), np.zeros(permutations + 1)
    for k, moment in enumerate(moments):
        inside = fold_N == k
        scores_MP = _answers(whole.without(moment), x_ND[inside], dims)
        scores_N[inside] = scores_MP[:, 0]
        over, pairs = _mann_whitney(scores_MP, second_NP[inside])
        over_P, pairs_P = over_P + over, pairs_P + pairs
    auc_P = np.divide(over_P, pairs_P, out=np.full_like(over_P, 0.5), where=pairs_P > 0)
    return Discrimination(
        scores_N=scores_N,
        auc=_delong(scores_N, second_N, fold_N, float(auc_P[0])),
        null=auc_P[1:],
        p=p_value(float(auc_P[0]), auc_P[1:]),
        wrong=(int((scores_N[~second_N] > 0).sum()), int((scores_N[second_N] <= 0).sum())),
        sizes=(int((~second_N).sum()), int(second_N.sum())),
    )


def p_value(value: float, null_P: Floats) -> float:
    """Share of all labellings that give at least `value`, the true one among them: never 0, and uniform under the null (Phipson & Smyth 2010)."""
    near = 1e-9 * max(1.0, abs(value))  # equal up to rounding is equal
    return (1 + int((null_P >= value - near).sum())) / (1 + len(null_P))


def _folds(second_N: Bools, cluster_N: Ints, n_folds: int, rng: np.random.Generator) -> Ints:
    """Each item's fold: whole clusters, and of either sample about as many in each."""
    clusters, of_N = np.unique(cluster_N, return_inverse=True)
    counts = np.stack([np.bincount(of_N[side], minlength=len(clusters)) for side in (~second_N, second_N)])
    fold_of = np.empty(len(clusters), np.int64)
    both = (counts > 0).all(axis=0)
    start = int(both.sum())
    kinds = ((both, 0), (~both & (counts[0] > 0), start), (~both & (counts[1] > 0), start))
    for mask, first in kinds:  # those of one sample go on where those of both have stopped: no fold lacks a sample
        members = rng.permutation(np.flatnonzero(mask))
        fold_of[members] = (first + np.arange(len(members))) % n_folds
    folds: Ints = fold_of[of_N]
    return folds


def _dealt(second_N: Bools, cluster_N: Ints, fold_N: Ints, permutations: int, rng: np.random.Generator) -> Bools:
    """(N, P) memberships of the second sample: the true ones first, then dealt anew among the units of each fold."""
    units, first, of_N = np.unique(2 * cluster_N + second_N, return_index=True, return_inverse=True)
    truth_U, fold_U = second_N[first], fold_N[first]
    dealt_UP = np.repeat(truth_U[:, None], permutations + 1, axis=1)
    for k in np.unique(fold_U):
        rows = np.flatnonzero(fold_U == k)
        dealt_UP[rows, 1:] = rng.permuted(dealt_UP[rows, 1:], axis=0)
    assert len(units) == len(truth_U)
    dealt: Bools = dealt_UP[of_N]
    return dealt


@dataclass(frozen=True, eq=False)
class _Moments:
    """What a classifier needs of some items: their number, sum, and products; and of each labelling's second sample the number and the sum."""

    n: int
    sum_D: Floats
    gram_DD: Floats
    n_P: Floats
    sum_DP: Floats

    @classmethod
    def of(cls, x_ND: NDArray[np.float32], second_NP: Bools) -> _Moments:
        y_NP = second_NP.astype(np.float32)
        sums = x_ND.sum(0, dtype=np.float64), (x_ND.T @ x_ND).astype(np.float64)
        return cls(len(x_ND), *sums, second_NP.sum(0).astype(np.float64), (x_ND.T @ y_NP).astype(np.float64))

    @classmethod
    def total(cls, parts: list[_Moments]) -> _Moments:
        each = [(m.n, m.sum_D, m.gram_DD, m.n_P, m.sum_DP) for m in parts]
        return cls(*(sum(column[1:], start=column[0]) for column in zip(*each, strict=True)))

    def without(self, part: _Moments) -> _Moments:
        return _Moments(
            self.n - part.n,
            self.sum_D - part.sum_D,
            self.gram_DD - part.gram_DD,
            self.n_P - part.n_P,
            self.sum_DP - part.sum_DP,
        )


def _answers(trained: _Moments, x_MD: NDArray[np.float32], dims: int) -> NDArray[np.float32]:
    """Scores (M, P) of items that took no part, by the classifier of each labelling; `dims` as `shrunk` has them."""
    from scipy.linalg import cho_factor, cho_solve

    mean_D = trained.sum_D / trained.n
    second_DP = trained.sum_DP / np.maximum(trained.n_P, 1)
    first_DP = (trained.sum_D[:, None] - trained.sum_DP) / np.maximum(trained.n - trained.n_P, 1)
    covariance_DD = shrunk(trained.gram_DD / trained.n - np.outer(mean_D, mean_D), trained.n, dims)
    factor = cho_factor(covariance_DD, lower=True, overwrite_a=True, check_finite=False)
    w_DP = cho_solve(factor, second_DP - first_DP, check_finite=False)
    middle_P = ((second_DP + first_DP) / 2 * w_DP).sum(0)
    scores: NDArray[np.float32] = x_MD @ w_DP.astype(np.float32) - middle_P.astype(np.float32)
    return scores


def shrunk(covariance_DD: Floats, n: int, d: int) -> Floats:
    """The covariance (D, D) of `n` items drawn towards a sphere of its own mean variance, by the oracle approximating share (Chen et al. 2010).

    `d` is the dims the items have: more than D where the covariance is that of the space they span, outside of which there is no variance.
    """
    trace, square = float(np.trace(covariance_DD)), float(np.square(covariance_DD).sum())
    below = (n + 1 - 2 / d) * (square - trace**2 / d)
    share = ((1 - 2 / d) * square + trace**2) / below if below > 0 else 1.0
    share = min(1.0, max(SHRINK, share))
    covariance_DD = (1 - share) * covariance_DD
    alike = 1.0  # of items that are all alike: nothing to tell
    covariance_DD[np.diag_indices(len(covariance_DD))] += share * trace / d or alike
    return covariance_DD


def _mann_whitney(scores_MP: NDArray[np.float32], second_MP: Bools) -> tuple[Floats, Floats]:
    """For each column, how many pairs (one of each sample) have the second's score above the first's, ties counted half; and how many pairs there are."""
    from scipy.stats import rankdata

    ranks_MP = rankdata(scores_MP, axis=0)
    n_P = second_MP.sum(0).astype(np.float64)
    over: Floats = (ranks_MP * second_MP).sum(0) - n_P * (n_P + 1) / 2
    return over, n_P * (len(second_MP) - n_P)


def chance_auc(first: int, second: int) -> float:
    """The AUC that scores which know nothing stay below in 39 of 40 samples of so many items, at most 1.

    1/2 + 1.96 sqrt((n + m + 1) / (12 n m)), the spread of Mann and Whitney's U (1947): .88 for five beside five, below .55 from 257 a sample on.
    """
    from scipy.special import ndtri

    spread = math.sqrt((first + second + 1) / (12 * first * second))
    return min(1.0, 0.5 + float(ndtri(QUANTILES[1])) * spread)


def _delong(scores_N: Floats, second_N: Bools, fold_N: Ints, auc: float) -> Interval:
    """The interval of an AUC counted within folds, from the spread of each item's share of the other sample on its right side (DeLong et al. 1988).

    At 0 or 1 nothing is spread: there the end is that of Wilson for the smaller sample. Nor is it where all are ties, which know nothing.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    placed_N = np.full(len(scores_N), np.nan)
    for k in np.unique(fold_N):
        rows = np.flatnonzero(fold_N == k)
        own = second_N[rows]
        ranks = rankdata(scores_N[rows])
        for side in (own, ~own):
            others = len(rows) - int(side.sum())
            placed_N[rows[side]] = (ranks[side] - rankdata(scores_N[rows][side])) / others
    placed_N[~second_N] = 1 - placed_N[~second_N]
    sides = [placed_N[side] for side in (second_N, ~second_N)]
    spread = math.sqrt(sum(float(side.var(ddof=1)) / len(side) for side in sides))
    half = float(ndtri(QUANTILES[1])) * spread
    low, high = max(0.0, auc - half), min(1.0, auc + half)
    n = min(len(side) for side in sides)
    if spread < 1e-12 and auc in (0.0, 1.0):
        whole = wilson(round(auc * n), n)
        low, high = whole.low or 0.0, 1.0 if whole.high is None else whole.high
    elif spread < 1e-12:
        half = chance_auc(*map(len, sides)) - 0.5
        low, high = max(0.0, auc - half), min(1.0, auc + half)
    return Interval(auc, low, high, len(scores_N))


# -- kernel distances -------------------------------------------------------------------------------------------------


def _squared(x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    square_N = np.einsum("nd,nd->n", x_ND, x_ND)
    squared_NN = x_ND @ x_ND.T
    squared_NN *= -2
    squared_NN += square_N[:, None]
    squared_NN += square_N
    positive: NDArray[np.float32] = np.maximum(squared_NN, 0, out=squared_NN)
    return positive


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """Maximum mean discrepancy, squared and unbiased (so that it may fall below 0), with its permutation null and the kernel's width."""

    value: float
    null: Floats
    p: float
    width: float


def mmd(
    x_ND: AnyFloats,
    second_N: Bools,
    cluster_N: Ints,
    rng: np.random.Generator,
    *,
    permutations: int = PERMUTATIONS,
) -> Discrepancy | None:
    """MMD² of two samples under a Gaussian kernel exp(-d² / (2 width²)), width by the median heuristic (Gretton et al. 2012); None with fewer
    than two items in a sample. Memory and time grow with N², so give it a few thousand items at most.
    """
    if min(int(second_N.sum()), int((~second_N).sum())) < 2:
        return None
    x_ND = np.asarray(x_ND, np.float32)
    x_ND = x_ND - x_ND.mean(0)
    squared_NN = _squared(x_ND)
    np.fill_diagonal(squared_NN, 0)
    above = squared_NN[np.triu_indices(len(x_ND), 1)]
    width = math.sqrt(float(np.median(above))) or 1.0
    squared_NN *= np.float32(-0.5 / width**2)
    k_NN = np.exp(squared_NN, out=squared_NN)
    second_NP = _dealt(second_N, cluster_N, np.zeros(len(x_ND), np.int64), permutations, rng)
    y_NP = second_NP.astype(np.float32)
    row_N = k_NN.sum(1, dtype=np.float64)
    to_second_NP = (k_NN @ y_NP).astype(np.float64)
    both_P = (to_second_NP * y_NP).sum(0)  # sums of the kernel over pairs, the diagonal (all ones) with them
    cross_P = (row_N[:, None] * y_NP).sum(0) - both_P
    n_P = y_NP.sum(0, dtype=np.float64)
    m_P = len(x_ND) - n_P
    first_P = float(row_N.sum()) - both_P - 2 * cross_P
    with np.errstate(invalid="ignore", divide="ignore"):
        value_P = (both_P - n_P) / (n_P * (n_P - 1)) + (first_P - m_P) / (m_P * (m_P - 1)) - 2 * cross_P / (n_P * m_P)
    value_P = np.where(np.isfinite(value_P), value_P, 0.0)  # a labelling of large clusters may leave a sample empty
    return Discrepancy(float(value_P[0]), value_P[1:], p_value(float(value_P[0]), value_P[1:]), width)


# -- label shift ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ClassShares:
    """Estimated shares of each class (C,) with the ends of their intervals, and the condition number of the confusion they rest on."""

    share: Floats
    low: Floats
    high: Floats
    condition: float


def class_shares(confusion_CC: Ints, answered_C: Ints, items: int, rng: np.random.Generator) -> ClassShares:
    """Black-box shift estimation (Lipton, Wang & Smola 2018): the class shares of unlabelled items from what a classifier takes them for.

    `confusion_CC` counts the classifier's held-out answers on labelled items (row = true class, column = answer; each row holds an item at
    least), `answered_C` its answers to the `items` unlabelled ones (several votes an item, where several classifiers answered). Right where
    classes look the same in both samples and only their shares differ. Shares
    are the non-negative least-squares solution; intervals are its percentiles over draws from the posteriors of both counts (Dirichlet, the prior worth
    one item: Perks 1947). Resampled counts, as in a bootstrap, would take what never happened among a few items for what never happens.
    """
    of_NC = confusion_CC / confusion_CC.sum(1, keepdims=True)
    answered = answered_C / answered_C.sum()
    value = _solved(of_NC, answered)
    beforehand = 1 / len(value)
    drawn = []
    for _ in range(RESAMPLES):
        some = np.stack([rng.dirichlet(row + beforehand) for row in confusion_CC])
        drawn.append(_solved(some, rng.dirichlet(items * answered + beforehand)))
    low, high = np.quantile(drawn, QUANTILES, axis=0)
    low, high = np.minimum(low, value), np.maximum(high, value)
    return ClassShares(value, low, high, float(np.linalg.cond(of_NC)))


def most_auc(total_variation: float) -> float:
    """The largest AUC with which anything can tell apart two distributions whose total variation distance is `total_variation` (0..1)."""
    return 1 - (1 - total_variation) ** 2 / 2


def _solved(of_CC: Floats, answered_C: Floats) -> Floats:
    from scipy.optimize import nnls

    found, _ = nnls(of_CC.T, answered_C)
    total = float(found.sum())
    shares: Floats = found / total if total > 0 else np.full(len(found), 1 / len(found))
    return shares
