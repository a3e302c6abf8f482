"""Which column of a table is the text or picture, which the label; and what its cells mean.

A column is taken by name where the user names one, else by a customary name, else by what its cells look like. What was taken
is kept in `Dataset.columns` and shown.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from graft.data.dataset import ImageSource, clean_label
from graft.data.images import SUFFIXES, suffix
from graft.data.tables import Table, broken, mend
from graft.errors import DataError, UsageError, unknown

# fmt: off
# In order of preference: of `title` and `description` the description is the text.
TEXT_NAMES = [
    "text", "sentence", "content", "utterance", "review", "question", "query", "message", "description", "synopsis", "summary",
    "abstract", "body", "article", "document", "comment", "tweet", "post", "email", "passage", "paragraph", "prompt", "input",
    "instruction", "lyrics", "transcript", "headline", "caption", "title", "subject", "name",
]
IMAGE_NAMES = [
    "image", "image_path", "img", "img_path", "picture", "photo", "path", "image_file", "file", "file_path", "filepath",
    "file_name", "filename",
]
LABEL_NAMES = [
    "label_text", "label_name", "class_name", "category_name", "label", "category", "class", "target", "intent", "sentiment",
    "topic", "genre", "labels", "classes", "categories", "tag", "emotion", "species", "type", "kind", "y", "stars", "rating", "score",
]
_OTHER_NAMES = [
    "id", "idx", "index", "date", "time", "timestamp", "year", "group", "user", "author", "source", "split", "language",
]
_AMOUNTS = ["price", "minutes"]  # never classes, though they may repeat
# fmt: on
NO_LABEL = "none"  # `--label none`: no column is the label
_KNOWN = frozenset(TEXT_NAMES + IMAGE_NAMES + LABEL_NAMES + _OTHER_NAMES + _AMOUNTS)
_MISSING = frozenset({"", "nan", "null", "<na>"})  # "none" and "n/a" may well be labels
_NO_TIME = "not a time; write 2026-05-31, 2026-05-31T18:30 or a number"
_ID_NAMES = re.compile(r"(^|[\W_])(ids?|idx|index|uuid|key|code|no|nr|sku|isbn|ean|zip|phone|row)$")
_WORD = re.compile(r"[^\W\d][\w .\-/]{0,39}")


@dataclass(frozen=True)
class Wanted:
    """Columns as the user named them: a name, a 0-based position, or None to have it guessed (group and time: not used)."""

    content: str | None = None
    label: str | None = None
    group: str | None = None
    time: str | None = None

    def named(self) -> dict[str, str]:
        """Role to column, of the roles that were named."""
        return {role: name for role, name in vars(self).items() if name is not None}


@dataclass(frozen=True)
class Roles:
    """Positions of the columns; None where there is no such column. `images` when the content is paths of pictures."""

    content: int
    label: int | None
    group: int | None
    time: int | None
    images: bool


def looks_like_header(wanted: Wanted, first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether a CSV's first record names the columns.

    Yes when it holds a name the user asked for, or two customary ones. No when one of its cells occurs again below it. Else yes
    when it holds a customary name, or is all different words with a column of numbers or of much longer texts below one.
    """
    lowered = [_plain(cell) for cell in first]
    if any(name in first or _plain(name) in lowered for name in wanted.named().values() if not name.isdecimal()):
        return True
    customary = sum(name in _KNOWN for name in lowered)
    if customary > 1:
        return True
    below = [[row[i] for row in others if i < len(row)] for i in range(len(first))]
    if any(cell and cell in cells for cell, cells in zip(first, below, strict=True)):
        return False
    if customary and all(len(cell) <= 40 for cell in first):
        return True
    if not others or len(set(first)) < len(first) or not all(_WORD.fullmatch(cell) for cell in first):
        return False
    return any(
        _share(cells, is_number) > 0.9 or sum(map(len, cells)) > 4 * len(cell) * len(cells)
        for cell, cells in zip(first, below, strict=True)
        if cells
    )


def find_roles(table: Table, wanted: Wanted, task: str = "classes") -> Roles:
    """Positions of the columns named or guessed. Only where `task`, what labels are to be, allows it is a column of many numbers guessed to be the label.

    Raises UsageError for all names the table does not have, for a column in two roles, and where several columns of numbers may be the label;
    DataError when no column can be the content.
    """
    given = _given(table, wanted)
    columns = [[row[i] for row in table.sample if not is_missing(row[i])] for i in range(len(table.names))]
    unclaimed = [i for i in range(len(columns)) if i not in given.values()]
    content = given.get("content")
    if content is None and table.sample:
        content = _guess_content(table.names, columns, unclaimed)
    if content is None and not table.sample:
        raise DataError(f"{table.path} is empty: it names its columns, {', '.join(table.names)}, and has no row.")
    if content is None:
        raise DataError(
            f"{table.path}: no column looks like a text or the path of an image. Name it with --content. Columns: {', '.join(table.names)}."
        )
    label = given.get("label")
    if label is None and not _without_label(table, wanted):
        label = _guess_label(table, columns, [i for i in unclaimed if columns[i] and i != content], task)
    return Roles(
        content, label, given.get("group"), given.get("time"), images=_share(columns[content], _is_picture) > 0.5
    )


def _given(table: Table, wanted: Wanted) -> dict[str, int]:
    """Positions of the columns that were named, by role; all that is wrong with the names in one UsageError."""
    given: dict[str, int] = {}
    problems = []
    for role, name in wanted.named().items():
        if role == "label" and _without_label(table, wanted):
            continue
        try:
            position = _position(table, name, role)
        except UsageError as problem:
            problems.append(problem.message)
            continue
        if role == "label" and position == given.get("content"):
            problems.append(f"{table.path}: --content and --label both name {table.names[position]!r}.")
        given[role] = position
    if problems:
        raise UsageError(" ".join(problems))
    return given


def _position(table: Table, name: str, role: str) -> int:
    plain = [_plain(n) for n in table.names]
    if name in table.names:
        return table.names.index(name)
    if plain.count(_plain(name)) == 1:
        return plain.index(_plain(name))
    if name.isdecimal() and int(name) < len(table.names):
        return int(name)
    hint = "" if table.header else " (the table has no header, so columns go by number)"
    raise UsageError(f"{table.path}: " + unknown(f"The column for --{role}{hint}", name, table.names))


def _plain(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def _guess_content(names: Sequence[str], columns: Sequence[Sequence[Any]], unclaimed: Sequence[int]) -> int | None:
    free = [i for i in unclaimed if columns[i]]
    pictures = [i for i in free if _share(columns[i], _is_picture) > 0.9]
    if pictures:
        return min(pictures, key=lambda i: _rank(names[i], IMAGE_NAMES))
    texts = [i for i in free if _share(columns[i], lambda cell: isinstance(cell, str) and not is_number(cell)) > 0.5]
    customary = [i for i in texts if _plain(names[i]) in TEXT_NAMES]
    if customary:
        return min(customary, key=lambda i: _rank(names[i], TEXT_NAMES))
    # A column called text is the text though it holds numbers, or nothing that is then told row by row, where all others look like labels.
    called = [i for i in unclaimed if _plain(names[i]) in TEXT_NAMES]
    if called and all(_plain(names[i]) in LABEL_NAMES + _OTHER_NAMES or _repeats(columns[i]) for i in texts):
        return min(called, key=lambda i: _rank(names[i], TEXT_NAMES))
    others = [i for i in texts if _plain(names[i]) not in LABEL_NAMES] or texts
    return max(others, key=lambda i: sum(len(str(cell)) for cell in columns[i]) / len(columns[i]), default=None)


def _repeats(cells: Sequence[Any]) -> bool:
    return 2 * len({str(cell) for cell in cells}) <= len(cells)


def _without_label(table: Table, wanted: Wanted) -> bool:
    """Whether the labels are named away; a column that is called so is a column."""
    return wanted.label == NO_LABEL and NO_LABEL not in table.names


def _guess_label(table: Table, columns: Sequence[Sequence[Any]], free: Sequence[int], task: str) -> int | None:
    """The column of a customary name, else one whose values repeat as classes do, words before numbers; else the one column of numbers."""
    names = table.names
    if task in ("number", "count"):
        free = [i for i in free if _share(columns[i], is_number) > 0.5]
    customary = [
        i
        for i in free
        if _plain(names[i]) in LABEL_NAMES and not _share(columns[i], lambda cell: isinstance(cell, (list, dict))) > 0.5
    ]
    if customary:
        return min(customary, key=lambda i: _rank(names[i], LABEL_NAMES))
    repeating = []
    for i in free:
        cells = columns[i]
        if any(isinstance(cell, (list, dict, bytes, date)) or len(str(cell)) > 60 for cell in cells):
            continue
        numbers = _share(cells, is_number) > 0.5
        distinct = len({str(cell) for cell in cells})
        if (
            2 <= distinct <= (min(20, len(cells) // 5) if numbers else len(cells) // 2)
            and _plain(names[i]) not in _OTHER_NAMES + _AMOUNTS
        ):
            repeating.append((numbers, distinct, -i))
    amounts = [] if task == "classes" else [i for i in free if _is_amount(names[i], columns[i])]
    if amounts and (not repeating or min(repeating)[0]):
        choices = sorted({*amounts, *(-place for _, _, place in repeating)})
        if len(choices) > 1:
            shown = ", ".join(names[i] for i in choices)
            raise UsageError(
                f"{table.path}: any of the columns {shown} may be the label, as all hold numbers. Name one: --label {names[amounts[0]]}, "
                "or --label none where there is no label."
            )
        return choices[0]
    return -min(repeating)[2] if repeating else None


def _is_amount(name: str, cells: Sequence[Any]) -> bool:
    """Whether a column may hold numbers to be answered: nearly all of its cells are, not all the same, and neither ids nor times."""
    if _plain(name) in _OTHER_NAMES or _share(cells, is_number) < 0.95 or any(isinstance(cell, bool) for cell in cells):
        return False
    values = [float(cell) for cell in cells if is_number(cell)]
    return len(set(values)) > 1 and not are_ids(name, values)


def are_ids(name: str, values: Sequence[float]) -> bool:
    """Whether numbers are names of items: whole, all different, and without gaps or in a column called so (id, user_id, movieId, zip code)."""
    if len(set(values)) < len(values) or not all(value.is_integer() for value in values):
        return False
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return max(values) - min(values) + 1 == len(values) or bool(_ID_NAMES.search(words))


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(_plain(name)) if _plain(name) in order else len(order)


def _share(cells: Sequence[Any], test: Any) -> float:
    return sum(bool(test(cell)) for cell in cells) / len(cells) if cells else 0.0


def is_number(cell: Any) -> bool:
    """A number, or a word that is one."""
    if not isinstance(cell, str):
        return isinstance(cell, (int, float))
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_picture(cell: Any) -> bool:
    return isinstance(cell, str) and len(cell) < 1024 and suffix(cell.strip().replace("\\", "/")) in SUFFIXES


# Cells


def is_missing(cell: Any) -> bool:
    """True for nothing, blanks, NaN, and the words nan, null and <NA>."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING)


def read_label(cell: Any, *, typed: bool) -> str | None:
    """A label as a word; None when it is missing. 1.0 is read as "1" (a float, or a word in a CSV, where pandas writes it so).

    Raises ValueError for a list, an object or bytes.
    """
    if is_missing(cell):
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else str(cell)
    if isinstance(cell, (list, dict, bytes)):
        raise ValueError(f"wrong type: a {type(cell).__name__} where one label is expected")
    word = clean_label(mend(cell) if isinstance(cell, str) else str(cell))
    if not typed and re.fullmatch(r"-?\d+\.0+", word):
        return word.partition(".")[0]
    return word


def read_text(cell: Any) -> str:
    """A text as it stands. Raises ValueError when it is empty or no text."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        raise ValueError("empty")
    if not isinstance(cell, str):
        raise ValueError(f"wrong type: a {type(cell).__name__} where a text is expected")
    if not cell.strip():
        raise ValueError("empty")
    return mend(cell) if broken(cell) else cell


def read_image(cell: Any, base: str) -> ImageSource:
    """The picture a cell names. A relative path starts at the table's folder `base` (a real path) and may not leave it, by `..` or
    by a symbolic link. An absolute path is read as given, wherever it leads: a table may name any picture that its reader may open.

    Raises ValueError when the cell is empty, a web address, no picture's name, outside, or there is no such file.
    """
    name = read_text(cell).strip()
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", name):
        raise ValueError("a web address; download the picture and give its path")
    if not _is_picture(name):
        raise ValueError("wrong type: not the name of a picture file")
    if "\x00" in name:
        raise ValueError("unreadable: a path with a NUL byte")
    path = Path(base, name if os.sep == "\\" else name.replace("\\", "/"))
    if not Path(name).is_absolute() and not os.path.realpath(path).startswith(base.rstrip(os.sep) + os.sep):
        raise ValueError("refused: the path leaves the table's folder")
    if not path.is_file():
        raise ValueError("no such file")
    return ImageSource(path)


def read_time(cell: Any) -> float:
    """Seconds since 1970 UTC of a date (ISO 8601; without a zone: UTC), or the number itself. Raises ValueError."""
    if is_missing(cell):
        raise ValueError("no time")
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp()
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day, tzinfo=UTC).timestamp()
    try:
        number = float(cell)
    except (TypeError, ValueError):
        if not isinstance(cell, str):
            raise ValueError(_NO_TIME) from None
        try:
            return read_time(datetime.fromisoformat(cell.strip()))
        except (ValueError, OverflowError):
            raise ValueError(_NO_TIME) from None
    if not math.isfinite(number):
        raise ValueError(_NO_TIME)
    return number
