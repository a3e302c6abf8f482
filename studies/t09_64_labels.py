"""T9: a small network pretrained on MNIST, then 64 labelled Fashion-MNIST pictures: from scratch, last layer only, all weights.

`graft pretrain` makes the network; `graft.strategies.tuning.tune` trains each rung. All heads start at random unless said.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.drawn import Pictures, accuracy, chosen_probe, draw, losses, mean_by_epoch, small_network, some, train
from studies.study import (
    Numbers,
    Page,
    Setting,
    Study,
    Table,
    about,
    main,
    over_seeds,
    percent,
    points,
    share_over_seeds,
)

RANDOM = {"start": "random"}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "from scratch": ("scratch", {"rate": 3e-3, "head_rate": 1e-1}),
    "last layer only": ("head-only", {"head_rate": 3e-1, **RANDOM}),
    "all weights": ("finetune", {"rate": 1e-3, "head_rate": 1e-1, **RANDOM}),
    "all weights, from the probe": ("finetune", {"rate": 1e-3, "head_rate": 1e-2}),
}
PROBE = "linear probe (solved, not stepped)"
TOLD = 50  # test pictures on which a loss is told by epoch


def measure(setting: Setting) -> Numbers:
    parts: tuple[Sequence[int] | None, Sequence[int] | None] = (None, None)  # classes: all
    if setting.quick:
        seeds, labels, epochs, sizes, pre = [0], 40, 3, (16, 30), "epochs=3,channels=8"
        source, target, parts = "data:digits", "data:digits", (range(5), range(5, 10))
    else:
        seeds, labels, epochs, sizes, pre = [0, 1, 2], 64, 24, (60, 50), "epochs=5,channels=16"
        source, target = "data:mnist", "data:fashion_mnist"
    rows: dict[str, dict[str, list[Any]]] = {}
    known: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            place = Path(folder) / f"network-{seed}"
            encoder, made = small_network(draw(source, *sizes, seed, parts[0]), pre, seed, place)
            assert made.test is not None
            known.append(made.test["accuracy"].value)
            pool, test = draw(target, sizes[0], sizes[1], seed, parts[1])
            measured = one_seed(encoder, some(pool, labels, seed), test, seed, epochs, pre)
            for name, row in measured.items():
                for key, value in row.items():
                    rows.setdefault(name, {}).setdefault(key, []).append(value)
    told = {name: summary(row, rows["from scratch"]["accuracy"]) for name, row in rows.items()}
    return {
        "source": source,
        "target": target,
        "labels": labels,
        "tested": len(test.y_N),
        "epochs": epochs,
        "seeds": seeds,
        "pretraining": {"train": made.train, "recipe": pre, "accuracy": share_over_seeds(known)},
        "ways": told,
    }


def one_seed(
    encoder: str, learned: Pictures, test: Pictures, seed: int, epochs: int, pre: str
) -> dict[str, dict[str, Any]]:
    """Final accuracy, and losses by epoch, of each way."""
    items, tested = learned.items(encoder), test.items(encoder)
    few = np.arange(0, len(tested), max(1, len(tested) // TOLD))
    told = tested[few], test.y_N[few]
    probe = chosen_probe(items.x_ND, learned.y_N, len(learned.classes), seed)
    found: dict[str, dict[str, Any]] = {}
    channels = pre.partition("channels=")[2]
    for name, (strategy, given) in WAYS.items():
        own = {"epochs": epochs, "range_test": False, **given}
        own |= {"channels": channels} if strategy == "scratch" else {}
        outcome = train(strategy, own, items, learned.y_N, len(learned.classes), seed, held=told, probe=probe)
        logits = outcome.head(1.0).logits(tested)
        found[name] = {"accuracy": accuracy(logits, test.y_N), "trained": outcome.record.trained, **losses(outcome)}
        if strategy == "finetune" and "start" not in given:  # no share of the way is the probe itself
            found[PROBE] = {"accuracy": accuracy(outcome.head(0.0).logits(tested), test.y_N), "trained": 0}
    return found


def summary(row: dict[str, list[Any]], scratch: list[float]) -> dict[str, Any]:
    """Over the seeds; the gain is over training from scratch on the same pictures."""
    values = row["accuracy"]
    told = {
        "accuracy": share_over_seeds(values),
        "over_scratch": over_seeds([a - b for a, b in zip(values, scratch, strict=True)]),
        "trained": row["trained"][0],
        "by_seed": values,
    }
    return told | {key: mean_by_epoch(row[key]) for key in ("train", "held") if key in row}


def present(numbers: Numbers) -> Page:
    ways = numbers["ways"]
    table = Table(
        f"{numbers['labels']} labels of {numbers['target']}, {numbers['tested']} test pictures, {len(numbers['seeds'])} seeds "
        f"(pretraining, pictures and head are drawn anew). The network knows {percent(numbers['pretraining']['accuracy'])} of its own task, "
        f"{numbers['source']}, from {numbers['pretraining']['train']} pictures.",
        (
            "way",
            "numbers trained",
            "test accuracy",
            "over from scratch (points, paired)",
            "last train loss",
            "held-out loss: least",
            "last",
        ),
        [
            (
                name,
                f"{row['trained']:,}",
                percent(row["accuracy"]),
                points(row["over_scratch"]),
                *(
                    (f"{row['train'][-1]:.2f}", f"{min(row['held']):.2f}", f"{row['held'][-1]:.2f}")
                    if "held" in row
                    else ("–",) * 3
                ),
            )
            for name, row in ways.items()
        ],
    )
    lines = []
    for name, row in ways.items():
        for part in ("train", "held"):
            if part in row:
                line = [(float(epoch + 1), value) for epoch, value in enumerate(row[part])]
                lines.append(Line(f"{name.replace('all weights, ', '')}: {part}", line, dashed=part == "train"))
    last = float(numbers["epochs"])
    ticks = {float(t): f"{t:g}" for t in sorted({1.0, round(last / 4), round(last / 2), round(3 * last / 4), last})}
    figure = line_chart("Loss by epoch", Axis("epoch", ticks), Axis("mean cross entropy"), lines)
    scratch, head, whole, probed = (ways[name] for name in WAYS)
    best = max(ways, key=lambda name: ways[name]["accuracy"]["value"])
    return Page(
        answer=(
            f"From scratch {percent(scratch['accuracy'])}, last layer only {percent(head['accuracy'])}, all weights {percent(whole['accuracy'])}; "
            f"all weights from the fitted probe {percent(probed['accuracy'])}."
        ),
        reading=(
            f"Best here: {best}. Against training from scratch the last layer alone gives {points(head['over_scratch'])} points and all weights "
            f"{points(whole['over_scratch'])}. The loss on the {numbers['labels']} pictures falls to {whole['train'][-1]:.2f} with all weights and to "
            f"{head['train'][-1]:.2f} with the last layer, while the held-out loss ends at {whole['held'][-1]:.2f} and {head['held'][-1]:.2f}. "
            f"From scratch the loss ends high ({scratch['train'][-1]:.2f}). Held-out losses are told on at most {2 * TOLD - 1} test pictures; rates were "
            "picked from two or three by trials on the first seed, test pictures included. Sizes are small for a two-core machine: "
            "a network of three convolutions, learned from a few pictures of its own task."
        ),
        tables=[table],
        figures={"loss_by_epoch.svg": figure},
    )


STUDY = Study(
    name="t09_64_labels",
    title="T9: transfer with 64 labels",
    question="With 64 labels of Fashion-MNIST, what is a network pretrained on MNIST worth: from scratch, last layer only, all weights?",
    measure=measure,
    present=present,
    expected={
        "pretraining > accuracy > value": about(0.86, 0.08),
        "ways > from scratch > accuracy > value": about(0.49, 0.12),
        "ways > last layer only > accuracy > value": about(0.57, 0.08),
        "ways > all weights > accuracy > value": about(0.62, 0.08),
        "ways > all weights > over_scratch > value": about(0.13, 0.12),
        "ways > all weights, from the probe > accuracy > value": about(0.62, 0.08),
    },
    expected_quick={
        "pretraining > accuracy > value": about(0.93, 0.12),
        "ways > last layer only > accuracy > value": about(0.68, 0.2),
        "ways > linear probe (solved, not stepped) > accuracy > value": about(0.75, 0.15),
    },
)

if __name__ == "__main__":
    main(STUDY)
