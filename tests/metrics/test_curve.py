"""The power law is found where it was planted, its interval covers the truth, and what a curve does not tell is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from graft.metrics.curve import Curve, fit_curve, fit_laws, overdispersion, reach

SIZES = np.array([50, 80, 125, 200, 315, 500])


def simulated(
    law: tuple[float, float, float], seed: int, *, draws: int = 10, tested: int = 200, spread: float = 0.004
) -> Curve:
    """A curve fitted to counts whose share wrong varies between draws by a beta law of intraclass correlation `spread`."""
    rng = np.random.default_rng(seed)
    mean_P = law[0] + law[1] * (SIZES / 500) ** -law[2]
    strength = 1 / spread - 1
    share_JP = rng.beta(mean_P * strength, (1 - mean_P) * strength, (draws, len(SIZES)))
    return fit_curve(rng.binomial(tested, share_JP), np.full(draws, tested), SIZES, seed=seed)


@pytest.mark.parametrize("law", [(0.05, 0.09, 0.5), (0.0, 0.12, 0.4), (0.1, 0.02, 0.9), (0.2, 0.1, 1.5)])
def test_a_planted_law_is_found_from_exact_shares(law: tuple[float, float, float]) -> None:
    relative_P = SIZES / 500
    share_P = law[0] + law[1] * relative_P ** -law[2]
    (found,) = fit_laws(relative_P, share_P[None, :], np.full(len(SIZES), 1e6))
    assert found == pytest.approx(law, abs=0.012)


def test_a_planted_law_is_found_from_many_counts() -> None:
    curve = simulated((0.05, 0.09, 0.5), 1, draws=20, tested=20_000, spread=1e-5)
    assert curve.law == pytest.approx([0.05, 0.09, 0.5], abs=0.03)
    assert curve.at(1000)[0] == pytest.approx(0.05 + 0.09 * 2**-0.5, abs=0.002)
    low, high = curve.exponent()[1:]
    assert low < 0.5 < high


def test_intervals_cover_what_was_planted() -> None:
    law = (0.05, 0.09, 0.5)
    hits = {1000: 0, 5000: 0}
    for seed in range(24):
        curve = simulated(law, seed)
        for labels in hits:
            _, low, high = curve.at(labels)
            hits[labels] += low <= law[0] + law[1] * (labels / 500) ** -law[2] <= high
    assert min(hits.values()) >= 19, hits  # of 24; 23 are promised


def test_labels_for_a_target() -> None:
    curve = simulated((0.0, 0.2, 0.5), 3, draws=10, tested=5000, spread=1e-4)
    found = reach(curve, 0.12, 500)  # 0.2 * (n / 500)^-0.5 = 0.12 at 1389
    assert found.status == "told"
    assert found.low is not None and found.high is not None and found.labels is not None
    assert found.low < 1389 < found.high < 2500
    assert found.labels == pytest.approx(1389, rel=0.15)
    assert reach(curve, 0.3, 500).status == "reached"


def exact(share_P: NDArray[np.float64], noise: float = 0.0) -> Curve:
    rng = np.random.default_rng(0)
    shares_JP = np.tile(share_P, (8, 1)) + noise * rng.standard_normal((8, len(share_P)))
    return fit_curve(np.rint(shares_JP.clip(0, 1) * 1000).astype(int), np.full(8, 1000), SIZES)


def test_refusals_say_what_the_curve_does_not_tell() -> None:
    assert reach(exact(np.full(6, 0.3), 0.02), 0.2, 500).status == "flat"
    floor = 0.2 + 0.03 * (SIZES / 500) ** -1.0
    assert reach(exact(floor), 0.05, 500).status == "floor"
    assert reach(exact(0.5 * (SIZES / 500.0) ** -0.1), 0.2, 500).status == "far"
    noisy = 0.05 + 0.1 * (SIZES / 500) ** -0.5
    found = reach(exact(noisy, 0.015), 0.12, 500)
    assert found.status in ("open", "told")
    assert found.low is None or found.labels is None or found.low <= found.labels


def test_no_error_at_all_is_reached() -> None:
    curve = exact(np.zeros(6))
    assert reach(curve, 0.01, 500).status == "reached"
    assert curve.at(5000)[2] < 0.001


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again = simulated((0.05, 0.09, 0.5), 5), simulated((0.05, 0.09, 0.5), 5)
    assert first.laws_B3.tobytes() == again.laws_B3.tobytes()
    assert first.at(3000) == again.at(3000)


def test_overdispersion_of_binomial_counts_is_about_one_and_of_others_more() -> None:
    rng = np.random.default_rng(0)
    plain = rng.binomial(100, 0.2, (200, 4)).astype(float)
    wide = rng.binomial(100, rng.beta(2, 8, (200, 4))).astype(float)
    tested = np.full(200, 100.0)
    assert overdispersion(plain, tested) == pytest.approx(np.ones(4), abs=0.3)
    assert overdispersion(wide, tested).min() > 5


def test_a_wider_misfit_widens_only_what_lies_ahead() -> None:
    rng = np.random.default_rng(0)
    counts = rng.binomial(500, 0.05 + 0.1 * (SIZES / 500) ** -0.5, (6, 6))
    narrow, wide = (fit_curve(counts, np.full(6, 500), SIZES, misfit=m) for m in (0.0, 0.2))
    assert narrow.at(500) == wide.at(500)
    assert wide.at(5000)[2] - wide.at(5000)[1] > narrow.at(5000)[2] - narrow.at(5000)[1]


@pytest.mark.parametrize(
    ("counts", "tested", "sizes", "says"),
    [
        (np.zeros((2, 4)), [5, 5], [1, 2, 3, 4], "at least 3 draws"),
        (np.zeros((3, 3)), [5, 5, 5], [1, 2, 3], "at 4 sizes"),
        (np.zeros((3, 4)), [5, 5, 5], [1, 2, 2, 4], "rise"),
        (np.full((3, 4), 6), [5, 5, 5], [1, 2, 3, 4], "more errors"),
        (np.zeros((3, 4)), [5, 5, 0], [1, 2, 3, 4], "no item"),
    ],
)
def test_counts_that_cannot_be_are_refused(counts: object, tested: list[int], sizes: list[int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fit_curve(np.asarray(counts), np.array(tested), np.array(sizes))
    with pytest.raises(ValueError, match="target"):
        reach(simulated((0.05, 0.09, 0.5), 0), 1.5, 500)
