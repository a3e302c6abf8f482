"""Frozen values that travel upward: what was measured, found and chosen. Plain numbers, strings and tuples only.

Everything here turns into JSON with `to_json` and back with `from_json`; `None` stands for "not measured".
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from graft.label_curve import LabelCurve

SCHEMA = 1

T = TypeVar("T")


@dataclass(frozen=True)
class Interval:
    """A measured value with the ends of its 95 % interval (None when one cannot be had) and the count behind it."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Fault:
    """One faulty item of an input: `where` is a file or `row 12`, `problem` says what is wrong, `value` the offending value.

    `about` is "label" where only the label is at fault, so that the item is of use wherever labels are not needed.
    """

    where: str
    problem: str
    value: str = ""
    about: str = "content"  # content | label | rule


@dataclass(frozen=True)
class Fidelity:
    """How close the fast path's vectors are to full precision: cosine over `n` of the user's own items.

    Measured when the encoder was first used on this processor, and remembered.
    """

    format: str
    mean: float
    minimum: float
    n: int


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a training: mean losses, the score on held-out items (larger is better) where there were any, the body's rate at its end.

    `epoch` counts from 0. `drift` is the relative distance of the weights from where they started, by group of layers.
    """

    epoch: int
    loss: float
    validation_loss: float | None = None
    score: float | None = None
    rate: float = 0.0
    seconds: float = 0.0
    drift: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RangeTest:
    """A learning-rate range test of one group of weights: smoothed loss by rate, where it fell steepest, and a tenth of where it was least."""

    group: str
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    steepest: float | None
    tenth: float | None
    suggestion: float | None


@dataclass(frozen=True)
class Retained:
    """What is left of another task after a training: `measure` on the retained data with the weights before and after."""

    name: str
    measure: str
    before: float
    after: float


@dataclass(frozen=True)
class TrainingRecord:
    """How a trained rung went: its first fold's epochs, and what it took.

    `trained` of `parameters` numbers were changed and take `bytes` on disk. `folds` of `measured_on` ("folds" or "one split") were run.
    `interpolation` are (share of the way from the old weights to the new, score) pairs (WiSE-FT).
    """

    method: str
    epochs: tuple[EpochRecord, ...] = ()
    stopped: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)
    range_tests: tuple[RangeTest, ...] = ()
    trained: int = 0
    parameters: int = 0
    bytes: int = 0
    batch: int = 0
    accumulate: int = 1
    device: str = "cpu"
    precision: str = "f32"
    memory_mb: float = 0.0
    items_per_second: float = 0.0
    retained: tuple[Retained, ...] = ()
    interpolation: tuple[tuple[float, float], ...] = ()
    measured_on: str = "folds"
    folds: int = 0
    predicted_seconds: float | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StrategyResult:
    """What one strategy did on the paired folds.

    `metrics` are cross-validated (accuracy, macro_f1, log_loss); `gain` is the paired difference in the chosen metric, signed so that
    positive is better, over `gain_over`, the best of the cheaper rungs; `versus_chosen` the same against the chosen strategy.
    """

    name: str
    rung: int
    status: str  # measured | skipped | stopped
    reason: str = ""
    encoder: str = ""
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    gain: Interval | None = None
    gain_over: str | None = None
    versus_chosen: Interval | None = None
    seconds: float = 0.0
    memory_mb: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingRecord | None = None


@dataclass(frozen=True)
class Calibration:
    """Temperature scaling on out-of-fold predictions: log loss and ECE before and after; `bins` rows are (mean confidence, share right, n)."""

    temperature: float
    log_loss_before: float
    log_loss_after: float
    ece_before: float
    ece_after: float
    bins_before: tuple[tuple[float, float, int], ...] = ()
    bins_after: tuple[tuple[float, float, int], ...] = ()


@dataclass(frozen=True)
class Abstention:
    """When `predict` says "unsure": below `threshold`, set by split conformal at `coverage`; rates are measured, None without data.

    `abstained` is the share of items left unlabelled, `error` the share wrong among those labelled, `error_without` when all are labelled.
    """

    threshold: float
    coverage: float
    measured_on: str  # "test" | "folds" | "nothing"
    abstained: Interval | None = None
    error: Interval | None = None
    error_without: Interval | None = None


@dataclass(frozen=True)
class ClassRow:
    """One class's row of the report's table."""

    name: str
    train: int
    n: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Confusion:
    """Counts [true][predicted] in the order of `classes`, and on which items they were counted ("test" or "folds")."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    measured_on: str


@dataclass(frozen=True)
class Suspect:
    """A label that confident learning doubts: item id, label given, label suggested, and their out-of-fold probabilities."""

    item: str
    given: str
    suggested: str
    p_given: float
    p_suggested: float


@dataclass(frozen=True)
class Duplicates:
    """Exact and near duplicates. `groups` lists item ids of the first groups found (largest first), `leaks` pairs (train id, test id, similarity).

    `threshold` is for texts the least share of equal letters of a near pair; for pictures the cosine from which the pairs of a typical
    item stand out from chance neighbours: among crowded items it takes more, among lone ones less. `objects` are classes
    that are one object (their label names it), whose items are not kept together. `grouped` and `random` are the chosen strategy's
    cross-validated score with groups kept together and with plain random folds.
    """

    exact: int = 0
    near: int = 0
    threshold: float | None = None
    groups: tuple[tuple[str, ...], ...] = ()
    leaks: tuple[tuple[str, str, float], ...] = ()
    leaked: int = 0
    objects: tuple[str, ...] = ()
    grouped: Interval | None = None
    random: Interval | None = None


@dataclass(frozen=True)
class DataSummary:
    """What was read: counts, the columns guessed or named, faults, and the labels per class."""

    name: str
    source: str
    kind: str  # folder | zip | table | named | arrays
    modality: str  # text | image | numeric
    items: int
    train: int
    test: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    unlabelled: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    sha256: str | None = None
    faults: tuple[Fault, ...] = ()
    duplicates: Duplicates = field(default_factory=Duplicates)


@dataclass(frozen=True)
class EncoderSummary:
    """Which encoder made the vectors, how, and how faithfully."""

    reference: str
    fingerprint: str
    space: str
    dim: int
    modality: str
    format: str = ""
    device: str = ""
    fidelity: Fidelity | None = None
    encoded: int = 0
    cached: int = 0


@dataclass(frozen=True)
class Drift:
    """The training and the test part look different: how well held-out vectors tell them apart (chance is an AUC of 0.5), and the chance's p."""

    auc: Interval
    p: float
    a_distance: Interval


@dataclass(frozen=True)
class PlanCheck:
    """How well the rules of `plan` foretold a fit: the strategy they put first, what it was expected to get right and what it did
    (`measured_on` test or folds), and the rank correlation of expected with cross-validated accuracies over so many `strategies`."""

    top: str
    expected: Interval
    measured: Interval
    measured_on: str
    held: bool
    rank_correlation: float | None
    strategies: int


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What every fit found, whatever its labels are: a `FitResult` of classes, a `graft.TargetResult` of numbers, counts, levels or label sets.

    `task` says which: classify, number, count, ordinal, multilabel. `strategies` are all that were measured on the folds, by `metric`; `chosen` is the
    name of the one taken, and `why`. `test` holds the measures on items that took no part, None where nothing was held out.
    """

    name: str
    task: str
    chosen: str
    why: str
    metric: str
    seed: int
    test: Mapping[str, Interval] | None
    strategies: tuple[StrategyResult, ...]
    data: DataSummary
    encoder: EncoderSummary
    encoders: tuple[EncoderSummary, ...]
    folds: str
    seconds: Mapping[str, float]
    environment: Mapping[str, str]
    command: str
    out: str = ""
    schema: int = SCHEMA


@dataclass(frozen=True, kw_only=True)
class FitResult(Fitted):
    """Everything a fit of classes found, as written to `result.json`."""

    calibration: Calibration | None
    abstention: Abstention | None
    confusion: Confusion | None
    per_class: tuple[ClassRow, ...]
    suspects: tuple[Suspect, ...]
    labels: LabelCurve | None = None
    shift: Drift | None = None  # None where nothing speaks for one
    plan: PlanCheck | None = None

    @property
    def chosen_result(self) -> StrategyResult | None:
        """What the chosen strategy did on the chosen encoder."""
        same = [s for s in self.strategies if s.name == self.chosen]
        return next((s for s in same if s.encoder == self.encoder.reference), same[0] if len(same) == 1 else None)


@dataclass(frozen=True)
class TuneTrial:
    """One try of a search over settings: `score` in the searched metric with the ends of its interval, None where nothing was measured.

    `number` counts from 0, the default settings, in the order tried; `reason` says why a trial failed or was given up early ("pruned").
    """

    number: int
    settings: Mapping[str, Any]
    status: str = "measured"  # measured | failed | pruned
    score: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class TuneResult:
    """What a search over the settings of one strategy found.

    `best` is the number of the best trial, None where none was measured; `baseline` the score of the default settings, `gain` the paired
    difference of the best over them, signed so that positive is better. `parameters` says each searched setting's range in words, `fit` the
    command that fits with the best settings.
    """

    name: str
    strategy: str
    encoder: str
    data: str
    method: str  # bayes | grid
    metric: str
    trials: tuple[TuneTrial, ...]
    best: int | None
    baseline: float | None = None
    gain: Interval | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    seed: int = 0
    command: str = ""
    out: str = ""
    fit: str = ""
    schema: int = SCHEMA

    @property
    def best_trial(self) -> TuneTrial | None:
        """The best trial."""
        return next((trial for trial in self.trials if trial.number == self.best), None)


@dataclass(frozen=True)
class Example:
    """One item shown in the report; `picture` is a small data URI, or empty for a text."""

    item: str
    text: str
    picture: str
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class MapPoint:
    """One item on the two-dimensional map of the vectors."""

    x: float
    y: float
    label: str
    predicted: str
    item: str
    text: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Evidence:
    """What the report shows beside the numbers; it is not part of `result.json`."""

    right: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    wrong: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    map: tuple[MapPoint, ...] = ()
    map_method: str = ""
    suspects: tuple[Example, ...] = ()
    measured_on: str = ""


@dataclass(frozen=True)
class Prediction:
    """One item's answer: `label` is None where the model abstains; `top` holds the likeliest (label, probability), best first."""

    item: str
    label: str | None
    probability: float
    top: tuple[tuple[str, float], ...]


def to_json(value: Any) -> Any:
    """A tree of dicts, lists, strings, numbers and None; NaN and infinities become None, as JSON has neither."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if hasattr(value, "item"):  # a numpy scalar
        return to_json(value.item())
    return str(value)


def from_json(kind: type[T], tree: Any) -> T:
    """Rebuild a dataclass of this module from `to_json`'s tree; unknown keys are ignored, missing ones take their defaults.

    Raises TypeError when a field without a default is absent.
    """
    made: T = _build(kind, tree)
    return made


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: Any, tree: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if tree is None else _build(next(a for a in args if a is not type(None)), tree)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        return kind(**{f.name: _build(hints[f.name], tree[f.name]) for f in dataclasses.fields(kind) if f.name in tree})
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_build(args[0], item) for item in tree)
        return tuple(_build(a, item) for a, item in zip(args, tree, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {k: _build(args[1], v) for k, v in tree.items()}
    if kind is float and tree is not None:
        return float(tree)
    return tree
