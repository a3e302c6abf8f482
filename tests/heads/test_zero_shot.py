"""What class names tell, by hand, and the scale at which they are trusted, recovered from data drawn with it.

Legend: N items, D dims, C the user's classes, K classes of a classifier, T dims of a text space.
"""

from __future__ import annotations

import numpy as np
import pytest

from graft.heads.base import FloatArray, softmax, unit_rows
from graft.heads.zero_shot import (
    EXPECTED_SCALE,
    BridgeHead,
    NamePrior,
    ZeroShotHead,
    class_probabilities,
    class_scores,
    conse,
    fit_scale,
    synthesised_names,
)

LABELS = np.array([0, 1])


def test_zero_shot_by_hand() -> None:
    head = ZeroShotHead(np.array([[2.0, 0.0], [3.0, 4.0]]), scale=10).fit(np.ones((2, 2)), LABELS, 2)
    asked_ND = np.array([[0.0, 5.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(head.logits(asked_ND), [[0, 8], [10, 6], [0, 0]], atol=1e-5)


def test_a_classifiers_probabilities_by_hand() -> None:
    weight_KD = np.array([[1.0, 0.0], [0.0, 2.0]])
    p_NK = class_probabilities(np.array([[np.log(6), np.log(2)]]), weight_KD, np.array([0.0, np.log(1.5)]))
    np.testing.assert_allclose(p_NK, [[0.5, 0.5]])  # logits log 6 and 2 log 2 + log 1.5, which is log 6


def test_scores_over_the_bridge_by_hand() -> None:
    p_NK = np.array([[0.7, 0.2, 0.1]])
    cosines_CK = np.log([[1.0, 1.0, 2.0], [6.0, 3.0, 1.0]]) / 2  # softmax at beta 2: (1, 1, 2) / 4 and (6, 3, 1) / 10
    expected = [[0.7 / 4 + 0.2 / 4 + 0.1 / 2, 0.7 * 0.6 + 0.2 * 0.3 + 0.1 * 0.1]]
    np.testing.assert_allclose(class_scores(p_NK, cosines_CK, beta=2), expected)
    x_ND, layer_KD, bias_K = np.log(p_NK), np.eye(3), np.zeros(3)  # features whose probabilities are p
    head = BridgeHead(layer_KD, bias_K, cosines_CK, beta=2).fit(x_ND, LABELS[:1], 2)
    np.testing.assert_allclose(head.logits(x_ND), np.log(expected), rtol=1e-9)


def test_conse_by_hand() -> None:
    names_KT = np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    p_NK = np.array([[0.4, 0.3, 0.3], [0.1, 0.2, 0.7]])
    all_three = np.array([[0.1, 0.3], [-0.6, 0.2]])
    np.testing.assert_allclose(conse(p_NK, names_KT), unit_rows(all_three), rtol=1e-6)
    np.testing.assert_allclose(conse(p_NK, names_KT, top=1), [[1, 0], [-1, 0]])
    np.testing.assert_allclose(conse(p_NK[1:], names_KT, top=2), unit_rows(np.array([[-0.7, 0.2]])), rtol=1e-6)


def test_synthesised_names_by_hand() -> None:
    weight_KD = np.array([[4.0, 0.0], [0.0, 4.0], [2.0, -1.0]])  # less their mean (2, 1): (2, -1), (-2, 3), (0, -2)
    cosines_CK = np.log([[1.0, 1.0, 2.0], [6.0, 3.0, 1.0]]) / 5
    raw_CD = np.array([[0.5 - 0.5 + 0, -0.25 + 0.75 - 1.0], [1.2 - 0.6 + 0, -0.6 + 0.9 - 0.2]])
    np.testing.assert_allclose(synthesised_names(weight_KD, cosines_CK, beta=5), unit_rows(raw_CD), atol=1e-6)
    sharp_CD = synthesised_names(weight_KD, np.array([[0.0, 1.0, 0.5]]), beta=200)
    np.testing.assert_allclose(sharp_CD, unit_rows(np.array([[-2.0, 3.0]])), atol=1e-6)


def labels_drawn(logits_NC: FloatArray, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """One label an item, with the probabilities these logits give."""
    return np.asarray((softmax(logits_NC).cumsum(axis=1) < rng.random((len(logits_NC), 1))).sum(axis=1), np.int64)


@pytest.mark.parametrize("scale", [3.0, 12.0, 30.0])
def test_the_scale_that_made_the_labels_is_found_again(scale: float) -> None:
    rng = np.random.default_rng(0)
    x_ND = (rng.normal(size=(3000, 16)) + 2).astype(np.float32)
    prior = NamePrior(rng.normal(size=(6, 16)) - 1)
    prior.normaliser.fit(x_ND)
    y_N = labels_drawn(scale * prior.cosines(x_ND), rng)
    assert prior.fit(x_ND, y_N, 6).scale == pytest.approx(scale, rel=0.1)


def test_names_that_contradict_the_labels_get_no_weight() -> None:
    rng = np.random.default_rng(0)
    names_CD = rng.normal(size=(4, 8))
    y_N = np.arange(80) % 4
    x_ND = np.roll(names_CD, 1, axis=0)[y_N] + 0.3 * rng.normal(size=(80, 8))
    assert NamePrior(names_CD).fit(x_ND, y_N, 4).scale < 0.5
    assert fit_scale(np.empty((0, 4)), y_N[:0]) == pytest.approx(EXPECTED_SCALE, abs=1e-3)


def test_a_prior_compares_centred_items_with_centred_names() -> None:
    """What all items share and what all names share is taken away, as between the towers of a joint encoder."""
    rng = np.random.default_rng(0)
    x_ND, names_CD = rng.normal(size=(40, 8)), rng.normal(size=(4, 8))
    plain = NamePrior(names_CD).fit(x_ND, np.arange(40) % 4, 4)
    unit_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    expected_NC = unit_rows(unit_ND - unit_ND.mean(axis=0)) @ unit_rows(names_CD - names_CD.mean(axis=0)).T
    np.testing.assert_allclose(plain.cosines(x_ND), expected_NC, atol=1e-5)
    moved = NamePrior(names_CD + 3).fit(x_ND, np.arange(40) % 4, 4)
    np.testing.assert_allclose(moved.cosines(x_ND), expected_NC, atol=1e-5)
    again = NamePrior.from_arrays(plain.arrays())
    np.testing.assert_array_equal(again.cosines(x_ND), plain.cosines(x_ND))
