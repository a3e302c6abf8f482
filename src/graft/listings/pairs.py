"""Pictures with texts about them, as bridges are learned from: a table with a column of each, or a named set with captions.

Rows may name the same picture; they are then one group. N pairs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.columns import Wanted, find_roles, looks_like_header, read_image, read_text
from graft.data.dataset import ImageSource, group_codes
from graft.data.read import NAMED
from graft.data.tables import TABLE_SUFFIXES, Table, open_table
from graft.errors import DataError, MissingError, UsageError, unknown
from graft.listings.searchable import read_judged, read_searchable
from graft.results import Fault

_SETS = ("flickr8k_1000",)
_SHOWN = 3  # faults named in the message itself


@dataclass(frozen=True, eq=False)
class Pairs:
    """Parallel, one entry a pair: picture, text, `groups` (N,) with a code a picture, and `ids` for people: "12" for row 12, or the
    picture's name in a named set. Rows that cannot be used are in `faults`; `columns` says what was read as what."""

    images: tuple[ImageSource, ...]
    texts: tuple[str, ...]
    groups: NDArray[np.int64]
    ids: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pictures(self) -> int:
        """How many different pictures there are."""
        return len(np.unique(self.groups))


def read_pairs(source: str | Path, *, image: str | None = None, text: str | None = None) -> Pairs:
    """Read pairs from a table (.csv, .tsv, .jsonl, .parquet) or `data:flickr8k_1000`.

    `image` and `text` name columns (or give 0-based positions); left out, they are guessed by customary names and by what cells look like.
    Relative paths of pictures start at the table's folder. All faulty rows are listed, the others are used.

    Raises UsageError for a source that is no table or a column that is not there, MissingError when there is nothing at `source`, DataError
    when no column can be either side or no row can be used.
    """
    if str(source).startswith(NAMED):
        return _named(str(source).removeprefix(NAMED), image, text)
    path = Path(source).expanduser()
    if not path.exists():
        raise MissingError(f"There is no table {path}. Pairs are rows with the path of a picture and a text about it.")
    if path.suffix.lower() not in TABLE_SUFFIXES or not path.is_file():
        raise UsageError(
            f"{path} is no table of pairs. Allowed: {', '.join(sorted(TABLE_SUFFIXES))}, or data:{_SETS[0]}."
        )
    table = open_table(path, lambda first, others: looks_like_header(Wanted(image, text), first, others))
    pictures, texts = _columns(table, image, text)
    return _rows(table, pictures, texts)


def _named(name: str, image: str | None, text: str | None) -> Pairs:
    if name not in _SETS:
        raise UsageError(unknown("The set of pairs", name, _SETS) + " Pairs of your own are given as a table.")
    if image is not None or text is not None:
        raise UsageError(f"data:{name} knows its columns: --content and --text do not go with it.")
    dataset = read_searchable(name)
    place = dict(zip(dataset.ids, dataset.contents, strict=True))
    rows = [(item, judged.text) for judged in read_judged(name) for item in judged.gains]
    ids = tuple(item for item, _ in rows)
    images = tuple(content for item in ids if isinstance(content := place[item], ImageSource))
    return Pairs(
        images,
        tuple(caption for _, caption in rows),
        group_codes(ids),
        ids,
        columns={"image": "image", "text": "caption"},
    )


def _columns(table: Table, image: str | None, text: str | None) -> tuple[int, int]:
    """Positions of the pictures and the texts."""
    named = [name for name in (image, text) if name is not None]
    roles = find_roles(table, Wanted(content=image))
    if image is None and not roles.images:
        raise DataError(
            f"{table.path}: no column looks like paths of pictures. Name it with --content. Columns: {', '.join(table.names)}."
        )
    others = [i for i in range(len(table.names)) if i != roles.content]
    if text is None and not others:
        raise DataError(
            f"{table.path} has one column, {table.names[0]!r}; pairs need a picture and a text in each row."
        )
    if text is not None:
        chosen = find_roles(table, Wanted(content=text)).content
    else:
        rest = Table(
            table.path,
            tuple(table.names[i] for i in others),
            table.header,
            table.typed,
            [[row[i] for i in others] for row in table.sample],
            table.rows,
        )
        chosen = others[find_roles(rest, Wanted()).content]
    if chosen == roles.content:
        raise UsageError(
            f"{table.path}: the picture and the text are both {table.names[chosen]!r} ({' and '.join(named)})."
        )
    return roles.content, chosen


def _rows(table: Table, pictures: int, texts: int) -> Pairs:
    base = os.path.realpath(table.path.parent)
    images: list[ImageSource] = []
    captions: list[str] = []
    ids: list[str] = []
    faults: list[Fault] = []
    for row in table.rows([pictures, texts]):
        if row.cells is None:
            faults.append(Fault(row.where, row.problem))
            continue
        found, problems = _pair(row.cells, base)
        if found is None:
            faults += [Fault(row.where, problem, value) for problem, value in problems]
            continue
        images.append(found[0])
        captions.append(found[1])
        ids.append(str(row.number))
    if not ids:
        shown = "; ".join(f"{fault.where}: {fault.problem}" for fault in faults[:_SHOWN])
        raise DataError(f"No row of {table.path} is a picture with a text. {shown}", faults=faults)
    groups = group_codes([os.path.realpath(source.path) for source in images])
    columns = {"image": table.names[pictures], "text": table.names[texts], **table.notes}
    return Pairs(tuple(images), tuple(captions), groups, tuple(ids), tuple(faults), columns)


def _pair(cells: Any, base: str) -> tuple[tuple[ImageSource, str] | None, list[tuple[str, str]]]:
    """The picture and text of a row, or all that is wrong with it."""
    problems: list[tuple[str, str]] = []
    image: ImageSource | None = None
    text = ""
    try:
        image = read_image(cells[0], base)
    except ValueError as problem:
        problems.append((f"picture: {problem}", str(cells[0])[:80]))
    try:
        text = read_text(cells[1])
    except ValueError as problem:
        problems.append((f"text: {problem}", str(cells[1])[:80]))
    return (None, problems) if problems or image is None else ((image, text), [])
