"""Propagation against its closed form, self-training where it helps, and the paired check that it did."""

from __future__ import annotations

import numpy as np
import pytest

from graft.labelling.spreading import gain, neighbour_graph, probe, propagate, self_train
from graft.store import index


def ring(n: int) -> np.ndarray:
    """Points round a circle: each is nearest to the two beside it."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_the_graph_is_symmetric_and_normalised() -> None:
    graph = neighbour_graph(ring(12), k=2).toarray()
    assert np.allclose(graph, graph.T)
    assert ((graph > 0).sum(1) == 2).all() and np.allclose(graph[graph > 0], 0.5)
    assert not neighbour_graph(np.ones((1, 3))).toarray().any()
    assert not neighbour_graph(np.zeros((4, 3)), k=2).toarray().any()


def test_propagation_is_its_closed_form() -> None:
    x = np.random.default_rng(0).standard_normal((60, 5))
    graph = neighbour_graph(x, k=5)
    start = np.zeros((60, 3))
    start[[0, 1, 2, 3], [0, 1, 2, 0]] = 1
    found = propagate(graph, start, alpha=0.8)
    closed = np.linalg.solve(np.eye(60) - 0.8 * graph.toarray(), start)
    closed *= start.sum(0) / closed.sum(0)
    assert found == pytest.approx(closed / closed.sum(1, keepdims=True), abs=1e-4)


def test_labels_spread_along_a_ring() -> None:
    """Two labels at opposite ends: every point takes the label of the nearer one."""
    start = np.zeros((24, 2))
    start[0, 0] = start[12, 1] = 1
    found = propagate(neighbour_graph(ring(24), k=2), start)
    assert found.argmax(1)[[1, 2, 3, 4, 5, 19, 20, 21, 22, 23]].tolist() == [0] * 10
    assert found.argmax(1)[7:18].tolist() == [1] * 11
    assert found.sum(1) == pytest.approx(np.ones(24))


def test_what_nothing_reaches_is_uniform() -> None:
    x = np.array([[1, 0], [1, 0.1], [0, 0], [0, 0]], np.float32)
    start = np.zeros((4, 2))
    start[0, 1] = 1
    found = propagate(neighbour_graph(x, k=1), start)
    assert found[1].tolist() == [0, 1] and found[2].tolist() == [0.5, 0.5]


def test_self_training_learns_from_what_it_is_sure_of() -> None:
    """Two long bands whose labels stand at opposite ends: the first probe cuts aslant, and straightens."""
    rng = np.random.default_rng(0)
    along = rng.uniform(-1, 1, 400) * 1.5
    y = np.repeat([0, 1], 200)
    x = np.stack([along, np.where(y == 0, -1, 1) + rng.normal(0, 0.1, 400)], 1).astype(np.float32)
    given = np.full(400, -1)
    given[[*np.argsort(along[:200])[:4], *(200 + np.argsort(-along[200:])[:4])]] = np.repeat([0, 1], 4)
    before = probe(x, given, 2).argmax(1) == y
    after = self_train(x, given, 2).argmax(1) == y
    assert before.mean() < 0.95 and after.mean() > before.mean() + 0.02


def test_self_training_without_other_items_is_the_probe() -> None:
    x, y = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32), np.arange(20) % 2
    assert self_train(x, y, 2) == pytest.approx(probe(x, y, 2))


def test_a_gain_is_paired() -> None:
    right, before = np.ones(100, bool), np.ones(100, bool)
    before[:30] = False
    found = gain(right, before)
    assert found.value == pytest.approx(0.3) and found.low is not None and found.low > 0.2 and found.n == 100
    assert gain(before, before).low == gain(before, before).high == 0
    assert gain(right[:19], before[:19]).low is None


def test_inverted_lists_find_nearly_the_same_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond some size not every pair is compared; two groups far apart stay apart, and most edges are those of all pairs."""
    rng = np.random.default_rng(0)
    x = (np.repeat(np.eye(2, 8), 700, axis=0) + 0.3 * rng.standard_normal((1400, 8))).astype(np.float32)
    whole = neighbour_graph(x, k=5)
    monkeypatch.setattr(index, "EXACT_NUMBERS", 1)
    listed = neighbour_graph(x, k=5)
    assert abs(listed - listed.T).max() < 1e-12 and not listed.diagonal().any()
    assert ((whole > 0).multiply(listed > 0)).nnz > 0.9 * whole.nnz


def test_copies_are_neighbours_and_nobody_is_his_own() -> None:
    graph = neighbour_graph(np.ones((30, 4)), k=3)
    assert not graph.diagonal().any() and (graph.getnnz(axis=1) >= 3).all()
