"""The map: principal components against scikit-learn, and a t-SNE that keeps neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from graft.metrics.geometry import map_2d, pca


def clusters(n: int, dim: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    own = np.arange(n) % 4
    return (3 * rng.normal(size=(4, dim))[own] + rng.normal(size=(n, dim))).astype(np.float32), own


@pytest.mark.parametrize("shape", [(60, 8), (12, 40)])
def test_pca_agrees_with_scikit_learn_up_to_sign(shape: tuple[int, int]) -> None:
    x, _ = clusters(*shape, seed=0)
    expected = PCA(5, svd_solver="full").fit_transform(x.astype(np.float64))
    np.testing.assert_allclose(np.abs(pca(x, 5)), np.abs(expected), atol=1e-3)


def test_pca_signs_do_not_depend_on_the_order_of_items() -> None:
    x, _ = clusters(50, 6, seed=1)
    shuffled = np.random.default_rng(0).permutation(50)
    np.testing.assert_allclose(pca(x[shuffled], 3), pca(x, 3)[shuffled], atol=1e-4)


def test_pca_of_too_few_items_is_padded() -> None:
    scores = pca(np.array([[1.0, 2.0, 3.0]]), 2)
    assert scores.tolist() == [[0, 0]]


def test_map_keeps_neighbours_and_is_repeatable() -> None:
    x, own = clusters(160, 30, seed=2)
    placed, method = map_2d(x, seed=0)
    assert method == "t-SNE of 30 principal components"
    assert placed.shape == (160, 2) and placed.dtype == np.float32
    assert np.abs(placed).max() == pytest.approx(1)
    apart = np.linalg.norm(placed[:, None] - placed[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert np.mean(own[apart.argmin(1)] == own) == 1
    again, _ = map_2d(x, seed=0)
    assert (placed == again).all()


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_items_are_projected(n: int) -> None:
    placed, method = map_2d(np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32), seed=0)
    assert method == "two principal components"
    assert placed.shape == (n, 2) and np.isfinite(placed).all()


def test_equal_items_share_a_place() -> None:
    placed, _ = map_2d(np.ones((20, 4), np.float32), seed=0)
    assert np.isfinite(placed).all()
    assert np.ptp(placed) == 0
