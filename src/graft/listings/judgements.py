"""What people have judged: queries, each with the ids of the items that answer it, and how well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graft.data.columns import Wanted, is_missing, looks_like_header
from graft.data.tables import Table, open_table
from graft.errors import DataError
from graft.results import Fault

_QUERY = ("query", "question", "text", "q", "search")
_ID = ("id", "item", "item_id", "doc", "document", "corpus-id", "image")
_GAIN = ("relevance", "score", "gain", "grade", "rating")
_GROUP = ("group", "query_group", "kind", "category")
_PART = ("part", "split", "fold")


@dataclass(frozen=True)
class Judged:
    """One query: `gains` maps item ids to how well they answer it (above 0); `group` names a kind of query, `part` train or test."""

    text: str
    gains: Mapping[str, float]
    group: str = ""
    part: str = ""


def read_judgements(path: Path) -> tuple[list[Judged], tuple[Fault, ...]]:
    """Judgements of a table with columns `query` and `id`, one row a pair, and where there are such `relevance`, `group` and `part`.

    Rows of one query (and part) are put together in order; without `relevance` a pair counts 1, and pairs of 0 are left out. Faulty rows
    are left out and listed. Raises DataError when a column is lacking or no row can be used.
    """
    table = open_table(path, lambda first, others: looks_like_header(Wanted(), first, others))
    places = {role: _find(table, names) for role, names in _ROLES.items()}
    if missing := [role for role in ("query", "id") if places[role] is None]:
        raise DataError(
            f"{path} has no column {' and no column '.join(map(repr, missing))}. Judgements are rows of query and id, with relevance, group and "
            f"part if there are such. Columns: {', '.join(table.names)}."
        )
    used = {role: place for role, place in places.items() if place is not None}
    order = {role: i for i, role in enumerate(used)}
    faults: list[Fault] = []
    found: dict[tuple[str, str], tuple[str, dict[str, float]]] = {}
    for row in table.rows(list(used.values())):
        if row.cells is None:
            faults.append(Fault(row.where, row.problem))
            continue
        cells = {role: row.cells[i] for role, i in order.items()}
        problem, gain = _check(cells)
        if problem:
            faults.append(Fault(row.where, problem, str(cells.get("gain", ""))[:80]))
        elif gain > 0:
            key = (str(cells["query"]).strip(), _word(cells.get("part")))
            gains = found.setdefault(key, (_word(cells.get("group")), {}))[1]
            gains[str(cells["id"]).strip()] = gain
    if not found:
        raise DataError(f"{path} holds no judgement that can be used.", faults=faults)
    return [Judged(text, gains, group, part) for (text, part), (group, gains) in found.items()], tuple(faults)


_ROLES = {"query": _QUERY, "id": _ID, "gain": _GAIN, "group": _GROUP, "part": _PART}


def _find(table: Table, names: tuple[str, ...]) -> int | None:
    lowered = [name.lower() for name in table.names]
    return next((lowered.index(name) for name in names if name in lowered), None)


def _check(cells: Mapping[str, object]) -> tuple[str, float]:
    """What is wrong with a row, or "" and its gain."""
    for role in ("query", "id"):
        if is_missing(cells[role]) or not str(cells[role]).strip():
            return f"it has no {role}", 0.0
    if "gain" not in cells:
        return "", 1.0
    try:
        gain = float(str(cells["gain"]))
    except ValueError:
        return "its relevance is no number", 0.0
    return ("", gain) if 0 <= gain < 1e6 else ("its relevance is not a number from 0 up", 0.0)


def _word(cell: object) -> str:
    return "" if is_missing(cell) else str(cell).strip()
