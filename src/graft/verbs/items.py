"""What a person means by ITEM: a picture, a folder, a zip, a table, a line of the standard input, or a text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from graft.data.archives import list_zip
from graft.data.columns import Wanted, looks_like_header
from graft.data.dataset import Content, ImageSource
from graft.data.folders import list_folder
from graft.data.images import SUFFIXES, suffix
from graft.data.read import read
from graft.data.tables import TABLE_SUFFIXES, decode_text, open_table
from graft.errors import DataError, UsageError
from graft.results import Fault

STDIN = "-"
READS = {"image": "this model reads pictures", "text": "this model reads texts"}


@dataclass
class Gathered:
    """Items found, in order: ids and contents are parallel; what cannot be used is in `faults`."""

    modality: str
    ids: list[str] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def add(self, item: str, content: Content) -> None:
        """Take one item, unless it is of the kind that the model does not read."""
        if isinstance(content, str) != (self.modality == "text"):
            kind = "a text" if isinstance(content, str) else "a picture"
            self.faults.append(Fault(item, f"{kind}; {READS[self.modality]}"))
        elif isinstance(content, str) and not content.strip():
            self.faults.append(Fault(item.strip() or '""', "empty"))
        else:
            self.ids.append(item)
            self.contents.append(content)


def gather(items: Sequence[str], modality: str, *, text: bool, column: str | None, usual: str | None) -> Gathered:
    """Find the contents of `items` for a model of `modality` ("text" or "image").

    `text` takes every item as a text. `column` names the column of tables, `usual` the one the model was fitted on, taken where `column`
    is None; a table with one column needs no name, and where `usual` is None too it is guessed. Rows and files of one container keep
    the ids `fit` gives them; with several items the container's name goes in front.

    Raises UsageError when `text` is asked of a model of pictures, DataError for a table of several columns without the usual one, and what
    the readers of folders, zips and tables raise.
    """
    found = Gathered(modality)
    if text and modality != "text":
        raise UsageError("--text: this model reads pictures, not texts.")
    for item in items:
        path = None if text else _existing(item)
        prefix = f"{item}:" if len(items) > 1 else ""
        if item == STDIN:
            _lines(found)
        elif path is None:
            _word(found, item, text=text)
        elif path.is_dir() or path.suffix.lower() == ".zip":
            _files(found, path, prefix)
        elif path.suffix.lower() in TABLE_SUFFIXES:
            _table(found, path, prefix, column, usual)
        else:
            _file(found, item, path)
    return found


def _existing(item: str) -> Path | None:
    """The path that an item is, if there is something at it; a text may be too long for one, or hold signs that no path has."""
    try:
        path = Path(item).expanduser()
        return path if item.strip() and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # RuntimeError: "~name" without such a user
        return None


def _word(found: Gathered, item: str, *, text: bool) -> None:
    """An item that is no file: a text, or the path of something that is not there."""
    if found.modality == "text" and not text and _like_a_file(item):
        found.faults.append(Fault(item, "there is no such file; --text takes it as a text"))
    elif found.modality == "text":
        found.add(item, item)
    else:
        found.faults.append(Fault(item, f"there is no such file, and {READS['image']}"))


def _like_a_file(item: str) -> bool:
    """One word that ends as the name of a file that is read does: nobody's text, but a mistyped path."""
    known = SUFFIXES | TABLE_SUFFIXES | {".txt", ".zip"}
    return not any(sign.isspace() for sign in item) and suffix(item) in known


def _lines(found: Gathered) -> None:
    """Lines of the standard input: texts for a model of texts, paths of picture files for one of pictures."""
    stream = getattr(sys.stdin, "buffer", None)
    try:
        lines = (sys.stdin.read() if stream is None else decode_text(stream.read())[0]).split("\n")
    except ValueError as problem:
        raise DataError(f"The standard input cannot be read: {problem}.") from problem
    before = len(found.ids) + len(found.faults)
    for line in filter(None, (line.strip() for line in lines)):
        if found.modality == "text":
            found.add(line, line)
        elif (path := _existing(line)) is not None:
            found.add(line, ImageSource(path))
        else:
            _word(found, line, text=False)
    if before == len(found.ids) + len(found.faults):
        found.faults.append(Fault("standard input", "it holds no line with an item in it"))


def _file(found: Gathered, item: str, path: Path) -> None:
    """One file: a picture, or one text. A file that is no picture, whatever its name says, is found out when it is decoded."""
    kind = path.suffix.lower()
    if kind in SUFFIXES or (found.modality == "image" and kind != ".txt"):
        found.add(item, ImageSource(path))
    else:
        _text_file(found, item, path.read_bytes)


def _text_file(found: Gathered, item: str, read_bytes: Callable[[], bytes]) -> None:
    try:
        found.add(item, decode_text(read_bytes())[0].strip())
    except (OSError, ValueError) as problem:
        found.faults.append(Fault(item, f"unreadable: {problem}"))


def _files(found: Gathered, path: Path, prefix: str) -> None:
    """Every picture (or .txt file) of a folder or zip, however deep, whatever folders it lies in."""
    zipped = path.is_file()
    entries, faults = list_zip(path) if zipped else list_folder(path)
    found.faults += [replace(fault, where=prefix + fault.where) for fault in faults]
    before = len(found.ids) + len(found.faults)
    for entry in entries:
        kind = suffix(entry.path)
        source = ImageSource(path, entry.member) if zipped else ImageSource(path / entry.member)
        if found.modality == "image" and kind in SUFFIXES:
            found.add(prefix + entry.path, source)
        elif found.modality == "text" and kind == ".txt":
            _text_file(found, prefix + entry.path, source.read_bytes)
    if before == len(found.ids) + len(found.faults):
        none = "no picture" if found.modality == "image" else "no .txt file"
        found.faults.append(Fault(str(path), f"it holds {none}, and {READS[found.modality]}"))


def _table(found: Gathered, path: Path, prefix: str, column: str | None, usual: str | None) -> None:
    try:
        table = read(path, content=column or usual)
    except UsageError as problem:
        if column is not None or usual is None:
            raise
        _check_only_column(path, usual, problem)
        table = read(path, content="0")
    if table.modality != found.modality:
        kind = "texts" if table.modality == "text" else "paths of pictures"
        found.faults.append(Fault(str(path), f"it holds {kind}; {READS[found.modality]}"))
        return
    found.faults += [replace(fault, where=prefix + fault.where) for fault in table.faults if fault.about == "content"]
    for item, content in zip(table.ids, table.contents, strict=True):
        found.add(prefix + item, content)


def _check_only_column(path: Path, usual: str, problem: UsageError) -> None:
    """Raise DataError unless the table at `path`, which lacks the column `usual`, has one column only: that is taken, whatever its name."""
    table = open_table(path, lambda first, others: looks_like_header(Wanted(), first, others))
    if len(table.names) == 1:
        return
    names = ", ".join(table.names)
    if not table.header:
        cells = (f"{name} ({str(cell)[:40]!r})" for name, cell in zip(table.names, table.sample[0], strict=True))
        names = f"{', '.join(cells)}; they go by number, as the first row is read as an item, not as a header"
    raise DataError(
        f"{path} has no column {usual!r}, the one this model was fitted on. Name the one to read with --content. Columns: {names}."
    ) from problem
