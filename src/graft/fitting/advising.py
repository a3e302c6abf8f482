"""A plan for data that are here: read, encoded and parted as `fit` will, looked at by the probe, judged by the rules.

Legend: N items, D dims.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.data.partition import Partition, before_encoding
from graft.encoders.base import Encoder
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import Encoded as Vectors
from graft.encoding import encode
from graft.errors import UsageError
from graft.fitting.steps import Parted, Pool, encode_items, hold_out_test
from graft.metrics.logme import logme
from graft.planning import domain
from graft.planning.advice import DataFacts, EncoderAdvice, PlanResult
from graft.planning.costs import PACE, Load, machine
from graft.planning.described import Description
from graft.planning.encoders import Entry, rank
from graft.planning.expectation import Ground
from graft.planning.foretold import ground_of
from graft.planning.rules import Situation, advise, changes, verdict
from graft.reports.formats import plural
from graft.store.cache import VectorCache
from graft.strategies.trained import TRAINED

MOST_ITEMS = 5000  # labelled items that are encoded and looked at
TIMED = 16  # items that are encoded anew to time it, where all came from the cache
LOGME_ITEMS = 2000


@dataclass(frozen=True, eq=False)
class Wish:
    """What the plan is asked for: seconds of budget, items a class, what stays together, the seed."""

    budget: float | None = None
    shots: int | None = None
    group: str = "auto"
    seed: int = 0


def planned(dataset: Dataset, references: Sequence[str], wish: Wish) -> PlanResult:
    """The advice for a data set. Raises UsageError where no encoder takes the items, DataError where none of them can be read."""
    fit, unfit = fitting(references or (BUNDLED[dataset.modality],), dataset.modality)
    started = time.perf_counter()
    known = before_encoding(dataset, split=None, test=None, shots=wish.shots, seed=wish.seed)
    counts_C = np.bincount(dataset.labels[known.train], minlength=len(dataset.classes))
    if np.count_nonzero(counts_C) < 2:
        return _from_counts(dataset, known, fit[0], wish)
    sample, held = _sample(known, wish.seed)
    part = dataset.take(sample.train)
    inner = replace(sample, train=np.arange(len(part)), test=held)
    encoded = encode_items(part, inner, fit, strict=False)
    at = time.perf_counter()
    shots = None if known.test is not None else wish.shots
    parted = hold_out_test(encoded, group=wish.group, hold_out={"test": None, "shots": shots}, seed=wish.seed)
    parted = replace(parted, dataset=replace(parted.dataset, faults=encoded.dataset.faults))
    situations = [_situation(pool, parted, known, len(sample.train), wish) for pool in parted.pools]
    entries = [_entry(pool, parted, s) for pool, s in zip(parted.pools, situations, strict=True)]
    rows, decided = rank(entries, unfit)
    place = [pool.summary.reference for pool in parted.pools].index(rows[0].reference)
    facts = _facts(dataset, known, parted)
    seconds = {"encode": at - started, "plan": time.perf_counter() - at}
    several = len(fit) + len(unfit) > 1
    result = _result(
        situations[place], facts, dataset.name, parted.pools[place].summary.reference, rows if several else (), decided
    )
    return replace(
        result, basis=_basis(situations[place]), faults=encoded.dataset.faults, budget=wish.budget, seconds=seconds
    )


def from_words(description: Description, words: Mapping[str, str], references: Sequence[str]) -> PlanResult:
    """The advice by the same rules for data that are only described. Raises UsageError where no encoder takes such items."""
    fit, unfit = fitting(references or (BUNDLED[description.modality],), description.modality)
    encoder = open_encoder(fit[0], modality=description.modality)
    labels = description.labels_a_class
    ground = Ground(description.modality, description.classes, labels, None, description.names, _worded(encoder))
    info = encoder.info
    load = Load(
        description.modality,
        description.labels,
        description.classes,
        labels,
        info.dim,
        PACE[description.modality],
        parameters=info.parameters,
    )
    least = int(labels)
    situation = Situation(
        ground,
        load,
        machine(),
        description.distance,
        least=least,
        most=least,
        unlabelled=max(0, description.items - description.labels),
        unfit=_untrainable(encoder),
        budget=description.budget,
    )
    facts = DataFacts(
        modality=description.modality,
        items=description.items,
        labelled=description.labels,
        unlabelled=situation.unlabelled,
        classes=description.classes,
        labels_a_class=labels,
        least=least,
        most=least,
    )
    entries = [Entry(open_encoder(ref, modality=description.modality).info, description.distance) for ref in fit]
    rows, decided = rank(entries, unfit)
    several = len(fit) + len(unfit) > 1
    result = _result(situation, facts, "the data described", rows[0].reference, rows if several else (), decided)
    basis = "Words alone: nothing was measured on your items. The ranges are those of five public sets."
    return replace(result, basis=basis, described=dict(words), budget=description.budget)


def fitting(references: Sequence[str], modality: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The encoders that take such items, and those that do not with the reason. Raises UsageError for all unknown references, and where none is left."""
    fit, unfit, problems = [], [], []
    for reference in dict.fromkeys(references):
        try:
            open_encoder(reference, modality=modality)
            fit.append(reference)
        except UsageError as error:
            try:
                open_encoder(reference)
                unfit.append((reference, error.message))
            except UsageError as unknown:
                problems.append(unknown.message)
    if problems or not fit:
        raise UsageError(" ".join(problems or [reason for _, reason in unfit]))
    return fit, unfit


def _result(
    situation: Situation, facts: DataFacts, name: str, encoder: str, encoders: tuple[EncoderAdvice, ...], decided: str
) -> PlanResult:
    rows = advise(situation)
    top = next((row.name for row in rows if row.status == "advised"), None)
    return PlanResult(
        name=name,
        data=facts,
        distance=situation.distance,
        machine=situation.machine,
        strategies=rows,
        verdict=verdict(situation, rows),
        top=top,
        changes=changes(situation, rows),
        encoder=encoder,
        encoders=encoders,
        decided_by=decided if encoders else "",
    )


def _sample(known: Partition, seed: int) -> tuple[Partition, NDArray[np.int64] | None]:
    """At most so many of the labelled training items, drawn at random; an empty test part where the data have one of their own."""
    some = known.train
    if len(some) > MOST_ITEMS:
        some = np.sort(np.random.default_rng(seed).permutation(some)[:MOST_ITEMS])
    return replace(known, train=some), None if known.test is None else np.empty(0, np.int64)


def _situation(pool: Pool, parted: Parted, known: Partition, looked_at: int, wish: Wish) -> Situation:
    """What the rules look at, from one encoder's vectors."""
    train = parted.partition.train
    y_N, x_ND = parted.dataset.labels[train], pool.x_ND[train]
    ground = ground_of(x_ND, y_N, pool.task, parted.groups[train], modality=parted.dataset.modality, seed=wish.seed)
    times = len(known.train) / looked_at
    counts_C = np.bincount(y_N, minlength=len(parted.dataset.classes))
    probe, info = ground.probe, pool.encoder.info
    assert probe is not None
    load = Load(
        modality=parted.dataset.modality,
        items=round(len(train) * times),
        classes=len(parted.dataset.classes),
        labels=ground.labels * times,
        dims=pool.x_ND.shape[1],
        pace=_pace(pool, parted.dataset),
        kernel=probe.seconds,
        kernel_items=probe.sizes[0],
        parameters=info.parameters,
    )
    shown = np.random.default_rng(wish.seed).permutation(train)[: domain.LOOKED_AT]
    contents = [parted.dataset.contents[i] for i in shown]
    return Situation(
        replace(ground, labels=ground.labels * times),
        load,
        machine(),
        domain.measure(pool.encoder, contents, pool.x_ND[shown]),
        least=round(int(counts_C.min()) * times),
        most=round(int(counts_C.max()) * times),
        copies=(parted.grouping.exact + parted.grouping.near) / max(1, len(parted.dataset)),
        unlabelled=known.unlabelled,
        unfit=_untrainable(pool.encoder),
        budget=wish.budget,
    )


def _pace(pool: Pool, dataset: Dataset) -> float:
    """Seconds to encode one item here: a few are encoded anew, twice, for the first time loads the model."""
    few = [dataset.contents[i] for i in np.random.default_rng(0).permutation(len(dataset))[:TIMED]]
    if not few:
        return PACE.get(dataset.modality, 0.01)
    runs: list[Vectors] = [
        encode(few[: len(few) // part], pool.encoder, remember=False) for part in (4, 1) if len(few) >= part
    ]
    if len(runs) < 2 or runs[1].summary.encoded <= runs[0].summary.encoded:
        return runs[-1].seconds / max(1, runs[-1].summary.encoded)
    more = runs[1].summary.encoded - runs[0].summary.encoded
    gained = (runs[1].seconds - runs[0].seconds) / more
    return gained if gained > 0 else runs[1].seconds / runs[1].summary.encoded


def _entry(pool: Pool, parted: Parted, situation: Situation) -> Entry:
    train = parted.partition.train
    some = np.sort(np.random.default_rng(0).permutation(train)[:LOGME_ITEMS])
    return Entry(
        pool.encoder.info,
        situation.distance,
        situation.ground.probe,
        logme(pool.x_ND[some], parted.dataset.labels[some]),
        situation.load.pace,
    )


def _from_counts(dataset: Dataset, known: Partition, reference: str, wish: Wish) -> PlanResult:
    """Advice where there is nothing to learn from: labels of one class, or none at all."""
    encoder = open_encoder(reference, modality=dataset.modality)
    some = np.sort(np.random.default_rng(wish.seed).permutation(len(dataset))[: domain.LOOKED_AT])
    contents = [dataset.contents[i] for i in some]
    with VectorCache.open() as cache:
        done = encode(contents, encoder, cache=cache)
    labelled, classes = len(known.train), len(np.unique(dataset.labels[known.train]))
    info = encoder.info
    ground = Ground(dataset.modality, len(dataset.classes), 0.0, None, None, _worded(encoder))
    load = Load(
        dataset.modality,
        labelled,
        max(1, len(dataset.classes)),
        0.0,
        info.dim,
        PACE[dataset.modality],
        parameters=info.parameters,
    )
    seen = domain.measure(encoder, [contents[i] for i in done.index], done.vectors)
    situation = Situation(
        ground, load, machine(), seen, unlabelled=known.unlabelled, unfit=_untrainable(encoder), budget=wish.budget
    )
    facts = DataFacts(
        dataset.modality,
        len(dataset),
        labelled,
        known.unlabelled,
        classes=classes,
        labels_a_class=float(labelled),
        least=labelled,
        most=labelled,
        names=dataset.classes,
        columns=dataset.columns,
    )
    result = _result(situation, facts, dataset.name, info.reference, (), "")
    why = (
        "There are no labels"
        if not classes
        else f"All labels are of one class, {dataset.classes[int(dataset.labels[known.train[0]])]!r}"
    )
    basis = f"{why}, so that this rests on counts and on what the encoder makes of {plural(len(done.index), 'item')}."
    return replace(
        result, basis=basis, faults=(*dataset.faults, *done.faults), seconds={"encode": done.seconds, "plan": 0.0}
    )


def _facts(dataset: Dataset, known: Partition, parted: Parted) -> DataFacts:
    train = parted.partition.train
    counts_C = np.bincount(parted.dataset.labels[train], minlength=len(parted.dataset.classes))
    official = 0 if known.test is None else len(known.test)
    held = 0 if parted.partition.test is None else len(parted.partition.test)
    times = len(known.train) / max(1, len(parted.dataset))
    return DataFacts(
        modality=dataset.modality,
        items=len(dataset),
        labelled=round(len(train) * times),
        unlabelled=known.unlabelled,
        held_out=official or round(held * times),
        classes=len(parted.dataset.classes),
        labels_a_class=float(np.median(counts_C)) * times,
        least=round(int(counts_C.min()) * times),
        most=round(int(counts_C.max()) * times),
        copies=parted.grouping.exact + parted.grouping.near,
        looked_at=len(parted.dataset),
        names=parted.dataset.classes,
        columns=dataset.columns,
    )


def _basis(situation: Situation) -> str:
    """On what the advice rests."""
    probe = situation.ground.probe
    if probe is None or not probe.scores:
        return "No folds can be drawn, so that this rests on counts and on public sets; one more label a class lets it be measured."
    return (
        f"Two quick strategies on folds of {probe.items:,} labelled items, and what is known of the others beside them."
    )


def _worded(encoder: Encoder) -> bool:
    """Whether class names can be set beside the items."""
    from graft.encoders.open import has_text_tower

    return encoder.info.modality == "text" or has_text_tower(encoder) or encoder.classifier() is not None


def _untrainable(encoder: Encoder) -> str:
    return TRAINED["finetune"].unfit(encoder.info) or ""
