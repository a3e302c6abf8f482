"""T1: which strategy for how many labels, how strange a domain and how much time, and which encoder; and how good that advice is.

The advice comes from `graft plan`: from words alone over a grid of cases, and from data on sets that played no part when its rules were
made. What it foretold is set beside the accuracy of every frozen strategy on items held out, as `fit` would tune it.

Legend: N items, D dims.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main

import graft
from graft.data.dataset import Dataset
from graft.data.read import read
from graft.data.splits import take_shots
from graft.encoders.open import open_encoder
from graft.metrics.rank import spearman
from graft.planning.advice import PlanResult
from graft.selection.select import Candidate, select
from graft.strategies.frozen import STRATEGIES, Task
from graft.strategies.naming import name_classes

SETS = {"data:usps": (5, 20), "data:fashion_mnist": (5, 20)}
QUICK = {"data:digits": (5,)}
ENCODERS = ("efficientnet-lite0", "layer:efficientnet-lite0:_blocks.10", "pixels:16")
QUICK_ENCODERS = ("pixels:8", "pixels:2")
TESTED = 300  # items of the official test part
LABELS, DOMAINS, BUDGETS = (1, 5, 20, 100), ("photos", "metal-surfaces", "reviews", "chemistry"), ("small", "large")
CLASSES = 10


def measure(setting: Setting) -> Numbers:
    sets, encoders = (QUICK, QUICK_ENCODERS) if setting.quick else (SETS, ENCODERS)
    found: dict[str, Any] = {}
    for name, shots in sets.items():
        dataset = read(name)
        test = test_items(dataset)
        for k in shots:
            plan = graft.plan(name, shots=k, encoders=encoders)
            found[f"{name.removeprefix('data:')}, {k} a class"] = judged(plan, dataset, test, k, encoders)
    return {"words": words(), "sets": found}


def words() -> list[dict[str, Any]]:
    """What is advised from words alone."""
    rows = []
    for domain in DOMAINS:
        for budget in BUDGETS:
            tops = {}
            for labels in LABELS:
                plan = graft.plan(
                    describe=f"labels={labels * CLASSES} classes={CLASSES} domain={domain} budget={budget}"
                )
                first = plan.strategies[0]
                assert first.accuracy is not None
                tops[str(labels)] = {"top": first.name, "expected": first.accuracy, "why": first.reason}
            rows.append({"domain": domain, "distance": plan.distance.verdict, "budget": budget, "tops": tops})
    return rows


def test_items(dataset: Dataset) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Positions of the items that are scored: of the official test part, or of a fifth that no draw of labels touches."""
    draw = np.random.default_rng(0)
    held = np.flatnonzero(dataset.test_mask) if dataset.test_mask is not None else np.arange(len(dataset))
    return np.sort(draw.permutation(held)[:TESTED])


def judged(
    plan: PlanResult, dataset: Dataset, test: np.ndarray[Any, Any], k: int, encoders: tuple[str, ...]
) -> dict[str, Any]:
    """The plan beside what its strategies, and the encoders, get right on the test items."""
    training = (
        np.flatnonzero(~dataset.test_mask)
        if dataset.test_mask is not None
        else np.setdiff1d(np.arange(len(dataset)), test)
    )
    train = training[take_shots(dataset.labels[training], k, 0)]
    y_N, y_test = dataset.labels[train], dataset.labels[test]
    reached = {}
    for reference in encoders:
        encoder = graft.open_encoder(reference)
        learn, held = (encoder.encode([dataset.contents[i] for i in part]) for part in (train, test))
        task = Task(len(dataset.classes))
        if reference == plan.encoder:
            task = name_classes(open_encoder(reference), dataset.class_descriptions(), cache=None)
            true = frozen_scores(learn, y_N, held, y_test, task, reference)
        (head,) = STRATEGIES["kernel-probe"].fit_path(
            learn, y_N, task, [STRATEGIES["kernel-probe"].settings(np.bincount(y_N))[0]]
        )
        reached[reference] = float((head.logits(held).argmax(axis=1) == y_test).mean())
    rows = {row.name: row.accuracy for row in plan.strategies if row.accuracy is not None and row.name in true}
    first = next(name for name in rows)
    inside = [
        row.low <= true[name] <= row.high for name, row in rows.items() if row.low is not None and row.high is not None
    ]
    order = spearman(np.array([row.value for row in rows.values()]), np.array([true[name] for name in rows]))
    ranked = [row for row in plan.encoders if row.status == "ranked"]
    return {
        "distance": plan.distance.verdict,
        "measure": plan.distance.value,
        "top": first,
        "expected": rows[first],
        "measured": true[first],
        "best": max(true, key=lambda name: true[name]),
        "best_measured": max(true.values()),
        "held": sum(inside),
        "of": len(inside),
        "rank_correlation": order,
        "encoders": [
            {
                "reference": row.reference,
                "probe": row.probe,
                "logme": row.logme,
                "static": row.static,
                "test": reached[row.reference],
            }
            for row in ranked
        ],
        "decided_by": plan.decided_by,
        "encoder_right": int(reached[ranked[0].reference] == max(reached.values())),
    }


def frozen_scores(learn: Any, y_N: Any, held: Any, y_test: Any, task: Task, reference: str) -> dict[str, float]:
    """Share right on the test items of every frozen strategy with the settings that cross-validation picks."""
    chosen = select([Candidate(reference, learn, task)], y_N, seed=0)
    found = {}
    for result in chosen.results:
        if result.status == "measured":
            (head,) = STRATEGIES[result.name].fit_path(learn, y_N, task, [result.settings])
            found[result.name] = float((head.logits(held).argmax(axis=1) == y_test).mean())
    return found


def present(numbers: Numbers) -> Page:
    rows = numbers["words"]
    by_words = [
        [row["domain"], row["distance"], row["budget"], *(_told(row["tops"][k]) for k in rows[0]["tops"])]
        for row in rows
    ]
    sets = numbers["sets"]
    by_data = [
        [
            name,
            f"{row['distance']}" + (f" ({row['measure']:.2f})" if row["measure"] is not None else ""),
            _told({"top": row["top"], "expected": row["expected"]}),
            f"{100 * row['measured']:.0f} %",
            f"{row['best']}, {100 * row['best_measured']:.0f} %",
            f"{row['held']} of {row['of']}",
            "" if row["rank_correlation"] is None else f"{row['rank_correlation']:.2f}",
        ]
        for name, row in sets.items()
    ]
    by_encoder = [
        [
            name,
            e["reference"],
            f"{100 * e['probe']['value']:.0f} %" if e["probe"] else "",
            f"{e['logme']:.3f}",
            str(e["static"]),
            f"{100 * e['test']:.0f} %",
        ]
        for name, row in sets.items()
        for e in row["encoders"]
    ]
    held, of = (sum(row[key] for row in sets.values()) for key in ("held", "of"))
    behind = np.mean([100 * (row["best_measured"] - row["measured"]) for row in sets.values()])
    right = sum(row["encoder_right"] for row in sets.values())
    return Page(
        answer=(
            f"On data its rules had not seen the first strategy of `plan` was {behind:.1f} points behind the best, its ranges held in {held} of {of} "
            f"cases (meant: nine in ten), and the first encoder was the best in {right} of {len(sets)}."
        ),
        reading=(
            "With one label a class the names of the classes carry most where the domain is near; where it is far a plain probe is all there is. With "
            "more labels the probes draw level, and from five to twenty labels a class on tuning the encoder is expected to mend a part of the "
            "mistakes, if there is time. Distance says whether names will mean something, not how hard the classes are."
        ),
        tables=[
            Table(
                f"From words: {CLASSES} classes, first strategy by labels a class, with the share expected right and its range.",
                ("domain", "distance", "budget", *rows[0]["tops"]),
                by_words,
            ),
            Table(
                "From data: the first frozen strategy, and how often the ranges held.",
                ("set", "distance", "first (expected)", "measured", "best", "ranges held", "rank correlation"),
                by_data,
            ),
            Table(
                "Encoders, in the order advised.", ("set", "encoder", "probe", "LogME", "by size", "test"), by_encoder
            ),
        ],
        figures={
            "expected_by_labels.svg": line_chart(
                "Expected of the first strategy, from words alone, with time",
                Axis("labels a class", {float(k): k for k in rows[0]["tops"]}, log=True),
                Axis("right", percent=True),
                [
                    Line(
                        f"{row['domain']} ({row['distance']})",
                        [(float(k), told["expected"]["value"]) for k, told in row["tops"].items()],
                        [ends(told["expected"]) for told in row["tops"].values()],
                    )
                    for row in rows
                    if row["budget"] == "large"
                ],
            )
        },
    )


def _told(row: Any) -> str:
    expected = row["expected"]
    return f"{row['top']}, {100 * expected['value']:.0f} % ({100 * expected['low']:.0f}–{100 * expected['high']:.0f})"


STUDY = Study(
    name="t01_strategy_advice",
    title="T1: which strategy, and why",
    question="Given labels a class, the distance of the domain and the time: which strategy and which encoder, and how good is that advice?",
    measure=measure,
    present=present,
    expected={
        "sets > usps, 20 a class > held": (2, 6),
        "sets > fashion_mnist, 20 a class > held": (4, 7),
        "sets > usps, 20 a class > measured": about(0.92, 0.03),
    },
    expected_quick={
        "sets > digits, 5 a class > held": (3, 7),
        "sets > digits, 5 a class > encoder_right": (1, 1),
        "sets > digits, 5 a class > measured": about(0.8, 0.12),
    },
)

if __name__ == "__main__":
    main(STUDY)
