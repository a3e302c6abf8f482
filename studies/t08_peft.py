"""T8: parameter-efficient ways beside full fine-tuning: accuracy, numbers trained, seconds, memory, with few and more examples.

The same ten classes of card questions as T7; MiniLM. Each way has its rung's own rates and all have the same number of steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.lessons import Lesson, lesson, taught, tested
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

from graft.data.read import read
from graft.encoders.open import open_encoder

WAYS = ("finetune", "lora", "adapters", "prompt", "prefix", "lora+adapters")
QUICK = ("finetune", "adapters", "prefix")
# Examples a class: seeds, epochs. A two-core machine sets these sizes.
SIZES = {10: ((0, 1), 2), 40: ((0,), 1)}
QUICK_SIZES = {3: ((0,), 1)}


def drawn(setting: Setting, shots: int, seed: int) -> Lesson:
    if setting.quick:
        return lesson(
            read("data:streamcatalogue"), open_encoder("minilm"), shots=shots, tested=5, seed=seed, classes=(0, 1, 2)
        )
    dataset = read("data:banking77")
    cards = [c for c, name in enumerate(dataset.classes) if name.startswith("card")]
    return lesson(dataset, open_encoder("minilm"), shots=shots, tested=10, seed=seed, classes=cards)


def measure(setting: Setting) -> Numbers:
    sizes: dict[str, Any] = {}
    for shots, (seeds, epochs) in (QUICK_SIZES if setting.quick else SIZES).items():
        probe: list[float] = []
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in (QUICK if setting.quick else WAYS)}
        for seed in seeds:
            here = drawn(setting, shots, seed)
            probe.append(here.probe_accuracy())
            for way, found in runs.items():
                found.append(one(way, here, epochs, seed))
        sizes[str(len(here.train))] = {
            "epochs": epochs,
            "seeds": list(seeds),
            "probe": share_over_seeds(probe),
            "ways": {way: summary(found, probe) for way, found in runs.items()},
        }
    return {
        "data": "data:streamcatalogue" if setting.quick else "data:banking77",
        "classes": here.task.n_classes,
        "test": len(here.test),
        "sizes": sizes,
    }


def one(way: str, here: Lesson, epochs: int, seed: int) -> dict[str, float]:
    """A training and its test."""
    outcome = taught(way, {"epochs": epochs, "batch": 8}, here, seed=seed)
    record = outcome.record
    return {
        "accuracy": tested(outcome, here),
        "trained": record.trained,
        "share": record.trained / record.parameters,
        "seconds": sum(epoch.seconds for epoch in record.epochs),
        "memory_mb": record.memory_mb,
    }


def summary(runs: list[dict[str, float]], probe: list[float]) -> dict[str, Any]:
    """Over the seeds; seconds are the least, for the machine is shared."""
    scores = [run["accuracy"] for run in runs]
    return {
        "accuracy": share_over_seeds(scores),
        "minus_probe": over_seeds((np.array(scores) - np.array(probe)).tolist()),
        "by_seed": scores,
        "trained": runs[0]["trained"],
        "share": runs[0]["share"],
        "seconds": min(run["seconds"] for run in runs),
        "memory_mb": max(run["memory_mb"] for run in runs),
    }


def present(numbers: Numbers) -> Page:
    sizes = numbers["sizes"]
    last_size = list(sizes)[-1]
    first, last = next(iter(sizes.values())), sizes[last_size]
    best = max(last["ways"], key=lambda way: last["ways"][way]["accuracy"]["value"])
    return Page(
        answer=(
            f"With {last_size} examples {best} is best ({percent(last['ways'][best]['accuracy'])}; full fine-tuning "
            f"{percent(last['ways']['finetune']['accuracy'])}, probe {percent(last['probe'])}); with {next(iter(sizes))} "
            f"the ways lie within {_spread(first):.1f} points of each other."
        ),
        reading=(
            "Published comparisons (Houlsby et al. 2019: adapters within 0.4 points of fine-tuning on GLUE with 3.6 % of the weights; Li & Liang 2021: "
            "prefixes with 0.1 %; Lester et al. 2021: prompts reach fine-tuning only in models of billions of weights) are at full sets and large models. "
            "Here the sizes are small, for a two-core machine, and one class of every ten test items moves a score by a point: read the orders of size. "
            "What few numbers save is the file, the optimiser's memory and two fifths of the time here, though the way back runs through nearly all layers "
            "whatever is trained. Memory is the process's peak, which holds the libraries and what came before: it never falls from one row to the next, "
            "so only the first row of each table says what a way takes. Seconds are wall-clock on a shared machine."
        ),
        tables=[_table(size, found) for size, found in sizes.items()],
        figures={"accuracy_by_way.svg": _figure(sizes)},
    )


def _table(size: str, found: Numbers) -> Table:
    return Table(
        f"**{size} examples**, {found['epochs']} epochs of batches of 8, {len(found['seeds'])} seed{'s' * (len(found['seeds']) > 1)}; "
        f"linear probe: {percent(found['probe'])}.",
        (
            "way",
            "accuracy",
            "minus probe (points)",
            "numbers trained",
            "share",
            "seconds",
            "peak memory of the process",
        ),
        [
            (
                name,
                percent(way["accuracy"]),
                points(way["minus_probe"]),
                f"{way['trained']:,.0f}",
                f"{100 * way['share']:.2f} %",
                f"{way['seconds']:.1f}",
                f"{way['memory_mb']:.0f} MB",
            )
            for name, way in found["ways"].items()
        ],
    )


def _figure(sizes: Numbers) -> str:
    ways = list(next(iter(sizes.values()))["ways"])
    ticks = {float(n): way for n, way in enumerate(ways)}
    lines = [
        Line(f"{size} examples", [(float(n), found["ways"][way]["accuracy"]["value"]) for n, way in enumerate(ways)])
        for size, found in sizes.items()
    ]
    lines += [
        Line(f"probe, {size} examples", [(float(n), found["probe"]["value"]) for n in range(len(ways))], dashed=True)
        for size, found in sizes.items()
    ]
    return line_chart("Accuracy by way of tuning", Axis("way", ticks), Axis("accuracy", percent=True), lines)


def _spread(found: dict[str, Any]) -> float:
    scores = [way["accuracy"]["value"] for way in found["ways"].values()]
    return float(100 * (max(scores) - min(scores)))


STUDY = Study(
    name="t08_peft",
    title="T8: parameter-efficient tuning",
    question="Full fine-tuning, LoRA, adapters, prompts, prefixes, LoRA with adapters: what does each reach, train and take, at 100 and 400 examples?",
    measure=measure,
    present=present,
    expected={
        "sizes > 100 > probe > value": about(0.85, 0.08),
        "sizes > 100 > ways > lora > accuracy > value": about(0.87, 0.08),
        "sizes > 400 > ways > finetune > accuracy > value": about(0.9, 0.08),
        "sizes > 400 > ways > lora > accuracy > value": about(0.9, 0.08),
        "sizes > 400 > ways > prompt > share": (0.0001, 0.01),
    },
    expected_quick={
        "sizes > 9 > ways > finetune > accuracy > value": (0.6, 1.0),
        "sizes > 9 > ways > adapters > accuracy > value": (0.6, 1.0),
        "sizes > 9 > ways > prefix > share": (0.0001, 0.02),
    },
)

if __name__ == "__main__":
    main(STUDY)
