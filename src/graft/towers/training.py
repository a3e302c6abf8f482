"""How two towers are trained: every setting with its range, and settings as people write them, `temperature=0.2,left=0.25`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from graft.errors import UsageError, unknown
from graft.recommenders.base import Settings
from graft.towers.sampling import Shares
from graft.trainers.recipe import kind_told, read_settings, value_of


@dataclass(frozen=True, kw_only=True)
class Training:
    """How towers are trained, beside what `TwoTower.fit` takes itself.

    - `negatives`, `draws`: see `sampling`. `logq`: whether scores are corrected for how items are drawn.
    - `loss`: softmax, or triplet with `margin` and semi-hard negatives (then times and popularity play no part). `batch` likes a step.
    - `id_dropout`: share of items whose id part is left out in each step, where there are features, so that these carry. `person_ids`: vectors of their
      own for known people.
    - `before`: a history is what was liked before the like that is to be foretold (None: where there are times); else all other likes.
    - `standing`, `calendar`: whether how items stand (likes so far and lately, age), and hour, day and season, are joined to the items' vectors.
    - `patience` epochs without a better validation end the search for their number.
    """

    negatives: Shares = field(default_factory=Shares)
    draws: int = 1
    logq: bool = True
    loss: str = "softmax"
    margin: float = 0.2
    batch: int = 256
    id_dropout: float = 0.2
    before: bool | None = None
    person_ids: bool = False
    standing: bool = True
    calendar: bool = False
    weight_decay: float = 0.01
    patience: int = 2

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Training:
        """From the fields as plain JSON."""
        return cls(**{**tree, "negatives": Shares(**tree.get("negatives", dataclasses.asdict(Shares())))})


ALLOWED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "dims": ("2 to 4096", lambda v: 2 <= v <= 4096),
    "temperature": ("above 0", lambda v: 0 < v < inf),
    "epochs": ("1 or more, or none: as many as do best on the last tenth", lambda v: v is None or v >= 1),
    "rate": ("above 0", lambda v: 0 < v < inf),
    "draws": ("1 or more", lambda v: v >= 1),
    "loss": ("softmax or triplet", lambda v: v in ("softmax", "triplet")),
    "margin": ("above 0, below 4", lambda v: 0 < v < 4),
    "batch": ("2 or more", lambda v: v >= 2),
    "id_dropout": ("0 or more, below 1", lambda v: 0 <= v < 1),
    "weight_decay": ("0 or more", lambda v: 0 <= v < inf),
    "patience": ("1 or more", lambda v: v >= 1),
}


@dataclass(frozen=True)
class _Own:
    """What `TwoTower.fit` takes itself."""

    dims: int
    temperature: float
    epochs: int | None
    rate: float


def check(settings: Settings) -> None:
    """Raises UsageError naming every setting outside its range; names that have none are not looked at."""
    wrong = [
        f"{name}={value!r} ({ALLOWED[name][0]})"
        for name, value in settings.items()
        if name in ALLOWED and not ALLOWED[name][1](value)
    ]
    if wrong:
        raise UsageError("Two towers cannot be trained with " + ", ".join(wrong) + ".")


def read_tower(text: str) -> Settings:
    """Settings of `TwoTower.fit` from `key=value` pairs divided by commas, as plain JSON: those of `Training` and of `Shares` beside its own.

    Where a share of negatives is named, those that are not are 0. Raises UsageError naming all that is unknown, no value of its kind, or out of range.
    """
    parts: dict[str, Any] = {}
    hints = [typing.get_type_hints(kind) for kind in (_Own, Training, Shares)]
    kinds = {name: hint for each in hints for name, hint in each.items() if name != "negatives"}
    problems = []
    for name, given in read_settings(text).items():
        if name not in kinds:
            problems.append(unknown("The setting of two towers", name, kinds))
            continue
        try:
            parts[name] = value_of(kinds[name], given)
        except (ValueError, TypeError, OverflowError):
            problems.append(f"{name}={given}: a value of kind {kind_told(kinds[name])} is wanted.")
    own, training, shares = ({name: parts[name] for name in each if name in parts} for each in hints)
    if shares:
        training["negatives"] = dict.fromkeys(hints[2], 0.0) | shares
        problems += _problem(lambda: Shares(**training["negatives"]).scaled())
    problems += _problem(lambda: check(parts))
    if problems:
        raise UsageError("--tower: " + " ".join(problems))
    return own | ({"training": training} if training else {})


def _problem(look: Callable[[], object]) -> list[str]:
    try:
        look()
    except UsageError as error:
        return [error.message]
    return []
