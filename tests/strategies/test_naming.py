"""Class names beside the items, with the bundled encoders: of texts, of pictures over the bridge, and without words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.contracts.conftest import BUILDERS

from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.heads.base import unit_rows
from graft.strategies.frozen import STRATEGIES, Task
from graft.strategies.naming import name_classes

ASKED = ("goldfish", "ambulance", "acoustic guitar", "an umbrella")
IMAGENET = (1, 407, 402, 879)  # their places among the 1000 classes


@pytest.fixture(scope="module")
def bridged() -> Task:
    return name_classes(open_encoder("efficientnet-lite0"), ASKED, cache=None)


def test_a_text_encoder_encodes_the_names_itself() -> None:
    encoder = open_encoder("minilm")
    task = name_classes(encoder, ASKED, cache=None)
    assert (task.n_classes, task.names_source, task.bridge) == (4, "text", None)
    assert task.names_CD is not None
    np.testing.assert_allclose(np.linalg.norm(task.names_CD, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(task.names_CD, encode(list(ASKED), encoder, cache=None).vectors, atol=1e-5)


def test_a_picture_classifier_is_bridged(bridged: Task) -> None:
    assert (bridged.n_classes, bridged.names_source) == (4, "bridge")
    assert bridged.bridge is not None
    assert bridged.names_CD is not None
    assert bridged.names_CD.shape == (4, 1280)
    np.testing.assert_allclose(np.linalg.norm(bridged.names_CD, axis=1), 1, rtol=1e-5)
    assert bridged.bridge.weight.shape == (1000, 1280)
    assert bridged.bridge.bias.shape == (1000,)
    assert bridged.bridge.cosines_CK.shape == (4, 1000)
    assert bridged.bridge.cosines_CK.argmax(axis=1).tolist() == list(IMAGENET)


def test_the_bridge_knows_pictures_of_the_classes_asked_for(bridged: Task) -> None:
    """Features that the classifier itself takes for one of these classes go to that class."""
    assert bridged.bridge is not None
    centred_KD = bridged.bridge.weight - bridged.bridge.weight.mean(axis=0)
    x_ND = 8 * centred_KD[list(IMAGENET)]
    own_NK = x_ND @ bridged.bridge.weight.T + bridged.bridge.bias
    assert own_NK.argmax(axis=1).tolist() == list(IMAGENET)
    (head,) = STRATEGIES["zero-shot"].fit_path(x_ND, np.arange(4), bridged, [{}])
    assert head.logits(x_ND).argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert bridged.names_CD is not None
    assert (x_ND @ bridged.names_CD.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_the_text_tower_of_a_joint_encoder_encodes_the_names(tmp_path: Path) -> None:
    reference = f"dir:{BUILDERS['clip'](tmp_path)}"
    asked = ("a cat", "the red bird", "a dog")
    task = name_classes(open_encoder(reference, modality="image"), asked, cache=None)
    assert (task.n_classes, task.names_source, task.bridge) == (3, "joint", None)
    assert task.names_CD is not None
    vectors = encode(list(asked), open_encoder(reference, modality="text"), cache=None).vectors
    np.testing.assert_allclose(task.names_CD, unit_rows(vectors), atol=1e-5)


@pytest.mark.parametrize("reference", ["pixels", "layer:efficientnet-lite0:_blocks.10"])
def test_an_encoder_that_knows_nothing_of_words_has_no_names(reference: str) -> None:
    task = name_classes(open_encoder(reference), ASKED, cache=None)
    assert (task.names_CD, task.names_source, task.bridge) == (None, "", None)
    refusal = STRATEGIES["zero-shot"].refusal(task, np.array([5, 5, 5, 5]))
    assert refusal is not None
    assert "knows nothing of words" in refusal
