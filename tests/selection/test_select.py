"""The ladder on vectors made for the purpose: paired folds, groups, budgets, refusals, several encoders."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from graft.errors import DataError, UsageError
from graft.heads.base import unit_rows
from graft.selection.select import Candidate, draw_plan, select
from graft.strategies.frozen import STRATEGIES, Task

CLASSES, DIMS = 4, 16


def made(n: int = 120, spread: float = 0.5, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64], Task]:
    """Items around four centres, with names near the centres."""
    rng = np.random.default_rng(seed)
    centres_CD = rng.normal(size=(CLASSES, DIMS))
    y_N = np.arange(n) % CLASSES
    x_ND = (centres_CD[y_N] + spread * rng.normal(size=(n, DIMS)) * 2).astype(np.float32)
    return x_ND, y_N, Task(CLASSES, unit_rows(centres_CD + 0.3 * rng.normal(size=centres_CD.shape)), "text")


def test_where_all_items_are_of_one_group_no_number_of_folds_is_asked_for() -> None:
    """Not "allowed are 2 to 1": there is nothing to name, and the choice says that it was not measured."""
    y_N, together = np.array([0, 1, 0, 1]), np.zeros(4, np.int64)
    assert draw_plan(y_N, together, n_folds=5) is None is draw_plan(y_N, together)


def test_every_strategy_is_measured_on_the_same_folds() -> None:
    x_ND, y_N, task = made()
    found = select([Candidate("e", x_ND, task)], y_N)
    assert [r.name for r in found.results] == list(STRATEGIES)
    for result in found.results:
        assert result.status == "measured" and set(result.metrics) == {"accuracy", "macro_f1", "log_loss"}
        for interval in result.metrics.values():
            assert interval.low is not None and interval.low <= interval.value <= (interval.high or 0)
        assert (result.versus_chosen is None) == (result.name == found.chosen)
        assert result.seconds is not None and result.memory_mb is not None and result.memory_mb > 0
    assert found.results[0].gain is None
    assert all(r.gain is not None and r.gain_over is not None for r in found.results[1:])
    held = np.concatenate([validation for _, validation in found.folds[: len(found.folds) // 2]])
    assert sorted(held.tolist()) == list(range(120))  # every item is held out once a repeat
    assert found.oof_logits_NC is not None and np.isfinite(found.oof_logits_NC).all()


def test_same_seed_same_bits_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    x_ND, y_N, task = made(60)
    runs = []
    for threads in ("1", "3"):
        monkeypatch.setenv("GRAFT_THREADS", threads)
        runs.append(select([Candidate("e", x_ND, task)], y_N, seed=3))
    one, other = runs
    assert one.chosen == other.chosen and one.oof_logits_NC is not None and other.oof_logits_NC is not None
    np.testing.assert_array_equal(one.oof_logits_NC, other.oof_logits_NC)
    for a, b in zip(one.results, other.results, strict=True):
        assert a.metrics == b.metrics and a.settings == b.settings


def test_groups_are_never_parted() -> None:
    x_ND, y_N, task = made()
    groups = np.repeat(np.arange(30), 4)
    found = select([Candidate("e", x_ND, task)], np.repeat(y_N[:30], 4), groups=groups, strategies=["prototypes"])
    for train, validation in found.folds:
        assert not set(groups[train]) & set(groups[validation])
    assert "kept together" in found.how


def test_out_of_fold_predictions_are_not_of_items_learned_from() -> None:
    """Labels that are pure chance cannot be predicted out of fold, though a nearest neighbour remembers each one it saw."""
    x_ND, _, task = made(400)
    y_N = np.random.default_rng(1).permutation(np.arange(400) % CLASSES)
    found = select([Candidate("e", x_ND, Task(CLASSES))], y_N, strategies=["neighbours"])
    assert found.oof_logits_NC is not None
    assert (found.oof_logits_NC.argmax(1) == y_N).mean() < 0.35
    assert task.n_classes == CLASSES


def test_one_label_a_class_gives_no_intervals() -> None:
    x_ND, y_N, task = made(CLASSES)
    found = select([Candidate("e", x_ND, task)], y_N)
    assert found.chosen == "named-prototypes" and found.folds == () and found.oof_logits_NC is None
    assert all(r.status == "skipped" and r.reason and not r.metrics for r in found.results)
    assert found.head.logits(x_ND).shape == (CLASSES, CLASSES)


def test_a_budget_stops_all_but_the_cheapest() -> None:
    x_ND, y_N, task = made()
    found = select([Candidate("e", x_ND, task)], y_N, budget=0.0)
    assert [r.status for r in found.results] == ["measured", *["stopped"] * 6]
    assert found.chosen == "zero-shot" and "time budget ran out" in found.why


def test_what_cannot_run_says_why() -> None:
    x_ND, y_N, _ = made()
    found = select([Candidate("e", x_ND, Task(CLASSES))], y_N)
    assert {r.name: "words" in r.reason for r in found.results if r.status == "skipped"} == {
        "zero-shot": True, "named-prototypes": True, "named-linear-probe": True,
    }  # fmt: skip
    with pytest.raises(DataError, match="words"):
        select([Candidate("e", x_ND, Task(CLASSES))], y_N, strategies=["zero-shot"])
    with pytest.raises(UsageError, match="accuracy"):
        select([Candidate("e", x_ND, Task(CLASSES))], y_N, metric="acuracy")
    with pytest.raises(UsageError, match="--folds 500"):
        select([Candidate("e", x_ND, Task(CLASSES))], y_N, folds=500)


def test_the_better_of_two_encoders_is_taken() -> None:
    x_ND, y_N, _ = made()
    noise = np.random.default_rng(5).normal(size=x_ND.shape).astype(np.float32)
    found = select(
        [Candidate("noise", noise, Task(CLASSES)), Candidate("good", x_ND, Task(CLASSES))],
        y_N,
        strategies=["linear-probe"],
    )
    assert found.encoder == "good" and "linear-probe on good" in found.why.lower()
    assert [(r.name, r.encoder) for r in found.results] == [("linear-probe", "noise"), ("linear-probe", "good")]


def test_the_head_is_refitted_on_all_items() -> None:
    x_ND, y_N, task = made()
    found = select([Candidate("e", x_ND, task)], y_N, strategies=["prototypes"])
    (same,) = STRATEGIES["prototypes"].fit_path(x_ND, y_N, task, [found.settings])
    np.testing.assert_array_equal(found.head.logits(x_ND), same.logits(x_ND))


@pytest.mark.parametrize(
    ("items", "a_class", "expected"), [(40, 10, (10, 2)), (20, 5, (5, 2)), (800, 200, (10, 1)), (2000, 500, (5, 1))]
)
def test_folds_follow_from_the_labels(items: int, a_class: int, expected: tuple[int, int]) -> None:
    plan = draw_plan(np.arange(items) % (items // a_class), None)
    assert (
        plan is not None and (plan.n_folds, plan.repeats) == expected and len(plan.folds) == expected[0] * expected[1]
    )


def test_log_loss_chooses_by_probabilities() -> None:
    x_ND, y_N, task = made(spread=0.8)
    found = select([Candidate("e", x_ND, task)], y_N, metric="log_loss", strategies=["neighbours", "linear-probe"])
    assert found.chosen == "linear-probe" and "log loss" in found.why and found.metric == "log_loss"


def test_items_whose_class_no_fold_could_learn_are_told() -> None:
    """Ninety items of three classes, and three classes of one item each: out of fold these cannot be known."""
    rng = np.random.default_rng(0)
    y_N = np.concatenate([np.arange(90) % 3, [3, 4, 5]])
    x_ND = (4 * np.eye(6, DIMS)[y_N] + rng.normal(size=(93, DIMS))).astype(np.float32)
    found = select([Candidate("e", x_ND, Task(6))], y_N, strategies=["linear-probe"])
    assert found.oof_known_N is not None and np.flatnonzero(~found.oof_known_N).tolist() == [90, 91, 92]
    assert len(found.folds) == 20  # by the classes that can be dealt to folds, not by the single items
    assert found.results[0].metrics["log_loss"].value < 0.2
