"""What surrounds a labelling: flags checked, the folder of answers, a batch ranked and shown."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.annotation.journal import NAME, Journal
from graft.annotation.pool import Answers, Batch, Pool, all_classes, next_batch
from graft.annotation.tables import LABELS, NEXT, PICTURES, WEAK, edited, save_labels, write_next
from graft.errors import UsageError
from graft.fitting.session import folders_named
from graft.labelling.outcome import LabelResult
from graft.reports.formats import plural
from graft.store.files import alone, check_writable

MOST = 10_000  # items of a batch


def check_flags(*, top: int, seed: int, port: int, serve: bool, rules: Any) -> None:
    """Raise UsageError for all flags outside their ranges or at odds, MissingError where the page's packages are not here."""
    problems = []
    if not 1 <= top <= MOST:
        problems.append(f"--top {top}: a batch has 1 to {MOST:,} items.")
    if not 0 <= seed < 2**32:
        problems.append(f"--seed {seed}: it lies between 0 and {2**32 - 1}.")
    if not 0 <= port <= 65535:
        problems.append(f"--port {port}: a port is a number from 0 to 65535.")
    if serve and rules is not None:
        problems.append("--rules and --serve do not go together: rules label by themselves.")
    if problems:
        raise UsageError(" ".join(problems))
    if serve:
        from graft.server.run import check_installed, free_address

        check_installed()
        free_address("127.0.0.1", port)


def answer_folder(out: Path | None, pool: Pool) -> Path:
    """`out` or graft-out/NAME-labels, which may hold answers and what was written beside them but nothing of another kind: without answers a
    `labels.csv` is somebody's own, perhaps the very data.

    Raises UsageError where it does, StorageError where it cannot be written.
    """
    folder = (out or next(folders_named(f"{pool.name}-labels"))).expanduser()
    check_writable(folder / NAME)
    beside = {NEXT, LABELS, WEAK, PICTURES, *(path.name for path in edited(folder))}
    ours = {NAME, *(beside if (folder / NAME).is_file() else ())}
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file: name a folder.")
    others = (
        sorted(p.name for p in folder.iterdir() if p.name not in ours and p.name[:1] != ".") if folder.exists() else []
    )
    if others:
        raise UsageError(f"--out {folder} holds other things ({', '.join(others[:3])}): name a folder of its own.")
    return folder


def check_answers(folder: Path, pool: Pool, answers: Answers) -> None:
    """Raise UsageError where the folder's answers are all for items of other data: they would be of no use here, nor would these be there."""
    if answers and pool.count(answers).gone == len(answers):
        raise UsageError(
            f"{folder} holds {plural(len(answers), 'answer')}, and none is for an item of {pool.source}: name another folder with --out."
        )


@contextlib.contextmanager
def open_answers(folder: Path) -> Iterator[Journal]:
    """The answers of a folder, held by this process alone. Raises StorageError where another process holds it."""
    with alone(folder):
        journal = Journal(folder)
        try:
            yield journal
        finally:
            journal.close()


def run_queries(
    pool: Pool,
    journal: Journal,
    named: tuple[str, ...],
    folder: Path,
    *,
    how: str,
    top: int,
    seed: int,
    port: int | None,
    told: tuple[str, float],
) -> LabelResult:
    """Rank, write what to ask and what is labelled; with a `port` serve the page first. `told`: the command, and when it began."""
    classes = all_classes(named, pool.labels(journal.answers))

    def rank(answers: Answers, known: tuple[str, ...]) -> Batch:
        return next_batch(pool, answers, known, how, top, seed)

    began = time.perf_counter()
    batch = rank(journal.answers, classes)
    seconds = time.perf_counter() - began
    files = [write_next(folder, batch.items), save_labels(folder, pool, journal)]
    if port is not None:
        from graft.annotation.run import serve_page
        from graft.annotation.session import Session

        session = Session(pool, journal, named, rank, batch)
        try:
            serve_page(session, folder, port)
        finally:
            batch = session.batch()
            save_labels(folder, pool, journal)
            write_next(folder, batch.items)
    return LabelResult(
        name=pool.name,
        modality=pool.modality,
        how=batch.how,
        why=batch.why,
        classes=all_classes(named, pool.labels(journal.answers)),
        counts=pool.count(journal.answers),
        items=batch.items,
        columns=dict(pool.columns),
        out=str(folder),
        files=tuple(map(str, files)),
        command=told[0],
        faults=pool.faults,
        seconds=seconds,
        edited=tuple(map(str, edited(folder))),
    )
