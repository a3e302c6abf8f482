"""E1: what the number of folds does to the mean, the spread and the cost of a cross-validated accuracy.

A linear probe is cross-validated on a few labelled items, and the accuracy of the probe fitted on all of them is measured on
thousands of others: that is the truth the estimate is after. Everything is drawn anew with every seed.

Legend: N items, D dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, over_seeds, points

import graft
from graft.data.read import read
from graft.data.splits import folds as draw_folds
from graft.data.splits import take_shots
from graft.encoders.open import BUNDLED
from graft.metrics.classify import accuracy
from graft.metrics.intervals import corrected_resampled_t, mean_interval
from graft.results import Interval
from graft.selection.trials import Plan
from graft.selection.trials import measure as cross_validate
from graft.strategies.frozen import STRATEGIES, Task

PROBE = STRATEGIES["linear-probe"]
SETS = {"data:banking77": 5, "data:neu_surface_defect": 20, "data:ag_news": 25}  # labelled items a class
QUICK = {"data:streamcatalogue": 8}
Vectors = NDArray[np.float32]
Codes = NDArray[np.int64]


def measure(setting: Setting) -> Numbers:
    if setting.quick:
        sets, ks, seeds = QUICK, [2, 5], range(2)
    else:
        sets, ks, seeds = SETS, [2, 3, 5, 10, 20], range(20)
    found = {}
    for name, shots in sets.items():
        dataset = read(name)
        some = np.flatnonzero(dataset.labels >= 0)[: 300 if setting.quick else None]
        x_ND = graft.open_encoder(BUNDLED[dataset.modality]).encode([dataset.contents[i] for i in some])
        y_N = dataset.labels[some]
        trials = {k: [one_trial(x_ND, y_N, shots, k, seed) for seed in seeds] for k in ks}
        found[name] = {
            "shots": shots,
            "classes": len(dataset.classes),
            "folds": {k: summary(rows) for k, rows in trials.items()},
        }
    return {"strategy": PROBE.name, "seeds": list(seeds), "sets": found}


def one_trial(x_ND: Vectors, y_N: Codes, shots: int, k: int, seed: int) -> dict[str, Any]:
    """Estimate with its two intervals, truth, and seconds, for one draw of `shots` items a class."""
    train = take_shots(y_N, shots, seed)
    rest = np.setdiff1d(np.arange(len(y_N)), train)
    x, y, task = x_ND[train], y_N[train], Task(int(y_N.max()) + 1)
    plan = Plan(tuple(draw_folds(y, None, k, 1, np.random.default_rng(seed))), k, 1)
    trial = cross_validate(PROBE, x, y, task, plan, metric="accuracy", over=lambda: False)
    assert trial is not None
    (head,) = PROBE.fit_path(x, y, task, [trial.settings])
    scores = trial.scores["accuracy"]
    return {
        "estimate": float(scores.mean()),
        "truth": accuracy(y_N[rest], head.logits(x_ND[rest]).argmax(1)),
        "corrected": corrected_resampled_t(scores, *plan.sizes),
        "plain": mean_interval(scores),
        "seconds": trial.seconds,
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the seeds: bias = mean of estimate minus truth, spread = its standard deviation, coverage = share of intervals that hold the truth."""
    error = np.array([row["estimate"] - row["truth"] for row in rows])
    return {
        "estimate": over_seeds([row["estimate"] for row in rows]),
        "truth": over_seeds([row["truth"] for row in rows]),
        "bias": over_seeds(error.tolist()),
        "spread": float(error.std(ddof=1)),
        "coverage_corrected": float(np.mean([_holds(row["corrected"], row["truth"]) for row in rows])),
        "coverage_plain": float(np.mean([_holds(row["plain"], row["truth"]) for row in rows])),
        "width_corrected": float(np.mean([row["corrected"].high - row["corrected"].low for row in rows])),
        "seconds": float(np.median([row["seconds"] for row in rows])),
    }


def _holds(interval: Interval, value: float) -> bool:
    assert interval.low is not None and interval.high is not None
    return interval.low <= value <= interval.high


def present(numbers: Numbers) -> Page:
    tables, lines = [], []
    for name, found in numbers["sets"].items():
        rows = found["folds"]
        tables.append(
            Table(
                f"**{name.removeprefix('data:')}**, {found['shots']} items of each of {found['classes']} classes, "
                f"{len(numbers['seeds'])} seeds. Bias is estimate minus truth.",
                (
                    "k",
                    "estimate",
                    "truth",
                    "bias (points)",
                    "spread (points)",
                    "95 % interval holds truth: corrected",
                    "plain t",
                    "seconds",
                ),
                [
                    (
                        k,
                        f"{100 * row['estimate']['value']:.1f} %",
                        f"{100 * row['truth']['value']:.1f} %",
                        points(row["bias"]),
                        f"{100 * row['spread']:.1f}",
                        f"{100 * row['coverage_corrected']:.0f} %",
                        f"{100 * row['coverage_plain']:.0f} %",
                        f"{row['seconds']:.2f}",
                    )
                    for k, row in rows.items()
                ],
            )
        )
        biases = [(float(k), row["bias"]["value"]) for k, row in rows.items()]
        lines.append(Line(name.removeprefix("data:"), biases, [ends(row["bias"]) for row in rows.values()]))
    ks = list(rows)
    first, last = ks[0], ks[-1]
    each = [found["folds"] for found in numbers["sets"].values()]
    bias = {k: [row[k]["bias"]["value"] for row in each] for k in ks}
    cost = float(np.mean([row[last]["seconds"] / row[first]["seconds"] for row in each]))
    coverage = {kind: [row[k][f"coverage_{kind}"] for row in each for k in ks] for kind in ("corrected", "plain")}
    return Page(
        answer=(
            f"k = {first} is off by {_span(bias[first])} points, k = 5 by {_span(bias['5'])}, k = {last} by {_span(bias[last])}; "
            f"k = {last} costs {cost:.0f} × k = {first}."
        ),
        reading=(
            "With few folds a probe learns from a smaller part of the items than the model that is kept, so the estimate is too low; "
            "more folds bring it nearer, at a cost that grows with k. But with more folds than items a class (banking77 has 5) it "
            "falls again: a class lacks an item just where one of its own is asked for, and the other classes lack none. So `fit` takes "
            "no more folds than a middling class has items. The interval corrected for overlapping training sets holds "
            f"the truth in {100 * np.mean(coverage['corrected']):.0f} % of the runs, the plain t interval in {100 * np.mean(coverage['plain']):.0f} %."
        ),
        tables=tables,
        figures={
            "bias_by_folds.svg": line_chart(
                "Cross-validated minus true accuracy",
                Axis("folds k", {float(k): k for k in ks}, log=True),
                Axis("bias", percent=True),
                lines,
            )
        },
    )


def _span(values: Sequence[float]) -> str:
    low, high = (f"{100 * v:+.1f}".replace("-", "−") for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


STUDY = Study(
    name="e01_folds",
    title="E1: the number of folds",
    question="What does k do to the mean, the spread and the cost of k-fold cross-validation?",
    measure=measure,
    present=present,
    expected={
        "sets > data:banking77 > folds > 2 > bias > value": about(-0.107, 0.03),
        "sets > data:banking77 > folds > 5 > bias > value": about(-0.018, 0.02),
        "sets > data:banking77 > folds > 20 > bias > value": about(-0.043, 0.02),
        "sets > data:neu_surface_defect > folds > 2 > bias > value": about(-0.017, 0.015),
        "sets > data:neu_surface_defect > folds > 10 > bias > value": about(0.0, 0.01),
        "sets > data:ag_news > folds > 10 > bias > value": about(0.0, 0.03),
    },
    expected_quick={
        "sets > data:streamcatalogue > folds > 5 > truth > value": about(0.84, 0.05),
        "sets > data:streamcatalogue > folds > 5 > estimate > value": about(0.82, 0.08),
    },
)

if __name__ == "__main__":
    main(STUDY)
