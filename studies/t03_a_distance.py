"""T3: proxy A-distance between sets, on pixels and on features, and what it predicts for a probe beside fine-tuning.

MNIST against another half of itself, against MNIST with noise, and against Fashion-MNIST. A small network learns MNIST; then each target is learned from few
labels by a probe on its frozen features and by fine-tuning all weights. Legend: N items, D dims.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from studies.chart import Axis, Line, line_chart
from studies.lessons import Lesson, lesson, schooled, taught, tested
from studies.study import (
    Numbers,
    Page,
    Setting,
    Study,
    Table,
    ends,
    main,
    over_seeds,
    percent,
    points,
    share_over_seeds,
)

import graft
from graft.data.dataset import Content, Dataset, ImageSource
from graft.data.images import decode
from graft.data.read import read
from graft.diagnostics.shift import scaled
from graft.metrics.shift import discriminate
from graft.results import to_json

FULL: dict[str, Any] = {
    "home": "data:mnist", "away": "data:fashion_mnist", "noise": [0.3], "compared": 200, "school": 40, "shots": 8, "tested": 30,
    "epochs": 8, "schooling": 6, "seeds": [0, 1, 2],
}  # fmt: skip
QUICK: dict[str, Any] = FULL | {
    "home": "data:digits", "away": "", "noise": [0.5], "compared": 30, "school": 8, "shots": 4, "tested": 4, "epochs": 2, "schooling": 2,
    "seeds": [0],
}  # fmt: skip
BUNDLED = "efficientnet-lite0"


def measure(setting: Setting) -> Numbers:
    how = QUICK if setting.quick else FULL
    a_class, schooling, compared = 3 * how["tested"] + how["shots"], 2 * how["school"] + 16, how["compared"] // 10
    home = some(read(how["home"]), a_class + schooling + compared, seed=0)
    source, rest = parted(home, schooling)
    reference, rest = parted(rest, compared)  # the network has not seen them
    with tempfile.TemporaryDirectory() as folder:
        targets = {"itself": rest}
        for sd in how["noise"]:
            targets[f"noise {sd:g}"] = noisy(rest, sd, Path(folder) / f"{sd:g}")
        if how["away"]:
            targets["fashion"] = some(read(how["away"]), a_class, seed=0)
        school = schooled(source, shots=how["school"], tested=how["tested"], epochs=how["schooling"])
        encoders: Mapping[str, Any] = {"pixels": graft.open_encoder("pixels:28"), "school": school.encoder}
        if not setting.quick:
            encoders = {**encoders, BUNDLED: graft.open_encoder(BUNDLED)}
        apart: dict[str, dict[str, Any]] = {name: {} for name in encoders}
        for name, encoder in encoders.items():
            x_ND = features(encoder, reference, how["compared"])
            for target, dataset in targets.items():
                apart[name][target] = distance(
                    x_ND, features(encoder, dataset, how["compared"]), scale=name == "pixels"
                )
        learned = {target: taught_on(dataset, school.encoder, how) for target, dataset in targets.items()}
    return {"how": how, "a_distance": apart, "learned": learned, "source_accuracy": school.remembered()}


def some(dataset: Dataset, a_class: int, seed: int) -> Dataset:
    """`a_class` items of each class (fewer where there are fewer), in an order drawn by the seed, with no test part."""
    draw = np.random.default_rng(seed)
    rows = [draw.permutation(np.flatnonzero(dataset.labels == c))[:a_class] for c in range(len(dataset.classes))]
    return replace(dataset, test_mask=None).take(draw.permutation(np.concatenate(rows)))


def parted(dataset: Dataset, a_class: int) -> tuple[Dataset, Dataset]:
    """Two parts with no item in common, the first with `a_class` items of each class."""
    first = np.sort(
        np.concatenate([np.flatnonzero(dataset.labels == c)[:a_class] for c in range(len(dataset.classes))])
    )
    return dataset.take(first), dataset.take(np.setdiff1d(np.arange(len(dataset)), first))


def noisy(dataset: Dataset, sd: float, folder: Path) -> Dataset:
    """The pictures with normal noise of `sd` (white is 1), as files."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    contents: list[Content] = []
    for i, content in enumerate(dataset.contents):
        assert isinstance(content, ImageSource)
        grey = np.asarray(decode(content.read_bytes()).convert("L"), np.float64) / 255
        spoilt = (255 * (grey + sd * draw.standard_normal(grey.shape)).clip(0, 1)).astype(np.uint8)
        Image.fromarray(spoilt).save(folder / f"{i}.png")
        contents.append(ImageSource(folder / f"{i}.png"))
    return replace(dataset, contents=tuple(contents))


def features(encoder: Any, dataset: Dataset, n: int) -> NDArray[np.float32]:
    """(N, D) of the last `n` items."""
    contents = list(dataset.contents[-n:])
    if hasattr(encoder, "encode"):
        return np.asarray(encoder.encode(contents), np.float32)
    from studies.lessons import vectors

    from graft.strategies.items import Items

    return vectors(encoder, Items.of(encoder, contents, np.zeros((len(contents), 0), np.float32), ["x"]))


def distance(a_ND: NDArray[np.float32], b_ND: NDArray[np.float32], *, scale: bool) -> dict[str, Any]:
    """Proxy A-distance with its interval, AUC, and p."""
    x_ND = np.concatenate([a_ND, b_ND])
    second_N = np.arange(len(x_ND)) >= len(a_ND)
    found = discriminate(scaled(x_ND) if scale else x_ND, second_N, np.arange(len(x_ND)), np.random.default_rng(0))
    assert found is not None
    tree: dict[str, Any] = to_json({"a_distance": found.a_distance, "auc": found.auc, "p": found.p})
    return tree


def taught_on(dataset: Dataset, encoder: Any, how: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy of the probe and of fine-tuning from it, by seed, and their paired difference."""
    probe, tuned = [], []
    for seed in how["seeds"]:
        here: Lesson = lesson(dataset, encoder, shots=how["shots"], tested=how["tested"], seed=seed)
        probe.append(here.probe_accuracy())
        outcome = taught("finetune", {"epochs": how["epochs"], "batch": 16, "rate": 1e-3}, here, seed=seed)
        tuned.append(tested(outcome, here))
    gain: Sequence[float] = [t - p for t, p in zip(tuned, probe, strict=True)]
    return {
        "probe": to_json(share_over_seeds(probe)),
        "finetune": to_json(share_over_seeds(tuned)),
        "gain": to_json(over_seeds(gain)),
    }


def present(numbers: Numbers) -> Page:
    how, apart, learned = numbers["how"], numbers["a_distance"], numbers["learned"]
    distances = [
        (target, *("{value:.2f} ({low:.2f}–{high:.2f})".format(**row[target]["a_distance"]) for row in apart.values()))
        for target in learned
    ]
    lessons = [
        (
            target,
            f"{apart['school'][target]['a_distance']['value']:.2f}",
            percent(row["probe"]),
            percent(row["finetune"]),
            points(row["gain"]),
        )
        for target, row in learned.items()
    ]
    order = sorted(learned, key=lambda target: apart["school"][target]["auc"]["value"])
    figure = line_chart(
        "Accuracy with few labels, targets by their distance from the source",
        Axis("target", {float(i): target for i, target in enumerate(order)}),
        Axis("accuracy", percent=True),
        [
            Line(
                way,
                [(float(i), learned[target][way]["value"]) for i, target in enumerate(order)],
                [ends(learned[target][way]) for target in order],
            )
            for way in ("probe", "finetune")
        ],
    )
    far, near = order[-1], "itself"
    gains = {target: learned[target]["gain"] for target in (near, far)}
    return Page(
        answer=(
            "A-distance from "
            + how["home"].removeprefix("data:")
            + ": "
            + "; ".join(
                f"{target} "
                + ", ".join(f"{name} {row[target]['a_distance']['value']:.2f}" for name, row in apart.items())
                for target in learned
            )
            + f". Fine-tuning over the probe: {points(gains[near])} points on itself, {points(gains[far])} on {far}."
        ),
        reading=(
            "On pixels, and by a general encoder where there is one, sets are at the end of the scale as soon as anything tells them apart, noise as much as "
            "other things in the picture: that distance says nothing of what a probe will lose. Measured on the features of the network that is to be "
            "transferred it orders these targets as the probe's accuracy does, and fine-tuning gains most on the farthest. A few targets and one "
            "network prove no rule: the distance is a hint to try fine-tuning, and measuring both, as `fit` does, is the answer."
        ),
        tables=[
            Table(
                f"Proxy A-distance (0: alike, 2: told apart without error), at most {how['compared']} pictures a set; by pixels, and by features of the "
                "network that learned the source" + (f" and of {BUNDLED}." if BUNDLED in apart else "."),
                ("target", *apart),
                distances,
            ),
            Table(
                f"From {how['shots']} labels a class, mean over {len(how['seeds'])} draws; the network is right in "
                f"{100 * numbers['source_accuracy']:.1f} % of its source.",
                ("target", "A-distance, features", "probe", "fine-tuning", "gain, paired, points"),
                lessons,
            ),
        ],
        figures={"accuracy_by_distance.svg": figure},
    )


STUDY = Study(
    name="t03_a_distance",
    title="T3: proxy A-distance",
    question="How far are noisy MNIST and Fashion-MNIST from MNIST, on pixels and on features, and does that predict a probe's and fine-tuning's accuracy?",
    measure=measure,
    present=present,
    expected={
        "a_distance > pixels > itself > a_distance > value": (0.0, 0.3),
        "a_distance > pixels > fashion > a_distance > value": (1.6, 2.0),
        "a_distance > efficientnet-lite0 > itself > a_distance > value": (0.0, 0.3),
        "a_distance > efficientnet-lite0 > fashion > a_distance > value": (1.8, 2.0),
    },
    expected_quick={
        "a_distance > pixels > noise 0.5 > a_distance > value": (1.0, 2.0),
        "a_distance > pixels > itself > a_distance > low": (0.0, 0.2),
    },
)

if __name__ == "__main__":
    main(STUDY)
