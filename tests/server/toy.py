"""A small real index in memory: words and colours as vectors, exact search, filters on one column. It stands in for an opened index."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import ImageSource
from graft.data.images import UnreadableImage, decode
from graft.errors import DataError, UsageError, unknown
from graft.search_results import Hit, SearchResult

DIM = 64
Rows = NDArray[np.float32]
COLOURS = {"red": (220, 40, 40), "green": (40, 170, 70), "blue": (50, 80, 220), "yellow": (240, 210, 60)}


@dataclass(frozen=True)
class ToyView:
    name: str
    dim: int
    metric: str = "cosine"


@dataclass(frozen=True)
class ToyFound:
    positions: NDArray[np.int64]
    scores: Rows


def unit(x_ND: Rows) -> Rows:
    rows: Rows = x_ND / np.maximum(np.linalg.norm(x_ND, axis=1, keepdims=True), 1e-9)
    return rows.astype(np.float32)


def word_vectors(texts: Sequence[str]) -> Rows:
    """One row a text: the sum of a fixed random vector for each word."""

    def word(w: str) -> Rows:
        return np.random.default_rng(zlib.crc32(w.encode())).standard_normal(DIM).astype(np.float32)

    def total(text: str) -> NDArray[Any]:
        found = [word(w) for w in re.findall(r"\w+", text.lower())]
        summed: NDArray[Any] = np.stack([*found, np.zeros(DIM, np.float32)]).sum(0)
        return summed

    return unit(np.stack([total(text) for text in texts]))


def colour_vector(raw: bytes) -> Rows:
    """A picture's vector is that of the nearest colour's name."""
    try:
        pixel = np.asarray(decode(raw).resize((1, 1)))[0, 0].astype(float)
    except UnreadableImage as error:
        raise DataError(f"The picture cannot be read: {error}.") from error
    name = min(COLOURS, key=lambda c: float(((pixel - COLOURS[c]) ** 2).sum()))
    return word_vectors([name])


def png(colour: tuple[int, int, int], size: tuple[int, int] = (96, 96)) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


@dataclass
class ToyIndex:
    """Items are (id, text or PNG); `newer` is what `refresh` finds."""

    ids: list[str]
    contents: list[str | bytes]
    rows: list[dict[str, Any]]
    version: int = 1
    modality: str = "text"
    newer: Callable[[], ToyIndex] | None = None
    encoded: list[int] = field(default_factory=list)  # how many texts each call encoded

    def __post_init__(self) -> None:
        texts = [content if isinstance(content, str) else "" for content in self.contents]
        pictures = [content for content in self.contents if isinstance(content, bytes)]
        self.x_ND = np.concatenate([colour_vector(p) for p in pictures]) if pictures else word_vectors(texts)
        self.views: Mapping[str, ToyView] = {self.modality: ToyView(self.modality, DIM)}
        self.columns = {"price": "int64"}

    def __len__(self) -> int:
        return len(self.ids)

    def position(self, item: str) -> int:
        if item not in self.ids:
            raise DataError(unknown("item", item, self.ids[:5]))
        return self.ids.index(item)

    def search_vectors(self, q_QD: Rows, k: int, *, view: str | None = None, where: str | None = None) -> ToyFound:
        del view
        assert q_QD.dtype == np.float32
        if not np.isfinite(q_QD).all():
            raise UsageError("A query vector holds NaN or infinity.")
        scores_QN = q_QD @ self.x_ND.T
        scores_QN[:, ~self._kept(where)] = -np.inf
        order_QK = np.argsort(-scores_QN, axis=1, kind="stable")[:, :k]
        found_QK = np.take_along_axis(scores_QN, order_QK, 1)
        order_QK[~np.isfinite(found_QK)] = -1
        return ToyFound(order_QK.astype(np.int64), found_QK)

    def _kept(self, where: str | None) -> NDArray[np.bool_]:
        if where is None:
            return np.ones(len(self), bool)
        match = re.fullmatch(r"price < (\d+)", where)
        if match is None:
            raise UsageError(f"The filter {where!r} cannot be read. Columns: price (int64).")
        return np.array([row["price"] < int(match[1]) for row in self.rows])

    def encode_queries(self, texts: Sequence[str]) -> dict[str, Rows]:
        self.encoded.append(len(texts))
        return {self.modality: word_vectors(texts)}

    def search(
        self,
        text: str | None = None,
        *,
        k: int = 10,
        image: ImageSource | None = None,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        where: str | None = None,
        hybrid: bool = False,
    ) -> SearchResult:
        del hybrid
        q_D = np.zeros(DIM, np.float32)
        if image is not None:
            q_D = colour_vector(image.read_bytes())[0]
        elif text is not None:
            q_D = word_vectors([text])[0]
        liked, unliked = ([self.position(i) for i in ids] for ids in (like, unlike))
        q_D = q_D + self.x_ND[liked].sum(0) - 0.5 * self.x_ND[unliked].sum(0)
        found = self.search_vectors(unit(q_D[None]), k + len(liked), where=where)
        hits = tuple(
            Hit(self.ids[p], float(s), float(max(0.0, s)), self._shown(p), self.rows[p])
            for p, s in zip(found.positions[0], found.scores[0], strict=True)
            if p >= 0 and p not in liked
        )[:k]
        matched = bool(hits) and hits[0].score > 0.3
        return SearchResult(text or "", hits, matched, len(self), self.version, 0.001)

    def _shown(self, position: int) -> str:
        content = self.contents[position]
        return content if isinstance(content, str) else f"/secret/folder/{self.ids[position]}"

    def payload(self, positions: Sequence[int], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        del columns
        return [{"id": self.ids[p], "content": self._shown(p), **self.rows[p]} for p in positions]

    def picture(self, position: int) -> bytes:
        content = self.contents[position]
        if isinstance(content, str):
            raise DataError(f"The item {self.ids[position]!r} is a text.")
        return content

    def refresh(self) -> ToyIndex:
        return self if self.newer is None else self.newer()


def text_index(n: int = 60, version: int = 1) -> ToyIndex:
    """Texts of a bakery and a workshop, some of them hostile."""
    things = ("bread with seeds", "rye bread", "steel hammer", "wooden hammer", "sweet apple cake", "garden spade")
    texts = [f"{things[i % len(things)]} number {i}" for i in range(n)]
    texts[3] = 'bread <script>window.broken = true</script><img src=x onerror="window.broken = true">'
    ids = [f"item-{i}" for i in range(n)]
    ids[3] = "<script>window.broken=true</script>"
    return ToyIndex(ids, list(texts), [{"price": i} for i in range(n)], version)


def picture_index(n: int = 24) -> ToyIndex:
    """Squares of four colours, in folders."""
    names = list(COLOURS)
    ids = [f"{names[i % 4]}/{i:02d}.png" for i in range(n)]
    shades = [tuple(max(0, c - 2 * i) for c in COLOURS[names[i % 4]]) for i in range(n)]
    return ToyIndex(ids, [png((r, g, b)) for r, g, b in shades], [{"price": i} for i in range(n)], modality="image")
