"""The quick look at vectors, and how well it foretold."""

from __future__ import annotations

import numpy as np
import pytest

from graft.metrics.rank import spearman
from graft.planning.expectation import Expected
from graft.planning.foretold import check, foretell, ground_of
from graft.planning.probe import MOST_ITEMS, by_luck, probe
from graft.results import Interval, StrategyResult
from graft.strategies.frozen import Task

RNG = np.random.default_rng(0)


def blobs(each: int, classes: int = 3, apart: float = 4.0) -> tuple[np.ndarray, np.ndarray, Task]:
    y_N = np.repeat(np.arange(classes), each)
    x_ND = (RNG.normal(size=(len(y_N), 8)) + apart * np.eye(classes, 8)[y_N]).astype(np.float32)
    return x_ND, y_N, Task(classes, np.eye(classes, 8, dtype=np.float32))


def test_it_sees_what_is_easy_and_what_is_chance() -> None:
    easy, noise = (probe(*blobs(40, apart=apart), np.arange(120)) for apart in (6.0, 0.0))
    assert easy.mean("kernel-probe") > 0.95 and easy.hits is not None and easy.hits > 0.9
    assert noise.mean("kernel-probe") < 0.55
    assert easy.labels_a_class == 32 and len(easy.scores["prototypes"]) == 5


def test_luck_is_what_shuffled_labels_would_give() -> None:
    easy, noise = (probe(*blobs(40, apart=apart), np.arange(120)) for apart in (6.0, 0.0))
    assert easy.p == 1 / 200 and noise.p > 0.05
    answers = np.array([[0, 1, 1, 0], [0, 1, 1, 1]])
    assert by_luck([(answers, np.array([0, 1, 1, 1]))], np.random.default_rng(0)) == pytest.approx(0.25, abs=0.07)
    assert by_luck([(answers, np.array([1, 0, 0, 0]))], np.random.default_rng(0)) == 1.0


def test_same_seed_same_figures_and_no_more_items_than_it_needs() -> None:
    x_ND, y_N, task = blobs(400)
    first, again = (probe(x_ND, y_N, task, np.arange(len(y_N)), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.scores["kernel-probe"], again.scores["kernel-probe"])
    assert first.items == MOST_ITEMS


def test_without_folds_the_names_alone_speak() -> None:
    x_ND, y_N, task = blobs(1)
    found = probe(x_ND, y_N, task, np.arange(3))
    assert not found.scores and found.hits is not None
    assert probe(x_ND, y_N, Task(3), np.arange(3)).hits is None


def test_copies_count_once() -> None:
    x_ND, y_N, task = blobs(20)
    copies = ground_of(x_ND, y_N, task, y_N, modality="text", seed=0)
    assert copies.labels == 1 and copies.probe is not None and copies.probe.items == 3 and not copies.probe.scores
    assert ground_of(x_ND, y_N, task, np.arange(60), modality="text", seed=0).labels == 20


def measured(name: str, right: float, status: str = "measured", rung: int = 1) -> StrategyResult:
    return StrategyResult(
        name, rung, status, metrics={"accuracy": Interval(right, None, None, 5)} if status == "measured" else {}
    )


def test_what_was_expected_is_set_beside_what_was_measured() -> None:
    expected = {
        "prototypes": Expected(0.8, 0.7, 0.9),
        "kernel-probe": Expected(0.802, 0.7, 0.9),
        "linear-probe": Expected(0.6, 0.5, 0.7),
    }
    results = [
        measured("prototypes", 0.95),
        measured("kernel-probe", 0.9, rung=4),
        measured("linear-probe", 0.5, rung=5),
        measured("lora", 0, "skipped"),
    ]
    found = check(expected, results, results[1], {"accuracy": Interval(0.8, 0.7, 0.9, 50)})
    assert found is not None and found.top == "prototypes" and found.measured_on == "folds" and not found.held
    assert found.strategies == 3 and found.rank_correlation == pytest.approx(0.5)
    tested = check(expected, results, results[0], {"accuracy": Interval(0.8, 0.7, 0.9, 50)})
    assert tested is not None and tested.measured_on == "test" and tested.held
    assert check({}, results, None, None) is None


def test_spearman_is_scipys() -> None:
    from scipy.stats import spearmanr

    for _ in range(5):
        a, b = RNG.integers(0, 6, 20), RNG.integers(0, 6, 20)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(np.ones(3), np.arange(3)) is None


def test_foretelling_is_the_same_every_time() -> None:
    x_ND, y_N, task = blobs(30, apart=2.0)
    first, again = (foretell(x_ND, y_N, task, np.arange(90), modality="image", seed=1) for _ in range(2))
    assert first == again and "linear-probe" in first
