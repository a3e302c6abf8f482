"""The tables that labelling writes: what to ask next, the labels so far, and weak labels."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from graft.annotation.pool import Answers, Pool
from graft.data.dataset import Content
from graft.data.images import SUFFIXES, suffix
from graft.labelling.outcome import Query
from graft.store.files import write_bytes, write_with

NEXT, LABELS, WEAK = "next.csv", "labels.csv", "weak.csv"
PICTURES = "pictures"  # copies of pictures that lie in archives, which a table cannot name


def write_next(folder: Path, items: Sequence[Query]) -> Path:
    """Ranked items with their reasons. Raises StorageError."""
    rows = ((i, q.id, q.reason, f"{q.score:.4g}", q.text) for i, q in enumerate(items, start=1))
    return _write(folder / NEXT, ("rank", "item", "reason", "score", "text"), rows)


def write_labels(folder: Path, pool: Pool, answers: Answers) -> Path:
    """Every labelled item as a table that `graft fit` takes: text or image, label, item, by ("given" in the data, or "you").

    Pictures are named by their absolute paths; those in archives are copied into `pictures/`. Raises StorageError.
    """
    labels = pool.labels(answers)
    kind = "text" if pool.modality == "text" else "image"
    rows = (
        (_cell(folder, pool, row), label, pool.ids[row], "you" if answers.get(pool.keys[row]) else "given")
        for row, label in enumerate(labels)
        if label is not None
    )
    return _write(folder / LABELS, (kind, "label", "item", "by"), rows)


def write_weak(folder: Path, pool: Pool, rows: Iterable[tuple[int, str, float, str]]) -> Path:
    """Weak labels as a table that `graft fit` takes: text or image, label, probability, source, item. Raises StorageError."""
    kind = "text" if pool.modality == "text" else "image"
    cells = (
        (_cell(folder, pool, row), label, f"{probability:.4f}", source, pool.ids[row])
        for row, label, probability, source in rows
    )
    return _write(folder / WEAK, (kind, "label", "probability", "source", "item"), cells)


def _cell(folder: Path, pool: Pool, row: int) -> str:
    content: Content = pool.contents[row]
    if isinstance(content, str):
        return content
    if content.member is None:
        return str(content.path.expanduser().absolute())
    ending = suffix(content.member)
    copy = Path(PICTURES) / f"{pool.keys[row]}{ending if ending in SUFFIXES else '.png'}"
    if not (folder / copy).exists():
        write_bytes(folder / copy, content.read_bytes())
    return copy.as_posix()


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(header)
            table.writerows(rows)

    write_with(path, write)
    return path
