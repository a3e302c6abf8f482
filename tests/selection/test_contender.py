"""Contenders against one another: paired gains known from scipy and by hand, shares of the way, what is reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import f1_score
from tests.selection.climbing import N, every, ground_of, logits_of, wrong

from graft.heads.base import LOW, log_softmax
from graft.metrics.classify import macro_f1
from graft.results import Interval, TrainingRecord
from graft.selection.contender import Contender, answers, paired_items
from graft.selection.trials import Fold
from graft.strategies.trained import TRAINED

Y = np.arange(N) % 2


def ends(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Student's t interval of a mean, by scipy."""
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(values.mean()), float(low), float(high)


def told(found: Interval) -> tuple[float, float | None, float | None]:
    return found.value, found.low, found.high


def made(metric: str = "accuracy", **wrong_by_share: NDArray[np.bool_]) -> Contender:
    """A contender on all folds, with the errors it makes the whole way and at half of it."""
    ground = ground_of(every(2), metric=metric)
    found = Contender("lora", {}, *answers(ground), metric, (1.0, 0.5)[: len(wrong_by_share)])
    for fold, (_, held) in enumerate(ground.plan.folds):
        found.logits[fold] = np.stack([logits_of(Y, mask)[held] for mask in wrong_by_share.values()])
    found.settle()
    return found


def test_accuracy_on_one_split_is_students_t_over_the_items() -> None:
    mine, theirs = logits_of(Y, every(10)), logits_of(Y, every(4))
    gained = np.zeros(N)
    gained[every(4) & ~every(10)], gained[every(10) & ~every(4)] = 1, -1
    found = paired_items(mine, theirs, Y, "accuracy")
    assert told(found) == pytest.approx(ends(gained)) and found.n == N
    assert found.value == pytest.approx(0.15)


def test_log_loss_on_one_split_is_told_with_each_at_its_own_temperature() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(N, 2)).astype(np.float32) + logits_of(Y, wrong())
    other = rng.normal(size=(N, 2)).astype(np.float32) + logits_of(Y, every(10))
    found = paired_items(logits, other, Y, "log_loss")
    grid = np.exp(np.linspace(-3.9, 3.9, 4001))

    def losses(given: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = np.arange(N)
        by_temperature = [
            -log_softmax(given / t)[rows, Y].sum() + np.log(t) ** 2 / 2 for t in grid
        ]  # with the pull towards 1 of graft's scaling
        return np.asarray(-log_softmax(given / grid[np.argmin(by_temperature)])[rows, Y])

    assert told(found) == pytest.approx(ends(losses(other) - losses(logits)), rel=1e-3)
    assert found.value > 0
    scaled = paired_items(10 * logits, other, Y, "log_loss")
    assert scaled.value == pytest.approx(found.value, abs=0.01)  # how loud a classifier is says nothing


def test_macro_f1_on_one_split_is_scikit_learns_with_the_percentiles_of_drawn_items() -> None:
    y_V = np.arange(60) % 3
    rng = np.random.default_rng(1)
    mine, theirs = (logits_of(y_V, rng.random(60) < share, 3) for share in (0.1, 0.5))
    guesses = [logits.argmax(axis=1) for logits in (mine, theirs)]
    found = paired_items(mine, theirs, y_V, "macro_f1")
    value = f1_score(y_V, guesses[0], average="macro") - f1_score(y_V, guesses[1], average="macro")
    assert found.value == pytest.approx(value)
    drawn = [rng.integers(0, 60, 60) for _ in range(1000)]
    gaps = [macro_f1(y_V[d], guesses[0][d]) - macro_f1(y_V[d], guesses[1][d]) for d in drawn]
    low, high = np.quantile(gaps, [0.025, 0.975])
    assert told(found)[1:] == pytest.approx((low, high), abs=0.03)
    assert told(paired_items(mine, mine, y_V, "macro_f1")) == (0, 0, 0)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss"])
def test_a_gain_turns_its_sign_when_seen_from_the_other_side(metric: str) -> None:
    mine, theirs = logits_of(Y, every(20)), logits_of(Y, every(5))
    one, other = paired_items(mine, theirs, Y, metric), paired_items(theirs, mine, Y, metric)
    assert one.low is not None and one.high is not None and one.low > 0
    assert told(other) == pytest.approx((-one.value, -one.high, -one.low))


def test_on_folds_the_gain_is_the_corrected_resampled_t() -> None:
    ground = ground_of(wrong())
    base = Contender("base", {}, *answers(ground), "accuracy")
    theirs = every(5)
    mine = theirs & ~wrong(0, 5, 20, 40, 45, 50, 80)  # two, one, three, none and one mistake fewer
    for fold, (_, held) in enumerate(ground.plan.folds):
        base.logits[fold] = logits_of(Y, theirs)[None, held]
    base.settle()
    found = made(whole=mine).gain_over(base, ground)
    gaps = np.array([2, 1, 3, 0, 1]) / 20
    half = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + 20 / 80) * gaps.var(ddof=1))
    assert told(found) == pytest.approx((gaps.mean(), gaps.mean() - half, gaps.mean() + half)) and found.n == 5


def test_only_folds_that_both_were_run_on_are_compared() -> None:
    ground = ground_of(wrong())
    whole, one = made(whole=every(5)), made(whole=every(20)).on([1])
    found = one.gain_over(whole, ground)
    held = ground.plan.folds[1][1]
    assert found == paired_items(logits_of(Y, every(20))[held], logits_of(Y, every(5))[held], Y[held], "accuracy")
    assert found.n == 20
    back = whole.gain_over(one, ground)
    assert back.value == pytest.approx(-found.value)


def test_a_class_that_could_not_be_learned_does_not_weigh_in_log_loss() -> None:
    """What a head gives a class that it has never seen is arbitrary."""
    y_N = np.arange(N) % 2
    y_N[[3, 7]] = 2
    ground = replace(ground_of(wrong(), y_N=np.arange(N) % 2), metric="log_loss", y_N=y_N)
    contenders = []
    for floor in (LOW, LOW / 3):
        found = Contender("x", {}, *answers(ground), "log_loss")
        logits = np.full((N, 3), floor, np.float32)
        logits[:, :2] = log_softmax(logits_of(Y, every(10)))
        found.logits[0] = logits[None, ground.plan.folds[0][1]]
        found.settle()
        contenders.append(found)
    one, other = contenders
    assert not one.known[0][3] and one.known[0].sum() == 18
    gain = one.gain_over(other, ground)
    assert gain.value == pytest.approx(0, abs=0.01) and gain.n == 18
    result = one.on([0])
    result.record = TrainingRecord("x")
    loss = result.result(ground, TRAINED["finetune"], gain, "base", {"fold": 1.0}).metrics["log_loss"]
    assert loss.low is not None and loss.high is not None and loss.low < loss.value < loss.high < 2


@pytest.mark.parametrize("loud", [0.05, 1.0, 20.0])
def test_a_log_loss_on_one_split_lies_within_its_interval(loud: float) -> None:
    rng = np.random.default_rng(0)
    ground = ground_of(wrong(), metric="log_loss")
    found = Contender("lora", {}, *answers(ground), "log_loss")
    noisy = rng.normal(size=(N, 2)).astype(np.float32) + logits_of(Y, every(6)) / 2
    found.logits[0] = (loud * noisy[None, :20]).astype(np.float32)
    found.settle()
    found.record = TrainingRecord("lora")
    loss = found.result(ground, TRAINED["finetune"], Interval(0, 0, 0, 2), "base", {"fold": 1.0}).metrics["log_loss"]
    assert loss.low is not None and loss.high is not None
    assert 0 < loss.low < loss.value < loss.high < 1.5


def test_the_share_is_chosen_by_the_other_folds_and_never_by_one_alone() -> None:
    found = made(whole=every(5), half=every(10))
    assert found.share == 0.5 and found.place == 1
    np.testing.assert_allclose(found.scores["accuracy"], 0.9)
    assert found.on([2]).share == 1.0
    np.testing.assert_allclose(found.on([2]).scores["accuracy"], 0.8)
    assert found.share == 0.5 and len(found.logits) == 5  # what was taken of it left it alone


def test_what_is_reported() -> None:
    ground = ground_of(every(2))
    found = made(whole=every(5), half=every(10))
    found.record = TrainingRecord("lora", memory_mb=7.0, recipe={"epochs": 3})
    found.seconds = 12.0
    gain = found.gain_over(Contender.of_base(ground, range(5)), ground)
    result = found.result(ground, TRAINED["lora"], gain, "prototypes", {"fold": 2.0})
    assert (result.status, result.rung, result.gain_over, result.seconds, result.memory_mb) == (
        "measured",
        TRAINED["lora"].rung,
        "prototypes",
        12.0,
        7.0,
    )
    assert result.settings == {"epochs": 3, "share": 0.5}
    assert told(result.metrics["accuracy"]) == pytest.approx((0.9, 0.9, 0.9)) and result.metrics["accuracy"].n == 5
    assert result.metrics["log_loss"].value > 0
    assert result.gain is not None and result.gain.value == pytest.approx(0.4)
    record = result.training
    assert record is not None
    assert (record.measured_on, record.folds, record.predicted_seconds) == ("folds", 5, 10.0)
    np.testing.assert_allclose(record.interpolation, [(0.5, 0.9), (1.0, 0.8)])


def test_the_base_is_asked_on_the_folds_that_are_run_alone() -> None:
    asked: list[int] = []
    ground = ground_of(every(4))

    def answer(fold: Fold) -> NDArray[np.float32]:
        asked.append(int(fold[1][0]))
        return ground.base(fold)

    counted = replace(ground, base=answer)
    base = Contender.of_base(counted, [0, 2])
    assert asked == [0, 40] and sorted(base.logits) == [0, 2]
    assert base.name == "prototypes"
    np.testing.assert_allclose(base.scores["accuracy"], 0.75)
