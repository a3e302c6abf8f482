"""The ladder of recommenders, simple ones first: how each is made, which settings are worth trying, and how it is rebuilt."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from graft.errors import ModelError, UsageError, unknown
from graft.interactions.likes import Interactions
from graft.recommenders.base import Recommender, Settings
from graft.recommenders.trend import WITHIN
from graft.towers.known import Known


@dataclass(frozen=True)
class Kind:
    """A rung of the ladder. `home` is module:class below `graft`; `fixed` settings tell rungs of one class apart, or are the user's.

    `words` say what it is; `timed` says that it needs times; `joins` that it wraps the best of the others, `informed` that it is
    told what is known of items and people, `vectors` that its items have vectors by which they lie near each other.
    """

    name: str
    rung: int
    home: str
    words: str
    fixed: Settings = field(default_factory=dict)
    timed: bool = False
    joins: bool = False
    informed: bool = False
    vectors: bool = False

    @property
    def model(self) -> Any:
        """The class."""
        module, _, name = self.home.partition(":")
        return getattr(importlib.import_module(f"graft.{module}"), name)

    def grid(self) -> list[Settings]:
        """Settings worth trying, cheap ones first."""
        module = importlib.import_module(f"graft.{self.home.partition(':')[0]}")
        settings: list[Settings] = []
        for found in module.grid():
            found = {**found, **self.fixed}
            if found not in settings and not (self.timed and found.get("days", 0) is None):
                settings.append(found)
        return settings

    def fit(
        self, likes: Interactions, settings: Settings, seed: int, known: Known, keep: Path | None = None
    ) -> Recommender:
        """The model of these likes. In the folder `keep` a long training leaves where it is, for the same call to go on from."""
        make: Callable[..., Recommender] = self.model.fit
        more = {"known": known, "keep": keep} if self.informed else {}
        return make(likes, **{**settings, "seed": seed}, **more)


def _personal(name: str, rung: int, words: str, *, vectors: bool = False) -> Kind:
    """A model that can be joined with the trend, which says where it lives."""
    return Kind(name, rung, f"recommenders.{WITHIN[name]}", words, vectors=vectors)


LADDER = (
    Kind("popularity", 1, "recommenders.popularity:Popularity", "what most people like", {"days": None}),
    Kind("recent-popularity", 2, "recommenders.popularity:Popularity", "what most people like lately", timed=True),
    _personal("ppmi-svd", 3, "item vectors from PPMI and SVD", vectors=True),
    _personal("co-likes", 4, "item vectors whose products are counts of common likes", vectors=True),
    _personal("item-knn", 5, "cosine between the people who like two items"),
    _personal("als", 6, "matrix factors of implicit likes", vectors=True),
    _personal("ease", 7, "a closed-form linear model between items"),
    _personal("item2vec", 8, "skip-grams over the likes of a person", vectors=True),
    _personal("bpr", 9, "matrix factors that rank likes above the rest", vectors=True),
    Kind("mlp", 10, "recommenders.mlp:PairScorer", "a small network over pairs of person and item"),
    Kind(
        "two-tower",
        11,
        "towers.two_tower:TwoTower",
        "a network for people and one for items, into one space",
        informed=True,
        vectors=True,
    ),
    Kind(
        "with-trend",
        12,
        "recommenders.trend:Trend",
        "the best personal model joined with what people like now",
        timed=True,
        joins=True,
    ),
)
DRAWN = tuple(kind.name for kind in LADDER if kind.vectors)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in LADDER}


def kinds_named(names: str | None) -> tuple[Kind, ...] | None:
    """The models named, in the ladder's order; None for all. Popularity is always there to be compared with.

    Raises UsageError for an unknown name or for none at all.
    """
    if names is None:
        return None
    words = [word.strip() for word in names.split(",") if word.strip()]
    if wrong := [word for word in words if word not in KINDS]:
        raise UsageError(unknown("The model", wrong[0], KINDS))
    if not words:
        raise UsageError(f"--models names no model. Allowed: {', '.join(KINDS)}.")
    return tuple(kind for kind in LADDER if kind.name in words or kind.name == "popularity")


def with_tower(kinds: Sequence[Kind] | None, given: Settings) -> tuple[Kind, ...] | None:
    """The same models, of the two towers only with these settings. Raises UsageError where there are settings, and two towers are not among the models."""
    if not given:
        return None if kinds is None else tuple(kinds)
    found = tuple(replace(kind, fixed=given) if kind.informed else kind for kind in kinds or LADDER)
    if not any(kind.informed for kind in found):
        raise UsageError(f"--tower sets the two towers, which are not among --models {names_of(found)}. Add two-tower.")
    return found


def rebuild(name: str, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Recommender:
    """The model that was saved under this name. Raises ModelError for an unknown one or arrays that are not its own."""
    if name not in KINDS:
        raise ModelError(unknown("The recommender's model", name, list(KINDS)))
    try:
        model: Recommender = KINDS[name].model.from_state(dict(settings), arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The arrays of the recommender are not those of {name}: {error!r}.") from error
    return model


def names_of(kinds: Sequence[Kind]) -> str:
    """Names divided by commas."""
    return ", ".join(kind.name for kind in kinds)
