"""Answers on disk: one line each, appended and synced before anybody is told that they are saved.

A line is {"item": hash, "id": .., "label": .. or null for an item set aside, "at": ..} or {"undo": hash, "at": ..}; {"table": hash, "at": ..}
says what `labels.csv` was about to be, so that one changed by hand is told from ours. Killed at any moment, all lines but a torn last one are
there; that one was never confirmed, and is cut off when the file is next opened.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from graft.errors import DataError
from graft.results import Fault
from graft.store.files import storage_errors

NAME = "answers.jsonl"


class Journal:
    """The answers of one folder. One process holds it at a time (`graft.store.files.alone`); methods are called by one thread.

    Raises DataError, with every line, where lines were changed by hand and cannot be read, StorageError where the disk fails.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._stacks: dict[str, list[str | None]] = {}  # hash -> answers not taken back, the latest last
        self._order: list[str] = []  # hashes in the order of their answers
        self._standing: dict[str, str | None] = {}
        self._labels: dict[str, None] = {}  # in the order of their first use
        self._tables: set[str] = set()
        with storage_errors(self.path):
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._read()
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        """No more answers."""
        os.close(self._file)

    @property
    def answers(self) -> Mapping[str, str | None]:
        """The answer that stands, by hash; None for an item set aside. It changes with every answer: copy it for another thread."""
        return MappingProxyType(self._standing)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that was ever answered, also those taken back, in the order of their first use."""
        return tuple(self._labels)

    @property
    def tables(self) -> frozenset[str]:
        """Hashes of all that `labels.csv` was about to be."""
        return frozenset(self._tables)

    @property
    def last(self) -> str | None:
        """The item answered last."""
        return self._order[-1] if self._order else None

    def answer(self, key: str, id: str, label: str | None) -> None:
        """Keep an answer. Returns when the disk has it; raises StorageError where it cannot, and then nothing is kept."""
        self._append({"item": key, "id": id, "label": label, "at": _now()})
        self._put(key, label)

    def undo(self, key: str) -> None:
        """Take back the last answer to this item, which must have one."""
        self._append({"undo": key, "at": _now()})
        self._take(key)

    def table(self, digest: str) -> None:
        """Keep what `labels.csv` is about to be, before it is."""
        if digest not in self._tables:
            self._append({"table": digest, "at": _now()})
            self._tables.add(digest)

    def _put(self, key: str, label: str | None) -> None:
        self._stacks.setdefault(key, []).append(label)
        self._order.append(key)
        self._standing[key] = label
        if label is not None:
            self._labels.setdefault(label)

    def _take(self, key: str) -> None:
        stack = self._stacks[key]
        stack.pop()
        if stack:
            self._standing[key] = stack[-1]
        else:
            del self._standing[key]
        del self._order[len(self._order) - 1 - self._order[::-1].index(key)]

    def _append(self, tree: dict[str, Any]) -> None:
        line = json.dumps(tree, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with storage_errors(self.path):
            end = os.fstat(self._file).st_size
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError(28, os.strerror(28))
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, end)
                raise

    def _read(self) -> None:
        with storage_errors(self.path):
            raw = self.path.read_bytes()
            whole = raw.rfind(b"\n") + 1
            if whole < len(raw):
                os.ftruncate(self._file, whole)
        faults = []
        for number, line in enumerate(raw[:whole].split(b"\n")[:-1], start=1):
            try:
                tree = json.loads(line)
                if "undo" in tree:
                    self._take(tree["undo"])
                elif "table" in tree:
                    self._tables.add(str(tree["table"]))
                elif isinstance(tree["item"], str) and (tree["label"] is None or isinstance(tree["label"], str)):
                    self._put(tree["item"], tree["label"])
                else:
                    raise ValueError
            except (ValueError, KeyError, TypeError, IndexError, RecursionError):
                faults.append(Fault(f"line {number}", "no answer of ours", line[:60].decode(errors="replace")))
        if faults:
            raise DataError(
                f"{self.path} was changed: mend these lines or take them out, or name another folder with --out.",
                faults=faults,
            )


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
