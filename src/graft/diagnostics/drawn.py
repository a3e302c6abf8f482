"""What a diagnosis of a space looks at: some items of an index, their labels, and their texts where texts and pictures meet.

Legend: N sampled items, D dims, T texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, UsageError, unknown
from graft.metrics.space import cosines

FEWEST_ITEMS = 12  # below, neighbours and dimensions mean nothing
MOST_SHOWN = 40  # items on a heat map that can still be read
MOST_TEXTS = 500  # texts encoded for the gap: recall is known within 5 points
TEXT_COLUMNS = ("caption", "captions", "text", "title", "description", "name", "label")  # looked for in this order

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


class Space(Protocol):
    """What is asked of an opened index."""

    @property
    def version(self) -> int: ...
    @property
    def modality(self) -> str: ...
    @property
    def views(self) -> Mapping[str, Any]: ...
    @property
    def columns(self) -> Mapping[str, Any]: ...
    @property
    def ids(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def position(self, id: str, /) -> int: ...
    def vectors(self, view: str, positions: Any = None) -> NDArray[np.float32]: ...
    def payload(self, positions: Any, columns: Any = None) -> list[dict[str, Any]]: ...
    def picture(self, position: int, /) -> bytes: ...
    def encode_queries(self, texts: Sequence[str], /) -> Mapping[str, NDArray[np.float32]]: ...
    def search_vectors(self, q_QD: NDArray[np.float32], k: int, /, *, view: str | None = None) -> Any:
        """With `positions` (Q, K), -1 where there are fewer, and `scores` (Q, K)."""


@dataclass(frozen=True)
class Question:
    """What is asked: ids at the ends of a path and of the heat maps, a view, the column of the items' texts, how many items, the seed."""

    path: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    view: str | None = None
    text: str | None = None
    sample: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Words:
    """The texts of items where texts and pictures meet: `of_N` the text's number of each sampled item (-1 without one), `texts` each once,
    their vectors `t_TD` and the items' `x_ND` in view `view`, whether scores
    there are cosines, and whether the view was learned from pairs."""

    view: str
    column: str
    cosine: bool
    texts: tuple[str, ...]
    of_N: Ints
    learned: bool
    t_TD: NDArray[np.float32]
    x_ND: NDArray[np.float32]

    def scores(self, t_TD: Floats, x_ND: Floats) -> NDArray[np.float64]:
        """(T, N) as the index scores them: cosines, or inner products of the rows as they are."""
        return cosines(t_TD, x_ND) if self.cosine else np.asarray(t_TD, np.float64) @ np.asarray(x_ND, np.float64).T


@dataclass(frozen=True)
class Sample:
    """The items looked at: where they stand in the index, their vectors in the view, their rows, and their labels as codes (None without)."""

    view: str
    kind: str  # image | text | item, which came as vectors
    position_N: Ints
    x_ND: NDArray[np.float32]
    rows: list[dict[str, Any]]
    labels: tuple[str, ...]
    code_N: Ints | None

    @property
    def ids(self) -> list[str]:
        """Names of the items, in order."""
        return [str(row["id"]) for row in self.rows]


def check(index: Space, question: Question) -> None:
    """Raise UsageError for all that was asked and cannot be, DataError for an index too small."""
    if question.view is not None and question.view not in index.views:
        raise UsageError(unknown("--view", question.view, list(index.views)))
    if question.text is not None and question.text not in index.columns:
        raise UsageError(unknown("--text", question.text, list(index.columns)))
    if len(question.path) not in (0, 2):
        raise UsageError(f"--path names {len(question.path)} items: a path has two ends, --path A --path B.")
    if len(question.path) == 2 and question.path[0] == question.path[1]:
        raise UsageError(f"--path {question.path[0]}: its two ends are one item.")
    if not (2 <= len(set(question.items)) <= MOST_SHOWN or not question.items):
        raise UsageError(f"--items names {len(set(question.items))} items: heat maps show 2 to {MOST_SHOWN}.")
    if question.sample < FEWEST_ITEMS:
        raise UsageError(f"--sample {question.sample}: at least {FEWEST_ITEMS} items are needed.")
    if len(index) < FEWEST_ITEMS:
        raise DataError(f"The index holds {len(index)} items: the shape of a space takes at least {FEWEST_ITEMS}.")


def draw(index: Space, question: Question, rng: np.random.Generator) -> Sample:
    """Items drawn at random, those asked for by id among them. Raises DataError for an unknown id."""
    view = question.view or next((v for v in ("image", "text") if v in index.views), next(iter(index.views)))
    asked = [index.position(item) for item in question.items]
    drawn = [p for p in rng.permutation(len(index)).tolist() if p not in set(asked)]
    position_N = np.sort(np.array([*asked, *drawn][: max(question.sample, len(asked))], np.int64))
    rows = index.payload(position_N, [c for c in index.columns if "string" in str(index.columns[c])])
    labels: tuple[str, ...] = ()
    code_N = None
    if "label" in index.columns:
        given = [str(row.get("label") or "") for row in rows]
        labels, code_N = _codes(given)
        if not 2 <= len(labels) <= len(rows) / 2:
            labels, code_N = (), None
    kind = {"text": "text", "image": "image", "joint": "image"}.get(str(index.views[view].modality), "item")
    return Sample(view, kind, position_N, index.vectors(view, position_N), rows, labels, code_N)


def _codes(words: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """Each word once, in alphabetical order, and the place of every given one; empty words have the code -1."""
    names = sorted({word for word in words if word})
    place = {word: i for i, word in enumerate(names)}
    return tuple(names), np.array([place.get(word, -1) for word in words], np.int64)


def meeting(index: Space, sample: Sample, question: Question, rng: np.random.Generator) -> Words | None:
    """The items' texts where the index can compare texts with pictures; None where it cannot or the items have no texts."""
    if sample.kind != "image":
        return None
    column = question.text or next(
        (c for c in TEXT_COLUMNS if c in index.columns and "string" in str(index.columns[c])), None
    )
    if column is None:
        return None
    texts, of_N = _codes([str(row.get(column) or "") for row in sample.rows])
    if len(texts) > MOST_TEXTS:
        kept = np.sort(rng.permutation(len(texts))[:MOST_TEXTS])
        new = np.full(len(texts) + 1, -1, np.int64)  # the last place is for items without a text
        new[kept] = np.arange(len(kept))
        texts, of_N = tuple(texts[k] for k in kept), new[of_N]
    if len(texts) < 2:
        return None
    try:
        spoken = index.encode_queries(list(texts))
    except UsageError:  # no view that texts can be compared in
        return None
    view = next((v for v in (sample.view, "bridge", "image") if v in spoken and v != "text"), None)
    if view is None:
        return None
    return Words(
        view,
        column,
        str(index.views[view].metric) == "cosine",
        texts,
        of_N,
        str(index.views[view].bridge_kind) not in ("", "names"),
        spoken[view],
        index.vectors(view, sample.position_N),
    )
