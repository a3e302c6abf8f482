"""What two towers minimise: a softmax over sampled items, corrected for how they were sampled, and a triplet loss.

A person's score for the item that was liked should stand out among all items of the catalogue. As scoring all of them costs too much, the sum of
exp(score) over the others is estimated from a few: an item drawn by chances q stands for 1 / (draws q) items, so the logarithm of
draws q is taken off its score (Bengio & Senecal 2008; for the items of a batch, drawn by popularity: Yi et al. 2019). Without that the scores learn
score + log q instead, and popular items, which are drawn most, end too low; with the wrong sign they end far too low.

Imported only where training runs. Legend: B people of a batch, J items they are compared with, D dims.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import relu

from graft.errors import UsageError

NEVER = -1e30  # as a score: an item that takes no part; finite, for -inf less -inf is no number


def log_expected(log_q: Tensor, draws: int, share: float = 1.0) -> Tensor:
    """What is taken off the scores of items drawn `draws` times with log-probabilities `log_q`: log(draws q / share).

    `share` (0..1] is the part that these draws have in the whole estimate where several kinds of draws make it up together; the shares of kinds that
    each could draw any item sum to 1.
    """
    return log_q + math.log(draws / share)


def sampled_softmax_loss(
    positive_B: Tensor,
    scores_BJ: Tensor,
    log_expected_BJ: Tensor,
    no_negative_BJ: Tensor,
    weight_B: Tensor | None = None,
) -> Tensor:
    """Mean over the B likes of log(exp(positive) + sum over J of exp(score) / expected) - positive.

    `scores_BJ` are of the sampled items, divided by the temperature as `positive_B` is. `log_expected_BJ` (broadcast to B × J): see `log_expected`;
    zeros leave the scores as they are. `no_negative_BJ`: pairs left out, which are accidental hits: the target itself, and other items the person likes.
    As the target is counted once, by itself, and its draws are left out, the sum is unbiased. `weight_B`: weights of the likes.
    """
    corrected_BJ = torch.where(no_negative_BJ, NEVER, scores_BJ - log_expected_BJ)
    loss_B = torch.logaddexp(positive_B, torch.logsumexp(corrected_BJ, dim=1)) - positive_B
    return _mean(loss_B, weight_B)


def in_batch_softmax_loss(
    person_BD: Tensor,
    item_BD: Tensor,
    temperature: float,
    *,
    log_q_B: Tensor | None = None,
    no_negative_BB: Tensor | None = None,
    weight_B: Tensor | None = None,
) -> Tensor:
    """Softmax of each person's own item against those of the other rows, scores being inner products divided by `temperature`.

    `log_q_B`: log of the share of all likes that each row's item has, by which it got into the batch; None leaves the scores uncorrected.
    `no_negative_BB`: pairs left out beside each row's own. Raises UsageError for a temperature not above 0.
    """
    if not temperature > 0:
        raise UsageError(f"temperature={temperature}: it must be above 0.")
    scores_BB = person_BD @ item_BD.T / temperature
    own_BB = torch.eye(len(scores_BB), dtype=torch.bool, device=scores_BB.device)
    left_out_BB = own_BB if no_negative_BB is None else own_BB | no_negative_BB
    expected_B = (
        torch.zeros_like(scores_BB[0]) if log_q_B is None else log_expected(log_q_B, max(1, len(scores_BB) - 1))
    )
    return sampled_softmax_loss(scores_BB.diagonal(), scores_BB, expected_B, left_out_BB, weight_B)


def semi_hard_triplet_loss(
    person_BD: Tensor,
    liked_BD: Tensor,
    cosine_BJ: Tensor,
    no_negative_BJ: Tensor,
    margin: float,
    weight_B: Tensor | None = None,
) -> Tensor:
    """Mean of max(0, d(person, liked) - d(person, other) + margin), d the squared distance of unit vectors, 0..4 (FaceNet: Schroff et al. 2015).

    The other is the nearest of those farther than the liked item (semi-hard: the nearest of all lead into collapse); where none is farther, the
    farthest. `cosine_BJ` are the cosines of the people with the J others; a person of whom all are left out costs nothing.
    Raises UsageError for a margin not above 0.
    """
    if not margin > 0:
        raise UsageError(f"margin={margin}: it must be above 0, or nothing would keep all vectors from becoming one.")
    near_B1 = (2 - 2 * (person_BD * liked_BD).sum(1, keepdim=True)).clamp(min=0)
    far_BJ = (2 - 2 * cosine_BJ).clamp(min=0)
    with torch.no_grad():
        farther_BJ = (far_BJ > near_B1) & ~no_negative_BJ
        nearest_B = torch.where(farther_BJ, far_BJ, math.inf).argmin(1)
        farthest_B = torch.where(no_negative_BJ, -math.inf, far_BJ).argmax(1)
        chosen_B1 = torch.where(farther_BJ.any(1), nearest_B, farthest_B)[:, None]
        some_B = ~no_negative_BJ.all(1)
    loss_B = relu(near_B1 - far_BJ.gather(1, chosen_B1) + margin)[:, 0] * some_B
    return _mean(loss_B, weight_B)


def _mean(loss_B: Tensor, weight_B: Tensor | None) -> Tensor:
    return loss_B.mean() if weight_B is None else (loss_B * weight_B).sum() / weight_B.sum()
