"""What a reading of interactions gives: the interactions, what is known beside them, and how the table was understood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graft.interactions.likes import Catalogue, Interactions, People
from graft.results import Fault


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read: interactions, what is known of items and people, and how it was understood.

    `columns`: role to column, "(guessed)" behind those not named. `how`: what makes a row a like, in words; `like`: the threshold used, if any.
    `rows`: all data rows; `faulty`: those left out, `faults` tells of the first thousand and of what is wrong in the tables beside;
    `merged`: rows that fell to another row of the same person and item. `notes`: what else should be told.
    """

    name: str
    interactions: Interactions
    catalogue: Catalogue
    people: People | None
    columns: Mapping[str, str]
    how: str
    like: float | None
    rows: int
    merged: int
    faulty: int = 0
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
