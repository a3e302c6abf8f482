"""Opened things that answer: a fitted classifier with the encoder it was fitted on, and an encoder by itself.

Legend: N items, C classes, D dims.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from graft import artifact
from graft.data.dataset import Content, ImageSource
from graft.encoders import open as encoders
from graft.encoders.base import Encoder, EncoderInfo
from graft.encoding import Encoded, encode
from graft.errors import DataError, ModelError
from graft.heads.base import Head
from graft.results import Fault, Prediction
from graft.store.cache import VectorCache
from graft.strategies.trained import head_from_state

A = TypeVar("A")


class Answers(Sequence[A]):
    """What a model said of items, in their order; it can be read as a sequence."""

    @property
    @abstractmethod
    def answers(self) -> tuple[A, ...]:
        """One answer an item that could be read."""

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[A]:
        return iter(self.answers)

    @overload
    def __getitem__(self, index: int) -> A: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[A, ...]: ...
    def __getitem__(self, index: int | slice) -> A | tuple[A, ...]:
        return self.answers[index]


@dataclass(frozen=True)
class Predictions(Answers[Prediction]):
    """Answers in the order of the items; an item that could not be read is in `faults` instead.

    `threshold` is the probability below which an answer is "unsure" (its label is None); None when the model never abstains.
    """

    predictions: tuple[Prediction, ...]
    faults: tuple[Fault, ...] = ()
    model: str = ""
    threshold: float | None = None
    seconds: float = 0.0
    out: str = ""

    @property
    def answers(self) -> tuple[Prediction, ...]:
        """The predictions."""
        return self.predictions


Item = str | Path | ImageSource


def contents_of(items: Sequence[Item], modality: str) -> list[Content]:
    """Items as the engine takes them: texts as they are, pictures by the path of their file."""
    if isinstance(items, str):
        raise DataError("Items are given as a list: [item], not item.")
    if modality == "image":
        return [item if isinstance(item, ImageSource) else ImageSource(Path(item)) for item in items]
    if wrong := [item for item in items if not isinstance(item, str)]:
        raise DataError(f"Texts are wanted, not {type(wrong[0]).__name__}: {wrong[0]}.")
    return [item for item in items if isinstance(item, str)]


def names_of(items: Sequence[Item]) -> list[str]:
    """What items are called in answers and faults."""
    return [str(item.path) if isinstance(item, ImageSource) else str(item) for item in items]


def vectors_of(contents: Sequence[Content], encoder: Encoder, ids: Sequence[str]) -> Encoded:
    """The contents encoded, from the cache where they are in it."""
    with VectorCache.open(None) as cache:
        return encode(contents, encoder, ids=ids, cache=cache)


def warm(encoder: Encoder, content: Content) -> None:
    """Encode `content` past the cache, so that the encoder's weights are read now and not when the first answer waits for them.

    Raises what reading them raises (ModelError, MissingError), DataError when the content cannot be encoded.
    """
    refuse(encode([content], encoder, remember=False), 1)


def refuse(encoded: Encoded, n: int) -> None:
    """Where a result has one row an item, an unreadable item cannot be left out."""
    if encoded.faults:
        raise DataError(f"{len(encoded.faults)} of {n} items cannot be read.", faults=encoded.faults)


class OpenedEncoder:
    """An encoder that encodes. Make one with `open_encoder`; it may be called from one thread at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def info(self) -> EncoderInfo:
        """Dimension, modality, space, fingerprint and the rest; no weights are read for it."""
        return self._encoder.info

    def encode(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Vectors (N, D), float32, one row an item: texts for a text encoder, paths of picture files for an image encoder.

        Vectors come from the cache where they are in it. Raises DataError, naming all of them, when items cannot be read.
        """
        encoded = vectors_of(contents_of(items, self.info.modality), self._encoder, names_of(items))
        refuse(encoded, len(items))
        return encoded.vectors


def open_encoder(reference: str, *, modality: str | None = None) -> OpenedEncoder:
    """The encoder `reference` names: `minilm`, `efficientnet-lite0`, `hub:org/name`, `dir:path` or `layer:REF:NAME`.

    `modality` ("text" or "image") picks a tower of a joint encoder. Raises UsageError for a reference of no such form, MissingError when
    it is not here, ModelError when what is there is no encoder.
    """
    return OpenedEncoder(encoders.open_encoder(reference, modality=modality))


class Classifier:
    """A fitted classifier. Make one with `load`; it may be called from one thread at a time."""

    def __init__(self, opened: artifact.Artifact, encoder: Encoder, head: Head) -> None:
        self.folder = opened.folder
        self.manifest = opened.manifest
        self._encoder = encoder
        self._head = head

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels it can answer, in the order of `predict_proba`'s columns."""
        return self.manifest.classes

    @property
    def modality(self) -> str:
        """What it reads: "text" or "image"."""
        return self.manifest.encoder.modality

    @property
    def threshold(self) -> float | None:
        """The probability below which `predict` answers None; None when it always answers."""
        return self.manifest.abstention.threshold if self.manifest.abstention else None

    def warm(self, content: Content) -> None:
        """Read the encoder's weights now, by one content of the model's modality; raises as `graft.opened.warm` does."""
        warm(self._encoder, content)

    def predict(self, items: Sequence[Item], *, top: int = 3) -> Predictions:
        """Label items: texts for a text model, paths of picture files for an image model.

        `top` (at least 1) is how many of the likeliest labels each answer holds. Items that cannot be read are in the result's
        `faults`. Raises DataError when `items` is one string or holds things the model does not read.
        """
        return self.answer(contents_of(items, self.modality), names_of(items), top=top)

    def predict_proba(self, items: Sequence[Item]) -> NDArray[np.float64]:
        """Calibrated probabilities (N, C), float64, rows sum to 1, columns in the order of `classes`.

        Raises DataError, naming all of them, when items cannot be read: a row would be missing.
        """
        encoded = vectors_of(contents_of(items, self.modality), self._encoder, names_of(items))
        refuse(encoded, len(items))
        return artifact.probabilities(self._head, encoded.vectors, self.manifest.temperature)

    def answer(self, contents: Sequence[Content], ids: Sequence[str], *, top: int = 3) -> Predictions:
        """`predict` for contents as `graft.data` reads them, with the ids to name them by."""
        encoded = vectors_of(contents, self._encoder, ids)
        p_NC = artifact.probabilities(self._head, encoded.vectors, self.manifest.temperature)
        order_NC = np.argsort(-p_NC, axis=1, kind="stable")[:, : max(1, top)]
        threshold = self.threshold
        predictions = []
        for position, p_C, order_C in zip(encoded.index, p_NC, order_NC, strict=True):
            likeliest = tuple((self.classes[c], float(p_C[c])) for c in order_C)
            label, probability = likeliest[0]
            sure = threshold is None or probability >= threshold
            predictions.append(Prediction(ids[position], label if sure else None, probability, likeliest))
        return Predictions(
            tuple(predictions), encoded.faults, model=str(self.folder), threshold=threshold, seconds=encoded.seconds
        )


def _check_answer(opened: artifact.Artifact, head: Head, dim: int) -> None:
    """Raise ModelError unless the head answers a vector of the encoder with one probability a class."""
    try:
        with np.errstate(all="ignore"):
            p_NC = artifact.probabilities(head, np.full((1, dim), dim**-0.5, np.float32), opened.manifest.temperature)
    except (ValueError, ArithmeticError) as error:
        raise ModelError(f"The head of {opened.folder} takes no vectors of {dim} numbers: {error}.") from error
    classes = opened.manifest.classes
    if p_NC.shape != (1, len(classes)) or not np.isfinite(p_NC).all():
        raise ModelError(
            f"The head of {opened.folder} does not answer with one probability for each of its {len(classes)} classes: "
            "the model was damaged. Take it from its source again, or fit again."
        )


def load(path: str | Path) -> Classifier:
    """Open the model at `path`: an artefact's folder, or the folder that `fit` wrote. Quick: weights are read when they are needed.

    Raises MissingError when the model, a file of it or its encoder is not here; ModelError when a file was changed, was written by a
    newer Graft, or the encoder of that name is another one than the model was fitted on.
    """
    opened = artifact.load(path)
    if opened.manifest.task != "classify":
        raise ModelError(
            f"{str(path)!r} is a model of the task {opened.manifest.task}, not a classifier; `graft predict` opens it."
        )
    wanted = opened.manifest.encoder
    reference = f"dir:{opened.folder / artifact.ENCODER}" if opened.manifest.tuned else wanted.reference
    encoder = encoders.open_encoder(reference, modality=wanted.modality)
    if encoder.info.fingerprint != wanted.fingerprint:
        raise ModelError(
            f"The model at {str(path)!r} was fitted on the encoder {wanted.reference!r} with fingerprint {wanted.fingerprint[:12]}, "
            f"and {wanted.reference!r} here has {encoder.info.fingerprint[:12]}: its vectors mean something else. "
            "Install the encoder's former version, or fit again."
        )
    head = head_from_state(opened.manifest.strategy, opened.arrays, opened.manifest.head)
    _check_answer(opened, head, encoder.info.dim)
    return Classifier(opened, encoder, head)
