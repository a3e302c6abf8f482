"""The tables that labelling writes: what to ask next, the labels so far, and weak labels."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from graft.annotation.journal import Journal
from graft.annotation.pool import Pool
from graft.data.dataset import Content
from graft.data.images import SUFFIXES, suffix
from graft.data.tables import csv_line
from graft.labelling.outcome import Query
from graft.store.files import storage_errors, write_bytes

NEXT, LABELS, WEAK = "next.csv", "labels.csv", "weak.csv"
EDITED = "labels-edited"
PICTURES = "pictures"  # copies of pictures that lie in archives, which a table cannot name


def write_next(folder: Path, items: Sequence[Query]) -> Path:
    """Ranked items with their reasons. Raises StorageError."""
    rows = ((i, q.id, q.reason, f"{q.score:.4g}", q.text) for i, q in enumerate(items, start=1))
    path = folder / NEXT
    write_bytes(path, _table(("rank", "item", "reason", "score", "text"), rows))
    return path


def save_labels(folder: Path, pool: Pool, journal: Journal) -> Path:
    """Every labelled item as a table that `graft fit` takes: text or image, label, item, by ("given" in the data, or "you").

    Pictures are named by their absolute paths; those in archives are copied into `pictures/`. A table that was changed since it was written
    is not overwritten, but kept as `labels-edited.csv`. Raises StorageError.
    """
    answers = journal.answers
    kind = "text" if pool.modality == "text" else "image"
    rows = (
        (_cell(folder, pool, row), label, pool.ids[row], "you" if answers.get(pool.keys[row]) else "given")
        for row, label in enumerate(pool.labels(answers))
        if label is not None
    )
    content = _table((kind, "label", "item", "by"), rows)
    path = folder / LABELS
    if path.is_file() and journal.tables and _digest(path.read_bytes()) not in journal.tables:
        places = (folder / f"{EDITED}{f'-{n}' if n > 1 else ''}.csv" for n in itertools.count(1))
        with storage_errors(path):
            path.replace(next(place for place in places if not place.exists()))
    journal.table(_digest(content))
    write_bytes(path, content)
    return path


def edited(folder: Path) -> tuple[Path, ...]:
    """Tables of labels that somebody changed, kept when they would have been overwritten."""
    return tuple(sorted(folder.glob(f"{EDITED}*.csv")))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write_weak(folder: Path, pool: Pool, rows: Iterable[tuple[int, str, float, str]]) -> Path:
    """Weak labels as a table that `graft fit` takes: text or image, label, probability, source, item. Raises StorageError."""
    kind = "text" if pool.modality == "text" else "image"
    cells = (
        (_cell(folder, pool, row), label, f"{probability:.4f}", source, pool.ids[row])
        for row, label, probability, source in rows
    )
    path = folder / WEAK
    write_bytes(path, _table((kind, "label", "probability", "source", "item"), cells))
    return path


def _cell(folder: Path, pool: Pool, row: int) -> str:
    content: Content = pool.contents[row]
    if isinstance(content, str):
        return content
    if content.member is None:
        return str(content.path.expanduser().absolute())
    ending = suffix(content.member)
    copy = folder.absolute() / PICTURES / f"{pool.keys[row]}{ending if ending in SUFFIXES else '.png'}"
    if not copy.exists():
        write_bytes(copy, content.read_bytes())
    return str(copy)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV; half a character in a name becomes a question mark."""
    return "\n".join([csv_line(header), *map(csv_line, rows), ""]).encode("utf-8", "replace")
