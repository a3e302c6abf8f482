"""An opened recommender: "more like this" by title, "for you" by person or by history, with a reason for each answer.

Legend: U users, I items, N interactions, B people of a batch, K answers, D dims, C candidates, H items of a history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import ImageSource
from graft.errors import DataError, UsageError
from graft.interactions.likes import Catalogue, Interactions
from graft.recommenders.base import Histories, Recommender, Scorer, histories_from, histories_of
from graft.recommenders.top import top_k
from graft.recommending import artefact
from graft.recommending.content import WAYS
from graft.recommending.diverse import diverse
from graft.recommending.filters import Conditions
from graft.recommending.loose import Titles
from graft.recommending.models import rebuild
from graft.recommending.short import Few, leaning, short
from graft.reports.formats import plural

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

SURE = 0.6  # likeness of a loosely written title from which it is taken for the item; below it the nearest are offered
SAME = 0.95  # likeness from which a name with commas is one title and not a list of them
NEAREST = 5
SHRINK = 10.0  # people; two who like both prove little
POOL = 10  # candidates looked at for each answer where answers shall differ


@dataclass(frozen=True)
class Recommendation:
    """One answer; `title` is "" where none is known, `score` the model's own (larger is better, of no unit), `reason` one clause."""

    item: str
    title: str
    score: float
    reason: str


@dataclass(frozen=True)
class Recommendations:
    """Answers, best first. `asked` says how the question was understood: titles or ids; `notes` what should be known of the answer."""

    recommendations: tuple[Recommendation, ...]
    asked: tuple[str, ...] = ()
    model: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Way:
    """How answers are picked; `mask` (I,) tells the items allowed."""

    k: int
    mask: NDArray[np.bool_]
    exclude_seen: bool
    diversity: float
    reasons: bool


class OpenedRecommender:
    """A recommender with what is known of its items and people. Nothing changes when it is asked."""

    def __init__(self, saved: artefact.Saved) -> None:
        self.model: Recommender = rebuild(saved.model, saved.settings, saved.arrays)
        self.interactions: Interactions = saved.interactions
        self.catalogue: Catalogue = saved.catalogue
        self.about = saved.about
        self.name = saved.model
        self.placing = saved.placing
        self.few = saved.few
        self._user_codes = {user: code for code, user in enumerate(self.interactions.users)}
        self._item_codes = {item: code for code, item in enumerate(self.interactions.items)}

    def __len__(self) -> int:
        return len(self.interactions.items)

    # ---- Asking ----

    def similar(self, item: str, k: int = 10, *, where: str | None = None) -> Recommendations:
        """The `k` items most like one named by id or title, however loosely it is written.

        By the nearness of the model's item vectors; of a model that has none, by the cosine between the people who like two items. What nobody
        likes is like nothing: what most people like comes instead, and a note says so. Raises DataError for an item that is not found, naming the
        nearest titles; UsageError for `k` below 1 or a `where` that cannot be used.
        """
        (code,) = self.codes([item])
        mask = self._allowed(where)
        mask[code] = False
        vectors = self._unit_vectors
        near_I = self._liked_together(code) if vectors is None else vectors @ vectors[code]
        notes: tuple[str, ...] = ()
        if not near_I.any():
            near_I = self.model.scores(histories_from([[]], len(self)))[0]
            notes = ("nobody is known to like it; this is what most people like",)
        items_BK, scores_BK = _best(near_I, mask, k)
        answers = self._told(items_BK[0], scores_BK[0], [code])
        return Recommendations(answers, (self.title(code),), self.name, (*notes, *_short(answers, k)))

    def similar_to_new(
        self, *, text: str | None = None, image: str | Path | None = None, k: int = 10, where: str | None = None
    ) -> Recommendations:
        """The `k` known items that a new one, which is not in the catalogue, would be liked together with, by its `text` or its picture; one of the two.

        Scores are cosines of where a map learned from the known items puts it. A note says where content was measured not to help. Raises
        UsageError where the recommender was fitted without such content, or as `similar`; MissingError, DataError or ModelError for a picture or an
        encoder that cannot be used.
        """
        if (text is None) == (image is None):
            raise UsageError("Give either the text of the new item or its picture, one of the two.")
        if self.placing is None:
            raise UsageError(
                "This recommender knows items by their likes alone. Fit it with --items, a table of titles, categories, texts or pictures, to "
                "place new ones."
            )
        mask = self._allowed(where)
        way = "image" if text is None else "text"
        near_I = self.placing.likeness(way, ImageSource(Path(image).expanduser()) if image is not None else text or "")
        mask &= self.placing.vectors_ID.any(axis=1)
        items_BK, scores_BK = _best(near_I, mask, k)
        answers = tuple(
            replace(one, reason=f"liked by the people its {WAYS[way]} points to: {one.reason}")
            for one in self._told(items_BK[0], scores_BK[0], [])
        )
        known = self.placing.ways[way]
        asked = str(image) if text is None else text
        return Recommendations(
            answers, (asked,), self.placing.model, (*(() if known.helps else (known.measured,)), *_short(answers, k))
        )

    def recommend(
        self,
        users: Sequence[str] | None = None,
        histories: Sequence[Sequence[str]] | None = None,
        k: int = 10,
        *,
        where: str | None = None,
        exclude_seen: bool = True,
        diversity: float = 0.0,
        reasons: bool = True,
    ) -> list[Recommendations]:
        """`k` items for each of `users` (ids) or of `histories` (ids or titles that a person likes); one of the two is given.

        `where` is a condition on the items' columns (id, title, category, text, date), `exclude_seen` leaves out what the person has already
        liked or left, `diversity` in 0..1 is the weight of being unlike the answers above (MMR, Carbonell & Goldstein 1998). Without `reasons` these
        are "", which makes answers for many people faster. Someone unknown gets what most people like, and the answer says so.

        Raises UsageError for wrong arguments, DataError for histories of which no item is known, naming the nearest titles.
        """
        if (users is None) == (histories is None):
            raise UsageError("Name either users or histories, one of the two.")
        if not 0 <= diversity <= 1:
            raise UsageError(f"diversity={diversity}: it lies between 0 (best first) and 1 (as unlike as can be).")
        if k < 1:
            raise UsageError(f"k={k}: at least 1 item must be asked for.")
        mask = self._allowed(where)
        asked, notes = self._people(users) if users is not None else self._strangers(histories or ())
        seen = self._seen(users) if exclude_seen and users is not None else None
        way = _Way(k, mask, exclude_seen, diversity, reasons)
        return self._answers(asked, notes, seen, way)

    def title(self, code: int) -> str:
        """The title of an item, or its id where it has none."""
        return self.catalogue.titles[code] or self.interactions.items[code]

    def knows(self, name: str) -> bool:
        """Whether this is an item's id or its title, but for spelling."""
        found = self._titles.find(name, 1)
        return name in self._item_codes or (bool(found) and found[0].score >= SAME)

    def codes(self, names: Sequence[str]) -> list[int]:
        """Codes of items by id or by title, however loosely written. Raises DataError naming all that are not found, with the nearest titles."""
        found, problems = [], []
        for name in names:
            code, nearest = self._code(name)
            if code is None:
                near = "; ".join(f'"{self.title(c)}"' for c in nearest)
                problems.append(
                    f'"{name}" is not among the {len(self):,} items.' + (f" Nearest: {near}." if near else "")
                )
            else:
                found.append(code)
        if problems:
            raise DataError(" ".join(problems))
        return found

    def suggestions(self, words: str, k: int = 8) -> list[tuple[str, str]]:
        """(id, title) of the items whose titles are nearest to what was typed so far."""
        found = self._titles.find(words, k)
        return [(self.interactions.items[f.place], self.title(f.place)) for f in found]

    # ---- People ----

    def _people(self, users: Sequence[str]) -> tuple[Histories, list[tuple[str, ...]]]:
        known = [self._user_codes.get(user) for user in users]
        codes = np.array([-1 if code is None else code for code in known], np.int32)
        present = self._everyone.of(codes)
        unknown = 'nobody called "{}" is known; this is what most people like'
        notes: list[tuple[str, ...]] = [
            () if code is not None else (unknown.format(user),) for user, code in zip(users, known, strict=True)
        ]
        return present, notes

    def _strangers(self, histories: Sequence[Sequence[str]]) -> tuple[Histories, list[tuple[str, ...]]]:
        rows, notes = [], []
        for history in histories:
            found = [(name, *self._code(name)) for name in history]
            known = [code for _, code, _ in found if code is not None]
            missing = [name for name, code, _ in found if code is None]
            if missing and not known:
                self.codes(missing)  # raises, naming the nearest
            rows.append(known)
            notes.append(tuple(f'"{name}" is not known and was left out' for name in missing))
        return histories_from(rows, len(self)), notes

    def _seen(self, users: Sequence[str]) -> list[NDArray[np.int32]]:
        """What each person has liked or left."""
        items_N, bounds = self.interactions.item_N, self._starts
        codes = [self._user_codes.get(user) for user in users]
        return [items_N[:0] if c is None else items_N[bounds[c] : bounds[c + 1]] for c in codes]

    # ---- Answers ----

    def _answers(
        self, people: Histories, notes: list[tuple[str, ...]], seen: list[NDArray[np.int32]] | None, way: _Way
    ) -> list[Recommendations]:
        left = 0 if seen is None else max((len(s) for s in seen), default=0)
        most = min((POOL * way.k if way.diversity else way.k) + left, len(self))
        items_BC, scores_BC = top_k(self._served, people, most, exclude_seen=way.exclude_seen, allowed_I=way.mask)
        little = np.zeros(len(notes), bool) if self.few is None else short(people, self.few)
        out = []
        for row, note in enumerate(notes):
            kept = items_BC[row] >= 0
            if seen is not None:
                kept &= ~np.isin(items_BC[row], seen[row])
            items, scores = items_BC[row][kept], scores_BC[row][kept]
            if way.diversity and len(items) > way.k:
                chosen = diverse(items, scores, self._likeness, way.k, way.diversity)
                items, scores = items[chosen], scores[chosen]
            history = people.matrix.indices[people.matrix.indptr[row] : people.matrix.indptr[row + 1]].tolist()
            asked = tuple(self.title(code) for code in history)
            if little[row]:
                note, history = (*note, *_little(len(history), self.few)), []
            answers = self._told(items[: way.k], scores[: way.k], history if way.reasons else None)
            out.append(Recommendations(answers, asked, self.name, (*note, *_short(answers, way.k))))
        return out

    def _told(
        self, items: NDArray[np.int32], scores: NDArray[np.float32], history: Sequence[int] | None
    ) -> tuple[Recommendation, ...]:
        """The answers, each with its reason for someone who likes `history`; None asks for no reasons."""
        ids, kept = self.interactions.items, items >= 0
        codes = items[kept].tolist()
        reasons = [""] * len(codes) if history is None else self.reasons(codes, history)
        return tuple(
            Recommendation(ids[code], self.catalogue.titles[code], score, reason)
            for code, score, reason in zip(codes, scores[kept].tolist(), reasons, strict=True)
        )

    def reasons(self, codes: Sequence[int], history: Sequence[int]) -> list[str]:
        """Why items are shown to someone who likes `history`: the liked item with the largest cosine between the people who like the two, else
        how many people like it."""
        if not len(codes):
            return []
        fans_C = self._fans[codes]
        alone = [f"liked by {_people(n)}" if n else "new: nobody has liked it yet" for n in fans_C.tolist()]
        if not len(history):
            return alone
        both_CH = np.asarray((self._who[:, codes].T @ self._who[:, history]).todense())
        cosine_CH = both_CH / np.sqrt(np.maximum(fans_C[:, None] * self._fans[history], 1))
        best_C = cosine_CH.argmax(axis=1)
        shared_C = both_CH[np.arange(len(codes)), best_C].astype(int)
        names = [f' with "{self.title(code)}"' if len(history) > 1 else "" for code in history]
        return [
            f"liked together{names[best]} by {_people(shared)}" if shared else otherwise
            for best, shared, otherwise in zip(best_C.tolist(), shared_C.tolist(), alone, strict=True)
        ]

    # ---- What is kept ----

    def _code(self, name: str) -> tuple[int | None, list[int]]:
        """The code of an item by id or title, and otherwise the nearest ones."""
        if name in self._item_codes:
            return self._item_codes[name], []
        if named := self._titles.exact.get(name.strip()):
            return named[0], []
        found = self._titles.find(name, NEAREST)
        if found and found[0].score >= SURE:
            return found[0].place, []
        return None, [f.place for f in found]

    def _allowed(self, where: str | None) -> NDArray[np.bool_]:
        return np.ones(len(self), bool) if where is None else self._conditions.allowed(where)

    @cached_property
    def _served(self) -> Scorer:
        """What answers: the model, and popularity for people of few likes."""
        return leaning(self.model, self.few, self.interactions)

    @cached_property
    def _conditions(self) -> Conditions:
        return Conditions(self.interactions.items, self.catalogue)

    @cached_property
    def _titles(self) -> Titles:
        return Titles([self.title(code) for code in range(len(self))])

    @cached_property
    def _who(self) -> csc_matrix:
        """Who likes what (U, I): 1, whatever the strength."""
        matrix = self.interactions.matrix().tocsc()
        matrix.data[:] = 1
        return matrix

    @cached_property
    def _fans(self) -> NDArray[np.int64]:
        """How many people like each item."""
        fans: NDArray[np.int64] = np.diff(self._who.indptr).astype(np.int64)
        return fans

    @cached_property
    def _everyone(self) -> Histories:
        return histories_of(self.interactions)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where each person's rows begin among the interactions."""
        return np.searchsorted(self.interactions.user_N, np.arange(len(self.interactions.users) + 1))

    def _liked_together(self, code: int) -> NDArray[np.float32]:
        """Cosine (I,) between who likes an item and who likes each other one, drawn towards 0 where few do."""
        both_I = np.asarray((self._who.T @ self._who[:, [code]]).todense(), np.float32).ravel()
        return np.asarray(both_I / (np.sqrt(self._fans * float(self._fans[code])) + SHRINK), np.float32)

    @cached_property
    def _unit_vectors(self) -> NDArray[np.float32] | None:
        vectors = self.model.item_vectors()
        if vectors is None:
            return None
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def _likeness(self, codes_C: NDArray[np.int32]) -> NDArray[np.float32]:
        """Cosine (C, C) of items: of the model's vectors, else of who likes them."""
        if self._unit_vectors is not None:
            some = self._unit_vectors[codes_C]
            return np.asarray(some @ some.T, np.float32)
        some = self._who[:, codes_C]
        both = np.asarray((some.T @ some).todense(), np.float32)
        own = np.sqrt(np.maximum(both.diagonal(), 1))
        return np.asarray(both / own[:, None] / own[None], np.float32)


def open_recommender(path: str | Path) -> OpenedRecommender:
    """The recommender saved at `path`. Raises as `artefact.read` does."""
    return OpenedRecommender(artefact.read(path))


def _people(n: int) -> str:
    return f"{n:,} people" if n != 1 else "1 person"


def _best(scores_I: NDArray[np.float32], mask: NDArray[np.bool_], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if k < 1:
        raise UsageError(f"k={k}: at least 1 item must be asked for.")
    scores_I = np.where(mask, scores_I, -np.inf)
    order = np.argsort(-scores_I, kind="stable")[:k]
    order = order[np.isfinite(scores_I[order])]
    return order[None].astype(np.int32), scores_I[order][None].astype(np.float32)


def _little(likes: int, few: Few | None) -> tuple[str, ...]:
    """Why someone with so few likes gets popularity, as a note; nothing is said of someone without any."""
    if few is None or not likes:
        return ()
    lately = "" if few.days is None else " lately"
    return (
        f"{plural(likes, 'like')} {'is' if likes == 1 else 'are'} too few to tell a taste by; this is what most people like{lately}",
    )


def _short(answers: Sequence[Recommendation], k: int) -> tuple[str, ...]:
    if len(answers) == k:
        return ()
    return (f"only {len(answers)} of the {k} asked for: no more items are allowed or left",)
