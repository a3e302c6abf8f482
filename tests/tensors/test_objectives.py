"""Losses against numbers worked out by hand, and against torch's own where it has the same.

Legend: B items of a batch, C classes, D dims.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from graft.errors import DataError, UsageError
from graft.tensors.objectives import (
    classification,
    contrastive,
    cross_entropy,
    distillation,
    distillation_loss,
    pair_cosine,
    pair_cosine_loss,
    smoothed,
    soft_targets,
    supervised_contrastive_loss,
)


class Lookup(nn.Module):
    """A model that gives its own table for any batch."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.table[batch["rows"]]


def batch_of(targets: Tensor) -> dict[str, Tensor]:
    return {"rows": torch.arange(len(targets)), "targets": targets}


def some_logits(n: int = 6, n_classes: int = 4, seed: int = 0) -> Tensor:
    return 2 * torch.randn(n, n_classes, generator=torch.Generator().manual_seed(seed))


# -- targets ----------------------------------------------------------------------------------------------------------


def test_codes_become_shares() -> None:
    assert soft_targets(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    soft = torch.tensor([[0.25, 0.75]])
    assert soft_targets(soft, 2) is soft or torch.equal(soft_targets(soft, 2), soft)
    for wrong in (torch.tensor([3]), torch.tensor([-1]), torch.ones(2, 4)):
        with pytest.raises(DataError, match=r"wanted\.$"):
            soft_targets(wrong, 3)


def test_label_smoothing_by_hand() -> None:
    """epsilon = 0.1 over four classes: 0.9 + 0.025 and 0.025."""
    found = smoothed(torch.tensor([1]), 4, 0.1)
    torch.testing.assert_close(found, torch.tensor([[0.025, 0.925, 0.025, 0.025]]))
    logits, y = some_logits(), torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(
        cross_entropy(logits, smoothed(y, 4, 0.2)), functional.cross_entropy(logits, y, label_smoothing=0.2)
    )
    with pytest.raises(UsageError, match="label_smoothing=1"):
        smoothed(y, 4, 1.0)


# -- cross entropy ----------------------------------------------------------------------------------------------------


def test_cross_entropy_by_hand() -> None:
    """Even odds cost log 2; odds of 3 to 1 cost log 4 - log 3 or log 4."""
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    assert float(cross_entropy(logits, torch.tensor([0, 0]))) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    weighted = cross_entropy(logits, torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))
    assert float(weighted) == pytest.approx((math.log(2) + 3 * math.log(4)) / 2)
    half = cross_entropy(logits[1:], torch.tensor([[0.5, 0.5]]))
    assert float(half) == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)


@given(st.integers(1, 8), st.integers(2, 5), st.integers(0, 10**6), st.booleans())
@settings(max_examples=40, deadline=None)
def test_cross_entropy_is_torchs_and_the_same_for_codes_and_shares(n: int, c: int, seed: int, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, y = some_logits(n, c, seed), torch.randint(c, (n,), generator=generator)
    weights = torch.rand(c, generator=generator) + 0.1 if weighted else None
    found = cross_entropy(logits, y, weights)
    each = functional.cross_entropy(logits, y, weight=weights, reduction="none")
    torch.testing.assert_close(found, each.mean())
    torch.testing.assert_close(found, cross_entropy(logits, soft_targets(y, c), weights))
    # parts add up to the whole, in which ever way a batch is cut
    parts = [len(y[part]) / n * cross_entropy(logits[part], y[part], weights) for part in (slice(0, 3), slice(3, n))]
    torch.testing.assert_close(found, torch.stack(parts).sum())
    soft = torch.softmax(some_logits(n, c, seed + 1), dim=1)
    torch.testing.assert_close(cross_entropy(logits, soft, weights), functional.cross_entropy(logits, soft, weights))


def test_what_has_no_weight_costs_nothing_and_half_precision_is_counted_in_full() -> None:
    assert float(cross_entropy(some_logits(), torch.zeros(6, dtype=torch.int64), torch.tensor([0.0, 1, 1, 1]))) == 0
    assert float(cross_entropy(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))) == 0
    logits, y = some_logits(), torch.arange(6) % 4
    assert cross_entropy(logits.bfloat16(), y).dtype == torch.float32


def test_classification_is_cross_entropy_of_the_models_logits() -> None:
    y, weights = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    model = Lookup(some_logits())
    torch.testing.assert_close(
        classification(weights)(model, batch_of(y)), cross_entropy(some_logits(), y, weights), rtol=0, atol=0
    )
    smooth = classification(label_smoothing=0.3)(model, batch_of(y))
    torch.testing.assert_close(smooth, functional.cross_entropy(some_logits(), y, label_smoothing=0.3))


# -- distillation -----------------------------------------------------------------------------------------------------


def test_distillation_by_hand() -> None:
    """Student even, teacher's logits (T log 3, 0): softened by T they are 3/4 and 1/4, so KL = 3/4 log 3/2 + 1/4 log 1/2."""
    temperature = 4.0
    student, teacher = torch.zeros(1, 2), torch.tensor([[temperature * math.log(3), 0.0]])
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    y = torch.tensor([0])
    for weight in (0.0, 0.3, 1.0):
        found = distillation_loss(student, teacher, y, temperature, weight)
        assert float(found) == pytest.approx((1 - weight) * math.log(2) + weight * temperature**2 * kl, rel=1e-5)
    assert float(distillation_loss(teacher, teacher, y, 3.0, 1.0)) == pytest.approx(0, abs=1e-6)


def test_a_hot_teacher_is_matched_in_logits() -> None:
    """As T grows T^2 KL goes to the squared distance of centred logits over 2 C, its gradient to their difference over C (Hinton et al. 2015)."""
    student, teacher = some_logits().requires_grad_(), some_logits(seed=1)
    loss = distillation_loss(student, teacher, torch.zeros(6, dtype=torch.int64), 300.0, 1.0)
    apart = (student - student.mean(dim=1, keepdim=True)) - (teacher - teacher.mean(dim=1, keepdim=True))
    torch.testing.assert_close(loss, apart.square().sum() / (2 * 4 * 6), rtol=2e-2, atol=0)
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, apart.detach() / (4 * 6), rtol=0, atol=2e-3)


def test_the_teacher_stays_as_it_is() -> None:
    student, teacher = Lookup(some_logits()), Lookup(some_logits(seed=1))
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = distillation(teacher, temperature=3.0, weight=0.7)(student, batch_of(y))
    torch.testing.assert_close(loss, distillation_loss(student.table, teacher.table, y, 3.0, 0.7))
    loss.backward()  # type: ignore[no-untyped-call]
    assert teacher.table.grad is None
    assert student.table.grad is not None
    for wrong in ({"temperature": 0.0}, {"weight": 1.5}, {"temperature": float("nan")}):
        with pytest.raises(UsageError, match="temperature above 0 and a weight within"):
            distillation(teacher, **wrong)(student, batch_of(y))


# -- contrast ---------------------------------------------------------------------------------------------------------


def test_supervised_contrast_by_hand() -> None:
    """a, a' at a right angle to b (alone in its class): for a the others are a' (cosine 1) and b (cosine 0)."""
    vectors = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([7, 7, 3])
    t = 0.5
    one = -(1 / t) + math.log(math.exp(1 / t) + math.exp(0))
    assert float(supervised_contrastive_loss(vectors, labels, t)) == pytest.approx(one)


def test_supervised_contrast_with_several_partners_by_hand() -> None:
    """Anchor 0 has two partners with cosines 0 and -1; the logarithm is taken of each and then the mean (L_out), not the other way."""
    angles = torch.tensor([0.0, math.pi / 2, math.pi, math.pi / 4])
    vectors, labels = torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([0, 0, 0, 1])
    t = 1.0
    expected = 0.0
    for i in range(3):
        others = [j for j in range(4) if j != i]
        total = sum(math.exp(math.cos(float(angles[i] - angles[j])) / t) for j in others)
        partners = [j for j in range(3) if j != i]
        expected -= sum(math.cos(float(angles[i] - angles[j])) / t - math.log(total) for j in partners) / 2
    assert float(supervised_contrastive_loss(vectors, labels, t)) == pytest.approx(expected / 3, rel=1e-5)


@given(st.integers(2, 10), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_contrast_knows_neither_order_nor_names_nor_length(n: int, n_classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors, labels = torch.randn(n, 5, generator=generator), torch.randint(n_classes, (n,), generator=generator)
    order, scale = torch.randperm(n, generator=generator), torch.rand(n, 1, generator=generator) + 0.1
    for loss in (supervised_contrastive_loss, pair_cosine_loss):
        value = loss(vectors, labels)
        assert bool(value.isfinite()) and float(value) >= 0
        torch.testing.assert_close(value, loss((scale * vectors)[order], 5 - labels[order]))


def test_a_batch_without_pairs_of_a_class_costs_nothing_and_can_be_trained_on() -> None:
    for n in (1, 3):
        vectors = torch.randn(n, 4, requires_grad=True)
        loss = supervised_contrastive_loss(vectors, torch.arange(n))
        (gradient,) = torch.autograd.grad(loss, vectors)
        assert loss.item() == 0
        assert bool((gradient == 0).all())


def test_gradients_are_finite_where_vectors_coincide() -> None:
    vectors = torch.ones(4, 3, requires_grad=True)
    for loss in (supervised_contrastive_loss, pair_cosine_loss):
        (gradient,) = torch.autograd.grad(loss(vectors, torch.tensor([0, 0, 1, 1])), vectors)
        assert bool(gradient.isfinite().all())


def test_pairs_by_hand() -> None:
    """Cosines: 0-1 (same) 0, 0-2 and 1-2 (other) 0.6 and 0.8: half of 1 and half of the mean of 0.36 and 0.64."""
    vectors, labels = torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.6, 0.8]]), torch.tensor([1, 1, 0])
    assert float(pair_cosine_loss(vectors, labels)) == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert float(pair_cosine_loss(vectors[:2], labels[:2])) == pytest.approx(0.5)
    assert float(pair_cosine_loss(vectors[1:], labels[1:])) == pytest.approx(0.5 * 0.64)


def test_cosines_are_counted_in_full_where_the_model_runs_in_half() -> None:
    vectors, labels = torch.randn(6, 64, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
    for loss in (supervised_contrastive_loss, pair_cosine_loss):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = loss(vectors, labels)
        assert torch.equal(inside, loss(vectors, labels))


def test_tuning_brings_classes_together() -> None:
    """A few steps on free vectors: items end up nearer to their own class than to the other."""
    labels = torch.arange(8) % 2
    objectives: list[Any] = [contrastive(0.2), pair_cosine()]
    for objective in objectives:
        model = Lookup(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
        for _ in range(100):
            optimiser.zero_grad()
            objective(model, batch_of(labels)).backward()
            optimiser.step()
        unit = functional.normalize(model.table.detach())
        cosines = unit @ unit.T
        same = labels[:, None] == labels
        assert float(cosines[same].min()) > float(cosines[~same].max()) + 0.5


def test_contrast_wants_labels() -> None:
    model, soft = Lookup(torch.randn(2, 3)), torch.tensor([[0.5, 0.5], [0.1, 0.9]])
    for objective in (contrastive(), pair_cosine()):
        with pytest.raises(UsageError, match="neither mixup, cutmix nor label smoothing"):
            objective(model, batch_of(soft))
    with pytest.raises(UsageError, match="temperature=0"):
        supervised_contrastive_loss(torch.randn(2, 3), torch.tensor([0, 0]), 0.0)
