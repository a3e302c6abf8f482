"""Neighbours by hand, against scikit-learn, and among equals.

Legend: N items asked about, M items remembered, D dims, C classes.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from graft.heads import neighbours
from graft.heads.base import Float32Array, Float64Array, IntArray
from graft.heads.neighbours import NeighbourHead, fit_path
from graft.heads.normalise import Normaliser


def drawn(n: int, seed: int = 0) -> tuple[Float32Array, IntArray]:
    rng = np.random.default_rng(seed)
    y_N = rng.integers(0, 5, n)
    return (np.eye(5, 8)[y_N] + 0.7 * rng.normal(size=(n, 8))).astype(np.float32), y_N


def test_the_vote_by_hand() -> None:
    x_MD = np.array(
        [[2, 0], [-1, 0], [0, 3], [0, -1]], np.float32
    )  # unit vectors around zero: the centring takes nothing
    asked_ND = np.array([[3, 4]], np.float32)  # cosines .6, -.6, .8, -.8
    weight_of_0, weight_of_2 = np.exp(0.6 / 0.1), np.exp(0.8 / 0.1)
    share = weight_of_2 / (weight_of_0 + weight_of_2)
    p_C = (2 * np.array([1 - share, share, 0]) + 1 / 3) / 3
    head = NeighbourHead(k=2).fit(x_MD, np.array([0, 0, 1, 1]), 3)
    np.testing.assert_allclose(head.logits(asked_ND), [np.log(p_C)], rtol=1e-5)


@pytest.mark.parametrize("block_numbers", [2**24, 1000])
def test_the_vote_is_scikit_learns(block_numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_NUMBERS", block_numbers)
    (x_MD, y_M), (asked_ND, _) = drawn(150), drawn(40, seed=1)
    normaliser = Normaliser("HCL2N").fit(x_MD)

    def warmth(distance: Float64Array) -> Float64Array:
        weight: Float64Array = np.exp((1 - distance) / 0.1)
        return weight

    for k in (1, 7, 150):
        reference = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=warmth)
        share_NC = reference.fit(normaliser(x_MD), y_M).predict_proba(normaliser(asked_ND))
        head = NeighbourHead(k=k).fit(x_MD, y_M, 5)
        np.testing.assert_allclose(np.exp(head.logits(asked_ND)), (k * share_NC + 0.2) / (k + 1), rtol=1e-4)


def test_heads_of_one_path_answer_as_each_alone() -> None:
    (x_MD, y_M), (asked_ND, _) = drawn(60), drawn(20, seed=1)
    ks = (10, 1, 100)
    for k, head in zip(ks, fit_path(x_MD, y_M, 5, ks=ks), strict=True):
        alone = NeighbourHead(k=k).fit(x_MD, y_M, 5)
        np.testing.assert_array_equal(head.logits(asked_ND), alone.logits(asked_ND))


@pytest.mark.parametrize("most", [3, 40])
def test_the_earlier_item_comes_first_among_equals(most: int) -> None:
    """Many copies of few vectors; those that share a search for more neighbours choose the same ones."""
    rng = np.random.default_rng(0)
    x_MD = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 400)]
    y_M = rng.integers(0, 3, 400)
    asked_ND = np.eye(4, dtype=np.float32)
    head, _ = fit_path(x_MD, y_M, 3, ks=(3, most))
    near_Nk, _ = head.memory.search(asked_ND)
    for direction, near_k in enumerate(near_Nk):
        equals = np.flatnonzero(x_MD[:, direction])
        np.testing.assert_array_equal(near_k, equals[:most])


def test_fewer_than_one_neighbour_is_refused() -> None:
    with pytest.raises(ValueError, match="k 0 "):
        NeighbourHead(k=0)
