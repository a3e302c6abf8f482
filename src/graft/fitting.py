"""The steps of `fit` between reading and the finished folder: encode, group, choose, prove, publish.

Legend: N items, D dims, C classes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import platform
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft import artifact
from graft.data.dataset import Dataset
from graft.data.groups import Grouping, near_duplicate_groups
from graft.data.partition import Partition, after_encoding
from graft.data.splits import save_split
from graft.diagnostics.assessment import Judged, calibrate, held_out_metrics, set_threshold, where_it_errs
from graft.diagnostics.evidence import gather
from graft.diagnostics.labels import suspects
from graft.encoders.base import Encoder
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.errors import DataError, UsageError, unknown
from graft.heads.base import softmax
from graft.reports.build import fit_report
from graft.results import (
    Abstention,
    Calibration,
    ClassRow,
    Confusion,
    DataSummary,
    Duplicates,
    EncoderSummary,
    Evidence,
    Fault,
    FitResult,
    Interval,
    Suspect,
    to_json,
)
from graft.selection import Candidate, Selection, score_ungrouped, select
from graft.settings import one_thread, processor, threads
from graft.store.cache import VectorCache
from graft.store.files import check_writable, new_folder, write_bytes, write_json
from graft.strategies.frozen import STRATEGIES, Task, head_from_state
from graft.strategies.naming import name_classes
from graft.trials import METRICS

PARTS = ("read", "encode", "select", "refit", "report")
WORTH_COMPARING = (
    0.02  # share of training items in a group with others, from which random folds are measured beside grouped ones
)
MOST_GROUPS, MOST_MEMBERS, MOST_LEAKS, MOST_SUSPECTS = 20, 10, 50, 40
THUMBNAILS = "pixels:8"  # looked at for near duplicates besides the vectors; a tenth of the encoding's cost
SAMPLE = 64  # vectors on which the saved model is compared with the one in memory


def check_flags(
    *,
    metric: str,
    coverage: float,
    shots: int | None,
    folds: int | None,
    seed: int,
    strategies: Sequence[str] | None,
) -> None:
    """Raise UsageError for all flags outside their ranges, before anything is read."""
    problems = []
    if metric not in METRICS:
        problems.append(unknown("--metric", metric, METRICS))
    if not 0.5 <= coverage <= 0.999:
        problems.append(f"--coverage {coverage}: it lies between 0.5 and 0.999.")
    if shots is not None and shots < 1:
        problems.append(f"--shots {shots}: at least 1 item a class is needed to learn from.")
    if folds is not None and folds < 2:
        problems.append(f"--folds {folds}: cross-validation needs at least 2.")
    if not 0 <= seed < 2**32:
        problems.append(f"--seed {seed}: it lies between 0 and {2**32 - 1}.")
    for name in strategies or ():
        if name not in STRATEGIES:
            problems.append(unknown("--strategies", name, STRATEGIES))
    if strategies is not None and not strategies:
        problems.append(f"--strategies names none. Allowed: {', '.join(STRATEGIES)}.")
    if problems:
        raise UsageError(" ".join(problems))


class Stopwatch:
    """Seconds by part of the work, and what is left of the budget.

    `budget` is like "90s", "10m", "2h" or plain seconds; None for no limit. Raises UsageError for anything else.
    """

    def __init__(self, budget: str | None) -> None:
        self._started = time.perf_counter()
        self._budget = None if budget is None else duration(budget)
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the block's seconds towards `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

    def left(self) -> float | None:
        """Seconds left of the budget, at least 0; None without a budget."""
        return None if self._budget is None else max(0.0, self._budget - (time.perf_counter() - self._started))


def duration(text: str) -> float:
    """Seconds in "90s", "1.5m", "2h" or "90"; raises UsageError for anything else or not above 0."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"--budget {text!r} is not a time. Write seconds, minutes or hours: 90s, 10m, 2h.")
    return seconds


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


def encode_items(
    dataset: Dataset, partition: Partition, references: Sequence[str], *, strict: bool, seed: int
) -> Encoded:
    """Encode the items once an encoder; what cannot be read is left out and listed among the data set's faults.

    Raises DataError when nothing is left to learn from, or with `strict` when any item cannot be read.
    """
    with VectorCache.open() as cache:
        runs = []
        for reference in dict.fromkeys(references or (BUNDLED[dataset.modality],)):
            encoder = _fitting_encoder(reference, dataset.modality)
            done = encode(dataset.contents, encoder, ids=dataset.ids, cache=cache)
            task = name_classes(encoder, dataset.class_descriptions(), cache=cache, seed=seed)
            runs.append((encoder, done, task))
        seen = encode(dataset.contents, open_encoder(THUMBNAILS), cache=cache) if dataset.modality == "image" else None
    faults = {fault.where: fault for _, done, _ in runs for fault in done.faults}
    if faults and strict:
        raise DataError(
            f"{len(faults)} of {len(dataset)} items cannot be read; --strict stops here.", faults=tuple(faults.values())
        )
    kept = np.arange(len(dataset))
    for done in (*(done for _, done, _ in runs), *([seen] if seen else [])):
        kept = np.intersect1d(kept, done.index)
    if not len(kept):
        raise DataError("No item could be read.", faults=tuple(faults.values()))
    pools = tuple(
        Pool(encoder, done.summary, done.vectors[np.searchsorted(done.index, kept)], task)
        for encoder, done, task in runs
    )
    first = runs[0][1]
    hashes = tuple(first.hashes[i] for i in np.searchsorted(first.index, kept))
    left = dataset.take(kept)
    left = replace(left, faults=(*left.faults, *faults.values()))
    partition = _still_whole(left, partition, kept, tuple(faults.values()))
    return Encoded(
        left, partition, pools, hashes, None if seen is None else _grey(seen.vectors[np.searchsorted(seen.index, kept)])
    )


def _grey(pixels_NP: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey thumbnails (N, S) of 0..255 from colour ones (N, 3 S) of 0..1: they tell copies of textures, which vectors cannot."""
    grey: NDArray[np.float32] = 255 * pixels_NP.reshape(len(pixels_NP), 3, -1).mean(axis=1)
    return grey


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


def _fitting_encoder(reference: str, modality: str) -> Encoder:
    encoder = open_encoder(reference, modality=modality)
    if encoder.info.modality != modality:
        kinds = {"text": "texts", "image": "pictures"}
        raise UsageError(
            f"--encoder {reference} takes {kinds.get(encoder.info.modality, encoder.info.modality)}, and these data are "
            f"{kinds[modality]}; {BUNDLED[modality]!r} is the bundled encoder for them."
        )
    return encoder


@dataclass(frozen=True, eq=False)
class Chosen:
    """The choice with all that judges it: `pool` is the chosen encoder's, `partition` has both parts, `grouping` the duplicates."""

    pool: Pool
    partition: Partition
    selection: Selection
    duplicates: Duplicates


def choose(
    encoded: Encoded,
    *,
    group: str,
    hold_out: Mapping[str, Any],
    strategies: Sequence[str] | None,
    metric: str,
    folds: int | None,
    budget: float | None,
    seed: int,
) -> Chosen:
    """Hold out the test part if none is fixed, and choose encoder and strategy on paired folds of the training items.

    `group` is "auto" (near duplicates stay together), "none", or a column's name; `hold_out` goes to `after_encoding`.
    """
    dataset, first = encoded.dataset, encoded.pools[0]
    texts = [str(content) for content in dataset.contents] if dataset.modality == "text" else None
    grouping = near_duplicate_groups(
        first.x_ND,
        hashes=encoded.hashes,
        texts=texts,
        signatures_NS=encoded.thumbnails_NS,
        labels=dataset.labels,
    )
    groups = dataset.groups
    if groups is None:
        groups = grouping.group_ids if group == "auto" else np.arange(len(dataset))
    partition = after_encoding(dataset, encoded.partition, groups, seed=seed, **hold_out)
    train = partition.train
    candidates = [Candidate(pool.summary.reference, pool.x_ND[train], pool.task) for pool in encoded.pools]
    duplicates = _duplicates(dataset, partition, grouping)
    labels = dataset.labels[train]
    with one_thread():
        selection = select(
            candidates,
            labels,
            groups=groups[train],
            strategies=strategies,
            metric=metric,
            folds=folds,
            budget=budget,
            seed=seed,
        )
        position = [candidate.encoder for candidate in candidates].index(selection.encoder)
        if selection.oof_logits_NC is not None and _share_grouped(groups[train]) >= WORTH_COMPARING:
            random = score_ungrouped(selection, candidates[position], labels, folds=folds, seed=seed)
            duplicates = replace(duplicates, grouped=_score(selection), random=random)
    return Chosen(encoded.pools[position], partition, selection, duplicates)


def _share_grouped(groups: NDArray[np.int64]) -> float:
    """Share of the items that are in a group with others."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return float((counts[inverse] > 1).mean())


def _score(selection: Selection) -> Interval:
    """What the choice scored on the folds."""
    chosen = (selection.chosen, selection.encoder)
    return next(r.metrics[selection.metric] for r in selection.results if (r.name, r.encoder) == chosen)


def _duplicates(dataset: Dataset, partition: Partition, grouping: Grouping) -> Duplicates:
    """Counts, the largest groups and the closest leaks, by item id."""
    assert partition.test is not None
    leaks = grouping.leaks(partition.train, partition.test)
    ids = dataset.ids
    return Duplicates(
        exact=grouping.exact,
        near=grouping.near,
        threshold=grouping.threshold,
        groups=tuple(tuple(ids[i] for i in members[:MOST_MEMBERS]) for members in grouping.groups()[:MOST_GROUPS]),
        leaks=tuple((ids[a], ids[b], similarity) for a, b, similarity in leaks[:MOST_LEAKS]),
        leaked=len({b for _, b, _ in leaks}),
        objects=tuple(dataset.classes[code] for code in grouping.objects),
    )


@dataclass(frozen=True, eq=False)
class Proof:
    """The chosen model judged: what `result.json` and the report say of it beyond the ladder."""

    judged: Judged | None
    temperature: float
    calibration: Calibration | None
    abstention: Abstention | None
    test: Mapping[str, Interval] | None
    confusion: Confusion | None
    per_class: tuple[ClassRow, ...]
    suspects: tuple[Suspect, ...]


def prove(encoded: Encoded, chosen: Chosen, *, coverage: float, seed: int) -> Proof:
    """Calibrate on out-of-fold predictions, then look at the test part once; without folds and test there is nothing to say."""
    dataset, partition, selection = encoded.dataset, chosen.partition, chosen.selection
    train, test = partition.train, partition.test
    assert test is not None
    calibration = None
    folds = held = None
    if selection.oof_logits_NC is not None:
        calibration = calibrate(selection.oof_logits_NC, dataset.labels[train])
        p_NC = softmax(selection.oof_logits_NC / calibration.temperature)
        folds = Judged(train, dataset.labels[train], p_NC, "folds")
    temperature = calibration.temperature if calibration else 1.0
    if len(test):
        p_NC = softmax(selection.head.logits(chosen.pool.x_ND[test]) / temperature)
        held = Judged(test, dataset.labels[test], p_NC, "test")
    judged = held or folds
    if judged is None:
        return Proof(None, temperature, None, None, None, None, (), ())
    counts = np.bincount(dataset.labels[train], minlength=len(dataset.classes))
    confusion, per_class = where_it_errs(judged, dataset.classes, counts)
    ids = [dataset.ids[i] for i in train]
    return Proof(
        judged=judged,
        temperature=temperature,
        calibration=calibration,
        abstention=set_threshold(folds, coverage, judged) if folds else None,
        test=held_out_metrics(held, seed) if held else None,
        confusion=confusion,
        per_class=per_class,
        suspects=suspects(folds.probabilities_NC, folds.labels, ids, dataset.classes, limit=MOST_SUSPECTS)
        if folds
        else (),
    )


def publish(
    encoded: Encoded, chosen: Chosen, proof: Proof, *, watch: Stopwatch, command: str, folder: Path, seed: int
) -> FitResult:
    """Write the folder: model (saved, reloaded, compared), split, report, and `result.json` last; all of it or nothing."""
    dataset, partition, selection = encoded.dataset, chosen.partition, chosen.selection
    assert partition.test is not None
    with new_folder(folder) as draft:
        with watch.part("refit"):
            result = _result(encoded, chosen, proof, watch=watch, command=command, folder=folder, seed=seed)
            arrays, config = selection.head.state()
            sample = chosen.pool.x_ND[np.concatenate([partition.train, partition.test])[:SAMPLE]]
            artifact.save(
                draft / "model",
                artifact.Manifest.of(result, head=config),
                arrays,
                sample_x=sample,
                sample_probabilities=softmax(selection.head.logits(sample) / proof.temperature),
                rebuild=head_from_state,
            )
        with watch.part("report"):
            evidence = Evidence()
            if proof.judged is not None:
                x_ND = chosen.pool.x_ND[proof.judged.index]
                evidence = gather(dataset, proof.judged, x_ND, proof.suspects, seed)
            page = fit_report(replace(result, seconds=dict(watch.seconds)), evidence)
            write_bytes(draft / "report.html", page.encode())
            save_split(
                draft / "split.json", *([dataset.ids[i] for i in part] for part in (partition.train, partition.test))
            )
        result = replace(result, seconds=dict(watch.seconds))
        write_json(draft / "result.json", to_json(result))
    return result


def _result(
    encoded: Encoded, chosen: Chosen, proof: Proof, *, watch: Stopwatch, command: str, folder: Path, seed: int
) -> FitResult:
    dataset, partition, selection = encoded.dataset, chosen.partition, chosen.selection
    assert partition.test is not None
    summary = DataSummary(
        name=dataset.name,
        source=dataset.source,
        kind=dataset.kind,
        modality=dataset.modality,
        items=len(dataset),
        train=len(partition.train),
        test=len(partition.test),
        classes=dataset.classes,
        counts=tuple(int(n) for n in np.bincount(dataset.labels[partition.train], minlength=len(dataset.classes))),
        unlabelled=partition.unlabelled,
        columns=dataset.columns,
        split=partition.how,
        sha256=dataset.sha256,
        faults=dataset.faults,
        duplicates=chosen.duplicates,
    )
    return FitResult(
        name=dataset.name,
        task="classify",
        chosen=selection.chosen,
        why=selection.why,
        metric=selection.metric,
        seed=seed,
        test=proof.test,
        strategies=selection.results,
        data=summary,
        encoder=chosen.pool.summary,
        encoders=tuple(pool.summary for pool in encoded.pools),
        calibration=proof.calibration,
        abstention=proof.abstention,
        confusion=proof.confusion,
        per_class=proof.per_class,
        suspects=proof.suspects,
        folds=selection.how,
        seconds=dict(watch.seconds),
        environment=environment(),
        command=command,
        out=str(folder),
    )


def environment() -> dict[str, str]:
    """Versions of what shapes a result, the processor and the threads."""
    packages = ("graft", "torch", "transformers", "openvino", "numpy", "scipy", "scikit-learn", "pillow")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **versions, "processor": processor(), "threads": str(threads())}


def free_folder(out: Path | None, name: str) -> Path:
    """`out`, which must not exist, or the first free of graft-out/NAME, graft-out/NAME-2, ...

    Raises UsageError where `out` exists, StorageError where nothing can be written.
    """
    base = out or Path("graft-out") / (re.sub(r"[^\w.-]+", "-", name).strip("-.")[:100] or "fit")
    check_writable(base)
    if out is not None:
        if out.exists():
            raise UsageError(
                f"--out {out} exists, and results are never overwritten. Name another folder, or remove it."
            )
        return out
    return next(
        p for n in itertools.count(1) if not (p := base if n == 1 else base.with_name(f"{base.name}-{n}")).exists()
    )


def command_line(verb: str, data: object, flags: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """The command that does the same again: flags that differ from their defaults, quoted for a shell; `--out` is left out."""
    words = ["graft", verb, str(data)]
    for name, value in flags.items():
        if name == "out" or value == defaults[name]:
            continue
        flag = "--" + name.replace("_", "-")
        for one in value if isinstance(value, (tuple, list)) else [value]:
            words += [flag] if one is True else [flag, str(one)]
    return shlex.join(words)
