"""T7: low-rank adaptation (Hu et al. 2022) beside full fine-tuning at equal steps: share trained, accuracy, merged weights, bytes on disk.

Ten classes of questions about bank cards that are easily taken for each other; MiniLM, short texts, so that it runs on two cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.lessons import Lesson, lesson, taught, tested, vectors
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
from graft.encoders.tuned import save_encoder
from graft.strategies.tuning import Outcome

# Name: the rung, its settings. Rates are the rungs' own.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "LoRA, rank 1": ("lora", {"rank": 1}),
    "LoRA, rank 8": ("lora", {"rank": 8}),
    "finetune": ("finetune", {}),
}


def drawn(setting: Setting, seed: int) -> Lesson:
    """The study's items: quick, two classes of the catalogue that comes with Graft."""
    if setting.quick:
        return lesson(
            read("data:streamcatalogue"), open_encoder("minilm"), shots=3, tested=5, seed=seed, classes=(0, 1, 2)
        )
    dataset = read("data:banking77")
    cards = [c for c, name in enumerate(dataset.classes) if name.startswith("card")]
    return lesson(dataset, open_encoder("minilm"), shots=4, tested=10, seed=seed, classes=cards)


def measure(setting: Setting) -> Numbers:
    seeds, epochs = ([0], 1) if setting.quick else ([0, 1, 2], 3)
    ways = {name: WAYS[name] for name in WAYS if name != "LoRA, rank 1" or not setting.quick}
    scores: dict[str, list[float]] = {name: [] for name in ("linear probe", *ways)}
    facts: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        here = drawn(setting, seed)
        scores["linear probe"].append(here.probe_accuracy())
        for name, (rung, given) in ways.items():
            outcome = taught(rung, {**given, "epochs": epochs, "batch": 8}, here, seed=seed)
            scores[name].append(tested(outcome, here))
            if seed == seeds[0] and (rung == "lora" or not setting.quick):
                facts[name] = kept(outcome, here)
    full = np.array(scores["finetune"])
    return {
        "data": "data:streamcatalogue" if setting.quick else "data:banking77",
        "train": len(here.train),
        "test": len(here.test),
        "classes": here.task.n_classes,
        "epochs": epochs,
        "seeds": seeds,
        "ways": {
            name: {
                "accuracy": share_over_seeds(values),
                "minus_finetune": over_seeds((np.array(values) - full).tolist()),
                "by_seed": values,
                **facts.get(name, {}),
            }
            for name, values in scores.items()
        },
    }


def kept(outcome: Outcome, here: Lesson) -> dict[str, Any]:
    """What was trained, what the encoder folder weighs, and whether the opened folder gives the network's vectors again."""
    encoder = outcome.encoder(1.0)
    assert encoder is not None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "encoder"
        save_encoder(place, encoder)
        weight = sum(path.stat().st_size for path in place.iterdir())
        some = here.test[np.arange(min(16, len(here.test)))]
        opened = vectors(open_encoder(f"dir:{place}"), some)
    unmerged = outcome.vectors(some, 1.0)
    return {
        "trained": outcome.record.trained,
        "share": outcome.record.trained / outcome.record.parameters,
        "bytes": weight,
        "merged_difference": float(np.abs(opened - unmerged).max()),
        "merged_cosine": float((opened * unmerged).sum(1).min()),
        "seconds": sum(epoch.seconds for epoch in outcome.record.epochs),
    }


def present(numbers: Numbers) -> Page:
    ways = numbers["ways"]
    lora, full = ways["LoRA, rank 8"], ways["finetune"]
    return Page(
        answer=(
            f"LoRA of rank 8 trains {100 * lora['share']:.1f} % of the weights, keeps {lora['bytes'] / 1e6:.1f} MB"
            + (f" in place of {full['bytes'] / 1e6:.0f} MB" if "bytes" in full else "")
            + f", and is {points(lora['minus_finetune'])} points beside full fine-tuning at equal steps; merged, its "
            f"vectors differ by {lora['merged_difference']:.0e} at most."
        ),
        reading=(
            "Hu et al. (2022) report LoRA within half a point of full fine-tuning on GLUE with 0.1 to 0.3 % of RoBERTa's weights (84 to 95 %, by task). "
            "Forty texts are few, for the study is sized for a two-core machine: the intervals over three seeds are wide, and a difference inside them "
            "says nothing: that is also so of the gain over the probe that both start from. What is opened from the folder runs merged, in one "
            "product a layer: the difference is that of the order of sums."
        ),
        tables=[_table(numbers)],
        figures={"accuracy_by_trained.svg": _figure(ways)},
    )


def _table(numbers: Numbers) -> Table:
    ways = numbers["ways"]
    rows = [
        (
            name,
            percent(way["accuracy"]),
            points(way["minus_finetune"]),
            *(
                (
                    f"{way['trained']:,}",
                    f"{100 * way['share']:.2f} %",
                    f"{way['bytes'] / 1e6:.2f} MB",
                    f"{way['merged_difference']:.0e}",
                )
                if "bytes" in way
                else ("", "", "", "")
            ),
        )
        for name, way in ways.items()
    ]
    return Table(
        f"{numbers['train']} items of {numbers['classes']} classes to learn from, {numbers['test']} to test on, {numbers['epochs']} epochs of "
        f"batches of 8, {len(numbers['seeds'])} seeds.",
        (
            "",
            "accuracy",
            "minus finetune (points)",
            "trained",
            "share",
            "on disk",
            "largest difference, merged",
        ),
        rows,
    )


def _figure(ways: Numbers) -> str:
    names = [name for name in ways if "bytes" in ways[name]]
    return line_chart(
        "Accuracy by numbers trained",
        Axis("numbers trained", {ways[n]["trained"]: f"{ways[n]['trained']:,}" for n in names}, log=True),
        Axis("accuracy", percent=True),
        [
            Line(
                "trained rungs",
                [(ways[n]["trained"], ways[n]["accuracy"]["value"]) for n in names],
                [ends(ways[n]["accuracy"]) for n in names],
            ),
            Line(
                "linear probe",
                [(ways[n]["trained"], ways["linear probe"]["accuracy"]["value"]) for n in names],
                dashed=True,
            ),
        ],
    )


STUDY = Study(
    name="t07_lora",
    title="T7: LoRA",
    question="What does low-rank adaptation train, reach and weigh beside full fine-tuning at equal steps, and are merged weights equal?",
    measure=measure,
    present=present,
    expected={
        "ways > LoRA, rank 8 > share": about(0.0147, 0.001),
        "ways > LoRA, rank 8 > accuracy > value": about(0.87, 0.06),
        "ways > LoRA, rank 8 > minus_finetune > value": about(0.0, 0.06),
        "ways > LoRA, rank 8 > merged_difference": (0.0, 1e-5),
        "ways > LoRA, rank 8 > bytes": about(1.34e6, 5e4),
        "ways > finetune > bytes": about(90.3e6, 5e5),
    },
    expected_quick={
        "ways > LoRA, rank 8 > merged_cosine": (0.999, 1.001),
        "ways > LoRA, rank 8 > accuracy > value": (0.6, 1.0),
        "ways > LoRA, rank 8 > share": (0.005, 0.03),
    },
)

if __name__ == "__main__":
    main(STUDY)
