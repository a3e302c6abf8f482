"""Mutual information by hand, and vectors that reproduce it.

Legend: I items, D dims.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.recommenders.tables import likes_of, two_tastes

from graft.errors import UsageError
from graft.recommenders import cooccurrence
from graft.recommenders.base import histories_from
from graft.recommenders.cooccurrence import Cooccurrence, ppmi


def test_positive_mutual_information_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs: 0 and 1 twice, 0 and 2 once; so 3, 2 and 1 a row, and contexts of 3, 2, 1 to the power 3/4."""
    monkeypatch.setattr(cooccurrence, "BLOCK", 2)
    matrix = likes_of([[1, 5, 0, 0], [1, 1, 0, 0], [2, 0, 1, 0], [0, 0, 0, 1]]).matrix()
    chance = np.array([3, 2, 1]) ** 0.75 / (3**0.75 + 2**0.75 + 1)
    wanted = np.zeros((4, 4))
    wanted[0, 1], wanted[1, 0] = np.log(2 / (3 * chance[1])), np.log(2 / (2 * chance[0]))
    wanted[0, 2], wanted[2, 0] = np.log(1 / (3 * chance[2])), np.log(1 / (1 * chance[0]))
    np.testing.assert_allclose(ppmi(matrix).toarray(), wanted, rtol=1e-6)
    shifted = ppmi(matrix, shift=1.5).toarray()
    np.testing.assert_allclose(shifted, np.maximum(wanted - np.log(1.5), 0), atol=1e-6)


def test_all_dims_give_back_the_matrix() -> None:
    """With all singular vectors and the power 1 the rows have the angles of the matrix's rows."""
    likes = likes_of(two_tastes(40, 10))
    model = Cooccurrence.fit(likes, dims=99, power=1.0)
    rows_II = ppmi(likes.matrix()).toarray()
    rows_II /= np.linalg.norm(rows_II, axis=1, keepdims=True)
    vectors_ID = model.item_vectors()
    assert vectors_ID.shape == (10, 10)
    np.testing.assert_allclose(vectors_ID @ vectors_ID.T, rows_II @ rows_II.T, atol=1e-5)


def test_an_item_liked_alone_has_no_vector() -> None:
    model = Cooccurrence.fit(likes_of([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]]), dims=2)
    length_I = np.linalg.norm(model.item_vectors(), axis=1)
    np.testing.assert_allclose(length_I, [1, 1, 1, 0], atol=1e-5)


def test_popularity_multiplies() -> None:
    likes = likes_of(two_tastes(40, 10))
    alike, famous = (Cooccurrence.fit(likes, dims=4, popularity=p) for p in (0.0, 1.0))
    asked = histories_from([[0, 3]], 10)
    popular_I = two_tastes(40, 10).sum(axis=0)
    np.testing.assert_allclose(famous.scores(asked)[0], alike.scores(asked)[0] * popular_I, rtol=1e-5, atol=1e-6)


def test_settings_out_of_range() -> None:
    for settings in ({"dims": 0}, {"shift": 0.5}):
        with pytest.raises(UsageError, match="at least 1"):
            Cooccurrence.fit(likes_of([[1, 1]]), **settings)
