"""Search structures: which is built, what is measured of it, and what becomes of damaged files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.small_disk import small_disk
from tests.vector_tables import clustered

from graft.errors import ModelError, StorageError
from graft.store.files import new_folder
from graft.store.index import Segment, Structure, asked, build, exact, plan, prepared, told

Floats = NDArray[np.float32]


def made(x_ND: Floats, kind: str, recall: float = 0.9, metric: str = "cosine") -> Segment:
    rows = prepared(x_ND, metric)
    keys = np.arange(len(rows)) * 3

    def batches() -> Iterator[Floats]:
        yield from (rows[i : i + 700] for i in range(0, len(rows), 700))

    structure = plan(len(rows), rows.shape[1], kind=kind)
    if structure.kind == "exact":
        return exact(batches(), keys, rows.shape[1])
    return build(batches, keys, rows.shape[1], structure, recall=recall, metric=metric)


def test_exact_while_that_is_fast() -> None:
    assert plan(20_000, 384).kind == "exact" and plan(25_000, 384).kind == "ivf"
    assert plan(100_000, 64).kind == "exact" and plan(200_000, 64).kind == "ivf"
    assert plan(200_000, 384, memory=2**28) == Structure("ivfpq", 894, 96)
    assert plan(200_000, 384, memory=2**30).kind == "ivf"
    assert plan(999, 10**6, kind="ivfpq").kind == "exact"  # too few to learn from


@given(st.integers(1000, 10**7), st.integers(1, 2000), st.sampled_from(["ivf", "ivfpq"]))
def test_a_plan_can_be_built(n: int, dim: int, kind: str) -> None:
    structure = plan(n, dim, kind=kind)
    assert 1 <= structure.lists <= n // 39
    assert structure.codes == 0 if kind == "ivf" else dim % structure.codes == 0


@given(st.integers(0, 2**32 - 1), st.sampled_from(["cosine", "dot", "euclidean"]))
def test_every_metric_is_an_inner_product(seed: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    x_ND, q_QD = rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(3, 5)).astype(np.float32)
    scores = told(asked(q_QD, metric) @ prepared(x_ND, metric).T, q_QD, metric)
    if metric == "euclidean":
        expected = -((q_QD[:, None] - x_ND[None]) ** 2).sum(2)
    elif metric == "dot":
        expected = q_QD @ x_ND.T
    else:
        lengths = np.linalg.norm(q_QD, axis=1)[:, None] * np.linalg.norm(x_ND, axis=1)
        expected = q_QD @ x_ND.T / lengths
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_zeros_are_like_nothing() -> None:
    assert np.array_equal(prepared(np.zeros((2, 3), np.float32), "cosine"), np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_the_recall_that_is_told_is_true(metric: str) -> None:
    """Told from its own rows; here measured with other queries from the same source."""
    x_ND = clustered(6200, 24)
    segment = made(x_ND[:6000], "ivf", 0.9, metric)
    assert segment.structure.kind == "ivf" and segment.recall is not None and segment.recall.low >= 0.9
    q_QD = asked(x_ND[6000:], metric)
    truth = np.argsort(-(q_QD @ prepared(x_ND[:6000], metric).T), axis=1)[:, :10]
    found = segment.search(q_QD, 10)[1]
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, truth, strict=True)]) > 0.85


def test_a_higher_target_probes_more() -> None:
    x_ND = clustered(4000, 16)
    low, high = made(x_ND, "ivf", 0.6), made(x_ND, "ivf", 0.98)
    assert low.probes < high.probes <= high.structure.lists
    assert high.recall is not None and high.recall.value >= 0.98


def test_codes_too_coarse_for_the_target_fall_back_to_exact() -> None:
    """One byte for 31 numbers that are all noise, and few candidates to refine: every list probed does not help."""
    x_ND = np.random.default_rng(0).normal(size=(3000, 31)).astype(np.float32)
    segment = made(x_ND, "ivfpq", 0.99)
    assert segment.structure.kind == "exact" and len(segment) == 3000


def test_copies_do_not_spoil_the_measure() -> None:
    """Of forty copies any ten are the nearest; which ones are found says nothing about the lists."""
    x_ND = clustered(3000, 16)
    x_ND[:1200] = np.repeat(x_ND[:30], 40, 0)
    segment = made(x_ND, "ivf", 0.95)
    assert segment.structure.kind == "ivf" and segment.recall is not None and segment.recall.queries < 300


def test_all_rows_alike() -> None:
    segment = made(np.ones((1500, 4), np.float32), "ivf")
    assert segment.structure.kind == "exact"
    assert (segment.search(np.ones((1, 4), np.float32), 5)[1] >= 0).all()


@pytest.mark.parametrize(
    "damage", ["missing", "truncated", "noise", "keys missing", "keys of another", "keys truncated"]
)
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    segment = made(clustered(1500, 8), "ivf")
    segment.save(tmp_path)
    index, keys = tmp_path / "index.faiss", tmp_path / "keys.npy"
    if damage == "missing":
        index.unlink()
    elif damage == "truncated":
        os.truncate(index, index.stat().st_size // 2)
    elif damage == "noise":
        index.write_bytes(b"no index at all")
    elif damage == "keys missing":
        keys.unlink()
    elif damage == "keys of another":
        np.save(keys, np.arange(5))
    else:
        os.truncate(keys, 40)
    with pytest.raises(ModelError, match="--rebuild"):
        Segment.load(tmp_path, segment.structure, probes=1, recall=None)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    segment = made(clustered(1500, 64), "ivf")
    with (
        small_disk(tmp_path / "d", "64k") as disk,
        pytest.raises(StorageError, match="full"),
        new_folder(disk / "base") as folder,
    ):
        segment.save(folder)
    with pytest.raises(OSError):
        segment.save(tmp_path / "not there")
