"""Adapters: where they go, that they start as nothing, that what they learn is kept, and that merged LoRA equals the unmerged."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contracts.test_encoders import KINDS
from torch import Tensor, nn

from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoders.tuned import Changes, TunedEncoder, new_network, save_encoder
from graft.errors import ModelError, UsageError
from graft.trainers.adapters import changes, changes_of, insert, settings_of, targets, tuned
from graft.trainers.body import Body, open_body

# encoder of the contract: layers that LoRA takes in one block, and bottleneck adapters in one block
PLACES = {
    "minilm": (6, 2),
    "vit": (6, 2),
    "dinov2": (6, 2),
    "swin": (None, None),
    "convnext": (None, None),
    "resnet": (None, None),
    "clip text": (6, 2),
    "clip image": (6, 2),
    "siglip image": (6, 2),
    "efficientnet-lite0": (None, None),
    "text layer": (6, 2),
}
LEARNED = (
    1e-5  # largest difference allowed between the trained body and the encoder made of it, of vectors of length about 1
)

Opened = Callable[[str], tuple[Encoder, dict[str, Tensor]]]


@pytest.fixture
def opened(tiny_model: Callable[[str], Path], pictures: list[Image.Image], texts: list[str]) -> Opened:
    """An encoder by its name in the contract, and a batch of few items."""

    def open_(kind: str) -> tuple[Encoder, dict[str, Tensor]]:
        template, modality = KINDS[kind]
        before, brace, rest = template.partition("{")
        name, _, after = rest.partition("}")
        encoder = open_encoder(f"{before}{tiny_model(name)}{after}" if brace else template, modality=modality)
        items: list[Any] = list(texts[:4]) if encoder.info.modality == "text" else list(pictures[:2])
        batch = encoder.collate(encoder.prepare(items))
        return encoder, {key: torch.from_numpy(array) for key, array in batch.items()}

    return open_


def vectors(model: Body | Encoder, batch: Mapping[str, Tensor]) -> np.ndarray:
    with torch.no_grad():
        if isinstance(model, Body):
            return np.asarray(model(batch).numpy())
        raw = model.module()(**batch).numpy()
    return model.finish(raw, {name: tensor.numpy() for name, tensor in batch.items()})


def learn(body: Body, names: tuple[str, ...]) -> None:
    """Other values for these parameters, as a training would bring."""
    generator = torch.Generator().manual_seed(3)
    parameters = dict(body.named_parameters())
    with torch.no_grad():
        for name in names:
            parameters[name].add_(0.05 * torch.randn(parameters[name].shape, generator=generator))


@pytest.mark.parametrize("kind", ["lora", "adapters", "lora+adapters"])
@pytest.mark.parametrize("name", PLACES)
def test_starts_as_nothing_and_what_is_learned_is_kept(name: str, kind: str, opened: Opened) -> None:
    encoder, batch = opened(name)
    body = open_body(encoder)
    before = vectors(body, batch)
    size = np.abs(before).max()
    group = insert(body, kind)
    assert np.abs(vectors(body, batch) - before).max() <= 1e-6 * size
    assert group.name == "adapter"
    assert {n for n, p in body.named_parameters() if p.requires_grad} == set(group.parameters)
    assert {n for g in body.groups() for n in g.parameters} == {n for n, _ in body.named_parameters()}
    learn(body, group.parameters)
    after = vectors(body, batch)
    assert np.abs(after - before).max() > 1e-3 * size
    made = tuned(body, {}, kind, {})
    assert np.abs(vectors(made, batch) - after).max() <= LEARNED * max(1, np.abs(after).max())


@pytest.mark.parametrize(("name", "counts"), [(n, c) for n, c in PLACES.items() if c[0]])
def test_every_block_is_adapted_alike(name: str, counts: tuple[int, int], opened: Opened) -> None:
    encoder, _ = opened(name)
    for kind, count, arrays in (("lora", counts[0], 2), ("adapters", counts[1], 4)):
        body = open_body(encoder)
        group = insert(body, kind)
        used = [block for block in body.blocks if any(p.requires_grad for p in block.parameters())]
        assert len(group.parameters) == arrays * count * len(used)
        for block in used:
            assert sum(p.requires_grad for p in block.parameters()) == arrays * count


def test_places_in_convolutional_bodies(opened: Opened) -> None:
    efficient = open_body(opened("efficientnet-lite0")[0])
    places = targets(efficient)
    assert len(places) == 15 + 16 + 1  # the first block does not expand; and the head
    assert all(type(efficient.get_submodule(place)) is nn.Conv2d for place in places)
    group = insert(efficient, "adapters", {"width": 4})
    assert {name.split("._bn2.")[0].rpartition(".")[2] for name in group.parameters} == {str(k) for k in range(16)}
    resnet = open_body(opened("resnet")[0])
    assert all(
        name.split(".adapter.")[0].endswith("layer.1.normalization") for name in insert(resnet, "adapters").parameters
    )


def test_sizes_are_as_the_settings_say(opened: Opened) -> None:
    encoder, _ = opened("minilm")
    body = open_body(encoder)
    learnt = {name: tuple(p.shape) for name, p in body.named_parameters()}
    query = "graph.model.encoder.layer.0.attention.self.query"
    assert learnt[f"{query}.weight"] == (384, 384)
    insert(body, "lora", {"rank": 3, "targets": ["query", "value"]})
    found = changes(body)
    assert len(found) == 2 * 2 * 6
    assert found["model.encoder.layer.0.attention.self.query.lora_A"].shape == (3, 384)
    assert found["model.encoder.layer.5.attention.self.value.lora_B"].shape == (384, 3)
    body = open_body(encoder)
    group = insert(body, "adapters", {"width": 5})
    parameters = dict(body.named_parameters())
    assert sum(parameters[name].numel() for name in group.parameters) == 6 * 2 * (384 * 5 * 2 + 5 + 384)


def test_lora_is_scaled_by_alpha(opened: Opened) -> None:
    """W + alpha / rank * B A: the body's own merge, known from the two matrices."""
    encoder, batch = opened("bert")
    body = open_body(encoder)
    group = insert(body, "lora", {"rank": 2, "alpha": 5, "targets": ["output.dense"]})
    learn(body, group.parameters)
    plain = open_body(encoder)
    with torch.no_grad():
        for place in range(2):
            for layer in ("attention.output.dense", "output.dense"):
                name = f"model.encoder.layer.{place}.{layer}"
                found = changes(body)
                product = found[f"{name}.lora_B"] @ found[f"{name}.lora_A"]
                plain.graph.get_parameter(f"{name}.weight").add_(2.5 * product)
    assert np.allclose(vectors(body, batch), vectors(plain, batch), atol=1e-6)


def test_gradients_reach_the_adapters_alone(opened: Opened) -> None:
    encoder, batch = opened("vit")
    for kind in ("lora", "adapters"):
        body = open_body(encoder)
        group = insert(body, kind)
        learn(body, group.parameters)
        torch.autograd.backward(body.train()(batch).square().sum())
        assert {name for name, p in body.named_parameters() if p.grad is not None} == set(group.parameters)
        assert all(p.grad.abs().max() > 0 for p in body.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_prompts_hardly_change_the_vectors_at_first(kind: str, opened: Opened) -> None:
    encoder, batch = opened("minilm")
    body = open_body(encoder)
    before = vectors(body, batch)[[0, 1, 2]]  # of the empty text little is left that could stay
    group = insert(body, kind)
    parameters = dict(body.named_parameters())
    shape = {"prompt": (8, 384), "prefix": (8, 2 * 6 * 384)}[kind]
    assert [tuple(parameters[name].shape) for name in group.parameters] == [shape]
    cosines = (vectors(body, batch)[[0, 1, 2]] * before).sum(axis=1)
    assert cosines.min() > 0.9
    learn(body, group.parameters)
    after = vectors(body, batch)
    made = tuned(body, {}, kind, {})
    assert list(made.changes.arrays) == [kind]
    for again in (made, open_body(made)):
        assert np.abs(vectors(again, batch) - after).max() <= LEARNED


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_prompts_equal_pefts_where_positions_play_no_part(kind: str, opened: Opened) -> None:
    import warnings

    encoder, batch = opened("bert")
    body = open_body(encoder)
    with torch.no_grad():
        body.graph.get_parameter("model.embeddings.position_embeddings.weight").zero_()
    model: Any = copy.deepcopy(body.graph.model)
    insert(body, kind, {"length": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model

        config = {"prompt": PromptTuningConfig, "prefix": PrefixTuningConfig}[kind]
        theirs = get_peft_model(model, config(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)).eval()
        with torch.no_grad():
            theirs.prompt_encoder.default.embedding.weight.copy_(changes(body)[kind])
            states = theirs(**batch).last_hidden_state[:, -batch["input_ids"].shape[1] :]
            ours = body.graph(**batch)
    seen = batch["attention_mask"].bool()
    assert torch.allclose(ours[seen], states[seen], atol=1e-5)


def test_the_seed_draws_and_nothing_else_is_drawn(opened: Opened) -> None:
    encoder, _ = opened("bert")
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    for kind in ("lora", "adapters", "prompt", "prefix"):
        drawn = []
        for seed in (0, 0, 1):
            body = open_body(encoder)
            insert(body, kind, {"seed": seed})
            drawn.append({name: value.clone() for name, value in changes(body).items()})
        assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
        assert any(not torch.equal(drawn[0][name], drawn[2][name]) for name in drawn[0])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_copy_has_adapters_of_its_own(opened: Opened) -> None:
    encoder, batch = opened("bert")
    for kind in ("adapters", "lora"):
        body = open_body(encoder)
        group = insert(body, kind)
        twin, before = copy.deepcopy(body), vectors(body, batch)
        learn(body, group.parameters)
        assert np.array_equal(vectors(twin, batch), before)
        learn(twin, group.parameters)
        assert np.array_equal(vectors(twin, batch), vectors(body, batch))


def test_on_an_encoder_that_was_tuned_before(opened: Opened, tmp_path: Path) -> None:
    encoder, batch = opened("bert")
    first = open_body(encoder)
    learn(first, insert(first, "adapters", {"width": 4}).parameters)
    save_encoder(tmp_path / "first", tuned(first, {}, "adapters", {"width": 4}))
    again = open_encoder(f"dir:{tmp_path / 'first'}")
    body = open_body(again)
    assert np.abs(vectors(body, batch) - vectors(first, batch)).max() <= LEARNED
    group = insert(body, "lora")  # on all but the layers that have an adapter behind them
    assert len(group.parameters) == 2 * 2 * 4
    learn(body, group.parameters)
    assert np.abs(vectors(tuned(body, {}, "lora", {}), batch) - vectors(body, batch)).max() <= LEARNED
    with pytest.raises(ModelError, match="already"):
        insert(open_body(again), "adapters")


# -- what changed -----------------------------------------------------------------------------------------------------


def test_only_tensors_that_differ_are_changes(opened: Opened) -> None:
    encoder, batch = opened("resnet")
    body = open_body(encoder)
    original = {name: value.clone() for name, value in body.state_dict().items()}
    assert not changes_of(body, original, "weights", {}).arrays
    top = body.groups()[-1].parameters
    learn(body, top[:2])
    body.norm = "train"
    body.train()(batch)
    body.eval()
    found = changes_of(body, original, "weights", {"last": 1})
    moved = {name for name in found.arrays if "running" not in name and "tracked" not in name}
    assert moved == {name.removeprefix("graph.") for name in top[:2]}
    assert any("running_mean" in name for name in found.arrays)
    assert found.config == {"last": 1}
    assert all(array.flags.c_contiguous for array in found.arrays.values())
    made = TunedEncoder(encoder, found)
    assert np.abs(vectors(made, batch) - vectors(body, batch)).max() <= LEARNED
    kept = found.arrays[top[0].removeprefix("graph.")].copy()
    learn(body, top)  # what was taken does not move with the body
    assert np.array_equal(found.arrays[top[0].removeprefix("graph.")], kept)


def test_settings_are_kept_whole(opened: Opened) -> None:
    body = open_body(opened("bert")[0])
    insert(body, "lora+adapters", {"lora": {"rank": 3}})
    made = changes_of(body, {}, "lora+adapters", {"lora": {"rank": 3}})
    assert made.config["lora"] == {"rank": 3, "alpha": 6, "dropout": 0.0, "targets": None, "seed": 0}
    assert made.config["adapters"] == {"width": 48, "seed": 0}
    assert {name.rpartition(".")[2] for name in made.arrays} == {"lora_A", "lora_B", "weight", "bias"}
    assert isinstance(made, Changes)


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [
        ("ia3", {}, "Allowed: adapters, lora"),
        ("lora", {"ranks": 8}, "rank"),
        ("lora", {"rank": 0}, "rank=0"),
        ("adapters", {"width": 2.5}, "width=2.5"),
        ("prompt", {"length": -1}, "length=-1"),
        ("lora", {"targets": ["nothing"]}, "nothing"),
        ("lora+adapters", {"rank": 8}, "rank"),
    ],
)
def test_settings_that_cannot_be(kind: str, config: dict[str, Any], reason: str, opened: Opened) -> None:
    with pytest.raises(UsageError, match=reason):
        insert(open_body(opened("bert")[0]), kind, config)


def test_bodies_without_a_place(opened: Opened) -> None:
    flat, small = open_body(opened("pixels")[0]), open_body(new_network("image", {"width": 4}))
    for body, name in ((flat, "pixels"), (small, "pixels:32")):
        with pytest.raises(ModelError, match=f"{name}.*LoRA"):
            insert(body, "lora")
        with pytest.raises(ModelError, match=name):
            insert(body, "adapters")
    for kind in ("vit", "clip text", "text layer", "pixels"):
        for adapter in ("prompt", "prefix"):
            with pytest.raises(ModelError, match="no text transformer"):
                insert(open_body(opened(kind)[0]), adapter)


def test_settings_have_their_defaults() -> None:
    assert settings_of("lora", {}) == {"rank": 8, "alpha": 16, "dropout": 0.0, "targets": None, "seed": 0}
    assert settings_of("lora", {"alpha": 1})["alpha"] == 1
