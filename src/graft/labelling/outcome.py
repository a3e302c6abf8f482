"""What `graft label` found: plain values for tables, JSON and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graft.results import Fault, Interval


@dataclass(frozen=True)
class Query:
    """One item to ask for: its `id` in the data, `key` (hash of its content, by which answers are kept), `text` (empty for a picture),
    why it is asked in `reason`, and `score`, the higher the sooner (what it measures depends on the query).
    """

    id: str
    key: str
    text: str
    reason: str
    score: float


@dataclass(frozen=True)
class Counts:
    """Items that can be asked for or have a label: `given` labels stood in the data, `answered` came from people, `skipped` they set aside."""

    items: int
    given: int
    answered: int
    skipped: int
    unlabelled: int
    gone: int = 0  # answers kept for items that are no longer in the data
    held_out: int = 0  # items of the data's own test part, which are never asked for
    differ: int = 0  # items whose answer is another than the label that stands in the data now; the answer counts


@dataclass(frozen=True)
class LabelResult:
    """The next items to label, best first, how they were chosen and why so; `columns` a table was read by; `files` written;
    `seconds` it took to choose.
    """

    name: str
    modality: str
    how: str
    why: str
    classes: tuple[str, ...]
    counts: Counts
    items: tuple[Query, ...]
    columns: Mapping[str, str]
    out: str
    files: tuple[str, ...]
    command: str
    faults: tuple[Fault, ...] = ()
    seconds: float = 0.0
    edited: tuple[str, ...] = ()  # tables of labels that were changed by hand and kept


@dataclass(frozen=True)
class RuleResult:
    """One rule: shares of the items it speaks of, where another does too, and where another says otherwise; `estimated` share of its
    votes that are right (Dawid and Skene; None where it never speaks); `measured` the same on labelled items (None without any).
    """

    rule: str
    coverage: float
    overlap: float
    conflict: float
    estimated: float | None
    measured: Interval | None


@dataclass(frozen=True)
class StepResult:
    """A way to carry labels to further items, on the labelled items: `accuracy`, and `gain` over the way `over`, on the same items."""

    name: str
    accuracy: Interval | None
    gain: Interval | None
    over: str
    used: bool
    why: str


@dataclass(frozen=True)
class WeakResult:
    """Labels from rules: `labelled` items by source; `rules` and `steps` with their evidence; `accuracy` of the rules' labels, measured."""

    name: str
    classes: tuple[str, ...]
    counts: Counts
    rules: tuple[RuleResult, ...]
    accuracy: Interval | None
    steps: tuple[StepResult, ...]
    labelled: dict[str, int]
    out: str
    files: tuple[str, ...]
    command: str
    faults: tuple[Fault, ...] = ()
    seconds: float = 0.0
