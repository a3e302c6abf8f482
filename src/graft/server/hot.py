"""The hot route: vectors in, ids and scores out, with no framework between.

    POST /v1/indexes/NAME/vectors   {"vector": [...], "k": 10}    -> {"version": 7, "ids": [...], "scores": [...]}
                                    {"vectors": [[...], ...]}     -> {"version": 7, "ids": [[...], ...], "scores": [[...], ...]}
    the same with ?k=10             raw little-endian float32 rows (application/octet-stream) -> as for "vectors"

Queries of one moment are searched together. Legend: Q queries, D dims, K hits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import orjson
from numpy.typing import NDArray

from graft.errors import unknown
from graft.server.failures import Refusal, absent, bad
from graft.server.gathering import Gather
from graft.server.limits import Limits
from graft.server.releases import Release, Releases

TOGETHER = 64  # queries a search: beyond it, a longer wait buys next to no speed
PATIENCE = 0.003  # seconds of search that may hold up the event loop; what takes longer goes to a thread
BINARY, JSON = "application/octet-stream", "application/json"
_FIELDS = ("vector", "vectors", "k", "view", "where")


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What one request asks of one release."""

    release: Release
    q_QD: NDArray[np.float32]
    k: int
    view: str
    where: str | None
    nested: bool  # answer with a list for each query
    rows: int


Answer = tuple[NDArray[np.int64], NDArray[np.float32]]


class Vectors:
    """Answers the hot route. `pool` runs what takes long: searches of large indexes, and every search with a filter."""

    def __init__(self, releases: Releases, limits: Limits, pool: Executor) -> None:
        self._releases, self._limits = releases, limits
        self.gather = Gather(_search, pool=pool, most=TOGETHER, patience=PATIENCE, size=lambda query: query.rows)
        self._filtered = Gather(_search, pool=pool, most=1)

    async def __call__(self, name: str, content_type: str, query_string: str, body: bytes) -> bytes:
        """The JSON answer. Raises Refusal for whatever is wrong with the request."""
        release = self._releases.indexes.get(name)
        if release is None:
            raise absent(unknown("index", name, self._releases.indexes) if self._releases.indexes else "No index here.")
        query = self._read(release, content_type, query_string, body)
        gather = self.gather if query.where is None else self._filtered
        positions_QK, scores_QK = await gather(query)
        return _answer(query, positions_QK, scores_QK)

    def _read(self, release: Release, content_type: str, query_string: str, body: bytes) -> Query:
        kind = content_type if content_type in (JSON, BINARY) else content_type.partition(";")[0].strip().lower()
        if kind == JSON:
            tree = _parse(body)
            if query_string:
                tree = _options(query_string) | tree
            nested = "vectors" in tree
            q_QD = _numbers(tree["vectors" if nested else "vector"], nested)
        elif kind == BINARY:
            tree = _options(query_string)
            nested = True
            q_QD = None
        else:
            raise Refusal(415, "UsageError", f"The content type {kind!r} is not read here. Allowed: {JSON}, {BINARY}.")
        view, where, k = tree.get("view"), tree.get("where"), tree.get("k", 10)
        k = int(k) if isinstance(k, float) and k.is_integer() else k
        dims = release.dims
        if view is None:
            view = release.view
        elif not isinstance(view, str) or view not in dims:
            raise bad(unknown("view", str(view), dims))
        dim = dims[view]
        q_QD = _rows(body, dim) if q_QD is None else q_QD
        self._check(q_QD, dim, view, k, where)
        return Query(release, q_QD, k, view, where, nested, len(q_QD))

    def _check(self, q_QD: NDArray[np.float32], dim: int, view: str, k: object, where: object) -> None:
        limits = self._limits
        if q_QD.shape[1] != dim:
            raise bad(f"The vectors have {q_QD.shape[1]:,} numbers; the view {view!r} has {dim:,}.")
        if type(k) is not int or not 1 <= k <= limits.k:
            raise bad(f"k is {k!r}; a whole number from 1 to {limits.k:,} is wanted.")
        if len(q_QD) > limits.rows or len(q_QD) * k > limits.cells:
            raise bad(
                f"{len(q_QD):,} vectors with k = {k:,} are too many for one request: at most {limits.rows:,} vectors, and "
                f"vectors times k at most {limits.cells:,}. Send several requests."
            )
        if where is not None and (not isinstance(where, str) or len(where) > limits.where):
            raise bad(f"where is a text of at most {limits.where:,} characters.")


def _parse(body: bytes) -> dict[str, Any]:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad(f"The body is not JSON: {error}.") from error
    if not isinstance(tree, dict) or ("vector" in tree) == ("vectors" in tree):
        raise bad('The body is a JSON object with either "vector" or "vectors".')
    for name in tree:
        if name not in _FIELDS:
            raise bad(unknown("field", name, _FIELDS))
    return tree


@lru_cache(256)
def _options(query_string: str) -> dict[str, Any]:
    """View, where and k of a URL; k is a number where it looks like one."""
    given: dict[str, Any] = dict(parse_qsl(query_string, keep_blank_values=True))
    for name in given:
        if name not in ("k", "view", "where"):
            raise bad(unknown("parameter", name, ("k", "view", "where")))
    k = given.get("k", "")
    return given | ({"k": int(k)} if k.isascii() and k.isdigit() and len(k) < 9 else {})


def _numbers(value: Any, nested: bool) -> NDArray[np.float32]:
    """A list of numbers, or a list of such lists of equal length, as rows."""
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if array.dtype.kind not in "fiu" or array.ndim != 1 + nested:
        wanted = "a list of lists of numbers, all of one length" if nested else "a list of numbers"
        raise bad(f'"{"vectors" if nested else "vector"}" is {wanted}.')
    with np.errstate(over="ignore"):
        rows = array.astype(np.float32)
    return rows if nested else rows[None, :]


def _rows(body: bytes, dim: int) -> NDArray[np.float32]:
    if not body or len(body) % (4 * dim):
        raise bad(f"The body has {len(body):,} bytes; a row is {dim:,} float32 numbers, {4 * dim:,} bytes.")
    return np.frombuffer(body, "<f4").reshape(-1, dim)


def _search(queries: Sequence[Query]) -> list[Answer]:
    """One search for all queries that ask the same version the same thing. That numbers are finite is checked by the index."""
    groups: defaultdict[tuple[int, str, int, str | None], list[int]] = defaultdict(list)
    for position, query in enumerate(queries):
        groups[id(query.release), query.view, query.k, query.where].append(position)
    answers: list[Answer | None] = [None] * len(queries)
    for members in groups.values():
        first = queries[members[0]]
        q_QD = first.q_QD if len(members) == 1 else np.concatenate([queries[m].q_QD for m in members])
        found = first.release.index.search_vectors(q_QD, first.k, view=first.view, where=first.where)
        start = 0
        for m in members:
            stop = start + queries[m].rows
            answers[m] = (found.positions[start:stop], found.scores[start:stop])
            start = stop
    return [answer for answer in answers if answer is not None]


def _answer(query: Query, positions_QK: NDArray[np.int64], scores_QK: NDArray[np.float32]) -> bytes:
    ids = query.release.ids
    rows = [[ids[p] for p in row if p >= 0] for row in positions_QK.tolist()]
    scores: Any = scores_QK
    if any(len(row) < positions_QK.shape[1] for row in rows):  # no scores for those that are not there
        scores = [scores_QK[q, : len(row)] for q, row in enumerate(rows)]
    shown: Any = rows
    if not query.nested:
        shown, scores = rows[0], scores[0]
    tree = {"version": query.release.version, "ids": shown, "scores": scores}
    return orjson.dumps(tree, option=orjson.OPT_SERIALIZE_NUMPY)
