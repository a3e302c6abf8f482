"""Features of inner layers against the hidden states that transformers itself reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoders.runtime import TorchRunner
from graft.errors import ModelError, UsageError

TEXTS = ["the cat", "a dog and the cat", "x"]


def run(encoder: Encoder) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    batch = encoder.collate(encoder.prepare(TEXTS))
    return encoder.finish(next(iter(TorchRunner(encoder, "f32", "cpu").run([batch]))), batch)


def test_equals_the_hidden_states(bert_folder: Path) -> None:
    import torch
    from transformers import AutoModel

    encoder = open_encoder(f"layer:dir:{bert_folder}:encoder.layer.0")
    batch = encoder.collate(encoder.prepare(TEXTS))
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    with torch.inference_mode():
        states = AutoModel.from_pretrained(bert_folder).eval()(**tensors, output_hidden_states=True).hidden_states[1]
        mask = tensors["attention_mask"][..., None]
        expected = ((states * mask).sum(1) / mask.sum(1)).numpy()
    assert np.abs(run(encoder) - expected).max() < 1e-5
    assert encoder.info.dim == 32
    assert not encoder.info.normalised


def test_layers_differ_in_all_that_tells_them_apart(bert_folder: Path) -> None:
    infos = [open_encoder(f"layer:dir:{bert_folder}:encoder.layer.{n}").info for n in (0, 1)]
    infos.append(open_encoder(f"dir:{bert_folder}").info)
    assert len({info.fingerprint for info in infos}) == len({info.space for info in infos}) == 3


def test_wide_layers_have_their_own_length(bert_folder: Path) -> None:
    encoder = open_encoder(f"layer:dir:{bert_folder}:encoder.layer.1.intermediate.dense")
    assert encoder.info.dim == run(encoder).shape[1] == 48


def test_an_unknown_layer_names_those_near(bert_folder: Path) -> None:
    encoder = open_encoder(f"layer:dir:{bert_folder}:encoder.layers.1")
    with pytest.raises(UsageError, match=r"encoder\.layers\.1.*Near it:.*encoder\.layer\.1"):
        assert encoder.info


def test_a_layer_that_does_not_run_is_refused(bert_folder: Path) -> None:
    encoder = open_encoder(f"layer:dir:{bert_folder}:encoder.layer")
    with pytest.raises(ModelError, match="puts out no tensor"):
        assert encoder.info


def test_a_layer_without_states_is_refused(bert_folder: Path) -> None:
    """The position embeddings are one table for all texts, of one row."""
    encoder = open_encoder(f"layer:dir:{bert_folder}:embeddings.position_embeddings")
    with pytest.raises(ModelError, match="1 rows for every batch"):
        assert encoder.info


def test_the_first_layers_of_the_bundled_picture_encoder_are_means_over_space() -> None:
    encoder = open_encoder("layer:efficientnet-lite0:_blocks.0")
    from PIL import Image

    batch = encoder.collate(encoder.prepare([Image.new("RGB", (224, 224), (10, 90, 200))]))
    vectors = encoder.finish(next(iter(TorchRunner(encoder, "f32", "cpu").run([batch]))), batch)
    assert vectors.shape == (1, encoder.info.dim) == (1, 16)
