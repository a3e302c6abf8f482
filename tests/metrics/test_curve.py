"""The power law is found where it was planted, its interval covers the truth, and what a curve does not tell is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from graft.metrics.curve import (
    EXPERIENCE,
    Curve,
    Experience,
    fit_curve,
    fit_laws,
    overdispersion,
    reach,
    resampled,
    weights,
)

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


def flat(deviation: float = 100.0) -> Experience:
    """Experience that says all but nothing."""
    return Experience((-0.5, 0.0), (deviation, deviation), 0.0)


@pytest.mark.parametrize("law", [(0.05, 0.09, 0.5), (0.004, 0.12, 0.4), (0.1, 0.02, 0.9), (0.2, 0.1, 1.5)])
def test_a_planted_law_is_found_from_exact_shares(law: tuple[float, float, float]) -> None:
    relative_P = SIZES / 500
    share_P = law[0] + law[1] * relative_P ** -law[2]
    precision = np.linalg.inv(flat().covariance())
    (found,) = fit_laws(relative_P, share_P[None, :], np.full(len(SIZES), 1e6), np.zeros((1, 2)), precision)
    assert found[:2] == pytest.approx(law[:2], abs=0.02)
    assert found[2] == pytest.approx(law[2], abs=0.06)


def test_experience_weighs_against_counts_as_bayes_says() -> None:
    # two sizes tell one slope, which many pairs of floor and exponent give: the one nearest to the experience is chosen, and without items it alone
    relative_P, mean = np.array([0.5, 1.0]), np.array([[np.log(0.7), 0.0]])
    precision = np.linalg.inv(Experience((0, 0), (0.3, 1.0), 0.0).covariance())
    share_P = 0.1 * (0.5 + 0.5 * relative_P**-0.7)
    (sure,) = fit_laws(relative_P, share_P[None, :], np.full(2, 2e4), mean, precision)
    assert sure == pytest.approx([0.05, 0.05, 0.7], abs=0.01)
    steeper_P = 0.1 * (0.2 + 0.8 * relative_P**-1.2)
    (unsure,) = fit_laws(relative_P, steeper_P[None, :], np.full(2, 1e-3), mean, precision)
    assert unsure[2] == pytest.approx(0.7, abs=0.01)
    assert unsure[0] / (unsure[0] + unsure[1]) == pytest.approx(0.5, abs=0.01)


def test_experience_narrows_what_few_counts_leave_open() -> None:
    rng = np.random.default_rng(2)
    counts = rng.binomial(50, 0.05 + 0.09 * (SIZES / 500) ** -0.5, (10, len(SIZES)))
    wide, narrow = (fit_curve(counts, np.full(10, 50), SIZES, known=known) for known in (flat(3.0), EXPERIENCE))
    at_ten = [curve.gain(5000, 500) for curve in (wide, narrow)]
    assert at_ten[1][2] - at_ten[1][1] < 0.8 * (at_ten[0][2] - at_ten[0][1])
    assert all(low < 0.09 * (1 - 10**-0.5) < high for _, low, high in at_ten)


def test_a_planted_law_is_found_from_many_counts() -> None:
    curve = simulated((0.05, 0.09, 0.5), 1, draws=20, tested=20_000, spread=1e-5)
    assert curve.law == pytest.approx([0.05, 0.09, 0.5], abs=0.1)
    assert curve.at(1000)[0] == pytest.approx(0.05 + 0.09 * 2**-0.5, abs=0.004)
    low, high = curve.exponent()[1:]
    assert low < 0.5 < high


def test_a_gain_is_known_better_than_the_errors_it_is_the_difference_of() -> None:
    law = (0.05, 0.09, 0.5)
    hits = 0
    for seed in range(16):
        curve = simulated(law, seed, tested=50)
        value, low, high = curve.gain(1000, 500)
        assert value == pytest.approx(curve.at(500)[0] - curve.at(1000)[0])
        assert high - low < 0.7 * (curve.at(1000)[2] - curve.at(1000)[1])
        hits += low <= 0.09 * (1 - 2**-0.5) <= high
    assert hits >= 14


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
    curve = simulated((0.04, 0.16, 0.5), 3, draws=10, tested=5000, spread=1e-4)
    found = reach(curve, 0.15, 500)  # 0.04 + 0.16 * (n / 500)^-0.5 = 0.15 at 1058
    assert found.status == "told"
    assert found.low is not None and found.high is not None and found.labels is not None
    assert found.low < 1058 < found.high < 2500
    assert found.labels == pytest.approx(1058, rel=0.1)
    assert reach(curve, 0.3, 500).status == "reached"


def exact(share_P: NDArray[np.float64], noise: float = 0.0) -> Curve:
    rng = np.random.default_rng(0)
    shares_JP = np.tile(share_P, (8, 1)) + noise * rng.standard_normal((8, len(share_P)))
    return fit_curve(np.rint(shares_JP.clip(0, 1) * 1000).astype(int), np.full(8, 1000), SIZES)


def test_refusals_say_what_the_curve_does_not_tell() -> None:
    assert reach(exact(np.full(6, 0.3), 0.02), 0.2, 500).status == "flat"
    assert reach(exact(0.5 * (SIZES / 500.0) ** -0.2), 0.27, 500).status == "far"
    few = simulated((0.12, 0.05, 0.6), 2, tested=30)
    found = reach(few, 0.14, 500)
    assert (found.status, found.low, found.high) == ("open", 500, None)


def test_a_number_may_have_no_upper_end() -> None:
    curve = simulated((0.12, 0.05, 0.6), 0, tested=50)
    found = reach(curve, 0.14, 500)  # 0.12 + 0.05 * (n / 500)^-0.6 = 0.14 at 2302
    assert (found.status, found.high) == ("told", None)
    assert found.low is not None and found.labels is not None
    assert 500 < found.low < 2302
    assert found.low < found.labels < 5000


def test_no_error_at_all_is_reached() -> None:
    curve = exact(np.zeros(6))
    assert reach(curve, 0.01, 500).status == "reached"
    assert curve.at(5000)[0] == 0.0
    assert 0 < curve.at(5000)[2] < 0.001  # none of 8,000 is not none at all


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


def test_more_labels_never_harm() -> None:
    curve = simulated((0.12, 0.005, 0.5), 1, tested=2000)
    assert all(curve.gain(times * 500, 500)[1] >= 0 for times in (1, 1.5, 2, 10))
    assert max(curve.at(n)[2] for n in (600, 1000, 5000)) <= curve.at(500)[2]


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


def test_resamples_scatter_as_counts_do_even_where_draws_agree() -> None:
    rng, tested_J, number_P = np.random.default_rng(0), np.full(10, 50.0), np.full(1, 500.0)
    agreeing = np.tile([[4.0], [6.0]], (5, 1))  # variance 1.1, where that of counts is 4.5
    assert resampled(agreeing, tested_J, number_P, rng, 4000).std() == pytest.approx(np.sqrt(0.1 * 0.9 / 500), rel=0.1)
    none = resampled(np.zeros((10, 1)), tested_J, number_P, rng, 4000)
    assert np.quantile(none, 0.95) == pytest.approx(
        3.84 / 2 / 500, rel=0.15
    )  # chi squared: Jeffreys' upper end for no error


def test_small_sizes_weigh_less_the_further_they_lie_below() -> None:
    relative_P, share_P, number_P = np.array([0.1, 1.0]), np.array([0.3, 0.1]), np.full(2, 500.0)
    found = weights(relative_P, share_P, number_P, 0.1)
    # variance of the log error: 0.7 / (0.3 * 500) of the count and (0.1 * ln 10)^2 of the law
    assert found[0] == pytest.approx(0.7 / 0.3 / (0.7 / (0.3 * 500) + (0.1 * np.log(10)) ** 2))
    assert found[1] == 500
    assert weights(relative_P, share_P, number_P, 0.0).tolist() == [500, 500]
