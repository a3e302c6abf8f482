"""E3: labels bought one batch after the other, chosen by `graft label`'s queries or at random, and what a probe makes of them.

Every way starts without a label and buys the same numbers of labels; after each batch a linear probe learns from all of them and answers a
test part that no query sees. Margin and uncertainty need a model, so their first batch is the random one of the same seed.

Legend: N items, D dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
from graft.annotation.pool import CLEAN, Pool, next_batch
from graft.data.read import read
from graft.data.splits import take_shots
from graft.encoders.open import BUNDLED
from graft.heads.linear import LinearHead
from graft.heads.normalise import Normaliser

Vectors = NDArray[np.float32]
Codes = NDArray[np.int64]
WAYS = ("random", "typical", "core-set", "margin", "uncertainty", "auto")
AFTER_RANDOM = ("margin", "uncertainty")
SETS = {  # items a class, of which a third is the test part; labels a class after each batch
    "data:neu_surface_defect": (270, (1, 2, 4, 8, 16)),
    "data:cifar10": (200, (1, 2, 5, 10, 20)),
    "data:fashion_mnist": (100, (1, 2, 5, 10, 20)),
    "data:ag_news": (500, (1, 2, 5, 10, 20, 50)),
    "data:banking77": (26, (1, 2, 4, 8)),
}
QUICK = {"data:streamcatalogue": (20, (1, 4))}


def measure(setting: Setting) -> Numbers:
    sets, seeds = (QUICK, range(2)) if setting.quick else (SETS, range(5))
    return {"seeds": list(seeds), "sets": {name: one_set(name, *plan, seeds) for name, plan in sets.items()}}


def one_set(name: str, a_class: int, budgets: Sequence[int], seeds: Sequence[int]) -> dict[str, Any]:
    """Accuracies of every way after each batch, and their differences from random over the same seeds."""
    dataset = read(name)
    ours = np.arange(len(dataset)) if dataset.test_mask is None else np.flatnonzero(~dataset.test_mask)
    rows = ours[take_shots(dataset.labels[ours], a_class, 0)]
    met, y_N = np.unique(dataset.labels[rows], return_inverse=True)
    classes = tuple(dataset.classes[c] for c in met)
    x_ND = graft.open_encoder(BUNDLED[dataset.modality]).encode([dataset.contents[i] for i in rows])
    labels = [b * len(classes) for b in budgets]
    scores = {way: [curve(x_ND, y_N, classes, way, labels, seed) for seed in seeds] for way in WAYS}
    told = {}
    for way in WAYS:
        by_budget = np.array(scores[way])
        apart = by_budget - np.array(scores["random"])
        told[way] = {
            "accuracy": [share_over_seeds(column) for column in by_budget.T.tolist()],
            "gain": [over_seeds(column) for column in apart.T.tolist()],
            "mean_gain": over_seeds(apart.mean(axis=1).tolist()),
        }
    return {"items": len(rows), "classes": len(classes), "labels": labels, "ways": told}


def curve(
    x_ND: Vectors, y_N: Codes, classes: tuple[str, ...], way: str, labels: Sequence[int], seed: int
) -> list[float]:
    """Test accuracy after each batch. The same seed has the same test part, and the same order of random labels, for every way."""
    order = np.random.default_rng(seed).permutation(len(y_N))
    test, rows = order[: len(y_N) // 3], order[len(y_N) // 3 :]
    normaliser = Normaliser().fit(x_ND[rows])
    pool_ND, test_ND = normaliser(x_ND[rows]), normaliser(x_ND[test])
    ids = tuple(map(str, range(len(rows))))
    nothing = (None,) * len(rows)
    pool = Pool("study", "study", "text", ids, ids, ids, nothing, pool_ND)
    bought: list[int] = []
    scores = []
    for batch, budget in enumerate(labels):
        if way == "random" or (batch == 0 and way in AFTER_RANDOM):
            bought = list(range(budget))  # the rows are in random order
        else:
            answers = {ids[i]: classes[y_N[rows[i]]] for i in bought}
            asked = next_batch(pool, answers, classes, way, budget - len(bought), seed)
            bought += [int(item.id) for item in asked.items]
        known = y_N[rows[bought]]
        if len(np.unique(known)) < 2:
            scores.append(float((known[0] == y_N[test]).mean()))
            continue
        head = LinearHead(c=CLEAN).fit(pool_ND[bought], known, len(classes))
        scores.append(float((head.logits(test_ND).argmax(axis=1) == y_N[test]).mean()))
    return scores


def present(numbers: Numbers) -> Page:
    tables, figures = [], {}
    for name, found in numbers["sets"].items():
        short = name.removeprefix("data:")
        tables.append(
            Table(
                f"**{short}**, {found['items']} items of {found['classes']} classes, {len(numbers['seeds'])} seeds: accuracy on the test third "
                "by number of labels; last, the mean difference from random over the batches, in points.",
                ("way", *map(str, found["labels"]), "from random"),
                [
                    (way, *(percent(a) for a in told["accuracy"]), "" if way == "random" else points(told["mean_gain"]))
                    for way, told in found["ways"].items()
                ],
            )
        )
        lines = [
            Line(
                way,
                [(float(n), a["value"]) for n, a in zip(found["labels"], told["accuracy"], strict=True)],
                [ends(a) for a in told["accuracy"]] if way in ("random", "auto") else (),
                dashed=way == "random",
            )
            for way, told in found["ways"].items()
        ]
        figures[f"{short}.svg"] = line_chart(
            f"{short}: what labels are worth", Axis("labels", log=True), Axis("accuracy", percent=True), lines
        )
    gains = {way: [f["ways"][way]["mean_gain"] for f in numbers["sets"].values()] for way in WAYS[1:]}
    means = {way: float(np.mean([g["value"] for g in found])) for way, found in gains.items()}
    best, worst = max(means, key=lambda way: means[way]), min(means, key=lambda way: means[way])
    sure = sum(g["low"] is not None and g["low"] > 0 for g in gains["auto"])
    hurts = sum(g["high"] is not None and g["high"] < 0 for g in gains["auto"])
    first = [f["ways"]["typical"]["gain"][0]["value"] for f in numbers["sets"].values()]
    last = {
        way: float(np.mean([f["ways"][way]["gain"][-1]["value"] for f in numbers["sets"].values()])) for way in WAYS
    }
    listed = (
        ", ".join(f"{way} {100 * mean:+.1f}" for way, mean in means.items())
        .replace("-", "−")
        .replace("core−set", "core-set")
    )
    return Page(
        answer=(
            f"Against random labels, in points, mean over {len(numbers['sets'])} data sets and all batches: {listed}. "
            f"The default, auto, is ahead for certain on {sure} and behind on {hurts} of {len(numbers['sets'])}."
        ),
        reading=(
            f"{best.capitalize()} does best on average and {worst} worst. With the first batch, one label a class, typical items are "
            f"{points({'value': float(np.mean(first)), 'low': None, 'high': None})} points from random ones; with the last batch margin is "
            f"{points({'value': last['margin'], 'low': None, 'high': None})}, typical {points({'value': last['typical'], 'low': None, 'high': None})} "
            f"and core-set {points({'value': last['core-set'], 'low': None, 'high': None})}. Items near the boundary or far from everything are "
            "no fair sample: a test part has to be drawn at random."
        ),
        tables=tables,
        figures=figures,
    )


STUDY = Study(
    name="e03_active_learning",
    title="E3: active learning",
    question="How many points do labels chosen by a query gain over as many labels chosen at random?",
    measure=measure,
    present=present,
    expected={
        "sets > data:neu_surface_defect > ways > auto > mean_gain > value": about(0.10, 0.05),
        "sets > data:cifar10 > ways > auto > mean_gain > value": about(0.11, 0.04),
        "sets > data:fashion_mnist > ways > auto > mean_gain > value": about(0.09, 0.05),
        "sets > data:ag_news > ways > auto > mean_gain > value": about(0.09, 0.05),
        "sets > data:banking77 > ways > auto > mean_gain > value": about(0.10, 0.03),
        "sets > data:banking77 > ways > uncertainty > mean_gain > value": about(-0.03, 0.02),
    },
    expected_quick={
        "sets > data:streamcatalogue > ways > auto > mean_gain > value": about(0.05, 0.15),
    },
)

if __name__ == "__main__":
    main(STUDY)
