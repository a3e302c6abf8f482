"""How far items are from what an encoder knows."""

from __future__ import annotations

import numpy as np
import pytest

from graft.encoders.open import open_encoder
from graft.planning.domain import measure, of_logits, of_words


def test_entropy_is_that_of_the_probabilities() -> None:
    clueless, sure = np.zeros((5, 1000)), 100 * np.eye(5, 1000)
    assert of_logits(clueless, "e").value == pytest.approx(1.0) and of_logits(clueless, "e").verdict == "far"
    assert of_logits(sure, "e").value == pytest.approx(0.0, abs=1e-9) and of_logits(sure, "e").verdict == "near"
    half = np.full((3, 1000), -100.0)
    half[:, :100] = 0  # one hundred of a thousand equally likely
    assert of_logits(half, "e").value == pytest.approx(np.log(100) / np.log(1000))


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        (["a wonderful film with a clever plot", "the train from london was late again this morning"], "near"),
        (["for(int i=0;i<n;++i){s+=a[i]*b[i];}", "CC(=O)OC1=CC=CC=C1C(=O)O"], "far"),
        (["我喜欢这个电影", "今天的天气非常好"], "far"),
        (["Der Vertrag kann mit einer Frist von drei Monaten gekündigt werden."], "far"),
    ],
)
def test_texts_by_how_the_tokenizer_cuts_them(texts: list[str], verdict: str) -> None:
    found = measure(open_encoder("minilm"), texts, np.zeros((len(texts), 384), np.float32))
    assert found.verdict == verdict, found


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [
        ("the train from london was late again this morning, and nobody could say why. ", "near"),
        ("今天的天气非常好,我们去公园散步。", "far"),
        ("Der Vertrag kann mit einer Frist von drei Monaten zum Ende des Quartals gekündigt werden. ", "far"),
    ],
)
def test_texts_longer_than_the_encoder_reads_are_told_by_their_beginnings(sentence: str, verdict: str) -> None:
    found = measure(open_encoder("minilm"), [sentence * 100] * 3, np.zeros((3, 384), np.float32))
    assert found.verdict == verdict, found


def test_what_cannot_be_told_is_said() -> None:
    assert measure(open_encoder("pixels:8"), ["x"], np.zeros((1, 192), np.float32)).verdict == "unknown"
    assert measure(open_encoder("minilm"), [], np.zeros((0, 384), np.float32)).verdict == "unknown"
    assert measure(open_encoder("minilm"), [" "], np.zeros((1, 384), np.float32)).verdict == "unknown"


def test_domains_by_their_words() -> None:
    assert of_words("photos of welds, metal", None)[0].verdict == "far"
    assert of_words("dogs", None) == (of_words("dogs", "image")[0], "image")
    assert of_words("quux", None)[0].verdict == "unknown" and "quux" in of_words("quux", None)[0].words
