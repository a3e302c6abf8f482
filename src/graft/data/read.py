"""`read`: whatever people have, as one `Dataset`. `check_trainable`: whether a classifier can be learned from it."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from graft.data.archives import MAX_MEMBER_BYTES
from graft.data.columns import (
    NO_LABEL,
    Wanted,
    find_roles,
    is_missing,
    looks_like_header,
    read_image,
    read_label,
    read_text,
    read_time,
)
from graft.data.dataset import UNLABELLED, Content, Dataset, ImageSource, Items, assemble, clean_label, file_sha256
from graft.data.folders import read_folder, read_zip
from graft.data.images import SUFFIXES
from graft.data.named import read_named
from graft.data.tables import TABLE_SUFFIXES, Row, Table, broken, decode_text, mend, open_table
from graft.data.targets import CLASSES, WORDS, Asked, asked_of, check_learnable, settle, strata
from graft.errors import DataError, MissingError, UsageError, unknown
from graft.results import Fault

NAMED = "data:"
_log = logging.getLogger("graft")
_SHOWN_FAULTS = 5


def read(
    data: str | Path,
    *,
    label: str | None = None,
    content: str | None = None,
    group: str | None = None,
    time: str | None = None,
    test: str | Path | None = None,
    names: str | Path | None = None,
    strict: bool = False,
    asked: Asked | None = None,
) -> Dataset:
    """Read a folder, zip, table, single picture or text, or a named set (`data:NAME`).

    `label`, `content`, `group`, `time` name columns of a table (a name, or a 0-based number); label and content are guessed when
    None, and `label` "none" says that there is none. `test` is a second file or folder of the same kind: the official test part. `names` is a file of lines
    `label<TAB>name or sentence`. Faulty items are left out and listed in `faults`; unlabelled ones stay, with label -1. `asked` says what
    the labels are, classes when left out; of others the data set has a `target`.

    Raises UsageError for flags that do not fit the data, MissingError when it is not there, DataError when nothing in it can be
    read, or with `strict` at any fault (all are listed in the error).
    """
    if asked is None:
        label, asked = _classes_of(label)
    wanted = Wanted(content, label, group, time)
    if not str(data).strip():
        raise UsageError("DATA is empty: give a folder, zip or table, or data:NAME.")
    if bare := label == NO_LABEL and Path(str(data)).suffix.lower() not in TABLE_SUFFIXES:
        wanted = replace(wanted, label=None)
    if str(data).startswith(NAMED):
        if test is not None or wanted.named():
            raise UsageError(
                f"{data} knows its columns and its test part: --test, --label, --content, --group and --time do not go with it."
            )
        if asked.task not in ("auto", "classes"):
            raise UsageError(f"{data} has classes; --label :{asked.task} is for your own data.")
        dataset = read_named(str(data).removeprefix(NAMED))
        if bare:
            dataset = replace(dataset, labels=np.full(len(dataset), UNLABELLED), classes=(), class_texts=None)
    else:
        dataset = _read_path(
            Path(data).expanduser(), wanted, None if test is None else Path(test).expanduser(), asked, bare=bare
        )
    dataset = replace(dataset, source=str(data))
    if test is not None:
        _check_test(dataset, test)
    if names is not None:
        if dataset.target is not None:
            raise UsageError(f"--names is for classes, and the labels are taken as {dataset.columns['task']}.")
        dataset = with_names(dataset, Path(names).expanduser())
    if strict and dataset.faults:
        raise DataError(f"{data} has {_list(dataset.faults)} --strict stops here.", faults=dataset.faults)
    return dataset


def _classes_of(label: str | None) -> tuple[str | None, Asked]:
    """`--label` where only classes are of use. Raises UsageError where it says that they are none."""
    column, asked = asked_of(label)
    if asked.task not in ("auto", "classes"):
        raise UsageError(
            f"--label {label}: graft fit answers {WORDS[asked.task]}; here labels are classes. Give --label {column or 'COLUMN'} to take "
            "them as such, or --label none to leave them out."
        )
    return column, CLASSES


def _check_test(dataset: Dataset, test: str | Path) -> None:
    """Raise DataError unless something in the test part that was named can be scored."""
    mask = dataset.test_mask
    if mask is None or not (dataset.labels[mask] >= 0).any():
        raise DataError(
            f"--test {test}: no item of it can be scored, because none has a label that the training part has too. "
            "Give it labels, or leave it out: part of the items is then held out.",
            faults=[fault for fault in dataset.faults if fault.where.startswith("test")],
        )


def check_trainable(dataset: Dataset) -> None:
    """Raise DataError unless the training part has labels of at least two classes that can be learned."""
    training = dataset.labels if dataset.test_mask is None else dataset.labels[~dataset.test_mask]
    labelled = training[training >= 0]
    column = dataset.columns.get("label")
    where = f"Column {column!r} of {dataset.source}" if column else dataset.source
    if not len(labelled):
        way = (
            "Put the items into one folder a class."
            if dataset.kind in ("folder", "zip")
            else "Name the column with --label."
        )
        raise DataError(f"{dataset.source} has no labelled item to learn from. {way}")
    met = sorted({int(code) for code in labelled})
    if len(met) < 2:
        raise DataError(
            f"{where} has one class only, {dataset.classes[met[0]]!r}; a classifier needs at least two classes."
        )
    if column and _are_ids([dataset.classes[code] for code in met], len(labelled)):
        raise DataError(
            f"{where} looks like an id or a measurement, not a label: {len(met):,} different values among {len(labelled):,} items "
            f"(such as {', '.join(dataset.classes[code] for code in met[:3])}). Name the label column with --label, "
            f"or say what it holds: --label {column}:number or :count."
        )


def _are_ids(values: Sequence[str], items: int) -> bool:
    """Nearly every item a value of its own, and the values hold digits or are long texts. (One item each of many classes is fine.)"""
    if len(values) < 20 or len(values) < 0.9 * items:
        return False
    odd = sum(any(sign.isdecimal() for sign in value) or len(value) > 60 for value in values)
    return odd > 0.9 * len(values)


def with_names(dataset: Dataset, path: Path) -> Dataset:
    """The data set with class texts from a file of lines `label<TAB>name or sentence`; data without any label gets its classes from it.

    Raises MissingError without the file, DataError for a line that is not so, a label twice, or one the data do not have.
    """
    try:
        lines = decode_text(path.read_bytes())[0].splitlines()
    except FileNotFoundError as problem:
        raise MissingError(f"There is no file {path} for --names.") from problem
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise DataError(f"{path}, given for --names, cannot be read: {reason}.") from problem
    texts: dict[str, str] = {}
    faults = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        label, tab, text = line.partition("\t")
        label = clean_label(label)
        if not tab or not label or not text.strip():
            faults.append(Fault(f"line {number}", "not of the form label<TAB>name or sentence", line[:80]))
        elif label in texts:
            faults.append(Fault(f"line {number}", "a label that came before", label))
        elif dataset.classes and label not in dataset.classes:
            faults.append(Fault(f"line {number}", unknown("the label", label, dataset.classes), label))
        else:
            texts[label] = text.strip()
    if faults:
        raise DataError(f"{path}, given for --names, has {_list(faults)}", faults=faults)
    if not texts:
        raise DataError(f"{path}, given for --names, is empty: it should hold lines label<TAB>name or sentence.")
    if not dataset.classes:
        return replace(dataset, classes=tuple(texts), class_texts=texts)
    if unnamed := [label for label in dataset.classes if label not in texts]:
        _log.warning("%s has no line for %s: there the label itself is taken.", path, ", ".join(map(repr, unnamed[:5])))
    known = dict(zip(dataset.classes, dataset.class_descriptions(), strict=True))
    return replace(dataset, class_texts=known | texts)


def _list(faults: Sequence[Fault]) -> str:
    shown = "; ".join(f"{fault.where}: {fault.problem.rstrip('.')}" for fault in faults[:_SHOWN_FAULTS])
    rest = "" if len(faults) <= _SHOWN_FAULTS else f"; and {len(faults) - _SHOWN_FAULTS:,} more"
    return f"{len(faults):,} fault{'s' * (len(faults) > 1)}: {shown}{rest}."


def _read_path(path: Path, wanted: Wanted, test: Path | None, asked: Asked, *, bare: bool) -> Dataset:
    kind = _kind(path)
    if kind != "table" and wanted.named():
        flags = ", ".join(f"--{role}" for role in wanted.named())
        raise UsageError(f"{flags}: columns are named for a table, and {path} is a {kind}.")
    if test is not None and _kind(test) != kind:
        raise UsageError(
            f"--test {test} is a {_kind(test)}, but {path} is a {kind}; the test part must be of the same kind."
        )
    sha256 = None
    if kind == "table":
        items = _read_tables(path, wanted, test, asked.task)
    else:
        items = _read_tree(path, kind)
        if test is not None:
            _append_test(items, _read_tree(test, kind), path)
        if bare:
            items.labels = [None] * len(items.ids)
    if kind != "folder" or path.is_file():
        try:
            sha256 = file_sha256(path)
        except OSError as problem:
            raise DataError(f"{path} cannot be read: {problem.strerror}.") from problem
    plain = path.absolute() if path.name not in ("", "..") else path.resolve()
    name = plain.name if path.is_dir() else plain.stem
    items, target = settle(items, asked, kind)
    if target is None:
        return replace(assemble(items, name=name or "data", kind=kind, source=str(path)), sha256=sha256)
    labelled = np.array([label is not None for label in items.labels])
    plainly = replace(items, labels=[None] * len(items.ids))
    dataset = assemble(plainly, name=name or "data", kind=kind, source=str(path))
    learned = labelled if dataset.test_mask is None else labelled & ~dataset.test_mask
    check_learnable(target, learned, str(path), dataset.faults)
    return replace(dataset, sha256=sha256, labels=strata(target, labelled), target=target)


def _kind(path: Path) -> str:
    """folder (also of a single picture or text), zip or table. Raises MissingError, DataError."""
    if path.is_dir():
        return "folder"
    if not path.exists():
        beside = (
            [entry.name for entry in path.parent.iterdir()]
            if os.access(path.parent, os.R_OK) and path.parent.is_dir()
            else []
        )
        near = difflib.get_close_matches(path.name, beside, n=1)
        hint = f" Did you mean {path.parent / near[0]}?" if near else " A named public set is written data:NAME."
        raise MissingError(f"There is no file or folder {path}.{hint}")
    if not path.is_file():
        raise DataError(f"{path} is a pipe or device, which can be read only once: save it as a file first.")
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return "zip"
    if suffix in TABLE_SUFFIXES:
        return "table"
    if suffix in SUFFIXES or suffix == ".txt":
        return "folder"
    raise DataError(
        f"{path} is of a kind that is not read ({suffix or 'no suffix'}). Allowed: a folder, .zip, {', '.join(sorted(TABLE_SUFFIXES))}, a picture or .txt."
    )


def _read_tree(path: Path, kind: str) -> Items:
    if kind == "zip":
        return read_zip(path)
    if path.is_dir():
        return read_folder(path)
    content: Content = ImageSource(path)
    if path.suffix.lower() == ".txt":
        try:
            if path.stat().st_size > MAX_MEMBER_BYTES:
                raise DataError(f"{path} is larger than {MAX_MEMBER_BYTES:,} bytes, the limit of one text.")
            content = decode_text(path.read_bytes())[0].strip()
        except (OSError, ValueError) as problem:
            raise DataError(f"{path} cannot be read: {problem}.") from problem
        if not content:
            raise DataError(f"{path} is empty.")
    items = Items("text" if isinstance(content, str) else "image")
    items.add(path.name, content, None)
    return items


def _append_test(items: Items, test: Items, path: Path) -> None:
    if any(items.test) or any(test.test):
        raise UsageError(f"--test: {path} has a test part of its own already.")
    if test.modality != items.modality:
        raise DataError(f"The test part holds {test.modality}s, the training part {items.modality}s.")
    for item_id, content, label in zip(test.ids, test.contents, test.labels, strict=True):
        items.add(f"test:{item_id}", content, label, test=True)
    items.faults.extend(replace(fault, where=f"test:{fault.where}") for fault in test.faults)


# Tables


def _read_tables(path: Path, wanted: Wanted, test: Path | None, task: str) -> Items:
    table = open_table(path, lambda first, others: looks_like_header(wanted, first, others))
    roles = find_roles(table, wanted, task)
    positions = {role: position for role, position in vars(roles).items() if role != "images" and position is not None}
    items = Items("image" if roles.images else "text")
    items.columns.update({role: table.names[position] for role, position in positions.items()} | table.notes)
    items.groups = None if roles.group is None else []
    items.times = None if roles.time is None else []
    _add_rows(items, table, positions, test=False)
    if test is not None:
        same = Wanted(**{role: table.names[position] for role, position in positions.items()})
        second = open_table(
            test, lambda first, others: table.header if not table.typed else looks_like_header(same, first, others)
        )
        found = find_roles(second, same)
        _add_rows(
            items, second, {role: position for role, position in vars(found).items() if role in positions}, test=True
        )
    if not items.ids:
        raise DataError(
            f"Nothing in {path} can be read: {_list(items.faults) if items.faults else 'there is no row in it.'}",
            faults=items.faults,
        )
    return items


def _add_rows(items: Items, table: Table, positions: dict[str, int], *, test: bool) -> None:
    base = os.path.realpath(table.path.parent)
    place = {role: i for i, role in enumerate(positions)}
    foreign: list[str] = []
    unicode_rows = 0

    def where(row: Row) -> str:
        return f"test {row.where}" if test else row.where

    def fault(row: Row, problem: str, value: object = "", about: str = "content") -> None:
        items.faults.append(Fault(where(row), problem, _shown(value), about))

    for row in _rows(table, list(positions.values())):
        if row.cells is None:
            fault(row, row.problem)
            continue
        cell = row.cells[place["content"]]
        try:
            content = read_image(cell, base) if items.modality == "image" else read_text(cell)
        except ValueError as problem:
            fault(row, str(problem), cell)
            continue
        if items.times is not None:
            try:
                items.times.append(read_time(row.cells[place["time"]]))
            except ValueError as problem:
                fault(row, str(problem), row.cells[place["time"]])
                continue
        if items.groups is not None:
            group = row.cells[place["group"]]
            items.groups.append(None if is_missing(group) else str(group))
        label = None
        if "label" in place:
            try:
                label = read_label(row.cells[place["label"]], typed=table.typed)
                if label is None:
                    fault(row, "unlabelled", about="label")
            except ValueError as problem:
                fault(row, str(problem), row.cells[place["label"]], about="label")
                if isinstance(row.cells[place["label"]], list):
                    items.lists[len(items.ids)] = row.cells[place["label"]]
        words = [word for word in row.cells if isinstance(word, str) and not word.isascii()]
        if any(map(broken, words)):
            foreign.append(where(row))
        elif words:
            unicode_rows += 1
        items.add(f"test:{row.number}" if test else str(row.number), content, label, test=test)
    _note_encoding(items, foreign, unicode_rows)


def _rows(table: Table, wanted: list[int]) -> Iterable[Row]:
    try:
        yield from table.rows(wanted)
    except (OSError, UnicodeError) as problem:
        raise DataError(f"{table.path} cannot be read: {problem}.") from problem


def _note_encoding(items: Items, foreign: Sequence[str], unicode_rows: int) -> None:
    """All rows outside ASCII not in UTF-8: the file is in cp1252. Some: each of them is a fault, though it is kept, read as cp1252."""
    if foreign and not unicode_rows:
        items.columns["encoding"] = "cp1252 (not UTF-8, so guessed)"
    elif foreign:
        items.columns["encoding"] = "utf-8 and cp1252 mixed"
        items.faults.extend(Fault(where, "not UTF-8 like the other rows; read as cp1252") for where in foreign)


def _shown(cell: object) -> str:
    text = str(cell)
    return mend(text if len(text) <= 80 else text[:77] + "...")
