"""From blocks of rows to one row a pair: ids become codes, ratings and events weights, repeated pairs are merged, faults are kept.

Memory grows with the different pairs and ids, never with the rows: blocks wait until they are as many as what is merged already, and are
then merged in one sort.

Legend: N rows of a block, P pairs merged so far.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.data.tables import Table
from graft.errors import DataError, UsageError
from graft.interactions.columns import KINDS
from graft.interactions.files import Block, as_word, blocks
from graft.interactions.likes import Interactions
from graft.interactions.times import Moments
from graft.results import Fault

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 1000  # faults kept to be shown; all are counted
ALLOWED = 0.01  # share of faulty rows up to which they are left out; more of them mean that the table is read wrongly
SCALE_SHARE = 0.8  # of the largest rating: 4 of 5 and 8 of 10 are what published figures call a like
# Kinds of events that say no to an item, or no more than that it was shown; all others count 1 where no weights are given.
# fmt: off
NOT_LIKED = frozenset({
    "left", "leave", "skip", "skipped", "dislike", "disliked", "abandon", "abandoned", "return", "returned", "refund", "refunded", "hide",
    "hidden", "shown", "impression", "thumbsdown", "downvote", "downvoted", "notinterested", "unlike", "unliked", "bounce", "bounced",
    "remove", "removed", "removefromcart", "stopped", "no", "false", "negative", "ignored",
})
# fmt: on
_PENDING = 2**20  # rows that wait at least before they are merged

Int32s = NDArray[np.int32]
Floats = NDArray[np.float64]


class Ids:
    """Ids in the order they came; a code is an id's place."""

    def __init__(self) -> None:
        self.code: dict[str, int] = {}

    def codes(self, column: pa.Array) -> Int32s:
        """Codes of a column's ids, -1 where one is missing; ids not met before are added."""
        import pyarrow.compute as pc

        encoded = pc.dictionary_encode(column)
        code_V = np.array([self._code(cell) for cell in encoded.dictionary.to_pylist()] + [-1], np.int32)
        of_N = encoded.indices.fill_null(len(code_V) - 1).to_numpy(zero_copy_only=False)
        return np.asarray(code_V[of_N], np.int32)

    def _code(self, cell: Any) -> int:
        word = as_word(cell)
        return -1 if word is None else self.code.setdefault(word, len(self.code))


@dataclass
class Rule:
    """What makes a row a like: ratings from `like` up, events by their weights, or every row. `largest` and `kinds`: what was met."""

    by: str  # rating | event | row
    like: float | None = None
    events: Mapping[str, float] | None = None
    largest: float = -np.inf
    smallest: float = np.inf
    kinds: Counter[str] = field(default_factory=Counter)

    def weights(self, column: pa.Array | None, count: int) -> tuple[Floats, str]:
        """Weights of a block's rows, NaN where they cannot be told, and what is then wrong."""
        if column is None:
            return np.ones(count), ""
        if self.by == "rating":
            rating_N = _numbers(column)
            known_N = rating_N[np.isfinite(rating_N)]
            if known_N.size:
                self.largest = max(self.largest, float(known_N.max()))
                self.smallest = min(self.smallest, float(known_N.min()))
            assert self.like is not None
            return np.where(np.isfinite(rating_N), rating_N >= self.like, np.nan), "its rating is no number"
        return self._events(column), "it has no event"

    def _events(self, column: pa.Array) -> Floats:
        import pyarrow.compute as pc

        encoded = pc.dictionary_encode(column)
        words = [as_word(cell) for cell in encoded.dictionary.to_pylist()] + [None]
        of_N = encoded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
        for word, count in zip(words, np.bincount(of_N, minlength=len(words)).tolist(), strict=True):
            if word is not None:
                self.kinds[word] += count
        weight_V = np.array([np.nan if word is None else self.weight(word) for word in words], np.float64)
        return np.asarray(weight_V[of_N], np.float64)

    def weight(self, kind: str) -> float:
        """The weight of a kind of event; 0 for one that has none (told of as unknown when all is read)."""
        if self.events is not None:
            return float(self.events.get(kind, 0.0))
        return 0.0 if re.sub(r"[\W_]+", "", kind.lower()) in NOT_LIKED else 1.0

    def check(self, source: str) -> None:
        """Raises UsageError listing all kinds met when some have no weight, DataError when there are too many to be kinds."""
        met = ", ".join(f"{kind} ({count:,})" for kind, count in self.kinds.most_common(KINDS))
        if self.events is None and len(self.kinds) > KINDS:
            raise DataError(
                f"{source}: the column of events holds {len(self.kinds):,} different words, so it tells no kinds. The commonest: {met}. "
                "Name another column with --event, or none."
            )
        if lacking := sorted(set(self.kinds) - set(self.events or self.kinds)):
            raise UsageError(f"{source}: no weight is given for {', '.join(lacking)}. Kinds found: {met}.")

    def told(self) -> str:
        """How a like is told, in words."""
        if self.by == "rating":
            return f"rating from {self.like:g} up"
        if self.by == "event":
            return "events " + ", ".join(f"{kind} = {self.weight(kind):g}" for kind, _ in self.kinds.most_common())
        return "every row"


@dataclass
class Gathered:
    """All rows of a table: merged pairs (codes by first meeting), ids, counts and faults. `moments` is None without a column of times."""

    users: Ids = field(default_factory=Ids)
    items: Ids = field(default_factory=Ids)
    rows: int = 0
    faulty: int = 0
    faults: list[Fault] = field(default_factory=list)
    moments: Moments | None = None
    _held: list[tuple[Int32s, Int32s, NDArray[np.float32], Floats]] = field(default_factory=list)
    _waiting: int = 0
    _merged: int = 0

    def take(self, block: Block, column: Mapping[str, pa.Array], rule: Rule) -> None:
        """Add a block's rows; those with a fault are counted and left out."""
        user_N, item_N = self.users.codes(column["user"]), self.items.codes(column["item"])
        weight_N, unweighted = rule.weights(column.get(rule.by), len(user_N))
        wrong = [
            (user_N < 0, "it has no user", "user"),
            (item_N < 0, "it has no item", "item"),
            (np.isnan(weight_N), unweighted, rule.by),
        ]
        time_N = np.zeros(len(user_N))
        if self.moments is not None:
            time_N = self.moments.read(column["time"])
            wrong.append((np.isnan(time_N), "its time cannot be read", "time"))
        bad_N = np.logical_or.reduce([mask for mask, _, _ in wrong])
        self.rows += len(user_N) + len(block.faults)
        self.faulty += int(bad_N.sum()) + len(block.faults)
        self.faults += block.faults[: max(0, SHOWN - len(self.faults))]
        for i in np.flatnonzero(bad_N)[: max(0, SHOWN - len(self.faults))].tolist():
            told = [(problem, column[role]) for mask, problem, role in wrong if mask[i]]
            values = [str(cell) for cell in (cells[i].as_py() for _, cells in told) if cell not in (None, "")]
            problem = " and ".join(problem for problem, _ in told)
            self.faults.append(Fault(f"row {block.number_N[i]}", problem, ", ".join(values)[:80]))
        good_N = ~bad_N
        self._held.append((user_N[good_N], item_N[good_N], weight_N[good_N].astype(np.float32), time_N[good_N]))
        self._waiting += int(good_N.sum())
        if self._waiting > max(_PENDING, self._merged):
            self._merge()

    def _merge(self) -> None:
        """One row a pair: that of the largest weight, and among such the latest."""
        user_P, item_P, weight_P, time_P = (np.concatenate(parts) for parts in zip(*self._held, strict=True))
        order = np.lexsort((time_P, weight_P, item_P, user_P))
        user_P, item_P = user_P[order], item_P[order]
        last_P = np.ones(len(order), bool)
        last_P[:-1] = (user_P[1:] != user_P[:-1]) | (item_P[1:] != item_P[:-1])
        kept = order[last_P]
        self._held = [(user_P[last_P], item_P[last_P], weight_P[kept], time_P[kept])]
        self._waiting, self._merged = 0, len(kept)

    def interactions(self, more_items: Sequence[str] = ()) -> Interactions:
        """The pairs with ids in natural order, sorted as `Interactions` are; items of the catalogue that nobody met are added."""
        if self._waiting or not self._merged:
            self._merge()
        user_P, item_P, weight_P, time_P = self._held[0]
        users, user_rank = _in_order(self.users.code, user_P)
        for item in more_items:
            self.items.code.setdefault(item, len(self.items.code))
        items, item_rank = _in_order(self.items.code, item_P, more_items)
        user_P, item_P = user_rank[user_P], item_rank[item_P]
        order = np.lexsort((item_P, time_P, user_P))
        found = Interactions(users, items, user_P[order], item_P[order], weight_P[order])
        return found if self.moments is None else replace(found, time_N=time_P[order])


def gather(table: Table, places: Mapping[str, int], rule: Rule) -> Gathered:
    """Read a whole table by the columns at `places`. Raises DataError where more than one row of a hundred is at fault, or none is left."""
    roles = [role for role in places if role in ("user", "item", "time", rule.by)]
    found = Gathered()
    if "time" in roles:
        found.moments = Moments.of([row[places["time"]] for row in table.sample])
    for block in blocks(table, [places[role] for role in roles]):
        found.take(block, dict(zip(roles, block.columns, strict=True)), rule)
    if not found.rows:
        raise DataError(f"{table.path} names its columns, {', '.join(table.names)}, and has no row.")
    if found.faulty > ALLOWED * found.rows:
        shown = "; ".join(
            f"{fault.where}: {fault.problem}" + (f" ({fault.value})" if fault.value else "")
            for fault in found.faults[:5]
        )
        raise DataError(
            f"{table.path}: {found.faulty:,} of {found.rows:,} rows are at fault, more than {ALLOWED:.0%}. The first: {shown}. Mend them, or name the "
            f"right columns. Columns: {', '.join(table.names)}.",
            faults=found.faults,
        )
    return found


_RUNS = re.compile(r"([0-9]+)")


def natural(word: str) -> tuple[tuple[str, int, str], ...]:
    """A key that sorts "a2" before "a10", and "007" before "7"."""
    parts = _RUNS.split(word)
    return tuple(
        (parts[i], len(digits := (parts[i + 1] if i + 1 < len(parts) else "").lstrip("0")), digits)
        for i in range(0, len(parts), 2)
    )


def _in_order(code: Mapping[str, int], met_P: Int32s, more: Sequence[str] = ()) -> tuple[tuple[str, ...], Int32s]:
    """Ids in natural order, and for each old code the place. Ids met in faulty rows only are left out."""
    used = np.zeros(len(code), bool)
    used[met_P] = True
    used[[code[word] for word in more]] = True
    words = sorted((word for word, old in code.items() if used[old]), key=lambda word: (natural(word), word))
    rank = np.full(len(code), -1, np.int32)
    rank[[code[word] for word in words]] = np.arange(len(words))
    return tuple(words), rank


def _numbers(column: pa.Array) -> Floats:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        encoded = pc.dictionary_encode(column.fill_null(""))
        value_V = np.array([_number(cell) for cell in encoded.dictionary.to_pylist()], np.float64)
        return np.asarray(value_V[encoded.indices.to_numpy(zero_copy_only=False)], np.float64)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


def _number(cell: str) -> float:
    """A number, with a decimal comma too; NaN for anything else."""
    try:
        return float(cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell)
    except ValueError:
        return np.nan
