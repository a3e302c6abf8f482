"""What every search structure owes: the nearest rows, in order, within a selection, the same after reading back, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.vector_tables import clustered

from graft.store.index import Segment, Selection, asked, build, exact, plan, prepared, told

Floats = NDArray[np.float32]
N, DIM, RECALL = 4000, 24, 0.9
KINDS = ("exact", "ivf", "ivfpq")
METRICS = ("cosine", "dot", "euclidean")

ROWS = clustered(N + 50, DIM)
MADE: dict[tuple[str, str], Segment] = {}


@pytest.fixture(params=[(kind, metric) for kind in KINDS for metric in METRICS], ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[Segment, Floats, Floats]:
    """A structure, its rows and some queries, both as it takes them."""
    kind, metric = request.param
    rows = prepared(ROWS[:N], metric)
    if (kind, metric) not in MADE:
        MADE[kind, metric] = make(kind, rows, metric)
    return MADE[kind, metric], rows, asked(ROWS[N:], metric)


def make(kind: str, rows: Floats, metric: str) -> Segment:
    keys, dim = np.arange(len(rows)) + 100, rows.shape[1]
    batches: Callable[[], Iterator[Floats]] = lambda: iter(np.array_split(rows, 3))
    if kind == "exact":
        return exact(batches(), keys, dim)
    return build(batches, keys, dim, plan(len(rows), dim, kind=kind), recall=RECALL, metric=metric)


def nearest(q_QD: Floats, rows: Floats, k: int) -> NDArray[np.int64]:
    return np.asarray(np.argsort(-(q_QD @ rows.T), axis=1, kind="stable")[:, :k])


def shared(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]))


def test_it_finds_the_nearest(case: tuple[Segment, Floats, Floats]) -> None:
    segment, rows, q_QD = case
    scores, found = segment.search(q_QD, 10)
    assert found.shape == scores.shape == (len(q_QD), 10) and found.dtype == np.int64
    share = shared(found, nearest(q_QD, rows, 10))
    assert share == 1 if segment.structure.kind == "exact" else share >= RECALL - 0.05
    assert (np.diff(scores, axis=1) <= 1e-5).all()
    tolerance = 1e-4 if segment.structure.kind != "ivfpq" else 0.03 * float(np.abs(rows).max() ** 2)
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", q_QD, rows[found]), atol=tolerance, rtol=1e-4)


def test_a_single_query_is_a_batch_of_one(case: tuple[Segment, Floats, Floats]) -> None:
    segment, _, q_QD = case
    together = segment.search(q_QD[:8], 5)
    for i in range(8):
        scores, found = segment.search(q_QD[i : i + 1], 5)
        assert np.array_equal(found[0], together[1][i])
        np.testing.assert_allclose(scores[0], together[0][i], rtol=1e-4, atol=1e-4)


def test_more_than_there_are(case: tuple[Segment, Floats, Floats]) -> None:
    segment, rows, q_QD = case
    chosen = np.zeros(len(rows), np.bool_)
    chosen[[5, 77, 3000]] = True
    found = segment.search(q_QD[:4], 10, Selection(chosen), wide=1e9)[1]
    assert (found[:, 3:] == -1).all()
    assert [sorted(row) for row in found[:, :3].tolist()] == [[5, 77, 3000]] * 4
    none = segment.search(q_QD[:2], 3, Selection(np.zeros(len(rows), np.bool_)))[1]
    assert (none == -1).all()


@pytest.mark.parametrize("share", [0.9, 0.3, 0.05])
def test_a_selection_is_obeyed(case: tuple[Segment, Floats, Floats], share: float) -> None:
    segment, rows, q_QD = case
    chosen = np.random.default_rng(1).random(len(rows)) < share
    found = segment.search(q_QD, 10, Selection(chosen), wide=1 / share)[1]
    assert (found >= 0).all() and chosen[found].all()
    places = np.flatnonzero(chosen)
    assert shared(found, places[nearest(q_QD, rows[chosen], 10)]) >= RECALL - 0.07


def test_saved_and_loaded_equal(case: tuple[Segment, Floats, Floats], tmp_path: Path) -> None:
    segment, _, q_QD = case
    segment.save(tmp_path)
    again = Segment.load(tmp_path, segment.structure, probes=segment.probes, recall=segment.recall)
    assert np.array_equal(again.keys, segment.keys) and len(again) == N and again.bytes == segment.bytes
    ours, theirs = segment.search(q_QD, 7), again.search(q_QD, 7)
    assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])


def test_several_threads_at_once(case: tuple[Segment, Floats, Floats]) -> None:
    segment, rows, q_QD = case
    odd = np.arange(len(rows)) % 2 == 1
    expected = segment.search(q_QD, 5)[1], segment.search(q_QD, 5, Selection(odd), wide=2)[1]

    def ask(i: int) -> bool:
        selected = Selection(odd) if i % 2 else None
        found = segment.search(q_QD, 5, selected, wide=2 if i % 2 else 1)[1]
        return np.array_equal(found, expected[i % 2])

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(60)))


@pytest.mark.parametrize(
    ("metric", "order", "scores"),
    [
        ("cosine", [1, 0, 2], [1.0, 2**-0.5, -(2**-0.5)]),
        ("dot", [0, 1, 2], [10.0, 2.0, -1.0]),
        ("euclidean", [1, 2, 0], [0.0, -5.0, -82.0]),
    ],
)
def test_known_answers(metric: str, order: list[int], scores: list[float]) -> None:
    x_ND = np.array([[10, 0], [1, 1], [0, -1]], np.float32)
    q_QD = np.array([[1, 1]], np.float32)
    segment = exact([prepared(x_ND, metric)], np.arange(3), 2 + (metric == "euclidean"))
    found_scores, found = segment.search(asked(q_QD, metric), 3)
    assert found[0].tolist() == order
    np.testing.assert_allclose(told(found_scores, q_QD, metric)[0], scores, atol=1e-5)


def test_nothing_in_it() -> None:
    empty = exact([], np.empty(0, np.int64), 3)
    assert empty.search(np.ones((2, 3), np.float32), 4)[1].tolist() == [[-1] * 4] * 2
