"""A tiny sentence-transformers folder to change in tests of reading such folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

PREFIX = "sentence_transformers.models."


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer BERT of 32 dimensions with a WordPiece tokenizer of letters, which upper-cases nothing and cuts nothing itself."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    folder = tmp_path_factory.mktemp("bert")
    letters = [chr(c) for c in (*range(65, 91), *range(97, 123))]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", *letters, *(f"##{c}" for c in letters)]
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=24)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    settings = {**special, "model_max_length": 512, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    model = BertModel(BertConfig(**sizes, vocab_size=len(vocabulary), max_position_embeddings=64))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def sentence_folder(bert_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a sentence-transformers folder of given modules; each further module is (type, settings)."""

    def make(pooling: dict[str, object], *modules: tuple[str, dict[str, object]], **sentence: object) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(bert_folder, folder)
        listed = [("Transformer", None), ("Pooling", pooling), *modules]
        rows = []
        for number, (kind, settings) in enumerate(listed):
            place = f"{number}_{kind}" if number else ""
            rows.append(
                {"idx": number, "name": str(number), "path": place, "type": kind if "." in kind else PREFIX + kind}
            )
            if place:
                (folder / place).mkdir()
                (folder / place / "config.json").write_text(json.dumps(settings))
        (folder / "modules.json").write_text(json.dumps(rows))
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, **sentence}))
        return folder

    return make
