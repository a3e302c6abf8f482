"""Axes and the small pictures of a report, as positions in per cent of a plot's width and height.

Positions in per cent let a picture fill any width while its words keep their size, which a scaled drawing cannot. Upward is
downward on a page, so every vertical position is counted from the top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graft.reports.formats import percent, seconds
from graft.results import Calibration

Words = Callable[[float], str]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: position in per cent, and what stands beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A stretch of values, `low` to `high`, and its ticks; `log` for a logarithmic one, `upward` for a vertical one."""

    low: float
    high: float
    log: bool
    upward: bool
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Position of a value in per cent, kept inside the plot."""
        return _position(value, self.low, self.high, self.log, self.upward)


def _position(value: float, low: float, high: float, log: bool, upward: bool) -> float:
    if log:
        value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return round(100 * (1 - share if upward else share), 2)


def _axis(
    low: float, high: float, marks: Iterable[float], words: Words, *, log: bool = False, upward: bool = False
) -> Axis:
    ticks = tuple(Tick(_position(m, low, high, log, upward), words(m)) for m in marks)
    return Axis(low, high, log, upward, ticks)


def linear_axis(values: Iterable[float], words: Words, *, lowest: float, highest: float) -> Axis:
    """A vertical axis around the values with about five round ticks, never beyond `lowest` and `highest`."""
    values = list(values)
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = max(lowest, low - pad), min(highest, high + pad)
    step = _round_step((high - low) / 4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return _axis(low, high, (k * step for k in range(first, last + 1)), words, upward=True)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)


def time_axis(values: Iterable[float]) -> Axis:
    """A horizontal logarithmic axis of seconds: ticks at 1 and 3 of each decade, or at 1 alone where decades are many."""
    values = [max(v, 1e-3) for v in values]
    low, high = min(values), max(values)
    widen = max(1.5, math.sqrt(12 / (high / low)))  # at least a decade wide, so that there are ticks to read
    low, high = low / widen, high * widen
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1.0,) if math.log10(high / low) > 3.2 else (1.0, 3.0)
    marks = [s * 10.0**d for d in decades for s in steps]
    return _axis(low, high, (m for m in marks if low <= m <= high), _round_seconds, log=True)


def _round_seconds(value: float) -> str:
    return seconds(value) if value < 0.9 else f"{value:,.0f}\u202fs"


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: its place, the radius of its mark (area grows with the items in it), and its words."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True)
class Reliability:
    """One reliability diagram: bins from least to most confident, on two axes from 0 to 1."""

    title: str
    x: Axis
    y: Axis
    bins: tuple[Bin, ...]


def reliability(title: str, rows: Sequence[tuple[float, float, int]]) -> Reliability:
    """`rows` are (mean confidence, share right, items); empty bins are left out."""
    marks = (0.0, 0.5, 1.0)
    words: Words = lambda v: percent(v, 0)
    x, y = _axis(0, 1, marks, words), _axis(0, 1, marks, words, upward=True)
    total = sum(n for _, _, n in rows) or 1
    bins = tuple(
        Bin(
            x.at(sure),
            y.at(right),
            round(2.5 + 9 * math.sqrt(n / total), 1),
            f"{n} items: {percent(sure)} sure, {percent(right)} right",
        )
        for sure, right, n in sorted(rows)
        if n > 0
    )
    return Reliability(title, x, y, bins)


def reliabilities(calibration: Calibration) -> tuple[Reliability, ...]:
    """The diagrams before and after temperature scaling, those that were measured."""
    pairs = (("Before scaling", calibration.bins_before), ("After scaling", calibration.bins_after))
    return tuple(reliability(title, rows) for title, rows in pairs if rows)


@dataclass(frozen=True)
class Part:
    """One stretch of the bar of times: `share` in per cent of the whole."""

    name: str
    seconds: float
    share: float


def time_parts(spent: Mapping[str, float]) -> tuple[Part, ...]:
    """Where the time went, in the order it was spent; parts that were not timed are left out."""
    parts = {name: s for name, s in spent.items() if name != "total" and s > 0}
    whole = sum(parts.values()) or 1.0
    return tuple(Part(name, s, round(100 * s / whole, 2)) for name, s in parts.items())
