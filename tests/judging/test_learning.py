"""Queries learned from examples: what they must find, and what they must refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graft.errors import DataError
from graft.heads.base import unit_rows
from graft.judging.learning import LearnedQueries, learned_queries, mlp_queries, prototypes
from graft.metrics.rank import accuracy_at


def clouds(n: int, *, seed: int) -> tuple[Any, Any]:
    """Four kinds, told apart by two of eight dims; a loud disturbance lies on the first, and alone on the third, where it can be read off."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 4
    x = 0.2 * rng.normal(size=(n, 8))
    disturbance = 2 * rng.normal(size=n)
    x[:, 0] += np.array([1, -1, 1, -1])[y] + disturbance
    x[:, 1] += np.array([1, 1, -1, -1])[y]
    x[:, 2] += disturbance
    return x.astype(np.float32), y


def share(queries: LearnedQueries, x: Any, y: Any, second: Any = None) -> float:
    """Accuracy at 8 of 10 of a kind's items."""
    k = len(y) // 5
    top = np.argsort(-queries.scores(x, second), axis=1)[:, :k]
    return float(accuracy_at(y[top] == np.arange(4)[:, None], k).mean())


def test_learned_queries_find_what_prototypes_miss() -> None:
    x, y = clouds(200, seed=0)
    new, labels = clouds(400, seed=1)
    learned = share(learned_queries(x, y, 4), new, labels)
    assert learned > 0.95
    assert learned > share(LearnedQueries(prototypes(x, y, 4)), new, labels) + 0.02


def test_a_second_view_and_texts_add_what_they_know() -> None:
    x, y = clouds(200, seed=0)
    blind = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    view = np.eye(4, dtype=np.float32)[y]
    assert share(learned_queries(blind, y, 4, second_NM=view), blind, y, view) == 1.0
    without = learned_queries(blind, y, 4, second_NM=view)
    told = learned_queries(blind, y, 4, second_NM=view, text_QM=np.eye(4), text_weight=5.0)
    assert told.second_QM is not None
    assert without.second_QM is not None
    np.testing.assert_allclose(told.second_QM - without.second_QM, 5 * np.eye(4), atol=1e-4)


def test_prototypes_by_hand() -> None:
    x = np.array([[2.0, 0.0], [0.0, 5.0], [0.0, 1.0]])
    half = 1 / np.sqrt(2)
    np.testing.assert_allclose(prototypes(x, np.array([0, 1, 1]), 2), [[half, -half], [-half, half]], atol=1e-6)


def test_the_network_sends_texts_near_their_examples() -> None:
    x, y = clouds(200, seed=0)
    x[:, 0] -= x[:, 2]
    x[:, 2] = 0
    queries = mlp_queries(unit_rows(np.random.default_rng(0).normal(size=(4, 5))), x, y, hidden=32, steps=600)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    assert share(LearnedQueries(queries), x, y) > 0.95


def test_impossible_examples_are_refused() -> None:
    x, y = clouds(20, seed=0)
    with pytest.raises(DataError, match="unequal length"):
        learned_queries(x[1:], y, 4)
    with pytest.raises(DataError, match="at least two queries"):
        learned_queries(x, np.zeros(20, np.int64), 4)
    x[0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        learned_queries(x, y, 4)
