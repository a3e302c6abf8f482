"""Prototypes against SimpleShot's formulas, and named ones against theirs, worked without the head's shortcuts.

Legend: N items, D dims, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from graft.heads.base import Float32Array, Float64Array, IntArray, log_softmax, unit_rows
from graft.heads.normalise import Normaliser
from graft.heads.prototypes import EXPECTED_WEIGHT, SCALE, PrototypeHead, fit_path

CLASSES, DIMS = 4, 10


def drawn(seed: int, n: int, spread: float = 0.5) -> tuple[Float32Array, IntArray, Float32Array]:
    """Items around one random direction a class, and those directions."""
    rng = np.random.default_rng(seed)
    centre_CD = rng.normal(size=(CLASSES, DIMS)).astype(np.float32)
    y_N = np.arange(n) % CLASSES
    x_ND = (centre_CD[y_N] + spread * rng.normal(size=(n, DIMS))).astype(np.float32)
    return x_ND, y_N, centre_CD


@pytest.mark.parametrize("normalisation", ["UN", "L2N", "CL2N"])
def test_logits_are_squared_distances_to_class_means_by_hand(normalisation: str) -> None:
    x_ND = np.array([[3, 4], [5, 12], [8, -6], [1, 0]], np.float64)
    y_N, asked_D = np.array([0, 0, 1, 1]), np.array([-4.0, 3.0])
    mean_D = x_ND.mean(axis=0) if normalisation == "CL2N" else np.zeros(2)

    def normalised(v_D: Float64Array) -> Float64Array:
        v_D = v_D - mean_D
        return v_D if normalisation == "UN" else v_D / np.linalg.norm(v_D)

    rows = [normalised(v_D) for v_D in x_ND]
    mean_CD = np.array([(rows[0] + rows[1]) / 2, (rows[2] + rows[3]) / 2])
    squared_C = ((normalised(asked_D) - mean_CD) ** 2).sum(axis=1)
    head = PrototypeHead(normalisation=normalisation).fit(x_ND.astype(np.float32), y_N, 2)
    np.testing.assert_allclose(head.logits(asked_D[None].astype(np.float32)), [-head.scale * squared_C], rtol=1e-5)


def likeliest_scale(logits_NC: Float64Array, y_N: IntArray, expected: float) -> float:
    """The scale of least log loss plus half the squared distance to `expected` on a log scale, by brute force."""

    def loss(log_scale: float) -> float:
        total = -log_softmax(np.exp(log_scale) * logits_NC)[np.arange(len(y_N)), y_N].sum()
        return float(total + (log_scale - np.log(expected)) ** 2 / 2)

    bounds = (np.log(expected / 50), np.log(expected * 50))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8}).x))


@pytest.mark.parametrize("normalisation", ["UN", "L2N"])
def test_the_scale_is_fitted_on_distances_to_means_without_the_item(normalisation: str) -> None:
    x_ND, y_N, _ = drawn(0, 25, spread=1.5)
    unit_ND = Normaliser(normalisation).fit(x_ND)(x_ND).astype(np.float64)

    def squared(place: np.integer[Any], kept_N: IntArray) -> Float64Array:
        means = [unit_ND[kept_N[y_N[kept_N] == c]].mean(axis=0) for c in range(CLASSES)]
        distances: Float64Array = ((unit_ND[place] - np.array(means)) ** 2).sum(axis=1)
        return distances

    everything = np.arange(25)
    left_NC = np.array([squared(place, np.delete(everything, place)) for place in everything])
    expected = SCALE / np.mean([squared(place, everything) for place in everything])
    head = PrototypeHead(normalisation=normalisation).fit(x_ND, y_N, CLASSES)
    assert head.scale == pytest.approx(likeliest_scale(-left_NC, y_N, float(expected)), rel=1e-3)


def centred_names(names_CD: Float32Array) -> Float64Array:
    return unit_rows(names_CD - names_CD.mean(axis=0)).astype(np.float64)


@pytest.mark.parametrize("name_weight", [0.5, 4.0])
def test_a_named_prototype_is_the_sum_of_examples_and_the_weighted_name(name_weight: float) -> None:
    x_ND, y_N, names_CD = drawn(1, 22)
    unit_ND = Normaliser("LCL2N").fit(x_ND)(x_ND).astype(np.float64)
    name_CD = centred_names(names_CD)
    raw_CD = np.array([unit_ND[y_N == c].sum(axis=0) for c in range(CLASSES)]) + name_weight * name_CD
    expected_CD = raw_CD / np.linalg.norm(raw_CD, axis=1, keepdims=True)
    head = PrototypeHead(names_CD=names_CD, name_weight=name_weight).fit(x_ND, y_N, CLASSES)
    np.testing.assert_allclose(head.mean_CD, expected_CD, rtol=0, atol=1e-6)
    squared_NC = ((unit_ND[:, None] - expected_CD) ** 2).sum(axis=2)
    np.testing.assert_allclose(head.logits(x_ND), -head.scale * squared_NC, rtol=1e-4, atol=1e-4)
    left_NC = np.empty((22, CLASSES))
    for place, own in enumerate(y_N):
        without_CD = raw_CD.copy()
        without_CD[own] -= unit_ND[place]
        left_NC[place] = without_CD @ unit_ND[place] / np.linalg.norm(without_CD, axis=1)
    assert 2 * head.scale == pytest.approx(likeliest_scale(left_NC, y_N, SCALE), rel=1e-3)


def test_with_a_boundless_weight_the_names_alone_decide() -> None:
    x_ND, y_N, names_CD = drawn(2, 40)
    head = PrototypeHead(names_CD=names_CD, name_weight=1e7).fit(x_ND, y_N, CLASSES)
    np.testing.assert_allclose(head.mean_CD, centred_names(names_CD), rtol=0, atol=1e-5)
    named_NC = Normaliser("LCL2N").fit(x_ND)(x_ND) @ centred_names(names_CD).T
    np.testing.assert_array_equal(head.logits(x_ND).argmax(axis=1), named_NC.argmax(axis=1))


def test_a_class_without_examples_is_its_name_even_at_weight_zero() -> None:
    x_ND, y_N, names_CD = drawn(3, 40)
    seen = y_N != 2
    head = PrototypeHead(names_CD=names_CD, name_weight=0.0).fit(x_ND[seen], y_N[seen], CLASSES)
    np.testing.assert_allclose(head.mean_CD[2], centred_names(names_CD)[2], rtol=0, atol=1e-6)
    assert (head.logits(x_ND[~seen]).argmax(axis=1) == 2).mean() > 0.8


def test_the_weight_picked_follows_what_the_names_are_worth() -> None:
    right, wrong = [], []
    for seed in range(8):
        x_ND, y_N, names_CD = drawn(seed, 12, spread=1.2)
        right.append(PrototypeHead(names_CD=names_CD).fit(x_ND, y_N, CLASSES).picked_weight)
        x_ND, y_N, names_CD = drawn(seed, 200, spread=1.2)
        noise_CD = np.random.default_rng(100 + seed).normal(size=names_CD.shape)
        for misleading_CD in (np.roll(names_CD, 1, axis=0), noise_CD):
            wrong.append(PrototypeHead(names_CD=misleading_CD).fit(x_ND, y_N, CLASSES).picked_weight)
    assert np.median(right) >= EXPECTED_WEIGHT
    assert max(wrong) <= 1  # of about 50 examples a class


def test_names_that_say_nothing_do_little_harm() -> None:
    x_ND, y_N, _ = drawn(0, 60, spread=1.2)
    asked_ND, true_N, _ = drawn(0, 400, spread=1.2)
    noise_CD = np.random.default_rng(100).normal(size=(CLASSES, DIMS))
    named = PrototypeHead(names_CD=noise_CD).fit(x_ND, y_N, CLASSES)
    plain = PrototypeHead(normalisation="LCL2N").fit(x_ND, y_N, CLASSES)
    right, right_plain = ((head.logits(asked_ND).argmax(axis=1) == true_N).mean() for head in (named, plain))
    assert right >= right_plain - 0.02


def test_a_path_is_the_same_as_each_weight_alone() -> None:
    x_ND, y_N, names_CD = drawn(4, 30)
    weights = (4.0, None, 1.0)
    for weight, head in zip(
        weights, fit_path(x_ND, y_N, CLASSES, names_CD=names_CD, name_weights=weights), strict=True
    ):
        alone = PrototypeHead(names_CD=names_CD, name_weight=weight).fit(x_ND, y_N, CLASSES)
        np.testing.assert_array_equal(head.logits(x_ND), alone.logits(x_ND))
