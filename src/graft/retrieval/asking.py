"""One question to an index: words, a picture, examples, or a mixture, under a filter, joined with a ranking by words.

Legend: D dims of a view, K hits, C candidates.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import ImageSource
from graft.errors import UsageError
from graft.retrieval.background import MATCH
from graft.retrieval.fusion import reciprocal_ranks
from graft.retrieval.speaking import prompted
from graft.retrieval.versions import view_weights
from graft.search_results import Hit, SearchResult
from graft.store.index import asked, prepared, told

if TYPE_CHECKING:
    from graft.retrieval.opened import OpenedIndex

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

LONGEST_QUERY = 100_000  # letters; encoders read the first few hundred words
DEPTH = 1000  # of each ranking that is joined with another
LIKE, UNLIKE = 0.75, 0.25  # Rocchio's weights beside a query of weight 1 (Rocchio 1971; Manning et al. 2008, ch. 9)


@dataclass(frozen=True)
class Question:
    """What is asked. `like` and `unlike` are ids of items; `where` an SQL condition; `hybrid` joins a ranking by words."""

    text: str | None = None
    image: ImageSource | None = None
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    where: str | None = None
    hybrid: bool = False

    def __str__(self) -> str:
        picture = None if self.image is None else f"picture {self.image.path.name}"
        parts = [self.text and self.text.strip(), picture, self.like and "like " + ", ".join(self.like)]
        parts.append(self.unlike and "unlike " + ", ".join(self.unlike))
        return " · ".join(str(part) for part in parts if part)


def answer(index: OpenedIndex, question: Question, k: int) -> SearchResult:
    """The k best items. Raises UsageError for an empty or oversized question, DataError for an unknown id or a bad picture."""
    started = time.perf_counter()
    _check(index, question)
    parts = _parts(index, question)
    shown = {index.position(item) for item in (*question.like, *question.unlike)}
    hybrid = question.hybrid or (index.adopted.hybrid is not None and bool(parts.words) and bool(index.manifest.words))
    depth = max(k + len(shown), DEPTH if hybrid else 0)
    positions, scores = _ranked(index, parts, depth, question.where)
    if hybrid:
        positions, scores = _with_words(index, str(question.text), question.where, positions)
    kept = np.array([i for i, position in enumerate(positions.tolist()) if position not in shown][:k], np.int64)
    positions, scores = positions[kept], scores[kept]
    sure = _confidences(index, parts, positions)
    hits = tuple(
        Hit(row.pop("id"), float(score), float(confidence), row.pop("content"), row)
        for row, score, confidence in zip(index.payload(positions), scores, sure, strict=True)
    )
    note = f"All {len(hits):,} items that can be found are here." if len(hits) < k else ""
    matched = any(hit.confidence >= MATCH for hit in hits)
    return SearchResult(str(question), hits, matched, len(index), index.version, time.perf_counter() - started, note)


def _check(index: OpenedIndex, question: Question) -> None:
    words = bool(question.text and question.text.strip())
    if not words and question.image is None and not question.like and not question.unlike:
        raise UsageError("The query is empty: give words, a picture, or items to be like.")
    if question.text and len(question.text) > LONGEST_QUERY:
        raise UsageError(f"The query has {len(question.text):,} letters; {LONGEST_QUERY:,} are allowed.")
    if question.hybrid and not index.manifest.words:
        raise UsageError(
            f"A hybrid search needs texts to compare words with, and the items of {index.path.name} have none."
        )
    if question.hybrid and not words:
        raise UsageError("A hybrid search compares words: give a text.")
    if both := set(question.like) & set(question.unlike):
        raise UsageError(f"{', '.join(sorted(both))}: asked for as like and as unlike at once.")


@dataclass(frozen=True)
class Parts:
    """A question as vectors (D,) by view: what its words became, what the picture and the examples became (`weight` of each in the sum)."""

    words: Mapping[str, Floats]
    others: tuple[tuple[float, Mapping[str, Floats]], ...]
    learned: bool = False


def _parts(index: OpenedIndex, question: Question) -> Parts:
    text = question.text.strip() if question.text else ""
    learned = index.adopted.learned.get(text) if text else None
    words = dict(learned) if learned else _words(index, text) if text else {}
    others: list[tuple[float, Mapping[str, Floats]]] = []
    if question.image is not None:
        others.append((1.0, {view: q[0] for view, q in index.encode_pictures([question.image]).items()}))
    own = index.manifest.views[0].name
    for weight, ids in ((LIKE if words or others else 1.0, question.like), (-UNLIKE, question.unlike)):
        if ids:
            positions = np.array([index.position(item) for item in ids], np.int64)
            others.append((weight, {own: _mean(index, own, positions)}))
    return Parts(words, tuple(others), bool(learned))


def _words(index: OpenedIndex, text: str) -> dict[str, Floats]:
    """What words become, put into the templates, through the maps and under the weights that the index has adopted."""
    adopted = index.adopted
    if adopted.way == "prompts":
        made = prompted(index.encode_queries, [text], tuple(adopted.settings["templates"]))
    else:
        made = index.encode_queries([text])
    vectors = {view: q[0] for view, q in made.items()}
    for view, map_DD in adopted.maps.items():
        vectors[view] = asked(vectors[view][None], index.views[view].metric)[0] @ map_DD
    return vectors


def _mean(index: OpenedIndex, view: str, positions: Longs) -> Floats:
    """The middle of some items, each of unit length where the view compares directions."""
    metric = index.views[view].metric
    rows = index.vectors(view, positions)
    mean: Floats = (prepared(rows, metric) if metric == "cosine" else rows).mean(0)
    return mean


def _ranked(index: OpenedIndex, parts: Parts, k: int, where: str | None) -> tuple[Longs, Floats]:
    """Positions and scores of the k best; with adopted feedback, the first hits are examples of what is sought."""
    vectors = _joined(index, parts)
    feedback = index.adopted.settings if index.adopted.way == "feedback" and parts.words else None
    if feedback is None:
        return _searched(index, vectors, k, where, plain=parts.learned)
    first, _ = _searched(index, vectors, int(feedback["items"]), where)
    own = index.manifest.views[0].name
    again = Parts(parts.words, (*parts.others, (float(feedback["weight"]), {own: _mean(index, own, first)})))
    return _searched(index, _joined(index, again), k, where)


def _joined(index: OpenedIndex, parts: Parts) -> dict[str, Floats]:
    """Weighted sums of the parts, view by view, of unit parts where the view compares directions; what was learned is taken as it is."""
    joined = dict(parts.words) if parts.learned else {}
    for weight, vectors in (*(() if parts.learned else ((1.0, parts.words),)), *parts.others):
        for name, q_D in vectors.items():
            length = float(np.linalg.norm(q_D)) if index.views[name].metric == "cosine" else 1.0
            scaled = (weight / max(length, 1e-12)) * q_D
            joined[name] = joined[name] + scaled if name in joined else scaled
    return joined


def _searched(
    index: OpenedIndex, vectors: Mapping[str, Floats], k: int, where: str | None, *, plain: bool = False
) -> tuple[Longs, Floats]:
    """Positions and scores of the k best; over several views of the best of each, by the sum of their standard scores (`plain`: of scores)."""
    if len(vectors) == 1:
        ((view, q_D),) = vectors.items()
        found = index.search_vectors(q_D[None], k, view=view, where=where)
        real = found.positions[0] >= 0
        return found.positions[0][real], found.scores[0][real]
    lists = [
        index.search_vectors(q_D[None], max(k, DEPTH), view=view, where=where).positions[0]
        for view, q_D in vectors.items()
    ]
    candidates = np.unique(np.concatenate(lists))
    candidates = candidates[candidates >= 0]
    total = np.zeros(len(candidates), np.float32)
    for view, q_D in vectors.items():
        scores = _scores(index, view, q_D, candidates, cosine=not plain)
        mean, deviation = (0.0, 1.0) if plain else index.chance(view, q_D)
        total += _weight(index, view, vectors, scores) * (scores - mean) / deviation
    order = np.argsort(-total, kind="stable")[:k]
    return candidates[order], total[order]


def _weight(index: OpenedIndex, view: str, vectors: Mapping[str, Floats], scores: Floats) -> float:
    """The weight of a view's standard scores: the usual one, or where fusion is adopted, its share, or how far its best hit stands out."""
    if index.adopted.way != "fusion":
        return view_weights([index.views[name] for name in vectors])[view] if "text" in vectors else 1.0
    share = index.adopted.settings["share"]
    if share == "by query":
        known = index.word_background.get(view)
        return 1.0 if known is None else float(known.confidence(scores.max(keepdims=True))[0])
    return float(share) if view == next(iter(vectors)) else (1 - float(share)) / (len(vectors) - 1)


def _scores(index: OpenedIndex, view: str, q_D: Floats, positions: Longs, *, cosine: bool = True) -> Floats:
    metric = index.views[view].metric
    asked_D = asked(q_D[None], metric if cosine else "dot")[0]
    inner: Floats = prepared(index.vectors(view, positions), metric) @ asked_D
    scores: Floats = told(inner[None], q_D[None], metric)[0]
    return scores


def _with_words(index: OpenedIndex, text: str, where: str | None, positions: Longs) -> tuple[Longs, Floats]:
    """The ranking by vectors joined with the one by words."""
    weight = 1.0 if index.adopted.hybrid is None else index.adopted.hybrid
    by_words = index.by_words(text, DEPTH, where=where)
    return reciprocal_ranks([positions[:DEPTH], by_words], weights=(1.0, weight))


def _confidences(index: OpenedIndex, parts: Parts, positions: Longs) -> Floats:
    """How far each hit stands out from the background, by the part of the question for which it does most.

    What an index has learned for a text has no background: its hits match.
    """
    best = np.full(len(positions), 1.0 if parts.learned else 0.0, np.float32)
    for view, q_D in () if parts.learned else parts.words.items():
        best = np.maximum(best, index.word_background[view].confidence(_scores(index, view, q_D, positions)))
    for weight, vectors in parts.others:
        for view, q_D in vectors.items() if weight > 0 else ():
            best = np.maximum(best, index.nearness(view).confidence(_scores(index, view, q_D, positions)))
    return best
