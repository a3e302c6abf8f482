"""Which column of a table of interactions is the person, the item, the rating, the kind of event, the time.

A column is taken by name where the user names one, else by a customary name, else by its place and by what its cells look like. What was
taken is kept in `Reading.columns` and shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graft.data.columns import is_missing
from graft.data.tables import Table
from graft.errors import DataError, UsageError, unknown
from graft.interactions.times import Moments

# fmt: off
# Names in order of preference, without case, spaces and signs: user_id, userId and "User ID" are all `userid`.
NAMES = {
    "user": (
        "userid", "user", "uid", "username", "customerid", "customer", "memberid", "member", "personid", "person", "accountid", "account",
        "profileid", "profile", "viewerid", "viewer", "readerid", "reader", "listenerid", "listener", "visitorid", "visitor", "clientid",
        "client", "buyerid", "buyer", "reviewerid", "reviewer", "subscriberid", "subscriber", "sessionid", "session", "basketid", "orderid",
    ),
    "item": (
        "itemid", "item", "movieid", "movie", "filmid", "film", "productid", "product", "sku", "asin", "bookid", "book", "isbn", "songid",
        "song", "trackid", "track", "artistid", "artist", "albumid", "album", "articleid", "article", "newsid", "contentid", "content",
        "videoid", "video", "showid", "show", "programmeid", "programme", "programid", "program", "seriesid", "gameid", "game", "appid",
        "app", "businessid", "placeid", "place", "venueid", "locationid", "recipeid", "recipe", "courseid", "course", "animeid", "title",
        "itemname", "name",
    ),
    "rating": ("rating", "ratings", "stars", "star", "score", "grade", "overall", "rate", "ratingvalue", "preference"),
    "event": (
        "event", "eventtype", "eventname", "action", "actiontype", "interaction", "interactiontype", "kind", "behavior", "behaviour",
        "behaviortype", "behaviourtype", "feedback", "activity", "type",
    ),
    "time": (
        "timestamp", "time", "datetime", "date", "ts", "eventtime", "unixtime", "unixreviewtime", "createdat", "created", "watchedat",
        "viewedat", "ratedat", "listenedat", "at", "when", "moment", "day", "reviewtime", "orderdate", "purchasedate", "invoicedate",
    ),
}
# fmt: on
NONE = "none"  # named for a role, it means: there is no such column
REQUIRED = ("user", "item")
KINDS = 50  # different words up to which a column tells kinds of events
_SINCE = 1e8  # a number from here on is a moment (1973 and later), below it may be anything
_LARGEST = 100  # ratings in a column without a name go up to here


@dataclass(frozen=True)
class Columns:
    """Columns as the user named them: a name, a 0-based position, "none" for no such column, or None to have it guessed.

    `items`, `users`: role to column of the tables beside: id, title, categories, text, picture, date; of people id, and features by any name.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    event: str | None = None
    time: str | None = None
    items: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)

    def named(self) -> dict[str, str]:
        """Role to column, of the roles that were named."""
        return {role: name for role, name in vars(self).items() if isinstance(name, str)}


def plain(name: str) -> str:
    """A column's name without case, spaces and signs, and without a type behind a colon (`user_id:token`)."""
    return re.sub(r"[\W_]+", "", name.split(":")[0].lower())


def is_number(cell: Any) -> bool:
    """Whether a cell is, or reads as, a number."""
    if isinstance(cell, (bool, list, dict)):
        return False
    try:
        float(cell)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def share(cells: Sequence[Any], test: Callable[[Any], bool]) -> float:
    """Share of the cells that pass; 0.0 of none."""
    return sum(map(test, cells)) / len(cells) if cells else 0.0


def customary(name: str, roles: dict[str, tuple[str, ...]]) -> bool:
    """Whether a column's name is one of those that `roles` holds."""
    return any(plain(name) in names for names in roles.values())


def header_test(
    named: Sequence[str], roles: dict[str, tuple[str, ...]]
) -> Callable[[list[str], list[list[str]]], bool]:
    """The test whether a text's first record names the columns.

    It does when it holds a name the user asked for or two customary ones; it does not when one of its cells is a number; it does with one
    customary name; it does not when one of its cells occurs again below it; else it does when numbers stand below words.
    """

    def is_header(first: list[str], others: list[list[str]]) -> bool:
        if any(name in first for name in named if not name.isdecimal()):
            return True
        if sum(customary(cell, roles) for cell in first) > 1:
            return True
        if any(is_number(cell) for cell in first):
            return False
        if any(customary(cell, roles) for cell in first):
            return True
        below = [[row[i] for row in others if i < len(row)] for i in range(len(first))]
        if any(cell in cells for cell, cells in zip(first, below, strict=True)):
            return False
        return any(share(cells, is_number) > 0.9 for cells in below)

    return is_header


def find_columns(table: Table, wanted: Columns) -> tuple[dict[str, int], dict[str, str]]:
    """Places of the columns by role, and the same to be shown: `{"user": "userId (guessed)", ..}`.

    Raises UsageError for names the table does not have and for a column in two roles, DataError when no column can be the person or the item.
    """
    places, refused = named_places(table, wanted.named(), REQUIRED, "--{}")
    columns = [[row[i] for row in table.sample if not is_missing(row[i])] for i in range(len(table.names))]

    def free() -> list[int]:
        return [i for i in range(len(columns)) if i not in places.values()]

    for role, names in NAMES.items():
        if role in places or role in refused or not table.header:
            continue
        known = [i for i in free() if plain(table.names[i]) in names]
        if known:
            places[role] = min(known, key=lambda i: names.index(plain(table.names[i])))
    for role in REQUIRED:
        left = [i for i in free() if columns[i] and not (table.header and _counts(columns[i]))]
        if role not in places and left:
            places[role] = left[0]
    if missing := [role for role in REQUIRED if role not in places]:
        raise DataError(
            f"{table.path}: no column can be the {' and none the '.join(missing)}. Name them with --user and --item. "
            f"Columns: {', '.join(table.names)}."
        )
    _guess_rest(table, columns, places, refused)
    told = {role: told_column(table, place, role in wanted.named()) for role, place in places.items()}
    return places, told


def named_places(
    table: Table, named: Mapping[str, str], required: Collection[str], flag: str
) -> tuple[dict[str, int], set[str]]:
    """Places of the columns named for roles (a name, a 0-based position, or "none"), and the roles that are to have none.

    `required` roles cannot be without; `flag` is how a role is named on the command line, with {} for it. Raises UsageError telling of all names the table
    does not have and of columns in two roles.
    """
    places: dict[str, int] = {}
    refused: set[str] = set()
    problems = []
    lowered = [plain(name) for name in table.names]
    for role, name in named.items():
        if name in table.names:
            places[role] = table.names.index(name)
        elif name == NONE and role not in required:
            refused.add(role)
        elif lowered.count(plain(name)) == 1:
            places[role] = lowered.index(plain(name))
        elif name.isdecimal() and int(name) < len(table.names):
            places[role] = int(name)
        else:
            hint = "" if table.header else " (the table has no header, so columns go by number)"
            problems.append(f"{table.path}: " + unknown(f"The column for {flag.format(role)}{hint}", name, table.names))
    for role, place in places.items():
        first = next(other for other, taken in places.items() if taken == place)
        if first != role:
            problems.append(
                f"{table.path}: {flag.format(first)} and {flag.format(role)} both name {table.names[place]!r}."
            )
    if problems:
        raise UsageError(" ".join(problems))
    return places, refused


def _guess_rest(table: Table, columns: list[list[Any]], places: dict[str, int], refused: set[str]) -> None:
    """Ratings, events and times by what the cells look like; ratings and events only where columns have no names."""
    rating = places.get("rating")
    if (
        rating is not None
        and "event" not in places
        and "event" not in refused
        and share(columns[rating], is_number) < 0.5
    ):
        places["event"] = places.pop("rating")  # ratings as words are kinds: "like", "dislike"
    for i in range(len(columns)):
        if i in places.values() or not columns[i]:
            continue
        if "time" not in places and "time" not in refused and _are_times(columns[i]):
            places["time"] = i
        elif table.header:
            continue
        elif (
            "time" not in places and "time" not in refused and "rating" in places and share(columns[i], is_number) > 0.9
        ):
            places["time"] = i  # person, item, rating, time is the order of tables without names
        elif "rating" not in places and "rating" not in refused and _are_ratings(columns[i]):
            places["rating"] = i
        elif "event" not in places and "event" not in refused and _are_kinds(columns[i]):
            places["event"] = i


def told_column(table: Table, place: int, named: bool) -> str:
    """A column as it is shown: its name or number, "(guessed)" behind one that was not named."""
    name = table.names[place] if table.header else f"column {place}"
    return name if named else f"{name} (guessed)"


def _counts(cells: list[Any]) -> bool:
    """Whether a column only counts the rows, as tables saved with their index have it."""
    numbers = [float(cell) for cell in cells if is_number(cell) and math.isfinite(float(cell))]
    return len(numbers) == len(cells) > 1 and bool((np.diff(numbers) == 1).all())


def _are_times(cells: list[Any]) -> bool:
    moments = Moments.of(cells)
    read = moments.read_cells(cells)
    late = share(cells, lambda cell: is_number(cell) and abs(float(cell)) >= _SINCE)
    words = share(cells, lambda cell: not is_number(cell))
    return late + words > 0.9 and float(np.isfinite(read).mean()) > 0.9


def _are_ratings(cells: list[Any]) -> bool:
    return share(cells, is_number) > 0.9 and max(float(cell) for cell in cells if is_number(cell)) <= _LARGEST


def _are_kinds(cells: list[Any]) -> bool:
    return share(cells, is_number) < 0.1 and len({str(cell) for cell in cells}) <= min(KINDS, max(2, len(cells) // 2))
