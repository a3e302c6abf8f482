"""An opened index: one consistent version of a collection in memory, answering queries.

Legend: N items, D dims, Q queries, K hits. A position is an item's place in the collection, 0 to N - 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content, ImageSource, source_of
from graft.errors import DataError, UsageError, unknown
from graft.retrieval import background
from graft.retrieval.adopted import Adopted, adopted_at, read_adopted
from graft.retrieval.speaking import Speaker
from graft.retrieval.versions import IndexVersion, View, current, read_version
from graft.search_results import SearchResult
from graft.store.collection import CONTENT, ID, Collection
from graft.store.index import Segment, Selection, asked, exact, prepared, told

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

FEW = 20_000  # items a filter may leave that are compared one by one rather than through inverted lists
MOST_HITS = 10_000
_LOOKED_AT = 20_000  # ids compared with one that is not there, to name a near one
_SAMPLED = 2000  # items that tell what a query scores by chance


class Found(NamedTuple):
    """Positions (Q, K), -1 where there are fewer, and their scores (Q, K), best first."""

    positions: Longs
    scores: Floats


@dataclass(frozen=True, eq=False)
class Loaded:
    """A view in memory: an unchanging base, the rows that came after it, and where each of their rows stands in this version."""

    view: View
    base: Segment
    delta: Segment | None
    base_positions: (
        Longs  # (rows of base + 1,) position, -1 for one that is gone and, at the end, for what FAISS did not find
    )
    delta_positions: Longs
    alive: Selection | None  # rows of the base that still are items; None when all are
    straight: bool  # row i of the base is position i, and there is no delta


class OpenedIndex:
    """One version of an index. Make one with `open_index`; it may be asked from several threads at once."""

    def __init__(self, path: Path, version: IndexVersion, former: OpenedIndex | None = None) -> None:
        self.path = path
        self.manifest = version
        self.collection = Collection.open(path / "items.lance", version.lance)
        self.keys = self.collection.keys()
        self._order = np.argsort(self.keys, kind="stable")
        self._sorted = self.keys[self._order]
        self._loaded = {view.name: self._load(view, former) for view in version.views}
        self.speaker: Speaker = (
            Speaker(path, version.views) if former is None else former.speaker.renewed(version.views)
        )
        self._adopted_at = adopted_at(path)
        self._nearness: dict[str, background.Nearness] = {}
        self._samples: dict[str, Floats] = {}

    # Facts

    @property
    def version(self) -> int:
        """Number of the version that is open."""
        return self.manifest.version

    @property
    def modality(self) -> str:
        """What the items are: "text", "image", "both", or "vector" when they came as vectors."""
        return self.manifest.modality

    @property
    def views(self) -> Mapping[str, View]:
        """The vectors that can be searched, by name."""
        return {view.name: view for view in self.manifest.views}

    @property
    def columns(self) -> dict[str, str]:
        """Payload columns with their types."""
        return self.collection.columns

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def _id_column(self) -> Any:
        return self.collection.table([ID]).column(ID).combine_chunks()

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids by position."""
        names: list[str] = self._id_column.to_pylist()
        return names

    def position(self, item: str) -> int:
        """Position of the item with that id. Raises DataError, with the nearest id, when there is none."""
        import pyarrow.compute as pc

        place = pc.index(self._id_column, item).as_py()
        if place < 0:
            near = difflib.get_close_matches(item, self.ids[:_LOOKED_AT], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(f"There is no item {item!r} in {self.path.name}.{hint}")
        return int(place)

    def payload(self, positions: Sequence[int] | Longs, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """`id`, `content` and payload columns (default: all) of some items, in their order."""
        wanted = list(self.columns) if columns is None else list(columns)
        if wrong := [name for name in wanted if name not in self.columns]:
            raise UsageError(unknown("The column", wrong[0], self.columns))
        rows = self.collection.take([int(p) for p in positions], [ID, CONTENT, *wanted])
        return [{ID: row[ID], "content": row[CONTENT], **{name: row[name] for name in wanted}} for row in rows]

    def vectors(self, view: str, positions: Longs | None = None) -> Floats:
        """Vectors (n, D) as they were stored, of all items or of some."""
        self._known(view)
        if positions is not None:
            return self.collection.vectors(view, np.asarray(positions, np.int64))
        return np.concatenate([*self.collection.batches(view), np.empty((0, self.views[view].dim), np.float32)])

    def picture(self, position: int) -> bytes:
        """The file of an item that is a picture. Raises DataError when it is none, or is no longer there."""
        if self.modality not in ("image", "both"):
            raise DataError(f"The items of {self.path.name} are no pictures.")
        name = self.collection.take([position], [CONTENT])[0][CONTENT]
        try:
            return source_of(name).read_bytes()
        except (OSError, KeyError, ValueError) as problem:
            why = type(problem).__name__  # not where it lay: a server's clients read this too
            raise DataError(
                f"The picture of {self.ids[position]!r} is no longer there, or cannot be read ({why})."
            ) from problem

    def refresh(self) -> OpenedIndex:
        """What is served now: this, or, after another version or way to search, one that shares with it what did not change."""
        number = current(self.path)
        same = number == self.version and adopted_at(self.path) == self._adopted_at
        return self if same else OpenedIndex(self.path, read_version(self.path, number), self)

    # Vectors in

    def search_vectors(self, q_QD: Floats, k: int, *, view: str | None = None, where: str | None = None) -> Found:
        """The k items nearest to each query vector (Q, D), by the metric of `view` (default: the first). `where` is an SQL condition.

        A position of -1 means that there are no more. k is from 1 to 10,000. Raises UsageError for vectors that do not fit the view.
        """
        loaded = self._loaded[self._known(view)]
        q_QD = self._checked(q_QD, loaded.view.dim)
        mask = None if where is None else self._mask(where)
        if not 1 <= k <= MOST_HITS:
            raise UsageError(f"k is {k}; it must be from 1 to {MOST_HITS:,}.")
        found = self._nearest(loaded, asked(q_QD, loaded.view.metric), k, mask)
        if loaded.view.metric != "euclidean":
            return found
        return Found(found.positions, told(found.scores, q_QD, "euclidean"))

    def _nearest(self, loaded: Loaded, q_QD: Floats, k: int, mask: NDArray[np.bool_] | None) -> Found:
        if mask is not None:
            return self._filtered(loaded, q_QD, k, mask)
        scores, rows = loaded.base.search(q_QD, k, loaded.alive)
        if loaded.straight:
            return Found(rows, scores)
        positions = loaded.base_positions[rows]
        if loaded.delta is None:
            return Found(positions, scores)
        more, rows = loaded.delta.search(q_QD, k)
        return _best([scores, more], [positions, loaded.delta_positions[rows]], k)

    def _filtered(self, loaded: Loaded, q_QD: Floats, k: int, mask: NDArray[np.bool_]) -> Found:
        """The nearest among the items of `mask`, all k of them where there are so many. For inverted lists few are compared one by one, as
        the lists probed may hold none of them; of many, as many more lists are probed as items are left out."""
        chosen = np.flatnonzero(mask)
        if len(chosen) <= FEW and loaded.base.structure.kind != "exact":
            held_ND = prepared(self.collection.vectors(loaded.view.name, chosen), loaded.view.metric)
            return _compared(q_QD, held_ND, chosen, k)
        allowed = np.append(mask, False)  # position -1 is that of a row that is gone
        wide = len(self) / max(len(chosen), 1)
        scores, rows = loaded.base.search(q_QD, k, Selection(allowed[loaded.base_positions[:-1]]), wide=wide)
        positions = loaded.base_positions[rows]
        if loaded.delta is None:
            return Found(positions, scores)
        more, rows = loaded.delta.search(q_QD, k, Selection(mask[loaded.delta_positions[:-1]]))
        return _best([scores, more], [positions, loaded.delta_positions[rows]], k)

    def where(self, condition: str) -> Longs:
        """Positions of the items a filter lets through, ascending. Raises UsageError for a filter that cannot be understood."""
        return np.flatnonzero(self._mask(condition))

    def by_words(self, query: str, limit: int, *, where: str | None = None) -> Longs:
        """Positions of the items that share words with `query`, best first by BM25; at most `limit`."""
        positions = self._positions(self.collection.words(self.manifest.words, query, limit, where)[0])
        return positions[positions >= 0]

    def _mask(self, condition: str) -> NDArray[np.bool_]:
        mask = np.zeros(len(self), np.bool_)
        mask[self._positions(self.collection.matching(condition))] = True
        return mask

    def _positions(self, keys: Longs) -> Longs:
        """Positions of keys, -1 for one that is not of this version."""
        if not len(self._sorted):
            return np.full(len(keys), -1, np.int64)
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return np.where(self._sorted[place] == keys, self._order[place], -1)

    # Words and pictures in

    def encode_queries(self, texts: Sequence[str], *, keep: bool = False) -> dict[str, Floats]:
        """What texts become (Q, D), in every view that texts can be compared in; `keep` is for lists that will be asked again, and uses the
        vector cache. Raises UsageError when there is no such view."""
        return self.speaker.texts(texts, keep=keep)

    def encode_pictures(self, pictures: Sequence[Content]) -> dict[str, Floats]:
        """What pictures become (Q, D), in every view they can be compared in. Raises UsageError when there is none, DataError for a bad one."""
        return self.speaker.pictures(pictures)

    @cached_property
    def adopted(self) -> Adopted:
        """The way to search that was adopted because it helped."""
        return read_adopted(self.path)

    @cached_property
    def word_background(self) -> dict[str, background.Background]:
        """What unrelated words get from this collection, by view."""
        return background.of_words(self)

    def nearness(self, view: str) -> background.Nearness:
        """How near the items of a view are to their nearest others; measured once."""
        if view not in self._nearness:
            self._nearness[view] = background.of_items(self, view)
        return self._nearness[view]

    def chance(self, view: str, q_D: Floats) -> tuple[float, float]:
        """Mean and deviation of a query's scores over a sample of the items: in these units the scores of two views can be added."""
        if view not in self._samples:
            n = len(self)
            chosen = np.sort(np.random.default_rng(0).choice(n, min(n, _SAMPLED), replace=False))
            self._samples[view] = prepared(self.vectors(view, chosen), self.views[view].metric)
        scores = self._samples[view] @ asked(q_D[None], self.views[view].metric)[0]
        return float(scores.mean()), max(float(scores.std()), 1e-6)

    def search(
        self,
        text: str | None = None,
        *,
        k: int = 10,
        image: str | Path | ImageSource | None = None,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        where: str | None = None,
        hybrid: bool = False,
    ) -> SearchResult:
        """The k items that answer best to words, a picture, examples by id, or a mixture of them.

        `where` is an SQL condition on payload columns; `hybrid` joins the ranking by vectors with one by words (BM25). Raises UsageError for
        a query that is empty, too long or of a kind this index has no vectors for, DataError for an unknown id or a bad picture.
        """
        from graft.retrieval.asking import Question, answer

        picture = image if image is None or isinstance(image, ImageSource) else ImageSource(Path(image))
        return answer(self, Question(text, picture, tuple(like), tuple(unlike), where, hybrid), k)

    # Loading

    def _load(self, view: View, former: OpenedIndex | None) -> Loaded:
        base = self._base(view, former)
        places = self._positions(base.keys)
        gone = places < 0
        fresh = np.ones(len(self), np.bool_)
        fresh[places[~gone]] = False
        delta, delta_positions = None, np.flatnonzero(fresh)
        if len(delta_positions):
            rows = prepared(self.collection.vectors(view.name, delta_positions), view.metric)
            delta = exact([rows], self.keys[delta_positions], rows.shape[1])
        alive = Selection(~gone) if gone.any() else None
        straight = delta is None and alive is None and bool((places == np.arange(len(places))).all())
        return Loaded(view, base, delta, np.append(places, -1), np.append(delta_positions, -1), alive, straight)

    def _base(self, view: View, former: OpenedIndex | None) -> Segment:
        """The former version's structure where it still serves, else the one on disk, else all rows to be compared one by one."""
        old = former._loaded.get(view.name) if former is not None else None
        if old is not None and old.view.base == view.base and (view.base or self._near(old)):
            return old.base
        if view.base:
            folder = self.path / "bases" / view.base
            return Segment.load(folder, view.structure, probes=view.probes, recall=view.recall)
        dim = view.dim + (view.metric == "euclidean")
        rows = (prepared(batch, view.metric) for batch in self.collection.batches(view.name))
        return exact(rows, self.keys, dim)

    def _near(self, old: Loaded) -> bool:
        """Whether a version's exact rows serve this one too: little was added to them or taken out."""
        here = np.isin(old.base.keys, self._sorted, assume_unique=True).sum()
        return bool(len(old.base) - here + len(self) - here <= 0.1 * max(len(self), 1))

    def _known(self, view: str | None) -> str:
        names = [v.name for v in self.manifest.views]
        if view is None:
            return names[0]
        if view not in names:
            raise UsageError(unknown("The view", view, names))
        return view

    @staticmethod
    def _checked(q_QD: Floats, dim: int) -> Floats:
        q_QD = np.ascontiguousarray(q_QD, np.float32)
        if q_QD.ndim != 2 or q_QD.shape[1] != dim:
            raise UsageError(f"Query vectors have the shape {q_QD.shape}; (queries, {dim}) is wanted.")
        if not np.isfinite(q_QD).all():
            raise UsageError("A query vector holds NaN or infinity.")
        return q_QD


def _best(some_scores: Sequence[Floats], some_positions: Sequence[Longs], k: int) -> Found:
    """The k best of several finds together. FAISS marks what it did not find by -1 and the lowest score."""
    scores, positions = np.hstack(some_scores), np.hstack(some_positions)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Found(np.take_along_axis(positions, order, 1), np.take_along_axis(scores, order, 1))


def _compared(q_QD: Floats, rows_ND: Floats, chosen: Longs, k: int) -> Found:
    """The k best of some rows, each compared."""
    scores = q_QD @ rows_ND.T
    if len(chosen) > k:
        part = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores = np.take_along_axis(scores, part, 1)
        return _best([scores], [chosen[part]], k)
    missing = k - len(chosen)
    positions = np.broadcast_to(np.append(chosen, np.full(missing, -1)), (len(q_QD), k))
    return _best([scores, np.full((len(q_QD), missing), -np.inf, np.float32)], [positions], k)


def open_index(path: str | Path) -> OpenedIndex:
    """The index at `path`, in the version that is served now.

    Raises MissingError when there is none, ModelError when it is damaged or of a newer schema.
    """
    folder = Path(path).expanduser()
    return OpenedIndex(folder, read_version(folder, current(folder)))
