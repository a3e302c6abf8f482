"""Learned bridges: closed forms, the contrastive loss, the choice, and Flickr8k where it is at hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.errors import DataError
from graft.heads.base import unit_rows
from graft.metrics.rank import query_interval
from graft.retrieval.bridges import Ends, NamesBridge, names_bridge
from graft.retrieval.learned import Setting, Spectra, fit_bridge, info_nce, recalls
from graft.store.cache import VectorCache

ENDS = Ends("minilm", "a" * 64, "efficientnet-lite0", "b" * 64)


def made(pictures: int, *, noise: float = 0.3, seed: int = 0) -> tuple[Any, Any, Any]:
    """Pairs, two texts a picture, of six hidden qualities that both sides show in their own way."""
    rng = np.random.default_rng(seed)
    hidden, of = rng.normal(size=(pictures, 6)), np.repeat(np.arange(pictures), 2)
    x = hidden @ rng.normal(size=(6, 24)) + noise * rng.normal(size=(pictures, 24))
    q = hidden[of] @ rng.normal(size=(6, 10)) + noise * rng.normal(size=(2 * pictures, 10))
    return x[of].astype(np.float32), unit_rows(q), of


def spectra(pictures: int = 40) -> tuple[Spectra, Any, Any]:
    x, q, of = made(pictures)
    x = x[::2]
    mean = (q[::2] + q[1::2]).astype(np.float64) / 2
    return Spectra(x, q, of, mean), x, mean


@pytest.mark.parametrize("pictures", [12, 40])  # fewer and more than there are features: either product of the data
def test_ridge_is_scikit_learns(pictures: int) -> None:
    found, x, mean = spectra(pictures)
    maps = found.maps(Setting("ridge", shrink=3.0), 0)
    centred = x - x.mean(axis=0)
    alpha = 3.0 * float((centred.astype(np.float64) ** 2).sum()) / len(x)
    expected = Ridge(alpha=alpha).fit(x.astype(np.float64), mean).predict(x) - mean.mean(axis=0)
    np.testing.assert_allclose((x - maps.item_centre_F) @ maps.item_map_FR, expected, atol=1e-4)
    np.testing.assert_allclose(maps.query_map_TR, np.eye(10), atol=1e-6)


def test_cca_finds_the_direction_both_sides_share() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=400)
    x = np.c_[shared + 0.1 * rng.normal(size=400), 3 * rng.normal(size=(400, 2))]
    q = np.c_[3 * rng.normal(size=(400, 2)), shared + 0.1 * rng.normal(size=400)]
    maps = Spectra(x, q, np.arange(400), q).maps(Setting("cca", shrink=1.0, text_shrink=1e-6), 0)
    first_x, first_q = maps.item_map_FR[:, 0], maps.query_map_TR[:, 0]
    assert abs(first_x[0]) > 20 * np.abs(first_x[1:]).max()
    assert abs(first_q[2]) > 5 * np.abs(first_q[:2]).max()
    assert np.sign(first_x[0]) == np.sign(first_q[2])


def test_info_nce_by_hand() -> None:
    assert float(info_nce(torch.zeros(8, 8))) == pytest.approx(math.log(8))
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    rows = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    columns = (math.log(1 + math.exp(-1)) + math.log(2)) / 2
    assert float(info_nce(logits)) == pytest.approx((rows + columns) / 2)


def test_pairs_that_agree_make_a_bridge_far_above_chance() -> None:
    x, q, of = made(80)
    found = fit_bridge(x, q, groups_N=of, ends=ENDS)
    assert found.chosen in ("ridge", "cca", "contrastive")
    assert (found.pictures, found.pairs, found.pool) == (80, 160, 16)
    assert {c.kind for c in found.candidates} == {"ridge", "cca", "contrastive"}
    x_new, q_new, of_new = made(80, seed=0)
    again = fit_bridge(x_new, q_new, groups_N=of_new, ends=ENDS)
    np.testing.assert_array_equal(found.bridge.items(x), again.bridge.items(x))
    best = max(c.recalls["recall@1"].value for c in found.candidates)
    assert best > 0.5  # chance is 1/16


def test_pairs_at_random_are_said_to_teach_nothing() -> None:
    rng = np.random.default_rng(3)
    x, q = rng.normal(size=(60, 24)), unit_rows(rng.normal(size=(60, 10)))
    with pytest.raises(DataError, match="teach nothing"):
        fit_bridge(x, q, groups_N=np.arange(60), ends=ENDS)


def test_without_a_proven_gain_the_names_are_kept() -> None:
    rng = np.random.default_rng(3)
    x, q = rng.normal(size=(60, 24)), unit_rows(rng.normal(size=(60, 10)))
    names = NamesBridge(rng.normal(size=(5, 24)), np.zeros(5), rng.normal(size=(5, 10)), ends=ENDS)
    found = fit_bridge(x, q, groups_N=np.arange(60), ends=ENDS, names=names)
    assert found.chosen == "names"
    assert found.bridge is names
    assert "no proven gain" in found.why


def test_impossible_pairs_are_refused() -> None:
    x, q, of = made(30)
    with pytest.raises(DataError, match="1 pictures with texts are too few"):
        fit_bridge(x[:1], q[:1], groups_N=of[:1], ends=ENDS)
    with pytest.raises(DataError, match="unequal length"):
        fit_bridge(x[1:], q, groups_N=of, ends=ENDS)
    x[3, 0] = np.nan
    with pytest.raises(DataError, match=r"1 picture vectors are not finite, the first in row 3"):
        fit_bridge(x, q, groups_N=of, ends=ENDS)


def test_a_tie_counts_against_the_picture() -> None:
    class Flat:
        def items(self, x: Any) -> Any:
            return np.ones((len(x), 1), np.float32)

        queries = items

    assert recalls(Flat(), np.zeros((12, 2)), np.zeros((12, 2)), np.arange(12)).sum() == 0  # type: ignore[arg-type]


def test_flickr8k(shared_data: Path) -> None:
    """200 photos to learn from, 100 others to find: far above the class names, with an interval that says so."""
    from graft.listings.pairs import read_pairs

    if not (shared_data / "flickr8k_1000").is_dir():
        pytest.skip("flickr8k_1000 is not among the shared data")
    pairs = read_pairs("data:flickr8k_1000")
    some = np.flatnonzero((pairs.groups < 300) & (np.arange(len(pairs.groups)) % 5 < 3))  # three of five captions
    pictures, words = open_encoder("efficientnet-lite0"), open_encoder("minilm")
    with VectorCache.open() as cache:
        x = encode([pairs.images[i] for i in some], pictures, cache=cache).vectors
        q = encode([pairs.texts[i] for i in some], words, cache=cache).vectors
        names = names_bridge(pictures, cache=cache)
    of = pairs.groups[some]
    assert names is not None
    train = of < 200
    found = fit_bridge(x[train], q[train], groups_N=of[train], ends=Ends.of(words, pictures), names=names)
    assert found.chosen != "names"
    first = x[~train][np.unique(of[~train], return_index=True)[1]]
    held = (first, unit_rows(q[~train]), of[~train] - 200)
    gain = query_interval((recalls(found.bridge, *held) - recalls(names, *held)).mean(axis=1), seed=0)
    assert gain.low is not None
    assert gain.low > 0.1
