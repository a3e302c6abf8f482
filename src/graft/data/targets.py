"""What a column of labels holds: classes, or several labels a cell, ordered levels, counts or numbers; and its cells read as that.

The flag `--label COLUMN:TASK` names it; otherwise it is guessed, and classes are what remains when nothing speaks clearly for another.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graft.data.columns import are_ids
from graft.data.dataset import Items, Target, clean_label, natural_key
from graft.errors import DataError, UsageError
from graft.results import Fault

TASKS = ("auto", "classes", "multilabel", "ordinal", "count", "number")
WORDS = {
    "number": "numbers",
    "count": "counts",
    "ordinal": "ordered levels",
    "multilabel": "several labels an item",
}
MANY = 20  # different values up to which numbers that repeat are taken for names of classes
SMOOTH = 0.4  # `_smooth` from which whole numbers are amounts and not class codes
MOST_LEVELS = 50
FEWEST = 10  # items to learn from
LARGEST = 1e100  # of a number, and 1 / it the smallest: squares and their sums stay finite and above 0
LARGEST_COUNT = 10**12  # sums of a million such are exact
SEPARATORS = "|;"
_log = logging.getLogger("graft")
_NAMED = re.compile(rf"(?P<column>.*?):(?P<task>{'|'.join(TASKS)})(=(?P<order>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """What a person said the column holds: the task, and for `ordinal` its levels from lowest to highest (empty: numbers, in their order)."""

    task: str = "auto"
    order: tuple[str, ...] = ()


CLASSES = Asked("classes")


def asked_of(label: str | None) -> tuple[str | None, Asked]:
    """`--label` as (column or None, what it holds): `price`, `price:number`, `:count`, `size:ordinal=low,mid,high`.

    Raises UsageError for an order that is not one, or given to another task than ordinal.
    """
    match = None if label is None else _NAMED.fullmatch(label)
    if match is None:
        return label, Asked()
    column, task, given = match["column"] or None, match["task"], match["order"]
    if given is None:
        return column, Asked(task)
    if task != "ordinal":
        raise UsageError(f"--label {label}: only ordinal takes an order, as in size:ordinal=low,mid,high.")
    order = tuple(clean_label(word) for word in given.split(","))
    if len(order) < 2 or "" in order or len(set(order)) < len(order):
        raise UsageError(
            f"--label {label}: an order names at least two levels, each once, from lowest to highest: size:ordinal=low,mid,high."
        )
    return column, Asked(task, order)


def settle(items: Items, asked: Asked, kind: str) -> tuple[Items, Target | None]:
    """The items with every label either readable as the task or None with a fault, and the target; None where they are classes.

    `kind` is that of the data set (folder, zip or table). What was guessed is told at once, and how to change it. Raises UsageError for words
    without an order.
    """
    task, why = asked.task, "as named"
    if task == "auto":
        task, why = guess(items) if kind == "table" else ("classes", "")
    if task == "classes":
        if why and asked.task == "auto":
            items = replace(items, columns={**items.columns, "task": _told(items, task, why)})
        return items, None
    reading = _Reading(items, kind)
    if task == "multilabel":
        target = _label_sets(reading)
    elif task == "ordinal":
        target = _levels(reading, asked.order)
    else:
        target = Target(task, reading.numbers(whole=task == "count")[:, None])
    told = f"{task} ({why})" if asked.task != "auto" else _told(items, task, why)
    columns = {**items.columns, "task": told}
    return replace(items, labels=reading.labels, faults=reading.faults, columns=columns), target


def _told(items: Items, task: str, why: str) -> str:
    """What was guessed, as it stands in `columns`; the other readings are logged with the flag that asks for them."""
    column = items.columns.get("label", "COLUMN")
    others = {"classes": ("ordinal", "number"), "number": ("classes",), "count": ("number", "classes")}
    flags = " or ".join(f"--label {column}:{other}" for other in others.get(task, ("classes",)))
    _log.warning("the labels in column %r are taken as %s: %s. %s takes them otherwise.", column, task, why, flags)
    return f"{task} (guessed: {why})"


def guess(items: Items) -> tuple[str, str]:
    """(task, why) of a table's labels; why is empty for plain classes. A guess is never `ordinal`, as the same words may be plain classes.

    Numbers speak for themselves where there are more than 20 different ones, or too many for each to be met twice. They are numbers when not
    all whole. Counts: whole and none negative, thinning out upwards as class codes do not (gaps, a tenth of the values met once, three
    fifths of them in the lower half of their range), or met in hills (`_smooth`) with gaps or values met once. Other whole numbers that are
    nearly all different are numbers too, unless they are ids. Several labels: lists, or parts between `|` or `;` of which more than half are
    met in another combination too.

    Raises UsageError for whole numbers with gaps and less than three items each, which may be either.
    """
    words = [label for label in items.labels if label is not None]
    if len(items.lists) > len(words):
        return "multilabel", "its cells are lists"
    values = [value for value in map(_number, words) if value is not None]
    if values and len(values) >= 0.95 * len(words):
        return _guess_numbers(values, items.columns.get("label", ""))
    if (sign := _separator(words)) and _recombined(words, sign):
        return "multilabel", f"labels are divided by {sign}"
    return "classes", ""


def _guess_numbers(values: Sequence[float], column: str) -> tuple[str, str]:
    met = Counter(values)
    whole = all(value.is_integer() for value in met)
    many = len(met) > MANY or (len(values) >= FEWEST and len(met) > len(values) / 2)
    if many and not whole:
        return "number", f"{len(met):,} different values, not all whole"
    if many and not are_ids(column, values):
        least, most = min(met), max(met)
        gaps = most - least + 1 > len(met)
        once = sum(n == 1 for n in met.values())
        low = sum(value <= (least + most) / 2 for value in met) >= 0.6 * len(met)
        if (gaps and once >= len(met) / 10 and low) or ((gaps or once) and _smooth(values) >= SMOOTH):
            task = "count" if least >= 0 else "number"
            return task, f"{len(met):,} different whole numbers{', none negative' if task == 'count' else ''}"
        if len(met) > 0.9 * len(values):
            return "number", f"{len(met):,} different whole numbers among {len(values):,}"
        if gaps and len(values) < 3 * len(met):
            name = column or "COLUMN"
            raise UsageError(
                f"The labels in column {name!r} may be numbers or names of classes: {len(met):,} different whole numbers among {len(values):,} "
                f"items. Say which: --label {name}:number, {name}:count or {name}:classes."
            )
    return "classes", f"{len(met):,} different {'whole numbers' if whole else 'numbers'}" if len(met) > 2 else ""


def _smooth(values: Sequence[float]) -> float:
    """Correlation of how often neighbouring parts of the range are met. Amounts come in hills; which classes are large has little to do with their codes.

    In draws of 300 to 2,000: words of a text, Poisson, negative binomial and ages .45 to .9, class codes of equal or Zipf's shares -.2 to .25.
    """
    bins = int(np.clip(len(set(values)) // 2, 5, 25))
    times = np.histogram(np.array(values) / max(map(abs, values)), bins=bins)[0].astype(
        np.float64
    )  # to 1: ranges of 1e308 overflow
    times -= times.mean()
    square = float((times * times).sum())
    return float((times[1:] * times[:-1]).sum()) / square if square else 0.0


def strata(target: Target, labelled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Codes (N,) by which parts and folds are made alike, -1 for unlabelled: levels, tenths of numbers, the rarest label of an item."""
    codes = np.full(len(labelled), -1, np.int64)
    values_MK = target.values[labelled]
    if target.task == "ordinal":
        codes[labelled] = values_MK.argmax(axis=1)
    elif target.task == "multilabel":
        counts_L = values_MK.sum(axis=0)
        rarity_ML = np.where((values_MK > 0) & (counts_L >= FEWEST), counts_L, np.inf)  # a rarer label cannot be spread
        rarity_ML = np.column_stack([rarity_ML, np.full(len(values_MK), len(codes) + 1)])
        codes[labelled] = rarity_ML.argmin(axis=1)
    else:
        parts = int(np.clip(labelled.sum() // 25, 1, 10))
        if labelled.any():
            cuts = np.quantile(values_MK[:, 0], np.arange(1, parts) / parts)
            codes[labelled] = np.searchsorted(cuts, values_MK[:, 0], side="right")
    if labelled.any():
        codes[labelled] = np.unique(codes[labelled], return_inverse=True)[1]
    return codes


class _Reading:
    """The labels under way: what cannot be read as the task becomes None with a fault, all of them."""

    def __init__(self, items: Items, kind: str) -> None:
        self.items, self.kind = items, kind
        self.labels, self.faults = list(items.labels), list(items.faults)

    def refuse(self, position: int, problem: str) -> None:
        """Take the item at `position` as unlabelled, and say why."""
        item = self.items.ids[position]
        where = item if self.kind != "table" else f"test row {item[5:]}" if item.startswith("test:") else f"row {item}"
        self.faults.append(Fault(where, problem, str(self.labels[position])[:80], "label"))
        self.labels[position] = None

    def each(self, read: Callable[[str], float]) -> NDArray[np.float64]:
        """`read` of every label, NaN where there is none or it raises ValueError, which becomes a fault."""
        values = np.full(len(self.labels), np.nan)
        for position, label in enumerate(self.labels):
            if label is None:
                continue
            try:
                values[position] = read(label)
            except ValueError as problem:
                self.refuse(position, str(problem))
        return values

    def numbers(self, *, whole: bool) -> NDArray[np.float64]:
        """The labels as numbers, or as counts where they are to be `whole`."""
        return self.each(_count if whole else _any_number)


def _any_number(word: str) -> float:
    if (value := _number(word)) is None:
        raise ValueError("not a number; write 3.5")
    return checked(value, whole=False)


def _count(word: str) -> float:
    return checked(_any_number(word), whole=True)


def checked(value: float, *, whole: bool) -> float:
    """The value, as a number to learn from or, where it is to be `whole`, a count. Raises ValueError with what is wrong with it."""
    if not math.isfinite(value):
        raise ValueError("not finite")
    if value and not 1 / LARGEST <= abs(value) <= LARGEST:
        raise ValueError(
            f"outside {1 / LARGEST:g} to {LARGEST:g}, whose squares can be summed; write it in another unit"
        )
    if whole and value < 0:
        raise ValueError("a negative count")
    if whole and not value.is_integer():
        raise ValueError("a count that is not whole")
    if whole and value > LARGEST_COUNT:
        raise ValueError(f"a count above {LARGEST_COUNT:,}; take it as a number")
    return value


def _number(word: str) -> float | None:
    """The finite number that a word is; None for any other word."""
    try:
        value = float(word) if "_" not in word else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _levels(reading: _Reading, order: tuple[str, ...]) -> Target:
    words = Counter(label for label in reading.labels if label is not None)
    if not order:
        odd = [word for word in words if _number(word) is None]
        if len(odd) > len(words) / 2:
            shown = ",".join(sorted(words, key=natural_key)[:MOST_LEVELS])
            raise UsageError(
                f"ordinal: these labels are words, so say their order from lowest to highest: --label COLUMN:ordinal={shown}"
            )
        values_N = reading.numbers(whole=False)
        order = tuple(f"{value:.15g}" for value in np.unique(values_N[~np.isnan(values_N)]))
        reading.labels = [None if np.isnan(value) else f"{value:.15g}" for value in values_N]
    elif missed := sorted(words.keys() - set(order), key=natural_key):
        shown = ", ".join(f"{word!r} ({words[word]:,})" for word in missed[:FEWEST])
        more = f" and {len(missed) - FEWEST:,} more" if len(missed) > FEWEST else ""
        raise UsageError(
            f"The order {', '.join(order)} misses labels of the data (with the items that have them): {shown}{more}."
        )
    if len(order) > MOST_LEVELS:
        raise UsageError(f"ordinal: {len(order):,} levels are more than {MOST_LEVELS}; take them as numbers, :number.")
    met = {
        label for label, test in zip(reading.labels, reading.items.test, strict=True) if label is not None and not test
    }
    for position, label in enumerate(reading.labels):
        if label is not None and label not in met:
            reading.refuse(position, "its level occurs only in the test part, so it is not scored")
    names = tuple(level for level in order if level in met)
    for level in order if met else ():
        if level not in met:
            problem = "no item to learn from has it, so it is never answered"
            reading.faults.append(Fault(f"level {level!r}", problem, "", "label"))
    place = {level: k for k, level in enumerate(names)}
    rows_NK = np.full((len(reading.labels), len(names)), np.nan)
    for position, label in enumerate(reading.labels):
        if label is not None:
            rows_NK[position] = np.arange(len(names)) == place[label]
    return Target("ordinal", rows_NK, names)


def _label_sets(reading: _Reading) -> Target:
    lists = reading.items.lists
    sign = None if lists else _separator([label for label in reading.labels if label is not None])
    sets: list[frozenset[str] | None] = []
    for position, label in enumerate(reading.labels):
        if position in lists:
            sets.append(frozenset(filter(None, (clean_label(str(cell)) for cell in lists[position]))))
            reading.labels[position] = ", ".join(sorted(sets[-1] or ()))
        elif label is None:
            sets.append(None)
        else:
            sets.append(frozenset(filter(None, map(clean_label, label.split(sign) if sign else [label]))))
    reading.faults = [fault for fault in reading.faults if not fault.problem.startswith("wrong type: a list where one")]
    learned = [found for found, test in zip(sets, reading.items.test, strict=True) if found is not None and not test]
    often = Counter(label for found in learned for label in found)
    names = tuple(sorted((label for label, n in often.items() if n < len(learned)), key=natural_key))
    for label, n in often.items():
        if n == len(learned) and len(often) > 1:
            reading.faults.append(
                Fault(
                    f"label {label!r}", "every item has it, so there is nothing to learn; it is left out", "", "label"
                )
            )
    for label in sorted({label for found in sets for label in found or ()} - often.keys(), key=natural_key):
        reading.faults.append(
            Fault(f"label {label!r}", "it occurs only in the test part, so it is not scored", "", "label")
        )
    rows_NL = np.array(
        [[np.nan if found is None else label in found for label in names] for found in sets], np.float64
    ).reshape(len(sets), len(names))
    return Target("multilabel", rows_NL, names)


def _separator(words: Sequence[str]) -> str | None:
    """The sign that divides labels in more cells than the other; None where neither occurs."""
    found = {sign: sum(sign in word for word in words) for sign in SEPARATORS}
    best = max(SEPARATORS, key=lambda sign: found[sign])
    return best if found[best] else None


def _recombined(words: Sequence[str], sign: str) -> bool:
    """Whether parts of divided cells are met in other cells too: a class whose name holds the sign is met whole alone."""
    cells = {frozenset(map(clean_label, word.split(sign))) for word in words}
    often = Counter(part for cell in cells for part in cell)
    parts = [part for cell in cells if len(cell) > 1 for part in cell]
    return sum(often[part] > 1 for part in parts) > len(parts) / 2


def check_learnable(target: Target, learned: NDArray[np.bool_], source: str, faults: Sequence[Fault]) -> None:
    """Raise DataError unless the items of `learned` (N,), those with a label to learn from, are enough and differ; all faults go with it."""
    values_MK = target.values[learned]
    if not len(values_MK):
        what = {"count": "a count", "number": "a number", "ordinal": "a level", "multilabel": "labels"}[target.task]
        raise DataError(f"No item of {source} to learn from can be read as {what}.", faults=faults)
    if len(values_MK) < FEWEST:
        raise DataError(
            f"{source} has {len(values_MK)} item{'s' * (len(values_MK) > 1)} to learn from; {target.task} needs at least {FEWEST}.",
            faults=faults,
        )
    if not values_MK.shape[1] or not (values_MK != values_MK[0]).any():
        kind = "labels" if target.task == "multilabel" else "value"
        value = ""
        if target.task != "multilabel":
            value = f", {target.names[int(values_MK[0].argmax())] if target.names else f'{values_MK[0, 0]:g}'}"
        raise DataError(
            f"Every item of {source} to learn from has the same {kind}{value}: there is nothing to learn.",
            faults=faults,
        )
