"""T2: a linear probe on the last layer, on inner layers, and on raw pixels.

`graft.fit` with `--encoder layer:...` and one split file a seed, so that every layer learns from and is tested on the same pictures.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from studies.chart import Axis, Line, line_chart
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

import graft
from graft.data.dataset import Dataset
from graft.data.read import read
from graft.data.splits import take_shots

BLOCKS = (0, 2, 4, 7, 10, 13, 15)  # of sixteen; the last ones of each change in width
LAST = "efficientnet-lite0"


def layers(setting: Setting) -> dict[str, str]:
    """Name -> encoder reference, from the pixels up."""
    if setting.quick:
        return {"pixels": "pixels:16", "block 2": f"layer:{LAST}:_blocks.2", "last layer": LAST}
    inner = {f"block {n}": f"layer:{LAST}:_blocks.{n}" for n in BLOCKS}
    return {"pixels": "pixels:32", **inner, "last layer": LAST}


def draw_split(dataset: Dataset, setting: Setting, seed: int, path: Path) -> None:
    """Training items drawn by the seed; the test items are the same for all seeds."""
    official = dataset.test_mask if dataset.test_mask is not None else np.arange(len(dataset)) % 3 == 0
    shots, tested = (10, 5) if setting.quick else (200, 200)
    train = np.flatnonzero(~official)[take_shots(dataset.labels[~official], shots, seed)]
    test = [np.flatnonzero(official & (dataset.labels == c))[:tested] for c in range(len(dataset.classes))]
    ids = {"train": [dataset.ids[i] for i in train], "test": [dataset.ids[i] for i in np.concatenate(test)]}
    path.write_text(json.dumps(ids), encoding="utf-8")


def measure(setting: Setting) -> Numbers:
    data, seeds = ("data:digits", [0]) if setting.quick else ("data:cifar10", [0, 1, 2])
    dataset = read(data)
    scores: dict[str, list[float]] = {name: [] for name in layers(setting)}
    dims: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            split = Path(folder) / f"split-{seed}.json"
            draw_split(dataset, setting, seed, split)
            for name, reference in layers(setting).items():
                out = Path(folder) / f"{name} {seed}"
                result = graft.fit(
                    data,
                    encoder=[reference],
                    strategies="linear-probe",
                    split=split,
                    group="none",
                    folds=3,
                    seed=seed,
                    out=out,
                )
                assert result.test is not None
                scores[name].append(result.test["accuracy"].value)
                dims[name] = result.encoder.dim
    last = np.array(scores["last layer"])
    rows = {
        name: {
            "reference": layers(setting)[name],
            "dims": dims[name],
            "accuracy": share_over_seeds(values),
            "last_minus_this": over_seeds(last - np.array(values)),
            "by_seed": values,
        }
        for name, values in scores.items()
    }
    return {"data": data, "train": result.data.train, "test": result.data.test, "seeds": seeds, "layers": rows}


def present(numbers: Numbers) -> Page:
    rows = numbers["layers"]
    inner = {name: row for name, row in rows.items() if name.startswith("block")}
    best = max(inner, key=lambda name: inner[name]["accuracy"]["value"])
    first = next(iter(inner))
    table = Table(
        f"{numbers['data']}, {numbers['train']} training and {numbers['test']} test pictures, {len(numbers['seeds'])} seeds.",
        ("features", "dims", "test accuracy", "last layer better by (points, paired)"),
        [
            (name, str(row["dims"]), percent(row["accuracy"]), points(row["last_minus_this"]))
            for name, row in rows.items()
        ],
    )
    accuracy = [(float(i), row["accuracy"]["value"]) for i, row in enumerate(rows.values())]
    figure = line_chart(
        "Linear probe by layer",
        Axis(
            "features taken from",
            {float(i): name.removeprefix("block ").removesuffix(" layer") for i, name in enumerate(rows)},
        ),
        Axis("test accuracy", percent=True),
        [Line("linear probe", accuracy, [ends(row["accuracy"]) for row in rows.values()])],
    )
    last, pixels = (rows[name]["accuracy"] for name in ("last layer", "pixels"))
    return Page(
        answer=f"Last layer {percent(last)}, best inner layer ({best}) {percent(inner[best]['accuracy'])}, pixels {percent(pixels)}.",
        reading=(
            f"Features of the last layer beat those of the best block before it by {points(inner[best]['last_minus_this'])} points and raw "
            f"pixels by {points(rows['pixels']['last_minus_this'])}. The mean over space of the first block ({inner[first]['dims']} numbers) "
            f"reaches {percent(inner[first]['accuracy'])}, so what is read off depends on the width of a layer as well as on its depth: "
            "the early blocks have few channels, and where in the picture something is gets lost in their mean."
        ),
        tables=[table],
        figures={"accuracy_by_layer.svg": figure},
    )


STUDY = Study(
    name="t02_layer_features",
    title="T2: features from any layer",
    question="How much does a linear probe get from the last layer, from inner layers, and from raw pixels?",
    measure=measure,
    present=present,
    expected={
        "layers > pixels > accuracy > value": about(0.361, 0.03),
        "layers > block 4 > accuracy > value": about(0.542, 0.04),
        "layers > block 15 > accuracy > value": about(0.864, 0.02),
        "layers > last layer > accuracy > value": about(0.869, 0.02),
    },
    expected_quick={
        "layers > pixels > accuracy > value": about(0.76, 0.1),
        "layers > last layer > accuracy > value": about(0.76, 0.1),
    },
)

if __name__ == "__main__":
    main(STUDY)
