"""T5: how a pretrained body is let loose: all at one rate, rates by depth, one group after the other; and the start that ruins small sets.

The schedules are compared on a small convolutional network that has learned MNIST and is tuned on Fashion-MNIST; the start on EfficientNet-Lite0 and
twenty pictures a class of steel defects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.lessons import Lesson, lesson, schooled, taught, tested
from studies.study import (
    Numbers,
    Page,
    Setting,
    Study,
    Table,
    about,
    ends,
    main,
    over_seeds,
    percent,
    points,
    share_over_seeds,
)

from graft.data.read import read
from graft.encoders.open import open_encoder

SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "one rate": ("finetune", {}),
    "rates by depth": ("discriminative", {"depth_decay": 1 / 2.6}),
    "group by group": ("gradual", {"depth_decay": 1.0, "unfreeze": 2.0}),
    "both": ("gradual", {"depth_decay": 1 / 2.6, "unfreeze": 2.0}),
}
STARTS = {
    "random head, batch norm trained": {"start": "random", "norm": "train"},
    "head from the probe, batch norm frozen": {"start": "probe", "norm": "frozen"},
}
HOLE, SAFE = STARTS


def measure(setting: Setting) -> Numbers:
    return {"schedules": schedules(setting), "starts": starts(setting)}


def schedules(setting: Setting) -> dict[str, Any]:
    """Curves and accuracy on the new task, and what is left of the old one, by schedule."""
    seeds, epochs = ([0], 4) if setting.quick else ([0, 1, 2], 10)
    if setting.quick:
        digits = read("data:digits")
        school = schooled(digits, shots=40, tested=20, epochs=4, classes=range(5))
        target, classes, shots, each = digits, list(range(5, 10)), 6, 20
    else:
        school = schooled(read("data:mnist"), shots=60, tested=20, epochs=8)
        target, classes, shots, each = read("data:fashion_mnist"), None, 12, 25
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEDULES}
    probe: list[float] = []
    for seed in seeds:
        here = lesson(target, school.encoder, shots=shots, tested=each, seed=seed, classes=classes)
        probe.append(here.probe_accuracy())
        for name, (rung, given) in SCHEDULES.items():
            settings = {"epochs": epochs, "rate": 3e-3, "head_rate": 3e-2, **given}
            outcome = taught(rung, settings, here, seed=seed, told=True, retain=school)
            record = outcome.record
            runs[name].append(
                {
                    "new": tested(outcome, here),
                    "old": school.remembered(outcome),
                    "old_probe": record.retained[0].after,
                    "drift": float(np.mean(list(record.epochs[-1].drift.values()))),
                    "loss": [epoch.loss for epoch in record.epochs],
                    "test_loss": [epoch.validation_loss for epoch in record.epochs],
                }
            )
    return {
        "source": "digits 0-4" if setting.quick else "mnist",
        "target": "digits 5-9" if setting.quick else "fashion_mnist",
        "train": len(here.train),
        "test": len(here.test),
        "seeds": seeds,
        "epochs": epochs,
        "probe": share_over_seeds(probe),
        "old_before": school.remembered(),
        "ways": {name: summary(found) for name, found in runs.items()},
    }


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the seeds."""
    shares = {key: share_over_seeds([run[key] for run in runs]) for key in ("new", "old", "old_probe")}
    curves = {key: np.mean([run[key] for run in runs], axis=0).tolist() for key in ("loss", "test_loss")}
    return {**shares, **curves, "drift": over_seeds([run["drift"] for run in runs])}


def starts(setting: Setting) -> dict[str, Any]:
    """Accuracy after the same training from both starts."""
    seeds, epochs, shots, each = ([0], 1, 3, 3) if setting.quick else ([0, 1], 2, 20, 10)
    dataset = read("data:digits" if setting.quick else "data:neu_surface_defect")
    classes = (0, 1, 2) if setting.quick else None
    scores: dict[str, list[float]] = {name: [] for name in ("linear probe", *STARTS)}
    for seed in seeds:
        here: Lesson = lesson(
            dataset, open_encoder("efficientnet-lite0"), shots=shots, tested=each, seed=seed, classes=classes
        )
        scores["linear probe"].append(here.probe_accuracy())
        for name, given in STARTS.items():
            outcome = taught("finetune", {"epochs": epochs, **given}, here, seed=seed)
            scores[name].append(tested(outcome, here))
    probe = np.array(scores["linear probe"])
    return {
        "data": dataset.name,
        "train": len(here.train),
        "test": len(here.test),
        "seeds": seeds,
        "epochs": epochs,
        "ways": {
            name: {
                "accuracy": share_over_seeds(values),
                "minus_probe": over_seeds((np.array(values) - probe).tolist()),
                "by_seed": values,
            }
            for name, values in scores.items()
        },
    }


def present(numbers: Numbers) -> Page:
    found, hole = numbers["schedules"], numbers["starts"]
    ways = found["ways"]
    one, both = ways["one rate"], ways["both"]
    return Page(
        answer=(
            f"One rate reaches {percent(one['new'])} and leaves {percent(one['old'])} of the old task; by depth and one group after the other "
            f"{percent(both['new'])} and {percent(both['old'])}. From a random head with batch norm trained {hole['data']} falls to "
            f"{percent(hole['ways'][HOLE]['accuracy'])}; from the probe with batch norm frozen it has {percent(hole['ways'][SAFE]['accuracy'])}."
        ),
        reading=(
            "Howard & Ruder (2018) and fastai unfreeze from the top, at rates that shrink by 2.6 a layer: what is low in the network, and common to both "
            "tasks, moves least, so more of the old task is left. The drifts say the same; three seeds do not tell the accuracies apart. "
            "The hole: in a few steps a random head sends large gradients through the body while batches of sixteen shift the statistics of its norms; "
            "0.56 was measured so on NEU with twenty a class and five epochs in another program, where the same training from the probe had 0.98 and "
            "the probe alone 0.97. Graft's rungs start from the probe with the norms frozen unless told otherwise. Sizes are small, for a two-core machine."
        ),
        tables=_tables(found, hole),
        figures=_figures(ways),
    )


def _tables(found: Numbers, hole: Numbers) -> list[Table]:
    return [
        Table(
            f"{found['train']} items of {found['target']} to learn from, {found['test']} to test on, {found['epochs']} epochs, "
            f"{len(found['seeds'])} seeds; the body has learned {found['source']} ({100 * found['old_before']:.1f} % before). A probe on the frozen body "
            f"has {percent(found['probe'])}.",
            (
                "schedule",
                "new task",
                "old task, head of that time",
                "old task, a new probe",
                "mean relative drift",
                "test loss at the end",
            ),
            [
                (
                    name,
                    percent(way["new"]),
                    percent(way["old"]),
                    percent(way["old_probe"]),
                    f"{way['drift']['value']:.3f}",
                    f"{way['test_loss'][-1]:.2f}",
                )
                for name, way in found["ways"].items()
            ],
        ),
        Table(
            f"EfficientNet-Lite0 on {hole['data']}, {hole['train']} pictures to learn from, {hole['test']} to test on, {hole['epochs']} epochs, "
            f"{len(hole['seeds'])} seeds.",
            ("start", "accuracy", "minus probe (points)"),
            [(name, percent(way["accuracy"]), points(way["minus_probe"])) for name, way in hole["ways"].items()],
        ),
    ]


def _figures(ways: Numbers) -> dict[str, str]:
    lines = [
        Line(f"{name}{words}", [(float(n + 1), value) for n, value in enumerate(way[key])], dashed=key == "loss")
        for name, way in ways.items()
        for key, words in (("loss", ": train"), ("test_loss", ": test"))
    ]
    return {
        "loss_by_epoch.svg": line_chart("Loss by epoch (mean of the seeds)", Axis("epoch"), Axis("loss"), lines),
        "new_and_old.svg": line_chart(
            "New task and what is left of the old one",
            Axis("schedule", {float(n): name for n, name in enumerate(ways)}),
            Axis("accuracy", percent=True),
            [
                Line(
                    words,
                    [(float(n), way[key]["value"]) for n, way in enumerate(ways.values())],
                    [ends(way[key]) for way in ways.values()],
                )
                for words, key in (
                    ("new task", "new"),
                    ("old task, old head", "old"),
                    ("old task, new probe", "old_probe"),
                )
            ],
        ),
    }


STUDY = Study(
    name="t05_unfreezing",
    title="T5: unfreezing",
    question="All weights at one rate, rates by depth, or one group after the other: what does each reach, and how much of the old task does it keep?",
    measure=measure,
    present=present,
    expected={
        "schedules > ways > one rate > new > value": about(0.72, 0.12),
        "schedules > ways > both > new > value": about(0.72, 0.12),
        "starts > ways > linear probe > accuracy > value": about(0.96, 0.05),
        f"starts > ways > {SAFE} > accuracy > value": about(0.96, 0.05),
        f"starts > ways > {HOLE} > accuracy > value": (0.1, 0.9),
    },
    expected_quick={
        "schedules > ways > one rate > new > value": (0.4, 1.0),
        "schedules > ways > both > new > value": (0.4, 1.0),
        f"starts > ways > {SAFE} > accuracy > value": (0.3, 1.0),
    },
)

if __name__ == "__main__":
    main(STUDY)
