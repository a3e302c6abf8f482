"""One labelling: what is asked next, what was answered, and who may answer what. Every method belongs to the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from graft.annotation.journal import Journal
from graft.annotation.pool import Answers, Batch, Pool, all_classes
from graft.data.dataset import clean_label
from graft.errors import unknown
from graft.labelling.outcome import Query
from graft.server.failures import Refusal, absent, bad

Rank = Callable[[Answers, tuple[str, ...]], Batch]
AHEAD = 4  # items that a page is told of, so that their pictures are there when they are asked for
LONGEST_LABEL, LONGEST_TEXT = 200, 20_000  # characters; the end of a longer text is not shown


class Session:
    """Asks for the items of a batch in its order; an item is answered once, by whichever window is first.

    `named` are labels known before anything is labelled, `rank` makes the next batch.
    """

    def __init__(self, pool: Pool, journal: Journal, named: tuple[str, ...], rank: Rank, batch: Batch) -> None:
        self.pool, self.journal, self._rank, self._batch = pool, journal, rank, batch
        self._named = all_classes(named, pool.given)
        self._place = {key: row for row, key in reversed([*enumerate(pool.keys)])}
        self._queue = list(batch.items)

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels: those named, given and answered, in the order in which keys are dealt to them, which never changes."""
        self._named = all_classes(self._named, [*self.journal.answers.values()])
        return self._named

    def row(self, key: str) -> int:
        """Where the item lies in the pool. Raises Refusal (404) for one that is gone."""
        if key not in self._place:
            raise absent("This item is not in the data any more. Reload the page.")
        return self._place[key]

    def state(self) -> dict[str, Any]:
        """What a page shows: labels with their counts, progress, and the next items."""
        answers = self.journal.answers
        labels = self.pool.labels(answers)
        open_items = [item for item in self._queue if item.key not in answers]
        counted = dict.fromkeys(self.classes, 0)
        for label in labels:
            if label is not None:
                counted[label] += 1
        last = self.journal.last
        return {
            "name": self.pool.name,
            "modality": self.pool.modality,
            "how": self._batch.how,
            "why": self._batch.why,
            "classes": [{"name": name, "count": count} for name, count in counted.items()],
            "counts": asdict(self.pool.count(answers)),
            "asked": len(self._queue),
            "done": len(self._queue) - len(open_items),
            "next": [self._shown(item) for item in open_items[:AHEAD]],
            "last": {"key": last, "label": answers[last]} if last in self._place else None,
        }

    def answer(self, key: str, label: str | None, *, new: bool) -> None:
        """Keep a label, or None to set the item aside. The same answer twice is one; another one to an answered item is refused (409).

        Raises Refusal: 404 for an item that is gone, 400 for a label that is not known, unless it is `new`.
        """
        row = self.row(key)
        if label is not None:
            label = clean_label(label)
            if not label or len(label) > LONGEST_LABEL:
                raise bad(f"A label has 1 to {LONGEST_LABEL} characters.")
            if not new and label not in self.classes:
                raise bad(unknown("label", label, self.classes))
        answers = self.journal.answers
        if key in answers:
            if answers[key] == label:
                return
            standing = "set aside" if answers[key] is None else f"labelled {answers[key]!r}"
            raise Refusal(409, "Conflict", f"This item was {standing} meanwhile, in another window. Undo that first.")
        self.journal.answer(key, self.pool.ids[row], label)

    def undo(self, key: str | None) -> None:
        """Take back the answer to an item, or the last one there is; it is asked for again, first. Raises Refusal (404) without one."""
        key = key or self.journal.last
        if key is None or key not in self.journal.answers:
            raise absent("There is no answer to take back.")
        row = self.row(key)
        self.journal.undo(key)
        known = next((item for item in self._queue if item.key == key), None)
        if known is None:
            content = self.pool.contents[row]
            known = Query(self.pool.ids[row], key, content if isinstance(content, str) else "", "asked again", 0.0)
        self._queue = [known, *(item for item in self._queue if item.key != key)]

    def next_batch(self) -> Callable[[], Batch]:
        """Work that makes the next batch, for a thread: it takes what is answered now."""
        answers, classes = self.journal.answers, self.classes
        return lambda: self._rank(answers, classes)

    def begin(self, batch: Batch) -> None:
        """Ask for these items, and before them for what is open of the batch before."""
        answers = self.journal.answers
        waiting = [item for item in self._queue if item.key not in answers]
        known = {item.key for item in waiting}
        fresh = [item for item in batch.items if item.key not in known and item.key not in answers]
        self._batch, self._queue = replace(batch, items=(*waiting, *fresh)), [*waiting, *fresh]

    def _shown(self, item: Query) -> dict[str, Any]:
        cut = len(item.text) > LONGEST_TEXT
        return {
            "key": item.key,
            "id": item.id,
            "text": item.text[:LONGEST_TEXT] + ("…" if cut else ""),
            "reason": item.reason,
        }
