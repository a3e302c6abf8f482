"""Rows in memory or in a file are the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_disk import small_disk

from graft.store.scratch import ScratchRows


@pytest.mark.parametrize("in_memory", [1 << 30, 0])
@given(data=st.data())
@settings(deadline=None)
def test_rows_are_where_they_were_put(
    tmp_path_factory: pytest.TempPathFactory, in_memory: int, data: st.DataObject
) -> None:
    count, dim = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 5))
    order = data.draw(st.permutations(range(count)))
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, count - 1)))), np.int64)
    values = np.arange(count * dim, dtype=np.float32).reshape(count, dim)
    folder = tmp_path_factory.mktemp("scratch")
    rows = ScratchRows(count, dim, folder, in_memory=in_memory)
    for start in range(0, count, 7):
        positions = np.array(order[start : start + 7], np.int64)
        rows.set(positions, values[positions])
    assert np.array_equal(rows.array, values)
    assert np.array_equal(rows.keep(kept), values[kept])
    assert rows.keep(kept).dtype == np.float32
    assert list(folder.iterdir()) == []  # the file has no name


def test_many_rows_leave_memory(tmp_path: Path) -> None:
    rows = ScratchRows(100_000, 64, tmp_path, in_memory=1_000_000)
    values = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
    for start in range(0, 100_000, 1000):
        rows.set(np.arange(start, start + 1000), values + start)
    assert np.array_equal(rows.array[99_000:], values + 99_000)
    some = np.arange(0, 100_000, 3)
    expected = values[some % 1000] + (some // 1000 * 1000)[:, None].astype(np.float32)
    assert np.array_equal(rows.keep(some), expected)


def test_a_disk_too_small_means_memory(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        rows = ScratchRows(1000, 100, disk, in_memory=0)
        rows.set(np.arange(1000), np.ones((1000, 100), np.float32))
        assert rows.array.sum() == 100_000
        assert rows._map is None
