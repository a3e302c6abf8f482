"""The scorer on pairs: what is pooled, and that fast scores are those of training.

Legend: I items, B people, P pairs.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.recommenders.tables import likes_of, two_tastes

from graft.recommenders import mlp
from graft.recommenders.base import histories_of
from graft.recommenders.mlp import PairScorer, _logits, _parties, _pooled


def test_a_person_is_the_mean_of_what_they_like_besides() -> None:
    matrix = likes_of([[1, 0, 3, 2], [0, 1, 0, 0]]).matrix()
    context = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 1.0], [2.0, 2.0]])
    wanted = [[4 / 5, 7 / 5], [5 / 3, 4 / 3], [1 / 4, 3 / 4], [0.0, 0.0]]
    np.testing.assert_allclose(_pooled(matrix, context).numpy(), wanted, rtol=1e-6)


def test_a_like_alone_passes_no_gradient_that_is_not_a_number() -> None:
    context = torch.ones((2, 3), requires_grad=True)
    _pooled(likes_of([[1, 0], [1, 1]]).matrix(), context).sum().backward()  # type: ignore[no-untyped-call]
    assert context.grad is not None
    assert torch.isfinite(context.grad).all()


def test_scores_are_the_logits_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "BLOCK_NUMBERS", 3000)  # several blocks of people
    likes = likes_of(two_tastes(9, 12))
    model = PairScorer.fit(likes, dims=4, epochs=2)
    weights = {name: torch.from_numpy(array) for name, array in model.state().items()}
    matrix = likes.matrix()
    person = torch.from_numpy(matrix.toarray() / np.maximum(matrix.sum(axis=1).A1[:, None], 1)) @ weights["context"]
    scores_BI = model.scores(histories_of(likes))
    for item in range(12):
        logit_P = _logits(weights, person, np.full(9, item), np.empty(0, np.int64))
        np.testing.assert_allclose(scores_BI[:, item], logit_P.numpy(), rtol=1e-4, atol=1e-5)


def test_everybody_with_likes_is_met_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "STEP", 10)
    x_UI = two_tastes(30, 12)
    x_UI[3] = 0
    parties = _parties(likes_of(x_UI).matrix(), np.random.default_rng(0))
    assert len(parties) > 5
    met = np.concatenate(parties)
    np.testing.assert_array_equal(np.sort(met), np.delete(np.arange(30), 3))
    assert (met[:-1] > met[1:]).any()
    assert max(x_UI[party].sum() for party in parties) < 10 + 12
