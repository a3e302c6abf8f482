"""What is asked of labelled items: how many more labels a target takes, and which labels are wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.read import check_trainable, read
from graft.diagnostics.corrections import checked, read_corrections, write_corrected
from graft.diagnostics.curve import Drawn, Ground, learning_curve
from graft.diagnostics.doubts import examine, to_judge
from graft.errors import UsageError, unknown
from graft.fitting.labelled import Labelled, check_group, read_labelled
from graft.fitting.session import environment
from graft.label_curve import LabelCurve
from graft.reports.review import CorrectedTable, LabelsResult, review_page
from graft.results import to_json
from graft.selection.select import draw_plan, select
from graft.store.files import new_folder, write_bytes, write_json
from graft.strategies.frozen import STRATEGIES

MOST_REPEATS, MOST_SHOWN = 20, 1000
DRAWABLE = tuple(name for name in STRATEGIES if name != "zero-shot")


def check_curve(targets: Sequence[str | float], strategy: str | None, repeats: int) -> tuple[float, ...]:
    """The targets as accuracies. Raises UsageError for all that is asked for and cannot be."""
    problems, accuracies = [], []
    for target in targets:
        try:
            accuracies.append(float(target))
        except ValueError:
            accuracies.append(math.nan)
        if not 0 < accuracies[-1] < 1:
            problems.append(f"--target {target}: an accuracy lies between 0 and 1, such as 0.9.")
    if strategy is not None and strategy not in DRAWABLE:
        problems.append(unknown("--strategy", strategy, DRAWABLE))
    if not 1 <= repeats <= MOST_REPEATS:
        problems.append(f"--repeats {repeats}: it lies between 1 and {MOST_REPEATS}.")
    if problems:
        raise UsageError(" ".join(problems))
    return tuple(accuracies)


def draw_curve(
    labelled: Labelled, *, targets: Sequence[float], strategy: str | None, repeats: int, seed: int
) -> LabelCurve:
    """The learning curve of the strategy that the ladder chooses on the folds, or of the one named, at the settings the folds choose."""
    y_N, groups = labelled.dataset.labels, labelled.groups
    wanted = None if strategy is None else [strategy]
    chosen = select([labelled.candidate], y_N, groups=groups, strategies=wanted, seed=seed)
    per_round = len(chosen.folds) // max(1, chosen.repeats)
    plan = draw_plan(y_N, groups, n_folds=per_round, repeats=repeats, seed=seed) if per_round else None
    ground = Ground(labelled.x_ND, y_N, labelled.task, labelled.encoder.reference)
    drawn = Drawn((), 1) if plan is None else Drawn(plan.folds, repeats)
    return learning_curve(ground, drawn, chosen=chosen.chosen, settings=chosen.settings, targets=targets, seed=seed)


def doubt(
    data: str | Path, columns: Mapping[str, Any], *, most: int, seed: int, command: str, folder: Path
) -> LabelsResult:
    """Judge every label, and write the page and the result."""
    check_group(columns["group"], seed)
    if not 1 <= most <= MOST_SHOWN:
        raise UsageError(f"--most {most}: the page shows 1 to {MOST_SHOWN} suspects.")
    started = time.perf_counter()
    labelled = read_labelled(data, test_part=True, **columns)
    read_at = time.perf_counter()
    dataset = labelled.dataset
    selection = select([labelled.candidate], dataset.labels, groups=labelled.groups, strategies=DRAWABLE, seed=seed)
    assert selection.oof_logits_NC is not None and selection.oof_known_N is not None, "folds can be drawn"
    found = examine(selection.oof_logits_NC, selection.oof_known_N, dataset, most=most)
    result = LabelsResult(
        name=dataset.name,
        source=str(data),
        modality=dataset.modality,
        items=len(dataset),
        asked=found.asked,
        classes=dataset.classes,
        strategy=selection.chosen,
        encoder=labelled.encoder.reference,
        right=found.right,
        chance=found.chance,
        doubted=found.doubted,
        suspects=found.suspects,
        pairs=found.pairs,
        lone=found.lone,
        reason=found.reason,
        faults=dataset.faults,
        seed=seed,
        environment=environment(),
        command=command,
        out=str(folder),
    )
    doubted = to_judge(found.suspects, dataset, np.asarray(labelled.x_ND), labelled.groups)
    seconds = {"read and encode": read_at - started, "judge": time.perf_counter() - read_at}
    result = replace(result, seconds=seconds)
    with new_folder(folder) as draft:
        write_bytes(draft / "review.html", review_page(result, doubted).encode())
        write_json(draft / "result.json", to_json(result))
    return result


def correct(
    data: str | Path, corrections: Path, folder: Path, *, label: str | None, content: str | None
) -> CorrectedTable:
    """Write a copy of the data with the corrected labels, after checking every one of them against the data as they are now."""
    dataset = read(data, label=label, content=content)
    check_trainable(dataset)
    return write_corrected(dataset, checked(read_corrections(corrections), dataset), folder)
