"""Arrays that may be larger than memory: a file without a name, which goes with the process however that ends."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 512 * 2**20  # bytes up to which an array is kept in memory


class ScratchRows:
    """An array (n, dim), filled row by row in any order; above `in_memory` bytes its rows lie in a file in `folder`.

    Numbers are float32 unless `dtype` says otherwise. Where the folder cannot be written or is too full, the array is in memory whatever
    its size.
    """

    def __init__(
        self, count: int, dim: int, folder: Path, *, in_memory: int = IN_MEMORY, dtype: type[np.generic] = np.float32
    ) -> None:
        size = count * dim * np.dtype(dtype).itemsize
        self._map = _unnamed(folder, size) if size > in_memory else None
        self._drop_after = max(1, in_memory // 8)
        self._written = 0
        if self._map is None:
            self.array: NDArray[Any] = np.empty((count, dim), dtype)
        else:
            self.array = np.frombuffer(self._map, dtype).reshape(count, dim)

    def set(self, positions: NDArray[np.int64], x_BD: NDArray[Any]) -> None:
        """Fill the rows at `positions`."""
        self.array[positions] = x_BD
        self._written += x_BD.nbytes
        if self._map is not None and self._written >= self._drop_after:
            self._map.madvise(mmap.MADV_DONTNEED)  # they stay in the file; only this process's memory is freed
            self._written = 0

    def keep(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """The rows at ascending `positions` as an array of their own; the others are overwritten."""
        if len(positions) == len(self.array):
            return self.array
        for start in range(0, len(positions), 4096):  # in place: a row only ever moves forward
            some = positions[start : start + 4096]
            self.array[start : start + len(some)] = self.array[some]
        return self.array[: len(positions)]


def _unnamed(folder: Path, size: int) -> mmap.mmap | None:
    """A mapped file of `size` bytes that the disk has promised to hold, or None."""
    if not hasattr(os, "posix_fallocate"):
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk must say so now: later it would kill the process
            return mmap.mmap(file.fileno(), size)
    except OSError:
        return None
