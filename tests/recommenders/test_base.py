"""Histories: people chosen by code or told by items, their times beside their likes."""

from __future__ import annotations

import numpy as np
from tests.recommenders.tables import likes_of

from graft.recommenders.base import histories_from, histories_of, latest, weighted_means

TIMES = np.array([30.0, 10.0, 20.0, 5.0])


def test_times_go_with_their_likes() -> None:
    likes = likes_of([[1, 2, 0], [0, 0, -1], [0, 3, 0]], TIMES)
    histories = histories_of(likes, np.array([2, 0, 1], np.int32), now=99.0)
    assert histories.times is not None
    assert histories.users_B is not None
    np.testing.assert_array_equal(histories.matrix.toarray(), [[0, 3, 0], [1, 2, 0], [0, 0, 0]])
    np.testing.assert_array_equal(histories.times, [5, 30, 10])
    part = histories.part(1, 7)
    assert len(part) == 2
    assert part.now == 99
    assert part.times is not None
    assert part.users_B is not None
    np.testing.assert_array_equal(part.times, [30, 10])
    np.testing.assert_array_equal(part.users_B, [0, 1])


def test_all_people_without_times() -> None:
    histories = histories_of(likes_of([[0, 2], [1, 0]]))
    np.testing.assert_array_equal(histories.matrix.toarray(), [[0, 2], [1, 0]])
    assert histories.times is None
    assert histories.users_B is not None
    np.testing.assert_array_equal(histories.users_B, [0, 1])


def test_new_people_from_items() -> None:
    histories = histories_from([[3, 1, 3], []], 4, now=5.0)
    np.testing.assert_array_equal(histories.matrix.toarray(), [[0, 1, 0, 1], [0, 0, 0, 0]])
    assert histories.users_B is None
    assert histories.now == 5


def test_weighted_means_by_hand() -> None:
    vectors_ID = np.array([[1, 0], [0, 4]], np.float32)
    means_BD = weighted_means(likes_of([[1, 3], [0, 2]]).matrix(), vectors_ID)
    np.testing.assert_allclose(means_BD, [[0.25, 3.0], [0.0, 4.0]])
    np.testing.assert_array_equal(weighted_means(histories_from([[]], 2).matrix, vectors_ID), [[0, 0]])


def test_the_latest_likes_of_somebody_new() -> None:
    likes = likes_of([[1, 2, 5], [0, 0, 0], [0, 3, 0]], np.array([30.0, 10.0, 20.0, 5.0]))
    short = latest(histories_of(likes, now=99.0), 2)
    np.testing.assert_array_equal(short.matrix.toarray(), [[1, 0, 5], [0, 0, 0], [0, 3, 0]])
    assert short.times is not None and short.users_B is None and short.now == 99
    np.testing.assert_array_equal(short.times, [30, 20, 5])
    unordered = latest(histories_of(likes_of([[1, 2, 5], [0, 3, 0]])), 1)
    np.testing.assert_array_equal(unordered.matrix.toarray(), [[0, 0, 5], [0, 3, 0]])
