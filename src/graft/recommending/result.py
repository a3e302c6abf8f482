"""What a fit of a recommender tells: every model measured on the same people, the choice with its reason, and what was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graft.results import Fault, Interval

Gains = Mapping[str, Interval]  # by number of likes, as JSON has it


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """One model of the ladder. `metrics` are of the test part, `validation` of the part by which settings and the model were chosen.

    `gain` is the paired difference in the measure on the validation part over `gain_over`, the best of the rungs below; `test_gain` the same on
    the test part, by which nothing is chosen. `tried` of the `settings_known` were measured. `bias` tells of what is recommended: share of the
    catalogue (coverage), Gini coefficient, share of answers outside the head of the catalogue (tail).
    """

    name: str
    rung: int
    status: str  # measured, skipped
    reason: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    tried: int = 0
    settings_known: int = 0
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    validation: Interval | None = None
    gain: Interval | None = None
    gain_over: str = ""
    test_gain: Interval | None = None
    bias: Mapping[str, float] = field(default_factory=dict)
    by_activity: Mapping[str, Interval] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How likes were divided: `how` in words, the people and likes of the test part, and how many of its people or items were new and left out."""

    how: str
    train_likes: int
    people: int
    targets: int
    new_people: int
    new_items: int
    validation_people: int
    now: float | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was read. `columns` is role to column; `how` what makes a row a like."""

    name: str
    rows: int
    people: int
    items: int
    likes: int
    seen: int
    merged: int
    columns: Mapping[str, str]
    how: str
    faulty: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Someone of the test part: what they had liked, what the chosen model recommended, and which of it they liked afterwards."""

    user: str
    history: tuple[str, ...]
    recommended: tuple[tuple[str, bool], ...]
    liked_later: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cold:
    """How well newcomers are served: people of whom only some likes are known, or items known by their content alone; beside popularity.

    Of items `metrics` rank those that were held out alone, `gain` is the paired difference in HR@10 to chance, `shuffled` the best HR@10 of 39 tries in which
    the content of one item is told of another, and `way` what a map was learned from (text, image; "" for what is there to compare).
    """

    what: str
    n: int
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    reason: str = ""
    gain: Interval | None = None
    way: str = ""
    shuffled: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Short:
    """Known people with at most `known_likes` likes, and new ones of whom at most `new_likes` are told (0: nobody), are answered by `instead`, a kind of
    popularity, and not by the chosen model.

    `known` and `new` are what `instead` gains over the chosen model, in the measure, on the validation part, by the most likes of a group of people;
    `known_test` and `new_test` the same on the test part, by which nothing is decided.
    """

    instead: str
    known_likes: int
    new_likes: int
    known: Gains = field(default_factory=dict)
    new: Gains = field(default_factory=dict)
    known_test: Gains = field(default_factory=dict)
    new_test: Gains = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MapPoint:
    """An item on the map: place in 0..1, title, first category, number of likes."""

    x: float
    y: float
    title: str
    category: str
    likes: int


@dataclass(frozen=True, kw_only=True)
class RecommendResult:
    """The recommender in `out`, and the evidence. `measure` is the metric by which the choice was made."""

    name: str
    source: str
    chosen: str
    why: str
    measure: str
    models: tuple[ModelResult, ...]
    parts: Parts
    data: Facts
    short: Short | None = None
    cold: tuple[Cold, ...] = ()
    shown: tuple[Shown, ...] = ()
    map: tuple[MapPoint, ...] = ()
    faults: tuple[Fault, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    out: str = ""
    command: str = ""

    @property
    def chosen_result(self) -> ModelResult:
        """The model that was chosen."""
        return next(m for m in self.models if m.name == self.chosen)
