"""What a fit of numbers, counts, ordered levels or sets of labels found, as it stands in `result.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graft.heads.conformal import Spread
from graft.results import Example, Fitted, Interval, StrategyResult


@dataclass(frozen=True)
class Reach:
    """How wide the intervals of answers are: `value` is the reach at `coverage` (None where the items are too few to promise it).

    In the target's unit for numbers, times the root of the rate for counts, a probability for levels; times the factor of `spread`, where that is
    not None. `covered` and `width` (mean, in the unit, counts or levels) were measured on `measured_on`.
    """

    coverage: float
    value: float | None
    spread: Spread | None = None
    covered: Interval | None = None
    width: float | None = None
    measured_on: str = "nothing"


@dataclass(frozen=True)
class LabelRow:
    """One label of several: training items that have it, the probability from which it is answered, and how that does on the judged items."""

    name: str
    train: int
    n: int
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None


@dataclass(frozen=True, kw_only=True)
class TargetResult(Fitted):
    """Everything a fit of a target found. `strategies` are the contenders on the folds; `test` the measures on the held-out items.

    `target` describes the training items' values: least, mean, greatest, or the share of each level or label. `confusion` counts levels
    [true][answered] on the judged items.
    """

    target: Mapping[str, float]
    reach: Reach | None
    labels: tuple[LabelRow, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def chosen_result(self) -> StrategyResult:
        """What the chosen contender did on the chosen encoder."""
        return next(s for s in self.strategies if (s.name, s.encoder) == (self.chosen, self.encoder.reference))


@dataclass(frozen=True)
class Seen:
    """What the report shows beside the numbers: `points` (truth, answer, item) of the judged items, and those with the largest errors."""

    measured_on: str
    points: tuple[tuple[float, float, str], ...] = ()
    worst: tuple[Example, ...] = ()
