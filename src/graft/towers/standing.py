"""How items stand at a moment: how often they were liked so far and lately, how old they are, and what hour, day and season it is.

Only what happened before the moment counts, so that training sees of a like no more than will be seen when asked. An item that nobody had liked
yet says so by a flag of its own: in training all items begin that way, hence a new one is treated as new ones were.

Legend: I items, N likes, F features of an item at a moment, S features of the moment, M times,
T moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]

DAY = 86_400.0
WINDOWS = (7.0, 30.0, np.inf)  # days in which likes are counted
AGES = (
    0.0,
    7.0,
    30.0,
    120.0,
    730.0,
)  # days; ages in between are parted between the two next to them, on a logarithmic scale
YEAR = 365.2425
MOMENTS, NUMBERS = 128, 2**26  # moments that training reckons at, and numbers (268 MB) that may take
CALENDAR = 6  # features of the moment


@dataclass(frozen=True, eq=False)
class Standing:
    """The likes (N,) sorted by item and then time, where each item's begin (I + 1,), and release dates (I,) or None: NaN unknown.

    An item's age counts from its date, or from its first like where there is none.
    """

    time_N: NDArray[np.float64]
    start_I: NDArray[np.int64]
    date_I: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        item_N: NDArray[np.integer[Any]],
        time_N: NDArray[np.float64],
        n_items: int,
        date_I: NDArray[np.float64] | None = None,
    ) -> Standing:
        """From likes in any order."""
        order = np.lexsort((time_N, item_N))
        return cls(time_N[order], np.searchsorted(item_N[order], np.arange(n_items + 1)), date_I)

    def features(self, now: float) -> Float32Array:
        """(I, F) at `now`, of the likes before it: never liked so far (0 or 1), log(1 + likes) of each window, and where the age lies among `AGES`."""
        n_items = len(self.start_I) - 1
        item_N = np.repeat(np.arange(n_items), np.diff(self.start_I))
        counts_WI = [
            np.bincount(item_N[(self.time_N < now) & (self.time_N >= now - DAY * days)], minlength=n_items)
            for days in WINDOWS
        ]
        first_I = np.full(n_items, np.nan)
        some_I = np.diff(self.start_I) > 0
        first_I[some_I] = self.time_N[self.start_I[:-1][some_I]]
        if self.date_I is not None:
            first_I = np.where(np.isnan(self.date_I), first_I, self.date_I)
        age_I = (now - first_I) / DAY
        return np.column_stack([counts_WI[-1] == 0, *map(np.log1p, counts_WI), *_hats(age_I)]).astype(np.float32)

    def at_moments(self, time_M: NDArray[np.float64]) -> tuple[NDArray[np.int64], Float32Array]:
        """The features at up to `MOMENTS` moments, (I, T, F), which part the times (M,) into about equally many, and which is the last not after each."""
        items = len(self.start_I) - 1
        count = int(np.clip(NUMBERS // (items * (1 + len(WINDOWS) + len(AGES))), 2, MOMENTS))
        moments_T = np.unique(np.quantile(time_M, np.linspace(0, 1, count, endpoint=False), method="lower"))
        place_M = np.searchsorted(moments_T, time_M, side="right") - 1
        return place_M.astype(np.int64), np.stack([self.features(float(now)) for now in moments_T], axis=1)


def count_features(likes_I: NDArray[Any]) -> Float32Array:
    """(I, F) where there are no times: never liked, log(1 + likes)."""
    return np.column_stack([likes_I == 0, np.log1p(likes_I)]).astype(np.float32)


def calendar(time_M: NDArray[np.float64], seasons: bool) -> Float32Array:
    """Hour of the day (UTC), day of the week and, where `seasons`, the time of the year of moments (M,), on circles: (M, 6), the last two 0 without."""
    turns = [time_M / DAY, time_M / (7 * DAY), time_M / (YEAR * DAY)]
    circles = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
    found = np.column_stack(circles).astype(np.float32)
    if not seasons:
        found[:, 4:] = 0
    return found


def _hats(age_I: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Shares of each age (days; NaN or below 0 is not yet there, all shares 0) in the `AGES` next to it; they sum to 1."""
    there_I = age_I >= 0  # False for NaN
    log_I = np.log1p(np.where(there_I, age_I, 0))
    knots = np.log1p(AGES)
    shares = [np.interp(log_I, knots, np.eye(len(knots))[k]) for k in range(len(knots))]
    return [np.where(there_I, share, 0.0) for share in shares]
