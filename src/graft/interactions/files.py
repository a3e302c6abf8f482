"""Tables of interactions, block by block: none is ever held whole.

A text whose rows are one line each is plain: its cells are cut by Arrow, ten times as fast as by a reader that minds every quotation mark. Others, with
line breaks inside cells, are read as every table of Graft is. Between `::` quotation marks are plain signs. A row's number is its 0-based
place among the data rows, neither the header nor blank lines being counted.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from graft.data.columns import is_missing
from graft.data.tables import SAMPLE_ROWS, IsHeader, Row, Table, broken, mend, open_table, unique_names
from graft.errors import DataError, MissingError
from graft.results import Fault
from graft.settings import progress

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = ("::", "\t", ",", ";", "|")
BLOCK_ROWS = 2**16
BLOCK_BYTES = 2**22  # of a plain text; its cells take about three times as much
_STAND_IN = "\x1f"  # Arrow cuts at one sign only; this one separates units in ASCII and is in no text
_OTHERS = frozenset({".jsonl", ".ndjson", ".parquet"})


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows: `number_N` their numbers, `columns` Arrow arrays of texts, numbers or moments; `faults` of rows that cannot be cut."""

    number_N: NDArray[np.int64]
    columns: list[pa.Array]
    faults: list[Fault]


def open_log(path: Path, is_header: IsHeader) -> Table:
    """Look at a table's first rows: CSV, TSV, JSON lines, Parquet, or a plain text with `::` or another separator between cells.

    `is_header(first record, others)` tells whether a text's first record names the columns. Raises MissingError without the file,
    DataError when it is empty, damaged or no table.
    """
    if not path.is_file():
        raise MissingError(
            f"{path} is not here, or is no file. A table of interactions is given by its path, or as data:NAME."
        )
    if path.suffix.lower() in _OTHERS:
        return open_table(path, is_header)
    try:
        with path.open("rb") as stream:
            start = _first_lines(stream)
            separator = _separator(start)
            plain = separator == "::" or (separator and _plain(stream))
        if plain:
            return _open_plain(path, separator, start, is_header)
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror or problem}.") from problem
    return open_table(path, is_header)


def blocks(table: Table, wanted: Sequence[int]) -> Iterator[Block]:
    """The rows of a table, of the columns at the places `wanted`, in blocks of some ten thousand."""
    if table.path.suffix.lower() == ".parquet":
        return _parquet_blocks(table, wanted)
    if "separator" in table.notes:
        return _plain_blocks(table, wanted)
    return _row_blocks(table, wanted)


def as_word(cell: Any) -> str | None:
    """A cell of a table as a word: 12.0 of a typed table is "12"; None for what is missing, a list or an object."""
    if isinstance(cell, str):
        word = cell.strip()
        if not word or (len(word) < 5 and is_missing(word)):
            return None
        return word if word.isascii() or not broken(word) else mend(word)
    if isinstance(cell, int):
        return str(cell).lower() if isinstance(cell, bool) else str(cell)
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return None if is_missing(cell) or isinstance(cell, (list, dict, bytes)) else str(cell)


# Plain texts


def _first_lines(stream: BinaryIO) -> list[str]:
    start = stream.read(2**18)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\x00" in start:
        return []
    lines = _decoded(start.removeprefix(codecs.BOM_UTF8)).splitlines()
    if len(start) == 2**18 and len(lines) > 1:
        lines.pop()  # it may have been cut
    return [line for line in lines[: SAMPLE_ROWS + 1] if line.strip()]


def _separator(lines: list[str]) -> str:
    """What stands between the cells: that which gives most of the first lines one width above 1; "" for none."""
    best, separator = 0.5, ""
    for candidate in SEPARATORS:
        widths = Counter(len(_split(line, candidate)) for line in lines[:50])
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        if width > 1 and count / min(len(lines), 50) > best:
            best, separator = count / min(len(lines), 50), candidate
    return separator


def _split(line: str, separator: str) -> list[str]:
    if separator == "::" or '"' not in line:
        return [cell.strip() for cell in line.split(separator)]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]


def _plain(stream: BinaryIO) -> bool:
    """A text in UTF-8 or an encoding of one byte a sign, no line of which opens a quotation without closing it."""
    stream.seek(0)
    while part := stream.read(BLOCK_BYTES):
        part += stream.readline()
        if b"\x00" in part or (b'"' in part and any(line.count(b'"') % 2 for line in part.split(b"\n"))):
            return False
    return True


def _decoded(raw: bytes) -> str:
    return mend(raw.decode("utf-8", "surrogateescape"))


def _open_plain(path: Path, separator: str, start: list[str], is_header: IsHeader) -> Table:
    cells = [_split(line, separator) for line in start]
    header = is_header(cells[0], cells[1:])
    others = cells[1:] if header else cells
    width = len(cells[0]) if header else Counter(map(len, others)).most_common(1)[0][0]
    names = unique_names(cells[0]) if header else tuple(str(i) for i in range(width))
    sample: list[list[Any]] = [row for row in others if len(row) == width][:SAMPLE_ROWS]

    def rows(wanted: Sequence[int]) -> Iterator[Row]:
        number = -1 if header else 0
        with path.open("rb") as stream:
            for line, raw in enumerate(stream, start=1):
                text = _decoded(raw.removeprefix(codecs.BOM_UTF8) if line == 1 else raw)
                if not text.strip():
                    continue
                if number >= 0:
                    found = _split(text.rstrip("\r\n"), separator)
                    right = len(found) == width
                    problem = "" if right else f"it has {len(found)} cells where {width} are expected"
                    yield Row(number, line, [found[i] for i in wanted] if right else None, problem)
                number += 1

    notes = {"separator": separator} | ({} if header else {"header": "none"})
    return Table(path, names, header, False, sample, rows, notes)


def _plain_blocks(table: Table, wanted: Sequence[int]) -> Iterator[Block]:
    separator, done, total = table.notes["separator"], 0, table.path.stat().st_size
    number = -1 if table.header else 0
    with table.path.open("rb") as stream:
        while raw := stream.read(BLOCK_BYTES):
            raw += stream.readline()  # a block ends where a line does
            done += len(raw)
            if done == len(raw):
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if separator == "::":
                raw = raw.replace(b"::", _STAND_IN.encode())
            block, rows = _cut(raw, _STAND_IN if separator == "::" else separator, len(table.names), wanted, number)
            number += rows
            yield block
            progress("read", done, total)


def _cut(raw: bytes, separator: str, width: int, wanted: Sequence[int], first: int) -> tuple[Block, int]:
    """The cells of whole lines, and how many rows those lines are; `first` is the number of their first (-1: a header, left out)."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    wrong: list[tuple[int, int]] = []  # place among the rows, cells

    def keep(row: Any) -> str:
        wrong.append((row.number - 1, row.actual_columns))
        return "skip"

    if not raw.strip():
        return Block(np.empty(0, np.int64), [pa.array([], pa.string()) for _ in wanted], []), 0
    names, quote = [str(i) for i in range(width)], False if separator == _STAND_IN else '"'
    table = arrow.read_csv(
        io.BytesIO(raw),
        read_options=arrow.ReadOptions(use_threads=False, column_names=names, block_size=len(raw) + 1),
        parse_options=arrow.ParseOptions(delimiter=separator, quote_char=quote, invalid_row_handler=keep),
        convert_options=arrow.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), include_columns=[names[i] for i in wanted]
        ),
    )
    count = table.num_rows + len(wrong)
    number_N = np.delete(np.arange(first, first + count), [place for place, _ in wrong])
    columns = [_texts(table.column(names[i]).combine_chunks()) for i in wanted]
    faults = [
        Fault(f"row {first + place}", f"it has {cells} cells where {width} are expected")
        for place, cells in wrong
        if first + place >= 0
    ]
    if first < 0 and number_N.size and number_N[0] < 0:
        number_N, columns = number_N[1:], [column.slice(1) for column in columns]
    return Block(number_N, columns, faults), count


def _texts(raw_N: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(raw_N, pa.ChunkedArray):
        raw_N = raw_N.combine_chunks() if raw_N.num_chunks != 1 else raw_N.chunk(0)
    try:
        texts_N = pc.cast(raw_N, pa.string())
    except pa.ArrowInvalid:
        texts_N = pa.array([_decoded(raw) for raw in raw_N.to_pylist()], pa.string())
    return pc.utf8_trim_whitespace(texts_N)


# Other tables


def _row_blocks(table: Table, wanted: Sequence[int]) -> Iterator[Block]:
    import pyarrow as pa

    rows = table.rows(wanted)
    while held := list(islice(rows, BLOCK_ROWS)):
        right = [row for row in held if row.cells is not None]
        columns = [
            pa.array([as_word(row.cells[i]) for row in right if row.cells], pa.string()) for i in range(len(wanted))
        ]
        faults = [Fault(row.where, row.problem) for row in held if row.cells is None]
        yield Block(np.array([row.number for row in right], np.int64), columns, faults)


def _parquet_blocks(table: Table, wanted: Sequence[int]) -> Iterator[Block]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, number = [table.names[i] for i in wanted], 0
    try:
        file = pq.ParquetFile(table.path)
        for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=list(dict.fromkeys(names)), use_threads=False):
            columns = [_simple(batch.column(name), name, table.path) for name in names]
            yield Block(np.arange(number, number + batch.num_rows), columns, [])
            number += batch.num_rows
            progress("read", number, file.metadata.num_rows)
    except pa.ArrowException as problem:
        raise DataError(f"{table.path} is damaged after row {number:,}: {problem}.") from problem


def _simple(column: pa.Array, name: str, path: Path) -> pa.Array:
    """A column as texts, numbers or moments."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = pa.types
    if kinds.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_timestamp(kind) or kinds.is_date(kind):
        return column
    if kinds.is_decimal(kind):
        return pc.cast(column, pa.float64())
    if kinds.is_boolean(kind) or kinds.is_null(kind):
        return pc.cast(column, pa.string())
    if kinds.is_binary(kind) or kinds.is_large_binary(kind):
        return _texts(pc.cast(column, pa.binary()))
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        return pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    raise DataError(f"{path}: column {name!r} is of type {kind}, where texts, numbers or times are expected.")
