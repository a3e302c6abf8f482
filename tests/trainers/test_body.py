"""Bodies: the encoder's vectors, differentiable; depths; batch norm and dropout; the cut below trained blocks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contracts.test_encoders import KINDS
from tests.toy_encoder import ToyText
from torch import Tensor, nn

from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoders.text import POOLINGS
from graft.encoders.text import pool as pool_arrays
from graft.errors import ModelError, UsageError
from graft.trainers.body import Body, Split, open_body, pool

BUNDLED = ("minilm", "efficientnet-lite0")  # large, so run on few items
FLAT = ("pixels", "pixels of side 8")  # without weights
DEPTHS = {
    "minilm": ["stem", *(f"block {k}" for k in range(6))],
    "efficientnet-lite0": ["stem", *(f"block {k}" for k in range(16)), "top"],
    "vit": ["stem", "block 0", "block 1", "top"],
    "convnext": ["stem", "block 0", "block 1", "block 2", "block 3", "top"],
    "text layer": ["stem", "block 0"],  # what lies above the layer shapes no vector
}

Opened = Callable[[str], tuple[Encoder, dict[str, Tensor]]]


@pytest.fixture
def opened(tiny_model: Callable[[str], Path], pictures: list[Image.Image], texts: list[str]) -> Opened:
    """An encoder by its name in the contract, and a batch of its items."""

    def open_(kind: str) -> tuple[Encoder, dict[str, Tensor]]:
        template, modality = KINDS[kind]
        before, brace, rest = template.partition("{")
        name, _, after = rest.partition("}")
        encoder = open_encoder(f"{before}{tiny_model(name)}{after}" if brace else template, modality=modality)
        items: list[Any] = list(texts) if encoder.info.modality == "text" else list(pictures)
        batch = encoder.collate(encoder.prepare(items[:2] if kind in BUNDLED else items))
        return encoder, {key: torch.from_numpy(array) for key, array in batch.items()}

    return open_


def own_vectors(encoder: Encoder, batch: dict[str, Tensor]) -> np.ndarray:
    with torch.no_grad():
        raw = encoder.module().eval()(**batch).numpy()
    return encoder.finish(raw, {name: tensor.numpy() for name, tensor in batch.items()})


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_encoder_and_divides_into_depths(kind: str, opened: Opened) -> None:
    encoder, batch = opened(kind)
    body = open_body(encoder)
    with torch.no_grad():
        vectors = body({**batch, "targets": torch.zeros(1)})
    assert vectors.shape == (len(next(iter(batch.values()))), body.dim)
    assert vectors.dtype == torch.float32
    assert not body.training
    expected = own_vectors(encoder, batch)
    assert np.abs(vectors.numpy() - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    groups = body.groups()
    listed = [name for group in groups for name in group.parameters]
    assert sorted(listed) == sorted(name for name, _ in body.named_parameters())
    assert [group.name for group in groups] == DEPTHS.get(kind, [group.name for group in groups])
    assert bool(groups) == (kind not in FLAT)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in FLAT])
def test_run_from_any_cut_it_gives_the_same_vectors(kind: str, opened: Opened) -> None:
    encoder, batch = opened(kind)
    body = open_body(encoder)
    groups = body.groups()
    cuts = range(1, len(groups)) if kind not in BUNDLED else (1, len(groups) - 1)
    with torch.no_grad():
        whole = body(batch)
    for first in cuts:
        split = Split(body, first)
        kept = split.lower(batch)
        vectors = split.upper(kept, {} if "pixels" in batch else batch)
        assert (vectors.detach() - whole).abs().max() <= 1e-5 * whole.abs().max()
        assert not kept.requires_grad
        torch.autograd.backward(vectors.sum())
        parameters = dict(body.named_parameters())
        for place, group in enumerate(groups):
            assert all((parameters[name].grad is not None) == (place >= first) for name in group.parameters)
        body.zero_grad()
        for parameter in body.parameters():
            parameter.requires_grad_(True)


def test_the_cut_skips_the_blocks_below_and_leaves_the_body_as_it_was(opened: Opened) -> None:
    encoder, batch = opened("bert")
    body = open_body(encoder)
    split = Split(body, 2)
    kept = split.lower(batch)
    ran: list[int] = []
    for place, block in enumerate(body.blocks):
        for linear in (m for m in block.modules() if isinstance(m, nn.Linear)):
            linear.register_forward_hook(lambda *_, place=place: ran.append(place))
    split.upper(kept, batch)
    assert set(ran) == {1}
    ran.clear()
    body.train()
    split.lower(batch)
    assert set(ran) == {0}
    assert body.training
    body.eval()
    ran.clear()
    body(batch)
    assert set(ran) == {0, 1}


def test_activations_of_some_items_of_a_batch_are_theirs(opened: Opened) -> None:
    """What is kept by item may be joined to other batches."""
    encoder, batch = opened("convnext")
    split = Split(open_body(encoder), 3)
    kept = split.lower(batch)
    with torch.no_grad():
        some, all_ = split.upper(kept[2:5], {}), split.upper(kept, {})
    assert torch.allclose(some, all_[2:5], atol=1e-5)


def test_what_cannot_be_cut_says_so(opened: Opened) -> None:
    with pytest.raises(ModelError, match="whole"):
        Split(open_body(opened("pixels")[0]), 1)
    body = open_body(opened("bert")[0])
    for first in (0, 3):
        with pytest.raises(ModelError, match="whole"):
            Split(body, first)


def test_unknown_encoders_and_joint_ones_are_refused(tiny_model: Callable[[str], Path]) -> None:
    class Unknown(ToyText):
        def module(self) -> nn.Module:
            return nn.Identity()

    with pytest.raises(ModelError, match="toy"):
        open_body(Unknown())
    with pytest.raises(UsageError, match="tower"):
        open_body(open_encoder(f"dir:{tiny_model('clip')}"))


def test_batch_norm_keeps_its_statistics_unless_told(opened: Opened) -> None:
    encoder, batch = opened("resnet")
    body = open_body(encoder)
    before = {name: value.clone() for name, value in body.state_dict().items() if "running" in name}
    assert before
    body.train()
    body(batch)
    assert all(torch.equal(before[name], body.state_dict()[name]) for name in before)
    body.norm = "train"
    body.train()
    body(batch)
    assert not any(torch.equal(before[name], body.state_dict()[name]) for name in before)


@pytest.mark.parametrize("kind", ["minilm", "vit", "clip text", "swin", "efficientnet-lite0"])
def test_dropout_is_set_and_taken_back(kind: str, opened: Opened) -> None:
    encoder, batch = opened(kind)
    body = open_body(encoder)

    def moves() -> bool:
        body.train()
        torch.manual_seed(0)
        with torch.no_grad():
            first, second = body(batch), body(batch)
        return not torch.equal(first, second)

    as_it_was = moves()
    if kind == "efficientnet-lite0":
        assert as_it_was  # dropped paths
    else:
        body.set_dropout(0.5)
        assert moves()
    body.set_dropout(0)
    assert not moves()
    with torch.no_grad():
        assert torch.allclose(body(batch), torch.from_numpy(own_vectors(encoder, batch)), atol=1e-4)
    body.set_dropout(None)
    assert moves() == as_it_was


def test_one_by_one_convolutions_are_plain(opened: Opened) -> None:
    body = open_body(opened("efficientnet-lite0")[0])
    kinds = {type(m) for m in body.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)}
    assert kinds == {nn.Conv2d}
    assert all("_fc" not in name for name, _ in body.named_parameters())


def test_weights_are_the_bodys_own(opened: Opened) -> None:
    encoder, batch = opened("bert")
    body, other = open_body(encoder), open_body(encoder)
    twin = copy.deepcopy(body)
    with torch.no_grad():
        before = body(batch)
        for parameter in body.parameters():
            parameter.add_(0.1)
        assert torch.equal(other(batch), before)
        assert torch.equal(twin(batch), before)
        assert not torch.equal(body(batch), before)
    assert twin.encoder is encoder


def test_steps_behind_the_pooling_are_followed(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    """A Dense layer and unit length, as sentence-transformers folders have them."""
    import json
    import shutil

    from safetensors.numpy import save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny_model("sentence-transformer"), folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense/config.json").write_text(json.dumps({"in_features": 32, "out_features": 5}))
    generator = np.random.default_rng(0)
    layer = {"linear.weight": generator.normal(size=(5, 32)), "linear.bias": generator.normal(size=5)}
    save_file({name: array.astype(np.float32) for name, array in layer.items()}, folder / "2_Dense/model.safetensors")
    encoder = open_encoder(f"dir:{folder}")
    arrays = encoder.collate(encoder.prepare(["the cat sat", "a dog on the mat and the big tree"]))
    batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
    body: Body = open_body(encoder)
    with torch.no_grad():
        assert np.allclose(body(batch).numpy(), own_vectors(encoder, batch), atol=1e-6)
    assert body.dim == 5


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_equal_the_engines(pooling: str) -> None:
    generator = np.random.default_rng(1)
    states = generator.normal(size=(3, 4, 5)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]])
    expected = pool_arrays(states, mask, pooling)
    assert np.allclose(pool(torch.from_numpy(states), torch.from_numpy(mask), pooling).numpy(), expected, atol=1e-6)
