"""Tokenising: what a tokenizer's file says of padding and cutting is overruled, and no text is too long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoders.tokens import CHARACTERS_PER_TOKEN, Tokeniser, pad
from graft.errors import ModelError


def test_padding_and_cutting_are_ours(bert_folder: Path) -> None:
    """The file pads to 24 and cuts at 8."""
    tokeniser = Tokeniser(bert_folder, 12)
    short, long = tokeniser(["the cat", "the cat " * 40])
    assert short.tolist() == [2, 4, 5, 3]
    assert len(long) == 12
    assert long[-1] == 3
    assert short.dtype == np.int64


def test_minilm_reads_256_tokens() -> None:
    encoder = open_encoder("minilm")
    (ids,) = encoder.prepare(["word " * 1000])
    assert len(ids) == encoder.info.max_tokens == 256


def test_ten_megabytes_in_one_text(bert_folder: Path) -> None:
    """Cut before tokenising: the same tokens as of the beginning alone."""
    tokeniser = Tokeniser(bert_folder, 16)
    text = "the cat saw the dog " * 500_000
    assert tokeniser([text])[0].tolist() == tokeniser([text[:400]])[0].tolist()
    assert tokeniser(["  " * 5_000_000 + "the cat"])[0].tolist() == [2, 4, 5, 3]
    assert len(tokeniser(["x" * 10_000_000])[0]) <= 16


def test_prefix_and_lower_case(bert_folder: Path) -> None:
    plain = Tokeniser(bert_folder, 16)
    assert Tokeniser(bert_folder, 16, lower=True)(["THE CAT"])[0].tolist() == plain(["the cat"])[0].tolist()
    assert Tokeniser(bert_folder, 16, prefix="dog: ")(["cat"])[0].tolist() == plain(["dog: cat"])[0].tolist()


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    """Opened once: every example of hypothesis uses it."""
    return open_encoder("minilm")


@settings(deadline=None, max_examples=50)  # examples wait for other processes on a busy machine
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_any_text_gives_tokens_within_bounds(minilm: Encoder, texts: list[str]) -> None:
    encoder = minilm
    rows = encoder.prepare(texts)
    assert len(rows) == len(texts)
    assert all(1 <= len(row) <= 256 for row in rows)
    batch = encoder.collate(rows)
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["attention_mask"].sum(axis=1).tolist() == [len(row) for row in rows]


def test_pad() -> None:
    rows = [np.array([5, 6, 7]), np.array([8])]
    right, left = pad(rows, 9), pad(rows, 9, 4, left=True)
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert left["input_ids"].tolist() == [[9, 5, 6, 7], [9, 9, 9, 8]]


def test_slow_tokenizers_work_too(bert_folder: Path, tmp_path: Path) -> None:
    """A folder with a word list alone is read by transformers."""
    for name in ("config.json",):
        (tmp_path / name).write_bytes((bert_folder / name).read_bytes())
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]"}')
    tokeniser = Tokeniser(tmp_path, 8)
    assert [row.tolist() for row in tokeniser(["The cat", ""])] == [[2, 5, 6, 3], [2, 3]]
    assert tokeniser.pad_id == 0


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{not json")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Tokeniser(tmp_path, 8)


def test_the_cut_is_far_beyond_written_language() -> None:
    assert CHARACTERS_PER_TOKEN >= 15
