"""Tables as people save them: CSV, TSV, JSON lines, Parquet. Parsing only; which column means what is told in `columns`.

A row's number is its 0-based place among the data rows (the header and blank lines are not counted), as in item ids; its line
is the 1-based line of the file where it begins. A row that cannot be parsed keeps its number and becomes a fault.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from graft.errors import DataError

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
SAMPLE_ROWS = 1000  # what columns are guessed from
MAX_CELL = 2**28  # characters in one cell; csv's own limit of 131,072 would refuse long documents
_MAX_UNCLOSED = 20  # quotes never closed; each costs a pass over the rest of the file
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


class Row(NamedTuple):
    """One data row: its number, its line (None in Parquet), and its cells, or None with the problem when it cannot be parsed."""

    number: int
    line: int | None
    cells: Sequence[Any] | None
    problem: str = ""

    @property
    def where(self) -> str:
        """As faults name it: `row 12 (line 14)`."""
        return f"row {self.number}" if self.line is None else f"row {self.number} (line {self.line})"


@dataclass
class Table:
    """A table that has been looked at. `names` are its columns ("0", "1", .. without a header), `sample` the cells of its first rows.

    `rows(wanted)` reads it all; every row's cells are those of the columns at the positions `wanted`. `typed` when cells carry
    types (JSON, Parquet) and are not all words. `notes` tells what was guessed about the file (delimiter, no header).
    """

    path: Path
    names: tuple[str, ...]
    header: bool
    typed: bool
    sample: list[list[Any]]
    rows: Callable[[Sequence[int]], Iterator[Row]]
    notes: dict[str, str] = field(default_factory=dict)


IsHeader = Callable[[list[str], list[list[str]]], bool]


def open_table(path: Path, is_header: IsHeader) -> Table:
    """Look at a table's first rows. `is_header(first record, others)` tells whether a CSV's first record names the columns.

    Raises DataError when the file is empty, damaged, of another kind, or not a text where one is expected.
    """
    try:
        match path.suffix.lower():
            case ".csv" | ".tsv":
                return _open_csv(path, is_header)
            case ".jsonl" | ".ndjson":
                return _open_jsonl(path)
            case ".parquet":
                return _open_parquet(path)
    except UnicodeError as problem:
        raise DataError(
            f"{path} is not {getattr(problem, 'encoding', 'utf-8')} text although it begins so: {problem}. Save it as UTF-8."
        ) from problem
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror or problem}.") from problem
    raise DataError(f"{path} is not a table that is read. Allowed: {', '.join(sorted(TABLE_SUFFIXES))}.")


# Characters


def decode_text(raw: bytes) -> tuple[str, str]:
    """A text file's characters and the encoding they were in: by its byte-order mark, else UTF-8, else cp1252.

    Raises ValueError when the bytes are no text.
    """
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return raw.decode(encoding), encoding.removesuffix("-sig")
    if b"\x00" in raw:
        raise ValueError("it holds NUL bytes, so it is no text")
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return mend(raw.decode("utf-8", "surrogateescape")), "cp1252"


def mend(text: str) -> str:
    """Replace what was not UTF-8: bytes kept by `surrogateescape` are read as cp1252 (Latin-1 where that has no sign), lone
    halves of characters become U+FFFD."""
    return "".join(_mended(sign) if "\ud800" <= sign <= "\udfff" else sign for sign in text)


def _mended(sign: str) -> str:
    if not "\udc80" <= sign <= "\udcff":
        return "\ufffd"
    byte = bytes([ord(sign) - 0xDC00])
    try:
        return byte.decode("cp1252")
    except UnicodeDecodeError:
        return byte.decode("latin-1")


def broken(text: str) -> bool:
    """True when some of it was not UTF-8 (see `mend`)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as stream:
        start = stream.read(4)
    if start == b"PK\x03\x04":
        raise DataError(f"{path} is a spreadsheet or zip in spite of its name. Save it as CSV, or unpack it.")
    encoding = next((name for mark, name in _BOMS if start.startswith(mark)), "utf-8")
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    return path.open(encoding=encoding, errors=errors, newline="")


# CSV and TSV


class _Lines:
    """The lines of a file, counted; those of the record being read are kept, so that a quote left open can be undone."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.again: list[str] = []  # to be read once more, last first
        self.record: list[str] = []
        self.count = 0
        self.ended = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.again.pop() if self.again else next(self.stream, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.count += 1
        self.record.append(line)
        return line

    def begin(self) -> int:
        """Start a record; its 1-based line."""
        self.record.clear()
        self.ended = False
        return self.count + 1

    def undo(self) -> None:
        """Give back all but the first line of this record."""
        self.count -= len(self.record) - 1
        self.again.extend(reversed(self.record[1:]))


def csv_records(
    stream: TextIO, delimiter: str, quoting: int, *, lenient: bool = True
) -> Iterator[tuple[int, list[str] | str]]:
    """(line, cells) of every record that is not blank, or (line, problem).

    A stray quote at the start of a cell would swallow the lines up to the next quote, or the end of the file. A record over
    several lines is therefore read strictly; when it does not end as it should, its first line is the fault and reading goes on
    with the second. Within one line `lenient` takes quotes as they come.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
    dialect: dict[str, Any] = {"delimiter": delimiter, "quoting": quoting}
    lines = _Lines(stream)
    unclosed = 0
    while True:
        reader = csv.reader(lines, strict=True, **dialect)
        start = lines.begin()
        try:
            for cells in reader:
                if cells:
                    yield start, cells
                start = lines.begin()
            return
        except csv.Error as error:
            problem = str(error)
        if len(lines.record) > 1 or lines.ended:
            problem = "a quote is opened here and not closed as it should be"
            unclosed += lines.ended
        elif lenient:
            yield start, next(csv.reader(lines.record, **dialect))
            continue
        yield start, problem
        if unclosed > _MAX_UNCLOSED:
            yield start + 1, f"the rest of the file is not read: more than {_MAX_UNCLOSED} quotes are never closed"
            return
        lines.undo()


def csv_line(cells: Sequence[object], delimiter: str = ",") -> str:
    """One record as it is written, without its line end: a cell with a line end of any kind is quoted, which `csv.writer` does only for its own."""
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return stream.getvalue()[:-2]


def _open_csv(path: Path, is_header: IsHeader) -> Table:
    delimiter, quoting = _dialect(path)
    with _open_text(path) as stream:
        start = [
            cells
            for _, cells in islice(csv_records(stream, delimiter, quoting), SAMPLE_ROWS + 1)
            if isinstance(cells, list)
        ]
    if not start:
        raise DataError(f"{path} is empty: there is no row in it.")
    first, others = [mend(cell).strip() for cell in start[0]], start[1:]
    header = is_header(first, others)
    if not header:
        others = start
    width = len(first) if header else Counter(len(cells) for cells in others).most_common(1)[0][0]
    names = unique_names(first) if header else tuple(str(i) for i in range(width))
    sample = [[mend(cell) for cell in cells] for cells in others if len(cells) == width]
    notes = {} if header else {"header": "none"}
    if delimiter != {".csv": ",", ".tsv": "\t"}[path.suffix.lower()]:
        notes["delimiter"] = {"\t": "tab", _NO_DELIMITER: "none"}.get(delimiter, delimiter)

    def rows(wanted: Sequence[int]) -> Iterator[Row]:
        with _open_text(path) as stream:
            records = csv_records(stream, delimiter, quoting)
            if header:
                next(records, None)
            yield from _rows_of(records, width, wanted)

    return Table(path, names, header, False, sample, rows, notes)


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Column names with the position for an empty one and ".1", ".2" behind repeated ones."""
    seen: Counter[str] = Counter()
    unique = []
    for i, name in enumerate(names):
        name = name or str(i)
        unique.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return tuple(unique)


def _rows_of(records: Iterator[tuple[int, list[str] | str]], width: int, wanted: Sequence[int]) -> Iterator[Row]:
    for number, (line, cells) in enumerate(records):
        if isinstance(cells, str):
            yield Row(number, line, None, cells)
        elif len(cells) < width or any(cell.strip() for cell in cells[width:]):
            yield Row(number, line, None, f"it has {len(cells)} cells where {width} are expected")
        else:
            yield Row(number, line, [cells[i] for i in wanted])


_SNIFFED = 2**18  # characters from which the delimiter is told
_NO_DELIMITER = "\x1f"  # the unit separator: a file of one column whose texts hold commas


def _dialect(path: Path) -> tuple[str, int]:
    if path.suffix.lower() == ".tsv":
        return "\t", _tsv_quoting(path)
    with _open_text(path) as stream:
        start = stream.read(_SNIFFED)
    best, delimiter = 0.0, _NO_DELIMITER
    for candidate in (",", ";", "\t", "|"):
        records = csv_records(io.StringIO(start, newline=""), candidate, csv.QUOTE_MINIMAL)
        widths = [len(cells) for _, cells in takewhile(lambda record: isinstance(record[1], list), islice(records, 50))]
        if len(start) == _SNIFFED and len(widths) > 1:
            widths.pop()  # it may have been cut
        share = widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0.0
        if share > max(best, 0.5):
            best, delimiter = share, candidate
    return delimiter, csv.QUOTE_MINIMAL


def _tsv_quoting(path: Path) -> int:
    """Whether quotes in a TSV are quotation marks of the format or plain signs: whichever leaves fewer rows of odd width.

    Where both fit, a record over several lines decides for plain signs (a stray quote has swallowed lines, each whole by itself).
    """
    with _open_text(path) as stream:
        lines = [line.count("\t") + 1 for line in stream if line.strip()]
    with _open_text(path) as stream:
        records = [
            len(cells) if isinstance(cells, list) else 0
            for _, cells in csv_records(stream, "\t", csv.QUOTE_MINIMAL, lenient=False)
        ]
    odd_lines, odd_records = (len(widths) - max(Counter(widths).values(), default=0) for widths in (lines, records))
    if odd_lines == odd_records:
        return csv.QUOTE_MINIMAL if len(lines) == len(records) else csv.QUOTE_NONE
    return csv.QUOTE_MINIMAL if odd_records < odd_lines else csv.QUOTE_NONE


# JSON lines


def _open_jsonl(path: Path) -> Table:
    start = [cells for _, cells in islice(_json_records(path), SAMPLE_ROWS) if not isinstance(cells, str)]
    if not start:
        raise DataError(f'{path} holds no row: every line should be a JSON object like {{"text": .., "label": ..}}.')
    names = tuple(dict.fromkeys(name for cells in start for name in cells))
    sample = [[cells.get(name) for name in names] for cells in start]

    def rows(wanted: Sequence[int]) -> Iterator[Row]:
        for number, (line, cells) in enumerate(_json_records(path)):
            if isinstance(cells, str):
                yield Row(number, line, None, cells)
            else:
                yield Row(number, line, [cells.get(names[i]) for i in wanted])

    return Table(path, names, not names[0].isdecimal(), True, sample, rows)


def _json_records(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with _open_text(path) as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as problem:
                yield line, f"not JSON: {problem}"
                continue
            if isinstance(value, list) and value:
                value = {str(i): cell for i, cell in enumerate(value)}
            yield line, value if isinstance(value, dict) and value else "not a JSON object"


# Parquet


def _open_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = tuple(file.schema_arrow.names)
        batch = next(file.iter_batches(batch_size=SAMPLE_ROWS), None)
        columns = [] if batch is None else [column.to_pylist() for column in batch.columns]
    except pa.ArrowException as problem:
        raise DataError(f"{path} cannot be read as Parquet: {problem}.") from problem
    if not columns or not columns[0]:
        raise DataError(f"{path} is empty: there is no row in it.")
    if len(set(names)) < len(names):
        raise DataError(f"{path} has two columns of one name. Columns: {', '.join(names)}.")

    def rows(wanted: Sequence[int]) -> Iterator[Row]:
        number = 0
        try:
            for batch in pq.ParquetFile(path).iter_batches(
                batch_size=10_000, columns=list({names[i]: 0 for i in wanted})
            ):
                held = {name: batch.column(name).to_pylist() for name in batch.schema.names}
                for cells in zip(*(held[names[i]] for i in wanted), strict=True):
                    yield Row(number, None, cells)
                    number += 1
        except pa.ArrowException as problem:
            yield Row(number, None, None, f"the file is damaged from here on: {problem}")

    return Table(path, names, True, True, [list(cells) for cells in zip(*columns, strict=True)], rows)
