"""What the studies of training share: a few labelled items to learn from, others to test on, and trainings of them.

Everything is the library's: `graft.strategies.tuning.tune` trains a rung, `graft.encoders.tuned.new_network` draws a small network.
Legend: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.data.splits import take_shots
from graft.encoders.base import Encoder
from graft.heads.linear import LinearHead
from graft.metrics.classify import accuracy
from graft.strategies.frozen import Task
from graft.strategies.items import Items
from graft.strategies.trained import TRAINED
from graft.strategies.tuning import Job, Outcome, fitted_probe, tune

Codes = NDArray[np.int64]
RETAINED, BATCH = 200, 32
SMALL = {"width": 8, "side": 16}  # a network that learns a hundred pictures ten times over in a second


@dataclass(frozen=True, eq=False)
class Lesson:
    """Items with labels (N,) in 0..C-1, to learn from and to test on."""

    train: Items
    y_train: Codes
    test: Items
    y_test: Codes
    task: Task

    def probe_accuracy(self) -> float:
        """Of the linear probe on the frozen vectors, on the test items."""
        head = fitted_probe(TRAINED["finetune"].probe, self.train.x_ND, self.y_train, self.task)
        return accuracy(self.y_test, head.logits(self.test.x_ND).argmax(1))


def lesson(
    dataset: Dataset, encoder: Encoder, *, shots: int, tested: int, seed: int, classes: Sequence[int] | None = None
) -> Lesson:
    """`shots` items a class drawn by the seed, and the first `tested` a class of the test part (without an official one: every third item)."""
    chosen = list(range(len(dataset.classes))) if classes is None else list(classes)
    official = dataset.test_mask if dataset.test_mask is not None else np.arange(len(dataset)) % 3 == 0
    y_N = np.full(len(dataset.classes) + 1, -1)  # the last for items without a label
    y_N[chosen] = np.arange(len(chosen))
    y_N = y_N[dataset.labels]
    train = np.flatnonzero(~official)[take_shots(y_N[~official], shots, seed)]
    test = np.concatenate([np.flatnonzero(official & (y_N == c))[:tested] for c in range(len(chosen))])
    both = np.concatenate([train, test])
    contents, names = [dataset.contents[i] for i in both], [dataset.classes[c] for c in chosen]
    items = Items.of(encoder, contents, np.zeros((len(both), 0), np.float32), names)
    items = replace(items, x_ND=vectors(encoder, items))
    first, rest = np.arange(len(train)), np.arange(len(train), len(both))
    return Lesson(items[first], y_N[train], items[rest], y_N[test], Task(len(chosen)))


def vectors(encoder: Encoder, items: Items) -> NDArray[np.float32]:
    """Vectors (N, D) by the encoder's graph in torch, which is at hand at once: a few items are not worth a conversion."""
    import torch

    from graft.trainers.body import open_body

    body, rows = open_body(encoder), items.rows()
    out = np.empty((len(items), body.dim), np.float32)
    order = np.argsort(rows.sizes(), kind="stable")  # texts of a length together: little is padded
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            out[some] = body(rows.batch(some)).numpy()
    return out


def taught(
    strategy: str,
    given: Mapping[str, Any],
    here: Lesson,
    *,
    seed: int,
    told: bool = False,
    retain: School | None = None,
) -> Outcome:
    """The rung `strategy` with settings `given`, trained on a lesson.

    `told` measures the test items after each epoch. Of what a school taught a few items are retained: their Fisher information, and a probe on them.
    """
    rung = TRAINED[strategy].with_given({"range_test": False, **given})
    job = Job(
        rung.recipe(here.train.encoder.info.modality),
        seed,
        held=(here.test, here.y_test) if told else None,
        retained=None if retain is None else retain.retained(),
    )
    return tune(rung, here.train, here.y_train, here.task, job)


def tested(outcome: Outcome, here: Lesson, share: float = 1.0) -> float:
    """Accuracy on the lesson's test items, `share` of the way from the old weights to the new."""
    return accuracy(here.y_test, outcome.head(share).logits(here.test).argmax(1))


def small_network(seed: int) -> Encoder:
    """A convolutional network with weights drawn by a seed."""
    from graft.encoders.tuned import new_network

    return new_network("image", {**SMALL, "seed": seed})


@dataclass(frozen=True, eq=False)
class School:
    """A network that has learned a source set, the head it learned it with, and the source set as it now sees it."""

    encoder: Encoder
    head: LinearHead
    source: Lesson

    def retained(self) -> tuple[Items, Codes]:
        """A few of the items it learned from."""
        some = np.random.default_rng(0).permutation(len(self.source.train))[:RETAINED]
        return self.source.train[some], self.source.y_train[some]

    def remembered(self, outcome: Outcome | None = None, share: float = 1.0) -> float:
        """Accuracy on the source's test items with the head of that time, by the network as it was, or as a training has left it."""
        here = self.source
        x_ND = here.test.x_ND if outcome is None else outcome.vectors(here.test, share)
        return accuracy(here.y_test, self.head.logits(x_ND).argmax(1))


def schooled(dataset: Dataset, *, shots: int, tested: int, epochs: int, classes: Sequence[int] | None = None) -> School:
    """A small network trained from nothing on a source set: it stands in for a pretrained one, so that many trainings fit into a study."""
    part: dict[str, Any] = {"shots": shots, "tested": tested, "seed": 0, "classes": classes}
    settings = {"start": "random", "epochs": epochs, "batch": 32, "rate": 3e-3, "head_rate": 0.1}
    outcome = taught("finetune", settings, lesson(dataset, small_network(0), **part), seed=0)
    encoder = outcome.encoder(1.0)
    assert encoder is not None
    return School(encoder, outcome.plain_head(1.0), lesson(dataset, encoder, **part))
