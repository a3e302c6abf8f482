"""One labelling: what is asked next, what was answered, and who may answer what. Every method belongs to the event loop."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from graft.annotation.journal import Journal
from graft.annotation.pool import Answers, Batch, Pool, all_classes, no_label
from graft.data.dataset import clean_label
from graft.errors import unknown
from graft.labelling.outcome import Query
from graft.server.failures import Refusal, absent, bad

Rank = Callable[[Answers, tuple[str, ...]], Batch]
AHEAD = 4  # items that a page is told of, so that their pictures are there when they are asked for
LONGEST_TEXT = 20_000  # characters; the end of a longer text is not shown


class Session:
    """Asks for the items of a batch in its order; an item is answered once, by whichever window is first.

    `named` are labels known before anything is labelled, `rank` makes the next batch. Counts are kept up with every answer, so that one among
    millions of items costs no more than one among a hundred.
    """

    def __init__(self, pool: Pool, journal: Journal, named: tuple[str, ...], rank: Rank, batch: Batch) -> None:
        self.pool, self.journal, self._rank, self._batch = pool, journal, rank, batch
        self._known = all_classes(named, pool.given)
        standing = {*journal.answers.values()}
        known = {*self._known}
        self._made = [label for label in journal.labels if label in standing and label not in known]
        self._place: dict[str, int] = {}
        self._copies: dict[str, list[int]] = {}  # further rows of a content
        for row, key in enumerate(pool.keys):
            if self._place.setdefault(key, row) != row:
                self._copies.setdefault(key, []).append(row)
        self._counts = pool.count(journal.answers)
        self._labelled = Counter(pool.labels(journal.answers))
        self._queue = {item.key: item for item in batch.items}
        self._open = {key: item for key, item in self._queue.items() if key not in journal.answers}

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels: those named or given, then those made here, in the order of their first use. Keys are dealt in this order, also tomorrow."""
        return (*self._known, *self._made)

    def row(self, key: str) -> int:
        """Where the item lies in the pool. Raises Refusal (404) for one that is gone."""
        if key not in self._place:
            raise absent("This item is not in the data any more. Reload the page.")
        return self._place[key]

    def state(self) -> dict[str, Any]:
        """What a page shows: labels with their counts, progress, and the next items."""
        last = self.journal.last
        return {
            "name": self.pool.name,
            "modality": self.pool.modality,
            "how": self._batch.how,
            "why": self._batch.why,
            "classes": [{"name": name, "count": self._labelled[name]} for name in self.classes],
            "counts": asdict(self._counts),
            "asked": len(self._queue),
            "done": len(self._queue) - len(self._open),
            "next": [self._shown(item) for item in itertools.islice(self._open.values(), AHEAD)],
            "last": {"key": last, "label": self.journal.answers[last]} if last in self._place else None,
        }

    def batch(self) -> Batch:
        """What is still open of the batch."""
        return replace(self._batch, items=tuple(self._open.values()))

    def answer(self, key: str, label: str | None, *, new: bool) -> None:
        """Keep a label, or None to set the item aside. The same answer twice is one; another one to an answered item is refused (409).

        Raises Refusal: 404 for an item that is gone, 400 for a label that is not known, unless it is `new`.
        """
        row = self.row(key)
        if label is not None:
            label = clean_label(label)
            if not new and label not in self.classes:
                raise bad(unknown("label", label, self.classes))
            if label not in self.classes and (problem := no_label(label)):
                raise bad(problem)
        answers = self.journal.answers
        if key in answers:
            if answers[key] == label:
                return
            standing = "set aside" if answers[key] is None else f"labelled {answers[key]!r}"
            raise Refusal(409, "Conflict", f"This item was {standing} meanwhile, in another window. Undo that first.")
        with self._counted(key):
            self.journal.answer(key, self.pool.ids[row], label)
        self._open.pop(key, None)
        if label is not None and label not in self.classes:
            self._made.append(label)

    def undo(self, key: str | None) -> None:
        """Take back the answer to an item, or the last one there is; it is asked for again, first. Raises Refusal (404) without one.

        A label made last, which nothing has any more, goes with it: it was a slip of the pen.
        """
        key = key or self.journal.last
        if key is None or key not in self.journal.answers:
            raise absent("There is no answer to take back.")
        row = self.row(key)
        with self._counted(key):
            self.journal.undo(key)
        while self._made and self._made[-1] not in self.journal.answers.values():
            self._made.pop()
        if key in self.journal.answers:  # lines of other days may answer an item twice
            return
        content = self.pool.contents[row]
        text = content if isinstance(content, str) else ""
        known = self._queue.get(key, Query(self.pool.ids[row], key, text, "asked again", 0.0))
        self._queue[key] = known
        self._open = {key: known, **self._open}

    @contextlib.contextmanager
    def _counted(self, key: str) -> Iterator[None]:
        """Counts follow what the block changes of this content's answer."""
        rows = [self._place[key], *self._copies.get(key, ())]
        before = self._tally(key, rows)
        yield
        after = self._tally(key, rows)
        for label, count in before[1].items():
            self._labelled[label] -= count
        self._labelled += after[1]
        moved = {name: getattr(self._counts, name) + after[0][name] - before[0][name] for name in after[0]}
        self._counts = replace(self._counts, **moved)

    def _tally(self, key: str, rows: list[int]) -> tuple[dict[str, int], Counter[str | None]]:
        answers, n = self.journal.answers, len(rows)
        labels = Counter(answers.get(key) or self.pool.given[row] for row in rows)
        answered = n * (answers.get(key) is not None)
        counts = {
            "answered": answered,
            "skipped": n * (key in answers) - answered,
            "unlabelled": labels[None],
            "given": n - labels[None] - answered,
        }
        return counts, labels

    def next_batch(self) -> Callable[[], Batch]:
        """Work that makes the next batch, for a thread: it takes what is answered now."""
        answers, classes = dict(self.journal.answers), self.classes
        return lambda: self._rank(answers, classes)

    def begin(self, batch: Batch) -> None:
        """Ask for these items, and before them for what is open of the batch before."""
        fresh = {item.key: item for item in batch.items if item.key not in self.journal.answers}
        self._queue = {**self._open, **fresh}
        self._open = dict(self._queue)
        self._batch = batch

    def _shown(self, item: Query) -> dict[str, Any]:
        cut = len(item.text) > LONGEST_TEXT
        return {
            "key": item.key,
            "id": item.id,
            "text": item.text[:LONGEST_TEXT] + ("…" if cut else ""),
            "reason": item.reason,
        }
