"""Masked tokens guessed before and after a training, where the tuned model still is the one that the head stands on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.strategies.conftest import vectors
from tests.trainers.masked import masked_model

from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoders.tuned import save_encoder
from graft.errors import DataError, UsageError
from graft.strategies.frozen import Task
from graft.strategies.items import Items
from graft.strategies.keeping import MEASURE, NAME, Corpus
from graft.strategies.trained import TRAINED
from graft.strategies.tuning import Job, Outcome, tune
from graft.trainers.recipe import with_settings
from graft.trainers.retained import masked_token_loss

TEXTS = ["a b c d", "d c b a a", "x y z", "z y x w v", "a c b", "y x z z"] * 3
CORPUS = ["k l m n o", "p q r s t u v w", "n m l k"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = tmp_path_factory.mktemp("masked")
    masked_model(folder)
    return open_encoder(f"dir:{folder}")


def trained(name: str, encoder: Encoder, corpus: Corpus, rate: float = 1e-3) -> Outcome:
    rung = TRAINED[name]
    recipe = with_settings(rung.recipe("text"), {"epochs": 1, "batch": 6, "range_test": False, "rate": rate})
    items = Items.of(encoder, TEXTS, vectors(encoder, list(TEXTS)))
    return tune(rung, items, np.array([0, 0, 1, 1, 0, 1] * 3), Task(2), Job(recipe, retained=corpus))


@pytest.mark.parametrize("name", ["finetune", "lora", "last-blocks"])
def test_before_and_after(name: str, encoder: Encoder) -> None:
    """The loss after the training is that of the tuned encoder when it is measured as one of its own."""
    corpus = Corpus.of(encoder, CORPUS, 3)
    outcome = trained(name, encoder, corpus)
    (kept,) = outcome.record.retained
    assert (kept.name, kept.measure, kept.before) == (NAME, MEASURE, corpus.before)
    assert kept.before == masked_token_loss(corpus.folder, None, CORPUS, 3)
    assert abs(kept.after - kept.before) > 1e-4
    tuned = outcome.encoder(1.0)
    assert tuned is not None and Corpus.of(tuned, CORPUS, 3).before == pytest.approx(kept.after, rel=1e-5)
    same = trained("finetune", encoder, corpus, rate=0.0).record.retained[0]
    assert same.after == pytest.approx(same.before, rel=1e-6)


def test_a_tuned_encoder_that_was_opened_again_has_the_head_too(encoder: Encoder, tmp_path: Path) -> None:
    corpus = Corpus.of(encoder, CORPUS, 0)
    outcome = trained("finetune", encoder, corpus)
    tuned = outcome.encoder(1.0)
    assert tuned is not None
    save_encoder(tmp_path / "tuned", tuned)
    again = Corpus.of(open_encoder(f"dir:{tmp_path / 'tuned'}"), CORPUS, 0)
    assert again.before == pytest.approx(outcome.record.retained[0].after, rel=1e-5)


@pytest.mark.parametrize("name", ["adapters", "prefix", "scratch"])
def test_layers_that_the_head_does_not_know(name: str, encoder: Encoder) -> None:
    record = trained(name, encoder, Corpus.of(encoder, CORPUS, 0)).record
    assert record.retained == () and any(f"{name} has layers" in note for note in record.notes)


def test_the_head_alone_leaves_everything_as_it_was(encoder: Encoder) -> None:
    record = trained("head-only", encoder, Corpus.of(encoder, CORPUS, 0)).record
    assert record.retained == () and not any("asked tokens" in note for note in record.notes)


def test_encoders_without_a_head_and_texts_without_tokens(encoder: Encoder) -> None:
    with pytest.raises(UsageError, match="minilm holds no head"):
        Corpus.of(open_encoder("minilm"), CORPUS, 0)
    with pytest.raises(UsageError, match="pixels:8 holds no head"):
        Corpus.of(open_encoder("pixels:8"), CORPUS, 0)
    with pytest.raises(DataError, match="has a token"):
        Corpus.of(encoder, [" "], 0)
