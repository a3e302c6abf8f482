"""An opened index of a few lines: drawn pictures of a few kinds with captions, in a joint space with a gap, or texts alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft.errors import DataError

KINDS = ("beach", "forest", "harbour", "market", "snow")
COLOURS = ((210, 180, 90), (40, 110, 50), (40, 90, 160), (190, 70, 60), (225, 235, 245))


@dataclass(frozen=True)
class View:
    """As the views of an opened index."""

    name: str
    dim: int
    metric: str
    reference: str
    fingerprint: str
    modality: str
    bridge_kind: str = ""


@dataclass(frozen=True)
class Found:
    """As what `search_vectors` of an opened index finds."""

    positions: NDArray[np.int64]
    scores: NDArray[np.float32]


class SmallIndex:
    """`n` items of five kinds. Pictures: a joint view "image" of 16 dims in which texts lie `gap` away. Texts: one view "text"."""

    def __init__(self, n: int = 60, *, modality: str = "image", gap: float = 1.0, metric: str = "cosine") -> None:
        rng = np.random.default_rng(0)
        self.version = 3
        self.modality = modality
        self.kind_N = np.arange(n) % len(KINDS)
        centres = np.eye(len(KINDS), 16)[self.kind_N]
        own = rng.normal(size=(n, 16)) * 0.15
        apart = np.eye(16)[15] * gap
        self._vectors = (centres + own + apart).astype(np.float32)
        self._vectors /= np.linalg.norm(self._vectors, axis=1, keepdims=True)
        texts = (centres + own + rng.normal(size=(n, 16)) * 0.05 - apart).astype(np.float32)
        self.texts = [f"a {KINDS[k]} in the light of morning, number {i}" for i, k in enumerate(self.kind_N)]
        self._told = dict(zip(self.texts, texts, strict=True))
        name = "text" if modality == "text" else "image"
        self.views = {name: View(name, 16, metric, "toy", "f" * 64, name)}
        self.ids = [f"{KINDS[k]}/{i:04d}.png" for i, k in enumerate(self.kind_N)]
        self.columns = {"caption": "string", "label": "string", "width": "int64"} if modality == "image" else {}

    def __len__(self) -> int:
        return len(self.ids)

    def position(self, id: str, /) -> int:
        if id not in self.ids:
            raise DataError(f"The index holds no item {id!r}.")
        return self.ids.index(id)

    def vectors(self, view: str, positions: Any = None) -> NDArray[np.float32]:
        assert view in self.views
        everything: NDArray[np.float32] = self._vectors
        return everything if positions is None else everything[np.asarray(positions)]

    def payload(self, positions: Any, columns: Any = None) -> list[dict[str, Any]]:
        rows = []
        for p in np.asarray(positions).tolist():
            content = self.texts[p] if self.modality == "text" else self.ids[p]
            row = {"caption": self.texts[p], "label": KINDS[self.kind_N[p]], "width": 32}
            kept = {k: v for k, v in row.items() if k in self.columns and (columns is None or k in columns)}
            rows.append({"id": self.ids[p], "content": content, **kept})
        return rows

    def picture(self, position: int, /) -> bytes:
        if self.modality == "text":
            raise DataError("texts have no pictures")
        stream = io.BytesIO()
        shade = np.full((32, 32, 3), COLOURS[self.kind_N[position]], np.uint8)
        shade[position % 24 : position % 24 + 8] //= 2
        Image.fromarray(shade).save(stream, "PNG")
        return stream.getvalue()

    def encode_queries(self, texts: Sequence[str], /) -> Mapping[str, NDArray[np.float32]]:
        return {next(iter(self.views)): np.stack([self._told[text] for text in texts])}

    def search_vectors(self, q_QD: NDArray[np.float32], k: int, /, *, view: str | None = None) -> Found:
        assert q_QD.dtype == np.float32
        assert view in self.views
        scores = q_QD @ self._vectors.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Found(best, np.take_along_axis(scores, best, axis=1))
