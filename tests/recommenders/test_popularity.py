"""Counts of all time and of a window, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recommenders.tables import likes_of

from graft.errors import DataError, UsageError
from graft.recommenders.base import histories_from
from graft.recommenders.popularity import DAY, Popularity

WEIGHTS = [[1, 1, 0, 0], [1, 0, 2, 0], [1, 0, 0, -1]]
DAYS = np.array([1.0, 9.0, 2.0, 10.0, 3.0, 10.0]) * DAY


def test_all_time_adds_the_weights() -> None:
    model = Popularity.fit(likes_of(WEIGHTS))
    np.testing.assert_array_equal(model.scores(histories_from([[], [0]], 4)), [[3, 1, 2, 0]] * 2)


def test_a_window_counts_what_is_in_it_then_all_time() -> None:
    model = Popularity.fit(likes_of(WEIGHTS, DAYS), days=3.0)
    # the last three days: item 1 once, item 2 with 2; then item 0 by its three likes of all time
    np.testing.assert_array_equal(np.argsort(-model.popular()), [2, 1, 0, 3])
    np.testing.assert_allclose(model.popular()[:2], [3 / 4, 1 + 1 / 4])
    # on day 4 the likes of days 2 and 3 are in the window of three days, and that of day 1, three days ago, no more; what is to come does not count
    early_I = model.scores(histories_from([[]], 4, now=4.0 * DAY))[0]
    np.testing.assert_allclose(early_I, [2 + 3 / 4, 1 / 4, 2 / 4, 0])


def test_a_window_long_past_leaves_all_time() -> None:
    model = Popularity.fit(likes_of(WEIGHTS, DAYS), days=3.0)
    np.testing.assert_array_equal(np.argsort(-model.popular(now=100 * DAY)), [0, 2, 1, 3])


def test_windows_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="days=0"):
        Popularity.fit(likes_of(WEIGHTS, DAYS), days=0)
    with pytest.raises(DataError, match="no times"):
        Popularity.fit(likes_of(WEIGHTS), days=7.0)
