"""Networks trained from nothing: encoders and bodies like any other, drawn by a seed, kept with their words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from graft.encoders.base import FloatArray
from graft.encoders.open import open_encoder
from graft.encoders.runtime import OpenVinoRunner
from graft.encoders.tokens import UNKNOWN, Words, frequent_words
from graft.encoders.tuned import TunedEncoder, new_network, open_tuned, save_encoder
from graft.errors import UsageError
from graft.trainers.adapters import insert, tuned
from graft.trainers.body import Split, open_body

TEXTS = ["the cat sat on the mat", "a dog", "", "The CAT, the dog!"]
CNN = {"width": 4, "side": 28}
BAG = {"vocabulary": 50, "dim": 6}


def pictures(count: int = 4) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (28, 28, 3), np.uint8)) for _ in range(count)]


MADE: dict[str, tuple[Callable[[], TunedEncoder], list[Any]]] = {
    "cnn": (lambda: new_network("image", CNN), pictures()),
    "cnn without norm": (lambda: new_network("image", {**CNN, "norm": "none", "kernel": 5}), pictures()),
    "bag": (lambda: new_network("text", BAG, TEXTS), TEXTS),
    "hashed bag": (lambda: new_network("text", BAG), TEXTS),
}


def vectors(encoder: TunedEncoder, items: list[Any]) -> FloatArray:
    batch = encoder.collate(encoder.prepare(items))
    with torch.no_grad():
        raw = encoder.module()(**{name: torch.from_numpy(array) for name, array in batch.items()})
    return encoder.finish(raw.numpy(), batch)


@pytest.mark.parametrize("name", MADE)
def test_is_an_encoder_and_a_body(name: str, tmp_path: Path) -> None:
    make, items = MADE[name]
    encoder = make()
    whole = vectors(encoder, items)
    assert whole.shape == (4, encoder.info.dim)
    assert np.isfinite(whole).all()
    assert len(np.unique(whole.round(5), axis=0)) == 4
    alone = np.concatenate([vectors(encoder, [item]) for item in items])
    assert np.allclose(whole, alone, atol=1e-5)  # nothing depends on the batch
    batch = encoder.collate(encoder.prepare(items))
    (raw,) = OpenVinoRunner(encoder, "f32").run([batch])
    assert np.allclose(encoder.finish(raw, batch), whole, atol=1e-5)
    body = open_body(encoder)
    tensors = {key: torch.from_numpy(array) for key, array in batch.items()}
    for mode in (True, False):
        assert np.allclose(body.train(mode)(tensors).detach().numpy(), whole, atol=1e-5)
    assert sum(p.numel() for p in body.parameters()) == encoder.info.parameters
    save_encoder(tmp_path / "kept", encoder)
    found = open_encoder(f"dir:{tmp_path / 'kept'}", modality=encoder.info.modality)
    assert isinstance(found, TunedEncoder)
    assert found.info.fingerprint == encoder.info.fingerprint
    assert found.info.parameters == encoder.info.parameters
    assert np.array_equal(vectors(found, items), whole)


def test_depths_of_both() -> None:
    cnn, bag = (open_body(MADE[name][0]()) for name in ("cnn", "bag"))
    assert [group.name for group in cnn.groups()] == ["block 0", "block 1", "block 2"]
    assert [group.name for group in bag.groups()] == ["stem", "block 0"]
    batch = {"pixels": torch.randint(256, (3, 3, 28, 28), dtype=torch.uint8)}
    split = Split(cnn, 2)
    assert torch.allclose(split.upper(split.lower(batch), {}), cnn(batch), atol=1e-6)


def test_the_size_is_as_the_settings_say() -> None:
    default = new_network("image")
    assert default.info.dim == 128
    assert default.info.image_side == 32
    weights = 9 * (3 * 32 + 32 * 64 + 64 * 128)
    assert default.info.parameters == weights + 2 * (32 + 64 + 128)  # and of each norm a scale and a shift
    bag = new_network("text", {"vocabulary": 50, "dim": 6})
    assert bag.info.dim == 6
    assert bag.info.parameters == 50 * 6 + 6 * 6 + 6
    assert new_network("text", None, ["one two two"]).info.parameters == (2 + 2) * 128 + 128 * 128 + 128


def test_the_seed_draws_the_weights_and_nothing_else_is_drawn() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two = new_network("image", CNN), new_network("image", CNN)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.info == two.info
    assert new_network("image", {**CNN, "seed": 1}).info.fingerprint != one.info.fingerprint


def test_a_bag_is_the_mean_of_its_words_and_a_hidden_layer() -> None:
    encoder = new_network("text", BAG, ["cat dog dog"])  # by frequency: dog is 2, cat 3
    state = encoder.changes.arrays
    words, weight, bias = (state[f"model.{name}"] for name in ("words.weight", "blocks.0.0.weight", "blocks.0.0.bias"))
    mean = (words[3] + words[2] + words[1]) / 3
    assert np.allclose(vectors(encoder, ["Cat dog bird"])[0], np.maximum(weight @ mean + bias, 0), atol=1e-6)


def test_it_learns(tmp_path: Path) -> None:
    """A few steps tell dark pictures from light ones; what was learned is kept, and found in the folder."""
    random = np.random.default_rng(1)
    pixels = np.concatenate([random.integers(0, 140, (16, 3, 28, 28)), random.integers(100, 256, (16, 3, 28, 28))])
    batch = {"pixels": torch.from_numpy(pixels.astype(np.uint8))}
    targets = torch.arange(32) // 16
    encoder = new_network("image", CNN)
    body = open_body(encoder)
    head = torch.nn.Linear(body.dim, 2)
    optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], 1e-2)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(head(body(batch)), targets)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    assert loss.item() < 0.3
    learned = tuned(body, {}, "network", {})
    assert learned.info.fingerprint != encoder.info.fingerprint
    save_encoder(tmp_path, learned)
    items = pictures()
    arrays = {"pixels": torch.from_numpy(encoder.collate(encoder.prepare(items))["pixels"])}
    with torch.no_grad():
        assert np.allclose(vectors(open_tuned(tmp_path), items), body(arrays).numpy(), atol=1e-5)


def test_words_stay_with_what_was_learned(tmp_path: Path) -> None:
    body = open_body(new_network("text", BAG, TEXTS))
    with torch.no_grad():
        body.graph.get_parameter("model.words.weight").add_(1)
    save_encoder(tmp_path, tuned(body, {}, "network", {}))
    found = open_tuned(tmp_path)
    assert [row.tolist() for row in found.prepare(TEXTS)] == [row.tolist() for row in body.encoder.prepare(TEXTS)]


def test_a_network_may_be_tuned_on(tmp_path: Path) -> None:
    """Pretrained on one set, changed on another: the changes are kept apart."""
    save_encoder(tmp_path / "first", new_network("image", CNN))
    body = open_body(open_encoder(f"dir:{tmp_path / 'first'}"))
    before = {name: value.clone() for name, value in body.state_dict().items()}
    with torch.no_grad():
        body.graph.get_parameter("model.blocks.2.1.weight").add_(0.1)
    second = tuned(body, before, "weights", {})
    assert list(second.changes.arrays) == ["model.blocks.2.1.weight"]
    save_encoder(tmp_path / "second", second)
    assert np.array_equal(vectors(open_tuned(tmp_path / "second"), pictures()), vectors(second, pictures()))


@pytest.mark.parametrize(
    ("modality", "config", "reason"),
    [
        ("joint", {}, "Allowed: image, text"),
        ("image", {"network": "bag"}, "cnn is"),
        ("image", {"network": "lstm"}, "lstm"),
        ("image", {"depth": 3}, "depth"),
        ("image", {"width": 0}, "width=0"),
        ("image", {"kernel": 4}, "odd"),
        ("image", {"side": 10**6}, "side"),
        ("image", {"norm": "batch"}, "batch"),
        ("text", {"vocabulary": 10**9, "dim": 2.5}, "vocabulary.*dim|dim.*vocabulary"),
    ],
)
def test_settings_that_cannot_be(modality: str, config: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        new_network(modality, config)


def test_adapters_have_no_place_in_a_small_network() -> None:
    from graft.errors import ModelError

    with pytest.raises(ModelError, match="LoRA"):
        insert(open_body(new_network("image", CNN)), "lora", {})


# -- words ------------------------------------------------------------------------------------------------------------


def test_words_are_numbered_by_frequency_then_alphabet() -> None:
    assert frequent_words(["b a b", "C, c a b"], 5) == ["b", "a", "c"]
    assert frequent_words(["b a b", "C, c a b"], 4) == ["b", "a"]
    words = Words(5, 4, ["b", "a", "c"])
    assert [row.tolist() for row in words(["A b! x", "", "c c c c c"])] == [[3, 2, 1, 1], [1], [4, 4, 4, 4]]


@given(st.text(max_size=200), st.integers(3, 50))
def test_hashed_words_are_ids(text: str, size: int) -> None:
    words = Words(size, 8, None)
    (row,) = words([text])
    assert 1 <= len(row) <= 8
    assert row.dtype == np.int64
    assert row.min() >= UNKNOWN
    assert row.max() < size
    assert row.tolist() == words([text])[0].tolist()
