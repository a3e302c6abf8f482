"""What a search over settings goes through: ranges and choices of a strategy's keywords, read from text.

    rate=1e-5..1e-3:log,epochs=1..5,rank=4|8|16

`a..b` is a range, `:log` has every factor count the same, `/15` cuts it to 15 points, `x|y|z` are choices. Whole numbers stay whole.
"""

from __future__ import annotations

import itertools
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.errors import UsageError, unknown
from graft.fitting.session import at_once
from graft.strategies.frozen import STRATEGIES
from graft.strategies.trained import TRAINED
from graft.trainers.recipe import Recipe, read_settings, with_settings

MOST_COMBINATIONS = 10_000
MOST_TOLD = 8  # values that are named one by one
DIGITS = 4  # significant ones of a value that is tried: it is what people then write after --train
COUNTED = {"epochs"}  # a part of an epoch is allowed, and seldom meant where both ends of a range are whole
OF_FIT = {
    "ewc": "how strongly a task is held that `graft fit --retain` names",
    "splits": "how many folds `graft fit` measures on",
    "final": "what `graft fit` does after the choice",
}
# settings of frozen strategies: least and largest value that make sense
FROZEN_RANGES: Mapping[str, tuple[float, float]] = {
    "c": (1e-6, 1e6),
    "gamma": (1e-6, 1e6),
    "ridge": (1e-9, 1e6),
    "k": (1, 10_000),
    "name_weight": (0, 1e6),
}
_RANGE = re.compile(r"(?P<low>.+?)\.\.(?P<high>[^:/|]+)(?P<log>:[^/|]*)?(?:/(?P<points>[^|]*))?")

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Keyword:
    """One setting of a strategy: its type, and how a text becomes a value of it (raises UsageError naming what is allowed)."""

    name: str
    kind: type
    read: Callable[[str], Any]


@dataclass(frozen=True)
class Axis:
    """One searched setting: the `values` to choose from, or where there are none any number from `low` to `high`."""

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def ordered(self) -> bool:
        """Whether its values are numbers, so that nearby ones do alike."""
        return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.values)

    def told(self) -> str:
        """In words: "1e-05 to 0.001, log", "4, 8 or 16"."""
        if self.values:
            *first, last = map(shown, self.values)
            if len(first) >= MOST_TOLD and self.ordered:
                return f"{len(self.values)} numbers from {first[0]} to {last}"
            return f"{', '.join(first)} or {last}"
        return f"{self.low:g} to {self.high:g}{', whole numbers' if self.whole else ''}{', log' if self.log else ''}"

    def holds(self, value: Any) -> bool:
        """Whether `value` is one it could take."""
        if self.values:
            return any(value == v and type(value) is type(v) for v in self.values)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (not self.whole or value == int(value))

    def points(self) -> tuple[Any, ...]:
        """What a grid tries. Raises UsageError for a range of endless values."""
        if self.values:
            return self.values
        if not self.whole:
            raise UsageError(
                f"{self.name}={self.low:g}..{self.high:g} is endless for a grid: say how many points, as in "
                f"{self.name}={self.low:g}..{self.high:g}{':log' if self.log else ''}/5."
            )
        return tuple(range(int(self.low), int(self.high) + 1))

    def rounded(self, value: Any) -> Any:
        """A value as it is tried: short enough to be written down, still inside the range."""
        if self.values or self.whole:
            return value
        return min(self.high, max(self.low, float(f"{value:.{DIGITS}g}")))


def keywords(strategy: str) -> dict[str, Keyword]:
    """The settings of a strategy that can be searched, by name. Raises UsageError for a strategy that is not known or has none."""
    if strategy in TRAINED:
        return {
            name: _of_recipe(name, hint) for name, hint in typing.get_type_hints(Recipe).items() if name not in OF_FIT
        }
    if strategy not in STRATEGIES:
        raise UsageError(unknown("--strategy", strategy, [*STRATEGIES, *TRAINED]))
    tried: dict[str, list[Any]] = {}
    for setting in STRATEGIES[strategy].settings(
        np.array([1, 10])
    ):  # few labels and classes of different size: all that it has
        for name, value in setting.items():
            tried.setdefault(name, []).append(value)
    if not tried:
        raise UsageError(f"--strategy {strategy} has no settings to search.")
    return {name: _of_frozen(name, values) for name, values in tried.items()}


def read_request(strategy: str, over: str, train: str, *, grid: bool) -> tuple[tuple[Axis, ...], dict[str, str]]:
    """The axes that are searched, and the settings that all trials have, still as texts.

    Raises UsageError naming everything that is wrong at once.
    """
    allowed = keywords(strategy)
    axes, given = at_once(lambda: read_space(over, allowed), lambda: read_given(train, allowed))
    if clash := sorted({axis.name for axis in axes} & given.keys()):
        raise UsageError(f"{', '.join(clash)}: named by --over and by --train; leave it out of one.")
    if grid:
        combinations(axes)
    return axes, given


def read_given(text: str, allowed: Mapping[str, Keyword]) -> dict[str, str]:
    """Settings that were given for all trials, by name. Raises UsageError naming all that are not known or not allowed."""
    given, problems = read_settings(text), []
    for name, value in given.items():
        try:
            if name not in allowed:
                raise UsageError(unknown("The setting", name, allowed))
            allowed[name].read(value)
        except UsageError as error:
            problems.append(error.message)
    if problems:
        raise UsageError("--train: " + " ".join(problems))
    return given


def read_space(text: str, allowed: Mapping[str, Keyword]) -> tuple[Axis, ...]:
    """The axes that `--over` names, in its order. Raises UsageError naming everything that is wrong with it at once."""
    axes: dict[str, Axis] = {}
    problems = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, given = (piece.strip() for piece in part.partition("="))
        if not equals or not given:
            problems.append(f"{part!r}: a setting is written name=low..high or name=x|y|z.")
        elif name in OF_FIT:
            problems.append(f"{name} says {OF_FIT[name]}, so there is nothing to search.")
        elif name not in allowed:
            problems.append(unknown("The setting", name, allowed))
        elif name in axes:
            problems.append(f"{name} is named twice.")
        else:
            try:
                axes[name] = _axis(allowed[name], given)
            except UsageError as error:
                problems.append(error.message)
    if not axes and not problems:
        problems.append("nothing is named; as in rate=1e-5..1e-3:log,epochs=1..5,rank=4|8|16.")
    if problems:
        raise UsageError("--over: " + " ".join(problems))
    return tuple(axes.values())


def combinations(axes: tuple[Axis, ...]) -> Iterator[Settings]:
    """Every combination of the axes' points, the last axis fastest. Raises UsageError, at once, where they are too many or endless."""
    problems, points = [], []
    for axis in axes:
        try:
            points.append(axis.points())
        except UsageError as error:
            problems.append(error.message)
    if problems:
        raise UsageError("--over: " + " ".join(problems))
    count = math.prod(map(len, points))
    if count > MOST_COMBINATIONS:
        raise UsageError(
            f"--over: the grid has {count:,} combinations, and at most {MOST_COMBINATIONS:,} are tried. Name fewer points."
        )
    names = [axis.name for axis in axes]
    return (dict(zip(names, values, strict=True)) for values in itertools.product(*points))


def shown(value: Any) -> str:
    """A value as it is written after `--train`, from which the same value is read."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _of_recipe(name: str, hint: Any) -> Keyword:
    (kind,) = (k for k in typing.get_args(hint) or (hint,) if k is not types.NoneType)
    return Keyword(name, kind, lambda text: getattr(with_settings(Recipe(), {name: text}), name))


def _of_frozen(name: str, values: list[Any]) -> Keyword:
    kinds = {type(v) for v in values if v is not None}
    kind = float if float in kinds else (kinds or {float}).pop()

    def read(text: str) -> Any:
        if kind is str or kind is bool:
            words = {"true": True, "false": False} if kind is bool else {str(v): v for v in values}
            if text not in words:
                raise UsageError(unknown(f"{name}=", text, words))
            return words[text]
        if text == "none" and None in values:
            return None
        low, high = FROZEN_RANGES[name]
        number = _number(text)
        if number is None or not low <= number <= high or (kind is int and number != int(number)):
            raise UsageError(
                f"{name}={text}: a {'whole ' if kind is int else ''}number from {low:g} to {high:g} is wanted."
            )
        return kind(number)

    return Keyword(name, kind, read)


def _axis(keyword: Keyword, given: str) -> Axis:
    found = _RANGE.fullmatch(given)
    if found is None and ".." not in given:
        return _choices(keyword, given)
    whole_text = f"{keyword.name}={given}"
    if found is None or found["log"] not in (None, ":log", ":linear"):
        raise UsageError(
            f"{whole_text}: a range is written low..high, low..high:log, or low..high:log/15 for 15 points."
        )
    if keyword.kind not in (int, float):
        raise UsageError(f"{whole_text}: {keyword.name} takes words, to be written x|y|z, and has no range.")
    low, high = keyword.read(found["low"].strip()), keyword.read(found["high"].strip())
    log = found["log"] == ":log"
    if low is None or high is None or not low < high:
        raise UsageError(f"{whole_text}: a range goes from a number to a larger one.")
    if log and low <= 0:
        raise UsageError(f"{whole_text}: a range by factors begins above 0; leave out :log, or begin elsewhere.")
    whole = keyword.kind is int or (keyword.name in COUNTED and low == int(low) and high == int(high))
    axis = Axis(keyword.name, (), float(low), float(high), log, whole)
    return axis if found["points"] is None else _cut(axis, keyword, found["points"].strip())


def _choices(keyword: Keyword, given: str) -> Axis:
    values = [keyword.read(word.strip()) for word in given.split("|")]
    if len(values) == 1:
        raise UsageError(f"{keyword.name}={given} is one value, and nothing to search: it can be set with --train.")
    if len({shown(v) for v in values}) < len(values):
        raise UsageError(f"{keyword.name}={given}: a value is named twice.")
    return Axis(keyword.name, tuple(values))


def _cut(axis: Axis, keyword: Keyword, points: str) -> Axis:
    """The axis as points of its range, evenly apart or by even factors."""
    count = int(points) if points.isascii() and points.isdigit() else 0
    if not 2 <= count <= MOST_COMBINATIONS:
        raise UsageError(f"{keyword.name}: /{points} is not a number of points from 2 to {MOST_COMBINATIONS:,}.")
    spread = np.geomspace if axis.log else np.linspace
    inner = [axis.rounded(v) for v in spread(axis.low, axis.high, count)[1:-1].tolist()]
    found = [axis.low, *inner, axis.high]
    values = [keyword.kind(round(v)) for v in found] if axis.whole else found
    return Axis(axis.name, tuple(dict.fromkeys(values)))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
