"""The sampled softmax against the full one, the sign of its correction against an analytic case, and triplets by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from graft.errors import UsageError
from graft.towers.softmax import (
    in_batch_softmax_loss,
    log_expected,
    sampled_softmax_loss,
    semi_hard_triplet_loss,
)

TRUE = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.06, 0.04], dtype=torch.float64)  # how often the one person likes each item


def optimum(sign: float, batch: int = 4000, steps: int = 60) -> Tensor:
    """The distribution that an in-batch softmax settles on, with +, no or - correction; by gradients from large batches."""
    draw = torch.Generator().manual_seed(0)
    score_I = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([score_I], lr=0.3)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.3 * (1 - step / steps)
        item_B = torch.multinomial(TRUE, batch, replacement=True, generator=draw)
        # Any two rows that hold the same item are an accidental hit, so each row is compared with the other items of the batch.
        count_I = torch.bincount(item_B, minlength=6)
        expected_I = sign * log_expected(TRUE.log(), batch) if sign else torch.zeros(6, dtype=torch.float64)
        loss = sampled_softmax_loss(
            score_I[item_B],
            score_I.expand(batch, 6) + count_I.log(),  # each item as often as it was drawn
            expected_I,
            torch.nn.functional.one_hot(item_B, 6).bool(),
        )
        (score_I.grad,) = torch.autograd.grad(loss, score_I)
        optimiser.step()
    return torch.softmax(score_I.detach(), 0)


def test_the_corrected_softmax_learns_the_truth_and_no_other_sign_does() -> None:
    """One person, items liked by known chances, negatives drawn by popularity: the optimum of the full softmax is those chances."""
    distance = {sign: float((optimum(sign) - TRUE).abs().sum() / 2) for sign in (1.0, 0.0, -1.0)}
    assert distance[1.0] < 0.02
    assert distance[0.0] > 0.15  # scores learn log p - log q = 0: all items alike
    assert distance[-1.0] > distance[0.0]


def test_corrected_gradient_is_that_of_the_full_softmax() -> None:
    """At any scores the expected gradient over draws by q is the full softmax's; here away from the optimum, with many draws."""
    draw = torch.Generator().manual_seed(1)
    q_I = torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04], dtype=torch.float64)
    score_I = torch.tensor([0.5, -1.0, 0.3, 1.0, -0.2], dtype=torch.float64, requires_grad=True)
    target = 2
    (full,) = torch.autograd.grad(torch.logsumexp(score_I, 0) - score_I[target], score_I)

    def gradient(correct: bool) -> Tensor:
        item_J = torch.multinomial(q_I, 200_000, replacement=True, generator=draw)
        expected_J = (
            log_expected(q_I.log()[item_J], len(item_J)) if correct else torch.full((1,), math.log(len(item_J) / 5))
        )
        loss = sampled_softmax_loss(
            score_I[target][None], score_I[item_J][None], expected_J[None], (item_J == target)[None]
        )
        return torch.autograd.grad(loss, score_I)[0]

    assert torch.allclose(gradient(True), full, atol=4e-3)
    assert (gradient(False) - full).abs().max() > 0.05


def test_shares_of_two_kinds_make_one_estimate() -> None:
    """Half the estimate from all items once (q uniform), half from all items once more: the same sum as from one kind alone."""
    score_BI = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target_B = torch.tensor([0, 3, 6])
    own_BI = torch.nn.functional.one_hot(target_B, 7).bool()
    positive_B = score_BI.gather(1, target_B[:, None])[:, 0]
    uniform_I = torch.full((7,), -math.log(7), dtype=torch.float64)
    one = sampled_softmax_loss(positive_B, score_BI, log_expected(uniform_I, 7), own_BI)
    two = sampled_softmax_loss(
        positive_B,
        torch.cat([score_BI, score_BI], 1),
        torch.cat([log_expected(uniform_I, 7, 0.25), log_expected(uniform_I, 7, 0.75)]),
        torch.cat([own_BI, own_BI], 1),
    )
    full = torch.nn.functional.cross_entropy(score_BI, target_B)
    assert one.item() == pytest.approx(full.item())
    assert two.item() == pytest.approx(full.item())


def test_in_batch_by_hand() -> None:
    person_BD = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    item_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    plain = in_batch_softmax_loss(person_BD, item_BD, 0.5)
    assert plain.item() == pytest.approx(
        (math.log1p(math.exp((0.6 - 1) / 0.5)) + math.log1p(math.exp((0 - 0.8) / 0.5))) / 2
    )
    log_q_B = torch.tensor([math.log(0.5), math.log(0.1)])
    corrected = in_batch_softmax_loss(person_BD, item_BD, 0.5, log_q_B=log_q_B)
    by_hand = [math.log1p(math.exp(1.2 - 2) / 0.1), math.log1p(math.exp(0 - 1.6) / 0.5)]
    assert corrected.item() == pytest.approx(sum(by_hand) / 2)


def test_accidental_hits_cost_nothing() -> None:
    """A pair that is left out changes neither the loss nor any gradient, however high its score."""
    person_BD = torch.eye(2, requires_grad=True)
    item_BD = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)  # the other's item is as good as one's own
    hit_BB = torch.tensor([[False, True], [False, False]])
    loss = in_batch_softmax_loss(person_BD, item_BD, 0.1, no_negative_BB=hit_BB, weight_B=torch.tensor([1.0, 0.0]))
    assert loss.item() == 0.0
    (gradient_BD,) = torch.autograd.grad(loss, person_BD)
    assert not gradient_BD[0].any()
    assert in_batch_softmax_loss(person_BD, item_BD, 0.1, weight_B=torch.tensor([1.0, 0.0])).item() > 0.5


def test_a_row_without_negatives_is_no_trouble() -> None:
    positive_B = torch.zeros(1, requires_grad=True)
    loss = sampled_softmax_loss(positive_B, torch.zeros(1, 2), torch.zeros(2), torch.ones(1, 2, dtype=torch.bool))
    (gradient_B,) = torch.autograd.grad(loss, positive_B)
    assert loss.item() == 0.0 and torch.isfinite(gradient_B).all()


def unit(*degrees: float) -> Tensor:
    angle = torch.tensor(degrees) * math.pi / 180
    return torch.stack([angle.cos(), angle.sin()], 1)


def test_triplets_take_the_nearest_that_is_farther() -> None:
    """A person at 0 degrees, its item at 60: of others at 30 (nearer), 90, 180 the one at 90 is taken."""
    person_BD, liked_BD, other_JD = unit(0.0), unit(60.0), unit(30.0, 90.0, 180.0)
    none = torch.zeros(1, 3, dtype=torch.bool)
    loss = semi_hard_triplet_loss(person_BD, liked_BD, person_BD @ other_JD.T, none, 1.5)
    assert loss.item() == pytest.approx(1.0 - 2.0 + 1.5, abs=1e-5)  # squared distances 2 - 2 cos
    left_out = torch.tensor([[False, True, False]])  # then the one at 180, too far to cost anything
    assert semi_hard_triplet_loss(person_BD, liked_BD, person_BD @ other_JD.T, left_out, 1.5).item() == 0.0
    only_nearer = torch.tensor([[False, True, True]])  # none is farther: the farthest there is
    found = semi_hard_triplet_loss(person_BD, liked_BD, person_BD @ other_JD.T, only_nearer, 1.5)
    assert found.item() == pytest.approx(1.0 - (2 - math.sqrt(3)) + 1.5, abs=1e-5)
    everyone = torch.ones(1, 3, dtype=torch.bool)
    assert semi_hard_triplet_loss(person_BD, liked_BD, person_BD @ other_JD.T, everyone, 1.5).item() == 0.0


def test_settings_that_cannot_work() -> None:
    with pytest.raises(UsageError, match="temperature=0"):
        in_batch_softmax_loss(torch.eye(2), torch.eye(2), 0.0)
    with pytest.raises(UsageError, match="margin=0"):
        semi_hard_triplet_loss(torch.eye(2), torch.eye(2), torch.eye(2), torch.zeros(2, 2, dtype=torch.bool), 0.0)


def test_weights_weigh() -> None:
    rng = np.random.default_rng(0)
    positive_B, score_BJ = (torch.tensor(rng.standard_normal(size)) for size in (2, (2, 3)))
    none, zero = torch.zeros(2, 3, dtype=torch.bool), torch.zeros(3)
    each = [sampled_softmax_loss(positive_B[b : b + 1], score_BJ[b : b + 1], zero, none[:1]).item() for b in range(2)]
    both = sampled_softmax_loss(positive_B, score_BJ, zero, none, torch.tensor([3.0, 1.0]))
    assert both.item() == pytest.approx((3 * each[0] + each[1]) / 4)
