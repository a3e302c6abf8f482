"""Corrected labels written into a copy of the data: read from the file the page saves, checked against the data as they are, written whole or not at all."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.data.columns import Wanted, looks_like_header, read_label
from graft.data.dataset import Dataset, ImageSource
from graft.data.tables import Row, Table, csv_line, decode_text, open_table
from graft.errors import DataError, MissingError, UsageError, unknown
from graft.reports.review import CorrectedTable
from graft.results import Fault
from graft.store.files import new_folder, write_bytes

KIND = "graft label corrections"


@dataclass(frozen=True)
class Correction:
    """A judged label: the item's id, the label it had, the label it shall have (the same where it was confirmed)."""

    item: str
    given: str
    label: str


def read_corrections(path: Path) -> tuple[Correction, ...]:
    """The file that the page saves. Raises MissingError without it, DataError when it is something else, listing every entry at fault."""
    try:
        tree = json.loads(path.read_bytes())
    except FileNotFoundError as problem:
        raise MissingError(f"There is no file {path} for --corrections.") from problem
    except (OSError, ValueError, RecursionError) as problem:
        raise DataError(
            f"{path}, given for --corrections, is not the JSON that the page saves: {problem}."
        ) from problem
    entries = tree.get("corrections") if isinstance(tree, dict) and tree.get("kind") == KIND else None
    if not isinstance(entries, list):
        raise DataError(
            f"{path}, given for --corrections, is not what the page of `graft diagnose labels` saves: it has no kind {KIND!r} with a list `corrections`."
        )
    found, faults = [], []
    for number, entry in enumerate(entries):
        words = [entry.get(name) if isinstance(entry, dict) else None for name in ("item", "given", "label")]
        texts = [word for word in words if isinstance(word, str)]
        if len(texts) == len(words):
            found.append(Correction(*texts))
        else:
            faults.append(
                Fault(f"correction {number}", "it should have item, given and label, each a text", str(entry)[:80])
            )
    if faults:
        raise DataError(f"{path} has {len(faults)} entries that are no corrections.", faults=faults)
    return tuple(found)


def checked(corrections: Sequence[Correction], dataset: Dataset) -> dict[str, Correction]:
    """The corrections by item. Raises DataError with every one that does not fit the data: an id that is gone, an unknown label, a label that has
    changed since it was judged, an item corrected in two ways."""
    label_of = {
        item: dataset.classes[code] if code >= 0 else ""
        for item, code in zip(dataset.ids, dataset.labels.tolist(), strict=True)
    }
    faults: list[Fault] = []
    found: dict[str, Correction] = {}
    for one in corrections:
        before = found.setdefault(one.item, one)
        if before.label != one.label:
            faults.append(
                Fault(one.item, f"it is corrected twice, to {before.label!r} and to {one.label!r}", one.label)
            )
        elif one.item not in label_of:
            faults.append(Fault(one.item, "the data have no item of this id any more", one.item))
        elif one.label not in dataset.classes:
            faults.append(Fault(one.item, unknown("the label", one.label, dataset.classes), one.label))
        elif label_of[one.item] != one.given:
            faults.append(
                Fault(
                    one.item,
                    f"it was judged with the label {one.given!r} and now has {label_of[one.item]!r}",
                    one.given,
                )
            )
    if faults:
        raise DataError(
            f"{len(faults)} of {len(corrections)} corrections do not fit {dataset.source}; nothing was written. Judge these data again with "
            f"`graft diagnose labels`, or mend the file.",
            faults=faults,
        )
    return found


def write_corrected(dataset: Dataset, corrections: Mapping[str, Correction], out: Path) -> CorrectedTable:
    """A new folder `out` with the corrected table: a table's own rows and columns in its own format, with nothing changed but labels (and relative
    paths of pictures made absolute, as the table moves); for anything else a CSV of paths (or ids and texts) and labels.

    Raises UsageError where `out` exists, StorageError when it cannot be written.
    """
    if not corrections:
        raise UsageError("The file holds no correction: judge a label on the page first.")
    changed = {item: one.label for item, one in corrections.items() if one.label != one.given}
    pairs = Counter((one.given, one.label) for one in corrections.values() if one.label != one.given)
    if dataset.kind == "table":
        name, content, rows = _table(dataset, changed)
    else:
        name, content, rows = f"{dataset.name}.csv", _listing(dataset, changed), len(dataset)
    with new_folder(out) as draft:
        write_bytes(draft / name, content)
    lost = sum(fault.about == "content" for fault in dataset.faults) if dataset.kind != "table" else 0
    return CorrectedTable(
        str(out / name),
        rows,
        len(changed),
        len(corrections) - len(changed),
        lost,
        tuple((given, label, count) for (given, label), count in pairs.most_common()),
    )


def _listing(dataset: Dataset, changed: Mapping[str, str]) -> bytes:
    """A CSV of pictures by path or of texts by id, with labels (empty where there is none), and the official part where there is one."""
    pictures = dataset.modality == "image"
    parts = None if dataset.test_mask is None else ["test" if test else "train" for test in dataset.test_mask.tolist()]
    lines = [csv_line([*(("path",) if pictures else ("id", "text")), "label", *(["part"] if parts else [])])]
    for number, (item, content, code) in enumerate(
        zip(dataset.ids, dataset.contents, dataset.labels.tolist(), strict=True)
    ):
        label = changed.get(item, dataset.classes[code] if code >= 0 else "")
        if isinstance(content, ImageSource):
            shown = [str(content.path.absolute()) if content.member is None else item]
        else:
            shown = [item, content]
        lines.append(csv_line([*shown, label, *([parts[number]] if parts else [])]))
    return "\n".join([*lines, ""]).encode("utf-8", "replace")


def _table(dataset: Dataset, changed: Mapping[str, str]) -> tuple[str, bytes, int]:
    """Name, bytes and number of rows of the corrected table."""
    path = Path(dataset.source).expanduser()
    wanted = Wanted(dataset.columns["content"], dataset.columns["label"])
    table = open_table(
        path, lambda first, others: dataset.columns.get("header") != "none" and looks_like_header(wanted, first, others)
    )
    place = {role: table.names.index(dataset.columns[role]) for role in ("content", "label")}
    if path.suffix.lower() == ".parquet":
        return path.name, *_parquet(path, place, changed, pictures=dataset.modality == "image")
    rows = list(table.rows(range(len(table.names))))
    spelt = _spellings(rows, place["label"], typed=table.typed)
    new: dict[int, dict[int, Any]] = {}  # by row number: position of a cell, and what it shall hold
    for row in rows:
        if row.cells is None:
            continue
        if (label := changed.get(str(row.number))) is not None:
            new.setdefault(row.number, {})[place["label"]] = spelt[label]
        if dataset.modality == "image" and (moved := _absolute(row.cells[place["content"]], path)):
            new.setdefault(row.number, {})[place["content"]] = moved
    lines = list(io.StringIO(decode_text(path.read_bytes())[0], newline=""))
    edit = _edit_json if path.suffix.lower() in (".jsonl", ".ndjson") else _edit_csv
    starts = [row.line - 1 for row in rows if row.line is not None]
    for row, start, end in zip(rows, starts, [*starts[1:], len(lines)], strict=True):
        if row.number in new:
            record = "".join(lines[start:end])
            bare = record.rstrip("\r\n")
            lines[start:end] = [
                edit(bare, row, new[row.number], table) + record[len(bare) :],
                *[""] * (end - start - 1),
            ]
    return path.name, "".join(lines).encode("utf-8", "replace"), len(rows)


def _spellings(rows: Sequence[Row], place: int, *, typed: bool) -> dict[str, Any]:
    """How the table itself writes each label: the first cell that has it."""
    found: dict[str, Any] = {}
    for row in rows:
        if row.cells is not None:
            try:
                label = read_label(row.cells[place], typed=typed)
            except ValueError:
                continue
            if label is not None:
                found.setdefault(label, row.cells[place])
    return found


def _absolute(cell: Any, table: Path) -> str:
    """Where the picture lies, if the cell says it relative to the table and it is there; else nothing."""
    text = str(cell).strip()
    beside = table.parent / text
    return str(beside.absolute()) if text and not Path(text).is_absolute() and beside.is_file() else ""


def _edit_json(record: str, row: Row, new: Mapping[int, Any], table: Table) -> str:
    del row
    cells = json.loads(record)
    cells.update({table.names[place]: value for place, value in new.items()})
    return json.dumps(cells, ensure_ascii=False)


def _edit_csv(record: str, row: Row, new: Mapping[int, Any], table: Table) -> str:
    """The record with new cells; the others keep their very signs where no cell holds the delimiter, else the record is quoted anew."""
    assert row.cells is not None
    delimiter = table.notes.get("delimiter", "\t" if table.path.suffix.lower() == ".tsv" else ",").replace("tab", "\t")

    pieces = record.split(delimiter)
    if len(pieces) == len(row.cells):
        return delimiter.join(csv_line([new[i]], delimiter) if i in new else piece for i, piece in enumerate(pieces))
    return csv_line([new.get(i, cell) for i, cell in enumerate(row.cells)], delimiter)


def _parquet(path: Path, place: Mapping[str, int], changed: Mapping[str, str], *, pictures: bool) -> tuple[bytes, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = pq.read_table(path)
    cells = held.column(place["label"]).to_pylist()
    rows = [Row(number, None, [cell]) for number, cell in enumerate(cells)]
    spelt = _spellings(rows, 0, typed=True)
    for item, label in changed.items():
        cells[int(item)] = spelt[label]
    new = {place["label"]: cells}
    if pictures:
        paths = held.column(place["content"]).to_pylist()
        new[place["content"]] = [_absolute(cell, path) or cell for cell in paths]
    for position, values in new.items():
        field = held.schema.field(position)
        held = held.set_column(position, field, pa.array(values, field.type))
    sink = pa.BufferOutputStream()
    pq.write_table(held, sink)
    return sink.getvalue().to_pybytes(), len(cells)
