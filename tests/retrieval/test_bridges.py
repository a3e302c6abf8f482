"""Bridges against `class_scores` and cases worked by hand; saved, loaded and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graft.encoders.efficientnet import imagenet_kinds, imagenet_names
from graft.encoders.open import open_encoder
from graft.errors import MissingError, ModelError, UsageError
from graft.heads.base import unit_rows
from graft.heads.zero_shot import class_probabilities, class_scores
from graft.retrieval.bridges import (
    HUB_BETA,
    MANIFEST,
    TENSORS,
    Bridge,
    Ends,
    LearnedBridge,
    Maps,
    NamesBridge,
    load_bridge,
    names_bridge,
    picture_features,
    save_bridge,
)
from graft.store.cache import VectorCache

ENDS = Ends("minilm", "a" * 64, "efficientnet-lite0", "b" * 64)
RNG = np.random.default_rng(0)
X = np.abs(RNG.normal(size=(7, 6))).astype(np.float32)
Q = unit_rows(RNG.normal(size=(5, 4)))


def named() -> NamesBridge:
    rng = np.random.default_rng(1)
    return NamesBridge(rng.normal(size=(3, 6)), rng.normal(size=3), rng.normal(size=(3, 4)), ends=ENDS)


def learned(names: NamesBridge | None, *, blend: float = 0.4, hub: float = 0.75) -> LearnedBridge:
    rng = np.random.default_rng(2)
    features = picture_features(X, names, root=True).shape[1]
    shapes = ((features,), (features, 3), (4,), (4, 3))
    maps = Maps(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))
    return LearnedBridge("cca", maps, ends=ENDS, root=True, names=names, blend=blend, hub=hub, bank_BT=Q[:4])


def test_names_bridge_is_class_scores() -> None:
    bridge = named()
    expected = class_scores(class_probabilities(X, bridge.weight_KD, bridge.bias_K), Q @ bridge.names_KT.T, bridge.beta)
    np.testing.assert_allclose(bridge.items(X) @ bridge.queries(Q).T, expected, atol=1e-6)
    np.testing.assert_allclose(bridge.items(X).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(bridge.queries(Q).sum(axis=1), 1, atol=1e-6)


def test_learned_score_is_the_sum_of_its_three_terms() -> None:
    names = named()
    bridge = learned(names)
    maps = bridge.maps
    items = unit_rows((picture_features(X, names, root=True) - maps.item_centre_F) @ maps.item_map_FR)

    def without_hub(q: np.ndarray) -> np.ndarray:
        cosines = items @ unit_rows((q - maps.query_centre_T) @ maps.query_map_TR).T
        return cosines + 0.4 * np.sqrt(names.items(X)) @ np.sqrt(names.queries(q)).T

    hubness = np.log(np.exp(HUB_BETA * without_hub(Q[:4])).mean(axis=1)) / HUB_BETA
    expected = without_hub(Q) - 0.75 * hubness[:, None]
    np.testing.assert_allclose(bridge.items(X) @ bridge.queries(Q).T, expected, atol=1e-5)


def test_features_by_hand() -> None:
    np.testing.assert_allclose(picture_features(np.array([[9.0, 16.0]]), None, root=True), [[0.6, 0.8]], atol=1e-6)
    np.testing.assert_allclose(picture_features(np.array([[-3.0, 4.0]]), None, root=False), [[-0.6, 0.8]], atol=1e-6)


@pytest.mark.parametrize("bridge", [named(), learned(named()), learned(None), learned(None, hub=0.0)])
def test_saved_and_loaded_it_gives_the_same_bits(bridge: Bridge, tmp_path: Path) -> None:
    save_bridge(bridge, tmp_path / "bridge", about={"why": "a test"})
    again = load_bridge(tmp_path / "bridge")
    assert (again.kind, again.metric, again.dim, again.ends) == (bridge.kind, "dot", bridge.dim, ENDS)
    assert (again.text_reference, again.text_fingerprint, again.image_fingerprint) == ("minilm", "a" * 64, "b" * 64)
    for mine, theirs in ((bridge.items(X), again.items(X)), (bridge.queries(Q), again.queries(Q))):
        assert mine.dtype == np.float32
        assert mine.shape[1] == bridge.dim
        np.testing.assert_array_equal(mine, theirs)
    assert json.loads((tmp_path / "bridge" / MANIFEST).read_text())["about"] == {"why": "a test"}


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    save_bridge(named(), tmp_path / "bridge")
    tensors, manifest = tmp_path / "bridge" / TENSORS, tmp_path / "bridge" / MANIFEST
    whole, told = tensors.read_bytes(), manifest.read_text()
    tensors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelError, match="was changed"):
        load_bridge(tmp_path / "bridge")
    tensors.write_bytes(whole)
    manifest.write_text(told.replace("30.0", "31.0"))
    with pytest.raises(ModelError, match="was changed"):
        load_bridge(tmp_path / "bridge")
    manifest.write_text("[]")
    with pytest.raises(ModelError, match="manifest of a bridge"):
        load_bridge(tmp_path / "bridge")
    manifest.write_text(told)
    tensors.unlink()
    with pytest.raises(MissingError, match="graft bridge fit"):
        load_bridge(tmp_path / "bridge")


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    save_bridge(named(), tmp_path / "bridge")
    with pytest.raises(UsageError, match="exists"):
        save_bridge(named(), tmp_path / "bridge")


@pytest.mark.parametrize("bridge", [named(), learned(named()), learned(None)])
def test_vectors_of_other_sizes_are_refused(bridge: Bridge) -> None:
    with pytest.raises(UsageError, match="pictures with"):
        bridge.items(X[:, :5])
    with pytest.raises(UsageError, match="texts with 4 dims"):
        bridge.queries(X)


def test_the_bundled_classifier_is_a_bridge_and_pixels_are_none() -> None:
    with VectorCache.open() as cache:
        bridge = names_bridge(open_encoder("efficientnet-lite0"), cache=cache)
    assert bridge is not None
    assert bridge.plain().dim == 1000 and bridge.kinds_SK is not None and bridge.dim == 1000 + len(bridge.kinds_SK)
    nearest = bridge.plain().queries(bridge.names_KT[:1000]).argmax(axis=1)
    # a few classes have the same name: crane, the bird and the machine
    assert (nearest == np.arange(1000)).sum() >= 995
    x_ND = np.random.default_rng(0).standard_normal((3, 1280)).astype(np.float32)
    p_NM = bridge.items(x_ND)
    np.testing.assert_allclose(p_NM[:, :1000].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(p_NM[:, 1000:], p_NM[:, :1000] @ bridge.kinds_SK.T, rtol=1e-5)


def test_kinds_are_sums_of_the_right_classes() -> None:
    names = imagenet_names()
    kinds, members_SK = imagenet_kinds(names)
    of = {
        kind: {names[k].split(",")[0] for k in np.flatnonzero(row)} for kind, row in zip(kinds, members_SK, strict=True)
    }
    assert len(set(kinds)) == len(kinds) and (members_SK.sum(1) > 0).all()
    assert len(of["dog"]) == 118 and {"Chihuahua", "Mexican hairless"} <= of["dog"]
    assert {"tabby", "Egyptian cat"} <= of["cat"] and "cougar" not in of["cat"]
    assert {"acoustic guitar", "banjo", "electric guitar"} == of["guitar"] and {"ram", "bighorn"} == of["sheep"]
    assert {"canoe", "gondola", "yawl"} <= of["boat"] and "pizza" in of["food"]
    assert imagenet_kinds(("a", "b"))[0] == ()


def test_pixels_have_no_bridge() -> None:
    assert names_bridge(open_encoder("pixels"), cache=None) is None
