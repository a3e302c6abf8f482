"""Axes and the small pictures of a report, as positions in per cent of a plot's width and height.

Positions in per cent let a picture fill any width while its words keep their size, which a scaled drawing cannot. Upward is
downward on a page, so every vertical position is counted from the top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graft.reports.formats import brief, known, percent, seconds
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
    pad = 0.08 * (high - low) if not _alike(low, high) else 0.05 * abs(high) if abs(high) > 1e-9 else 0.05
    low, high = max(lowest, low - pad), min(highest, high + pad)
    step = _round_step((high - low) / 4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return _axis(low, high, (k * step for k in range(first, last + 1)), words, upward=True)


def _alike(low: float, high: float) -> bool:
    """Whether two numbers are too close to have ticks between them."""
    return high - low <= 1e-9 * max(1e-9, abs(high), abs(low))


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)


def time_axis(values: Iterable[float]) -> Axis:
    """A horizontal logarithmic axis of seconds, from milliseconds to hours: ticks at 1 and 3 of each decade of milliseconds, seconds,
    minutes and hours, or at each decade alone where there are many.
    """
    values = [max(v, 1e-3) for v in values]
    low, high = min(values), max(values)
    widen = max(1.5, math.sqrt(12 / (high / low)))  # at least a decade wide, so that there are ticks to read
    low, high = low / widen, high * widen
    steps = (1.0,) if math.log10(high / low) > 3.2 else (1.0, 3.0)
    marks = sorted(unit * 10.0**d * s for unit, decades in CLOCK for d in decades for s in steps)
    return _axis(low, high, (m for m in marks if low <= m <= high), _round_seconds, log=True)


# Units of time in seconds with the decades written in them: 1 ms to 30 s, 1 to 30 min, from 1 h on.
CLOCK = ((1.0, range(-4, 2)), (60.0, range(2)), (3600.0, range(6)))


def _round_seconds(value: float) -> str:
    if value < 0.9:
        return seconds(value)
    unit, word = next((u, w) for u, w in ((3600, "h"), (60, "min"), (1, "s")) if value >= 0.999 * u)
    return f"{value / unit:,.0f}\u202f{word}"


def count_axis(values: Iterable[int]) -> Axis:
    """A horizontal axis of whole numbers, such as epochs, with at most seven ticks."""
    values = list(values)
    low, high = min(values), max(values)
    step = max(1, math.ceil(_round_step(max(high - low, 1) / 6)))
    marks = range(low + -low % step, high + 1, step)
    return _axis(low - 0.5 * (low == high), high + 0.5 * (low == high), marks, lambda v: f"{v:,.0f}")


def power_axis(values: Iterable[float], most: int = 6) -> Axis:
    """A horizontal logarithmic axis of positive numbers, such as learning rates, with ticks at powers of ten."""
    values = list(values)
    low, high = min(values), max(values)
    low, high = low / (1.0 if high > 10 * low else 3.2), high * (1.0 if high > 10 * low else 3.2)
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / most))
    return _axis(low, high, (10.0**d for d in range(first, last + 1, every)), brief, log=True)


def share_axis() -> Axis:
    """A horizontal axis from 0 to 100 %."""
    return _axis(0, 1, (0.0, 0.5, 1.0), lambda v: percent(v, 0))


def value_axis(values: Iterable[float]) -> Axis:
    """A horizontal linear axis of any numbers, with one to five round ticks."""
    values = list(values)
    low, high = min(values), max(values)
    if _alike(low, high):
        low, high = low - max(0.5 * abs(low), 0.1), high + max(0.5 * abs(high), 0.1)
    step = _round_step((high - low) / 4)
    marks = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return _axis(low, high, (k * step for k in marks), lambda v: f"{v:.3g}")


def choice_axis(choices: Sequence[str]) -> Axis:
    """A horizontal axis of named choices, each in the middle of its own stretch."""
    n = max(len(choices), 1)
    ticks = tuple(Tick(round(100 * (k + 0.5) / n, 2), choice) for k, choice in enumerate(choices))
    return Axis(0, n, False, False, ticks)


@dataclass(frozen=True)
class Curve:
    """A line of a plot: an SVG path in a box of 100 × 100, and its points (x, y, words). What is no number leaves a gap."""

    name: str
    kind: str
    path: str
    points: tuple[tuple[float, float, str], ...]


def curve(
    points: Iterable[tuple[float, float | None]], x: Axis, y: Axis, words: Words, *, name: str = "", kind: str = "line"
) -> Curve:
    """A line through (x, y) values from left to right; `words` writes a y."""
    path, drawn, down = [], [], False
    for at, value in points:
        if (value := known(value)) is None:
            down = False
            continue
        place = (x.at(at), y.at(value))
        path.append(f"{'L' if down else 'M'}{place[0]:g} {place[1]:g}")
        drawn.append((*place, words(value)))
        down = True
    return Curve(name, kind, "".join(path), tuple(drawn))


@dataclass(frozen=True)
class Plot:
    """A picture of one or more lines. `lost` are horizontal places where a line has no number, `best` a place to be named in words."""

    title: str
    x_title: str
    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    label: str
    lost: tuple[float, ...] = ()
    best: tuple[float, float, str] | None = None
    note: str = ""


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


# Names beside the marks of a picture, placed so that none covers a mark or another name.

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

LETTER, LINE, MARK = 6.4, 13.0, 6.0  # width of a letter, height of a line, half a mark, in pixels
SIDES = (
    (11.0, 4.0, "start"),
    (-11.0, 4.0, "end"),
    (10.0, -9.0, "start"),
    (10.0, 17.0, "start"),
    (-10.0, -9.0, "end"),
    (-10.0, 17.0, "end"),
)


@dataclass(frozen=True)
class Name:
    """A word beside a mark: its offset in pixels and the end it hangs on (SVG's `text-anchor`)."""

    text: str
    dx: float
    dy: float
    anchor: str


@dataclass(frozen=True)
class Spot:
    """A mark to be named: its centre and the ends of its interval, in pixels, and the words to try, the best first."""

    x: float
    y: float
    low: float
    high: float
    words: tuple[str, ...]

    @property
    def body(self) -> tuple[Box, Box]:
        """The mark and the bar of its interval, which no name may cover."""
        mark = (self.x - MARK, self.y - MARK, self.x + MARK, self.y + MARK)
        return mark, (self.x - 2, self.high, self.x + 2, self.low)

    @property
    def places(self) -> tuple[tuple[float, float, str], ...]:
        """Offsets to try, the best first: beside the mark, then above and below its interval."""
        above, below = min(self.high - self.y, -MARK) - 5, max(self.low - self.y, MARK) + 14
        ends = tuple((0.0, dy, anchor) for dy in (above, below) for anchor in ("middle", "end", "start"))
        return SIDES + ends


def place(spots: Sequence[Spot], width: float) -> list[Name | None]:
    """A name for each spot in the order given, greedily: the first word in the first place that is free, or None."""
    taken = [box for spot in spots for box in spot.body]
    names: list[Name | None] = []
    for spot in spots:
        found = _free(spot, taken, width)
        names.append(found[0] if found else None)
        if found:
            taken.append(found[1])
    return names


def _free(spot: Spot, taken: Sequence[Box], width: float) -> tuple[Name, Box] | None:
    for text in spot.words:
        for dx, dy, anchor in spot.places:
            box = _box(spot.x + dx, spot.y + dy, LETTER * len(text), anchor)
            if box[0] >= 0 and box[2] <= width and not any(_overlap(box, other) for other in taken):
                return Name(text, round(dx, 1), round(dy, 1), anchor), box
    return None


def _box(x: float, baseline: float, width: float, anchor: str) -> Box:
    left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
    return left, baseline - LINE + 3, left + width, baseline + 3


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
