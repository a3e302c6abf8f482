"""A rung that trains, on one set of items: from the fitted probe to a tuned body with its head, and what it took.

Legend: N items, B items of a batch, D dims, C classes, P classes with at least one example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.heads.base import Float64Array, IntArray, item_weights
from graft.heads.linear import LinearHead
from graft.results import RangeTest, Retained, TrainingRecord
from graft.strategies.frozen import STRATEGIES, Task
from graft.strategies.keeping import Corpus
from graft.strategies.rungs import Course, course
from graft.trainers.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from graft.encoders.tuned import TunedEncoder
    from graft.strategies.items import Items
    from graft.strategies.trained import Trained

TELLING = 256  # held-out items on which a loss is told after each epoch; nothing is chosen by it
EVALUATED = 64  # items a forward pass takes
RANGE_STEPS = 40
IMPATIENT = "patience had no part in it: contrastive tuning has no validation loss, and a class with one item has none to spare."
FREE = 3.0  # factor by which a range test may move a rate: its steepest point says little of a body that starts from a fitted probe


@dataclass(frozen=True, eq=False)
class Job:
    """What a training is told beside its items: the recipe, the seed, items held out (only to tell how it goes), where checkpoints go.

    `retained` are labelled items of another task, or a corpus, of which is told how much the training forgets. `key` says what a checkpoint
    belongs to; one of another key is not used. `tracker` is what `graft.trainers.tracking` opens. `stage` is what progress is told as.
    """

    recipe: Recipe
    seed: int = 0
    held: tuple[Items, IntArray] | None = None
    checkpoint: Path | None = None
    key: str = ""
    tracker: Any = None
    stage: str = "train"
    retained: tuple[Items, IntArray] | Corpus | None = None


@dataclass(eq=False)
class Outcome:
    """A training that went through. `head(share)` answers as the network does that share of the way from the old weights to the new.

    `refits` says that the head is fitted on the tuned vectors, as where the body was trained by itself.
    """

    course: Course
    task: Task
    before: Mapping[str, torch.Tensor]
    after: Mapping[str, torch.Tensor]
    record: TrainingRecord
    y_N: IntArray
    items: Items
    refits: bool = False
    _heads: dict[float, LinearHead] = field(default_factory=dict)

    def head(self, share: float) -> TunedHead:
        """The head on items, for `share` of the way (0 is the start, 1 the end)."""
        return TunedHead(self, share)

    def vectors(self, items: Items, share: float) -> NDArray[np.float32]:
        """Vectors (N, D) by the body `share` of the way."""
        self._set(share)
        return self.course.vectors(items)

    def plain_head(self, share: float) -> LinearHead:
        """The head on vectors: as trained with the body, or fitted on the tuned vectors where the body was trained by itself."""
        if share not in self._heads:
            if self.refits:
                x_ND = self.vectors(self.items, share)
                self._heads[share] = fitted_probe(self.course.strategy.probe, x_ND, self.y_N, self.task)
            else:
                self._set(share)
                self._heads[share] = self.course.head.fitted()
        return self._heads[share]

    def encoder(self, share: float) -> TunedEncoder | None:
        """The body `share` of the way as an encoder like any other; None where no body was trained."""
        self._set(share)
        return self.course.encoder()

    def _set(self, share: float) -> None:
        from graft.tensors.averaging import interpolate

        state = interpolate(self.before, self.after, share)
        # Of LoRA's product B A, B starts at zero: with A as trained, a share of B is that share of the whole change.
        state |= {name: value for name, value in self.after.items() if "lora_A" in name}
        self.course.network.load_state_dict(state, strict=False)


@dataclass(frozen=True, eq=False)
class TunedHead:
    """Body and head together, `share` of the way: logits of items."""

    outcome: Outcome
    share: float

    def logits(self, items: Items) -> Float64Array:
        """Finite float64 (N, C)."""
        head = self.outcome.plain_head(self.share)
        return head.logits(self.outcome.vectors(items, self.share))


def fitted_probe(probe: tuple[str, Any], x_ND: NDArray[np.float32], y_N: IntArray, task: Task) -> LinearHead:
    """The linear probe that training starts from: `probe` names the frozen strategy and its settings."""
    name, setting = probe
    with settings.one_thread():
        (head,) = STRATEGIES[name].fit_path(x_ND, y_N, task, [setting])
    assert isinstance(head, LinearHead)
    return head


def tune(strategy: Trained, items: Items, y_N: IntArray, task: Task, job: Job) -> Outcome:
    """Train `strategy` on items with labels (N,) in 0..C-1.

    The same seed gives the same bits on the same processor. A loss that is no number stops the training at the last good weights, and the
    record says so. Raises ModelError where the body has nothing that the strategy could train.
    """
    from graft.trainers.loop import Hooks, train

    y_N = np.asarray(y_N, np.int64)
    held, impatient = job.held, ""
    if job.recipe.patience:
        inner = None if strategy.method == "contrastive" else to_stop_by(y_N, job.recipe.validation, job.seed)
        if inner is None:  # never by the held-out items, by which the rung is judged
            job, impatient = replace(job, recipe=replace(job.recipe, patience=0)), IMPATIENT
        else:
            (items, y_N), held = (items[inner[0]], y_N[inner[0]]), (items[inner[1]], y_N[inner[1]])
    fit = lambda x_ND: fitted_probe(strategy.probe, x_ND, y_N, task)
    job = _suited(strategy, job, y_N)
    way = course(strategy, items, fit, job.recipe, job.seed)
    present_P = np.unique(y_N)
    feed = way.feed(items, y_N, job.seed)
    objective = way.objective(_class_weights(strategy, y_N))
    recipe, tests = _rates_tested(way, feed, objective, job)
    before = _trainable_state(way.network)
    run = train(
        way.network,
        feed,
        objective,
        way.rates(recipe),
        recipe,
        seed=job.seed,
        evaluate=_telling(way, held, present_P),
        hooks=Hooks(
            checkpoint=job.checkpoint,
            key=job.key,
            tracker=job.tracker,
            penalty=way.penalty(None if isinstance(job.retained, Corpus) else job.retained),
            after_epoch=way.drift,
            stage=job.stage,
        ),
    )
    after = _trainable_state(way.network)
    retained, untold = _kept(way, job)
    record = way.record(strategy.name, run, recipe)
    record = replace(record, range_tests=tests, folds=1, retained=retained, notes=(*record.notes, *untold))
    if impatient:
        record = replace(record, notes=(*record.notes, impatient))
    return Outcome(way, task, before, after, record, y_N, items, way.refits or recipe.head == "refit")


def _suited(strategy: Trained, job: Job, y_N: IntArray) -> Job:
    """The job with what its recipe leaves to the number of items and classes."""
    if strategy.method != "contrastive":
        return job
    from graft.strategies.contrast import suited

    return replace(job, recipe=suited(job.recipe, len(y_N), len(np.unique(y_N))))


def souped(
    strategy: Trained, items: Items, y_N: IntArray, task: Task, job: Job, states: Sequence[Mapping[str, torch.Tensor]]
) -> Outcome:
    """The mean of the weights of several trainings from one start (uniform soup, Wortsman et al. 2022), with a head fitted on all items.

    `states` are `Outcome.after` of the trainings, such as those of the folds, which exist anyway; nothing is trained here.
    """
    from graft.tensors.averaging import uniform_soup

    y_N = np.asarray(y_N, np.int64)
    fit = lambda x_ND: fitted_probe(strategy.probe, x_ND, y_N, task)
    job = _suited(strategy, job, y_N)
    way = course(strategy, items, fit, job.recipe, job.seed)
    before = _trainable_state(way.network)
    bodies = [{name: value for name, value in state.items() if not name.startswith("head.")} for state in states]
    record = TrainingRecord(strategy.name, notes=(f"the mean of the weights of {len(states)} trainings",))
    return Outcome(way, task, before, {**before, **uniform_soup(bodies)}, record, y_N, items, refits=True)


def _kept(way: Course, job: Job) -> tuple[tuple[Retained, ...], tuple[str, ...]]:
    """How well a probe tells another task apart on the body's vectors, or masked tokens are guessed, before and after; else why that is not told."""
    from graft.trainers.retained import retained_probe

    tuned = way.encoder()
    if job.retained is None or tuned is None:
        return (), ()
    if isinstance(job.retained, Corpus):
        kept = job.retained.kept(tuned)
        why = f"Masked tokens were not guessed again: {way.strategy.name} has layers that the head for them does not know."
        return ((), (why,)) if kept is None else ((kept,), ())
    items, y_N = job.retained
    before, after = retained_probe(items.x_ND, way.vectors(items), np.asarray(y_N, np.int64), job.seed)
    return (Retained("retained task", "accuracy of a linear probe", before, after),), ()


def _class_weights(strategy: Trained, y_N: IntArray) -> NDArray[np.float32] | None:
    """A weight for each class that occurs where the probe balances classes, else None."""
    if not strategy.probe[1].get("balanced"):
        return None
    weights = item_weights(y_N, balanced=True)
    _, first = np.unique(y_N, return_index=True)
    return weights[first].astype(np.float32)


def to_stop_by(y_N: IntArray, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Positions to learn from and to stop by, stratified; None where a class would be left without either."""
    from graft.data.splits import hold_out

    if np.bincount(y_N)[np.unique(y_N)].min() < 2:
        return None
    return hold_out(np.asarray(y_N, np.int64), None, share, np.random.default_rng(seed))


def _trainable_state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the weights that are trained, by name, and of the statistics of batch norm, which move where they are not frozen."""
    weights = {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}
    return weights | {name: b.detach().clone() for name, b in network.named_buffers() if ".running_" in name}


def _rates_tested(way: Course, feed: Any, objective: Any, job: Job) -> tuple[Recipe, tuple[RangeTest, ...]]:
    """The recipe with rates that a range test on these items moved, where it is asked for or costs a tenth of the training at most.

    The groups are tested apart, which is told and moves nothing, where it is asked for or all tests together cost no more than that.
    """
    recipe = job.recipe
    steps = (recipe.epochs or 1) * len(feed) / recipe.batch
    if recipe.range_test is False or (recipe.range_test is None and steps < 10 * RANGE_STEPS):
        return recipe, ()
    from graft.trainers.range_test import range_test

    rates = way.rates(recipe)
    apart = bool(recipe.range_test) or steps >= 10 * RANGE_STEPS * (1 + len(rates.groups))
    tests = range_test(way.network, feed, objective, rates, recipe, seed=job.seed, steps=RANGE_STEPS, apart=apart)
    found = {test.group: test.suggestion for test in tests}
    whole = found.get("all")
    if whole is not None and recipe.rate:
        recipe = replace(recipe, rate=float(np.clip(whole, recipe.rate / FREE, recipe.rate * FREE)))
    return recipe, tests


def _telling(
    way: Course, held: tuple[Items, IntArray] | None, present_P: IntArray
) -> Callable[[torch.nn.Module], tuple[float, float | None]] | None:
    """Loss and share right of some held-out items after an epoch, None where there are none or the body is trained by itself."""
    if held is None or way.refits:
        return None
    items, y_N = held
    y_N = np.asarray(y_N, np.int64)
    some = np.flatnonzero(np.isin(y_N, present_P))
    some = some[np.linspace(0, len(some) - 1, min(len(some), TELLING)).astype(np.int64)] if len(some) else some
    if not len(some):
        return None
    y_some = np.searchsorted(present_P, y_N[some])

    def told(network: torch.nn.Module) -> tuple[float, float | None]:
        assert network is way.network, "the loop evaluates the network it trains"
        logits = way.logits(items[some])
        shifted = logits - logits.max(axis=1, keepdims=True)
        loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(some)), y_some]
        return float(loss.mean()), float((logits.argmax(axis=1) == y_some).mean())

    return told
