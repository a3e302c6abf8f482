"""The same for everyone: what most people like, ever or lately.

Legend: I items, N likes, B people of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, UsageError
from graft.recommenders.base import Fitted, Float32Array, Histories, Settings, liked_matrix, popularity_of

if TYPE_CHECKING:
    from graft.interactions.likes import Interactions

DAY = 86_400.0


class Popularity(Fitted):
    """Sum of the weights of an item's likes: of all time, or of the last `days` before the moment of asking.

    Among items with equal sums in the window, those liked more of all time come first.
    """

    name: ClassVar[str] = "popularity"

    @classmethod
    def fit(cls, likes: Interactions, *, days: float | None = None, seed: int = 0) -> Self:
        """Count. `days` (above 0) is the window; None counts all time. Nothing is drawn, so `seed` changes nothing.

        Raises UsageError for a window that is not above 0, DataError for a window where likes have no times, or without a like.
        """
        if days is not None and not days > 0:
            raise UsageError(f"days={days}: a window is a number of days above 0, or None for all time.")
        arrays: dict[str, NDArray[Any]] = {"popular": popularity_of(liked_matrix(likes))}
        if days is not None:
            liked = likes.likes()
            if liked.time_N is None:
                raise DataError(
                    f"The interactions have no times, so the last {days:g} days are not known; days=None counts all."
                )
            order = np.argsort(liked.time_N, kind="stable")
            arrays |= {"time": liked.time_N[order], "item": liked.item_N[order], "weight": liked.weight_N[order]}
        return cls({"days": days, "seed": seed}, arrays)

    def popular(self, now: float | None = None) -> Float32Array:
        """Scores (I,) at `now`, seconds since 1970, the moment of the last like when None; what came after it does not count."""
        ever_I = self.popular_I
        if self.settings["days"] is None:
            return ever_I.copy()
        time_N = self.arrays["time"]
        until = time_N[-1] if now is None else now
        first, last = np.searchsorted(time_N, [until - DAY * self.settings["days"], until], side="right")
        lately_I = np.bincount(self.arrays["item"][first:last], self.arrays["weight"][first:last], len(ever_I))
        least = self.arrays["weight"].min() / (1 + ever_I.max())  # so small that no sum of the window is overtaken
        return np.asarray(lately_I + least * ever_I, np.float32)

    def scores(self, histories: Histories) -> Float32Array:
        """The same row for everyone (B, I)."""
        return np.repeat(self.popular(histories.now)[None], len(histories), axis=0)


def grid() -> list[Settings]:
    """All time, and windows from a day to three months (those need times)."""
    return [{"days": days} for days in (None, 1.0, 3.0, 7.0, 14.0, 30.0, 90.0)]
