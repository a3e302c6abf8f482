"""The vector cache: what an encoder made of a content once is never computed again.

One SQLite file in write-ahead mode, shared by any number of processes. A key is `fingerprint:format:content hash`, a value a float32
vector that comes back bit for bit. It is bounded in bytes; the least recently used vectors go first. Every row carries a checksum over key
and vector, and a row that fails it is dropped.

The cache is an aid, never a condition: a corrupt file is moved aside and a fresh one begun, and where the folder is read-only or the disk
full, the cache turns itself off, says why in `note` and in a warning of the logger `graft`, and answers as if it were empty.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.store.files import locked

Vector = NDArray[np.float32]
_Row = tuple[str, bytes, int]  # content hash, vector, checksum
T = TypeVar("T")

_FILE = "vectors-1.sqlite"  # the number is the schema's: another schema starts another file
_ROW_OVERHEAD = 200  # bytes a row costs on disk beside its vector: key, index, times, page headers
_TOUCH_AFTER = 3600.0  # seconds: a use is noted once an hour, so that reading costs no writing
_PENDING_TOUCHES = 4096
_KEEP_AFTER_EVICTION = 0.9  # of the limit, so that eviction, which sorts all rows, is rare
_BUSY_SECONDS = 10.0  # how long to wait for another process's transaction
_KEYS_A_QUERY = 500

# `entries` is apart from `vectors` because noting a use rewrites the row, and a vector is a hundred times its entry.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spaces (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, reference TEXT NOT NULL DEFAULT '',
    entries INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, space INTEGER NOT NULL, hash TEXT NOT NULL, bytes INTEGER NOT NULL, checksum INTEGER NOT NULL,
    used REAL NOT NULL, UNIQUE (space, hash));
CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
"""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Flipped bits also make tables (SQLITE_ERROR) or values (no code, or a TypeError) that are not as we wrote them. Where a fresh file gives
# such an error too, the defect is ours and is raised.
_DOUBTFUL = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, 0)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_log = logging.getLogger("graft")


@dataclass(frozen=True)
class SpaceUse:
    """What the cache holds of one encoder in one number format; `reference` is the name it was last used by."""

    fingerprint: str
    format: str
    reference: str
    entries: int
    bytes: int


@dataclass(frozen=True)
class CacheStats:
    """Size of the cache: rows, bytes on disk (about), the limit in bytes, and the shares of the encoders, largest first."""

    path: str
    entries: int
    bytes: int
    limit: int
    spaces: tuple[SpaceUse, ...]
    note: str = ""


class VectorCache:
    """Vectors by key, on disk. Make one with `VectorCache.open`; it is a context manager, and safe to use from several threads."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.note = ""  # why the cache is off or began afresh; empty while all is well
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._lock = threading.RLock()
        self._spaces: dict[str, int] = {}
        self._touched: list[int] = []
        try:
            self._connect()
        except (OSError, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.DatabaseError) and _code(error) in (*_DAMAGED, *_DOUBTFUL):
                self._start_afresh(error)
            else:
                self._turn_off(error)

    @classmethod
    def open(cls, path: Path | None = None, *, limit: int | None = None) -> VectorCache:
        """Open or begin the cache at `path` (a file; default: in `settings.cache_dir()`) of at most `limit` bytes (default: `settings.cache_limit()`).

        Never fails: see `note`.
        """
        return cls(path or settings.cache_dir() / _FILE, settings.cache_limit() if limit is None else limit)

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Note the uses not yet written and let go of the file; afterwards the cache answers as if it were empty."""
        self.flush()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @property
    def usable(self) -> bool:
        """False once the cache is off or closed: nothing is found and nothing is kept."""
        return self._connection is not None

    def get(self, keys: Sequence[str]) -> dict[str, Vector]:
        """The vectors (float32, shape (dim,), read-only) of those `keys` that are here; damaged rows are dropped and count as absent."""
        return self._guarded(lambda db: self._get(db, keys), otherwise={})

    def put(self, vectors: Mapping[str, Vector], *, reference: str = "") -> None:
        """Keep `vectors` (any float array of one axis; stored as float32), all in one transaction; a key that is here is replaced.

        `reference` is the encoder's name for people, shown by `stats`. Where the limit is passed, the least recently used rows go.
        """
        if not vectors or self.limit <= 0:
            return
        by_space: dict[str, list[_Row]] = {}
        for key, vector in vectors.items():
            space, _, digest = key.rpartition(":")
            blob = np.ascontiguousarray(vector, np.float32).tobytes()
            by_space.setdefault(space, []).append((digest, blob, _checksum(key, blob)))
        self._guarded(lambda db: self._put(db, by_space, reference), otherwise=None)

    def stats(self) -> CacheStats:
        """What is here, by encoder."""
        query = "SELECT name, reference, entries, bytes FROM spaces WHERE entries > 0 ORDER BY bytes DESC"
        rows: list[tuple[str, str, int, int]] = self._guarded(lambda db: db.execute(query).fetchall(), otherwise=[])
        spaces = tuple(SpaceUse(*_split(name), reference, entries, size) for name, reference, entries, size in rows)
        return CacheStats(
            path=str(self.path),
            entries=sum(space.entries for space in spaces),
            bytes=sum(space.bytes for space in spaces),
            limit=self.limit,
            spaces=spaces,
            note=self.note,
        )

    def clear(self, encoder: str | None = None) -> int:
        """Remove all vectors, or those of one `encoder` (its reference or fingerprint); returns how many, and gives the space back."""
        return self._guarded(lambda db: self._clear(db, encoder), otherwise=0)

    def flush(self) -> None:
        """Write the times of use gathered so far."""
        if self._touched:
            self._guarded(self._flush, otherwise=None)

    # ---- one transaction each

    def _get(self, db: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Vector]:
        by_space: dict[str, list[str]] = {}
        for key in keys:
            space, _, digest = key.rpartition(":")
            by_space.setdefault(space, []).append(digest)
        found: dict[str, Vector] = {}
        damaged: list[int] = []
        stale = time.time() - _TOUCH_AFTER
        for name, digests in by_space.items():
            space_id = self._space(db, name)
            if space_id is None:
                continue
            select = "SELECT hash, id, checksum, used, vector FROM entries JOIN vectors USING (id)"
            for digest, row_id, checksum, used, blob in _pick(db, select, space_id, digests):
                key = f"{name}:{digest}"
                if _checksum(key, blob) != checksum:
                    damaged.append(row_id)
                    continue
                found[key] = np.frombuffer(blob, np.float32)
                if used <= stale:
                    self._touched.append(row_id)
        if damaged:
            with _transaction(db):
                _delete(db, damaged)
        if len(self._touched) >= _PENDING_TOUCHES:
            self._flush(db)
        return found

    def _put(self, db: sqlite3.Connection, by_space: Mapping[str, list[_Row]], reference: str) -> None:
        now = time.time()
        with _transaction(db):
            for name, rows in by_space.items():
                space_id = self._make_space(db, name, reference)
                old = _pick(db, "SELECT id FROM entries", space_id, [digest for digest, _, _ in rows])
                _delete(db, [row_id for (row_id,) in old])
                first = db.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM entries").fetchone()[0]
                db.executemany(
                    "INSERT INTO entries (id, space, hash, bytes, checksum, used) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        (row_id, space_id, digest, len(blob) + _ROW_OVERHEAD, checksum, now)
                        for row_id, (digest, blob, checksum) in enumerate(rows, first)
                    ),
                )
                db.executemany(
                    "INSERT INTO vectors (id, vector) VALUES (?, ?)",
                    ((row_id, blob) for row_id, (_, blob, _) in enumerate(rows, first)),
                )
                db.execute(
                    "UPDATE spaces SET entries = entries + ?, bytes = bytes + ? WHERE id = ?",
                    (len(rows), sum(len(blob) + _ROW_OVERHEAD for _, blob, _ in rows), space_id),
                )
            self._evict(db)
        self._flush(db)

    def _evict(self, db: sqlite3.Connection) -> None:
        held = db.execute("SELECT COALESCE(SUM(bytes), 0) FROM spaces").fetchone()[0]
        if held <= self.limit:
            return
        self._note_uses(db)
        excess = held - int(self.limit * _KEEP_AFTER_EVICTION)
        leaving = []
        for row_id, size in db.execute("SELECT id, bytes FROM entries ORDER BY used, id"):
            if excess <= 0:
                break
            leaving.append(row_id)
            excess -= size
        _delete(db, leaving)

    def _clear(self, db: sqlite3.Connection, encoder: str | None) -> int:
        removed = 0
        with _transaction(db):
            for space_id, name, reference, entries in db.execute(
                "SELECT id, name, reference, entries FROM spaces"
            ).fetchall():
                if encoder is not None and encoder not in (name, reference, _split(name)[0]):
                    continue
                db.execute("DELETE FROM vectors WHERE id IN (SELECT id FROM entries WHERE space = ?)", (space_id,))
                db.execute("DELETE FROM entries WHERE space = ?", (space_id,))
                db.execute("UPDATE spaces SET entries = 0, bytes = 0 WHERE id = ?", (space_id,))
                removed += entries
        db.executescript(
            "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);"
        )  # execute() would free a single page
        return removed

    def _flush(self, db: sqlite3.Connection) -> None:
        if self._touched:
            with _transaction(db):
                self._note_uses(db)

    def _note_uses(self, db: sqlite3.Connection) -> None:
        now = time.time()
        db.executemany("UPDATE entries SET used = ? WHERE id = ?", ((now, row_id) for row_id in self._touched))
        self._touched = []

    def _space(self, db: sqlite3.Connection, name: str) -> int | None:
        if name not in self._spaces:
            row = db.execute("SELECT id FROM spaces WHERE name = ?", (name,)).fetchone()
            if row is None:
                return None
            self._spaces[name] = row[0]
        return self._spaces[name]

    def _make_space(self, db: sqlite3.Connection, name: str, reference: str) -> int:
        db.execute(
            "INSERT INTO spaces (name, reference) VALUES (?, ?) ON CONFLICT (name) DO UPDATE "
            "SET reference = CASE excluded.reference WHEN '' THEN reference ELSE excluded.reference END",
            (name, reference),
        )
        space_id: int = db.execute("SELECT id FROM spaces WHERE name = ?", (name,)).fetchone()[0]
        return space_id

    # ---- opening, and what to do when something is wrong

    def _connect(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._spaces, self._touched = {}, []
        with locked(self.path):  # two processes that begin a file together would see each other's locks as errors
            self._inode = self.path.stat().st_ino if self.path.exists() else 0
            db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                db.execute(
                    "PRAGMA page_size = 16384"
                )  # three vectors of 1,280; the usual 4,096 wastes a quarter at 384
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last transactions, never the file
                db.execute("PRAGMA secure_delete = OFF")
                db.executescript(_SCHEMA)
                self._inode = self.path.stat().st_ino
            except BaseException:
                db.close()
                raise
        self._connection = db

    def _guarded(self, action: Callable[[sqlite3.Connection], T], *, otherwise: T) -> T:
        """Run `action`; a damaged file is replaced and the action tried once more, any other failure is answered by `otherwise`."""
        with self._lock:
            for attempt in range(2):
                if self._connection is None:
                    break
                try:
                    return action(self._connection)
                except (sqlite3.DatabaseError, TypeError, ValueError) as error:
                    if _code(error) in _BUSY:
                        break  # this once; another process holds the file for long
                    if attempt and _code(error) in _DOUBTFUL:
                        raise
                    if _code(error) in (*_DAMAGED, *_DOUBTFUL):
                        self._start_afresh(error)
                    else:
                        self._turn_off(error)
            return otherwise

    def _start_afresh(self, error: Exception) -> None:
        """Move the damaged file aside, unless another process has done so since we opened it, and begin a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        aside = self.path.with_name(self.path.name + ".damaged")
        try:
            with locked(self.path):
                if self._inode == self.path.stat().st_ino:
                    self.path.replace(aside)  # one is kept, not a row of them
                    for companion in ("-wal", "-shm"):
                        self.path.with_name(self.path.name + companion).unlink(missing_ok=True)
            self._connect()
        except (OSError, sqlite3.DatabaseError) as second:
            self._turn_off(second)
            return
        self.note = f"The vector cache was damaged ({error}); it was moved to {str(aside)!r} and a fresh one begun."
        _log.warning(self.note)

    def _turn_off(self, error: Exception) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        self.note = (
            f"The vector cache {str(self.path)!r} cannot be used ({error}): encoding goes on without it. "
            "Free some space, or name another folder with GRAFT_CACHE."
        )
        _log.warning(self.note)


def _checksum(key: str, blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(key.encode()))


def _split(space: str) -> tuple[str, str]:
    fingerprint, _, number_format = space.rpartition(":")
    return fingerprint, number_format


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _pick(db: sqlite3.Connection, select: str, space_id: int, digests: Sequence[str]) -> Iterator[Any]:
    """The rows `select` gives for `digests` of a space, asked for some hundred at a time."""
    for start in range(0, len(digests), _KEYS_A_QUERY):
        some = digests[start : start + _KEYS_A_QUERY]
        yield from db.execute(f"{select} WHERE space = ? AND hash IN ({','.join('?' * len(some))})", (space_id, *some))


def _delete(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Remove rows and keep the sums of their spaces right."""
    for start in range(0, len(ids), _KEYS_A_QUERY):
        some = ids[start : start + _KEYS_A_QUERY]
        these = f"WHERE id IN ({','.join('?' * len(some))})"
        gone = db.execute(f"SELECT space, COUNT(*), SUM(bytes) FROM entries {these} GROUP BY space", some).fetchall()
        for space, rows, size in gone:
            db.execute("UPDATE spaces SET entries = entries - ?, bytes = bytes - ? WHERE id = ?", (rows, size, space))
        db.execute(f"DELETE FROM entries {these}", some)
        db.execute(f"DELETE FROM vectors {these}", some)


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a failed COMMIT may have rolled back already
            db.execute("ROLLBACK")
        raise
