"""T12: four labels against everything else, on frozen vectors, with and without weights that balance the classes.

The training time of a linear probe is followed along its penalty: the larger `c`, the longer the weights have grown from zero, much
as with more steps of gradient descent (Suggala, Prasad, Ravikumar 2018, "Connecting Optimization and Regularization Paths").
The study was thought of for a joint encoder such as CLIP; name one with `--encoder hub:...` where its weights can be had.

Legend: N items, D dims. Code 0..3 are the chosen labels, 4 is "other".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, percent, share_over_seeds

import graft
from graft.data.dataset import Dataset
from graft.data.read import read
from graft.heads.base import Head
from graft.heads.linear import fit_path
from graft.metrics.classify import accuracy, confusion, macro_f1, per_class

Vectors = NDArray[np.float32]
Codes = NDArray[np.int64]

TINY = ("n01443537", "n02124075", "n04146614", "n07873807")  # goldfish, Egyptian cat, school bus, pizza
DIGITS = ("1", "3", "8", "9")
CS: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
WEIGHTS = {"plain": False, "balanced": True}
OTHER = 4


def measure(setting: Setting) -> Numbers:
    # train_sizes, test_sizes: items of each chosen label, and of each other class
    if setting.quick:
        data, default, chosen, cs = "data:digits", "pixels:8", DIGITS, CS[::3]
        train_sizes, test_sizes, seeds = (15, 60), (30, 30), range(2)
    else:
        data, default, chosen, cs = "data:tiny_imagenet", "efficientnet-lite0", TINY, CS
        train_sizes, test_sizes, seeds = (50, 15), (50, 10), range(5)
    reference = setting.encoder or default
    dataset = read(data)
    official = dataset.test_mask if dataset.test_mask is not None else np.arange(len(dataset)) % 2 == 0
    pool, held = parts(dataset, ~official, chosen, train_sizes), parts(dataset, official, chosen, test_sizes)
    x_ND = graft.open_encoder(reference, modality="image").encode([dataset.contents[i] for i in (*pool, *held)])
    x_pool, x_held = x_ND[: len(pool)], x_ND[len(pool) :]
    y_pool, y_held = codes(dataset, pool, chosen), codes(dataset, held, chosen)
    drawn = [draw(dataset.labels[pool], seed) for seed in seeds]
    path = {}
    for way, balanced in WEIGHTS.items():
        heads = [fit_path(x_pool[rows], y_pool[rows], OTHER + 1, cs=cs, balanced=balanced) for rows in drawn]
        path[way] = {f"{c:g}": merged([scores(h[i], x_held, y_held) for h in heads]) for i, c in enumerate(cs)}
    picked = {}
    for metric in ("accuracy", "macro_f1"):
        found = []
        for seed, rows in zip(seeds, drawn, strict=True):
            probe = graft.TransferClassifier(strategies=["linear-probe"], metric=metric, folds=5, random_state=seed)
            selection = probe.fit(x_pool[rows], y_pool[rows]).selection_
            weighed = float(selection.settings.get("balanced", False))
            found.append({**scores(selection.head, x_held, y_held), "balanced": weighed})
        picked[metric] = merged(found)
    texts = dataset.class_texts or {}
    sizes = {"train": np.bincount(y_pool[drawn[0]]).tolist(), "validation": np.bincount(y_held).tolist()}
    return {
        "data": data, "encoder": reference, "labels": [*(texts.get(c, c) for c in chosen), "other"], "seeds": list(seeds),
        **sizes, "path": path, "picked": picked,
    }  # fmt: skip


def parts(dataset: Dataset, mask: NDArray[np.bool_], chosen: tuple[str, ...], sizes: tuple[int, int]) -> Codes:
    """The first items of every class in the part: `sizes` of a chosen label and of any other class."""
    wanted = [sizes[0] if name in chosen else sizes[1] for name in dataset.classes]
    return np.concatenate([np.flatnonzero(mask & (dataset.labels == c))[:n] for c, n in enumerate(wanted)])


def codes(dataset: Dataset, rows: Codes, chosen: tuple[str, ...]) -> Codes:
    place = {dataset.classes.index(name): code for code, name in enumerate(chosen)}
    return np.array([place.get(int(label), OTHER) for label in dataset.labels[rows]])


def draw(labels_N: Codes, seed: int) -> Codes:
    """Four fifths of the items of every class."""
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(labels_N == c)) for c in np.unique(labels_N)]
    return np.sort(np.concatenate([rows[: len(rows) * 4 // 5] for rows in shuffled]))


def scores(head: Head, x_ND: Vectors, y_N: Codes) -> dict[str, Any]:
    """Recall by label, mean precision of the four labels, and the scores of all."""
    predicted = head.logits(x_ND).argmax(1)
    found = per_class(confusion(y_N, predicted, OTHER + 1))
    wrongly = float(np.mean(predicted[y_N == OTHER] != OTHER))
    return {
        "recall": found.recall.tolist(),
        "labels_recall": float(found.recall[:OTHER].mean()),
        "false_alarms": wrongly,
        "accuracy": accuracy(y_N, predicted),
        "macro_f1": macro_f1(y_N, predicted),
    }


def merged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds with intervals; of the recalls, one a label."""
    recall = [share_over_seeds([row["recall"][label] for row in rows]) for label in range(OTHER + 1)]
    return {key: recall if key == "recall" else share_over_seeds([row[key] for row in rows]) for key in rows[0]}


def present(numbers: Numbers) -> Page:
    path, picked, labels = numbers["path"], numbers["picked"], numbers["labels"]
    first, *_, last = path["plain"]
    recall = {way: [percent(path[way][c]["labels_recall"]) for c in (first, last)] for way in path}
    alarms = [percent(path["balanced"][c]["false_alarms"]) for c in (first, last)]
    waits = (
        f" Measured with {numbers['encoder']}: the numbers of a joint encoder (CLIP, SigLIP) wait for its weights."
        if numbers["encoder"] in ("efficientnet-lite0", "pixels:8")
        else ""
    )
    return Page(
        answer=(
            f"Weakly trained (c = {first}) the plain probe finds {recall['plain'][0]} of the four labels, the balanced one "
            f"{recall['balanced'][0]}; fully trained (c = {last}) {recall['plain'][1]} and {recall['balanced'][1]}.{waits}"
        ),
        reading=(
            'At first a probe on classes of such different size calls everything "other", and is right nearly always; the labels '
            "come one by one, the hard ones last. Balanced weights find them from the start and pay with others taken for one of the "
            f"four: {alarms[0]} of them at c = {first}, {alarms[1]} at c = {last}. Picked on folds of the training items by macro F1 "
            f"instead of by accuracy, the probe has a macro F1 of {percent(picked['macro_f1']['macro_f1'])} instead of "
            f"{percent(picked['accuracy']['macro_f1'])}."
        ),
        tables=[table_along_training(numbers), table_by_label(numbers, last)],
        figures={f"recall_{way}.svg": drawn(way, path[way], labels) for way in path},
    )


def table_along_training(numbers: Numbers) -> Table:
    keys = ("labels_recall", "false_alarms", "accuracy", "macro_f1")
    columns = ("c", "weights", "recall of the four labels", "others taken for one of them", "accuracy", "macro F1")
    rows = [
        (c, way, *(percent(row[key]) for key in keys))
        for way, rows_c in numbers["path"].items()
        for c, row in rows_c.items()
    ]
    for metric, row in numbers["picked"].items():
        how = f"balanced for {100 * row['balanced']['value']:.0f} % of the seeds"
        rows.append((f"picked on folds by {metric}", how, *(percent(row[key]) for key in keys)))
    sizes = (
        f"{numbers['data']}, {numbers['train'][0]} training items of each label and {numbers['train'][-1]} others, "
        f"{sum(numbers['validation'])} validation items, {len(numbers['seeds'])} seeds."
    )
    return Table(sizes, columns, rows)


def table_by_label(numbers: Numbers, c: str) -> Table:
    path = numbers["path"]
    rows = [(label, *(percent(path[way][c]["recall"][i]) for way in path)) for i, label in enumerate(numbers["labels"])]
    return Table(f"By label at c = {c}: share of its items found.", ("label", *path), rows)


def drawn(way: str, rows: Numbers, labels: list[str]) -> str:
    lines = []
    for i, label in enumerate(labels):
        recalls = {float(c): row["recall"][i] for c, row in rows.items()}
        lines.append(
            Line(
                label,
                [(c, r["value"]) for c, r in recalls.items()],
                [ends(r) for r in recalls.values()],
                label == "other",
            )
        )
    return line_chart(
        f"Validation accuracy by label, {way} weights",
        Axis("training: inverse penalty c", {float(c): c for c in rows}, log=True),
        Axis("share of the label's items found", percent=True),
        lines,
    )


STUDY = Study(
    name="t12_one_against_the_world",
    title="T12: one class against the world",
    question="Four labels against everything else on frozen vectors: how does accuracy by label grow with training, with and without balanced classes?",
    measure=measure,
    present=present,
    expected={
        "path > plain > 0.01 > labels_recall > value": (0.0, 0.01),
        "path > balanced > 0.01 > labels_recall > value": about(0.949, 0.03),
        "path > plain > 100 > labels_recall > value": about(0.716, 0.05),
        "path > balanced > 100 > labels_recall > value": about(0.824, 0.05),
        "picked > accuracy > macro_f1 > value": about(0.829, 0.03),
        "picked > macro_f1 > macro_f1 > value": about(0.851, 0.03),
    },
    expected_quick={
        "path > plain > 0.01 > labels_recall > value": (0.0, 0.02),
        "path > balanced > 10 > labels_recall > value": about(0.81, 0.08),
        "picked > macro_f1 > macro_f1 > value": about(0.827, 0.06),
    },
    takes_encoder=True,
)

if __name__ == "__main__":
    main(STUDY)
