"""Tables beside the interactions: what is known of items (titles, categories, texts, pictures, dates) and of people (features).

Which column holds the ids is told by what it shares with the interactions: an id that nobody met joins nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.columns import IMAGE_NAMES, is_missing, read_image
from graft.data.images import SUFFIXES, suffix
from graft.data.tables import Table
from graft.errors import DataError, UsageError, unknown
from graft.interactions.columns import NAMES, header_test, is_number, named_places, plain, share, told_column
from graft.interactions.files import as_word, open_log
from graft.interactions.likes import Catalogue, People
from graft.interactions.times import Moments
from graft.results import Fault

# fmt: off
ITEM_NAMES = {
    "id": ("id", "code", "key", *NAMES["item"]),
    "title": ("title", "name", "movietitle", "itemname", "itemtitle", "productname", "producttitle", "booktitle", "songname", "trackname"),
    "categories": ("categories", "category", "genres", "genre", "tags", "tag", "topics", "topic", "department", "class", "type", "kind"),
    "text": ("description", "synopsis", "summary", "overview", "plot", "text", "abstract", "body", "content", "about"),
    "picture": tuple(plain(name) for name in (*IMAGE_NAMES, "poster", "cover", "thumbnail")),
    "date": (
        "releasedate", "released", "release", "publishdate", "publicationdate", "published", "publishedat", "premiere", "date", "launchdate",
        "addedat", "createdat", "releaseyear", "year", "publicationyear", "yearofpublication",
    ),
}
# fmt: on
USER_NAMES = {
    "id": ("id", *NAMES["user"]),
    "feature": ("age", "gender", "sex", "country", "region", "occupation", "zipcode"),
}
WORDS = 200  # different words up to which a column of people groups them; names and addresses do not
_SHARED = 1000  # ids looked at to tell the column of ids
_EMPTY = frozenset({"(no genres listed)", "n/a", "none", "unknown", "\\n"})


@dataclass(frozen=True, eq=False)
class Beside:
    """A table beside the interactions: its rows by id, the columns taken, the faults, notes worth telling, and the folder that paths of pictures start at."""

    ids: tuple[str, ...]
    cells: dict[str, list[Any]]  # role or column name to one cell an id
    columns: dict[str, str]
    faults: list[Fault]
    notes: list[str]
    folder: str


def read_items(path: Path, met: Collection[str], named: Mapping[str, str] | None = None) -> Beside:
    """A table of items. `met`: the ids of the interactions; `named`: role to column, as in `columns.Columns`, the others are guessed. Rows without an
    id or with one that came before are faults and left out.

    Raises MissingError without the file, DataError where no column holds ids that were met, UsageError for roles there are not and for columns that the
    table does not have.
    """
    named = named or {}
    if wrong := [role for role in named if role not in ITEM_NAMES]:
        raise UsageError(unknown("The role in --items-columns", wrong[0], ITEM_NAMES))
    return _read(path, met, "items", ITEM_NAMES, _item_columns, named)


def read_people(path: Path, met: Collection[str], named: Mapping[str, str] | None = None) -> Beside:
    """A table of people; every column but that of the ids is a feature, unless `named` names features: then these alone. Raises as `read_items`."""
    return _read(path, met, "users", USER_NAMES, _feature_columns, named or {})


def catalogue_of(beside: Beside | None, items: Sequence[str]) -> tuple[Catalogue, list[Fault]]:
    """What the table tells of `items`, in their order, and the faults of its pictures and dates."""
    if beside is None:
        return Catalogue(("",) * len(items), ((),) * len(items)), []
    row = {item: i for i, item in enumerate(beside.ids)}
    faults: list[Fault] = []

    def column(role: str) -> list[Any] | None:
        cells = beside.cells.get(role)
        return None if cells is None else [cells[row[item]] if item in row else None for item in items]

    titles, texts, pictures, dates = column("title"), column("text"), column("picture"), column("date")
    kinds = column("categories")
    return Catalogue(
        titles=("",) * len(items) if titles is None else tuple(as_word(cell) or "" for cell in titles),
        categories=((),) * len(items) if kinds is None else _categories(kinds),
        texts=None if texts is None else tuple(as_word(cell) or "" for cell in texts),
        pictures=None if pictures is None else _pictures(pictures, items, beside.folder, faults),
        dates=None if dates is None else _dates(dates, items, faults),
    ), faults


def people_of(beside: Beside | None, users: Sequence[str]) -> People | None:
    """Features of `users`, in their order: columns of numbers (NaN where none is finite), and columns of a few words."""
    if beside is None:
        return None
    row = {user: i for i, user in enumerate(beside.ids)}
    numbers: dict[str, NDArray[np.float64]] = {}
    words: dict[str, tuple[str, ...]] = {}
    for name, all_cells in beside.cells.items():
        cells = [all_cells[row[user]] if user in row else None for user in users]
        known = [cell for cell in all_cells if not is_missing(cell)]
        if known and share(known, is_number) > 0.9:
            found = np.array([float(str(cell)) if is_number(cell) else np.nan for cell in cells], np.float64)
            numbers[name] = np.where(np.isfinite(found), found, np.nan)
        elif 0 < len({as_word(cell) for cell in known}) <= WORDS:
            words[name] = tuple(as_word(cell) or "" for cell in cells)
        else:
            beside.notes.append(
                f"users: column {name!r} is left out: it holds {'nothing' if not known else 'too many different words'}"
            )
    return People(numbers, words)


def _read(
    path: Path,
    met: Collection[str],
    what: str,
    names: dict[str, tuple[str, ...]],
    columns_of: Callable[[Table, int, Mapping[str, int], Collection[str]], dict[str, int]],
    named: Mapping[str, str],
) -> Beside:
    table = open_log(path, header_test(tuple(named.values()), names))
    given, refused = named_places(table, named, ("id",), f"--{what}-columns {{}}=")
    key = given.pop("id") if "id" in given else _id_column(table, frozenset(met), names["id"], given.values())
    places = columns_of(table, key, given, refused)
    faults: list[Fault] = []
    row_of: dict[str, int] = {}
    held: list[Sequence[Any]] = []
    for row in table.rows([key, *places.values()]):
        word = None if row.cells is None else as_word(row.cells[0])
        if row.cells is None or word is None or word in row_of:
            problem = row.problem or ("it has no id" if word is None else "an id that came before; the first is kept")
            faults.append(Fault(f"{what}, {row.where}", problem, (word or "")[:80]))
            continue
        row_of[word] = len(held)
        held.append(row.cells)
    cells = {role: [row[i] for row in held] for i, role in enumerate(places, start=1)}
    joined = sum(word in row_of for word in met)
    if not joined:
        raise DataError(_nothing_joins(table, key, what, met, row_of))
    notes = [
        f"{what}: {joined:,} of {len(met):,} ids of the interactions are in {path.name}, which has {len(row_of):,}"
    ]
    shown = {
        f"{what} {role}": told_column(table, place, role in named or role not in names)
        for role, place in {"id": key, **places}.items()
    }
    return Beside(tuple(row_of), cells, shown, faults, notes, os.path.realpath(path.parent))


def _id_column(table: Table, met: frozenset[str], names: tuple[str, ...], taken: Collection[int]) -> int:
    """The column, not one of those taken, that shares most of its first cells with the ids that were met; by name where none shares any."""

    def shared(place: int) -> int:
        return len({as_word(row[place]) for row in table.sample[:_SHARED]} & met)

    free = [i for i in range(len(table.names)) if i not in taken]
    if not free:
        raise UsageError(f"{table.path}: every column is named for something else, and none is left for the ids.")
    known = [i for i in free if plain(table.names[i]) in names]
    places = sorted(free, key=lambda i: (-shared(i), i not in known, i))
    best = places[0]
    if shared(best) or not known:
        return best
    return min(known, key=lambda i: names.index(plain(table.names[i])))


def _nothing_joins(table: Table, key: int, what: str, met: Collection[str], there: Collection[str]) -> str:
    some, others = (", ".join(map(repr, list(ids)[:3])) for ids in (sorted(met), there))
    return (
        f"{table.path}: no id of the interactions ({some}, ..) is in the table of {what}, column {table.names[key]!r} ({others}, ..). "
        f"Ids are compared as texts, leading zeros count. Columns: {', '.join(table.names)}."
    )


def _item_columns(table: Table, key: int, given: Mapping[str, int], refused: Collection[str]) -> dict[str, int]:
    places = dict(given)
    free = [i for i in range(len(table.names)) if i != key and i not in given.values()]
    for role, names in ITEM_NAMES.items():
        if role in given or role in refused:
            continue
        known = [i for i in free if plain(table.names[i]) in names] if role != "id" else []
        if role == "picture":
            known = [i for i in known if share(_known(table, i), _is_picture) > 0.5]
        if known and table.header:
            places[role] = min(known, key=lambda i: names.index(plain(table.names[i])))
            free.remove(places[role])
    if not table.header:  # id::title::A|B|C and the like
        words = [i for i in free if share(_known(table, i), lambda cell: not is_number(cell)) > 0.5]
        listed = [i for i in words if share(_known(table, i), lambda cell: "|" in str(cell)) > 0.1]
        titles = [i for i in words if i not in listed]
        for role, found in (("categories", listed), ("title", titles)):
            if found and role not in given and role not in refused:
                places[role] = found[0]
    return places


def _feature_columns(table: Table, key: int, given: Mapping[str, int], refused: Collection[str]) -> dict[str, int]:
    return dict(given) or {name: i for i, name in enumerate(table.names) if i != key and name not in refused}


def _known(table: Table, place: int) -> list[Any]:
    return [row[place] for row in table.sample if not is_missing(row[place])]


def _is_picture(cell: Any) -> bool:
    return isinstance(cell, str) and len(cell) < 1024 and suffix(cell.strip().replace("\\", "/")) in SUFFIXES


def _categories(cells: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    """Lists as they are, texts cut at the first of `|`, `;` and `,` that one in twenty has."""
    known = [str(cell) for cell in cells if not is_missing(cell) and not isinstance(cell, (list, tuple))]
    mark = next((sign for sign in "|;," if share(known, lambda text: sign in text) > 0.05), None)  # noqa: B023
    return tuple(_category_list(cell, mark) for cell in cells)


def _category_list(cell: Any, mark: str | None) -> tuple[str, ...]:
    if isinstance(cell, (list, tuple)):
        parts = [as_word(part) or "" for part in cell]
    elif is_missing(cell):
        parts = []
    else:
        text = re.sub(r"^\[(.*)\]$", r"\1", (as_word(cell) or "").strip())
        parts = [part.strip().strip("'\"") for part in (text.split(mark) if mark else [text])]
    return tuple(dict.fromkeys(part for part in parts if part and part.lower() not in _EMPTY))


def _pictures(cells: Sequence[Any], items: Sequence[str], folder: str, faults: list[Fault]) -> tuple[Path | None, ...]:
    found: list[Path | None] = []
    for item, cell in zip(items, cells, strict=True):
        picture = None
        if not is_missing(cell):
            try:
                picture = read_image(cell, folder).path
            except ValueError as problem:
                faults.append(Fault(f"item {item}", f"picture: {problem}", str(cell)[:80]))
        found.append(picture)
    return tuple(found)


def _dates(cells: Sequence[Any], items: Sequence[str], faults: list[Fault]) -> NDArray[np.float64]:
    moments = Moments.of(cells)
    at_I = moments.read_cells(cells)
    for item, cell, at in zip(items, cells, at_I.tolist(), strict=True):
        if at != at and not is_missing(cell):
            faults.append(Fault(f"item {item}", "date: it cannot be read", str(cell)[:80]))
    return at_I
