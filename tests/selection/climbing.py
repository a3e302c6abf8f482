"""Climbs without torch: a ground on which the frozen choice errs on known items, and trainings whose answers are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.toy_encoder import DIM, ToyText

from graft.errors import ModelError
from graft.heads.base import IntArray
from graft.results import TrainingRecord
from graft.selection.contender import Ground
from graft.selection.trials import Plan
from graft.strategies.frozen import Task
from graft.strategies.items import Items
from graft.strategies.trained import Trained
from graft.trainers.recipe import Recipe

N, FOLDS = 100, 5
Wrong = Callable[[float], NDArray[np.bool_]]  # by the share of the way: which of the N items are answered wrongly


def wrong(*positions: int, n: int = N) -> NDArray[np.bool_]:
    """(N,) with True at these positions."""
    mask = np.zeros(n, bool)
    mask[list(positions)] = True
    return mask


def every(step: int, start: int = 0) -> NDArray[np.bool_]:
    """True at every so many items: as often in each fold."""
    return wrong(*range(start, N, step))


def logits_of(y_N: IntArray, wrong_N: NDArray[np.bool_], n_classes: int = 2) -> NDArray[np.float32]:
    """Logits (N, C) that are right but for these items."""
    guess_N = np.where(wrong_N, (y_N + 1) % n_classes, y_N)
    return (4.0 * np.eye(n_classes)[guess_N]).astype(np.float32)


def ground_of(
    base_wrong: NDArray[np.bool_], *, y_N: IntArray | None = None, plan: Plan | None = None, metric: str = "accuracy"
) -> Ground:
    """A hundred items of two classes in turn, in five folds of twenty that lie side by side."""
    y_N = np.arange(N) % 2 if y_N is None else y_N
    held = np.arange(len(y_N)).reshape(FOLDS, -1)
    plan = plan or Plan(tuple((np.setdiff1d(np.arange(len(y_N)), h), h) for h in held), FOLDS, 1)
    items = Items.of(ToyText(), [str(i) for i in range(len(y_N))], np.zeros((len(y_N), DIM), np.float32))
    answers = logits_of(y_N, base_wrong)
    return Ground(items, y_N, Task(2), plan, metric, "prototypes", lambda fold: answers[fold[1]], ("linear-probe", {}))


def places(items: Items) -> NDArray[np.int64]:
    """Which of the N items these are."""
    return np.array([int(str(items.store.contents[i])) for i in items.index], np.int64)


@dataclass
class Course:
    """As many passes as the recipe's epochs, over items that need no preparation."""

    def rows(self, items: Items) -> None:
        del items

    def passes(self, recipe: Recipe, n_items: int) -> float:
        del n_items
        return float(recipe.epochs or 1)


@dataclass
class Outcome:
    """What a training of a rung came to: answers for all items by the share of the way."""

    logits: Callable[[float], NDArray[np.float32]]
    record: TrainingRecord
    course: Course = field(default_factory=Course)

    def head(self, share: float) -> Any:
        answers = self.logits(share)

        class Head:
            def logits(self, items: Items) -> NDArray[np.float64]:
                return answers[places(items)].astype(np.float64)

        return Head()


@dataclass
class School:
    """Stands in for the trainings: `errors` of each rung and the `seconds` that its rehearsal lets one predict for a fold of 80 items."""

    y_N: IntArray
    errors: Mapping[str, NDArray[np.bool_] | Wrong]
    seconds: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)
    rehearsed: list[tuple[str, NDArray[np.int64]]] = field(default_factory=list)
    now: float = 0.0

    def __call__(self, rung: Trained, items: Items, y_N: IntArray, fold: int, held: Any) -> Outcome:
        np.testing.assert_array_equal(self.y_N[places(items)], y_N)
        if rung.name in self.refused:
            raise ModelError(self.refused[rung.name])
        if fold < 0:
            assert held is None
            self.rehearsed.append((rung.name, places(items)))
        else:
            self.calls.append((rung.name, fold))
            assert (held is not None) == (fold == 0)
            assert held is None or not np.isin(places(held[0]), places(items)).any()
            self.now += self.seconds.get(rung.name, 1.0)
        given = self.errors[rung.name]
        mask: Wrong = given if callable(given) else lambda _: given
        speed = 80 * (rung.recipe("text").epochs or 1) / self.seconds.get(rung.name, 1.0)
        record = TrainingRecord(rung.name, items_per_second=speed, recipe={"epochs": 1})
        return Outcome(lambda share: logits_of(self.y_N, mask(share)), record)
