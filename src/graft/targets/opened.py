"""A fitted model of numbers, counts, ordered levels or sets of labels, opened: it answers items.

Legend: N items, K columns of answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft import artifact
from graft.data.dataset import Content
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.errors import ModelError
from graft.heads.base import Float64Array, TargetHead
from graft.heads.conformal import Spread
from graft.metrics.targets import median_ranks
from graft.opened import Answers, Item, contents_of, names_of, refuse, vectors_of, warm
from graft.results import Fault
from graft.targets.kinds import KINDS, head_from_state
from graft.targets.reach import ends_of
from graft.targets.result import Reach

TASKS = frozenset(KINDS)


@dataclass(frozen=True)
class Estimate:
    """One item's answer. Of a number `value` and the ends of its interval; of a count its rate and whole ends.

    Of ordered levels `labels` is the median level, `low` and `high` the first and last level of the interval as positions from 0, and of
    several labels `labels` are those that reached their thresholds; `probabilities` are then (name, probability) of all, levels in their order,
    labels likeliest first. Ends are None where the fit had too few items to promise an interval.
    """

    item: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    labels: tuple[str, ...] = ()
    probabilities: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Estimates(Answers[Estimate]):
    """Answers in the order of the items; an item that could not be read is in `faults` instead. `coverage` is that of the intervals."""

    estimates: tuple[Estimate, ...]
    task: str
    names: tuple[str, ...] = ()
    coverage: float | None = None
    faults: tuple[Fault, ...] = ()
    model: str = ""
    seconds: float = 0.0
    out: str = ""

    @property
    def answers(self) -> tuple[Estimate, ...]:
        """The estimates."""
        return self.estimates


class Estimator:
    """A fitted model that answers numbers, counts, levels or sets of labels. Make one with `graft.load`; one thread at a time may call it."""

    def __init__(self, opened: artifact.Artifact, encoder: Encoder, head: TargetHead) -> None:
        self.folder = opened.folder
        self.manifest = opened.manifest
        self._encoder = encoder
        self._head = head
        answers = opened.manifest.answers
        spread = None if answers["spread"] is None else Spread(**answers["spread"])
        self._reach = Reach(answers["coverage"] or 0.0, answers["reach"], spread)

    @property
    def task(self) -> str:
        """What it answers: number, count, ordinal or multilabel."""
        return self.manifest.task

    @property
    def modality(self) -> str:
        """What it reads: "text" or "image"."""
        return self.manifest.encoder.modality

    @property
    def coverage(self) -> float | None:
        """The share of items whose truth the intervals of answers are meant to hold; None where there are none."""
        return None if self._reach.value is None else self._reach.coverage

    def warm(self, content: Content) -> None:
        """Read the encoder's weights now, by one content of the model's modality; raises as `graft.opened.warm` does."""
        warm(self._encoder, content)

    def predict(self, items: Sequence[Item]) -> Estimates:
        """Answer items: texts for a text model, paths of picture files for an image model.

        Items that cannot be read are in the result's `faults`. Raises DataError when `items` is one string or holds things it does not read.
        """
        return self.answer(contents_of(items, self.modality), names_of(items))

    def predict_array(self, items: Sequence[Item]) -> Float64Array:
        """The head's answers (N, K): the value, the rate, or a probability for each level or label, in the order of the manifest's `classes`.

        Raises DataError, naming all of them, when items cannot be read: a row would be missing.
        """
        encoded = vectors_of(contents_of(items, self.modality), self._encoder, names_of(items))
        refuse(encoded, len(items))
        return self._head.predict(encoded.vectors)

    def answer(self, contents: Sequence[Content], ids: Sequence[str], *, top: int | None = None) -> Estimates:
        """`predict` for contents as `graft.data` reads them, with the ids to name them by; at most `top` labels' probabilities each."""
        encoded = vectors_of(contents, self._encoder, ids)
        answers_NK = self._head.predict(encoded.vectors)
        kept = [ids[position] for position in encoded.index]
        return Estimates(
            tuple(self._estimates(answers_NK, kept, top)),
            self.task,
            names=self.manifest.classes,
            coverage=self.coverage,
            faults=encoded.faults,
            model=str(self.folder),
            seconds=encoded.seconds,
        )

    def _estimates(self, answers_NK: Float64Array, ids: Sequence[str], top: int | None) -> Iterator[Estimate]:
        names = self.manifest.classes
        ends: list[tuple[float | None, float | None]] = [(None, None)] * len(ids)
        if ids and (found := ends_of(KINDS[self.task], answers_NK, self._reach)) is not None:
            ends = [(float(low), float(high)) for low, high in zip(*found, strict=True)]
        for item, answer_K, (low, high) in zip(ids, answers_NK, ends, strict=True):
            if self.task == "multilabel":
                given = answer_K >= np.asarray(self.manifest.answers["thresholds"])
                order = np.argsort(-answer_K, kind="stable")
                likeliest = tuple((names[k], float(answer_K[k])) for k in order[:top])
                yield Estimate(item, labels=tuple(names[k] for k in order if given[k]), probabilities=likeliest)
            elif self.task == "ordinal":
                level = names[int(median_ranks(answer_K[None])[0])]
                each = tuple((name, float(p)) for name, p in zip(names, answer_K, strict=True))
                yield Estimate(item, low=low, high=high, labels=(level,), probabilities=each)
            else:
                yield Estimate(item, value=float(answer_K[0]), low=low, high=high)


def is_target(path: str | Path) -> bool:
    """Whether the model at `path` answers numbers, counts, levels or label sets; raises as `graft.artifact.load` does."""
    return artifact.read_manifest(path).task in TASKS


def open_target(path: str | Path) -> Estimator:
    """Open the model at `path`. Quick: the encoder's weights are read when they are needed.

    Raises MissingError when the model, a file of it or its encoder is not here; ModelError when a file was changed, was written by a newer
    Graft, or the encoder of that name is another one than the model was fitted on.
    """
    opened = artifact.load(path)
    wanted = opened.manifest.encoder
    encoder = open_encoder(wanted.reference, modality=wanted.modality)
    if encoder.info.fingerprint != wanted.fingerprint:
        raise ModelError(
            f"The model at {str(path)!r} was fitted on the encoder {wanted.reference!r} with fingerprint {wanted.fingerprint[:12]}, "
            f"and {wanted.reference!r} here has {encoder.info.fingerprint[:12]}: its vectors mean something else. "
            "Install the encoder's former version, or fit again."
        )
    head = head_from_state(opened.manifest.strategy, opened.arrays, opened.manifest.head)
    _check_answer(opened, head, encoder.info.dim)
    return Estimator(opened, encoder, head)


def _check_answer(opened: artifact.Artifact, head: TargetHead, dim: int) -> None:
    """Raise ModelError unless the head answers a vector of the encoder with as many numbers as there are names."""
    manifest, probe_1D = opened.manifest, np.full((1, dim), dim**-0.5, np.float32)
    try:
        with np.errstate(all="ignore"):
            answer_1K: NDArray[np.float64] = head.predict(probe_1D)
    except (ValueError, ArithmeticError) as error:
        raise ModelError(f"The head of {opened.folder} takes no vectors of {dim} numbers: {error}.") from error
    labels = len(manifest.classes) if manifest.task == "multilabel" else len(manifest.answers.get("thresholds", ()))
    sound = {"coverage", "reach", "spread", "thresholds"} <= manifest.answers.keys() and labels == len(
        manifest.answers["thresholds"]
    )
    if not sound or answer_1K.shape != (1, len(manifest.classes) or 1) or not np.isfinite(answer_1K).all():
        raise ModelError(
            f"The head of {opened.folder} does not answer as its manifest says: the model was damaged. "
            "Take it from its source again, or fit again."
        )
