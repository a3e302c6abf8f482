"""Two towers: people, from what they liked, and items, from what they are, in one space (Covington et al. 2016; Yi et al. 2019).

People known and new are put there along the same path, from their likes; a new item from its categories and content alone. What `towers` trains is
answered here in plain arrays, so a saved model needs no torch. The formula stands in `towers`.

Legend: U people, I items, N likes, B people of a batch, D dims, F features of items, S features of people, M new items.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, UsageError
from graft.metrics.space import unit
from graft.recommenders.base import (
    Arrays,
    FittedItems,
    Float32Array,
    Histories,
    Settings,
    histories_of,
    liked_matrix,
    popularity_of,
    strangers_by_popularity,
)
from graft.towers.known import Known, item_facts, item_rows, person_rows
from graft.towers.sampling import Sampler, Shares
from graft.towers.standing import CALENDAR, DAY, YEAR, Standing, calendar, count_features
from graft.towers.training import Training, check
from graft.towers.watch import Spread, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from graft.interactions.likes import Interactions
    from graft.interactions.partition import Cut
    from graft.towers.towers import Given, Lesson, TwoTowers

FEWEST = 200  # people a validation by time must have; else everybody's last like is foretold
MOST_EPOCHS, EPOCHS = 30, 5  # tried on the validation part; where none can be had


class TwoTower(FittedItems):
    """Fitted towers. `notes` are sentences for the user, such as that training was stopped."""

    name: ClassVar[str] = "two-tower"

    def __init__(self, settings: Settings, arrays: Arrays) -> None:
        super().__init__(settings, arrays)
        self.notes = tuple(settings["notes"])

    @classmethod
    def fit(
        cls,
        likes: Interactions,
        *,
        dims: int = 64,
        temperature: float = 0.1,
        epochs: int | None = None,
        rate: float = 3e-3,
        training: Training | Settings = Training(),  # noqa: B008  (frozen)
        known: Known = Known(),  # noqa: B008  (frozen)
        seed: int = 0,
        keep: Path | None = None,
    ) -> Self:
        """Train on the likes (rows of weight 0 are negatives where `training.negatives.left` asks for them).

        `epochs` None: as many as do best when the last tenth of the interactions is foretold from the rest, then trained anew on all. `temperature`
        divides cosines; `rate` is AdamW's. `training`: also its fields as plain JSON. `keep`: a folder in which each training has a file of its own,
        from which the same call goes on where a killed one was, to the same bits; the caller removes it.
        Raises UsageError for settings that cannot work, DataError without a like or where `known` does not fit.
        """
        how = training if isinstance(training, Training) else Training.of(training)
        settings: Settings = {"dims": dims, "temperature": temperature, "rate": rate, "epochs": epochs, "seed": seed}
        settings |= {**asdict(how), "notes": []}
        check(settings)
        if how.calendar and likes.time_N is None:
            raise UsageError(
                "The interactions have no times, so two towers cannot learn hours and seasons. Take calendar=off."
            )
        known.check(len(likes.items), len(likes.users))
        liked_matrix(likes)  # raises where there is nothing to learn
        if epochs is None:
            settings["epochs"] = EPOCHS
            if (cut := _validation(likes, seed)) is not None:
                found = _trained(cls, cut.train, known, {**settings, "epochs": MOST_EPOCHS}, keep, cut)
                settings["epochs"], settings["notes"] = max(1, found.settings["best"]), found.settings["notes"]
        return _trained(cls, likes, known, settings, keep, None)

    def person_vectors(self, histories: Histories) -> tuple[Float32Array, Float32Array | None]:
        """Unit vectors (B, D), and what the people make of how items stand (B, standing) or None."""
        arrays, item_ID = self.arrays, self.item_ID
        matrix = histories.matrix
        total_B = np.asarray(matrix @ (item_ID.any(axis=1)).astype(np.float32)).ravel()
        mean_BD = np.asarray(matrix @ item_ID) / np.maximum(total_B, 1e-12)[:, None]
        code_B = np.full(len(histories), -1) if histories.users_B is None else histories.users_B
        known_B1 = (code_B >= 0)[:, None]
        x_BX = np.concatenate([mean_BD, np.where(known_B1, arrays["person_features"][code_B], 0)], axis=1)
        hidden_BH = np.maximum(x_BX @ arrays["hidden.weight"].T + arrays["hidden.bias"], 0)
        person_BD = mean_BD + hidden_BH @ arrays["taste.weight"].T + arrays["taste.bias"]
        if "person" in arrays:
            person_BD = person_BD + np.where(known_B1, arrays["person"][code_B], 0)
        standing_BF = None
        if "standing.weight" in arrays:
            standing_BF = (hidden_BH @ arrays["standing.weight"].T + arrays["standing.bias"]).astype(np.float32)
        return unit(person_BD).astype(np.float32), standing_BF

    def scores(self, histories: Histories) -> Float32Array:
        """Logarithms of how likely each item is the next like, but for a constant a person (B, I); cosines where trained by triplets."""
        person_BD, standing_BF = self.person_vectors(histories)
        item_ID = self.item_ID
        scores_BI = person_BD @ item_ID.T
        scores_BI[:, ~item_ID.any(axis=1)] = -1  # nothing is known of these items
        if self.settings["loss"] != "triplet":
            scores_BI /= np.float32(self.settings["temperature"])
        now = self._last if histories.now is None else histories.now
        if standing_BF is not None:
            scores_BI += standing_BF @ self._standing(now).T
        if "calendar.weight" in self.arrays:
            turn_Z = calendar(np.array([now]), self.settings["seasons"])[0]
            scores_BI += item_ID @ (self.arrays["calendar.weight"].T @ turn_Z)
        return strangers_by_popularity(scores_BI.astype(np.float32), histories, self.popular_I)

    def new_item_vectors(self, known: Known, items: int) -> Float32Array:
        """Unit vectors (M, D) of `items` new items from their categories, numbers and content; zeros where nothing is known.

        Raises DataError where the model was trained without features of items.
        """
        if "content.weight" not in self.arrays:
            raise DataError(
                "These towers know items by likes alone: fit them with categories or content to place new ones."
            )
        x_MF = item_rows(known, self.settings["facts"], items)
        return unit(x_MF @ self.arrays["content.weight"].T).astype(np.float32)

    @cached_property
    def _last(self) -> float:
        return float(self.arrays["time"].max()) if "time" in self.arrays else 0.0

    def _standing(self, now: float) -> Float32Array:
        if "time" not in self.arrays:
            return count_features(self.arrays["popular_count"])
        return Standing(self.arrays["time"], self.arrays["start"], self.arrays.get("date")).features(now)


_Kind = TypeVar("_Kind", bound=TwoTower)


def grid() -> list[Settings]:
    """Settings worth trying, cheap ones first."""
    return [{"dims": 64, "temperature": t, "epochs": epochs} for t, epochs in ((0.1, 3), (0.1, 6), (0.2, 3), (0.2, 6))]


def _validation(likes: Interactions, seed: int) -> Cut | None:
    """The last tenth of the interactions, where times tell and enough people are known; else everybody's last like; else a random tenth; None where
    nothing can be held out."""
    from graft.interactions.partition import at_random, by_time, leave_last_out

    ways: list[Callable[[Interactions], Cut]] = [partial(at_random, share=0.9, seed=seed)]
    if likes.time_N is not None:
        ways = [partial(by_time, share=0.9), leave_last_out, *ways]
    for place, way in enumerate(ways):
        with suppress(DataError):
            if len(np.unique((cut := way(likes)).targets_user_M)) >= (FEWEST if len(ways) > 1 and place == 0 else 1):
                return cut
    return None


def _trained(
    kind: type[_Kind],
    likes: Interactions,
    known: Known,
    settings: Settings,
    keep: Path | None,
    judged: Cut | None,
) -> _Kind:
    """A model trained for `settings["epochs"]`; where `judged`, the best of the epochs, and its number under "best" of the settings."""
    from torch import nn

    from graft.trainers.loop import Hooks, RateGroup, Rates, train
    from graft.trainers.recipe import Recipe

    made = {**settings, "facts": item_facts(known), "seasons": _seasons(likes.likes())}
    given = _given(likes, known, made["facts"], settings)
    lesson, towers = _lesson(likes, known, given, settings)
    fixed, liked_I = _fixed(likes, known, given), np.unique(given.item_N)
    notes: list[str] = list(settings["notes"])
    lie: Spread | None = None

    def evaluate(model: nn.Module) -> tuple[float, float | None]:
        nonlocal lie
        found = kind(made, _arrays(model, given, fixed))
        lie = spread(found.item_vectors()[liked_I]) if len(liked_I) > 1 else None
        if lie is not None and lie.collapsed:
            return float("inf"), None  # no finite loss: the loop goes back to the last weights that were good, and ends
        score = 0.0 if judged is None else _ndcg(found, judged)
        return 1 - score, score

    # The loop of all trainings fits: places of likes are its items, and all else that a batch needs is looked up by the lesson.
    recipe = Recipe(
        epochs=settings["epochs"],
        batch=settings["batch"],
        schedule="constant",  # so that the number of epochs found on a part means the same on the whole; the mean of the weights settles
        warmup=0.0,
        clip=0.0,
        ema=0.98,
        patience=settings["patience"] if judged is not None else 0,
    )
    rates = Rates((RateGroup("towers", list(towers.parameters()), settings["rate"], decay=settings["weight_decay"]),))
    key = _key(likes, given, settings)
    checkpoint = None if keep is None else keep / f"two-tower-{key}.safetensors"
    lies: Callable[[int], dict[str, float]] = lambda _: {} if lie is None else asdict(lie)
    hooks = Hooks(checkpoint=checkpoint, key=key, after_epoch=lies, stage="two-tower")
    run = train(towers, lesson, lesson.objective, rates, recipe, seed=settings["seed"], evaluate=evaluate, hooks=hooks)
    if lie is not None and lie.collapsed:
        notes.append(lie.note(len(run.epochs)))
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)  # it does not hold the note
    notes += [run.stopped] if run.stopped and judged is None and not notes else []
    made |= {"notes": list(dict.fromkeys(notes)), "best": run.best_epoch + 1}
    made["history"] = [{"loss": epoch.loss, "ndcg": epoch.score, "seconds": epoch.seconds} for epoch in run.epochs]
    made["spread"] = [dict(epoch.drift) or None for epoch in run.epochs]
    towers.eval()
    return kind(made, _arrays(towers, given, fixed))


def _lesson(likes: Interactions, known: Known, given: Given, settings: Settings) -> tuple[Lesson, TwoTowers]:
    """What is learned, and the towers with weights drawn by the seed."""
    import torch

    from graft.towers.towers import How, Lesson, Sizes, TwoTowers

    softmax = settings["loss"] == "softmax"
    sampler = Sampler(likes, known.categories, Shares(**settings["negatives"]), settings["draws"])
    how = How(
        temperature=settings["temperature"],
        loss=settings["loss"],
        margin=settings["margin"],
        correct=settings["logq"],
        id_dropout=settings["id_dropout"],
        before=bool(likes.time_N is not None if settings["before"] is None else settings["before"]),
    )
    sizes = Sizes(
        items=len(likes.items),
        item_features=given.item_IF.shape[1],
        people=len(likes.users) if settings["person_ids"] else 0,
        person_features=given.person_US.shape[1],
        standing=given.standing_ITF.shape[2],
        calendar=CALENDAR if settings["calendar"] and softmax and likes.time_N is not None else 0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        return Lesson(given, sampler, how, seed=settings["seed"]), TwoTowers(sizes, settings["dims"])


def _given(likes: Interactions, known: Known, facts: dict[str, Any], settings: Settings) -> Given:
    """The likes and all that is known, as the lesson takes them."""
    from graft.towers.towers import Given

    liked = likes.likes()
    popular_I = np.bincount(liked.item_N, minlength=len(likes.items))
    moment_N, calendar_NZ, alone_IF = np.zeros(len(liked), np.int64), np.zeros((len(liked), CALENDAR), np.float32), None
    if not settings["standing"] or settings["loss"] == "triplet":
        standing_ITF = np.zeros((len(likes.items), 1, 0), np.float32)
    elif liked.time_N is None:
        standing_ITF, alone_IF = count_features(popular_I)[:, None], count_features(np.maximum(popular_I - 1, 0))
    else:
        standing = Standing.of(liked.item_N, liked.time_N, len(likes.items), known.date_I)
        moment_N, standing_ITF = standing.at_moments(liked.time_N)
    if liked.time_N is not None:
        calendar_NZ = calendar(liked.time_N, _seasons(liked))
    return Given(
        user_N=liked.user_N.astype(np.int64),
        item_N=liked.item_N.astype(np.int64),
        weight_N=liked.weight_N,
        start_U=np.searchsorted(liked.user_N, np.arange(len(likes.users) + 1)).astype(np.int64),
        item_IF=item_rows(known, facts, len(likes.items)),
        person_US=person_rows(known.people, len(likes.users)),
        moment_N=moment_N,
        standing_ITF=standing_ITF,
        standing_alone_IF=alone_IF,
        calendar_NZ=calendar_NZ,
    )


def _arrays(model: Any, given: Given, fixed: Arrays) -> dict[str, NDArray[Any]]:
    """What a fitted model is made of. Items without a like have no id part; nothing at all where they have no features either."""
    import torch

    towers: TwoTowers = model
    popular_I1 = torch.from_numpy(fixed["popular"][:, None] > 0)
    with torch.no_grad():
        place = towers.id_ID.device
        item_ID = towers.items(torch.from_numpy(given.item_IF).to(place), popular_I1.float().to(place))
        weights = {
            n: p.detach().cpu().numpy().copy() for n, p in towers.named_parameters() if n not in ("id_ID", "person_UD")
        }
        if towers.person_UD is not None:
            weights["person"] = towers.person_UD.detach().cpu().numpy().copy()
    return {**fixed, **weights, "item": item_ID.cpu().numpy().copy(), "person_features": given.person_US}


def _fixed(likes: Interactions, known: Known, given: Given) -> dict[str, NDArray[Any]]:
    """What training does not change."""
    liked = likes.likes()
    fixed: dict[str, NDArray[Any]] = {
        "popular": popularity_of(liked_matrix(likes)),
        "popular_count": np.bincount(given.item_N, minlength=len(likes.items)),
    }
    if liked.time_N is not None:
        standing = Standing.of(liked.item_N, liked.time_N, len(likes.items), known.date_I)
        fixed |= {"time": standing.time_N, "start": standing.start_I}
        if known.date_I is not None:
            fixed["date"] = known.date_I
    return fixed


def _seasons(liked: Interactions) -> bool:
    """Whether every season was seen twice, so that one can be told from what merely came and went."""
    return liked.time_N is not None and float(np.ptp(liked.time_N)) >= 2 * YEAR * DAY


def _ndcg(model: TwoTower, cut: Cut) -> float:
    """Mean nDCG@100 over the people with targets."""
    from graft.metrics.recommend import rank_people

    people, start = np.unique(cut.targets_user_M, return_index=True)
    targets = np.split(cut.targets_item_M, start[1:])
    histories = replace(histories_of(cut.train, people), now=cut.now)
    ranked = rank_people(
        lambda part: model.scores(histories.part(part.start, part.stop)),
        targets,
        cut.train.seen()[people],
        model.popular_I.astype(np.float64),
        ks=(100,),
    )
    return float(ranked.each["ndcg@100"].mean())


def _key(likes: Interactions, given: Given, settings: Settings) -> str:
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for array in (likes.user_N, likes.item_N, likes.weight_N, likes.time_N, given.item_IF, given.person_US):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
