"""What every strategy of the ladder must do, whoever wrote it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from graft.heads.base import Head, unit_rows
from graft.strategies.frozen import STRATEGIES, Bridge, Strategy, Task, head_from_state

CLASSES, DIMS = 4, 12


def points(seed: int, n: int = 60) -> tuple[NDArray[np.float32], NDArray[np.int64], Task]:
    """Items around four directions, and names near those directions."""
    rng = np.random.default_rng(seed)
    centres_CD = np.eye(CLASSES, DIMS) + 0.3
    y_N = np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, n - CLASSES)])
    x_ND = (centres_CD[y_N] + 0.25 * rng.normal(size=(n, DIMS))).astype(np.float32)
    names_CD = unit_rows(centres_CD + 0.1 * rng.normal(size=centres_CD.shape))
    return x_ND, y_N, Task(CLASSES, names_CD, "text")


@pytest.fixture(params=list(STRATEGIES.values()), ids=list(STRATEGIES))
def strategy(request: pytest.FixtureRequest) -> Strategy:
    found: Strategy = request.param
    return found


def path(strategy: Strategy, seed: int = 0) -> tuple[list[Head], tuple[Any, ...]]:
    x_ND, y_N, task = points(seed)
    settings = strategy.settings(np.bincount(y_N, minlength=CLASSES))
    return strategy.fit_path(x_ND, y_N, task, settings), settings


def test_it_runs_here(strategy: Strategy) -> None:
    _, y_N, task = points(0)
    assert strategy.refusal(task, np.bincount(y_N)) is None


def test_settings_are_distinct_plain_json(strategy: Strategy) -> None:
    for counts in ([5, 5, 5, 5], [50, 2, 5, 5], [1, 1, 1, 1]):
        settings = strategy.settings(np.array(counts))
        assert settings
        assert json.loads(json.dumps(settings)) == [dict(s) for s in settings]
        assert len({json.dumps(s, sort_keys=True) for s in settings}) == len(settings)


def test_the_path_has_a_head_for_each_setting_in_order(strategy: Strategy) -> None:
    x_ND, y_N, task = points(0)
    heads, settings = path(strategy)
    assert len(heads) == len(settings)
    for head, setting in zip(heads, settings, strict=True):
        (alone,) = strategy.fit_path(x_ND, y_N, task, [setting])
        np.testing.assert_allclose(alone.logits(x_ND), head.logits(x_ND), rtol=1e-2, atol=2e-2)


def test_every_head_tells_easy_classes_apart(strategy: Strategy) -> None:
    x_ND, y_N, _ = points(1)
    for head in path(strategy)[0]:
        logits_NC = head.logits(x_ND)
        assert logits_NC.shape == (len(x_ND), CLASSES)
        assert logits_NC.dtype == np.float64
        assert np.isfinite(logits_NC).all()
        assert (logits_NC.argmax(axis=1) == y_N).mean() > 0.8


def test_the_same_data_give_the_same_bits(strategy: Strategy) -> None:
    x_ND, _, _ = points(1)
    for first, second in zip(path(strategy)[0], path(strategy)[0], strict=True):
        np.testing.assert_array_equal(first.logits(x_ND), second.logits(x_ND))


def test_state_goes_round(strategy: Strategy) -> None:
    x_ND, _, _ = points(1)
    for head in path(strategy)[0]:
        arrays, config = head.state()
        again = head_from_state(strategy.name, {k: v.copy() for k, v in arrays.items()}, json.loads(json.dumps(config)))
        np.testing.assert_allclose(again.logits(x_ND), head.logits(x_ND), rtol=0, atol=1e-9)


def test_a_class_without_items_gets_low_finite_logits(strategy: Strategy) -> None:
    x_ND, y_N, task = points(0)
    some = y_N != 2
    counts_C = np.bincount(y_N[some], minlength=CLASSES)
    assert strategy.refusal(task, counts_C) is None
    for head in strategy.fit_path(x_ND[some], y_N[some], task, strategy.settings(counts_C)):
        assert np.isfinite(head.logits(x_ND)).all()


def test_zero_shot_scores_pictures_over_the_bridge() -> None:
    rng = np.random.default_rng(0)
    bridge = Bridge(
        rng.normal(size=(9, DIMS)).astype(np.float32), np.zeros(9, np.float32), rng.uniform(-1, 1, (CLASSES, 9))
    )
    task = Task(CLASSES, unit_rows(rng.normal(size=(CLASSES, DIMS))), "bridge", bridge)
    x_ND = rng.normal(size=(5, DIMS)).astype(np.float32)
    (head,) = STRATEGIES["zero-shot"].fit_path(x_ND, np.zeros(5, np.int64), task, [{}])
    (named,) = STRATEGIES["zero-shot"].fit_path(x_ND, np.zeros(5, np.int64), Task(CLASSES, task.names_CD, "text"), [{}])
    assert np.abs(head.logits(x_ND) - named.logits(x_ND)).max() > 0.1
    arrays, config = head.state()
    np.testing.assert_allclose(head_from_state("zero-shot", arrays, config).logits(x_ND), head.logits(x_ND), atol=1e-9)
