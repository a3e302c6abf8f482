"""Distances against scipy and textbook values, and the axioms each is known to keep or break."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graft.metrics.distance import DISTANCES, Distance, metric_axioms, sample_points

# what the literature proves; the sample must find every failure and may find no other
BROKEN: dict[str, set[str]] = {
    "squared euclidean": {"triangle"},
    "minkowski 1/2": {"triangle"},
    "negative inner product": {"identity", "positivity", "triangle"},
    "cosine": {"positivity", "triangle"},
    "angular": {"positivity"},
    "euclidean of unit vectors": {"positivity"},
    "dice": {"triangle"},
    "kl divergence": {"symmetry", "triangle"},
    "js divergence": {"triangle"},
}


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_axioms_kept_and_broken(name: str) -> None:
    distance = DISTANCES[name]
    dim = 5 if distance.domain == "bits" else 3
    report = metric_axioms(distance, sample_points(distance.domain, 60, dim, np.random.default_rng(0)))
    broken = {axiom for axiom in ("identity", "positivity", "symmetry", "triangle") if getattr(report, axiom)}
    assert broken == BROKEN.get(name, set())
    assert report.is_metric == (not broken)


def test_counter_examples_are_what_they_say() -> None:
    points = np.array([[0.0], [1.0], [2.0]])
    report = metric_axioms(DISTANCES["squared euclidean"], points)
    assert report.triangle is not None
    # from 0 to 2 directly is 4, by way of 1 only 1 + 1; it fails in both directions, of six ordered triples
    assert (report.triangle.left, report.triangle.right) == (4, 2)
    assert report.triangle.points[1] == (1.0,)
    assert (report.triangle.failures, report.triangle.tries) == (2, 6)
    double = metric_axioms(DISTANCES["cosine"], np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    assert double.positivity is not None
    assert set(double.positivity.points) == {(1.0, 0.0), (2.0, 0.0)}


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        ("euclidean", [0, 0], [3, 4], 5),
        ("manhattan", [0, 0], [3, 4], 7),
        ("chebyshev", [0, 0], [3, 4], 4),
        ("minkowski 1/2", [0, 0], [1, 4], 9),
        ("mahalanobis", [0, 0], [1, 0], math.sqrt(4 / 3)),
        ("canberra", [1, 0], [3, 4], 0.5 + 1),
        ("negative inner product", [1, 2], [3, 4], -11),
        ("cosine", [1, 0], [1, 1], 1 - math.sqrt(0.5)),
        ("angular", [1, 0], [1, 1], math.pi / 4),
        ("euclidean of unit vectors", [2, 0], [0, 3], math.sqrt(2)),
        ("hamming", [1, 1, 0, 0], [1, 0, 0, 0], 0.25),
        ("jaccard", [1, 1, 0, 0], [1, 0, 1, 0], 2 / 3),
        ("dice", [1, 1, 0, 0], [1, 0, 1, 0], 1 / 2),
        ("kl divergence", [0.5, 0.5], [0.25, 0.75], 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
        ("js divergence", [1, 0], [0, 1], math.log(2)),
        ("root of js divergence", [1, 0], [0, 1], math.sqrt(math.log(2))),
        ("hellinger", [1, 0], [0, 1], 1),
        ("total variation", [0.5, 0.5], [0.25, 0.75], 0.25),
    ],
)
def test_known_values(name: str, a: list[float], b: list[float], expected: float) -> None:
    found = DISTANCES[name].between(np.array([a], float), np.array([b], float))
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(expected)


def test_undefined_distances_are_refused() -> None:
    with pytest.raises(ValueError, match="kl divergence is infinite or undefined"):
        metric_axioms(DISTANCES["kl divergence"], np.array([[1.0, 0.0], [0.5, 0.5]]))


def test_an_asymmetric_distance_is_caught() -> None:
    uphill = Distance("uphill", "max(y-x, 0)", "vectors", lambda a, b: (b[None, :, 0] - a[:, None, 0]).clip(0))
    report = metric_axioms(uphill, np.array([[0.0], [1.0]]))
    assert report.symmetry is not None and (report.symmetry.left, report.symmetry.right) == (1, 0)
    assert report.positivity is not None
    assert report.identity is None
