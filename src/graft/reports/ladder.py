"""The ladder: every strategy's score against the seconds it took, as a picture and as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from graft.reports.charts import Axis, Name, Spot, linear_axis, place, time_axis
from graft.reports.formats import MEASURES, NARROW, Measure, known, known_interval, percent
from graft.results import FitResult, Interval, PlanCheck, StrategyResult

# Sizes in pixels at which names are laid out, a desk's and a phone's; in between the plot only gets roomier.
DESK, PHONE, HEIGHT = 700, 262, 300


@dataclass(frozen=True)
class Row:
    """One strategy in the table; `score` and `gain` are None where there is no number, `encoder` is empty unless several competed.

    `split` is True where it was measured on one split in place of the folds, `seconds` 0 where no time was taken.
    """

    number: int
    result: StrategyResult
    encoder: str
    chosen: bool
    score: Interval | None
    gain: Interval | None = None
    seconds: float = 0.0
    split: bool = False


@dataclass(frozen=True)
class Mark:
    """One measured strategy in the picture, in per cent; `low` and `high` are the ends of its interval, at `y` where there is none."""

    row: Row
    x: float
    y: float
    low: float
    high: float
    desk: Name | None = None
    phone: Name | None = None


@dataclass(frozen=True)
class Ladder:
    """The whole section; no axes and no marks where nothing could be measured. `steps` are lines (x1, y1, x2, y2) of the best so far."""

    measure: Measure
    rows: tuple[Row, ...]
    x: Axis | None = None
    y: Axis | None = None
    marks: tuple[Mark, ...] = ()
    steps: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def memory_known(self) -> bool:
        """Whether memory was measured for any strategy."""
        return any((known(row.result.memory_mb) or 0) > 0 for row in self.rows)


def ladder(result: FitResult) -> Ladder:
    """Rows in the order given (cheapest rung first), marks for those that have a score."""
    chosen = result.chosen_result
    several = len({s.encoder for s in result.strategies}) > 1
    rows = tuple(
        _row(number, s, s.encoder if several else "", s is chosen, result.metric)
        for number, s in enumerate(result.strategies, 1)
    )
    return drawn(rows, MEASURES[result.metric])


def drawn(rows: tuple[Row, ...], measure: Measure) -> Ladder:
    """The picture of these rows: a mark for each that has a score."""
    scored = [(row, row.score) for row in rows if row.score is not None]
    if not scored:
        return Ladder(measure, rows)
    ends = [v for _, score in scored for v in (score.value, score.low, score.high) if v is not None]
    y = linear_axis(ends, _short(measure), lowest=0.0, highest=1.0 if measure.share else float("inf"))
    x = time_axis([row.seconds for row, _ in scored])
    marks = [_mark(row, score, x, y) for row, score in scored]
    return Ladder(measure, rows, x, y, _named(marks), _best_so_far(marks, measure))


def _row(number: int, s: StrategyResult, encoder: str, chosen: bool, metric: str) -> Row:
    """A run that came to nothing may have a score or a time that is no number."""
    score, gain = known_interval(s.metrics.get(metric)), known_interval(s.gain)
    split = s.training is not None and s.training.measured_on == "one split"
    return Row(number, s, encoder, chosen, score, gain, known(s.seconds) or 0.0, split)


def _short(measure: Measure) -> Callable[[float], str]:
    """Words of a tick: as few digits as the value needs."""
    return (lambda v: f"{100 * v:.4g}{NARROW}%") if measure.share else (lambda v: f"{v:.3g}")


def _mark(row: Row, score: Interval, x: Axis, y: Axis) -> Mark:
    low = score.value if score.low is None else score.low
    high = score.value if score.high is None else score.high
    return Mark(row, x.at(row.seconds), y.at(score.value), y.at(low), y.at(high))


def _named(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Each mark with its name on a desk and its number on a phone (the name for the chosen one); the chosen picks its place first."""
    order = sorted(range(len(marks)), key=lambda i: (not marks[i].row.chosen, i))
    desk = dict(zip(order, place([_spot(marks[i], DESK) for i in order], DESK), strict=True))
    phone = dict(zip(order, place([_spot(marks[i], PHONE) for i in order], PHONE), strict=True))
    return tuple(replace(mark, desk=desk[i], phone=phone[i]) for i, mark in enumerate(marks))


def _spot(mark: Mark, width: int) -> Spot:
    row = mark.row
    name = f"{row.result.name} · {row.encoder}" if row.encoder else row.result.name
    words = (name, row.result.name, str(row.number)) if width == DESK or row.chosen else (str(row.number),)
    top, bottom = sorted((mark.low * HEIGHT / 100, mark.high * HEIGHT / 100))
    return Spot(mark.x * width / 100, mark.y * HEIGHT / 100, bottom, top, words)


def _best_so_far(marks: Sequence[Mark], measure: Measure) -> tuple[tuple[float, float, float, float], ...]:
    """A staircase through the strategies that beat every quicker one (positions count from the top, so a higher score has a lower y)."""
    sign = 1 if measure.lower_is_better else -1
    lines: list[tuple[float, float, float, float]] = []
    last: Mark | None = None
    for mark in sorted(marks, key=lambda m: (m.x, -sign * m.y)):
        if last is not None and sign * (mark.y - last.y) <= 0:
            continue
        if last is not None:
            lines += [(last.x, last.y, mark.x, last.y), (mark.x, last.y, mark.x, mark.y)]
        last = mark
    return tuple(lines)


def foretold(found: PlanCheck) -> str:
    """How well the rules of `graft plan` foretold the fit, in a few sentences."""
    low, high = (percent(end or 0.0, 0) for end in (found.expected.low, found.expected.high))
    where = "on the test items" if found.measured_on == "test" else "on the folds"
    held = "within the range" if found.held else "outside of the range"
    order = (
        ""
        if found.rank_correlation is None
        else f" The order of {found.strategies} strategies was foretold with a rank correlation of {found.rank_correlation:.2f} (1: exactly, 0: not at all)."
    )
    return (
        f"Before anything was measured the rules of graft plan put {found.top} first and expected it to get {low} to {high} right; "
        f"{where} it got {percent(found.measured.value)}, {held}.{order}"
    )
