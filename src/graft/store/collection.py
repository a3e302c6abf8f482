"""Items on disk: a Lance dataset that keeps every version, one row an item, and never shows half a change.

Legend: N items, D dims. A *key* is a number that grows: an item gets a new one whenever its content changes, so that the vectors behind
a key never change and a search structure made from some keys stays right for them for ever.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import ModelError, UsageError
from graft.store.files import storage_errors

if TYPE_CHECKING:
    import pyarrow as pa

ID, KEY, HASH, ROW, CONTENT, TEXT = "id", "graft_key", "graft_hash", "graft_row", "graft_content", "graft_text"
VECTOR = "graft_v_"  # a view's column is this and the view's name
OWN = (ID, KEY, HASH, ROW, CONTENT, TEXT)
_BATCH = 8192  # ids in one condition
_NUMBERS = 2**20  # of vectors read at a time
_GRACE = timedelta(
    hours=1
)  # after which a reader that still has an older version open should have taken up a newer one
_MOST_FRAGMENTS = 64
_EXAMPLES = (
    "Examples: price < 10, label = 'cat', title LIKE '%war%', year BETWEEN 1990 AND 1999, `a name with spaces` IS NULL."
)
_PLACE = re.compile(r",? *(/home/|/rust/|rust/)[^ ]*\.rs:\d+(:\d+)?.*", re.DOTALL)


class Collection:
    """A dataset at one version. Reading is safe from several threads; `write` and `restore` are for one writer at a time."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    @classmethod
    def create(cls, path: Path, rows: pa.Table) -> Collection:
        """A new dataset holding `rows`. Raises StorageError."""
        import lance

        with _writing(path):
            return cls(lance.write_dataset(rows, str(path), mode="create", enable_stable_row_ids=True))

    @classmethod
    def open(cls, path: Path, version: int | None = None) -> Collection:
        """The dataset as it was at `version` (default: the latest). Raises ModelError when it is missing or damaged."""
        import lance

        with _reading(path):
            return cls(lance.dataset(str(path), version=version))

    @property
    def version(self) -> int:
        """The version that is read."""
        return int(self._dataset.version)

    @property
    def latest(self) -> int:
        """The newest version on disk, which a killed writer may have left unannounced."""
        return int(self._dataset.latest_version)

    @property
    def columns(self) -> dict[str, str]:
        """Payload columns and their types, in the words of Arrow."""
        return {
            f.name: str(f.type) for f in self._dataset.schema if f.name not in OWN and not f.name.startswith(VECTOR)
        }

    @property
    def schema(self) -> pa.Schema:
        """Of all columns."""
        return self._dataset.schema

    def __len__(self) -> int:
        return int(self._dataset.count_rows())

    # Reading. A position is an item's place in the order of reading, 0 to N - 1.

    def table(self, columns: Sequence[str]) -> pa.Table:
        """These columns of all items, by position."""
        return self._checked(lambda: self._dataset.to_table(columns=list(columns)))

    def keys(self) -> NDArray[np.int64]:
        """Keys (N,), by position."""
        return np.asarray(self.table([KEY]).column(KEY).to_numpy(), np.int64)

    def batches(self, view: str) -> Iterator[NDArray[np.float32]]:
        """The vectors of a view in order of position, some megabytes at a time.

        A scan of Lance's own would hold as much again as has been read; one of each range does not.
        """
        step = max(1, _NUMBERS // self._dataset.schema.field(VECTOR + view).type.list_size)
        for start in range(0, len(self), step):
            with _reading(Path(self._dataset.uri)):
                some = self._dataset.to_table(columns=[VECTOR + view], offset=start, limit=step)
            yield rows_of(some.column(0).combine_chunks())

    def vectors(self, view: str, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors (n, D) of some items, in the order of `positions`."""
        taken = self._checked(lambda: self._dataset.take(positions.tolist(), columns=[VECTOR + view]))
        return rows_of(taken.column(0).combine_chunks())

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Cells of some items, a dictionary each, in the order of `positions`."""
        if not len(positions):
            return []
        rows: list[dict[str, Any]] = self._checked(
            lambda: self._dataset.take([int(p) for p in positions], columns=list(columns)).to_pylist()
        )
        return rows

    def matching(self, where: str) -> NDArray[np.int64]:
        """Keys of the items for which the SQL condition `where` is true. Raises UsageError for one that cannot be understood."""
        self._check_where(where)
        found = self._filtered(where, lambda: self._dataset.to_table(columns=[KEY], filter=where))
        return np.asarray(found.column(KEY).to_numpy(), np.int64)

    def words(
        self, column: str, query: str, limit: int, where: str | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Keys and BM25 scores of the items whose `column` shares words with `query`, best first; English stems, k1 1.2, b .75 (Lance)."""
        from lance.query import MatchQuery

        terms = " ".join(re.findall(r"\w+", query))
        if not terms:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if where is not None:
            self._check_where(where)
        found = self._filtered(
            where,
            lambda: self._dataset.to_table(
                columns=[KEY, "_score"],
                full_text_query=MatchQuery(terms, column),
                limit=limit,
                filter=where,
                prefilter=True,
            ),
        )
        keys, scores = (np.asarray(found.column(name).to_numpy()) for name in (KEY, "_score"))
        order = np.argsort(-scores, kind="stable")
        return keys[order].astype(np.int64), scores[order].astype(np.float32)

    # Writing. Each step is atomic by itself; the caller's manifest decides which version counts.

    def write(self, rows: pa.Table | None, deleted: Sequence[str]) -> None:
        """Put `rows` in place of those of the same id or beside them, and take out the ids `deleted`. Raises StorageError."""
        with _writing(Path(self._dataset.uri)):
            if rows is not None and len(rows):
                merge = self._dataset.merge_insert(ID).when_matched_update_all().when_not_matched_insert_all()
                merge.execute(rows)
            for start in range(0, len(deleted), _BATCH):
                some = ", ".join("'" + name.replace("'", "''") + "'" for name in deleted[start : start + _BATCH])
                self._dataset.delete(f"{ID} IN ({some})")

    def restore(self) -> None:
        """Make the version that is read the newest again, so that later ones are left behind."""
        with _writing(Path(self._dataset.uri)):
            self._dataset.restore()

    def index_words(self, column: str) -> None:
        """Build the word index over a column of texts, or bring it up to date. Raises StorageError."""
        with _writing(Path(self._dataset.uri)):
            if any(column in index.field_names for index in self._dataset.describe_indices()):
                self._dataset.optimize.optimize_indices()
            else:
                self._dataset.create_scalar_index(
                    column, "INVERTED", language="English", stem=True, remove_stop_words=True, with_position=False
                )

    def tidy(self, keep: Mapping[str, int]) -> None:
        """Name the versions to keep (tag -> version), and remove the files of others an hour after they were replaced. Raises StorageError."""
        with _writing(Path(self._dataset.uri)):
            tags = self._dataset.tags
            known = {tag: int(found["version"]) for tag, found in tags.list().items()}
            for tag in keep.keys() - known.keys():
                tags.create(tag, keep[tag])
            made = {v["version"]: _as_utc(v["timestamp"]) for v in self._dataset.versions()}
            named = sorted({*known.values(), *keep.values()})
            for tag in known.keys() - keep.keys():
                after = next((v for v in named if v > known[tag] and v in made), None)
                if after is None or made[after] < datetime.now(UTC) - _GRACE:
                    tags.delete(tag)
            with contextlib.suppress(OSError):  # another process may be reading on a system that locks open files
                self._dataset.cleanup_old_versions(older_than=_GRACE, error_if_tagged_old_versions=False)

    def compact(self) -> None:
        """Join the fragments that many small changes leave. Raises StorageError."""
        if len(self._dataset.get_fragments()) > _MOST_FRAGMENTS:
            with _writing(Path(self._dataset.uri)):
                self._dataset.optimize.compact_files()

    def _checked(self, read: Callable[[], Any]) -> Any:
        with _reading(Path(self._dataset.uri)):
            return read()

    def _filtered(self, where: str | None, read: Callable[[], Any]) -> Any:
        try:
            return self._checked(read)
        except ModelError as problem:
            if where is None or not isinstance(problem.__cause__, ValueError):
                raise
            raise UsageError(
                f"The filter {where!r} cannot be used: {reason(problem.__cause__)}. Columns: {', '.join(['id', *self.columns])}. {_EXAMPLES}"
            ) from problem.__cause__

    @staticmethod
    def _check_where(where: str) -> None:
        if not where.strip():
            raise UsageError(f"The filter is empty. {_EXAMPLES}")
        bare = re.sub(r"'[^']*'", "", where).lower()
        if "graft_" in bare:
            raise UsageError(
                f"The filter {where!r} cannot be used: columns that begin with graft_ are Graft's own and are not filtered by."
            )
        if ";" in bare:  # Lance would leave out what follows without a word
            raise UsageError(f"The filter {where!r} must be one condition, without a semicolon. {_EXAMPLES}")


def rows_of(column: Any) -> NDArray[np.float32]:
    """A fixed-size-list column of Arrow as an array (n, D), without a copy where it has none."""
    dim = column.type.list_size
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, dim)


def reason(problem: Exception) -> str:
    """What a library written in Rust has to say, without the place in its code."""
    text = re.sub(r"\. Valid fields are .*", "", _PLACE.sub("", str(problem)), flags=re.DOTALL).strip()
    for prefix in ("Invalid user input: ", "LanceError(IO): ", "Schema error: ", "Execution error: "):
        text = text.removeprefix(prefix)
    return text.rstrip(" .,")[:300]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with _interruptible():
            yield
    except (OSError, ValueError) as problem:
        raise ModelError(f"The items of {path.parent} cannot be read: {reason(problem)}.") from problem


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    with storage_errors(path), _interruptible():
        yield


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C as such: inside Lance it becomes an error with that name."""
    try:
        yield
    except Exception as problem:
        if "KeyboardInterrupt" in str(problem):
            raise KeyboardInterrupt from problem
        raise


def _as_utc(moment: datetime) -> datetime:
    """Lance tells the local time of a version, without saying so."""
    return moment.astimezone(UTC)
