"""Tiny pretrained models of every family, built from a configuration and saved to folders, once a session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

TRANSFORMER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
VISION = {**TRANSFORMER, "image_size": 32, "patch_size": 8}
WORDS = ["the", "a", "cat", "dog", "bird", "sat", "ran", "flew", "on", "under", "over", "mat", "tree", "house", "red"]
WORDS += ["green", "blue", "and", "or", "it", "was", "not", "very", "big", "small"]
SQUARE = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
CROPPED = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 48},
    "crop_size": {"height": 42, "width": 42},
}


def write_tokenizer(folder: Path) -> None:
    """A small WordPiece tokenizer whose file asks for fixed padding and a short cut, as MiniLM's does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = [*special, *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    ids = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=24)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]", "model_max_length": 512}))


def _save(model: Any, folder: Path) -> Path:
    """Save a model with weights large enough that different items get different vectors."""
    import torch
    from transformers.utils import logging

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 / parameter[0].numel() ** 0.25)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder


def _with_pictures(model: Any, folder: Path, processor: dict[str, Any]) -> Path:
    _save(model, folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def _bert(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    _save(BertModel(BertConfig(**TRANSFORMER, vocab_size=120, max_position_embeddings=64)), folder)
    write_tokenizer(folder)
    return folder


def _sentence_transformer(folder: Path) -> Path:
    _bert(folder)
    prefix = "sentence_transformers.models."
    modules = [
        {"idx": 0, "path": "", "type": prefix + "Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": prefix + "Pooling"},
        {"idx": 2, "path": "2_Normalize", "type": prefix + "Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return folder


def _clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPModel

    text = {**TRANSFORMER, "vocab_size": 120, "max_position_embeddings": 24, "bos_token_id": 2, "eos_token_id": 3}
    config = CLIPConfig(text_config={**text, "pad_token_id": 0}, vision_config=VISION, projection_dim=20)
    write_tokenizer(folder)
    processor = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "crop_size": 32}
    return _with_pictures(CLIPModel(config), folder, processor)


def _siglip(folder: Path) -> Path:
    from transformers import SiglipConfig, SiglipModel

    text = {**TRANSFORMER, "vocab_size": 120, "max_position_embeddings": 24, "bos_token_id": 2, "eos_token_id": 3}
    config = SiglipConfig(text_config={**text, "pad_token_id": 0}, vision_config=VISION)
    write_tokenizer(folder)
    processor = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}}
    return _with_pictures(SiglipModel(config), folder, processor)


def _vision(name: str, folder: Path) -> Path:
    import transformers as hf

    stages = {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]}
    dino = {**TRANSFORMER, "image_size": 42, "patch_size": 14}
    swin = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
    small = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}}
    if name == "vit":
        names = {0: "tench, Tinca tinca", 1: "goldfish", 2: "shark"}
        config = hf.ViTConfig(**VISION, id2label=names)
        return _with_pictures(hf.ViTForImageClassification(config), folder, SQUARE)
    if name == "dinov2":
        return _with_pictures(hf.Dinov2Model(hf.Dinov2Config(**dino)), folder, CROPPED)
    if name == "dinov2-classifier":
        model = hf.Dinov2WithRegistersForImageClassification(hf.Dinov2WithRegistersConfig(**dino, num_labels=3))
        return _with_pictures(model, folder, CROPPED)
    if name == "convnext":
        model = hf.ConvNextV2ForImageClassification(hf.ConvNextV2Config(**stages, num_labels=4))
        return _with_pictures(model, folder, small)
    if name == "resnet":
        config = hf.ResNetConfig(**stages, embedding_size=8, layer_type="basic", num_labels=4)
        return _with_pictures(hf.ResNetForImageClassification(config), folder, small)
    return _with_pictures(hf.SwinForImageClassification(hf.SwinConfig(**swin, num_labels=4)), folder, SQUARE)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "bert": _bert,
    "sentence-transformer": _sentence_transformer,
    "clip": _clip,
    "siglip": _siglip,
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by name, built the first time it is asked for."""
    made: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("models") / name
            folder.mkdir()
            made[name] = BUILDERS[name](folder) if name in BUILDERS else _vision(name, folder)
        return made[name]

    return build


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Seven RGB pictures of several shapes, smooth as photographs are, all different."""
    random = np.random.default_rng(0)
    sizes = [(64, 48), (48, 64), (100, 31), (33, 33), (224, 180), (31, 70), (300, 300)]
    return [
        Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for size in sizes
    ]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Eight texts of very different lengths, an empty one among them."""
    return [
        "the cat sat on the mat",
        "a dog",
        "the red bird flew over the big house and it was not very green",
        "",
        "Blue tree, green tree!",
        "the small cat ran under the house and the bird sat on the tree and the dog was red " * 4,
        "unknown wörds 123",
        "very very small",
    ]
