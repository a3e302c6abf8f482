"""Tuned encoders: what changed is put into the base's graph, kept in a folder, found again, and refused where it does not fit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from graft.encoders.base import Encoder, FloatArray
from graft.encoders.open import open_encoder
from graft.encoders.runtime import OpenVinoRunner
from graft.encoders.tuned import CHANGES, MANIFEST, Changes, TunedEncoder, open_tuned, save_encoder
from graft.errors import GraftError, MissingError, ModelError, UsageError

TEXTS = ["the cat", "a dog and the cat", "", "DOG dog dog dog dog"]
QUERY = "model.encoder.layer.0.attention.self.query"
OUT = "model.encoder.layer.1.output.dense"


@pytest.fixture(scope="module")
def base(bert_folder: Path) -> Encoder:
    return open_encoder(f"dir:{bert_folder}")


def draw(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.asarray(np.random.default_rng(seed).normal(size=shape) * 0.3, np.float32)


def vectors(encoder: Encoder, items: list[Any] = TEXTS) -> FloatArray:
    """By torch, whatever runs encoders elsewhere."""
    batch = encoder.collate(encoder.prepare(items))
    with torch.no_grad():
        raw = encoder.module()(**{name: torch.from_numpy(array) for name, array in batch.items()})
    return encoder.finish(raw.numpy(), batch)


def with_state(encoder: Encoder, change: Callable[[dict[str, torch.Tensor]], object]) -> FloatArray:
    """Vectors after a change of the graph's state by hand."""
    graph = encoder.module()
    with torch.no_grad():
        change(graph.state_dict())

    class Changed:
        prepare, collate, finish = encoder.prepare, encoder.collate, encoder.finish

        def module(self) -> torch.nn.Module:
            return graph

    return vectors(Changed())  # type: ignore[arg-type]


def weights(name: str = f"{QUERY}.weight") -> Changes:
    return Changes("weights", {}, {name: draw(32, 32)})


LORA = {"rank": 2, "alpha": 6}


def lora(layer: str = QUERY, width: int = 32) -> Changes:
    return Changes("lora", LORA, {f"{layer}.lora_A": draw(2, width), f"{layer}.lora_B": draw(32, 2, seed=1)})


def adapters() -> Changes:
    arrays = {
        f"{OUT}.adapter.down.weight": draw(3, 32),
        f"{OUT}.adapter.down.bias": draw(3, seed=1),
        f"{OUT}.adapter.up.weight": draw(32, 3, seed=2),
        f"{OUT}.adapter.up.bias": draw(32, seed=3),
    }
    return Changes("adapters", {"width": 3}, arrays)


def prompt(length: int = 3) -> Changes:
    return Changes("prompt", {"length": length}, {"prompt": draw(length, 32)})


def prefix() -> Changes:
    return Changes("prefix", {"length": 2}, {"prefix": draw(2, 2 * 2 * 32)})


def both() -> Changes:
    return Changes("lora+adapters", {"lora": LORA, "adapters": {"width": 3}}, {**lora().arrays, **adapters().arrays})


MADE: dict[str, Callable[[], Changes]] = {
    made.__name__: made for made in (weights, lora, adapters, both, prompt, prefix)
}


def test_changed_weights_are_those_of_the_graph(base: Encoder) -> None:
    changes = weights()
    expected = with_state(base, lambda state: state[f"{QUERY}.weight"].copy_(torch.from_numpy(draw(32, 32))))
    assert np.array_equal(vectors(TunedEncoder(base, changes)), expected)
    assert not np.allclose(expected, vectors(base))


def test_lora_is_merged_as_its_paper_says(base: Encoder) -> None:
    """W + alpha / rank * B A (Hu et al. 2022)."""
    product = torch.from_numpy(3.0 * draw(32, 2, seed=1) @ draw(2, 32))
    expected = with_state(base, lambda state: state[f"{QUERY}.weight"].add_(product))
    assert np.allclose(vectors(TunedEncoder(base, lora())), expected, atol=1e-6)


def test_adapters_work_behind_their_layer(base: Encoder) -> None:
    """x + up(gelu(down(x))) (Houlsby et al. 2019); nothing happens while `up` is zero."""
    graph, tuned = base.module(), TunedEncoder(base, adapters())
    arrays = {name.rpartition("adapter.")[2]: torch.from_numpy(array) for name, array in adapters().arrays.items()}

    def by_hand(_: Any, __: Any, out: torch.Tensor) -> torch.Tensor:
        inner = torch.nn.functional.gelu(out @ arrays["down.weight"].T + arrays["down.bias"])
        return out + inner @ arrays["up.weight"].T + arrays["up.bias"]

    graph.get_submodule(OUT).register_forward_hook(by_hand)
    batch = base.collate(base.prepare(TEXTS))
    with torch.no_grad():
        raw = graph(**{name: torch.from_numpy(array) for name, array in batch.items()}).numpy()
    assert np.allclose(vectors(tuned), base.finish(raw, batch), atol=1e-6)
    still = {name: array * (".up." not in name) for name, array in adapters().arrays.items()}
    assert np.array_equal(vectors(TunedEncoder(base, Changes("adapters", {}, still))), vectors(base))


def test_a_prompt_that_nothing_attends_to_changes_nothing(base: Encoder) -> None:
    """States and positions of the text are kept: with keys far below every other's, prefixes weigh nothing."""
    graph = base.module()
    with torch.no_grad():
        for layer in range(2):  # every query has 1 in the first place of each head, every text's key 0
            part = graph.get_submodule(f"model.encoder.layer.{layer}.attention.self")
            for head in (0, 16):
                part.query.weight[head], part.query.bias[head] = 0, 1  # type: ignore[union-attr, operator]
                part.key.weight[head], part.key.bias[head] = 0, 0  # type: ignore[union-attr, operator]

    class Prepared(type(base)):  # type: ignore[misc]
        def module(self) -> torch.nn.Module:
            return graph

    known = Prepared(base.reference, base.folder)  # type: ignore[attr-defined]
    expected = vectors(known)
    array = draw(2, 2, 2, 2, 16)  # P, layers, (keys, values), heads, dims of a head
    array[:, :, 0, :, 0] = -1000
    tuned = TunedEncoder(known, Changes("prefix", {}, {"prefix": array.reshape(2, -1)}))
    assert np.allclose(vectors(tuned), expected, atol=1e-5)
    array[:, :, 0, :, 0] = 0
    again = TunedEncoder(known, Changes("prefix", {}, {"prefix": array.reshape(2, -1)}))
    assert not np.allclose(vectors(again), expected, atol=1e-3)


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_padding_does_not_matter_and_openvino_agrees(made: Callable[[], Changes], base: Encoder) -> None:
    tuned = TunedEncoder(base, made())
    whole = vectors(tuned)
    alone = np.concatenate([vectors(tuned, [text]) for text in TEXTS])
    assert np.allclose(whole, alone, atol=1e-5)
    batches = [tuned.collate(tuned.prepare(part)) for part in (TEXTS[:1], TEXTS)]
    outputs = list(OpenVinoRunner(tuned, "f32").run(batches))
    for raw, batch, expected in zip(outputs, batches, (whole[:1], whole), strict=True):
        assert np.allclose(tuned.finish(raw, batch), expected, atol=1e-5)


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_is_found_again_in_its_folder(made: Callable[[], Changes], base: Encoder, tmp_path: Path) -> None:
    tuned = TunedEncoder(base, made())
    save_encoder(tmp_path / "kept", tuned)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [CHANGES, MANIFEST]
    found = open_encoder(f"dir:{tmp_path / 'kept'}", modality="text")
    assert isinstance(found, TunedEncoder)
    assert np.array_equal(vectors(found), vectors(tuned))
    facts, before = found.info, base.info
    assert facts.reference == f"dir:{tmp_path / 'kept'}"
    assert facts.fingerprint == tuned.info.fingerprint != before.fingerprint
    assert facts.space == tuned.info.space != before.space
    assert (facts.dim, facts.modality, facts.max_tokens) == (before.dim, "text", before.max_tokens)
    assert facts.parameters == tuned.info.parameters
    assert found.kept
    assert not tuned.kept
    assert found.classifier() is None


def test_counts_of_weights(base: Encoder) -> None:
    before = base.info.parameters or 0
    counted: list[tuple[Callable[[], Changes], int]] = [
        (weights, 0),
        (lora, 0),
        (adapters, 3 * 32 * 2 + 3 + 32),
        (prompt, 96),
        (prefix, 256),
    ]
    for made, more in counted:
        assert TunedEncoder(base, made()).info.parameters == before + more


def test_the_fingerprint_tells_what_makes_other_vectors(base: Encoder) -> None:
    marks = {TunedEncoder(base, made()).info.fingerprint for made in MADE.values()}
    other = Changes("lora", {**LORA, "alpha": 5}, lora().arrays)
    shifted = Changes("weights", {}, {f"{QUERY}.weight": draw(32, 32, seed=9)})
    nested = TunedEncoder(TunedEncoder(base, prompt()), weights())
    marks |= {encoder.info.fingerprint for encoder in (TunedEncoder(base, other), TunedEncoder(base, shifted), nested)}
    assert len(marks) == len(MADE) + 3
    assert TunedEncoder(base, weights()).info == TunedEncoder(base, weights()).info


def test_in_an_artefact_and_in_what_a_fit_wrote(base: Encoder, tmp_path: Path) -> None:
    save_encoder(tmp_path / "out" / "model" / "encoder", TunedEncoder(base, lora()))
    marks = {
        open_encoder(f"dir:{tmp_path / place}").info.fingerprint for place in ("out", "out/model", "out/model/encoder")
    }
    assert marks == {TunedEncoder(base, lora()).info.fingerprint}


def test_a_tuned_encoder_may_be_tuned_again(base: Encoder, tmp_path: Path) -> None:
    save_encoder(tmp_path / "first", TunedEncoder(base, adapters()))
    first = open_encoder(f"dir:{tmp_path / 'first'}")
    for number, made in enumerate((MADE["weights"], MADE["lora"])):
        second = TunedEncoder(first, made())
        save_encoder(tmp_path / str(number), second)
        assert np.array_equal(vectors(open_encoder(f"dir:{tmp_path / str(number)}")), vectors(second))
    with pytest.raises(ModelError, match="already"):
        TunedEncoder(first, adapters()).module()


def test_layers_of_it_have_features(base: Encoder, tmp_path: Path) -> None:
    save_encoder(tmp_path, TunedEncoder(base, weights()))
    name = "encoder.layer.0"
    layer, plain = open_encoder(f"layer:dir:{tmp_path}:{name}"), open_encoder(f"layer:{base.info.reference}:{name}")
    assert vectors(layer).shape == (4, 32)
    assert not np.allclose(vectors(layer), vectors(plain))


def test_only_graphs_of_kept_encoders_are_kept(base: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit trains many encoders and keeps one."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    tuned = TunedEncoder(base, lora())
    save_encoder(tmp_path / "kept", tuned)
    place = tmp_path / "cache" / "openvino" / tuned.info.fingerprint
    OpenVinoRunner(tuned, "f32")
    assert not place.exists()
    OpenVinoRunner(open_tuned(tmp_path / "kept"), "f32")
    assert place.exists()


FACTS = """
import sys
from graft.encoders.open import open_encoder
print(len(open_encoder(sys.argv[1]).info.fingerprint), sorted({"torch", "transformers", "safetensors", "openvino"} & set(sys.modules)))
"""


def test_facts_take_no_heavy_import(base: Encoder, tmp_path: Path) -> None:
    save_encoder(tmp_path, TunedEncoder(base, adapters()))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FACTS, f"dir:{tmp_path}"],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "64 []"


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(base: Encoder, tmp_path: Path) -> Path:
    save_encoder(tmp_path / "kept", TunedEncoder(base, lora()))
    return tmp_path / "kept"


def rewrite(folder: Path, **entries: Any) -> None:
    """Other entries in encoder.json, with a digest that is right: as somebody would who wants to be believed."""
    tree = json.loads((folder / MANIFEST).read_text()) | entries
    tree.pop("digest")
    spelt = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    (folder / MANIFEST).write_text(json.dumps(tree | {"digest": hashlib.sha256(spelt.encode()).hexdigest()}))


def replaced(folder: Path, arrays: dict[str, NDArray[Any]], **entries: Any) -> TunedEncoder:
    """The folder with other arrays, hashes and all."""
    config = entries.get("config", LORA)
    encoder = open_tuned(folder)
    save_encoder(folder, TunedEncoder(encoder.base, Changes(entries.get("kind", "lora"), config, arrays)))
    return open_tuned(folder)


def test_what_is_not_there(tmp_path: Path, kept: Path) -> None:
    with pytest.raises(MissingError, match=MANIFEST):
        open_tuned(tmp_path / "nowhere")
    (kept / CHANGES).unlink()
    with pytest.raises(MissingError, match=CHANGES):
        open_tuned(kept)


def test_what_was_changed_or_cut_short(kept: Path) -> None:
    whole = (kept / CHANGES).read_bytes()
    for damaged in (whole[:-4], whole[:100], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        (kept / CHANGES).write_bytes(damaged)
        with pytest.raises(ModelError, match="was changed"):
            open_tuned(kept)
    (kept / CHANGES).write_bytes(whole)
    open_tuned(kept)
    text = (kept / MANIFEST).read_text()
    (kept / MANIFEST).write_text(text.replace('"alpha": 6', '"alpha": 7'))
    with pytest.raises(ModelError, match="was changed"):
        open_tuned(kept)
    (kept / MANIFEST).write_text(text[:-40])
    with pytest.raises(ModelError, match="JSON"):
        open_tuned(kept)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"schema": 2}, "newer"),
        ({"schema": "1"}, "schema"),
        ({"kind": "magic"}, "magic"),
        ({"kind": "network"}, "network"),
        ({"config": 3}, "description"),
        ({"base": {}}, "reference"),
        ({"base": {"reference": "elsewhere", "fingerprint": ""}}, "elsewhere"),
        ({"files": {}}, CHANGES),
        ({"files": {CHANGES: "0" * 64}}, "changed"),
        ({"files": {"../../secret": "0" * 64}}, CHANGES),
        ({"fingerprint": "0" * 64}, "fingerprint"),
        ({"content": "0" * 64}, "fingerprint"),
        ({"modality": "image"}, "texts"),
    ],
)
def test_what_is_no_description_of_an_encoder(entries: dict[str, Any], reason: str, kept: Path) -> None:
    rewrite(kept, **entries)
    with pytest.raises(ModelError, match=reason):
        open_tuned(kept)


def test_another_base_than_it_was_made_of(bert_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(bert_folder, folder)
    save_encoder(tmp_path / "kept", TunedEncoder(open_encoder(f"dir:{folder}"), lora()))
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.weight"] = tensors["embeddings.LayerNorm.weight"] + np.float32(0.1)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="another encoder"):
        open_tuned(tmp_path / "kept")
    shutil.rmtree(folder)
    with pytest.raises(MissingError, match="base"):
        open_tuned(tmp_path / "kept")


def test_it_keeps_to_its_modality(kept: Path) -> None:
    with pytest.raises(UsageError, match="text"):
        open_tuned(kept, "image")
    with pytest.raises(UsageError, match="text"):
        open_encoder(f"dir:{kept}", modality="image")


def test_one_that_names_itself(kept: Path) -> None:
    rewrite(kept, base={"reference": f"dir:{kept}", "fingerprint": ""})
    with pytest.raises(ModelError, match="itself"):
        open_tuned(kept)


def test_links_are_not_followed(kept: Path, tmp_path: Path) -> None:
    shutil.move(kept / CHANGES, tmp_path / "elsewhere")
    (kept / CHANGES).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="link"):
        open_tuned(kept)


A, B = f"{QUERY}.lora_A", f"{QUERY}.lora_B"


@pytest.mark.parametrize(
    ("arrays", "entries", "reason"),
    [
        ({A: draw(2, 32)}, {}, "shapes"),
        ({A: draw(2, 31), B: draw(32, 2)}, {}, "shapes"),
        ({A: draw(2, 32), B: draw(32, 3)}, {}, "shapes"),
        ({A: draw(0, 32), B: draw(32, 0)}, {}, "shapes"),
        ({A: draw(), B: draw()}, {}, "shapes"),
        ({A: draw(2, 32), B: draw(32, 2), "more": draw(1)}, {}, "more"),
        ({"model.nowhere.lora_A": draw(2, 32), "model.nowhere.lora_B": draw(32, 2)}, {}, "nowhere"),
        ({A: draw(2, 32), B: draw(32, 2)}, {"config": {}}, "alpha"),
        ({f"{QUERY}.weight": draw(32, 31)}, {"kind": "weights"}, "shape"),
        ({"model.nowhere.weight": draw(2)}, {"kind": "weights"}, "nowhere"),
        ({f"{OUT}.adapter.down.weight": draw(3, 31)}, {"kind": "adapters"}, "shape"),
        ({f"{OUT}.adapter.down.weight": draw(10**9, 0)}, {"kind": "adapters"}, "shape"),
        ({"model.encoder.adapter.down.weight": draw(3, 32)}, {"kind": "adapters"}, "no bottleneck"),
        ({"prompt": draw(3, 31)}, {"kind": "prompt"}, "shape"),
        ({"prompt": draw(3, 32), "more": draw(1)}, {"kind": "prompt"}, "one array"),
        ({}, {"kind": "prefix"}, "none"),
    ],
)
def test_arrays_that_do_not_fit(arrays: dict[str, Any], entries: dict[str, Any], reason: str, kept: Path) -> None:
    encoder = replaced(kept, arrays, **entries)
    with pytest.raises(ModelError, match=reason):
        encoder.module()


def test_prompts_are_for_texts() -> None:
    tuned = TunedEncoder(open_encoder("pixels"), prompt())
    with pytest.raises(ModelError, match="text transformer"):
        tuned.module()


def test_words_that_are_not_known() -> None:
    with pytest.raises(UsageError, match="Allowed"):
        Changes("magic", {}, {})


def test_other_folders_are_read_as_before(bert_folder: Path, tmp_path: Path) -> None:
    """A model whose vocabulary happens to be called encoder.json is no tuned encoder."""
    folder = tmp_path / "model"
    shutil.copytree(bert_folder, folder)
    (folder / MANIFEST).write_text("{}")
    assert not isinstance(open_encoder(f"dir:{folder}"), TunedEncoder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
)
KEYS = st.sampled_from(["schema", "kind", "config", "modality", "base", "fingerprint", "content", "files"])


@given(entries=st.dictionaries(KEYS, JSON, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_description_says_it_is_opened_or_refused(entries: dict[str, Any], kept: Path) -> None:
    text = (kept / MANIFEST).read_text()
    try:
        rewrite(kept, **entries)
        with pytest.raises(GraftError):
            open_tuned(kept).module()
            raise ModelError("as it was")  # what was drawn said the same
    finally:
        (kept / MANIFEST).write_text(text)
