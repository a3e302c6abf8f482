"""What a search is judged on: queries, the items that answer them, and the vectors of both, held in memory.

Every item is compared with every query, so that ways to search are measured apart from what a search structure misses.
Legend: Q queries, N items in reach, D dims of a view, K places of a ranking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError
from graft.listings.judgements import Judged
from graft.store.index import asked, prepared

if TYPE_CHECKING:
    from graft.retrieval.opened import OpenedIndex

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

FOLDS = 5
DEPTH = 1000  # places that are ranked
_CELLS = 2**24  # scores held at once


@dataclass(eq=False)
class Scene:
    """Judged queries over the items at `positions` (N,) of an index.

    `own` is the view of the items' own vectors; `gains` maps, for each query, places in 0..N-1 to how well they answer. `examples` are
    positions in the index, a list for each query, of items that answer it and are not searched.
    """

    index: OpenedIndex
    positions: Longs
    judged: tuple[Judged, ...]
    gains: tuple[Mapping[int, float], ...]
    where: str | None = None
    examples: tuple[Longs, ...] | None = None
    _rows: dict[str, Floats] = field(default_factory=dict)

    @property
    def own(self) -> str:
        """Name of the items' own view."""
        return self.index.manifest.views[0].name

    @property
    def texts(self) -> list[str]:
        """The queries' words."""
        return [judged.text for judged in self.judged]

    def rows(self, view: str) -> Floats:
        """Vectors (N, D) of the items, as they are compared."""
        if view not in self._rows:
            whole = len(self.positions) == len(self.index)
            raw = self.index.vectors(view, None if whole else self.positions)
            self._rows[view] = prepared(raw, self.index.views[view].metric)
        return self._rows[view]

    def scores(self, vectors: Mapping[str, Floats], chosen: Longs, *, raw: bool = False) -> Floats:
        """Inner products (q, N) of some queries' vectors (Q, D) with all items, summed over the views; `raw` vectors keep their lengths, for
        they were learned together with their weights."""
        total = np.zeros((len(chosen), len(self.positions)), np.float32)
        for view, q_QD in vectors.items():
            metric = "dot" if raw else self.index.views[view].metric
            total += asked(q_QD[chosen], metric) @ self.rows(view).T
        return total

    @cached_property
    def fold(self) -> Longs:
        """A fifth for each query (Q,), 0 to 4; queries that share an answer, however remotely, are in the same one."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import connected_components

        n_queries, n_items = len(self.judged), len(self.positions)
        query = np.repeat(np.arange(n_queries), [len(gains) for gains in self.gains])
        item = np.concatenate([list(gains) for gains in self.gains]) + n_queries
        size = n_queries + n_items
        links = csr_matrix((np.ones(len(query)), (query, item)), (size, size))
        kin = np.unique(connected_components(links, directed=False)[1][:n_queries], return_inverse=True)[1]
        shuffled = np.random.default_rng(0).permutation(int(kin.max()) + 1)
        fold: Longs = shuffled[kin] % FOLDS
        return fold

    def apart(self, queries: Longs, held: Longs) -> Longs:
        """Those of `queries` that are not held and share no answer with one that is."""
        answers = {place for query in held.tolist() for place in self.gains[query]}
        kept = [q for q in np.setdiff1d(queries, held).tolist() if answers.isdisjoint(self.gains[q])]
        return np.array(kept, np.int64)

    def blocks(self, chosen: Longs) -> Iterator[Longs]:
        """The queries `chosen` in parts whose scores fit in memory."""
        size = max(1, _CELLS // max(len(self.positions), 1))
        yield from (chosen[i : i + size] for i in range(0, len(chosen), size))

    def relevance(self, rankings: Sequence[Longs], chosen: Longs) -> Floats:
        """Gains (q, K) of the items that rankings (places in 0..N-1) show, padded with 0."""
        shown = np.zeros((len(chosen), DEPTH), np.float32)
        for row, (query, ranking) in enumerate(zip(chosen.tolist(), rankings, strict=True)):
            gains = self.gains[query]
            for rank, place in enumerate(ranking.tolist()):
                if place in gains:
                    shown[row, rank] = gains[place]
        return shown

    def ideal(self, chosen: Longs) -> Floats:
        """All gains of some queries (q, J), padded with 0."""
        most = max(len(self.gains[query]) for query in chosen.tolist())
        table = np.zeros((len(chosen), most), np.float32)
        for row, query in enumerate(chosen.tolist()):
            values = list(self.gains[query].values())
            table[row, : len(values)] = values
        return table


def top(scores_QN: Floats, k: int = DEPTH) -> list[Longs]:
    """The k best places of each row, best first; equal scores in order of place."""
    k = min(k, scores_QN.shape[1])
    if k < scores_QN.shape[1]:
        best = np.sort(np.argpartition(-scores_QN, k - 1, axis=1)[:, :k], axis=1)
    else:
        best = np.broadcast_to(np.arange(k), scores_QN.shape)
    order = np.argsort(-np.take_along_axis(scores_QN, best, 1), axis=1, kind="stable")
    return list(np.take_along_axis(best, order, 1).astype(np.int64))


def standard(scores_QN: Floats) -> Floats:
    """Scores less their mean over items, in units of their deviation, query by query."""
    mean, deviation = scores_QN.mean(1, keepdims=True), scores_QN.std(1, keepdims=True)
    result: Floats = (scores_QN - mean) / np.maximum(deviation, 1e-6)
    return result


def from_judgements(index: OpenedIndex, judged: Sequence[Judged], where: str | None) -> Scene:
    """The scene of judged queries; those without an answer among the items in reach are left out. Raises DataError when none is left."""
    positions = np.arange(len(index)) if where is None else index.where(where)
    place = {index.ids[position]: i for i, position in enumerate(positions.tolist())}
    gains = [{place[item]: gain for item, gain in query.gains.items() if item in place} for query in judged]
    kept = [i for i, found in enumerate(gains) if found]
    if not kept:
        some = ", ".join(repr(item) for query in judged[:3] for item in list(query.gains)[:1])
        raise DataError(
            f"None of the {len(judged):,} queries has an answer in {index.path}: its items are called {', '.join(map(repr, index.ids[:3]))}, "
            f"the judgements name {some}."
        )
    return Scene(index, positions, tuple(judged[i] for i in kept), tuple(gains[i] for i in kept), where)


def from_column(index: OpenedIndex, column: str, where: str | None, learn: str | None) -> Scene:
    """A query for each value of a payload column, answered by the items that hold it; `learn` names the items that are examples instead."""
    values = [row[column] for row in index.payload(range(len(index)), [column])]
    known = np.zeros(len(index), np.bool_) if learn is None else _mask(index, learn)
    searched = (np.ones(len(index), np.bool_) if where is None else _mask(index, where)) & ~known
    positions = np.flatnonzero(searched)
    place = {int(position): i for i, position in enumerate(positions)}
    words = sorted({str(values[position]) for position in positions if values[position] is not None})
    gains: dict[str, dict[int, float]] = {word: {} for word in words}
    examples: dict[str, list[int]] = {word: [] for word in words}
    for position, value in enumerate(values):
        if value is None or str(value) not in gains:
            continue
        if position in place:
            gains[str(value)][place[position]] = 1.0
        elif known[position]:
            examples[str(value)].append(position)
    if len(words) < 2:
        raise DataError(
            f"Column {column!r} has {len(words)} value among the items in reach: as queries at least two are needed."
        )
    judged = tuple(Judged(word, {}, "") for word in words)
    learned = None if learn is None else tuple(np.array(examples[word], np.int64) for word in words)
    return Scene(index, positions, judged, tuple(gains[word] for word in words), where, learned)


def _mask(index: OpenedIndex, where: str) -> NDArray[np.bool_]:
    mask = np.zeros(len(index), np.bool_)
    mask[index.where(where)] = True
    return mask
