"""How accuracy grows with labels, as `result.json` keeps it: what was measured, what is expected, and what a target takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy with `labels` labelled items in all, and the ends of its 95 % interval."""

    labels: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Expected(CurvePoint):
    """Accuracy to expect with `labels`, and by how much it is above that with the labels there are, as (value, low, high).

    The gain is known better than the accuracy, as both share the luck of the items counted. None in results of older versions.
    """

    gain: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class LabelTarget:
    """What it takes to reach an accuracy: `more` labels a class, from `low` to `high` by an interval of 90 %.

    `status`: "told", with `high` None where the interval does not end within ten times the labels; "reached"; or a refusal, whose `reason` says what
    the curve does not tell: "flat", "far", "open". A refusal may know that it takes at least `low`.
    """

    accuracy: float
    status: str
    more: int | None = None
    low: int | None = None
    high: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class LabelCurve:
    """A learning curve and its forecast; where `reason` is not empty nothing was measured, and it says why.

    `measured` on held-out items, the mean of `draws` nested draws; `fitted` is the curve from the least measured to the farthest forecast;
    `expected` is at the labels there are and at multiples of them. `power` is the exponent c, as (value, low, high).
    """

    strategy: str
    encoder: str
    labels: int
    classes: int
    reason: str = ""
    draws: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    measured: tuple[CurvePoint, ...] = ()
    fitted: tuple[CurvePoint, ...] = ()
    expected: tuple[Expected, ...] = ()
    power: tuple[float, float, float] | None = None
    targets: tuple[LabelTarget, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class CurveResult:
    """What `diagnose curve` found of `items` labelled items."""

    name: str
    source: str
    items: int
    curve: LabelCurve
    seed: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    out: str = ""
