"""The last steps of `fit`: judge the choice once on the test part, and publish model, report and result together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from graft import artifact
from graft.data.splits import save_split
from graft.diagnostics.assessment import Judged, calibrate, held_out_metrics, set_threshold, where_it_errs
from graft.diagnostics.evidence import gather
from graft.diagnostics.labels import suspects
from graft.encoding import encode
from graft.errors import ModelError
from graft.fitting.session import Stopwatch, environment
from graft.fitting.steps import Chosen
from graft.heads.base import softmax
from graft.planning.foretold import check
from graft.reports.build import fit_report
from graft.results import (
    Abstention,
    Calibration,
    ClassRow,
    Confusion,
    DataSummary,
    Evidence,
    FitResult,
    Interval,
    Suspect,
    to_json,
)
from graft.store.files import new_folder, write_bytes, write_json
from graft.strategies.trained import head_from_state

MOST_SUSPECTS = 40
COMPARED = 16  # items whose vectors the saved encoder must give again
CLOSE = 1e-4  # of the largest value: number formats and batch shapes move the last digits
SAMPLE = 64  # vectors on which the saved model is compared with the one in memory


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


def prove(chosen: Chosen, *, coverage: float, seed: int) -> Proof:
    """Calibrate on out-of-fold predictions, then look at the test part once; without folds and test there is nothing to say.

    Items whose class some fold could not learn are left out of calibration, threshold and suspects: there the model had no chance.
    """
    dataset, partition, selection = chosen.dataset, chosen.partition, chosen.selection
    train, test = partition.train, partition.test
    assert test is not None
    calibration = None
    folds = known = held = None
    if selection.oof_logits_NC is not None and selection.oof_known_N is not None and selection.oof_known_N.any():
        rows = np.flatnonzero(selection.oof_known_N)
        calibration = calibrate(selection.oof_logits_NC[rows], dataset.labels[train[rows]])
        p_NC = softmax(selection.oof_logits_NC / calibration.temperature)
        run = np.flatnonzero(
            selection.oof_logits_NC.any(axis=1)
        )  # a rung measured on some folds answered their items alone
        folds = Judged(train[run], dataset.labels[train[run]], p_NC[run], "folds")
        known = Judged(train[rows], dataset.labels[train[rows]], p_NC[rows], "folds")
    temperature = calibration.temperature if calibration else 1.0
    if len(test):
        p_NC = softmax(selection.head.logits(chosen.pool.x_ND[test]) / temperature)
        held = Judged(test, dataset.labels[test], p_NC, "test")
    judged = held or folds
    if judged is None:
        return Proof(None, temperature, None, None, None, None, (), ())
    counts = np.bincount(dataset.labels[train], minlength=len(dataset.classes))
    confusion, per_class = where_it_errs(judged, dataset.classes, counts)
    doubted: tuple[Suspect, ...] = ()
    if known:
        ids = [dataset.ids[i] for i in known.index]
        doubted = suspects(known.probabilities_NC, known.labels, ids, dataset.classes, limit=MOST_SUSPECTS)
    return Proof(
        judged=judged,
        temperature=temperature,
        calibration=calibration,
        abstention=set_threshold(known, coverage, judged) if known else None,
        test=held_out_metrics(held, seed) if held else None,
        confusion=confusion,
        per_class=per_class,
        suspects=doubted,
    )


def publish(chosen: Chosen, proof: Proof, *, watch: Stopwatch, command: str, folder: Path, seed: int) -> FitResult:
    """Write the folder: model (saved, reloaded, compared), split, report, and `result.json` last; all of it or nothing."""
    dataset, partition, selection = chosen.dataset, chosen.partition, chosen.selection
    assert partition.test is not None
    with new_folder(folder) as draft:
        with watch.part("refit"):
            result = _result(chosen, proof, watch=watch, command=command, folder=folder, seed=seed)
            arrays, config = selection.head.state()
            sample = chosen.pool.x_ND[np.concatenate([partition.train, partition.test])[:SAMPLE]]
            artifact.save(
                draft / "model",
                artifact.Manifest.of(result, head=config, tuned=chosen.tuned.changes.kind if chosen.tuned else ""),
                arrays,
                sample_x=sample,
                sample_answers=softmax(selection.head.logits(sample) / proof.temperature),
                rebuild=head_from_state,
                write_encoder=None if chosen.tuned is None else _writing(chosen),
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


def _result(chosen: Chosen, proof: Proof, *, watch: Stopwatch, command: str, folder: Path, seed: int) -> FitResult:
    dataset, partition, selection = chosen.dataset, chosen.partition, chosen.selection
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
    on_chosen = [r for r in selection.results if r.encoder in (chosen.pool.summary.reference, "")]
    taken = next((r for r in on_chosen if r.name == selection.chosen), None)
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
        encoders=chosen.encoders,
        calibration=proof.calibration,
        abstention=proof.abstention,
        confusion=proof.confusion,
        per_class=proof.per_class,
        suspects=proof.suspects,
        folds=selection.how,
        plan=check(chosen.expected, on_chosen, taken, proof.test),
        seconds=dict(watch.seconds),
        environment=environment(),
        command=command,
        shift=chosen.shift,
        labels=chosen.curve,
        out=str(folder),
    )


def _writing(chosen: Chosen) -> Callable[[Path], None]:
    """Writes the trained encoder's folder and reads it back: its vectors of some items must be those the head was judged on.

    Raises ModelError where they differ.
    """

    def write(folder: Path) -> None:
        from graft.encoders.tuned import open_tuned, save_encoder

        assert chosen.tuned is not None
        save_encoder(folder, chosen.tuned)
        some = np.arange(min(len(chosen.dataset), COMPARED))
        contents = [chosen.dataset.contents[i] for i in some]
        again_ND = encode(contents, open_tuned(folder, chosen.dataset.modality), remember=False).vectors
        here_ND = chosen.pool.x_ND[some]
        worst = float(np.abs(again_ND - here_ND).max() / max(float(np.abs(here_ND).max()), 1e-9))
        if not worst <= CLOSE:
            raise ModelError(
                f"The saved encoder's vectors differ from the trained one's by {worst:.2g} of the largest value "
                f"(at most {CLOSE:g} is allowed); nothing was kept."
            )

    return write
