"""A small network, or a pretrained encoder, trained on labels to become an encoder: the loop's work for `graft pretrain`.

Imported only where training runs. Legend: N items, B items of a batch, C classes, D dims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graft.encoders.base import Encoder
from graft.encoders.tuned import TunedEncoder
from graft.errors import UsageError
from graft.heads.linear import LinearHead
from graft.results import TrainingRecord
from graft.strategies.frozen import Task
from graft.strategies.items import Items
from graft.strategies.rungs import Course, blank_course, course
from graft.strategies.trained import TRAINED
from graft.strategies.tuning import IMPATIENT, fitted_probe, to_stop_by
from graft.tensors.objectives import distillation
from graft.trainers.batches import Batch, Prepared
from graft.trainers.loop import Hooks, train
from graft.trainers.recipe import Recipe

TEMPERATURE, TEACHER_WEIGHT = 2.0, 0.5  # of distillation
PROBE: tuple[str, Mapping[str, Any]] = ("linear-probe", {"c": 1.0})
PROBED = 4000  # items that the head's start is fitted on


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned: items with labels (N,), the recipe and the seed; `teacher_NC` are log probabilities of a teacher, None without one.

    `checkpoint` is where a training that is killed goes on from.
    """

    items: Items
    y_N: NDArray[np.int64]
    n_classes: int
    recipe: Recipe
    seed: int = 0
    teacher_NC: NDArray[np.float32] | None = None
    temperature: float = TEMPERATURE
    weight: float = TEACHER_WEIGHT
    checkpoint: Path | None = None
    key: str = ""


@dataclass(frozen=True, eq=False)
class Schooled:
    """A trained network: the encoder it became, logits (N, C) of other items by its head, and what the training took."""

    encoder: TunedEncoder
    logits: Callable[[Items], NDArray[np.float64]]
    vectors: Callable[[Items], NDArray[np.float32]]
    record: TrainingRecord


def school(lesson: Lesson) -> Schooled:
    """Train the encoder of the lesson's items on their labels, with a linear head that is thrown away.

    The head starts as the linear probe of the vectors before training, random weights or not: from a random head small networks learned
    400 digits to 0.36..0.49 in ten epochs, from the probe of their random features to 0.94..0.97. The same seed gives the same bits
    on the same processor. Raises UsageError for settings that do not go together, ModelError where the encoder has nothing to train.
    """
    recipe = lesson.recipe
    _check(lesson)
    items, y_N, held = lesson.items, lesson.y_N, None
    parts = to_stop_by(y_N, recipe.validation, lesson.seed) if recipe.patience else None
    if parts is not None:
        held = (items[parts[1]], y_N[parts[1]])
        items, y_N = items[parts[0]], y_N[parts[0]]
    way = _course(lesson, items, y_N)
    if lesson.teacher_NC is not None:
        way.rows = _taught(way.rows, lesson.teacher_NC)
    feed = way.feed(items, y_N, lesson.seed)
    run = train(
        way.network,
        feed,
        _objective(way, lesson),
        way.rates(recipe),
        recipe,
        seed=lesson.seed,
        evaluate=None if held is None else _evaluation(way, *held),
        hooks=Hooks(checkpoint=lesson.checkpoint, key=lesson.key, after_epoch=way.drift, stage="train"),
    )
    teaches = lesson.teacher_NC is not None
    record = way.record("distillation" if teaches else "supervised", run, recipe)
    if recipe.patience and parts is None:
        record = replace(record, notes=(*record.notes, IMPATIENT))
    record = replace(record, measured_on="", recipe={**record.recipe, **(_teaching(lesson) if teaches else {})})
    encoder = way.encoder()
    assert encoder is not None, "there is a body to train"
    return Schooled(encoder, way.logits, way.vectors, record)


def is_blank(encoder: Encoder) -> bool:
    """Whether an encoder is a small network, whose weights say nothing before it is trained."""
    return isinstance(encoder, TunedEncoder) and encoder.changes.kind == "network" and not encoder.reference


def _check(lesson: Lesson) -> None:
    """Raise UsageError for settings that do not go with a teacher, whose answers are to the items as they are."""
    recipe = lesson.recipe
    clash = [name for name in ("mixup", "cutmix", "label_smoothing") if getattr(recipe, name)]
    if lesson.teacher_NC is not None and clash:
        raise UsageError(
            f"{', '.join(clash)} would mix labels that the teacher's answers do not follow: leave it out with --teacher."
        )


def _course(lesson: Lesson, items: Items, y_N: NDArray[np.int64]) -> Course:
    recipe, encoder, task = lesson.recipe, items.encoder, Task(lesson.n_classes)
    some = np.random.default_rng(lesson.seed).permutation(len(items))[:PROBED]
    some = np.union1d(some, np.unique(y_N, return_index=True)[1])  # every class

    def fit(x_ND: NDArray[np.float32]) -> LinearHead:
        return fitted_probe(PROBE, x_ND[some], y_N[some], task)

    if not is_blank(encoder):
        return course(TRAINED["finetune"], items, fit, recipe, lesson.seed)
    assert isinstance(encoder, TunedEncoder)
    return blank_course(TRAINED["scratch"], items, encoder, Items.rows, fit, recipe, seed=lesson.seed)


@dataclass(frozen=True, eq=False)
class TaughtRows(Prepared):
    """Rows whose batches hold the teacher's log probabilities (B, C) besides, as `teacher`."""

    teacher_NC: Tensor | None = None

    def batch(self, positions: NDArray[Any] | Sequence[int]) -> Batch:
        """Items as tensors."""
        assert self.teacher_NC is not None
        chosen = torch.from_numpy(np.asarray(positions, np.int64))
        return super().batch(positions) | {"teacher": self.teacher_NC[chosen]}


def _taught(rows: Callable[[Items], Prepared], teacher_NC: NDArray[np.float32]) -> Callable[[Items], Prepared]:
    """`teacher_NC` has a row for every item of the store."""
    return lambda items: TaughtRows(**vars(rows(items)), teacher_NC=torch.from_numpy(teacher_NC[items.index]))


def _teaching(lesson: Lesson) -> dict[str, float]:
    return {"teacher_temperature": lesson.temperature, "teacher_weight": lesson.weight}


def _objective(way: Course, lesson: Lesson) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    if lesson.teacher_NC is None:
        return way.objective(None)
    return distillation(lambda batch: batch["teacher"], temperature=lesson.temperature, weight=lesson.weight)


def _evaluation(way: Course, items: Items, y_N: NDArray[np.int64]) -> Callable[[nn.Module], tuple[float, float | None]]:
    """Mean loss and share right of the items that say when to stop."""

    def told(network: nn.Module) -> tuple[float, float | None]:
        del network  # the course's own
        logits_NC = way.logits(items)
        shifted_NC = logits_NC - logits_NC.max(axis=1, keepdims=True)
        loss_N = np.log(np.exp(shifted_NC).sum(axis=1)) - shifted_NC[np.arange(len(y_N)), y_N]
        return float(loss_N.mean()), float((logits_NC.argmax(axis=1) == y_N).mean())

    return told
