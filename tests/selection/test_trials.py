"""Fold scores known by hand, and that no fold has a say in its own setting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss

from graft.selection.trials import TEMPERATURES, FoldScores, Plan, cross_fitted, measure, score
from graft.strategies.frozen import STRATEGIES, Task


def raw(accuracy_FS: list[list[float]]) -> FoldScores:
    """Fold scores with these shares right, and a log loss that is the same everywhere."""
    accuracy = np.array(accuracy_FS)
    return FoldScores(accuracy, accuracy, np.ones((*accuracy.shape, len(TEMPERATURES))))


def test_the_other_folds_choose() -> None:
    # Fold 0: the others prefer setting 0 (.8 + .6 against .5 + .7), and so on; all together prefer setting 1 (2.1 against 1.6).
    scores, best = cross_fitted(raw([[0.2, 0.9], [0.8, 0.5], [0.6, 0.7]]), 3, "accuracy")
    np.testing.assert_allclose(scores["accuracy"], [0.2, 0.5, 0.7])
    assert best == 1


def test_other_repeats_have_no_say() -> None:
    # In the first repeat fold 1 prefers setting 0 and fold 0 setting 1; the second repeat, left alone, would decide otherwise.
    scores, best = cross_fitted(raw([[0.1, 0.9], [0.9, 0.1], [0.0, 1.0], [0.0, 1.0]]), 2, "accuracy")
    np.testing.assert_allclose(scores["accuracy"], [0.1, 0.1, 1.0, 1.0])
    assert best == 1


def test_many_useless_settings_do_not_look_useful() -> None:
    rng = np.random.default_rng(0)
    chance = [rng.normal(0.5, 0.05, (10, 30)) for _ in range(100)]
    fair = np.mean([cross_fitted(raw(list(c)), 10, "accuracy")[0]["accuracy"].mean() for c in chance])
    picked = np.mean([c.mean(axis=0).max() for c in chance])
    assert fair == pytest.approx(0.5, abs=0.01)
    assert picked > 0.52


def test_temperature_is_the_choice_of_the_other_folds() -> None:
    shape = (2, 1, len(TEMPERATURES))
    loss_FST = np.ones(shape)
    loss_FST[0, 0, 3], loss_FST[1, 0, 5] = 0.2, 0.4
    scores, _ = cross_fitted(FoldScores(np.ones((2, 1)), np.ones((2, 1)), loss_FST), 2, "log_loss")
    np.testing.assert_allclose(scores["log_loss"], [-1.0, -1.0])  # each takes the other's temperature
    loss_FST[0, 0, 5] = 0.3
    scores, _ = cross_fitted(FoldScores(np.ones((2, 1)), np.ones((2, 1)), loss_FST), 2, "log_loss")
    np.testing.assert_allclose(scores["log_loss"], [-0.3, -1.0])


def test_scores_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    logits_SVC = rng.normal(size=(3, 40, 5)).astype(np.float32) * 3
    y_V = rng.integers(0, 4, 40)
    accuracy_S, macro_f1_S, log_loss_ST = score(logits_SVC, y_V)
    for s, logits_VC in enumerate(logits_SVC):
        guess_V = logits_VC.argmax(axis=1)
        assert accuracy_S[s] == pytest.approx((guess_V == y_V).mean())
        assert macro_f1_S[s] == pytest.approx(f1_score(y_V, guess_V, average="macro"))
        for t in (8, 14, 20):
            p_VC = np.exp(logits_VC / np.float64(TEMPERATURES[t]))
            p_VC /= p_VC.sum(axis=1, keepdims=True)
            assert log_loss_ST[s, t] == pytest.approx(log_loss(y_V, p_VC.astype(np.float64), labels=range(5)), rel=1e-3)


def test_out_of_fold_logits_come_from_heads_that_had_not_seen_the_item() -> None:
    rng = np.random.default_rng(0)
    x_ND = rng.normal(size=(24, 6)).astype(np.float32)  # nothing to learn: a head is right about what it has seen alone
    y_N = np.arange(24) % 3
    folds = tuple((np.setdiff1d(np.arange(24), held), held) for held in np.arange(24).reshape(4, 6))
    trial = measure(
        STRATEGIES["neighbours"], x_ND, y_N, Task(3), Plan(folds, 4, 1), metric="accuracy", over=lambda: False
    )
    assert trial is not None
    assert trial.oof_NC.shape == (24, 3)
    assert (trial.oof_NC.argmax(axis=1) == y_N).mean() < 0.7
    assert trial.memory_mb > 0
    assert (
        measure(STRATEGIES["neighbours"], x_ND, y_N, Task(3), Plan(folds, 4, 1), metric="accuracy", over=lambda: True)
        is None
    )
