"""Grounds and situations made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from graft.planning.costs import Load, Machine
from graft.planning.domain import Distance
from graft.planning.expectation import Ground
from graft.planning.probe import Probe
from graft.planning.rules import Situation

NEAR = Distance("near", "entropy", 0.4, "near")
HERE = Machine("a processor", 2, 8000.0, "cpu")


def probed(
    right: float, *, items: int = 200, classes: int = 10, labels: float = 16.0, hits: float | None = None
) -> Probe:
    scores = {name: np.full(5, right) for name in ("prototypes", "kernel-probe")}
    return Probe(items, classes, scores, labels, hits, (0.8 * items, 0.2 * items), 0.005)


def ground(probe: Probe | None = None, **other: Any) -> Ground:
    return Ground(**{"modality": "image", "classes": 10, "labels": 20.0, "probe": probe, **other})


def situation(found: Ground, **other: Any) -> Situation:
    load = Load(found.modality, round(found.labels * found.classes), found.classes, found.labels, 1280, 0.012)
    return Situation(
        **{"ground": found, "load": load, "machine": HERE, "distance": NEAR, "least": 20, "most": 20, **other}
    )
