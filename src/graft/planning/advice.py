"""What a plan says: frozen values for tables, JSON and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graft.planning.costs import Machine
from graft.planning.domain import Distance
from graft.results import SCHEMA, Fault, Interval


@dataclass(frozen=True)
class DataFacts:
    """The data as found, or as described: counts are of items that `fit` would learn from, but for `items`, which is all of them.

    `least` and `most` are the labels of the smallest and the largest class, `labels_a_class` the median; `copies` counts exact and near
    duplicates among those looked at, `held_out` the items of the test part, `columns` of a table by their role.
    """

    modality: str
    items: int
    labelled: int
    unlabelled: int = 0
    held_out: int = 0
    classes: int = 0
    labels_a_class: float = 0.0
    least: int = 0
    most: int = 0
    copies: int = 0
    looked_at: int = 0
    names: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Advised:
    """One strategy: what it is expected to get right (`n` counts the items that were probed, 0 for none), what it costs, and why it stands there.

    `status` is advised (can run and fits), costly (does not fit the time or the memory) or impossible.
    """

    name: str
    rung: int
    trains: bool
    status: str
    reason: str
    accuracy: Interval | None = None
    seconds: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class EncoderAdvice:
    """One encoder: the probe's score by cross-validation, its paired difference from the best, LogME, size, pretraining, licence.

    `static` is the rank that size and pretraining alone would give it, from 1; `status` is ranked or unfit.
    """

    reference: str
    status: str
    reason: str
    probe: Interval | None = None
    gap: Interval | None = None
    logme: float | None = None
    static: int | None = None
    parameters: int | None = None
    dim: int | None = None
    licence: str | None = None
    distance: Distance | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class PlanResult:
    """The advice. `strategies` are best first, `top` the first of them; `encoders` are ranked where several were named, and `decided_by` says which
    signal put the first there. `described` holds the words of a description, where there were no data to look at."""

    name: str
    data: DataFacts
    distance: Distance
    machine: Machine
    strategies: tuple[Advised, ...]
    verdict: str
    top: str | None = None
    changes: tuple[str, ...] = ()
    encoder: str = ""
    encoders: tuple[EncoderAdvice, ...] = ()
    decided_by: str = ""
    basis: str = ""
    faults: tuple[Fault, ...] = ()
    described: Mapping[str, str] = field(default_factory=dict)
    budget: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    schema: int = SCHEMA
