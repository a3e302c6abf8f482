"""Whether two sets come from one distribution, what gives the difference away, and the report of it: one HTML page, of plain values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from graft.reports.build import html_page
from graft.reports.charts import time_parts
from graft.reports.formats import decimal
from graft.reports.space import Histogram, Look, curves
from graft.results import Fault, Interval


@dataclass(frozen=True)
class Side:
    """One of the two sets: what was read, and what of it was looked at.

    Of `items` readable ones `used` were drawn and encoded; `copies` of these repeat another of their own set and were left out.
    """

    name: str
    source: str
    items: int
    used: int
    copies: int = 0


@dataclass(frozen=True)
class Sense:
    """How well a linear classifier tells the sets apart by one sense ("vectors", "pixels", "words"): held-out figures.

    `auc`: how often the classifier sees which of a random pair is of the second set. `p` is that of the permutation null, `noticed` the AUC that
    19 of 20 labellings of the null stay below, and at least `graft.metrics.shift.chance_auc`: less could not have been noticed.
    `majority` is the accuracy of always naming the larger set.
    """

    name: str
    dims: int
    auc: Interval
    p: float
    noticed: float
    a_distance: Interval
    accuracy: float
    majority: float
    mcc: float


@dataclass(frozen=True)
class Kernel:
    """Squared maximum mean discrepancy of the vectors of `items` items, unbiased, with the p of its permutation null and the kernel's width."""

    value: float
    p: float
    width: float
    items: int


@dataclass(frozen=True)
class ClassShare:
    """A class's share of the first set's labels, its estimated share of the second set, and there the share of its labels where it has some."""

    name: str
    first: float
    estimated: Interval
    observed: float | None = None


@dataclass(frozen=True)
class LabelShift:
    """Class shares of the second set, estimated from a classifier of the first (BBSE).

    `accuracy` is the classifier's on held-out items of the first set, `condition` the condition number of its confusion matrix, `explained` the AUC
    that could be had if nothing but these shares had moved. `uncertain` says why the shares cannot be trusted, where they cannot. `left_out` are
    classes with too few labels.
    """

    classes: tuple[ClassShare, ...]
    accuracy: Interval
    condition: float
    explained: float
    uncertain: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[ClassShare, ...]:
        """Classes whose interval leaves out their share of the first set, the largest difference first; none where the shares are uncertain."""
        found = [c for c in self.classes if not _within(c.first, c.estimated)]
        found.sort(key=lambda c: -abs(c.estimated.value - c.first))
        return () if self.uncertain else tuple(found)


def _within(value: float, interval: Interval) -> bool:
    return interval.low is not None and interval.high is not None and interval.low <= value <= interval.high


@dataclass(frozen=True)
class Telltale:
    """A word that occurs in a larger share of one set's texts than of the other's."""

    word: str
    first: float
    second: float


@dataclass(frozen=True)
class ShiftResult:
    """Two sets compared. `verdict` is "same", "shifted" or "cannot tell"; `p` is the least of all senses' and the kernel's, times their number.

    `telling` are the items that give each set away, (id, held-out score in standard deviations), most telling first; `shared` counts contents that
    are in both sets.
    """

    name: str
    first: Side
    second: Side
    modality: str
    encoder: str
    verdict: str
    why: str
    p: float | None
    senses: tuple[Sense, ...]
    kernel: Kernel | None = None
    labels: LabelShift | None = None
    telling: tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]] = ((), ())
    words: tuple[Telltale, ...] = ()
    shared: int = 0
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    out: str = ""
    command: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ShiftEvidence:
    """What the report shows beside the numbers: the telling items of each set as they look, and the held-out scores of both sets by the vectors."""

    first: Mapping[str, Look] = field(default_factory=dict)
    second: Mapping[str, Look] = field(default_factory=dict)
    scores: Histogram = ()


def shift_report(result: ShiftResult, evidence: ShiftEvidence) -> str:
    """The report of a comparison: one HTML page below 5 MB, readable offline, on a phone and on paper."""
    nowhere = Look("")
    return html_page(
        "shift.html",
        style="space.css",
        result=result,
        main=result.senses[0] if result.senses else None,
        sides=[
            (side, [looks.get(item, replace(nowhere, item=item)) for item, _ in telling])
            for side, looks, telling in zip(
                (result.first, result.second), (evidence.first, evidence.second), result.telling, strict=True
            )
        ],
        shares=_by_movement(result.labels) if result.labels else (),
        scores=curves(evidence.scores, lambda value: decimal(value, 1)),
        times=time_parts(result.seconds),
    )


def _by_movement(labels: LabelShift) -> tuple[ClassShare, ...]:
    moved = labels.moved
    return (*moved, *(c for c in labels.classes if c not in moved))
