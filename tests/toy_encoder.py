"""An encoder of a few lines for tests of what surrounds encoders: batching, caching, faults, the fidelity gate, kills.

Its vector of a text counts the characters by their code modulo 8, of a picture the mean of eight stripes, so every vector can be told from its
content alone. `ToyRunner` can be slow, inexact in half precision, or interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.encoders.base import Batch, EncoderInfo, FloatArray, Prepared

DIM = 8


class ToyText:
    """Implements `base.Encoder` for texts."""

    def __init__(self, fingerprint: str = "toy") -> None:
        self.info = EncoderInfo(
            reference="toy", fingerprint=fingerprint, space="toy", dim=DIM, modality="text", normalised=False
        )
        self.prepared: list[str] = []

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        self.prepared.extend(items)
        return [np.array([ord(character) + 1 for character in text] or [0], np.int64) for text in items]  # 0 pads

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        ids = np.zeros((len(prepared), max(len(row) for row in prepared)), np.int64)
        for row, codes in zip(ids, prepared, strict=True):
            row[: len(codes)] = codes
        return {"ids": ids}

    def module(self) -> Any:
        raise NotImplementedError("a toy has no weights")

    def finish(self, raw: NDArray[Any], batch: Batch) -> FloatArray:
        assert len(raw) == len(batch["ids"])
        return raw.astype(np.float32)

    def classifier(self) -> None:
        return None

    @staticmethod
    def forward(batch: Batch) -> FloatArray:
        return np.stack([np.bincount((row[row > 0] - 1) % DIM, minlength=DIM) for row in batch["ids"]]).astype(
            np.float32
        )


def text_vector(text: str) -> list[float]:
    """What a `ToyText` makes of one text."""
    return [float(sum(ord(character) % DIM == place for character in text)) for place in range(DIM)]


class ToyImage(ToyText):
    """Implements `base.Encoder` for pictures, which it sees 16 pixels wide."""

    def __init__(self, fingerprint: str = "toy-image", side: int = 16) -> None:
        super().__init__(fingerprint)
        self.side = side
        self.info = EncoderInfo(
            reference="toy",
            fingerprint=fingerprint,
            space="toy",
            dim=DIM,
            modality="image",
            normalised=False,
            image_side=side,
        )

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        self.prepared.extend(str(picture.size) for picture in items)
        return [np.asarray(picture.resize((self.side, self.side)), np.uint8).transpose(2, 0, 1) for picture in items]

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        return {"ids": np.stack(prepared)}

    @staticmethod
    def forward(batch: Batch) -> FloatArray:
        stripes: FloatArray = batch["ids"].reshape(len(batch["ids"]), DIM, -1).mean(axis=2).astype(np.float32)
        return stripes


class ToyRunner:
    """Runs a toy; `spoil(vectors, format)` may change what comes out, `before()` is called before each batch."""

    device = "cpu"

    def __init__(
        self,
        encoder: ToyText,
        format: str,
        spoil: Callable[[FloatArray, str], FloatArray] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.encoder, self.format, self.spoil, self.before = encoder, format, spoil, before
        self.batches: list[tuple[int, ...]] = []

    def run(self, batches: Iterable[Batch]) -> Iterator[NDArray[Any]]:
        for batch in batches:
            if self.before is not None:
                self.before()
            self.batches.append(batch["ids"].shape)
            raw = self.encoder.forward(batch)
            yield raw if self.spoil is None else self.spoil(raw, self.format)


def pause(seconds: float) -> Callable[[], None]:
    """For `before`: a slow model."""
    return lambda: time.sleep(seconds)
