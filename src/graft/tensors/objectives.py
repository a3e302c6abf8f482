"""What a training minimises: losses of a batch as pure functions, and objectives (model, batch) -> loss made of them.

Targets are class codes (B,), int64, or shares of the classes (B, C), float32, which sum to one.
Legend: B items of a batch, C classes, D dims.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, normalize, one_hot

from graft.errors import DataError, UsageError

Objective = Callable[[nn.Module, dict[str, Tensor]], Tensor]

LEAST_TEMPERATURE = 1e-6


def soft_targets(targets: Tensor, n_classes: int) -> Tensor:
    """Targets as shares (B, C) in float32: codes become rows of a one and zeros, shares stay.

    Raises DataError for codes outside 0..n_classes-1 or shares of another number of classes.
    """
    if targets.is_floating_point():
        if targets.dim() != 2 or targets.shape[1] != n_classes:
            raise DataError(f"Targets have the shape {tuple(targets.shape)}; shares of {n_classes} classes are wanted.")
        return targets.float()
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < n_classes:
        raise DataError(
            f"Targets lie between {int(targets.min())} and {int(targets.max())}; codes 0..{n_classes - 1} are wanted."
        )
    return one_hot(targets.long(), n_classes).float()


def smoothed(targets: Tensor, n_classes: int, epsilon: float) -> Tensor:
    """Label smoothing: (1 - epsilon) of the targets, epsilon spread evenly over all classes, (B, C) (Szegedy et al. 2016).

    Raises UsageError for epsilon outside 0..1 (1 excluded).
    """
    if not 0 <= epsilon < 1:
        raise UsageError(
            f"label_smoothing={epsilon}: it lies between 0 and 1, and 1 would leave nothing of the labels."
        )
    return (1 - epsilon) * soft_targets(targets, n_classes) + epsilon / n_classes


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the B items of the cross entropy in nats of logits (B, C) against codes or shares; `weights` (C,) of the classes, 1 if not given.

    The sum of w_c t_c -log p_c is divided by B, as the linear probe's loss is, not by the sum of the weights, as torch does for codes (but
    not for shares): so parts of a batch add up to the whole, and codes and the same as shares cost the same. An empty batch costs 0.
    """
    share_BC = soft_targets(targets, logits.shape[1])
    if weights is not None:
        share_BC = share_BC * weights.to(share_BC)
    return -(share_BC * log_softmax(logits.float(), dim=1)).sum() / max(1, len(logits))


def classification(weights: Tensor | None = None, *, label_smoothing: float = 0.0) -> Objective:
    """Cross entropy of a model whose output is logits, against the batch's `targets`, smoothed where asked."""

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        logits: Tensor = model(batch)
        targets = batch["targets"]
        if label_smoothing:
            targets = smoothed(targets, logits.shape[1], label_smoothing)
        return cross_entropy(logits, targets, weights)

    return objective


# -- learning from a teacher ------------------------------------------------------------------------------------------


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, targets: Tensor, temperature: float = 2.0, weight: float = 0.5
) -> Tensor:
    """(1 - weight) CE(targets) + weight T^2 KL(teacher_T || student_T), with both softened by T (Hinton et al. 2015).

    T^2 keeps the size of the gradient when the temperature changes. Logits are (B, C); the teacher gets no gradient. Raises UsageError for a
    temperature not above 0 or a weight outside 0..1.
    """
    if not temperature >= LEAST_TEMPERATURE or not 0 <= weight <= 1:
        raise UsageError(
            f"Distillation takes a temperature above 0 and a weight within 0..1, not {temperature} and {weight}."
        )
    student = log_softmax(student_logits.float() / temperature, dim=1)
    teacher = log_softmax(teacher_logits.detach().float() / temperature, dim=1)
    matching = kl_div(student, teacher, reduction="batchmean", log_target=True)
    return (1 - weight) * cross_entropy(student_logits, targets) + weight * temperature**2 * matching


def distillation(
    teacher: Callable[[dict[str, Tensor]], Tensor], *, temperature: float = 2.0, weight: float = 0.5
) -> Objective:
    """`distillation_loss` of a model against `teacher`, which gives logits (B, C) of the same batch and stays as it is.

    The teacher sees what the student sees (Beyer et al. 2022: consistent teaching), so it runs on every batch, without gradients; put it
    into evaluation mode. Where nothing is augmented, a teacher that looks its logits up in the batch costs nothing.
    """

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            taught = teacher(batch)
        return distillation_loss(model(batch), taught, batch["targets"], temperature, weight)

    return objective


# -- bringing the items of a class together ---------------------------------------------------------------------------


def supervised_contrastive_loss(vectors: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Every item finds those of its class among all others of the batch (Khosla et al. 2020, the sum outside the logarithm).

    -mean over anchors i of mean over p of log(exp(z_i z_p / T) / sum over a other than i of exp(z_i z_a / T)), with z the vectors (B, D) scaled to
    length 1 and p the other items with the label of i (labels (B,)). Anchors alone in their class are left out; a batch without any pair of a
    class has the loss 0. Raises UsageError for a temperature not above 0.
    """
    if not temperature >= LEAST_TEMPERATURE:
        raise UsageError(f"temperature={temperature}: it must be above 0.")
    itself_BB = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same_BB = (labels[:, None] == labels[None, :]) & ~itself_BB
    scores_BB = (_cosines(vectors) / temperature).masked_fill(itself_BB, float("-inf"))
    log_p_BB = log_softmax(scores_BB, dim=1).masked_fill(~same_BB, 0.0)
    partners_B = same_BB.sum(dim=1)
    loss_B = -log_p_BB.sum(dim=1) / partners_B.clamp(min=1)
    return loss_B.sum() / (partners_B > 0).sum().clamp(min=1)


def pair_cosine_loss(vectors: Tensor, labels: Tensor) -> Tensor:
    """Squared distance of the cosine of every pair of the batch from 1 (one class) or 0 (two classes).

    The loss of SetFit (Tunstall et al. 2022), which draws as many pairs of either kind: so here the two kinds weigh half each, however many there
    are. Vectors (B, D), labels (B,). A kind without pairs counts as 0.
    """
    first_P, second_P = torch.triu_indices(len(labels), len(labels), offset=1, device=labels.device)
    cosine_P = _cosines(vectors)[first_P, second_P]
    same_P = (labels[first_P] == labels[second_P]).float()
    off_P = (cosine_P - same_P) ** 2
    together = (off_P * same_P).sum() / same_P.sum().clamp(min=1)
    apart = (off_P * (1 - same_P)).sum() / (1 - same_P).sum().clamp(min=1)
    return (together + apart) / 2


def contrastive(temperature: float = 0.1) -> Objective:
    """`supervised_contrastive_loss` of a model whose output is vectors, against codes as `targets`."""

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return supervised_contrastive_loss(model(batch), _codes(batch), temperature)

    return objective


def pair_cosine() -> Objective:
    """`pair_cosine_loss` of a model whose output is vectors, against codes as `targets`."""

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return pair_cosine_loss(model(batch), _codes(batch))

    return objective


def _cosines(vectors: Tensor) -> Tensor:
    """(B, B) in float32, also where the model runs in half precision: its rounding would be divided by the temperature."""
    with torch.autocast(vectors.device.type, enabled=False):
        unit_BD = normalize(vectors.float())
        return unit_BD @ unit_BD.T


def _codes(batch: dict[str, Tensor]) -> Tensor:
    if batch["targets"].is_floating_point():
        raise UsageError(
            "Contrastive tuning compares labels, so it goes with neither mixup, cutmix nor label smoothing."
        )
    return batch["targets"]
