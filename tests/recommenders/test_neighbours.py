"""Cosines by hand, and the nearest against all of them.

Legend: U users, I items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.recommenders.tables import likes_of

from graft.errors import UsageError
from graft.recommenders import neighbours
from graft.recommenders.base import histories_from
from graft.recommenders.neighbours import ItemNeighbours, nearest


def cosines(weights_UI: NDArray[Any], shrink: float) -> NDArray[np.float64]:
    norm_I = np.linalg.norm(weights_UI, axis=0)
    found: NDArray[np.float64] = weights_UI.T @ weights_UI / np.maximum(np.outer(norm_I, norm_I) + shrink, 1e-9)
    np.fill_diagonal(found, 0)
    return found


def test_cosine_with_shrinkage_by_hand() -> None:
    near = nearest(likes_of([[1, 1, 0], [1, 0, 2], [1, 1, 0]]).matrix(), 5, 0.5).toarray()
    first, second = 2 / (np.sqrt(3 * 2) + 0.5), 2 / (np.sqrt(3 * 4) + 0.5)
    np.testing.assert_allclose(near, [[0, first, second], [first, 0, 0], [second, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("shrink", [0.0, 4.0])
@pytest.mark.parametrize("pairs", [1, 500, 10**9])
def test_the_nearest_are_kept_whatever_the_blocks(shrink: float, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_PAIRS", pairs)
    rng = np.random.default_rng(1)
    weights_UI = (rng.random((40, 30)) < 0.2) * rng.random((40, 30))
    weights_UI[:, 7] = 0
    near = nearest(likes_of(weights_UI).matrix(), 4, shrink).toarray()
    all_II = cosines(weights_UI.astype(np.float32), shrink)
    least_I = np.sort(all_II, axis=1)[:, -4]
    np.testing.assert_allclose(near, np.where((all_II >= least_I[:, None]) & (all_II > 0), all_II, 0), atol=1e-6)


def test_among_equals_there_are_no_more_than_asked_for() -> None:
    near = nearest(likes_of(np.ones((3, 9))).matrix(), 2, 0.0)
    np.testing.assert_array_equal(np.diff(near.indptr), 2)
    np.testing.assert_allclose(near.data, 1, rtol=1e-6)


def test_a_score_adds_the_similarities_of_what_is_liked() -> None:
    weights_UI = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    model = ItemNeighbours.fit(likes_of(weights_UI), neighbours=9, shrink=0.0)
    all_II = cosines(weights_UI, 0.0)
    np.testing.assert_allclose(model.scores(histories_from([[0, 2]], 4))[0], all_II[0] + all_II[2], rtol=1e-6)


def test_settings_out_of_range() -> None:
    with pytest.raises(UsageError, match="neighbours=0"):
        ItemNeighbours.fit(likes_of([[1, 1]]), neighbours=0)
    with pytest.raises(UsageError, match="shrink=-1"):
        ItemNeighbours.fit(likes_of([[1, 1]]), shrink=-1)
