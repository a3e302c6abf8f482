"""How the error falls with the number of labels: a power law through counted errors, its interval, and when it reaches a target.

Legend: J draws (each a nested chain of subsets with held-out items of its own), P sizes of subset, B resamples, G exponents tried.
`law` is (a, b, c): err(n) = a + b * (n / top)^-c, where `top` is the largest size measured, so that b is what more labels can still mend.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.integer] | NDArray[np.floating]

FEWEST_SIZES, FEWEST_DRAWS = 4, 3
EXPONENTS = (
    0.05,
    2.0,
)  # learning curves of classifiers have been found between 0.1 and 1.5 or so (Viering & Loog 2021)
RESAMPLES = 300
LEVEL = 0.95
MISFIT = 0.08  # standard deviation of the log error for each e-fold of labels beyond those measured (`Curve.at`); set on one data set, usps
SMALLEST = 1e-4  # an error rate is kept this far from 0 and 1 while the likelihood is climbed
STEPS = 8  # of Fisher scoring: the identity link makes it all but a linear problem
FARTHEST = 10.0  # times the labels there are: beyond, nothing is forecast


@dataclass(frozen=True, eq=False)
class Curve:
    """A power law fitted to counted errors. `error_P` are the shares wrong at `sizes_P`, with the ends of their intervals over draws;
    `laws_B3` are the laws of resampled draws, `tilt_B` standard normal numbers that go with them."""

    sizes_P: Floats
    error_P: Floats
    low_P: Floats
    high_P: Floats
    law: Floats
    laws_B3: Floats
    tilt_B: Floats
    misfit: float = MISFIT

    @property
    def top(self) -> float:
        """The largest size measured."""
        return float(self.sizes_P[-1])

    def at(self, labels: float) -> tuple[float, float, float]:
        """Error expected with so many labels in all, and the ends of its 95 % interval, each in [0, 1].

        The bootstrap knows how far the draws scatter, not that the law itself is only nearly right. Beyond the sizes measured each resampled
        law is therefore multiplied by (labels / top)^(misfit * z), z standard normal.
        """
        value = float(errors(self.law[None, :], labels / self.top)[0])
        resampled_B = errors(self.laws_B3, labels / self.top)
        resampled_B = resampled_B * max(labels / self.top, 1.0) ** (self.misfit * self.tilt_B)
        low, high = np.quantile(resampled_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return min(value, 1.0), float(min(low, value)), float(min(max(high, value), 1.0))

    def asymptote(self) -> tuple[float, float, float]:
        """Error with labels without end, and the ends of its interval."""
        low, high = np.quantile(self.laws_B3[:, 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        value = float(self.law[0])
        return value, float(min(low, value)), float(max(high, value))

    def exponent(self) -> tuple[float, float, float]:
        """The power c, and the ends of its interval."""
        low, high = np.quantile(self.laws_B3[:, 2], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        value = float(self.law[2])
        return value, float(min(low, value)), float(max(high, value))

    def falls(self) -> bool:
        """Whether the error is lower at the largest size than at the smallest, with its interval above zero."""
        drop_B = errors(self.laws_B3, self.sizes_P[0] / self.top) - errors(self.laws_B3, 1.0)
        return bool(np.quantile(drop_B, (1 - LEVEL) / 2) > 0.1 * self.error_P[-1] / math.sqrt(len(self.sizes_P)))


@dataclass(frozen=True)
class Reach:
    """When the curve reaches a target: `labels` in all with the ends of the interval, or why that is not told.

    `status`: "told"; "reached" (no more are needed); "flat", "floor", "far" and "open", which are refusals: the error does not fall; the target
    lies below the asymptote's interval; it takes more than `FARTHEST` times the labels; so it may (`low` is then known).
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
) -> Curve:
    """The power law of largest likelihood through errors counted at rising sizes.

    `errors_JP` are wrong answers among `tested_J` held-out items of a draw. Errors at a size count as binomial, the number of items divided by the
    overdispersion between draws (quasi-likelihood, Wedderburn 1974). Intervals resample whole draws, as sizes of one draw share items and luck: each
    draw is weighted by a Gamma number (the Bayesian bootstrap, Rubin 1981) of shape (J - 2) / J, with which the variance of a mean is unbiased.

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
    weight_BJ = rng.gamma((draws - 2) / draws, size=(resamples, draws)) + 1e-12
    tested_BJ = weight_BJ * tested_J
    error_BP = weight_BJ @ errors_JP / tested_BJ.sum(1, keepdims=True)
    error_P = errors_JP.sum(0) / tested_J.sum()
    number_P = tested_J.sum() / overdispersion(errors_JP, tested_J)
    relative_P = sizes_P / sizes_P[-1]
    low_P, high_P = np.quantile(error_BP, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    laws = fit_laws(relative_P, np.vstack([error_P, error_BP]), number_P)
    return Curve(sizes_P, error_P, low_P, high_P, laws[0], laws[1:], rng.standard_normal(resamples), misfit)


def overdispersion(errors_JP: Floats, tested_J: Floats) -> Floats:
    """(P,) by how much the variance between draws exceeds the binomial one, at least 1: Pearson's statistic over J - 1 degrees of freedom.

    With few draws one size's figure is noise, so each is drawn halfway to the mean of all.
    """
    share_P = (errors_JP.sum(0) / tested_J.sum()).clip(SMALLEST, 1 - SMALLEST)
    expected_JP = tested_J[:, None] * share_P
    pearson_P = ((errors_JP - expected_JP) ** 2 / (expected_JP * (1 - share_P))).sum(0) / (len(tested_J) - 1)
    found: Floats = np.maximum((pearson_P + pearson_P.mean()) / 2, 1.0)
    return found


def errors(laws_B3: Floats, relative: float) -> Floats:
    """(B,) error by each law at a size relative to the largest measured."""
    found: Floats = laws_B3[:, 0] + laws_B3[:, 1] * relative ** -laws_B3[:, 2]
    return found


def fit_laws(relative_P: Floats, error_BP: Floats, number_P: Floats) -> Floats:
    """(B, 3) laws of largest binomial likelihood with a, b >= 0 and c within `EXPONENTS`, for B curves at once.

    For a given c the mean is linear in a and b and the likelihood concave; c itself is searched, three times finer each time.
    """
    curves = np.arange(len(error_BP))
    lowest, highest = math.log(EXPONENTS[0]), math.log(EXPONENTS[1])
    width = (highest - lowest) / 14
    log_c_BG = np.tile(np.linspace(lowest, highest, 15), (len(curves), 1))
    for _ in range(4):
        a_BG, b_BG, value_BG = _linear_part(relative_P, error_BP, number_P, np.exp(log_c_BG))
        best_B = value_BG.argmax(1)
        middle_B = log_c_BG[curves, best_B]
        found = np.stack([a_BG[curves, best_B], b_BG[curves, best_B], np.exp(middle_B)], axis=1)
        log_c_BG = np.clip(middle_B[:, None] + np.linspace(-width, width, 7), lowest, highest)
        width /= 3
    return found


def _linear_part(relative_P: Floats, error_BP: Floats, number_P: Floats, c_BG: Floats) -> tuple[Floats, Floats, Floats]:
    """The best a and b (B, G) for exponents `c_BG`, and their log likelihood, by Fisher scoring."""
    t_BGP = relative_P ** -c_BG[..., None]
    p_BGP = error_BP[:, None, :]
    mu_BGP = np.broadcast_to(p_BGP, t_BGP.shape).clip(SMALLEST, 1 - SMALLEST)
    for _ in range(STEPS):
        v_BGP = number_P / (mu_BGP * (1 - mu_BGP))
        s0, s1, s2 = v_BGP.sum(-1), (v_BGP * t_BGP).sum(-1), (v_BGP * t_BGP * t_BGP).sum(-1)
        r0, r1 = (v_BGP * p_BGP).sum(-1), (v_BGP * p_BGP * t_BGP).sum(-1)
        b_BG = (s0 * r1 - s1 * r0) / np.maximum(s0 * s2 - s1 * s1, 1e-12 * s0 * s2)
        a_BG = (r0 - s1 * b_BG) / s0
        a_BG, b_BG = np.where(a_BG < 0, 0.0, a_BG), np.where(a_BG < 0, r1 / s2, b_BG)
        a_BG, b_BG = np.where(b_BG < 0, r0 / s0, a_BG), np.maximum(b_BG, 0.0)
        mu_BGP = (a_BG[..., None] + b_BG[..., None] * t_BGP).clip(SMALLEST, 1 - SMALLEST)
    value_BG = (number_P * (p_BGP * np.log(mu_BGP) + (1 - p_BGP) * np.log1p(-mu_BGP))).sum(-1)
    return a_BG, b_BG, value_BG


def reach(curve: Curve, target: float, now: float) -> Reach:
    """With how many labels in all the error comes down to `target`, where there are `now`: the band of the curve, read the other way round.

    The interval's ends are where the band's lower and upper edge first come down to the target.
    """
    if not 0 < target < 1 or now <= 0:
        raise ValueError(f"a target of {target} from {now} labels: the error lies between 0 and 1, the labels above 0")
    value, _, high = curve.at(now)
    if high <= target:
        return Reach("reached")
    if not curve.falls():
        return Reach("flat")
    grid = now * np.geomspace(1.0, FARTHEST, 121)
    band = np.array([curve.at(n) for n in grid])
    middle, low, high_end = (_first(grid, band[:, column], target) for column in range(3))
    if middle is None:
        return Reach("floor" if curve.asymptote()[1] > target else "far", low=low)
    if high_end is None:
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
