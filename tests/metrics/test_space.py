"""The shape of spaces whose shape is known."""

from __future__ import annotations

import numpy as np
import pytest

from graft.metrics.space import (
    alignment,
    best_ranks,
    centred,
    cosines,
    hubness,
    mean_cosine,
    modality_gap,
    neighbour_purity,
    occurrences,
    representatives,
    separability,
    similar_order,
    slerp,
    spectrum,
    two_nn,
    uniformity,
)

RNG = np.random.default_rng(0)


def circle(*degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def test_cosines_are_of_directions() -> None:
    assert cosines(circle(0, 90) * 7, circle(60, 180)) == pytest.approx(np.array([[0.5, -1], [np.sqrt(3) / 2, 0]]))
    assert cosines(np.zeros((1, 2)), circle(0)) == pytest.approx(0)


def test_order_follows_the_circle() -> None:
    degrees = np.array([40, 0, 20, 70, 60, 10])
    order = similar_order(circle(*degrees))
    found = degrees[order]
    assert list(found) in (sorted(degrees), sorted(degrees, reverse=True))
    assert list(similar_order(circle(5, 9))) == [0, 1]


def test_representatives_come_from_every_group() -> None:
    group = np.repeat(np.arange(4), 50)
    x = 10 * np.eye(4)[group] + RNG.normal(size=(200, 4))
    chosen = representatives(x, 4, 3, np.random.default_rng(1))
    assert np.bincount(group[chosen]).tolist() == [3, 3, 3, 3]
    assert list(representatives(x[:5], 4, 3, RNG)) == [0, 1, 2, 3, 4]
    assert len(representatives(np.ones((50, 2)), 4, 3, RNG)) == 3  # one place has one group


def test_slerp_walks_at_equal_angles() -> None:
    path = slerp(circle(0)[0] * 3, circle(80)[0], 5)
    assert path == pytest.approx(circle(0, 20, 40, 60, 80))
    same = slerp(circle(30)[0], circle(30)[0], 3)
    assert same == pytest.approx(circle(30, 30, 30))
    a, b = RNG.normal(size=(2, 300))
    path = slerp(a, b, 9)
    assert np.linalg.norm(path, axis=1) == pytest.approx(1)
    steps = (path[1:] * path[:-1]).sum(1)
    assert steps == pytest.approx(steps[0])


@pytest.mark.parametrize(
    ("a", "b", "steps"),
    [((1, 0), (-1, 0), 5), ((0, 0), (1, 0), 5), ((1, 0), (0, 1), 1)],
    ids=["opposite", "zero", "short"],
)
def test_slerp_refuses_what_has_no_path(a: tuple[float, ...], b: tuple[float, ...], steps: int) -> None:
    with pytest.raises(ValueError, match=r"path|direction"):
        slerp(np.array(a, float), np.array(b, float), steps)


def test_spectrum_of_a_ball_and_of_a_line() -> None:
    ball = spectrum(RNG.normal(size=(4000, 6)))
    assert ball.participation == pytest.approx(6, rel=0.01)
    assert ball.effective_rank == pytest.approx(6, rel=0.01)
    assert ball.components_90 == 6
    assert ball.intrinsic == pytest.approx(5, rel=0.1)  # directions in six dims lie on a five-dimensional sphere
    line = spectrum(circle(*RNG.uniform(-1, 1, 500)) @ RNG.normal(size=(2, 700)))
    assert line.participation == pytest.approx(1, abs=0.01)
    assert line.components_90 == 1
    assert spectrum(np.ones((20, 3))).participation == 0


def test_spectrum_of_known_eigenvalues() -> None:
    # unit vectors ±e1 (thrice each), ±e2 (once each): variances 6/8 and 2/8
    x = np.array([[1, 0]] * 3 + [[-1, 0]] * 3 + [[0, 1], [0, -1]])
    found = spectrum(x)
    assert found.participation == pytest.approx(1 / (0.75**2 + 0.25**2))
    assert found.effective_rank == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert found.components_90 == 2


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_two_nn_finds_the_dimension_of_a_cube_bent_into_many(dim: int) -> None:
    cube = np.random.default_rng(3).uniform(size=(2000, dim))
    assert two_nn(cube @ np.eye(dim, 40)) == pytest.approx(dim, rel=0.12)


def test_two_nn_counts_copies_once() -> None:
    x = RNG.uniform(size=(500, 2))
    assert two_nn(np.repeat(x, 3, axis=0)) == pytest.approx(two_nn(x))
    assert two_nn(x[:9]) is None


def test_mean_cosine_is_that_of_all_pairs() -> None:
    x = RNG.normal(size=(30, 5)) + 1
    pairs = cosines(x, x)[np.triu_indices(30, 1)]
    assert mean_cosine(x) == pytest.approx(pairs.mean())
    assert mean_cosine(circle(0, 60)) == pytest.approx(0.5)
    cone = RNG.normal(size=(1000, 50)) + 2
    assert mean_cosine(cone) > 0.7
    assert abs(mean_cosine(centred(cone))) < 0.01
    with pytest.raises(ValueError, match="two"):
        mean_cosine(circle(0))


def test_occurrences_of_a_star() -> None:
    star = np.concatenate([[[1.0, 1, 1, 1]], np.eye(4) + 0.01])  # the middle is everybody's nearest
    counts = occurrences(star, 1)
    assert counts[0] == 4
    assert counts.sum() == 5
    found = hubness(counts, 1)
    assert found.antihubs == 3 / 5
    assert found.largest == 4
    assert found.skewness == pytest.approx(((counts - 1) ** 3).mean() / ((counts - 1) ** 2).mean() ** 1.5)
    assert hubness(np.full(5, 2), 2).skewness == 0
    with pytest.raises(ValueError, match="neighbours"):
        occurrences(star, 5)


def test_gap_of_two_cones() -> None:
    a, b = np.repeat(circle(0), 20, axis=0), np.repeat(circle(90), 20, axis=0)
    gap = modality_gap(a, b)
    assert gap.distance == pytest.approx(np.sqrt(2))
    assert gap.share == pytest.approx(1)
    assert gap.separable == 1
    x = RNG.normal(size=(2000, 8))
    none = modality_gap(x[:1000], x[1000:])
    assert none.distance < 0.1
    assert none.separable == pytest.approx(0.5, abs=0.06)
    assert separability(x[:9], x) is None


def test_ranks_and_ties() -> None:
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [1, 1, 1]])
    relevant = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0]], bool)
    assert best_ranks(scores, relevant).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="relevant"):
        best_ranks(scores[:1], np.zeros((1, 3), bool))


def test_alignment_and_uniformity() -> None:
    assert alignment(circle(0, 10), circle(60, 70)) == pytest.approx(1)  # a chord of 60 degrees has length 1
    assert uniformity(circle(0, 0, 0)) == pytest.approx(0)
    assert uniformity(circle(0, 180)) == pytest.approx(-8)
    assert uniformity(RNG.normal(size=(800, 300))) == pytest.approx(-4, abs=0.05)


def test_purity_of_neighbours() -> None:
    x = circle(0, 1, 2, 90, 91, 92, 180)
    codes = np.array([0, 0, 0, 1, 1, 1, 2])
    assert neighbour_purity(x, codes, 2) == 1  # the single item of its class is left out
    assert neighbour_purity(x, np.arange(7), 2) == 0
