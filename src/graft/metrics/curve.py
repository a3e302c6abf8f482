"""How the error falls with the number of labels: a power law through counted errors, its interval, and when it reaches a target.

Legend: J draws (each a nested chain of subsets with held-out items of its own), P sizes of subset, B resamples, G exponents and floors tried.
`law` is (a, b, c): err(n) = a + b * (n / top)^-c, where `top` is the largest size measured, so that b is what more labels can still mend.

A few hundred labels hardly tell three numbers apart, so the law is the one of largest posterior density: what curves of other data sets looked like
(`Experience`) counts as well. It speaks of the exponent c and of the floor's share a / (a + b) in the error now, never of the error itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.integer] | NDArray[np.floating]

FEWEST_SIZES, FEWEST_DRAWS = 4, 3
EXPONENTS, FLOORS = (0.04, 2.5), (0.007, 0.98)  # bounds of the exponent, and of the floor's share in the error now
RESAMPLES = 300
LEVEL = 0.95
LABELS_LEVEL = 0.9  # of an interval of labels: at 95 % most reach from the labels there are to beyond ten times as many
MISFIT = 0.06  # standard deviation of the log error for each e-fold of labels beyond those measured (`Curve.at`)
REACH_BACK = 0.15  # the same for sizes below the largest, the smallest of which are near chance (`weights`)
SMALLEST = 1e-4  # an error rate is kept this far from 0 and 1 while the likelihood is climbed
FARTHEST = 10.0  # times the labels there are: beyond, nothing is forecast


@dataclass(frozen=True)
class Experience:
    """What curves look like: mean of (log c, logit of the floor's share), their standard deviations, and the correlation of the two."""

    mean: tuple[float, float]
    deviation: tuple[float, float]
    correlation: float

    def covariance(self) -> Floats:
        """(2, 2)"""
        (s, t), r = self.deviation, self.correlation
        return np.array([[s * s, r * s * t], [r * s * t, t * t]])


# From the curves of seven data sets by `learned` of bench/curve.py: a normal law of the two numbers over sets, by expectation-maximisation (empirical
# Bayes, Efron & Morris 1973), each set one vote, as wide as the predictive Student's t of so few. With the set that is judged left out each time
# its forecasts hold about as often as they promise: docs/benchmarks.md. MISFIT and REACH_BACK were set on the same seven.
EXPERIENCE = Experience((-0.61, 0.11), (0.5, 0.69), -0.82)


@dataclass(frozen=True, eq=False)
class Curve:
    """A power law fitted to counted errors. `error_P` are the shares wrong at `sizes_P`, with the ends of their intervals over draws;
    `laws_B3` are the laws of resampled draws, `tilt_B` standard normal numbers that go with them; `falls`: whether the error is lower at the
    largest size than at the smallest by more than chance explains (97.5 % of the resamples)."""

    sizes_P: Floats
    error_P: Floats
    low_P: Floats
    high_P: Floats
    law: Floats
    laws_B3: Floats
    tilt_B: Floats
    falls: bool
    misfit: float = MISFIT

    @property
    def top(self) -> float:
        """The largest size measured."""
        return float(self.sizes_P[-1])

    def at(self, labels: float, level: float = LEVEL) -> tuple[float, float, float]:
        """Error expected with so many labels in all, and the ends of its interval, each in [0, 1]."""
        value, low, high = self.band(np.array([labels]), level)[:, 0]
        return float(value), float(low), float(high)

    def band(self, labels_G: Floats, level: float = LEVEL) -> Floats:
        """(3, G) errors expected with so many labels in all, and the ends of their intervals.

        The bootstrap knows how far the draws scatter, not that the law itself is only nearly right. Beyond the sizes measured each resampled
        law is therefore multiplied by (labels / top)^(misfit * z), z standard normal, but more labels are taken never to harm.
        """
        value_G = np.minimum(errors(self.law[None, :], labels_G / self.top)[0], 1.0)
        low_G, high_G = np.quantile(self._resampled(labels_G), [(1 - level) / 2, (1 + level) / 2], axis=0)
        return np.stack([value_G, np.minimum(low_G, value_G), np.maximum(high_G, value_G)])

    def gain(self, labels: float, now: float) -> tuple[float, float, float]:
        """By how much the error falls from `now` labels to `labels`, and the ends of its interval.

        Both errors come from the same resample, so what is not known of the error now, which is most, drops out of the difference.
        """
        both = np.array([now, labels])
        before, after = errors(self.law[None, :], both / self.top)[0]
        value = float(before - after)
        before_B, after_B = self._resampled(both).T
        low, high = np.quantile(before_B - after_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return value, float(min(low, value)), float(max(high, value))

    def _resampled(self, labels_G: Floats) -> Floats:
        tilt_BG = np.maximum(labels_G / self.top, 1.0) ** (self.misfit * self.tilt_B[:, None])
        tilted_BG = errors(self.laws_B3, labels_G / self.top) * tilt_BG
        highest_BG = np.where(labels_G > self.top, errors(self.laws_B3, np.ones(1)), 1.0)
        found: Floats = np.minimum(tilted_BG, highest_BG)
        return found

    def exponent(self) -> tuple[float, float, float]:
        """The power c, and the ends of its interval."""
        low, high = np.quantile(self.laws_B3[:, 2], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        value = float(self.law[2])
        return value, float(min(low, value)), float(max(high, value))


@dataclass(frozen=True)
class Reach:
    """When the curve reaches a target: `labels` in all with the ends of the interval (`LABELS_LEVEL`), or why that is not told.

    `status`: "told", where `high` is None if the interval does not end within `FARTHEST` times the labels; "reached" (no more are needed by the
    estimate, though it may take up to `high`); refusals are "flat": the error does not fall; "far": it takes more than
    `FARTHEST` times the labels; "open": the interval reaches from the labels there are to beyond that. Nothing is said of labels without end.
    A refusal may know `low`.
    """

    status: str
    labels: float | None = None
    low: float | None = None
    high: float | None = None


def fit_curve(
    errors_JP: Counts,
    tested_J: Counts,
    sizes_P: Counts,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    misfit: float = MISFIT,
    reach_back: float = REACH_BACK,
    known: Experience = EXPERIENCE,
) -> Curve:
    """The power law of largest posterior density through errors counted at rising sizes.

    `errors_JP` are wrong answers among `tested_J` held-out items of a draw. Errors at a size count as binomial, the number of items divided by the
    overdispersion between draws (quasi-likelihood, Wedderburn 1974) and, at small sizes, by how little they say of large ones (`weights`).
    Intervals perturb data and experience together and maximise again, which for normal laws draws from the posterior ("sample-then-optimise",
    Papandreou & Yuille 2010): errors as `resampled`, experience as a draw from it in place of its mean.

    Raises ValueError with fewer than 4 sizes or 3 draws, for sizes that do not rise, and for counts that cannot be.
    """
    errors_JP, tested_J = np.asarray(errors_JP, np.float64), np.asarray(tested_J, np.float64)
    sizes_P = np.asarray(sizes_P, np.float64)
    draws, sizes = errors_JP.shape
    if sizes < FEWEST_SIZES or draws < FEWEST_DRAWS:
        raise ValueError(
            f"{draws} draws at {sizes} sizes: at least {FEWEST_DRAWS} draws at {FEWEST_SIZES} sizes are needed"
        )
    if sizes_P.shape != (sizes,) or tested_J.shape != (draws,) or (np.diff(sizes_P) <= 0).any() or sizes_P[0] <= 0:
        raise ValueError(f"sizes {sizes_P.tolist()} of {draws} draws: they must rise from above 0, one for each column")
    if (errors_JP < 0).any() or (errors_JP > tested_J[:, None]).any() or not (tested_J > 0).all():
        raise ValueError("a draw has more errors than items, or no item")
    rng = np.random.default_rng(seed)
    error_P, relative_P = errors_JP.sum(0) / tested_J.sum(), sizes_P / sizes_P[-1]
    number_P = tested_J.sum() / overdispersion(errors_JP, tested_J)
    error_BP = resampled(errors_JP, tested_J, number_P, rng, resamples)
    low_P, high_P = np.quantile(error_BP, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    falls = bool(np.quantile(error_BP[:, 0] - error_BP[:, -1], (1 - LEVEL) / 2) > 0)
    shape_B2 = rng.multivariate_normal(known.mean, known.covariance(), size=resamples)
    laws = fit_laws(
        relative_P,
        np.vstack([error_P, error_BP]),
        weights(relative_P, error_P, number_P, reach_back),
        np.vstack([known.mean, shape_B2]),
        np.linalg.inv(known.covariance()),
    )
    tilt_B = rng.standard_normal(resamples)
    return Curve(
        sizes_P,
        error_P,
        np.minimum(low_P, error_P),
        np.maximum(high_P, error_P),
        laws[0],
        laws[1:],
        tilt_B,
        falls,
        misfit,
    )


def resampled(
    errors_JP: Floats, tested_J: Floats, number_P: Floats, rng: np.random.Generator, resamples: int
) -> Floats:
    """(B, P) shares wrong as they might have come out.

    Whole draws are resampled, as sizes of one draw share items and luck: each is weighted by a Gamma number (the Bayesian bootstrap, Rubin 1981) of
    shape (J - 2) / J, with which the variance of a mean is unbiased. Few draws may agree by chance: resamples that scatter less than counts of
    `number_P` items must are spread out to that, up to threefold. Half an error in the mean is added (Jeffreys' prior), so that none found is not none.
    """
    draws, tested = len(tested_J), tested_J.sum()
    weight_BJ = rng.gamma((draws - 2) / draws, size=(resamples, draws)) + 1e-12
    error_BP = weight_BJ @ errors_JP / (weight_BJ @ tested_J)[:, None]
    error_P = errors_JP.sum(0) / tested
    least, found = float((error_P * (1 - error_P) / number_P).mean()), float(error_BP.var(0).mean())
    spread = min(max(math.sqrt(least / found), 1.0), 3.0) if found > 0 else 1.0
    half = rng.gamma(0.5, size=(resamples, 1)) / tested
    shares: Floats = (error_P + spread * (error_BP - error_P) + half).clip(0.0, 1.0)
    return shares


def weights(relative_P: Floats, error_P: Floats, number_P: Floats, reach_back: float) -> Floats:
    """(P,) binomial items that a size is worth: fewer, the further it lies below the largest, as the law is only nearly right.

    The log error at a size is taken to be off the law by a normal number of standard deviation `reach_back` * |log relative|, which adds to the variance.
    """
    share_P = error_P.clip(10 * SMALLEST, 1 - 10 * SMALLEST)
    off_P = share_P / (1 - share_P) * (reach_back * np.log(relative_P)) ** 2
    found: Floats = number_P / (1 + number_P * off_P)
    return found


def overdispersion(errors_JP: Floats, tested_J: Floats) -> Floats:
    """(P,) by how much the variance between draws exceeds the binomial one, at least 1: Pearson's statistic over J - 1 degrees of freedom.

    With few draws one size's figure is noise, so each is drawn halfway to the mean of all.
    """
    share_P = (errors_JP.sum(0) / tested_J.sum()).clip(SMALLEST, 1 - SMALLEST)
    expected_JP = tested_J[:, None] * share_P
    pearson_P = ((errors_JP - expected_JP) ** 2 / (expected_JP * (1 - share_P))).sum(0) / (len(tested_J) - 1)
    found: Floats = np.maximum((pearson_P + pearson_P.mean()) / 2, 1.0)
    return found


def errors(laws_B3: Floats, relative_G: Floats) -> Floats:
    """(B, G) errors by each law at sizes relative to the largest measured."""
    found: Floats = laws_B3[:, :1] + laws_B3[:, 1:2] * relative_G ** -laws_B3[:, 2:]
    return found


def fit_laws(
    relative_P: Floats, error_BP: Floats, number_P: Floats, shape_B2: Floats, precision: NDArray[np.floating]
) -> Floats:
    """(B, 3) laws of largest posterior density, for B curves at once: binomial counts of `number_P` items, and a normal prior of (log c, logit of the
    floor's share) with means `shape_B2` and the inverse covariance `precision` (2, 2).

    For a given shape the error at the largest size alone is left, which weighted least squares finds; shapes are searched on a grid within
    `EXPONENTS` and `FLOORS`, twice as fine each time.
    """
    odds = FLOORS[0] / (1 - FLOORS[0]), FLOORS[1] / (1 - FLOORS[1])
    bounds = [(math.log(low), math.log(high)) for low, high in (EXPONENTS, odds)]
    axes = [np.linspace(low, high, number) for (low, high), number in zip(bounds, (14, 11), strict=True)]
    grid_BG2 = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(1, -1, 2)
    width = np.array([axis[1] - axis[0] for axis in axes])
    around = np.stack(np.meshgrid(*[np.linspace(-1, 1, 5)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    curves = np.arange(len(error_BP))
    for _ in range(7):
        level_BG, value_BG = _levels(relative_P, error_BP, number_P, grid_BG2)
        away_BG2 = grid_BG2 - shape_B2[:, None, :]
        value_BG = value_BG - ((away_BG2 @ precision) * away_BG2).sum(-1) / 2
        best_B = value_BG.argmax(1)
        shape = np.broadcast_to(grid_BG2, (*value_BG.shape, 2))[curves, best_B]
        level_B = level_BG[curves, best_B]
        grid_BG2 = np.stack([np.clip(shape[:, None, k] + width[k] * around[:, k], *bounds[k]) for k in (0, 1)], axis=-1)
        width = width / 2
    floor_B = 1 / (1 + np.exp(-shape[:, 1]))
    return np.stack([level_B * floor_B, level_B * (1 - floor_B), np.exp(shape[:, 0])], axis=1)


def _levels(relative_P: Floats, error_BP: Floats, number_P: Floats, shape_BG2: Floats) -> tuple[Floats, Floats]:
    """The best error at the largest size (B, G) for laws of given shapes, and their log likelihood."""
    floor = 1 / (1 + np.exp(-shape_BG2[..., 1, None]))
    form = floor + (1 - floor) * relative_P ** -np.exp(shape_BG2[..., 0, None])
    share = error_BP[:, None, :]
    mu = np.broadcast_to(share, np.broadcast_shapes(share.shape, form.shape))
    for _ in range(3):
        mu = mu.clip(SMALLEST, 1 - SMALLEST)
        pull = number_P / (mu * (1 - mu)) * form
        level_BG = (pull * share).sum(-1) / (pull * form).sum(-1)
        mu = level_BG[..., None] * form
    mu = mu.clip(SMALLEST, 1 - SMALLEST)
    return level_BG, (number_P * (share * np.log(mu) + (1 - share) * np.log1p(-mu))).sum(-1)


def reach(curve: Curve, target: float, now: float) -> Reach:
    """With how many labels in all the error comes down to `target`, where there are `now`: the band of the curve, read the other way round.

    The interval's ends are where the band's lower and upper edge first come down to the target.
    """
    if not 0 < target < 1 or now <= 0:
        raise ValueError(f"a target of {target} from {now} labels: the error lies between 0 and 1, the labels above 0")
    value, _, high = curve.at(now, LABELS_LEVEL)
    if high <= target:
        return Reach("reached")
    if not curve.falls:
        return Reach("flat")
    grid = now * np.geomspace(1.0, FARTHEST, 121)
    middle, low, high_end = (_first(grid, edge, target) for edge in curve.band(grid, LABELS_LEVEL))
    if middle is None:
        return Reach("far", low=low)
    if low == now and high_end is None:
        return Reach("open", middle, low)
    if value <= target:
        return Reach("reached", high=high_end)
    return Reach("told", middle, low, high_end)


def _first(grid: Floats, edge: Floats, target: float) -> float | None:
    """Where `edge` first comes down to the target, between two places of the grid by their logarithms; None if it does not."""
    below = np.flatnonzero(edge <= target)
    if not len(below):
        return None
    k = int(below[0])
    if k == 0:
        return float(grid[0])
    share = (edge[k - 1] - target) / (edge[k - 1] - edge[k])
    return float(grid[k - 1] * (grid[k] / grid[k - 1]) ** share)
