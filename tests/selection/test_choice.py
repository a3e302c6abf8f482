"""The choice, on scores made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from graft.results import Interval
from graft.selection.choice import (
    Standing,
    Wording,
    choose,
    choose_unmeasured,
    explain,
    worth_taking,
)
from graft.strategies.expected import ALIKE, PSEUDO_ITEMS, advantage
from graft.strategies.frozen import STRATEGIES

SIZES = (900.0, 100.0)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 0.01, 10)


def standing(name: str, mean: float, wobble: float = 0.0, names: bool = True) -> Standing:
    """Scores that share their ups and downs with the other strategies' but for `wobble`."""
    own = wobble * np.array([1, -1] * 5)
    return Standing(name, STRATEGIES[name].rung, "e", mean + NOISE - NOISE.mean() + own, 1.0, names)


def test_many_items_the_best_mean_wins() -> None:
    standings = [standing("prototypes", 0.80), standing("linear-probe", 0.85), standing("kernel-probe", 0.83)]
    assert choose(standings, items=100_000, labels_a_class=1000, sizes=SIZES).chosen == 1


def test_of_two_alike_the_cheaper_is_taken() -> None:
    standings = [standing("kernel-probe", 0.850, 0.01), standing("linear-probe", 0.853)]
    found = choose(standings, items=100_000, labels_a_class=1000, sizes=SIZES)
    assert (found.chosen, found.best) == (0, 1)


def test_half_a_point_that_can_be_told_apart_is_worth_it() -> None:
    standings = [standing("kernel-probe", 0.850), standing("linear-probe", 0.853)]  # the same gap on every fold
    assert choose(standings, items=100_000, labels_a_class=1000, sizes=SIZES).chosen == 1


def test_more_than_half_a_point_is_worth_it_even_if_not_told_apart() -> None:
    standings = [standing("kernel-probe", 0.850, 0.05), standing("linear-probe", 0.862)]
    assert choose(standings, items=100_000, labels_a_class=1000, sizes=SIZES).chosen == 1


def test_few_items_are_shrunk_as_documented() -> None:
    standings = [standing("linear-probe", 0.62, 0.1), standing("named-linear-probe", 0.60)]
    found = choose(standings, items=20, labels_a_class=5, sizes=SIZES)
    ahead = advantage("named-linear-probe", 5, names=True)
    base = (0.62 + 0.60 - ahead) / 2
    expected = [(20 * 0.62 + PSEUDO_ITEMS * base) / (20 + PSEUDO_ITEMS)]
    expected.append((20 * 0.60 + PSEUDO_ITEMS * (base + ahead)) / (20 + PSEUDO_ITEMS))
    np.testing.assert_allclose(found.shrunk, expected)
    assert found.chosen == 1
    idle = [standing("linear-probe", 0.62, 0.1, names=False), standing("named-linear-probe", 0.62, names=False)]
    assert choose(idle, items=20, labels_a_class=5, sizes=SIZES).chosen == 0


def test_what_is_beaten_beyond_doubt_is_out_whatever_was_expected() -> None:
    standings = [standing("prototypes", 0.95), standing("linear-probe", 0.75, 0.01), standing("kernel-probe", 0.76)]
    assert choose(standings, items=20, labels_a_class=10, sizes=(18.0, 2.0)).chosen == 0


def test_without_folds_names_decide() -> None:
    runnable = [(name, "e") for name in STRATEGIES]
    place, why = choose_unmeasured(runnable, {"e": True})
    assert runnable[place][0] == "named-prototypes" and "mean something" in why
    place, why = choose_unmeasured(runnable, {"e": False})
    assert runnable[place][0] == "linear-probe" and "too little" in why
    place, why = choose_unmeasured([("prototypes", "e"), ("linear-probe", "e")], {})
    assert place == 1 and "name" not in why


def test_the_reasons_name_figures_and_rivals() -> None:
    standings = [standing("kernel-probe", 0.850, 0.01), standing("linear-probe", 0.853), standing("prototypes", 0.7)]
    choice = choose(standings, items=100_000, labels_a_class=1000, sizes=SIZES)
    text = explain(standings, choice, Wording("accuracy", SIZES, False), ["named-linear-probe"])
    assert text.startswith("Kernel-probe was chosen: 85.0 % (")
    assert "0.3 points" in text and "below linear-probe" in text and "the cheaper was taken" in text
    assert "The time budget ran out before named-linear-probe was measured." in text
    assert "prototypes" not in text.split("cannot be told apart from")[-1]


def test_shares_in_words_stay_within_their_range() -> None:
    sure = Standing("linear-probe", 4, "e", np.array([1.0, 1.0, 0.9, 1.0, 1.0]), 1.0)
    assert "to 100.0)" in Wording("accuracy", (80, 20), False).score(sure)
    assert (
        Wording("log_loss", (80, 20), True)
        .score(Standing("x", 0, "e", np.array([-0.5, -0.7]), 1.0))
        .startswith("log loss 0.600")
    )


def test_log_loss_is_not_shrunk_towards_points() -> None:
    standings = [standing("linear-probe", -0.97, 0.3), standing("named-linear-probe", -1.2)]
    found = choose(standings, items=20, labels_a_class=2, sizes=SIZES, metric="log_loss")
    assert found.chosen == 0 and found.shrunk == pytest.approx((-0.97, -1.2))


def test_a_gain_that_proves_nothing_is_blended_with_what_is_expected() -> None:
    """Of 200 items a loss of a point, where a gain of 1.5 points is expected: (200 x -.01 + 400 x .015) / 600 = .0067, above half a point."""
    assert ALIKE["accuracy"] == 0.005 and PSEUDO_ITEMS == 400
    unsure = Interval(-0.01, -0.1, 0.08, 200)
    assert worth_taking(unsure, 0.015, items=200, metric="accuracy")
    assert not worth_taking(unsure, 0.012, items=200, metric="accuracy")
    assert not worth_taking(unsure, 0.015, items=400, metric="accuracy")
    assert not worth_taking(unsure, 0.015, items=200, metric="log_loss")
    assert not worth_taking(Interval(-0.01, -0.02, -0.001, 200), 0.1, items=200, metric="accuracy")
    assert not worth_taking(Interval(0.01, -0.02, 0.1, 200), 0.0, items=200, metric="accuracy")
