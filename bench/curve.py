"""How honest the forecast of labels is: forecasts from 10 % of the labels against the truth at 100 %.

    GRAFT_DATA=... python bench/curve.py [--sets ag_news ...]

The training part of a set is cut into ten parts of equal size, each the labels of one forecast: a linear probe is tuned on two folds of them, its
errors are counted on nested subsets (graft.diagnostics.curve), and the curve says which accuracy to expect with ten times the labels, and how many
labels reach an accuracy that the truth has at 22, 46 and 68 % of the labels. The truth is a linear probe tuned and learned anew at each size (the
mean of two draws below 100 %), judged on the test part, which no forecast sees. The width that the interval gets beyond the
bootstrap (`graft.metrics.curve.MISFIT`) was set on the sets of `TUNED_ON` alone.
Counts are kept in bench/results/curve.json, so the intervals can be computed again without learning anything: `--again`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.read import read
from graft.diagnostics.curve import PROBE, Ground, count_errors, sizes_for
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.fitting.session import environment
from graft.metrics.curve import MISFIT, Curve, fit_curve, reach
from graft.selection.select import draw_plan
from graft.selection.trials import measure
from graft.settings import one_thread
from graft.store.cache import VectorCache
from graft.store.files import write_json
from graft.strategies.frozen import STRATEGIES, Settings, Task

RESULTS = Path(__file__).parent / "results" / "curve.json"
SETS = {"ag_news": "minilm", "sst2": "minilm", "banking77": "minilm", "cifar10": "efficientnet-lite0",
        "neu_surface_defect": "efficientnet-lite0"}  # fmt: skip
TUNED_ON = {"usps": "pixels:16", "fashion_mnist": "pixels:8"}
MOST, MOST_TEST = 5_000, 10_000
MANY_CLASSES = (
    50  # a set of so many classes is taken whole: a tenth of 5,000 labels would be too few a class for a curve
)
PARTS = 10
SHARES = (0.1, 0.15, 0.22, 0.32, 0.46, 0.68, 1.0)
TARGETS = (0.22, 0.46, 0.68)  # shares of the labels whose true accuracy is asked for
DRAWS = 2


def prepared(name: str, reference: str) -> tuple[Any, Any, Any, Any]:
    """Training vectors and labels, at most 5,000 in random order, and test vectors and labels."""
    dataset = read(f"data:{name}")
    order = np.random.default_rng(0).permutation(len(dataset))
    official = np.arange(len(dataset)) < 2_000 if dataset.test_mask is None else dataset.test_mask[order]
    train, test = order[~official][: None if len(dataset.classes) > MANY_CLASSES else MOST], order[official][:MOST_TEST]
    used = dataset.take(np.concatenate([train, test]))
    with VectorCache.open() as cache:
        x_ND = encode(used.contents, open_encoder(reference, modality=used.modality), cache=cache).vectors
    n = len(train)
    return x_ND[:n], used.labels[:n], x_ND[n:], used.labels[n:]


def tuned(x_ND: Any, y_N: Any, task: Task, seed: int) -> Settings:
    """The probe's settings that do best on two of five folds."""
    plan = draw_plan(y_N, None, n_folds=5, repeats=1, seed=seed)
    assert plan is not None
    plan = replace(plan, folds=plan.folds[:2], n_folds=2)
    with one_thread():
        trial = measure(STRATEGIES[PROBE], x_ND, y_N, task, plan, metric="accuracy", over=lambda: False)
    assert trial is not None
    return trial.settings


def run(name: str, reference: str, *, quick: bool) -> dict[str, Any]:
    """Everything that is counted on a set; `quick`: half the forecasts, and a truth at the settings that most of them chose."""
    x_ND, y_N, held_ND, held_N = prepared(name, reference)
    task = Task(int(y_N.max()) + 1)
    part = len(y_N) // PARTS
    forecasts = []
    for number in range(PARTS // 2 if quick else PARTS):
        rows = np.arange(number * part, (number + 1) * part)
        x, y = x_ND[rows], y_N[rows]
        settings = tuned(x, y, task, number)
        plan = draw_plan(y, None, seed=number)
        assert plan is not None
        folds = plan.folds[: plan.n_folds]
        sizes = sizes_for(min(len(train) for train, _ in folds), len(np.unique(y)))
        started = time.process_time()
        tally = count_errors(
            STRATEGIES[PROBE], settings, Ground(x, y, task, reference), folds, sizes_P=sizes, seed=number
        )
        forecasts.append(
            {
                "sizes": tally.sizes_P.tolist(),
                "tested": tally.tested_J.tolist(),
                "errors": tally.errors_JP.astype(int).tolist(),
                "settings": settings,
                "seconds": round(time.process_time() - started, 2),
            }
        )
        print(name, "forecast", number, forecasts[-1]["seconds"], flush=True)
    truth = []
    usual = max((f["settings"] for f in forecasts), key=[f["settings"] for f in forecasts].count)
    for share in SHARES:
        size, errors = round(share * len(y_N)), []
        for draw in range(DRAWS if share < 1 else 1):
            some = np.random.default_rng(draw).permutation(len(y_N))[:size]
            settings = usual if quick else tuned(x_ND[some], y_N[some], task, draw)
            with one_thread():
                (head,) = STRATEGIES[PROBE].fit_path(x_ND[some], y_N[some], task, [settings])
            errors.append(float((head.logits(held_ND).argmax(1) != held_N).mean()))
        truth.append([size, float(np.mean(errors))])
        print(name, "truth", truth[-1], flush=True)
    return {
        "encoder": reference,
        "truth_tuned": not quick,
        "classes": task.n_classes,
        "labels": part,
        "tested": len(held_N),
        "truth": truth,
        "forecasts": forecasts,
    }


def judged(found: dict[str, Any], misfit: float) -> dict[str, Any]:
    """How the forecasts of one set compare with its truth."""
    now, (full, true) = found["labels"], found["truth"][-1]
    curves = [curve_of(counts, misfit, seed) for seed, counts in enumerate(found["forecasts"])]
    ends = [curve.at(full) for curve in curves]
    sizes, errors = (np.array(column) for column in zip(*found["truth"], strict=True))
    wanted = [(float(np.interp(share * full, sizes, errors)), share * full) for share in TARGETS]
    told = [(reach(curve, error, now), labels) for curve in curves for error, labels in wanted]
    numbers = [(found, labels) for found, labels in told if found.status == "told"]
    return {
        "truth": 1 - true,
        "expected": float(np.mean([1 - value for value, _, _ in ends])),
        "width": float(np.mean([high - low for _, low, high in ends])),
        "off": float(np.mean([abs(value - true) for value, _, _ in ends])),
        "covered": int(sum(low <= true <= high for _, low, high in ends)),
        "forecasts": len(ends),
        "asked": len(told),
        "told": len(numbers),
        "told_covered": int(sum(f.low <= labels <= f.high for f, labels in numbers)),
        "wrongly_out_of_reach": int(sum(f.status == "floor" for f, _ in told)),
        "refused": {s: int(sum(f.status == s for f, _ in told)) for s in ("flat", "floor", "far", "open", "reached")},
    }


def curve_of(counts: dict[str, Any], misfit: float, seed: int) -> Curve:
    return fit_curve(
        np.array(counts["errors"]), np.array(counts["tested"]), np.array(counts["sizes"]), seed=seed, misfit=misfit
    )


def main() -> None:
    """Count what is missing, judge everything, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sets", nargs="*", default=[*TUNED_ON, *SETS])
    parser.add_argument("--again", action="store_true", help="judge the counts there are, with nothing learned anew")
    parser.add_argument("--quick", action="store_true", help="half the forecasts, and a truth that is not tuned anew")
    given = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"counts": {}}
    for name in [] if given.again else given.sets:
        kept["counts"][name] = run(name, (SETS | TUNED_ON)[name], quick=given.quick)
        save(kept["counts"])
    save(kept["counts"])


def save(counts: dict[str, Any], misfits: Sequence[float] = (0.0, MISFIT)) -> None:
    """Results of all sets with the bootstrap alone and with the interval that is shipped."""
    judgements = {f"{misfit:g}": {name: judged(found, misfit) for name, found in counts.items()} for misfit in misfits}
    tree = {"date": time.strftime("%Y-%m-%d"), "machine": environment(), "misfit": MISFIT, "tuned_on": list(TUNED_ON),
            "judged": judgements, "counts": counts}  # fmt: skip
    write_json(RESULTS, tree)


if __name__ == "__main__":
    main()
