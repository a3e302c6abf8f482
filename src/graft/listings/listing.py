"""What people want to search: items with ids, contents and payload columns, from a folder, zip, table or named set.

A table keeps all its columns as payload, with types that filters can compare; a folder's payload is the label and part of its layout.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.columns import Wanted, find_roles, is_missing, looks_like_header, read_image, read_text
from graft.data.dataset import Content, Dataset, content_hash
from graft.data.read import NAMED, read
from graft.data.tables import TABLE_SUFFIXES, Row, Table, broken, mend, open_table
from graft.errors import DataError, UsageError, unknown
from graft.listings.searchable import is_searchable, read_searchable
from graft.results import Fault

ID_NAMES = ("id", "_id", "item_id", "itemid", "uid", "uuid", "key", "sku")
VECTOR_NAMES = ("vector", "embedding", "vec")
RESERVED = "graft_"  # how columns of an index's own begin
_REPEATED = "an id that came before; the first is kept"
_TAKEN = ("id", "content", "_score")  # names that answers use themselves
_TRUE, _FALSE = frozenset({"true", "yes"}), frozenset({"false", "no"})


@dataclass(frozen=True, eq=False)
class Listing:
    """Items to be indexed; sequences are parallel, one entry an item.

    `ids` are unique. `texts` are the texts that belong to pictures (column `text_column`), None without. `vectors` (N, D) come from a
    table that holds vectors instead of contents, with `encoder` as its metadata tell it. `payload` maps columns to values (bool, int,
    float, str or None; one type a column).
    """

    name: str
    modality: str  # text | image | vector
    ids: tuple[str, ...]
    contents: tuple[Content, ...]
    payload: dict[str, list[Any]]
    texts: tuple[str | None, ...] | None = None
    text_column: str | None = None
    vectors: NDArray[np.float32] | None = None
    encoder: dict[str, Any] | None = None
    faults: tuple[Fault, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def read_listing(
    data: str | Path,
    *,
    content: str | None = None,
    text: str | None = None,
    key: str | None = None,
    types: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Listing:
    """Read DATA for an index. Columns of a table are named by `content`, `text` (texts that go with pictures) and `key` (ids).

    Without a column of ids a table's items are named by their content's hash, so that a row keeps its id wherever it moves; vectors by their
    row's number. `types` are those that payload columns have already, in the words of Arrow; other columns get the type that all their
    values have. Faulty and repeated items are left out and listed.

    Raises UsageError, MissingError and DataError as `read` does, and DataError with `strict` at any fault.
    """
    path = Path(data).expanduser()
    if not str(data).startswith(NAMED) and path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        listing = _from_table(path, content, text, key, types or {})
    else:
        if named := [flag for flag, value in (("--text", text), ("--id", key)) if value is not None]:
            raise UsageError(f"{', '.join(named)}: columns are named for a table, and {data} is none.")
        name = str(data).removeprefix(NAMED)
        searchable = str(data).startswith(NAMED) and is_searchable(name)
        listing = _from_dataset(read_searchable(name) if searchable else read(data, content=content))
    if strict and listing.faults:
        raise DataError(f"{data} has {len(listing.faults):,} faults. --strict stops here.", faults=listing.faults)
    if not len(listing):
        raise DataError(f"Nothing in {data} can be indexed.", faults=listing.faults)
    return listing


def _from_dataset(dataset: Dataset) -> Listing:
    """A folder, zip or named set: its labels and parts are the payload, and whatever columns it brought."""
    payload: dict[str, list[Any]] = {name: list(values) for name, values in dataset.payload.items()}
    if (dataset.labels >= 0).any():
        payload["label"] = [dataset.classes[code] if code >= 0 else None for code in dataset.labels]
        if dataset.class_texts:
            names = dict(zip(dataset.classes, dataset.class_descriptions(), strict=True))
            payload["name"] = [None if label is None else names[label] for label in payload["label"]]
    if dataset.test_mask is not None:
        payload["part"] = ["test" if test else "train" for test in dataset.test_mask]
    faults = tuple(fault for fault in dataset.faults if fault.about == "content")
    return Listing(
        dataset.name,
        dataset.modality,
        dataset.ids,
        dataset.contents,
        payload,
        faults=faults,
        columns=dict(dataset.columns),
    )


def _from_table(
    path: Path, content: str | None, text: str | None, key: str | None, types: Mapping[str, str]
) -> Listing:
    wanted = Wanted(content)
    table = open_table(path, lambda first, others: looks_like_header(wanted, first, others))
    keys = _position(table, key, "--id") if key is not None else _guessed_key(table)
    vector = None if content is not None else _vector_column(table)
    if vector is not None:
        if text is not None:
            raise UsageError(f"--text: {path} holds vectors, column {table.names[vector]!r}; nothing is encoded.")
        return _from_vectors(path, table, vector, keys, types)
    roles = find_roles(table, wanted)
    beside = None if text is None else _position(table, text, "--text")
    reader = _Reader(table, roles.content, roles.images, beside, keys)
    for row in table.rows(list(range(len(table.names)))):
        reader.take(row)
    columns = {"content": table.names[roles.content]} | ({} if keys is None else {"id": table.names[keys]})
    left = [i for i in range(len(table.names)) if i not in (keys, roles.content)]
    _check_names(table, left)
    names = [table.names[i] for i in left]
    payload = {
        name: _typed([cells[i] for cells in reader.rows], types.get(name)) for i, name in zip(left, names, strict=True)
    }
    return Listing(
        name=path.stem,
        modality="image" if roles.images else "text",
        ids=tuple(reader.ids),
        contents=tuple(reader.contents),
        payload=payload,
        texts=None if beside is None else tuple(reader.texts),
        text_column=text,
        faults=tuple(reader.faults),
        columns=columns,
    )


class _Reader:
    """Rows taken one by one: items, and a fault for each that cannot be used."""

    def __init__(self, table: Table, content: int, images: bool, text: int | None, key: int | None) -> None:
        import os

        self.base = os.path.realpath(table.path.parent)
        self.content, self.images, self.text, self.key = content, images, text, key
        self.ids: list[str] = []
        self.contents: list[Content] = []
        self.texts: list[str | None] = []
        self.rows: list[Sequence[Any]] = []
        self.faults: list[Fault] = []
        self._seen: dict[str, int] = {}

    def take(self, row: Row) -> None:
        if row.cells is None:
            self.faults.append(Fault(row.where, row.problem))
            return
        cell = row.cells[self.content]
        try:
            content: Content = read_image(cell, self.base) if self.images else read_text(cell)
        except ValueError as problem:
            self.faults.append(Fault(row.where, str(problem), str(cell)[:80]))
            return
        item = self._name(row, content)
        if item is None:
            return
        self.ids.append(item)
        self.contents.append(content)
        self.rows.append(row.cells)
        if self.text is not None:
            beside = row.cells[self.text]
            self.texts.append(None if is_missing(beside) or not str(beside).strip() else str(beside))

    def _name(self, row: Row, content: Content) -> str | None:
        assert row.cells is not None
        if self.key is None:
            known = content if isinstance(content, str) else f"{content.path}::{content.member or ''}"
            name = content_hash(known.encode("utf-8", "surrogatepass"))[:16]
            count = self._seen[name] = self._seen.get(name, 0) + 1
            return name if count == 1 else f"{name}-{count}"
        cell = row.cells[self.key]
        if is_missing(cell):
            self.faults.append(Fault(row.where, "it has no id"))
            return None
        name = _id_of(cell)
        if name in self._seen:
            self.faults.append(Fault(row.where, _REPEATED, name[:80]))
            return None
        self._seen[name] = 1
        return name


def _from_vectors(path: Path, table: Table, vector: int, key: int | None, types: Mapping[str, str]) -> Listing:
    """A table of vectors, such as `graft encode` writes: they are taken as they are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    others = [i for i in range(len(table.names)) if i not in (vector, key)]
    _check_names(table, others)
    try:
        whole = pq.read_table(path)
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"{path} cannot be read as Parquet: {problem}.") from problem
    vectors = _rows_of(whole.column(vector), f"{path}: column {table.names[vector]!r}")
    cells = list(map(str, range(len(vectors)))) if key is None else whole.column(key).to_pylist()
    names = ["" if is_missing(cell) else _id_of(cell) for cell in cells]
    odd = np.logical_not(np.isfinite(vectors).all(1)).tolist()
    seen: set[str] = set()
    faults, kept = [], []
    for i, name in enumerate(names):
        wrong = "its vector holds NaN or infinity" if odd[i] else "it has no id" if not name else ""
        wrong = wrong or (_REPEATED if name in seen else "")
        if wrong:
            faults.append(Fault(f"row {i}", wrong, name[:80]))
            continue
        seen.add(name)
        kept.append(i)
    chosen = whole.select(others).take(pa.array(kept, pa.int64())) if faults else whole.select(others)
    metadata = (whole.schema.metadata or {}).get(b"graft.encoder")
    return Listing(
        name=path.stem,
        modality="vector",
        ids=tuple(names[i] for i in kept),
        contents=("",) * len(kept),
        payload={
            table.names[i]: _typed(chosen.column(j).to_pylist(), types.get(table.names[i]))
            for j, i in enumerate(others)
        },
        vectors=vectors[kept] if faults else vectors,
        encoder=None if metadata is None else json.loads(metadata),
        faults=tuple(faults),
        columns={"vector": table.names[vector]} | ({} if key is None else {"id": table.names[key]}),
    )


def _rows_of(column: Any, where: str) -> NDArray[np.float32]:
    """Lists of numbers of one length as rows. Raises DataError."""
    import pyarrow.compute as pc

    dims = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(dims) > 1:
        told = ", ".join("gaps" if dim is None else str(dim) for dim in dims[:5])
        raise DataError(f"{where} must hold vectors of one length, without gaps; it holds {told}.")
    flat = pc.list_flatten(column).to_numpy()
    return np.ascontiguousarray(flat.reshape(len(column), -1), dtype=np.float32)


def _id_of(cell: Any) -> str:
    name = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
    return mend(name) if broken(name) else name


def _vector_column(table: Table) -> int | None:
    if table.path.suffix.lower() != ".parquet":
        return None
    for i, name in enumerate(table.names):
        cells = [row[i] for row in table.sample if row[i] is not None]
        if name.lower() in VECTOR_NAMES and cells and all(_is_vector(cell) for cell in cells):
            return i
    return None


def _is_vector(cell: Any) -> bool:
    return isinstance(cell, (list, tuple, np.ndarray)) and len(cell) > 0 and isinstance(cell[0], (float, np.floating))


def _guessed_key(table: Table) -> int | None:
    """A column of a customary name with a value in every row, most of them different, as far as the sample shows."""
    lowered = [name.lower() for name in table.names]
    for name in ID_NAMES:
        if table.header and name in lowered:
            position = lowered.index(name)
            cells = [row[position] for row in table.sample]
            if cells and not any(map(is_missing, cells)) and len(set(map(str, cells))) > 0.5 * len(cells):
                return position
    return None


def _position(table: Table, name: str, flag: str) -> int:
    if name in table.names:
        return table.names.index(name)
    raise UsageError(f"{flag}: " + unknown(f"{table.path} has no such column:", name, table.names))


def _check_names(table: Table, payload: Sequence[int]) -> None:
    """Refuse payload columns whose names an index uses itself, or cannot hold."""
    names = [table.names[i] for i in payload]
    if wrong := [n for n in names if n in _TAKEN or n.startswith((RESERVED, "_row")) or not n or set(n) & set(".`")]:
        raise DataError(
            f"{table.path}: an index cannot have payload columns called {', '.join(map(repr, wrong))}: rename them. Taken are {', '.join(_TAKEN)} and "
            f"{RESERVED}...; dots and backticks cannot be filtered by. (--id and --content say which columns are ids and contents.)"
        )


def _typed(cells: Sequence[Any], known: str | None = None) -> list[Any]:
    """One type a column: bool, int, float, else text; what is missing becomes None. Dates stay as they are written, for they sort so.

    With a `known` type every cell that can be read as such is, and the others stay as they are.
    """
    plain = [None if _absent(cell) else cell for cell in cells]
    if known is not None:
        read = _READERS.get(known, _as_text)
        return [None if cell is None else _read_or_leave(cell, read) for cell in plain]
    present = [cell for cell in plain if cell is not None]
    for read in _READERS.values():
        try:
            for cell in present:
                read(cell)
        except (ValueError, TypeError):
            continue
        return [None if cell is None else read(cell) for cell in plain]
    return [None if cell is None else _as_text(cell) for cell in plain]


def _read_or_leave(cell: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(cell)
    except (ValueError, TypeError):
        return cell


def _absent(cell: Any) -> bool:
    return (
        cell is None or (isinstance(cell, float) and math.isnan(cell)) or (isinstance(cell, str) and not cell.strip())
    )


def _as_bool(cell: Any) -> bool:
    if isinstance(cell, (bool, np.bool_)):
        return bool(cell)
    word = str(cell).strip().lower() if isinstance(cell, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(cell)


def _as_int(cell: Any) -> int:
    """Whole numbers; what begins with a zero is a code (a telephone number, a postcode), not a number."""
    if isinstance(cell, (bool, np.bool_)):
        raise ValueError(cell)
    if isinstance(cell, (int, np.integer)) or (
        isinstance(cell, str) and cell.strip() == (str(int(cell)) if cell.strip().lstrip("-").isdecimal() else None)
    ):
        number = int(cell)
    else:
        raise ValueError(cell)
    if not -(2**63) <= number < 2**63:
        raise ValueError(cell)
    return number


def _as_float(cell: Any) -> float:
    if isinstance(cell, (bool, np.bool_)) or (isinstance(cell, str) and _is_code(cell.strip())):
        raise ValueError(cell)
    number = float(cell) if isinstance(cell, (int, float, str, np.number, Decimal)) else math.nan
    if math.isnan(number) or (isinstance(cell, str) and math.isinf(number)):
        raise ValueError(cell)
    return number


def _is_code(word: str) -> bool:
    """Digits that a number would not keep: a zero in front, more than fifteen, or a dash below."""
    digits = word.lstrip("-+")
    led = len(digits) > 1 and digits[0] == "0" and digits[1].isdecimal()
    return led or (len(digits) > 15 and digits.isdecimal()) or "_" in digits


def _as_text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell if not broken(cell) else mend(cell)
    if isinstance(cell, (list, tuple, dict)):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell)


# by the words of Arrow for what comes of it; narrower first
_READERS: dict[str, Callable[[Any], Any]] = {"bool": _as_bool, "int64": _as_int, "double": _as_float}
