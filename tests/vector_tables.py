"""Tables of vectors: an index of them needs no encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def vectors_table(path: Path, ids: Sequence[str] | None, x_ND: NDArray[Any], **columns: Sequence[Any]) -> Path:
    """A Parquet table with columns id (unless None), vector and others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.array(list(x_ND.astype(np.float32)), pa.list_(pa.float32()))
    first = {} if ids is None else {"id": list(ids)}
    pq.write_table(pa.table({**first, "vector": rows, **columns}), path)
    return path


def clustered(n: int, dim: int, *, seed: int = 0, centres: int = 30) -> NDArray[np.float32]:
    """Rows around random centres, as vectors of real items lie."""
    rng = np.random.default_rng(seed)
    middle_CD = rng.normal(size=(centres, dim))
    x_ND = middle_CD[rng.integers(0, centres, n)] + 0.6 * rng.normal(size=(n, dim))
    return np.asarray(x_ND, np.float32)
