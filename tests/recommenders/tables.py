"""Small tables of likes.

Legend: U users, I items, N likes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.interactions.likes import Interactions


def likes_of(weights_UI: Any, time_N: NDArray[np.float64] | None = None) -> Interactions:
    """Interactions of a dense table: a row for each number above 0, or 0 where it is seen (-1 stands for that)."""
    table_UI = np.asarray(weights_UI, np.float32)
    user_N, item_N = np.nonzero(table_UI)
    return Interactions(
        users=tuple(f"u{u}" for u in range(table_UI.shape[0])),
        items=tuple(f"i{i}" for i in range(table_UI.shape[1])),
        user_N=user_N.astype(np.int32),
        item_N=item_N.astype(np.int32),
        weight_N=np.maximum(table_UI[user_N, item_N], 0),
        time_N=time_N,
    )


def two_tastes(people: int = 60, items: int = 24, seed: int = 0) -> NDArray[np.float32]:
    """Everybody likes about half of the even items or half of the odd ones (U, I); now and then one of the others."""
    rng = np.random.default_rng(seed)
    same_UI = (np.arange(people)[:, None] + np.arange(items)) % 2 == 0
    return (rng.random((people, items)) < np.where(same_UI, 0.5, 0.03)).astype(np.float32)
