"""Alternating least squares against its normal equations and its loss.

Legend: U users, I items, D dims, R rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.recommenders.tables import likes_of, two_tastes

from graft.recommenders import als
from graft.recommenders.als import ALS, Whitened
from graft.recommenders.base import histories_from, histories_of


def solved(x_I: NDArray[Any], item_ID: NDArray[Any], regularisation: float, alpha: float) -> NDArray[np.float64]:
    """One person's vector by the normal equations of Hu et al. with a dense matrix of confidences."""
    confidence_I = 1 + alpha * x_I
    gram_DD = item_ID.T.astype(np.float64) @ (confidence_I[:, None] * item_ID)
    return np.linalg.solve(gram_DD + regularisation * np.eye(item_ID.shape[1]), item_ID.T @ (confidence_I * (x_I > 0)))


def loss(
    x_UI: NDArray[Any], person_UD: NDArray[Any], item_ID: NDArray[Any], regularisation: float, alpha: float
) -> float:
    errors = (1 + alpha * x_UI) * ((x_UI > 0) - person_UD @ item_ID.T) ** 2
    return float(errors.sum() + regularisation * ((person_UD**2).sum() + (item_ID**2).sum()))


@pytest.mark.parametrize("gathered", [1, 2**19])
@pytest.mark.parametrize("alpha", [0.5, 40.0])
def test_rows_solve_their_normal_equations(gathered: int, alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of every length from none to all, longer than there are dims, of likes of several strengths."""
    monkeypatch.setattr(als, "GATHERED", gathered)
    rng = np.random.default_rng(0)
    x_RI = (rng.random((50, 40)) < np.linspace(0, 1, 50)[:, None]) * rng.integers(1, 4, (50, 40)).astype(np.float32)
    item_ID = rng.standard_normal((40, 8)).astype(np.float32)
    found_RD = Whitened(item_ID, 0.3, alpha).solve(likes_of(x_RI).matrix(), als.ANSWERING)
    wanted_RD = np.stack([solved(x_I, item_ID, 0.3, alpha) for x_I in x_RI])
    np.testing.assert_allclose(found_RD, wanted_RD, rtol=1e-3, atol=2e-4)
    np.testing.assert_array_equal(found_RD[0], 0)


def test_the_loss_falls_to_that_of_exact_solving() -> None:
    """Ended early at one percent of the residual, the steps reach the loss of exact alternation from the same start, to a thousandth."""
    x_UI = two_tastes(60, 24)
    settings: dict[str, Any] = {"dims": 5, "regularisation": 1.0, "alpha": 4.0, "iterations": 20}
    model = ALS.fit(likes_of(x_UI), **settings)
    person_UD = model.person_vectors(histories_of(likes_of(x_UI)))
    rng = np.random.default_rng(0)
    item_ID = rng.standard_normal((24, 5), np.float32) / np.sqrt(5)
    for _ in range(20):
        exact_UD = np.stack([solved(x_I, item_ID, 1.0, 4.0) for x_I in x_UI])
        item_ID = np.stack([solved(x_U, exact_UD, 1.0, 4.0) for x_U in x_UI.T])
    exact_UD = np.stack([solved(x_I, item_ID, 1.0, 4.0) for x_I in x_UI])
    wanted = loss(x_UI, exact_UD, item_ID, 1.0, 4.0)
    assert loss(x_UI, person_UD, model.item_vectors(), 1.0, 4.0) == pytest.approx(wanted, rel=1e-3)


def test_a_new_person_has_the_vector_of_a_known_one_with_the_same_likes() -> None:
    x_UI = two_tastes(60, 24)
    model = ALS.fit(likes_of(x_UI), dims=6, iterations=3)
    known_D = model.person_vectors(histories_of(likes_of(x_UI), np.array([4])))
    new_D = model.person_vectors(histories_from([np.flatnonzero(x_UI[4]).tolist()], 24))
    np.testing.assert_array_equal(known_D, new_D)


def test_those_who_have_but_each_other_come_to_nothing() -> None:
    """A person and an item of nobody else shrink at every iteration; they end at zero, not at numbers too small to be normal."""
    x_UI = np.zeros((9, 9))
    x_UI[:8, :8] = 1
    x_UI[8, 8] = 1
    model = ALS.fit(likes_of(x_UI), dims=4, regularisation=10.0, alpha=1.0, iterations=40)
    np.testing.assert_array_equal(model.item_vectors()[8], 0)
    assert (np.linalg.norm(model.item_vectors()[:8], axis=1) > 0.1).all()
