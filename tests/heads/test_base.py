"""The numerics heads share, and the normalisations, by hand and as laws."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from graft.errors import UsageError
from graft.heads.base import LOW, Float64Array, item_weights, log_softmax, softmax, spread_out, unit_rows
from graft.heads.normalise import NORMALISATIONS, Normaliser

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)
VECTORS = hnp.arrays(np.float32, SHAPES, elements=st.floats(-1e3, 1e3, width=32))
LOGITS = hnp.arrays(np.float64, SHAPES, elements=st.floats(-1e6, 1e6))


@settings(deadline=None, max_examples=50)
@given(LOGITS, st.floats(-100, 100))
def test_softmax_gives_probabilities_that_know_no_shift(logits_NC: Float64Array, shift: float) -> None:
    p_NC = softmax(logits_NC)
    np.testing.assert_allclose(p_NC.sum(axis=1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(softmax(logits_NC + shift), p_NC, rtol=0, atol=1e-8)
    assert (p_NC[np.arange(len(p_NC)), logits_NC.argmax(axis=1)] == p_NC.max(axis=1)).all()


def test_softmax_by_hand() -> None:
    logits_NC = np.log([[1.0, 3.0], [4.0, 1.0]])
    np.testing.assert_allclose(softmax(logits_NC), [[0.25, 0.75], [0.8, 0.2]])
    np.testing.assert_allclose(log_softmax(logits_NC), np.log([[0.25, 0.75], [0.8, 0.2]]))


@settings(deadline=None, max_examples=50)
@given(VECTORS)
def test_unit_rows_are_of_length_one_or_zero_and_stay_so(x_ND: Float64Array) -> None:
    unit_ND = unit_rows(x_ND)
    assert unit_ND.dtype == np.float32
    long_N = np.linalg.norm(x_ND, axis=1) > 1e-15  # squares of less vanish in float32
    np.testing.assert_allclose(np.linalg.norm(unit_ND[long_N], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(unit_rows(unit_ND)[long_N], unit_ND[long_N], rtol=0, atol=1e-6)
    assert not unit_ND[~x_ND.any(axis=1)].any()


def test_balanced_weights_are_scikit_learns() -> None:
    y_N = np.array([0, 0, 0, 3, 3, 1])
    np.testing.assert_allclose(item_weights(y_N, balanced=True), compute_sample_weight("balanced", y_N))
    np.testing.assert_array_equal(item_weights(y_N, balanced=False), np.ones(6))
    assert len(item_weights(y_N[:0], balanced=True)) == 0


def test_classes_without_examples_share_almost_nothing() -> None:
    all_NC = spread_out(np.log([[1.0, 3.0]]) + 5, np.array([0, 2]), 4)
    np.testing.assert_allclose(all_NC, [[math.log(0.25), LOW, math.log(0.75), LOW]])
    same_NC = spread_out(np.array([[7.0, 5.0]]), np.array([0, 1]), 2)
    np.testing.assert_array_equal(same_NC, [[7.0, 5.0]])


def test_normalisations_by_hand() -> None:
    train_ND = np.array([[3.0, 4.0], [6.0, -8.0]], np.float32)
    asked_ND = np.array([[0.0, 5.0]], np.float32)
    length = math.hypot
    by_hand: dict[str, Any] = {
        "UN": [0, 5],
        "L2N": [0, 1],
        "CL2N": np.array([0 - 4.5, 5 + 2]) / length(4.5, 7),  # the mean is (4.5, -2)
        "LCL2N": np.array([-0.6, 1]) / length(0.6, 1),  # the mean of (.6, .8) and (.6, -.8) is (.6, 0)
        "HCL2N": np.array([-0.6, 1]) / length(0.6, 1),  # no roots: there are negative features
        "CSN": np.array([-4.5, 7]) / length(1.5, 6),  # both lie (1.5, 6) from the mean
    }
    for kind, expected in by_hand.items():
        np.testing.assert_allclose(Normaliser(kind).fit(train_ND)(asked_ND), [expected], rtol=1e-6)


def test_roots_are_taken_where_no_feature_is_negative() -> None:
    train_ND = np.array([[9.0, 16.0], [16.0, 9.0]], np.float32)  # roots (3, 4) and (4, 3), unit (.6, .8) and (.8, .6)
    normaliser = Normaliser("HCL2N").fit(train_ND)
    assert normaliser.root
    half = math.sqrt(0.5)
    np.testing.assert_allclose(normaliser(train_ND), [[-half, half], [half, -half]], rtol=1e-5)
    asked_ND = np.array([[4.0, -1.0]], np.float32)  # the negative counts as zero: unit (1, 0), less (.7, .7)
    np.testing.assert_allclose(normaliser(asked_ND), [np.array([0.3, -0.7]) / math.hypot(0.3, 0.7)], rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(VECTORS, st.sampled_from(("L2N", "LCL2N")), st.floats(0.25, 64))
def test_these_normalisations_know_no_length(x_ND: Float64Array, kind: str, factor: float) -> None:
    x_ND = np.where(np.abs(x_ND) < 1e-3, 0, x_ND)
    plain, scaled = Normaliser(kind).fit(x_ND), Normaliser(kind).fit(x_ND * factor)
    before_ND, after_ND = plain._before_centring(x_ND), scaled._before_centring(x_ND * factor)
    np.testing.assert_allclose(before_ND, after_ND, rtol=0, atol=1e-6)


def test_an_unknown_normalisation_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"L2NN.*L2N"):
        Normaliser("L2NN")
    assert NORMALISATIONS == ("UN", "L2N", "CL2N", "LCL2N", "HCL2N", "CSN")
