"""The one training loop: any torch module, batches from a feed, a loss, rates for what is trained; what was done comes back as plain numbers.

The same seed gives the same bits on the same processor, and so does a training that was killed at any step and resumed: batches depend on
(seed, epoch) alone, torch's generators are set anew at every step, and a checkpoint holds everything else. Imported only where training runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from graft import settings
from graft.errors import DataError
from graft.results import EpochRecord, from_json, to_json
from graft.trainers import memory
from graft.trainers.batches import Batch, Feed, derived_seed
from graft.trainers.checkpoints import Checkpoints, State, training_key
from graft.trainers.memory import machine
from graft.trainers.rates import RateGroup, Rates, schedule
from graft.trainers.recipe import Recipe, to_tree
from graft.trainers.stepping import Objective, Stepper, lent, numbered

__all__ = ["Hooks", "Objective", "RateGroup", "Rates", "TrainingRun", "train"]

Evaluate = Callable[[nn.Module], tuple[float, float | None]]

LOOK = 32  # steps on a GPU between looks at the losses: each look waits for the device
TELL = 0.5  # seconds between lines of progress


class Tracker(Protocol):
    """What is told of a training as it goes, see `graft.trainers.tracking`."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name at a step."""


@dataclass(frozen=True)
class Hooks:
    """What surrounds a training.

    `checkpoint` is the file it is kept in while it runs (None: nowhere), `key` what it is of: other data, settings or code must give another
    key, and `every` the seconds between checkpoints inside an epoch (0: at every step). `penalty()` is added to the loss of every step, in the
    weights as they are. `after_epoch(epoch)` gives numbers by group for the record, such as drift. `stage` is what progress is told as.
    """

    checkpoint: Path | None = None
    key: str = ""
    tracker: Tracker | None = None
    penalty: Callable[[], Tensor] | None = None
    after_epoch: Callable[[int], Mapping[str, float]] | None = None
    stage: str = "train"
    every: float = 60.0


@dataclass(frozen=True)
class TrainingRun:
    """What a training did; the weights are in the model.

    `stopped` says why it ended before its time, and is empty where it did not. `best_epoch` is the epoch whose weights the model has, -1 for those it
    started from. `batch` items were put through at once and `accumulate` such pieces made a step. `items_per_second` counts training
    alone, `memory_mb` is the most that the process (on a GPU: its arrays there) took, `steps` counts changes of the weights. `notes` are
    sentences for the user.
    """

    epochs: tuple[EpochRecord, ...] = ()
    stopped: str = ""
    best_epoch: int = -1
    batch: int = 0
    accumulate: int = 1
    precision: str = "f32"
    device: str = "cpu"
    items_per_second: float = 0.0
    memory_mb: float = 0.0
    steps: int = 0
    notes: tuple[str, ...] = ()
    resumed: bool = False


def train(
    model: nn.Module,
    feed: Feed,
    objective: Objective,
    rates: Rates,
    recipe: Recipe,
    *,
    seed: int,
    evaluate: Evaluate | None = None,
    hooks: Hooks = Hooks(),
) -> TrainingRun:
    """Change the weights in `rates` so that the mean of `objective(model, batch)` over the feed's items falls.

    A step takes `recipe.accumulate` batches of `recipe.batch` items, in pieces where memory is short: the gradient is that of their mean
    loss. Other weights and all flags are left as they are. After each epoch `evaluate(model)` gives a validation loss and a score (or
    None), in evaluation mode, without gradients, of the running mean of the weights where `recipe.ema` is above 0; with `recipe.patience`
    the training stops when that many epochs brought no smaller loss, and the best weights are kept. A loss that is no finite number stops
    the training too, at the last weights that were good. Where several processes were started together, each takes its share of every
    batch, and the result is that of one process.

    Progress is told as `settings.progress(hooks.stage, steps done, steps)`. An interruption passes through and leaves the last checkpoint,
    from which the same call goes on.

    Raises DataError for a feed without items, UsageError for rates or settings that cannot work, MemoryError where not one item fits.
    """
    if len(feed) == 0:
        raise DataError("There is nothing to train on: no item is left.")
    with machine(recipe.precision) as here, lent(model, rates, here):
        stepper = Stepper(model, objective, rates, recipe, here, hooks.penalty)
        return _Training(stepper, feed, recipe, seed, evaluate, hooks).run()


class _DivergedError(Exception):
    """The loss is no finite number; says where."""


@dataclass
class _At:
    """Where a training is, and what it has seen: all that a checkpoint holds beside tensors."""

    epoch: int = 0
    step: int = 0  # in this epoch
    loss: float = 0.0  # sum over the items of this epoch so far
    items: int = 0
    history: list[EpochRecord] = field(default_factory=list)
    best: float = math.inf
    waited: int = 0  # epochs since the best
    kept_epoch: int = -1
    piece: int = 0
    updates: int = 0
    seconds: float = 0.0
    trained_seconds: float = 0.0
    trained_items: int = 0
    memory_mb: float = 0.0
    stopped: str = ""
    done: bool = False
    notes: list[str] = field(default_factory=list)


class _Training:
    """One call of `train` under way."""

    def __init__(
        self,
        stepper: Stepper,
        feed: Feed,
        recipe: Recipe,
        seed: int,
        evaluate: Evaluate | None,
        hooks: Hooks,
    ) -> None:
        self.stepper, self.feed, self.recipe, self.seed = stepper, feed, recipe, seed
        self.evaluate, self.hooks, self.here = evaluate, hooks, stepper.here
        self.per_epoch = -(-len(feed) // (recipe.batch * recipe.accumulate))
        self.total = max(1, round((recipe.epochs or 1) * self.per_epoch))
        self.best_counts = evaluate is not None and recipe.patience > 0
        self.at = _At()
        self.kept: list[Tensor] | None = None  # weights to go back to
        self.unread: list[tuple[int, Tensor, int]] = []  # step, mean loss, items: not yet looked at
        self.loss = math.nan  # of the last step that was looked at
        key = self._key() if hooks.checkpoint else ""
        self.checkpoints = Checkpoints(hooks.checkpoint, key, every=hooks.every, writes=self.here.rank == 0)
        self.clock = self.mark = self.told = self.began = time.monotonic()
        self.done_before = 0  # steps of the process that this one goes on from

    def run(self) -> TrainingRun:
        memory.forget_peak(self.here.device)
        self.stepper.fit(self.feed)
        resumed = self._resume()
        at = self.at
        self.done_before = at.epoch * self.per_epoch + at.step
        try:
            while not at.done and not at.stopped and at.epoch * self.per_epoch < self.total:
                self._epoch()
            if not at.done:
                self._end()
        except _DivergedError as reason:
            if self.kept is not None:
                self.stepper.put(self.kept)
            at.stopped = f"{reason} The weights are those {_named(at.kept_epoch)}."
        if not at.done:
            at.done = True
            self.checkpoints.save(self._state)
        self._note()
        return self._result(resumed)

    # --- an epoch

    def _epoch(self) -> None:
        at, began = self.at, time.monotonic()
        first = at.epoch * self.per_epoch
        groups = _grouped(self.feed.epoch(at.epoch, self.recipe.batch), self.recipe.accumulate)
        self.mark = time.monotonic()
        for group in islice(groups, at.step, min(self.per_epoch, self.total - first)):
            self._step(group, first + at.step)
            at.step += 1
            if self.checkpoints.save(self._state, inside=True):
                self.mark = time.monotonic()
        self._look()
        self._end_epoch(began)
        at.epoch, at.step, at.loss, at.items = at.epoch + 1, 0, 0.0, 0
        self.checkpoints.save(self._state)

    def _step(self, batches: Sequence[Batch], number: int) -> None:
        at, stepper = self.at, self.stepper
        stepper.unfreeze(number / self.per_epoch)
        fresh = at.step == 0 and (self.kept is None or not self.best_counts)
        candidate = stepper.result() if fresh else None
        self.kept = self.kept or candidate
        loss, items = stepper.gradient(batches, derived_seed(self.seed, at.epoch, at.step, self.here.rank))
        self.unread.append((number, loss, items))
        if at.step == 0 or self.here.device.type == "cpu" or len(self.unread) >= LOOK:
            self._look()
        if candidate is not None:
            self.kept, at.kept_epoch = candidate, at.epoch - 1  # good ones: their loss is finite
        stepper.update(self._factor(number), at.updates)
        at.updates += 1
        self._tell(number + 1)

    def _factor(self, number: int) -> float:
        return schedule(self.recipe.schedule, number, self.total, self.recipe.warmup)

    def _look(self) -> None:
        """Take in the losses since the last look, which a GPU may still be computing."""
        at, unread = self.at, self.unread
        self.unread = []
        if not unread:
            return
        losses = [float(unread[0][1])] if len(unread) == 1 else torch.stack([loss for _, loss, _ in unread]).tolist()
        for (number, _, items), loss in zip(unread, losses, strict=True):
            if not math.isfinite(loss):
                raise _DivergedError(f"The loss was {loss} at step {number + 1} of {self.total}.")
            at.loss, at.items, at.trained_items = at.loss + loss * items, at.items + items, at.trained_items + items
        self.loss, now = losses[-1], time.monotonic()
        at.trained_seconds, self.mark = at.trained_seconds + now - self.mark, now

    def _end_epoch(self, began: float) -> None:
        at, recipe = self.at, self.recipe
        loss, score, drift = math.nan, math.nan, {}
        with self.stepper.result_shown():
            if self.evaluate is not None:
                found = self.evaluate(self.stepper.model)
                loss, score = self.here.agree(found[0], math.nan if found[1] is None else found[1])
            if self.hooks.after_epoch is not None:
                drift = dict(self.hooks.after_epoch(at.epoch))
        if self.evaluate is not None and not math.isfinite(loss):
            raise _DivergedError(f"The validation loss was {loss} after epoch {at.epoch + 1}.")
        record = EpochRecord(
            epoch=at.epoch,
            loss=at.loss / max(1, at.items),
            validation_loss=loss if math.isfinite(loss) else None,
            score=score if math.isfinite(score) else None,
            rate=self._factor(at.epoch * self.per_epoch + max(0, at.step - 1)) * _body_rate(self.stepper),
            seconds=time.monotonic() - began,
            drift=drift,
        )
        at.history.append(record)
        self._track(record)
        self._judge(loss)
        at.seconds, self.clock = at.seconds + time.monotonic() - self.clock, time.monotonic()
        (passed,) = self.here.agree(at.seconds)
        if recipe.seconds and passed >= recipe.seconds and (at.epoch + 1) * self.per_epoch < self.total:
            at.stopped = at.stopped or f"The time limit of {recipe.seconds:g} s passed in epoch {at.epoch + 1}."

    def _judge(self, loss: float) -> None:
        """Keep the best weights, and stop when the loss has not become smaller for long."""
        at = self.at
        if not self.best_counts:
            return
        if loss < at.best:
            at.best, at.waited, at.kept_epoch, self.kept = loss, 0, at.epoch, self.stepper.result()
            return
        at.waited += 1
        if at.waited >= self.recipe.patience:
            at.stopped = f"The validation loss did not become smaller for {at.waited} epochs."

    def _end(self) -> None:
        """Leave the weights that are the result in the model."""
        if self.best_counts and self.kept is not None:
            self.stepper.put(self.kept)
            return
        if self.evaluate is None:
            (loss,) = self.here.agree(self.stepper.loss_now())
            if not math.isfinite(loss):
                raise _DivergedError(f"The loss was {loss} after the last step.")
        if self.stepper.mean is not None:
            self.stepper.put(self.stepper.result())
        self.at.kept_epoch = self.at.epoch - 1

    # --- what is told

    def _tell(self, done: int) -> None:
        now = time.monotonic()
        if self.here.rank or (now - self.told < TELL and done < self.total):
            return
        self.told = now
        settings.progress(self.hooks.stage, done, self.total)
        speed = self.at.trained_items / max(1e-9, self.at.trained_seconds)
        rate = self._factor(done - 1) * _body_rate(self.stepper)
        left = (now - self.began) / max(1, done - self.done_before) * (self.total - done)
        settings.tell(
            self.hooks.stage, f"loss {self.loss:.3g}, rate {rate:.2g}, {speed:.3g} items/s, {_duration(left)} left"
        )

    def _track(self, record: EpochRecord) -> None:
        tracker = self.hooks.tracker
        if tracker is None or self.here.rank:
            return
        values = {
            "loss": record.loss,
            "rate": record.rate,
            "validation loss": record.validation_loss,
            "score": record.score,
        }
        values |= {f"drift/{name}": value for name, value in record.drift.items()}
        tracker.log({name: value for name, value in values.items() if value is not None}, self.at.updates)

    def _result(self, resumed: bool) -> TrainingRun:
        at, here = self.at, self.here
        own = math.ceil(self.recipe.batch / here.world)
        return TrainingRun(
            epochs=tuple(at.history),
            stopped=at.stopped,
            best_epoch=at.kept_epoch,
            batch=at.piece,
            accumulate=self.recipe.accumulate * math.ceil(own / at.piece),
            precision=here.precision,
            device=str(here.device),
            items_per_second=at.trained_items / max(1e-9, at.trained_seconds),
            memory_mb=at.memory_mb,
            steps=at.updates,
            notes=(*at.notes, *self.checkpoints.notes),
            resumed=resumed,
        )

    # --- checkpoints

    def _state(self) -> State:
        self._look()
        at, stepper = self.at, self.stepper
        self._note()
        tensors = stepper.tensors()
        if at.done:  # nothing but the result is needed any more
            tensors = {n: tensor for n, tensor in tensors.items() if n.startswith(("weights/", "buffers/"))}
        elif self.kept is not None:
            tensors |= {f"kept/{n}": tensor for n, tensor in enumerate(self.kept)}
        facts = {name: getattr(at, name) for name in _At.__dataclass_fields__}
        facts["history"] = [to_json(record) for record in at.history]
        return State(tensors, {"at": facts, "scaler": self.here.scaler.state_dict()})

    def _note(self) -> None:
        """Bring the record up to date with what is counted elsewhere."""
        at, now = self.at, time.monotonic()
        at.seconds, self.clock = at.seconds + now - self.clock, now
        at.memory_mb = max(at.memory_mb, memory.peak(self.here.device))
        at.piece, at.notes = self.stepper.piece, self.stepper.notes

    def _resume(self) -> bool:
        """Go on where a killed process was; False where there is nothing to go on from."""
        self.here.wait()  # the first process may still be writing the one that all are to read
        state = self.checkpoints.load()
        self.here.wait()
        if state is None:
            return False
        facts = dict(state.facts["at"])
        facts["history"] = [from_json(EpochRecord, record) for record in facts["history"]]
        self.at, stepper, tensors = _At(**facts), self.stepper, dict(state.tensors)
        stepper.piece, stepper.notes = self.at.piece, self.at.notes
        if self.at.done:
            stepper.put([*numbered(tensors, "weights/"), *numbered(tensors, "buffers/")])
            return True
        stepper.restore(tensors)
        self.here.scaler.load_state_dict(state.facts["scaler"])
        self.kept = [tensor.to(self.here.device) for tensor in numbered(tensors, "kept/")] or None
        return True

    def _key(self) -> str:
        """Of everything that must be the same for a checkpoint to be of this training, its first batch and its weights at the start included."""
        stepper, recipe = self.stepper, to_tree(self.recipe)
        recipe.pop("seconds", None)  # more time may be given
        facts = {
            "recipe": recipe,
            "seed": self.seed,
            "items": len(self.feed),
            "groups": [(g.name, g.rate, g.first_epoch, g.decay, len(g.parameters)) for g in stepper.groups],
            "judged": self.evaluate is not None,
            "where": (self.here.device.type, self.here.precision, self.here.world),
        }
        first = next(iter(self.feed.epoch(0, self.recipe.batch)))
        start = stepper.tensors() | {f"model/{name}": p for name, p in stepper.model.named_parameters()}
        return training_key(self.hooks.key, facts, start | {f"batch/{name}": tensor for name, tensor in first.items()})


def _grouped(batches: Iterable[Batch], count: int) -> Iterator[list[Batch]]:
    """Lists of `count` batches, the last one shorter."""
    stream = iter(batches)
    while group := list(islice(stream, count)):
        yield group


def _body_rate(stepper: Stepper) -> float:
    """The largest rate of a group, that of a group named head aside."""
    rates = [group.rate for group in stepper.groups if group.name != "head"]
    return max(rates or [group.rate for group in stepper.groups])


def _named(epoch: int) -> str:
    return "that it started from" if epoch < 0 else f"of the end of epoch {epoch + 1}"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
