"""What people like now, joined with what one person likes: a wrapper round any other model.

Scores of a personal model say to a large part how popular an item has been of all time, which what is liked now says better. What they say beyond
that is the lift: a person's score of an item against what the model tells people on average, in standard deviations over people. So

    score = log(likes of the last days + a tenth) + lift * (s_ui - mean_i) / (sd_i + mean of all sd)

where `Popularity` counts up to one like more by what was liked of all time. The sum stands for p(i | person, now) as the product of p(i | now)
and a power of p(i | person) / p(i). Adding scores, their logarithms or their ranks to the trend takes popularity in twice, and did worse.

On the time split of MovieTweetings (2,333 people, HR@10) that is level with the trend alone, 0.292 against 0.298 (difference -0.006 +- 0.009), and above
EASE within it, 0.191; on three earlier periods it was 0.003 above the trend. In a made-up world where taste decides among what is new it pays (its test).

Legend: U users, I items, N likes, B people of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from graft.errors import DataError, UsageError, unknown
from graft.recommenders.base import Fitted, Float32Array, Histories, Recommender, Settings, histories_of, liked_matrix
from graft.recommenders.popularity import DAY, Popularity

if TYPE_CHECKING:
    from graft.interactions.likes import Interactions

# The models that can be within, by name: module:class beside this one. The ladder of recommenders takes them from here.
WITHIN = {
    "als": "als:ALS",
    "bpr": "bpr:BPR",
    "co-likes": "colikes:CoLikes",
    "ease": "ease:EASE",
    "item-knn": "neighbours:ItemNeighbours",
    "item2vec": "item2vec:Item2Vec",
    "ppmi-svd": "cooccurrence:Cooccurrence",
}
INNER = "inner."  # before the names of the inner model's arrays
SAMPLE, BATCH = 1000, 250  # people whose scores tell the mean and spread of an item's
TENTH = 0.1  # of a like, which everything has: its logarithm is finite
LEAST = 1e-6  # weight of the oldest like; 0 would be no like


class Trend(Fitted):
    """A personal model within, and the likes of the last days. People without a known like get the trend alone."""

    name: ClassVar[str] = "trend"

    @classmethod
    def fit(
        cls,
        likes: Interactions,
        *,
        model: str = "ease",
        given: Mapping[str, Any] | None = None,
        half_life: float | None = None,
        days: float | None = 7.0,
        lift: float = 0.4,
        seed: int = 0,
    ) -> Self:
        """Learn from the likes, which have times.

        `model` is a name of `WITHIN`, `given` its settings. `half_life`: days in which a like loses half of its weight for the inner model, None: they
        weigh alike. `days`: the window of the trend, None: all time. `lift`, 0 or more: the share of the personal; 0 is popularity of the last days.
        The last two were chosen on likes of three later periods within the training part of MovieTweetings.

        Raises DataError without times or likes, UsageError for settings out of range.
        """
        if model not in WITHIN:
            raise UsageError(unknown("model", model, WITHIN))
        if not lift >= 0 or not (half_life is None or half_life > 0):
            raise UsageError(f"lift={lift:g} is 0 or more; half_life={half_life} is a number of days above 0, or None.")
        if likes.time_N is None:
            raise DataError(
                "The interactions have no times, so what is liked now is not known. Name the column of times, or take another model."
            )
        liked_matrix(likes)
        settings = {"model": model, "half_life": half_life, "days": days, "lift": lift, "seed": seed}
        recent = Popularity.fit(likes, days=days)
        inner = _model(model).fit(aged(likes, half_life), **{**(given or {}), "seed": seed})
        inside = {INNER + name: array for name, array in inner.state().items()}
        arrays = inside | _spread(inner, likes, seed) | recent.state()
        return cls({**settings, "given": inner.settings}, arrays)

    @cached_property
    def inner(self) -> Recommender:
        """The personal model."""
        inside = {name.removeprefix(INNER): array for name, array in self.arrays.items() if name.startswith(INNER)}
        found: Recommender = _model(self.settings["model"]).from_state(self.settings["given"], inside)
        return found

    @cached_property
    def recent(self) -> Popularity:
        """The trend."""
        return Popularity({name: self.settings[name] for name in ("days", "seed")}, self.arrays)

    def scores(self, histories: Histories) -> Float32Array:
        """Logarithm of the trend plus the lift (B, I)."""
        scores_BI = self.inner.scores(histories)
        scores_BI -= self.arrays["mean"]
        scores_BI *= np.float32(self.settings["lift"]) / self.arrays["scale"]
        scores_BI[histories.matrix @ self.popular_I <= 0] = 0
        scores_BI += np.log(self.recent.popular(histories.now) + np.float32(TENTH))
        return scores_BI

    def item_vectors(self) -> Float32Array | None:
        """Those of the inner model."""
        return self.inner.item_vectors()


def grid() -> list[Settings]:
    """Settings worth trying."""
    return [{"days": days, "lift": lift} for days in (3.0, 7.0, 30.0) for lift in (0.2, 0.4, 0.8)]


def aged(likes: Interactions, half_life: float | None) -> Interactions:
    """Likes whose weights are halved every `half_life` days before the last of them; as they are for None."""
    liked = likes.likes()
    if half_life is None or liked.time_N is None:
        return liked
    age_N = (liked.time_N.max() - liked.time_N) / DAY
    return replace(liked, weight_N=np.maximum(liked.weight_N * 2 ** (-age_N / half_life), LEAST).astype(np.float32))


def _model(name: str) -> Any:
    module, kind = WITHIN[name].split(":")
    return getattr(import_module(f"graft.recommenders.{module}"), kind)


def _spread(inner: Recommender, likes: Interactions, seed: int) -> dict[str, Float32Array]:
    """Mean (I,) of the scores over people, and what a deviation from it is divided by."""
    people = np.unique(likes.likes().user_N)
    people = np.sort(np.random.default_rng(seed).permutation(people)[:SAMPLE])
    total_I, square_I = np.zeros(len(likes.items)), np.zeros(len(likes.items))
    for start in range(0, len(people), BATCH):
        scores_BI = inner.scores(histories_of(likes, people[start : start + BATCH])).astype(np.float64)
        total_I += scores_BI.sum(axis=0)
        square_I += (scores_BI**2).sum(axis=0)
    mean_I = total_I / len(people)
    sd_I = np.sqrt(np.maximum(square_I / len(people) - mean_I**2, 0))
    scale_I = sd_I + (sd_I.mean() or 1.0)  # the mean tames items that all but nobody is told of
    return {"mean": mean_I.astype(np.float32), "scale": scale_I.astype(np.float32)}
