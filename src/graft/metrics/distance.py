"""Distances, and which of them are metrics.

A metric is 0 only between equal points (and never below), symmetric, and no detour is shorter than the direct way. Index structures that
prune by the triangle inequality, and k-medoids-like reasoning about "far" and "near", rely on it.

Shapes: N and M points, D dimensions. Every distance maps (N, D) and (M, D) to (N, M) in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Function = Callable[[Floats, Floats], Floats]

TOLERANCE = 1e-9  # what rounding explains, relative to the largest distance seen


@dataclass(frozen=True)
class Distance:
    """A distance with its usual name, formula, and the points it is for: `vectors` (any reals), `distributions` (rows sum to 1), `bits` (0 or 1)."""

    name: str
    formula: str
    domain: str
    between: Function


@dataclass(frozen=True)
class Violation:
    """A counter-example: what should hold, the points, the left side that should not exceed the right, and how often it failed of how many tries."""

    points: tuple[tuple[float, ...], ...]
    left: float
    right: float
    failures: int
    tries: int


@dataclass(frozen=True)
class AxiomReport:
    """The worst violation found of each axiom, None where none was found (which proves nothing: the points are a sample).

    identity: d(x, x) = 0. positivity: d(x, y) > 0 for x ≠ y. symmetry: d(x, y) = d(y, x). triangle: d(x, z) <= d(x, y) + d(y, z).
    """

    name: str
    identity: Violation | None
    positivity: Violation | None
    symmetry: Violation | None
    triangle: Violation | None

    @property
    def is_metric(self) -> bool:
        """True when no axiom was seen to fail."""
        return not any((self.identity, self.positivity, self.symmetry, self.triangle))


def metric_axioms(distance: Distance, points_ND: Floats) -> AxiomReport:
    """Try every point, pair and triple of the points (N up to about 100: N³ triples) and report the worst failure of each axiom.

    Raises ValueError where the distance is infinite or undefined between two of the points.
    """
    points_ND = np.unique(points_ND, axis=0)
    n = len(points_ND)
    d_NN = distance.between(points_ND, points_ND)
    if not np.isfinite(d_NN).all():
        raise ValueError(f"{distance.name} is infinite or undefined between two of these points")
    slack = TOLERANCE * max(1.0, float(np.abs(d_NN).max()))
    own = np.eye(n, dtype=bool)

    def worst(excess: Floats, left: Floats, right: Floats, tries: int) -> Violation | None:
        failures = int((excess > slack).sum())
        if not failures:
            return None
        place = np.unravel_index(int(excess.argmax()), excess.shape)
        seen = tuple(tuple(points_ND[i].tolist()) for i in place)
        return Violation(seen, float(left[place]), float(right[place]), failures, tries)

    diagonal = np.diag(d_NN)
    positive = np.where(own, -np.inf, 2 * slack - d_NN)
    via_NNN = d_NN[:, :, None] + d_NN[None, :, :]  # x → y → z
    direct_NNN = np.broadcast_to(d_NN[:, None, :], via_NNN.shape)
    return AxiomReport(
        distance.name,
        identity=worst(np.abs(diagonal), diagonal, np.zeros(n), n),
        positivity=worst(positive, np.zeros_like(d_NN), d_NN, n * (n - 1)),
        symmetry=worst(d_NN - d_NN.T, d_NN, d_NN.T, n * (n - 1) // 2),
        triangle=worst(direct_NNN - via_NNN, direct_NNN, via_NNN, n * (n - 1) * (n - 2)),
    )


def sample_points(domain: str, n: int, dim: int, rng: np.random.Generator) -> Floats:
    """Up to `n` points to try a distance on: random ones, and for vectors midpoints and doubles, where violations hide.

    Few dimensions (2 or 3) are best: in many, random points are all equally far apart and hardly anything is violated.
    """
    if domain == "bits":
        drawn = rng.integers(0, 2, (n, dim)).astype(np.float64)
        return drawn[drawn.any(1)]  # two empty sets have no Dice coefficient
    if domain == "distributions":
        return rng.dirichlet(np.full(dim, 0.5), n)
    drawn = rng.normal(size=(max(2, n // 3), dim))
    middle = (drawn + np.roll(drawn, 1, axis=0)) / 2
    return np.concatenate([drawn, middle, 2 * drawn])[:n]


def _pairwise(measure: str, **options: float) -> Function:
    def between(a_ND: Floats, b_MD: Floats) -> Floats:
        from scipy.spatial.distance import cdist

        found: Floats = cdist(a_ND, b_MD, measure, **options)
        return found

    return between


def _cosine(a_ND: Floats, b_MD: Floats) -> Floats:
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a_ND, b_MD)]
    cosines: Floats = (unit[0] @ unit[1].T).clip(-1, 1)
    return cosines


def _angle(a_ND: Floats, b_MD: Floats) -> Floats:
    """Angles in radians; from half chords, which stay exact for small angles."""
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a_ND, b_MD)]
    chord = np.linalg.norm(unit[0][:, None] - unit[1][None], axis=2)
    angles: Floats = 2 * np.arcsin((chord / 2).clip(0, 1))
    return angles


def _on_sphere(a_ND: Floats, b_MD: Floats) -> Floats:
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a_ND, b_MD)]
    chords: Floats = np.linalg.norm(unit[0][:, None] - unit[1][None], axis=2)
    return chords


def _kl(a_ND: Floats, b_MD: Floats) -> Floats:
    from scipy.special import rel_entr

    divergence: Floats = rel_entr(a_ND[:, None], b_MD[None]).sum(2)
    return divergence


def _js(a_ND: Floats, b_MD: Floats) -> Floats:
    from scipy.special import rel_entr

    a, b = a_ND[:, None], b_MD[None]
    middle = (a + b) / 2
    divergence: Floats = (rel_entr(a, middle).sum(2) + rel_entr(b, middle).sum(2)).clip(0) / 2
    return divergence


def _mahalanobis(a_ND: Floats, b_MD: Floats) -> Floats:
    """Under a fixed covariance with unit variances and correlation 1/2."""
    dim = a_ND.shape[1]
    root = np.linalg.cholesky(np.linalg.inv((np.eye(dim) + np.ones((dim, dim))) / 2))
    return _pairwise("euclidean")(a_ND @ root, b_MD @ root)


DISTANCES: dict[str, Distance] = {
    distance.name: distance
    for distance in (
        Distance("euclidean", "√Σ(x−y)²", "vectors", _pairwise("euclidean")),
        Distance("squared euclidean", "Σ(x−y)²", "vectors", _pairwise("sqeuclidean")),
        Distance("manhattan", "Σ|x−y|", "vectors", _pairwise("cityblock")),
        Distance("chebyshev", "max|x−y|", "vectors", _pairwise("chebyshev")),
        Distance("minkowski 1/2", "(Σ|x−y|^½)²", "vectors", _pairwise("minkowski", p=0.5)),
        Distance("mahalanobis", "√(x−y)ᵀΣ⁻¹(x−y)", "vectors", _mahalanobis),
        Distance("canberra", "Σ|x−y|/(|x|+|y|)", "vectors", _pairwise("canberra")),
        Distance("negative inner product", "−x·y", "vectors", lambda a, b: -a @ b.T),
        Distance("cosine", "1−cos(x,y)", "vectors", lambda a, b: 1 - _cosine(a, b)),
        Distance("angular", "arccos cos(x,y)", "vectors", _angle),
        Distance("euclidean of unit vectors", "√(2−2cos(x,y))", "vectors", _on_sphere),
        Distance("hamming", "share of x≠y", "bits", _pairwise("hamming")),
        Distance("jaccard", "1−|x∧y|/|x∨y|", "bits", _pairwise("jaccard")),
        Distance("dice", "1−2|x∧y|/(|x|+|y|)", "bits", _pairwise("dice")),
        Distance("kl divergence", "Σx·ln(x/y)", "distributions", _kl),
        Distance("js divergence", "½KL(x‖m)+½KL(y‖m)", "distributions", _js),
        Distance("root of js divergence", "√JS(x,y)", "distributions", lambda a, b: np.sqrt(_js(a, b))),
        Distance(
            "hellinger",
            "√½Σ(√x−√y)²",
            "distributions",
            lambda a, b: _pairwise("euclidean")(np.sqrt(a / 2), np.sqrt(b / 2)),
        ),
        Distance("total variation", "½Σ|x−y|", "distributions", lambda a, b: _pairwise("cityblock")(a, b) / 2),
    )
}
