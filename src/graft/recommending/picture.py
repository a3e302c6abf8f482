"""The map of the items: those liked most, laid flat by their vectors, near means liked by the same people.

Legend: I items, M items drawn, D dims.
"""

from __future__ import annotations

import numpy as np

from graft.interactions.likes import Catalogue, Interactions
from graft.metrics.geometry import map_2d
from graft.recommenders.base import Recommender
from graft.recommending.result import MapPoint

MOST = 800
FEWEST = 12


def item_map(model: Recommender | None, catalogue: Catalogue, rows: Interactions, seed: int) -> tuple[MapPoint, ...]:
    """Up to 800 items that most people like, placed in 0..1; nothing for a model without vectors or a handful of items."""
    vectors = None if model is None else model.item_vectors()
    if vectors is None:
        return ()
    likes_I = np.bincount(rows.likes().item_N, minlength=len(rows.items))
    drawn_M = np.argsort(-likes_I, kind="stable")[:MOST]
    drawn_M = drawn_M[np.linalg.norm(vectors[drawn_M], axis=1) > 0]
    if len(drawn_M) < FEWEST:
        return ()
    places_M2, _ = map_2d(vectors[drawn_M], seed)
    low, high = places_M2.min(axis=0), places_M2.max(axis=0)
    places_M2 = (places_M2 - low) / np.where(high > low, high - low, 1)
    return tuple(
        MapPoint(
            x=round(float(x), 4),
            y=round(float(y), 4),
            title=catalogue.titles[code] or rows.items[code],
            category=catalogue.categories[code][0] if catalogue.categories[code] else "",
            likes=int(likes_I[code]),
        )
        for code, (x, y) in zip(drawn_M.tolist(), places_M2.tolist(), strict=True)
    )
