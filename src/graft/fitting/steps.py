"""The steps of `fit` between reading and proof: encode, find duplicates, hold out, choose.

Legend: N items, D dims, S pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.data.groups import THUMBNAILS, Grouping, grey, near_duplicate_groups
from graft.data.partition import Partition, after_encoding, duplicates, learnable
from graft.diagnostics.curve import Drawn, Ground, learning_curve
from graft.diagnostics.shift import quick
from graft.encoders.base import Encoder
from graft.encoders.open import BUNDLED, fitting_encoder, open_encoder
from graft.encoding import encode
from graft.errors import DataError
from graft.fitting.upper import Grounds, Request, encode_tuned, try_upper
from graft.label_curve import LabelCurve
from graft.planning.expectation import Expected
from graft.planning.foretold import foretell
from graft.results import (
    Drift,
    Duplicates,
    EncoderSummary,
    Fault,
    Interval,
)
from graft.selection.select import Candidate, Selection, score_ungrouped, select
from graft.store.cache import VectorCache
from graft.strategies.frozen import Task
from graft.strategies.naming import name_classes

if TYPE_CHECKING:
    from graft.encoders.tuned import TunedEncoder

WORTH_COMPARING = (
    0.05  # share of training items in groups; with fewer, random folds can give away no more than that share
)
FIT_SIZES = 5  # of the learning curve that every fit draws; `graft diagnose curve` draws more, more often


@dataclass(frozen=True, eq=False)
class Pool:
    """One encoder's view of the items: vectors (N, D) parallel to the data set, and the class names in their space."""

    encoder: Encoder
    summary: EncoderSummary
    x_ND: NDArray[np.float32]
    task: Task


@dataclass(frozen=True, eq=False)
class Encoded:
    """The items that every encoder could read, with one pool an encoder, the content hashes, and for pictures grey thumbnails (N, 64)."""

    dataset: Dataset
    partition: Partition
    pools: tuple[Pool, ...]
    hashes: tuple[str, ...]
    thumbnails_NS: NDArray[np.float32] | None = None


def encode_items(dataset: Dataset, partition: Partition, references: Sequence[str], *, strict: bool) -> Encoded:
    """Encode the items once an encoder; what cannot be read is left out and listed among the data set's faults.

    Raises DataError when nothing is left to learn from, or with `strict` when any item cannot be read.
    """
    with VectorCache.open() as cache:
        runs = []
        for reference in dict.fromkeys(references or (BUNDLED[dataset.modality],)):
            encoder = fitting_encoder(reference, dataset.modality)
            done = encode(dataset.contents, encoder, ids=dataset.ids, cache=cache)
            runs.append((encoder, done))
        seen = encode(dataset.contents, open_encoder(THUMBNAILS), cache=cache) if dataset.modality == "image" else None
        faults = {fault.where: fault for _, done in runs for fault in done.faults}
        if faults and strict:
            raise DataError(
                f"{len(faults)} of {len(dataset)} items cannot be read; --strict stops here.",
                faults=tuple(faults.values()),
            )
        kept = np.arange(len(dataset))
        for done in (*(done for _, done in runs), *([seen] if seen else [])):
            kept = np.intersect1d(kept, done.index)
        if not len(kept):
            raise DataError("No item could be read.", faults=tuple(faults.values()))
        left = dataset.take(kept)
        left = replace(left, faults=(*left.faults, *faults.values()))
        left, partition = learnable(left, _still_whole(left, partition, kept, tuple(faults.values())))
        pools = tuple(
            Pool(
                encoder,
                done.summary,
                done.vectors[np.searchsorted(done.index, kept)],
                name_classes(encoder, left.class_descriptions(), cache=cache),
            )
            for encoder, done in runs
        )
    first = runs[0][1]
    hashes = tuple(first.hashes[i] for i in np.searchsorted(first.index, kept))
    thumbnails = None if seen is None else grey(seen.vectors[np.searchsorted(seen.index, kept)])
    return Encoded(left, partition, pools, hashes, thumbnails)


def _still_whole(left: Dataset, partition: Partition, kept: NDArray[np.int64], faults: tuple[Fault, ...]) -> Partition:
    """The partition of the items that could be read; raises DataError where too few are left to learn from or to test on."""
    found = partition.within(kept)
    met = [left.classes[code] for code in np.unique(left.labels[found.train])]
    if faults and len(met) < 2:
        raise DataError(
            f"{len(faults)} items cannot be read, and those left to learn from are of {f'one class, {met[0]!r}' if met else 'no class'}: "
            "mend them, or leave them out and give others.",
            faults=faults,
        )
    if found.test is not None and not len(found.test) and partition.test is not None and len(partition.test):
        raise DataError(
            f"None of the {len(partition.test)} test items can be read: mend them, or give another test part.",
            faults=faults,
        )
    return found


@dataclass(frozen=True, eq=False)
class Chosen:
    """The choice and all that judges it: the data set with both parts, the chosen encoder's `pool`, the ladder's evidence, what was copied.

    `encoders` are all that competed; `shift` is a difference between the parts that the frozen vectors show; `expected` is what the rules of
    `plan` foretell of each strategy on the chosen encoder; `tuned` is the trained encoder of `pool` where a rung that trains was chosen;
    `curve` how accuracy grows with labels, None where nothing was measured on folds.
    """

    dataset: Dataset
    partition: Partition
    pool: Pool
    selection: Selection
    duplicates: Duplicates
    encoders: tuple[EncoderSummary, ...]
    tuned: TunedEncoder | None = None
    shift: Drift | None = None
    expected: Mapping[str, Expected] = field(default_factory=dict)
    curve: LabelCurve | None = None


def choose(
    encoded: Encoded,
    *,
    group: str,
    hold_out: Mapping[str, Any],
    metric: str,
    folds: int | None,
    request: Request,
) -> Chosen:
    """Hold out the test part if none is fixed, and choose encoder and strategy on paired folds of the training items.

    `group` is "auto" (near duplicates stay together), "none", or a column's name; `hold_out` goes to `after_encoding`; `request`
    says which strategies are wanted, and the seconds left of a time budget.
    """
    seed = request.seed
    parted = hold_out_test(encoded, group=group, hold_out=hold_out, seed=seed)
    dataset, partition, pools, groups = parted.dataset, parted.partition, parted.pools, parted.groups
    train = partition.train
    candidates = [Candidate(pool.summary.reference, pool.x_ND[train], pool.task) for pool in pools]
    labels = dataset.labels[train]
    selection = select(
        candidates,
        labels,
        groups=groups[train],
        strategies=request.frozen,
        metric=metric,
        folds=folds,
        budget=request.left(),
        seed=seed,
    )
    position = [candidate.encoder for candidate in candidates].index(selection.encoder)
    copies = duplicates(encoded.dataset, partition, parted.grouping)
    if selection.folds and _share_grouped(groups[train]) >= WORTH_COMPARING and request.left() != 0.0:
        random = score_ungrouped(selection, candidates[position], labels, seed=seed)
        copies = replace(copies, grouped=_score(selection), random=random)
    summaries = tuple(pool.summary for pool in pools)
    pool = pools[position]
    assert partition.test is not None
    shift = quick(pool.x_ND, train, partition.test, groups, seed)
    expected = foretell(pool.x_ND[train], labels, pool.task, groups[train], modality=dataset.modality, seed=seed)
    ground = Grounds(pool.x_ND[train], labels, pool.task, dataset.classes, dataset.class_descriptions(), request)
    upper = try_upper(selection, pool.encoder, [dataset.contents[i] for i in train], ground)
    if upper.encoder is not None:
        x_ND, summary = encode_tuned(upper.encoder, dataset.contents)
        pool = replace(pool, x_ND=x_ND, summary=replace(summary, reference=pool.summary.reference))
    curve = grown(selection, candidates[position], labels, request)
    return Chosen(dataset, partition, pool, upper.selection, copies, summaries, upper.encoder, shift, expected, curve)


@dataclass(frozen=True, eq=False)
class Parted:
    """The items with the test part held out: views of the classes that can be learned, `groups` (N,) that stay together, and what was copied."""

    dataset: Dataset
    partition: Partition
    pools: tuple[Pool, ...]
    groups: NDArray[np.int64]
    grouping: Grouping


def hold_out_test(encoded: Encoded, *, group: str, hold_out: Mapping[str, Any], seed: int) -> Parted:
    """Keep together what belongs together, and hold out the test part if none is fixed; `group` and `hold_out` as in `choose`."""
    grouping = near_duplicates(encoded)
    groups = encoded.dataset.groups
    if groups is None:
        groups = grouping.group_ids if group == "auto" else np.arange(len(encoded.dataset))
    partition = after_encoding(encoded.dataset, encoded.partition, groups, seed=seed, **hold_out)
    dataset, partition = learnable(encoded.dataset, partition)
    kept = [encoded.dataset.classes.index(name) for name in dataset.classes]
    pools = tuple(replace(pool, task=pool.task.only(kept)) for pool in encoded.pools)
    return Parted(dataset, partition, pools, groups, grouping)


def grown(selection: Selection, candidate: Candidate, labels: NDArray[np.int64], request: Request) -> LabelCurve | None:
    """How accuracy grows with labels for the best frozen strategy: a few sizes, one round of the folds, and what is known of whole folds used
    again. None without folds, and where a time budget has run out.
    """
    per_round = len(selection.folds) // max(1, selection.repeats)
    if not per_round or request.left() == 0.0:
        return None
    known = None
    if selection.repeats == 1 and selection.oof_logits_NC is not None:
        known = selection.oof_logits_NC.argmax(axis=1)
    return learning_curve(
        Ground(candidate.x_ND, labels, candidate.task, candidate.encoder),
        Drawn(selection.folds[:per_round], 1, FIT_SIZES, known),
        chosen=selection.chosen,
        settings=selection.settings,
        seed=request.seed,
    )


def near_duplicates(encoded: Encoded) -> Grouping:
    """What looks or reads the same. A class of pictures that is one object is found from the training labels alone."""
    dataset, test = encoded.dataset, encoded.partition.test
    if dataset.modality == "text":
        texts = [str(content) for content in dataset.contents]
        return near_duplicate_groups(encoded.pools[0].x_ND, hashes=encoded.hashes, texts=texts)
    labels = dataset.labels.copy()
    if test is not None:
        labels[test] = -1
    return near_duplicate_groups(
        encoded.pools[0].x_ND, hashes=encoded.hashes, signatures_NS=encoded.thumbnails_NS, labels=labels
    )


def _share_grouped(groups: NDArray[np.int64]) -> float:
    """Share of the items that are in a group with others."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return float((counts[inverse] > 1).mean())


def _score(selection: Selection) -> Interval:
    """What the choice scored on the folds."""
    chosen = (selection.chosen, selection.encoder)
    return next(r.metrics[selection.metric] for r in selection.results if (r.name, r.encoder) == chosen)
