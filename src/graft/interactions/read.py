"""Interactions from a table or a named set, with what is known of items and people.

`data:ml-latest-small` and `data:movietweetings-100k` are looked for in `$GRAFT_DATA/NAME`, then in the cache, and bring their films;
`data:streamrec` is generated (see `streamrec`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graft import settings
from graft.data.tables import Table
from graft.errors import DataError, MissingError, UsageError, unknown
from graft.interactions import streamrec
from graft.interactions.catalogue import Beside, catalogue_of, people_of, read_items, read_people
from graft.interactions.columns import NAMES, Columns, find_columns, header_test, is_number
from graft.interactions.files import open_log
from graft.interactions.gather import SCALE_SHARE, Gathered, Rule, gather
from graft.interactions.likes import Interactions
from graft.interactions.reading import Reading

NAMED = "data:"


@dataclass(frozen=True)
class _Set:
    """A named set: its files (interactions, items), the rating from which on published figures count a like, its publisher's page."""

    files: tuple[str, str]
    like: float
    page: str


SETS = {
    "ml-latest-small": _Set(("ratings.csv", "movies.csv"), 4.0, "https://grouplens.org/datasets/movielens"),
    "movietweetings-100k": _Set(
        ("ratings.dat", "movies.dat"), 8.0, "https://github.com/sidooms/MovieTweetings (snapshots/100K)"
    ),
}


def read_interactions(
    source: str | Path,
    *,
    columns: Columns = Columns(),  # noqa: B008  (frozen)
    like: float | None = None,
    events: Mapping[str, float] | None = None,
    items: str | Path | None = None,
    users: str | Path | None = None,
) -> Reading:
    """Read a table of who met what: CSV, TSV, JSON lines, Parquet, texts with `::` or another separator, or `data:NAME`.

    Columns not named are guessed. `like`: the rating from which on a row is a like; by default that of a named set, else 80 % of the largest
    rating. `events`: kind to weight (0: seen and not liked); without them customary refusals ("left", "skipped", ..) weigh 0 and all other kinds 1. With
    neither ratings nor events every row is a like. Events are used where weights are given or there are no ratings.
    `items`, `users`: tables beside. Rows of one person and item are merged: the strongest weight wins, and of that weight the latest time is kept.

    Raises UsageError for names, kinds or settings that cannot be, MissingError for what is not there, DataError for tables that cannot be
    understood, with more than 1 % faulty rows, or without a like.
    """
    _check(like, events)
    name = str(source)
    if name.startswith(NAMED):
        name = name.removeprefix(NAMED)
        if name.split(":")[0] == streamrec.NAME:
            named = columns.named() or columns.items or columns.users
            given = named or like is not None or events is not None or items is not None or users is not None
            if given:
                raise UsageError(
                    f"data:{name} is generated with its columns, items and people: it takes none of those given."
                )
            return streamrec.generate(**streamrec.settings_of(name)).reading
        known, folder = _find(name)
        path, like = folder / known.files[0], known.like if like is None else like
        items = folder / known.files[1] if items is None else items
    else:
        path = Path(source).expanduser()
        name = path.stem
    for what, table_beside, named in (("items", items, columns.items), ("users", users, columns.users)):
        if named and table_beside is None:
            raise UsageError(
                f"--{what}-columns names columns of a table of {what}, and none is given: name it with --{what}."
            )
    table = open_log(path, header_test(tuple(columns.named().values()), NAMES))
    places, told = find_columns(table, columns)
    gathered, rule, guessed = _gather(table, places, like, events)
    met = gathered.interactions()
    item_table = None if items is None else read_items(Path(items).expanduser(), met.items, columns.items)
    user_table = None if users is None else read_people(Path(users).expanduser(), met.users, columns.users)
    if item_table is not None:
        met = gathered.interactions(item_table.ids)
    return _assemble(name, table, (gathered, rule, guessed), told, met, (item_table, user_table))


def _check(like: float | None, events: Mapping[str, float] | None) -> None:
    if like is not None and not math.isfinite(like):
        raise UsageError(f"--like is {like}; it is the rating from which on a row is a like, a number.")
    wrong = [f"{kind} = {weight}" for kind, weight in (events or {}).items() if not 0 <= weight < math.inf]
    if wrong:
        raise UsageError(
            f"Weights of events are numbers from 0 up, 0 for seen and not liked; not so: {', '.join(wrong)}."
        )
    if events is not None and not any(events.values()):
        raise UsageError("No kind of event has a weight above 0, so nothing would be a like.")


def _find(name: str) -> tuple[_Set, Path]:
    if name not in SETS:
        raise UsageError(
            unknown("The set", name, [*SETS, streamrec.NAME]) + " A table of your own is given by its path."
        )
    known, cached, given = SETS[name], settings.cache_dir() / "data" / name, settings.data_dir()
    places = [cached] if given is None else [given / name, cached]
    for folder in places:
        if all((folder / file).is_file() for file in known.files):
            return known, folder
    raise MissingError(
        f"data:{name} is not here: looked for {' and '.join(known.files)} in {' and in '.join(map(str, places))}. Get it from {known.page} and "
        f"put it into a folder {name}, with GRAFT_DATA naming the folder above."
    )


def _gather(
    table: Table, places: Mapping[str, int], like: float | None, events: Mapping[str, float] | None
) -> tuple[Gathered, Rule, bool]:
    """All rows by the rule of what a like is, and whether its threshold was guessed."""
    if events is not None and "event" not in places:
        raise UsageError(
            f"{table.path}: weights of events are given, and no column tells events. Name it with --event."
        )
    if events is None and "rating" in places:
        if like is not None:
            rule = Rule("rating", like)
            return gather(table, places, rule), rule, False
        return (*_gather_by_scale(table, places), True)
    if like is not None:
        raise UsageError(
            f"{table.path}: --like {like:g} is given, and no column of ratings is used. Name it with --rating."
        )
    rule = Rule("event", events=events) if "event" in places else Rule("row")
    gathered = gather(table, places, rule)
    rule.check(str(table.path))
    return gathered, rule, False


def _gather_by_scale(table: Table, places: Mapping[str, int]) -> tuple[Gathered, Rule]:
    """The scale is told by the first rows; should the largest rating be another, all is read once more."""
    ratings = [float(row[places["rating"]]) for row in table.sample if is_number(row[places["rating"]])]
    largest = max(filter(math.isfinite, ratings), default=0.0)
    while True:
        rule = Rule("rating", SCALE_SHARE * largest)
        gathered = gather(table, places, rule)
        if rule.largest == largest:
            break
        largest = rule.largest
    if not 0 < rule.largest < math.inf:
        raise DataError(
            f"{table.path}: the largest rating is {rule.largest:g}, so none can be guessed to be a like. Give the rating with --like."
        )
    return gathered, rule


def _assemble(
    name: str,
    table: Table,
    found: tuple[Gathered, Rule, bool],
    told: dict[str, str],
    met: Interactions,
    beside_tables: tuple[Beside | None, Beside | None],
) -> Reading:
    gathered, rule, guessed = found
    item_table, user_table = beside_tables
    how = rule.told() + (f" (guessed: 80 % of the largest, {rule.largest:g})" if guessed else "")
    if not (met.weight_N > 0).any():
        raise DataError(f"{table.path}: of {gathered.rows:,} rows none is a like: {how}. Ratings go from {rule.smallest:g} to {rule.largest:g}."
                        if rule.by == "rating" else f"{table.path}: of {gathered.rows:,} rows none is a like: {how}.")  # fmt: skip
    notes = [f"{key}: {value}" for key, value in table.notes.items()]
    if gathered.moments is not None:
        told["time"] += f": {gathered.moments.told()}"
        if len(gathered.moments.forms) > 1:
            notes.append(
                f"times come in {len(gathered.moments.forms)} forms, each row read by its own: {gathered.moments.told()}"
            )
        if gathered.moments.ambiguous:
            notes.append("times: no row tells day from month; read as month/day/year")
    catalogue, item_faults = catalogue_of(item_table, met.items)
    people = people_of(user_table, met.users)
    faults = list(gathered.faults)
    for beside in beside_tables:
        if beside is not None:
            told |= beside.columns
            faults += beside.faults
            notes += beside.notes
    return Reading(
        name=name,
        interactions=met,
        catalogue=catalogue,
        people=people,
        columns=told,
        how=how,
        like=rule.like,
        rows=gathered.rows,
        merged=gathered.rows - gathered.faulty - len(met),
        faulty=gathered.faulty,
        faults=(*faults, *item_faults),
        notes=tuple(notes),
    )
