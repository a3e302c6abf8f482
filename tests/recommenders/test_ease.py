"""EASE against its definition, by either inverse; a catalogue too large is refused with the bytes.

Legend: U users, I items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.recommenders.tables import likes_of

from graft.errors import DataError, UsageError
from graft.recommenders import ease
from graft.recommenders.base import histories_from
from graft.recommenders.ease import EASE


def defined(x_UI: NDArray[Any], regularisation: float) -> NDArray[np.float64]:
    """Steck's closed form, in float64."""
    inverse_II = np.linalg.inv(x_UI.T.astype(np.float64) @ x_UI + regularisation * np.eye(x_UI.shape[1]))
    weight_II: NDArray[np.float64] = -inverse_II / inverse_II.diagonal()
    np.fill_diagonal(weight_II, 0)
    return weight_II


@pytest.mark.parametrize(("people", "items"), [(90, 40), (20, 40), (40, 40), (1, 3)], ids=str)
def test_weights_are_the_closed_form(people: int, items: int) -> None:
    rng = np.random.default_rng(0)
    x_UI = (rng.random((people, items)) < 0.3) * rng.integers(1, 4, (people, items))
    x_UI[:, 1] = 0
    x_UI[0, 0] = 1
    model = EASE.fit(likes_of(x_UI), regularisation=5.0)
    np.testing.assert_allclose(model.weight_II, defined(x_UI, 5.0), atol=1e-6)
    wanted_I = defined(x_UI, 5.0)[[0, 2]].sum(axis=0)
    np.testing.assert_allclose(model.scores(histories_from([[0, 2]], items))[0], wanted_I, atol=1e-6)


def test_weights_solve_the_least_squares_problem_they_stand_for() -> None:
    """Without the formula: no small change of a column off its diagonal lowers the squared error plus the penalty."""
    rng = np.random.default_rng(1)
    x_UI = (rng.random((50, 12)) < 0.4).astype(np.float64)
    weight_II = EASE.fit(likes_of(x_UI), regularisation=3.0).weight_II.astype(np.float64)
    gradient_II = x_UI.T @ (x_UI @ weight_II - x_UI) + 3.0 * weight_II
    np.fill_diagonal(gradient_II, 0)
    np.testing.assert_allclose(gradient_II, 0, atol=1e-4)


@pytest.mark.parametrize("size", [1, 5, 8, 13])
def test_a_triangle_is_mirrored(size: int) -> None:
    full = np.random.default_rng(0).random((size, size), np.float32)
    full += full.T
    for order in ("C", "F"):
        np.testing.assert_array_equal(ease._mirrored(np.array(np.tril(full), order=order), block=4), full)


def test_a_catalogue_too_large_is_refused_with_the_bytes() -> None:
    likes = likes_of(np.eye(30))
    needed = ease.bytes_needed(30, 30, 30)
    with pytest.raises(DataError, match=rf"EASE on 30 items takes {needed:,} bytes of memory; {needed - 1:,} may"):
        EASE.fit(likes, memory=needed - 1)
    EASE.fit(likes, memory=needed)


def test_free_memory_is_a_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2**20 < ease.free_bytes() < 2**50
    monkeypatch.setattr(ease, "free_bytes", lambda: 100)
    with pytest.raises(DataError, match="50 may be used"):
        EASE.fit(likes_of(np.eye(30)))


def test_settings_out_of_range() -> None:
    with pytest.raises(UsageError, match="regularisation=0"):
        EASE.fit(likes_of([[1, 1]]), regularisation=0)
