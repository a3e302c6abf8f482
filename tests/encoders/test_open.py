"""References: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.contracts.conftest import BUILDERS

from graft.encoders.joint import JointEncoder
from graft.encoders.layers import LayerEncoder
from graft.encoders.open import BUNDLED, has_text_tower, open_encoder
from graft.errors import MissingError, ModelError, UsageError


def test_bundled_encoders_take_what_they_are_listed_for() -> None:
    for modality, reference in BUNDLED.items():
        info = open_encoder(reference, modality=modality).info
        assert (info.modality, info.reference, info.licence) == (modality, reference, "apache-2.0")


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("mini-lm", "'minilm'"),
        ("efficientnet", "'efficientnet-lite0'"),
        ("pixel", "'pixels'"),
        ("hubs:org/name", "'hub:'"),
        ("", "Allowed: minilm"),
        ("pixels:0", "pixels:SIDE"),
        ("pixels:-4", "pixels:SIDE"),
        ("dir:", "dir:PATH"),
        ("hub:", "hub:ORG/NAME"),
        ("layer:", "layer:REFERENCE:NAME"),
        ("layer:minilm", "layer:REFERENCE:NAME"),
        ("layer:minilm:", "layer:REFERENCE:NAME"),
    ],
)
def test_unknown_references_name_the_nearest_and_all_forms(reference: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_encoder(reference)
    assert hint in caught.value.message
    assert repr(reference) in caught.value.message


def test_a_bare_folder_is_told_to_be_written_with_dir(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"dir:{tmp_path}"):
        open_encoder(str(tmp_path))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="not-here"):
        open_encoder(f"dir:{tmp_path / 'not-here'}")


def test_the_last_colon_divides_a_layer_from_its_reference(bert_folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a:b"
    shutil.copytree(bert_folder, odd)
    encoder = open_encoder(f"layer:dir:{odd}:encoder.layer.0")
    assert isinstance(encoder, LayerEncoder)
    assert (encoder.name, encoder.base.info.reference) == ("encoder.layer.0", f"dir:{odd}")


def test_the_wrong_modality_is_refused() -> None:
    with pytest.raises(UsageError, match=r"minilm takes texts, not pictures.*efficientnet-lite0"):
        open_encoder("minilm", modality="image")
    with pytest.raises(UsageError, match="takes pictures, not texts"):
        open_encoder("layer:efficientnet-lite0:_blocks.3", modality="text")
    with pytest.raises(UsageError, match="'sound'"):
        open_encoder("minilm", modality="sound")


@pytest.mark.parametrize(
    ("kind", "files", "said"),
    [
        ("beit", ["preprocessor_config.json"], "vit"),
        ("siglip2", ["preprocessor_config.json", "tokenizer.json"], "clip, siglip"),
    ],
)
def test_unknown_families_name_the_known_ones(kind: str, files: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError, match=said) as caught:
        open_encoder(f"dir:{tmp_path}")
    assert repr(kind) in caught.value.message


def test_a_joint_encoder_asks_for_a_tower(tmp_path: Path) -> None:
    config = {"model_type": "clip", "projection_dim": 7, "text_config": {"max_position_embeddings": 9}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    reference = f"dir:{tmp_path}"
    joint = open_encoder(reference)
    for call in (lambda: joint.prepare(["a"]), joint.module):
        with pytest.raises(UsageError, match="modality='text'"):
            call()
    with pytest.raises(UsageError, match="name the modality"):
        open_encoder(f"layer:{reference}:text_model")
    assert joint.classifier() is None


def test_only_the_picture_tower_of_a_joint_encoder_has_a_text_tower(tmp_path: Path) -> None:
    folder = BUILDERS["clip"](tmp_path)
    picture, text = (open_encoder(f"dir:{folder}", modality=modality) for modality in ("image", "text"))
    inner = open_encoder(f"layer:dir:{folder}:vision_model.encoder.layers.0", modality="image")
    told = [has_text_tower(encoder) for encoder in (picture, text, inner, *map(open_encoder, BUNDLED.values()))]
    assert told == [True, False, False, False, False]


def test_sentence_transformers_own_clip_folder_is_joint(tmp_path: Path) -> None:
    inner = tmp_path / "0_CLIPModel"
    inner.mkdir()
    (tmp_path / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.CLIPModel", "path": "0_CLIPModel"}]'
    )
    (inner / "config.json").write_text('{"model_type": "clip"}')
    encoder = open_encoder(f"dir:{tmp_path}")
    assert isinstance(encoder, JointEncoder)
    assert (encoder.folder, encoder.dim) == (inner, 512)
