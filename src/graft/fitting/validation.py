"""What the trials of a search learn from and are scored on, and how one trial is run: a strategy, frozen or trained, with some of its settings set.

Legend: N items to learn from or to score on, D dims, V items of the validation part, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.data.dataset import Dataset
from graft.data.splits import hold_out
from graft.errors import DataError, ModelError, UsageError
from graft.fitting.searching import CHECKPOINT, HELD, Logits, Part, Run, Tried, search_key
from graft.fitting.space import Axis, Keyword, Settings, keywords, shown
from graft.fitting.steps import Encoded, hold_out_test
from graft.heads.base import IntArray
from graft.selection.select import Candidate, select
from graft.strategies.frozen import STRATEGIES, Task
from graft.strategies.items import Items
from graft.strategies.trained import TRAINED, Trained
from graft.trainers.recipe import to_tree

if TYPE_CHECKING:
    from graft.encoders.base import Encoder

PROBES = ("linear-probe", "named-linear-probe")


@dataclass(frozen=True, eq=False)
class Field:
    """The training items, without the test part, in two: positions of those that trials learn from, and of those they are scored on."""

    dataset: Dataset
    encoder: Encoder = field(repr=False)
    task: Task = field(repr=False)
    x_ND: NDArray[np.float32] = field(repr=False)
    y_N: NDArray[np.int64] = field(repr=False)
    groups_N: IntArray = field(repr=False)
    learn: NDArray[np.int64] = field(repr=False)
    held: NDArray[np.int64] = field(repr=False)

    def counts(self) -> IntArray:
        """Items of each class that trials learn from, (C,)."""
        return np.bincount(self.y_N[self.learn], minlength=len(self.dataset.classes))

    def part(self, metric: str) -> Part:
        """What trials are scored on."""
        y_V = self.y_N[self.held]
        return Part(y_V, np.isin(y_V, self.y_N[self.learn]), metric)

    def key(self, *facts: object) -> str:
        """What trials may be compared under: items, labels, encoder, both parts, and `facts`."""
        return search_key((self.x_ND, self.y_N, self.learn, self.held), self.encoder.info.fingerprint, *facts)


def field_of(encoded: Encoded, *, group: str, test_part: Mapping[str, Any], seed: int) -> Field:
    """Take the test part away as `fit` does, and hold out a part of what is left: stratified, groups whole.

    Raises DataError where too little is left to learn from or to score on.
    """
    parted = hold_out_test(encoded, group=group, hold_out=test_part, seed=seed)
    dataset, groups, pool, train = parted.dataset, parted.groups, parted.pools[0], parted.partition.train
    y_N = dataset.labels[train]
    learn, held = hold_out(y_N, groups[train], HELD, np.random.default_rng(seed))
    if not len(held) or len(np.unique(y_N[learn])) < 2:
        raise DataError(
            f"{len(train)} items are too few for a search: {len(learn)} would be left to learn from and {len(held)} to score on. "
            "Give more labels."
        )
    return Field(dataset.take(train), pool.encoder, pool.task, pool.x_ND[train], y_N, groups[train], learn, held)


@dataclass(frozen=True, eq=False)
class Subject:
    """The strategy that is searched: `run` gives a trial's logits (V, C), `defaults` are the searched settings where nothing is set,
    `fixed` what every trial but that of the defaults has besides."""

    run: Run
    defaults: Settings
    fixed: Settings

    def set_by(self, best: Tried | None) -> dict[str, str]:
        """What a trial sets beyond the defaults, as `--train` takes it; nothing for the trial of the defaults."""
        if best is None or best.told.number == 0:
            return {}
        return {name: shown(value) for name, value in {**self.fixed, **best.told.settings}.items()}


def subject(
    name: str, where: Field, axes: tuple[Axis, ...], given: Mapping[str, str], *, folder: Path, seed: int
) -> Subject:
    """The strategy `name` on these items, with what the user `given` for all trials. A trial that is killed leaves a checkpoint in `folder`.

    Raises UsageError where it cannot run on them, or for a setting that it does not have.
    """
    rung = TRAINED.get(name) or STRATEGIES[name]
    reason = rung.refusal(where.task, where.counts())
    if reason is None and isinstance(rung, Trained):
        reason = rung.unfit(where.encoder.info)
    if reason is not None:
        raise UsageError(f"--strategy {name} cannot run here: {reason}.")
    if isinstance(rung, Trained):
        return _trained(_Trials(rung.with_given(given), where, folder, seed), axes, given)
    allowed = keywords(name)
    set_for_all = {key: allowed[key].read(text) for key, text in given.items()}
    defaults = {**rung.settings(where.counts())[0], **set_for_all}

    def run(tried: Settings) -> Logits:
        wanted = {key: value for key, value in {**defaults, **tried}.items() if value is not False}
        with settings.one_thread():
            x_ND, y_N = where.x_ND[where.learn], where.y_N[where.learn]
            (head,) = rung.fit_path(x_ND, y_N, where.task, [wanted])
            return head.logits(where.x_ND[where.held]).astype(np.float32)

    return Subject(run, {axis.name: defaults.get(axis.name, _nothing(allowed[axis.name])) for axis in axes}, {})


def _nothing(keyword: Keyword) -> Any:
    """What a frozen strategy takes for a setting that its defaults do not name."""
    return False if keyword.kind is bool else None


def _trained(trials: _Trials, axes: tuple[Axis, ...], given: Mapping[str, str]) -> Subject:
    """A rung that trains. A rate that is searched is not moved by a range test."""
    recipe, names = trials.rung.recipe(trials.where.encoder.info.modality), [axis.name for axis in axes]
    if "rate" in names and "range_test" not in (*names, *given):
        trials.fixed = {"range_test": False}
    return Subject(trials, {name: getattr(recipe, name) for name in names}, trials.fixed)


class _Trials:
    """Runs trials of a rung that trains: all on the same items, prepared once, with the same seed, from the same fitted probe."""

    def __init__(self, rung: Trained, where: Field, folder: Path, seed: int) -> None:
        self.rung, self.where, self.seed = rung, where, seed
        self.checkpoint, self.key = folder / CHECKPOINT, where.key(seed)
        self.fixed: Settings = {}
        self._items: Items | None = None
        self._probe: tuple[str, Settings] | None = None

    def __call__(self, tried: Settings) -> Logits:
        from graft.strategies.tuning import Job, tune

        where = self.where
        if self._items is None:
            dataset = where.dataset
            said = dataset.class_descriptions()  # items of contrastive batches, as in a fit
            self._items = Items.of(where.encoder, dataset.contents, where.x_ND, dataset.classes, said)
            self._probe = self._best_probe()
        given = {**self.fixed, **tried} if tried else {}
        rung = self.rung.with_given(given, self._probe)
        recipe = rung.recipe(where.encoder.info.modality)
        about = f"{self.key} {rung.name} {sorted(to_tree(recipe).items())} {rung.probe}"
        job = Job(recipe, self.seed, None, self.checkpoint, about, None, "trial")
        outcome = tune(rung, self._items[where.learn], where.y_N[where.learn], where.task, job)
        self.checkpoint.unlink(missing_ok=True)
        if diverged(outcome.record.stopped):
            raise ModelError(outcome.record.stopped)
        return outcome.head(1.0).logits(self._items[where.held]).astype(np.float32)

    def _best_probe(self) -> tuple[str, Settings]:
        """The better of the two linear probes on the items to learn from, which is where `fit` starts its trained rungs from, too."""
        where = self.where
        candidate = Candidate(where.encoder.info.reference, where.x_ND[where.learn], where.task)
        chosen = select(
            [candidate],
            where.y_N[where.learn],
            groups=where.groups_N[where.learn],
            strategies=PROBES,
            seed=self.seed,
        )
        return chosen.chosen, dict(chosen.settings)


def diverged(stopped: str) -> bool:
    """Whether a training was stopped because its loss was no number, and not for want of time or progress."""
    return "oss was" in stopped
