"""The last step of a target's fit: model, report, split and result written together, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft import artifact
from graft.data.dataset import Dataset
from graft.data.partition import Partition, narrow
from graft.data.splits import save_split
from graft.results import DataSummary, EncoderSummary, to_json
from graft.store.files import new_folder, write_bytes, write_json
from graft.targets.card import target_card
from graft.targets.contest import Outcome, contest
from graft.targets.kinds import KINDS, head_from_state
from graft.targets.proof import Proof, prove, worth_seeing
from graft.targets.report import target_report
from graft.targets.result import Seen, TargetResult
from graft.targets.steps import Ready, prepare

Timed = Callable[[str], AbstractContextManager[None]]

SAMPLE = 64  # vectors on which the saved model is compared with the one in memory


@dataclass(frozen=True)
class Wanted:
    """What `fit` was asked for, as far as it bears on a target: encoders (none: the bundled one), the part held out, and how sure to be."""

    encoders: tuple[str, ...]
    test: float | None
    folds: int | None
    group: str
    strict: bool
    coverage: float
    seed: int


def fit_target(
    dataset: Dataset,
    partition: Partition,
    wanted: Wanted,
    *,
    timed: Timed,
    seconds: Mapping[str, float],
    environment: Mapping[str, str],
    command: str,
    folder: Path,
) -> TargetResult:
    """Choose how to answer on paired folds, refit, judge once on the held-out part, and write `folder`.

    `timed(part)` is a context that adds to the `seconds` of a part, as a stopwatch has it. Raises DataError for data that cannot be
    learned from, ModelError when the saved model answers differently, StorageError when `folder` exists or cannot be written.
    """
    used, partition = narrow(dataset, partition)
    with timed("encode"):
        ready = prepare(
            used,
            partition,
            wanted.encoders,
            group=wanted.group,
            test=wanted.test,
            strict=wanted.strict,
            seed=wanted.seed,
        )
    train, _ = ready.parts
    kind = KINDS[ready.target.task]
    with timed("select"):
        outcome = contest(
            [(summary.reference, x_ND[train]) for summary, x_ND in ready.pools],
            ready.target.values[train],
            ready.dataset.labels[train],
            ready.groups[train],
            kind,
            folds=wanted.folds,
            seed=wanted.seed,
        )
    pool = next(pool for pool in ready.pools if pool[0].reference == outcome.trial.encoder)
    with timed("refit"):
        proof = prove(ready, outcome, pool[1], coverage=wanted.coverage, seed=wanted.seed)
    result = replace(
        _result(ready, outcome, proof, pool[0], wanted.seed), environment=environment, command=command, out=str(folder)
    )
    with timed("report"):
        seen = worth_seeing(ready, proof, wanted.seed)
    result = replace(result, seconds=dict(seconds))
    _write(ready, outcome, proof, result, seen, pool[1])
    return result


def _result(ready: Ready, outcome: Outcome, proof: Proof, encoder: EncoderSummary, seed: int) -> TargetResult:
    kind = KINDS[ready.target.task]
    return TargetResult(
        name=ready.dataset.name,
        task=kind.task,
        chosen=outcome.trial.contender.name,
        why=outcome.why,
        metric=kind.measure,
        seed=seed,
        target=_described(ready),
        test=proof.scores if proof.on == "test" else None,
        strategies=outcome.results,
        data=_data(ready),
        encoder=encoder,
        encoders=tuple(summary for summary, _ in ready.pools),
        reach=proof.reach,
        labels=proof.labels,
        confusion=proof.confusion,
        folds=outcome.how,
        seconds={},
        environment={},
        command="",
    )


def _described(ready: Ready) -> dict[str, float]:
    """Least, mean, spread and greatest of the training items' values, or the share of each level or label."""
    train, _ = ready.parts
    values_MK = ready.target.values[train]
    if ready.target.names:
        return {name: float(share) for name, share in zip(ready.target.names, values_MK.mean(axis=0), strict=True)}
    return {
        "least": float(values_MK.min()),
        "mean": float(values_MK.mean()),
        "standard deviation": float(values_MK.std()),
        "greatest": float(values_MK.max()),
    }


def _data(ready: Ready) -> DataSummary:
    dataset, (train, test) = ready.dataset, ready.parts
    counts = ready.target.values[train].sum(axis=0) if ready.target.names else ()
    return DataSummary(
        name=dataset.name,
        source=dataset.source,
        kind=dataset.kind,
        modality=dataset.modality,
        items=len(dataset),
        train=len(train),
        test=len(test),
        classes=ready.target.names,
        counts=tuple(int(n) for n in counts),
        unlabelled=ready.partition.unlabelled,
        columns=dataset.columns,
        split=ready.partition.how,
        sha256=dataset.sha256,
        faults=dataset.faults,
        duplicates=ready.duplicates,
    )


def _write(
    ready: Ready, outcome: Outcome, proof: Proof, result: TargetResult, seen: Seen, x_ND: NDArray[np.float32]
) -> None:
    train, test = ready.parts
    arrays, config = outcome.head.state()
    sample = x_ND[np.concatenate([train, test])[:SAMPLE]]
    manifest = _manifest(result, config, proof)
    with new_folder(Path(result.out)) as draft:
        artifact.save(
            draft / "model",
            manifest,
            arrays,
            sample_x=sample,
            sample_answers=outcome.head.predict(sample),
            rebuild=head_from_state,
            card=target_card(manifest),
        )
        page = target_report(result, seen, proof.scores)
        write_bytes(draft / "report.html", page.encode())
        save_split(draft / "split.json", *([ready.dataset.ids[i] for i in part] for part in (train, test)))
        write_json(draft / "result.json", to_json(result))


def _manifest(result: TargetResult, config: Mapping[str, object], proof: Proof) -> artifact.Manifest:
    data = result.data
    return artifact.Manifest(
        graft=metadata.version("graft"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        task=result.task,
        name=result.name,
        classes=data.classes,
        encoder=result.encoder,
        strategy=result.chosen,
        settings=result.chosen_result.settings,
        head=config,
        answers={
            "coverage": proof.reach.coverage if proof.reach else None,
            "reach": proof.reach.value if proof.reach else None,
            "spread": asdict(proof.reach.spread) if proof.reach and proof.reach.spread else None,
            "thresholds": [float(t) for t in proof.thresholds_L],
        },
        metrics=proof.scores,
        measured_on=proof.on,
        data=artifact.Origin(
            name=data.name,
            items=data.items,
            train=data.train,
            test=data.test,
            counts=data.counts,
            columns=data.columns,
            sha256=data.sha256,
        ),
        versions=dict(result.environment),
    )
