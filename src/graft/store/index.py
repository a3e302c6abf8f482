"""Search structures in memory, made by FAISS: exact, inverted lists, or inverted lists over product codes with refinement.

Everything is an inner product. Cosine is that of unit rows; Euclidean distance that of rows with their squared length as a further
number: -|q - x|² + |q|² = [2q, -1]·[x, |x|²] has the same order. Inverted lists can leave rows out; graphs (HNSW) cannot delete and
are measured beside these in `bench/search.py`.
Legend: N rows, D dims, Q queries, K neighbours.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import ModelError
from graft.search_results import Recall

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

EXACT_NUMBERS = 2**23  # numbers (N x D) up to which exact search takes about 1 ms a query on one core
LISTS = 2.0  # times the root of N: finding the lists then costs about as much as reading them (4.0 took twice as long a query)
POINTS_A_LIST = 32  # for the k-means that makes the lists
RECALL_QUERIES, RECALL_AT = 400, 10
_ROUNDS = 8  # of k-means
_BLOCK = 2048  # rows compared with all centres, or with a batch of queries, at once
_TOGETHER = 256  # queries compared with a block of rows at once
_CODES_LEARNED, _CODE_ROUNDS = 10_000, 6  # rows that product codes are learned from; refinement forgives coarse ones
_REFINED = 8  # candidates a neighbour that product codes hand on to be compared exactly
_FEWEST = 1000  # rows from which anything but exact search can be learned, and pays


@dataclass(frozen=True)
class Structure:
    """How to build: `kind` exact, ivf or ivfpq; `lists` of the inverted file, `codes` bytes a row of product codes."""

    kind: str
    lists: int = 0
    codes: int = 0


def plan(n: int, dim: int, *, kind: str = "auto", memory: int | None = None) -> Structure:
    """The structure for N rows: exact while that is fast, else inverted lists, with product codes where rows take more than `memory` bytes.

    Below a thousand rows it is exact, whatever `kind` is asked for.
    """
    if kind == "auto":
        kind = "exact" if n * dim <= EXACT_NUMBERS else "ivf"
        if kind == "ivf" and memory is not None and n * dim * 4 > memory:
            kind = "ivfpq"
    if kind == "exact" or n < _FEWEST:
        return Structure("exact")
    lists = max(1, min(int(LISTS * n**0.5), n // 39))
    codes = max(d for d in range(1, dim + 1) if dim % d == 0 and d <= max(1, dim // 4)) if kind == "ivfpq" else 0
    return Structure(kind, lists, codes)


def prepared(rows_ND: Floats, metric: str) -> Floats:
    """Rows as the structure holds them: unit length for "cosine", as they are for "dot", with their squared length for "euclidean"."""
    if metric == "cosine":
        return _unit(rows_ND)
    if metric == "euclidean":
        return np.hstack([rows_ND, (rows_ND**2).sum(1, keepdims=True)]).astype(np.float32)
    return np.ascontiguousarray(rows_ND, np.float32)


def asked(q_QD: Floats, metric: str) -> Floats:
    """Queries as the structure takes them."""
    if metric == "cosine":
        return _unit(q_QD)
    if metric == "euclidean":
        return np.hstack([2 * q_QD, np.full((len(q_QD), 1), -1, np.float32)]).astype(np.float32)
    return np.ascontiguousarray(q_QD, np.float32)


def told(scores_QK: Floats, q_QD: Floats, metric: str) -> Floats:
    """Inner products as people know them: minus the squared distance for "euclidean"."""
    return scores_QK - (q_QD**2).sum(1, keepdims=True) if metric == "euclidean" else scores_QK


def _unit(rows_ND: Floats) -> Floats:
    length_N1 = np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND))[:, None]
    scaled: Floats = np.divide(rows_ND, length_N1, out=np.zeros(rows_ND.shape, np.float32), where=length_N1 > 0)
    return scaled


class Segment:
    """Rows that do not change, and the structure that searches them; `keys` (N,) name the rows. Searching is safe from several threads."""

    def __init__(
        self, index: Any, keys: Longs, structure: Structure, *, probes: int = 0, recall: Recall | None = None
    ) -> None:
        self.index, self.keys, self.structure = index, keys, structure
        self.recall = recall
        self.probes = probes
        self._inner = index
        if structure.kind != "exact":
            import faiss

            self._inner = faiss.downcast_index(index.base_index) if structure.kind == "ivfpq" else index
            self._inner.nprobe = max(1, probes)

    def __len__(self) -> int:
        return len(self.keys)

    def search(
        self, q_QD: Floats, k: int, selected: Selection | None = None, *, wide: float = 1
    ) -> tuple[Floats, Longs]:
        """Scores and rows (Q, K), best first; -1 where there are fewer. `selected` limits the rows; `wide` times as many lists are probed."""
        if self.structure.kind == "exact" and len(q_QD) > 1:
            return self._compared(q_QD, k, selected)
        if selected is None and self.structure.kind != "ivfpq":
            found: tuple[Floats, Longs] = self.index.search(q_QD, k)
            return found
        probes = min(self.structure.lists, math.ceil(self.probes * wide))
        scores, rows = self.index.search(q_QD, k, params=self._parameters(selected, probes))
        return scores, rows

    def _compared(self, q_QD: Floats, k: int, selected: Selection | None) -> tuple[Floats, Longs]:
        """Several queries at once by matrix products of numpy: with AVX-512 some ten times as fast as FAISS's (docs/LOG.md)."""
        rows_ND = _held(self.index)
        found = []
        for start in range(0, len(q_QD), _TOGETHER):
            nearest = _Nearest(q_QD[start : start + _TOGETHER], k)
            for i in range(0, len(rows_ND), _BLOCK):
                nearest.add(rows_ND[i : i + _BLOCK], None if selected is None else selected.rows[i : i + _BLOCK])
            found.append(nearest.padded())
        return np.concatenate([scores for scores, _ in found]), np.concatenate([rows for _, rows in found])

    def _parameters(self, selected: Selection | None, probes: int) -> Any:
        import faiss

        selector = None if selected is None else selected.selector
        if self.structure.kind == "exact":
            return faiss.SearchParameters(sel=selector)
        if self.structure.kind == "ivf":
            return faiss.SearchParametersIVF(sel=selector, nprobe=probes)
        inner = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
        return faiss.IndexRefineSearchParameters(k_factor=_REFINED, base_index_params=inner)

    @property
    def bytes(self) -> int:
        """Memory of the structure: rows or codes, and row numbers."""
        n, dim = len(self.keys), int(self.index.d)
        if self.structure.kind == "exact":
            return n * dim * 4
        if self.structure.kind == "ivf":
            return n * (dim * 4 + 8) + self.structure.lists * dim * 4
        return n * (self.structure.codes + 8 + dim) + self.structure.lists * dim * 4

    def save(self, folder: Path) -> None:
        """Write `index.faiss` and `keys.npy` into a folder (make it with `store.files.new_folder`). Raises OSError."""
        import faiss

        try:
            faiss.write_index(self.index, str(folder / "index.faiss"))
        except RuntimeError as problem:  # which tells the disk's failure in words alone
            codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES)
            code = next((code for code in codes if os.strerror(code) in str(problem)), errno.EIO)
            raise OSError(code, os.strerror(code)) from problem
        np.save(folder / "keys.npy", self.keys, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, structure: Structure, *, probes: int, recall: Recall | None) -> Segment:
        """What `save` wrote. Raises ModelError when a file is missing or cannot be read."""
        import faiss

        try:
            index = faiss.read_index(str(folder / "index.faiss"))
            keys = np.load(folder / "keys.npy", allow_pickle=False)
        except (RuntimeError, OSError, ValueError, EOFError, MemoryError) as problem:
            raise ModelError(
                f"The search structure in {folder} cannot be read. `graft index --rebuild` makes it anew."
            ) from problem
        if index.ntotal != len(keys):
            raise ModelError(
                f"The search structure in {folder} does not fit its keys. `graft index --rebuild` makes it anew."
            )
        return cls(index, keys, structure, probes=probes, recall=recall)


class Selection:
    """Some rows of a segment, as FAISS takes them; `rows` is a mask (N,)."""

    def __init__(self, rows: NDArray[np.bool_]) -> None:
        import faiss

        self.rows = rows
        self._bits = np.packbits(rows, bitorder="little")  # FAISS keeps a pointer into it
        self.selector = faiss.IDSelectorBitmap(self._bits)


def exact(batches: Iterable[Floats], keys: Longs, dim: int) -> Segment:
    """A segment that compares every row. Batches go straight into it: the peak of memory is the rows and one batch."""
    import faiss

    index = faiss.IndexFlatIP(dim)
    if len(keys):
        index.codes.resize(len(keys) * dim * 4)  # `add` would grow it by doubling, and hold up to twice the memory
        index.ntotal = len(keys)
        held_ND, start = _held(index), 0
        for batch in batches:
            held_ND[start : start + len(batch)] = batch
            start += len(batch)
    return Segment(index, keys, Structure("exact"))


def _held(index: Any) -> Floats:
    """The rows (N, D) of an exact index, where they lie."""
    import faiss

    if not index.ntotal:
        return np.empty((0, index.d), np.float32)
    rows: Floats = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(-1, index.d)
    return rows


def build(
    batches: Callable[[], Iterator[Floats]],
    keys: Longs,
    dim: int,
    structure: Structure,
    *,
    recall: float,
    metric: str = "dot",
    seed: int = 0,
) -> Segment:
    """A segment of structure `ivf` or `ivfpq` with just so many probes as find `recall` of the ten nearest, measured on its own rows.

    `batches()` yields the rows, prepared for `metric`, anew at each call: to learn the lists from a sample, to add them, and for the truth.
    Falls back to exact search when even all lists do not reach the target.
    """
    import faiss

    rng = np.random.default_rng(seed)
    n = len(keys)
    learned = _sample(batches(), rng.choice(n, min(n, POINTS_A_LIST * structure.lists), replace=False))
    queries = learned[rng.choice(len(learned), min(len(learned), RECALL_QUERIES), replace=False)]
    queries = asked(queries[:, :-1], metric) if metric == "euclidean" else queries
    centres = _centres(learned, structure.lists, rng)
    kind = "Flat" if structure.kind == "ivf" else f"PQ{structure.codes},Refine(SQ8)"
    index = faiss.index_factory(dim, f"IVF{structure.lists},{kind}", faiss.METRIC_INNER_PRODUCT)
    lists = index if structure.kind == "ivf" else faiss.downcast_index(index.base_index)
    lists.quantizer.add(centres)
    if structure.kind == "ivfpq":
        lists.do_polysemous_training = False  # of no use here, and forty seconds
        lists.pq.cp.niter = _CODE_ROUNDS
        lists.pq.cp.min_points_per_centroid = 1  # else it warns on stderr
        faiss.downcast_index(
            index.refine_index
        ).sq.rangestat_arg = 0.2  # of the sample's range: others may lie outside it
    index.train(learned[:: max(1, len(learned) // _CODES_LEARNED)])  # the lists are there: only codes are learned
    truth = _Nearest(queries, RECALL_AT + 2)
    for batch in batches():
        _add(index, lists, np.ascontiguousarray(batch, np.float32), _assigned(batch, centres))
        truth.add(batch)
    probes, segment = 1, Segment(index, keys, structure, probes=1)
    queries, truth_QK = truth.unambiguous()
    while (measured := _recall(segment, queries, truth_QK)).low < recall and probes < structure.lists:
        probes = min(structure.lists, max(probes + 1, int(probes * 1.5)))
        segment = Segment(index, keys, structure, probes=probes)
    if not measured.value >= recall:
        return exact(batches(), keys, dim)
    return Segment(index, keys, structure, probes=probes, recall=measured)


def _centres(x_ND: Floats, lists: int, rng: np.random.Generator) -> Floats:
    """Centres (lists, D) by Lloyd's k-means for inner products, from randomly chosen rows; centres nobody is near are drawn anew.

    Matrix products by numpy are three to six times as fast as FAISS's own k-means on processors with AVX-512 (docs/LOG.md).
    """
    from scipy.sparse import csr_matrix

    centres: Floats = x_ND[rng.choice(len(x_ND), lists, replace=False)].copy()
    for _ in range(_ROUNDS):
        nearest_N = _assigned(x_ND, centres)
        members = csr_matrix((np.ones(len(x_ND), np.float32), (nearest_N, np.arange(len(x_ND)))), (lists, len(x_ND)))
        count = np.bincount(nearest_N, minlength=lists)
        centres = np.asarray(members @ x_ND / np.maximum(count, 1)[:, None], np.float32)
        if (empty := np.flatnonzero(count == 0)).size:
            centres[empty] = x_ND[rng.choice(len(x_ND), empty.size)]
    return centres


def _assigned(x_ND: Floats, centres_CD: Floats) -> Longs:
    """The list of each row: the nearest centre, by Euclidean distance (a long centre must not draw all rows to itself)."""
    half_C = (centres_CD**2).sum(1) / 2
    parts = [(x_ND[i : i + _BLOCK] @ centres_CD.T - half_C).argmax(1) for i in range(0, len(x_ND), _BLOCK)]
    return np.concatenate(parts).astype(np.int64)


def _add(index: Any, lists: Any, batch: Floats, assigned: Longs) -> None:
    """Add rows to lists that are known already; FAISS would search for them once more."""
    import faiss

    lists.add_core(len(batch), faiss.swig_ptr(batch), None, faiss.swig_ptr(assigned))
    if lists is not index:
        index.refine_index.add(batch)
        index.ntotal = lists.ntotal


def _sample(batches: Iterable[Floats], chosen: Longs) -> Floats:
    chosen = np.sort(chosen)
    parts, start = [], 0
    for batch in batches:
        parts.append(batch[chosen[(chosen >= start) & (chosen < start + len(batch))] - start])
        start += len(batch)
    return np.ascontiguousarray(np.concatenate(parts), np.float32)


class _Nearest:
    """The rows of the k largest inner products, found by comparing queries with every batch as it passes."""

    def __init__(self, queries_QD: Floats, k: int) -> None:
        self.queries, self.k, self._seen = queries_QD, k, 0
        self.rows = np.empty((len(queries_QD), 0), np.int64)
        self._scores = np.empty((len(queries_QD), 0), np.float32)

    def add(self, batch: Floats, allowed: NDArray[np.bool_] | None = None) -> None:
        found = self.queries @ batch.T
        if allowed is not None:
            found[:, ~allowed] = -np.inf
        scores = np.hstack([self._scores, found])
        rows = np.hstack(
            [self.rows, np.broadcast_to(np.arange(len(batch)) + self._seen, (len(self.queries), len(batch)))]
        )
        best = (
            np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
            if scores.shape[1] <= self.k
            else _top(scores, self.k)
        )
        self._scores, self.rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
        self._seen += len(batch)

    def padded(self) -> tuple[Floats, Longs]:
        """Scores and rows (Q, k); -1 where there are fewer."""
        rows = np.where(np.isfinite(self._scores), self.rows, -1)
        missing = ((0, 0), (0, self.k - rows.shape[1]))
        return np.pad(self._scores, missing, constant_values=-np.inf), np.pad(rows, missing, constant_values=-1)

    def unambiguous(self) -> tuple[Floats, Longs]:
        """Queries and their rows (Q', k - 1) without those whose last neighbour is as near as the next one: copies, of which any would do."""
        last, following = self._scores[:, -2], self._scores[:, -1]
        clear = last - following > 1e-6 * np.maximum(1, np.abs(last))
        return self.queries[clear], self.rows[clear, :-1]


def _top(scores_QN: Floats, k: int) -> Longs:
    best = np.argpartition(-scores_QN, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores_QN, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1)


def _recall(segment: Segment, queries_QD: Floats, truth_QK: Longs) -> Recall:
    """Share of the true neighbours that are found. A query is itself a row: its own place in the truth does not count.

    `low` is the lower end of the mean's 95 % interval over queries. Without queries nothing is known: 0.
    """
    if not len(queries_QD):
        return Recall(RECALL_AT, 0.0, 0.0, 0)
    found_QK = segment.search(queries_QD, truth_QK.shape[1])[1]
    others_QK = truth_QK[:, 1:]
    shares = np.array([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found_QK, others_QK, strict=True)])
    error = shares.std(ddof=1) / len(shares) ** 0.5 if len(shares) > 1 else 0.0
    return Recall(RECALL_AT, float(shares.mean()), float(shares.mean() - 1.96 * error), len(shares))
