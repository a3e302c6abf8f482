"""How honest the forecast of labels is: what the curve of a few labels says of more, against the truth.

    GRAFT_DATA=... python bench/curve.py [--sets ag_news ...]

Ten disjoint parts of a set are the labels of ten forecasts, each as many as `labels` of its case (about a tenth of 5,000, and a hundred): a linear
probe is tuned on two folds of them, its errors are counted on nested subsets (graft.diagnostics.curve), and the curve says which accuracy to expect
with 1.25 to 10 times the labels, and how many labels reach the accuracy that the truth has there: near by with 1.25 to 2 times, far with 3 to 10.
The truth at a number of labels is the mean over random draws of that many, each learned by a linear probe and judged on up to 4,000 others; the probe
is tuned anew at each number, on three of the draws, or on all where labels are few. Official parts of a set are mixed before all this, so that the
items to come are like those there are (the test part of cifar10 is harder than its training part, which no curve of the latter can know).

What is known of other sets' curves (`graft.metrics.curve.EXPERIENCE`) is learned here, with the set that is judged left out.
Counts are kept in bench/results/curve.json, so everything can be judged again without learning anything: `--again`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.read import read
from graft.diagnostics.curve import PROBE, Ground, count_errors, sizes_for
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.fitting.session import environment
from graft.metrics.curve import REACH_BACK, Experience, Reach, fit_curve, reach
from graft.selection.select import draw_plan
from graft.selection.trials import measure
from graft.settings import one_thread
from graft.store.cache import VectorCache
from graft.store.files import write_json
from graft.strategies.frozen import STRATEGIES, Settings, Task

RESULTS = Path(__file__).parent / "results" / "curve.json"
PARTS = 10
MOST, MOST_TEST = 5_000, 10_000  # items taken of the training and of the test part
MOST_JUDGED = 4_000  # items that judge one draw of the truth
MANY_CLASSES = 50  # a set of so many classes is taken whole
DRAWS = {1: 24, 1.25: 24, 1.5: 24, 2: 16, 3: 12, 5: 6, 10: 4}  # of the truth, by multiples of the labels
TUNED_DRAWS, FEW = (
    3,
    300,
)  # draws of the truth that are tuned on: all of them where labels are few, and settings chosen by luck
AT = (2, 10)  # multiples of the labels at which intervals of accuracy are judged
NOTHING_KNOWN = Experience((-0.5, -0.3), (3.0, 6.0), 0.0)  # so wide that the likelihood is all but alone


@dataclass(frozen=True)
class Case:
    """A data set, the encoder of its items, the labels of one forecast, and whether it is `quick`: half the forecasts, a quarter of the draws, and
    a truth at the settings that most forecasts chose."""

    data: str
    encoder: str
    labels: int
    quick: bool = False


CASES = {
    "sst2": Case("sst2", "minilm", 500),
    "ag_news": Case("ag_news", "minilm", 500),
    "neu_surface_defect": Case("neu_surface_defect", "efficientnet-lite0", 162),
    "usps": Case("usps", "pixels:16", 500),
    "fashion_mnist": Case("fashion_mnist", "pixels:8", 500),
    "cifar10": Case("cifar10", "efficientnet-lite0", 500, quick=True),
    "banking77": Case("banking77", "minilm", 1_000, quick=True),
    "sst2, 100 labels": Case("sst2", "minilm", 100),
    "ag_news, 100 labels": Case("ag_news", "minilm", 100),
}  # fmt: skip


def prepared(case: Case) -> tuple[Any, Any]:
    """Vectors and labels of at most 5,000 items of the training part and 10,000 of the test part."""
    dataset = read(f"data:{case.data}")
    order = np.random.default_rng(0).permutation(len(dataset))
    official = np.arange(len(dataset)) < 2_000 if dataset.test_mask is None else dataset.test_mask[order]
    train, test = order[~official], order[official][:MOST_TEST]
    if len(dataset.classes) <= MANY_CLASSES:
        train = train[:MOST]
    used = dataset.take(np.concatenate([train, test]))
    with VectorCache.open() as cache:
        x_ND = encode(used.contents, open_encoder(case.encoder, modality=used.modality), cache=cache).vectors
    return x_ND, used.labels


def tuned(x_ND: Any, y_N: Any, task: Task, seed: int) -> Settings:
    """The probe's settings that do best on two of five folds."""
    plan = draw_plan(y_N, None, n_folds=5, repeats=1, seed=seed)
    assert plan is not None
    plan = replace(plan, folds=plan.folds[:2], n_folds=2)
    with one_thread():
        trial = measure(STRATEGIES[PROBE], x_ND, y_N, task, plan, metric="accuracy", over=lambda: False)
    assert trial is not None
    return trial.settings


def run(case: Case) -> dict[str, Any]:
    """Everything that is counted of a case: ten forecasts' errors, and the truth as (labels, error, its standard error over draws)."""
    started = time.process_time()
    x_ND, y_N = prepared(case)
    task = Task(int(y_N.max()) + 1)
    order = np.random.default_rng(1).permutation(len(y_N))
    forecasts = []
    for number in range(PARTS // 2 if case.quick else PARTS):
        rows = order[number * case.labels : (number + 1) * case.labels]
        forecasts.append(counted(x_ND[rows], y_N[rows], task, number))
    known = time.process_time()
    settings = [f["settings"] for f in forecasts]
    usual = max(settings, key=settings.count) if case.quick else None
    truth = [truth_at(case.labels, (x_ND, y_N), times, usual) for times in DRAWS]
    return {"encoder": case.encoder, "data": case.data, "quick": case.quick, "classes": task.n_classes,
            "labels": case.labels, "truth": truth,
            "seconds": {"forecasts": round(known - started, 1), "truth": round(time.process_time() - known, 1)},
            "forecasts": forecasts}  # fmt: skip


def counted(x_ND: Any, y_N: Any, task: Task, number: int) -> dict[str, Any]:
    """The errors of one forecast: rows of `errors` are draws, columns sizes."""
    settings = tuned(x_ND, y_N, task, number)
    plan = draw_plan(y_N, None, seed=number)
    assert plan is not None
    folds = plan.folds[: plan.n_folds]
    sizes = sizes_for(min(len(train) for train, _ in folds), len(np.unique(y_N)))
    tally = count_errors(STRATEGIES[PROBE], settings, Ground(x_ND, y_N, task, ""), folds, sizes_P=sizes, seed=number)
    return {"sizes": tally.sizes_P.tolist(), "tested": tally.tested_J.tolist(), "settings": settings,
            "errors": [" ".join(map(str, row)) for row in tally.errors_JP.astype(int).tolist()]}  # fmt: skip


def truth_at(now: int, items: tuple[Any, Any], times: float, usual: Settings | None) -> list[float]:
    """Labels, the mean error with so many, and the standard error of that mean. Draws are nested over the numbers of labels.

    Without the `usual` settings the probe is tuned on the first draws, and the others take turns with what those chose.
    """
    x_ND, y_N = items
    task, labels, errors = Task(int(y_N.max()) + 1), round(times * now), []
    chosen = [] if usual is None else [usual]
    for draw in range(DRAWS[times] if usual is None else max(2, DRAWS[times] // 4)):
        order = np.random.default_rng([2, draw]).permutation(len(y_N))
        some = order[:labels]
        held = order[max(labels, len(order) - MOST_JUDGED) :]
        if usual is None and (labels <= FEW or len(chosen) < TUNED_DRAWS):
            chosen.append(tuned(x_ND[some], y_N[some], task, draw))
        with one_thread():
            (head,) = STRATEGIES[PROBE].fit_path(x_ND[some], y_N[some], task, [chosen[draw % len(chosen)]])
        errors.append(float((head.logits(x_ND[held]).argmax(1) != y_N[held]).mean()))
    return [labels, round(float(np.mean(errors)), 6), round(float(np.std(errors, ddof=1) / math.sqrt(len(errors))), 6)]


def long_curve(found: Mapping[str, Any]) -> tuple[Any, Any, Any, float]:
    """Sizes, errors and their relative standard errors from the forecasts' smallest size to the largest of the truth, and the forecasts' largest."""
    same = [f for f in found["forecasts"] if f["sizes"] == found["forecasts"][0]["sizes"]]
    tested = sum(sum(f["tested"]) for f in same)
    share_P = sum(table(f).sum(0) for f in same) / tested
    before = [(n, p, math.sqrt(p * (1 - p) / tested)) for n, p in zip(same[0]["sizes"], share_P, strict=True)]
    points = np.array([*before, *found["truth"]])
    error_P = points[:, 1].clip(1e-4)
    return points[:, 0], error_P, points[:, 2] / error_P, float(same[0]["sizes"][-1])


def table(forecast: Mapping[str, Any]) -> Any:
    """Errors (J, P) of a forecast."""
    return np.array([list(map(int, row.split())) for row in forecast["errors"]], float)


def learned(counts: Mapping[str, Any], without: str = "", reach_back: float = REACH_BACK) -> Experience:
    """The normal law of (log c, logit of the floor's share) over data sets, each one vote, by expectation-maximisation on a grid (empirical Bayes).

    The level of each curve is profiled out. The log error may be off the law by `reach_back` for each e-fold of labels away from the forecasts'
    largest size, as in `graft.metrics.curve.weights`. What M sets tell of another is Student's t: the covariance is multiplied by (M + 1) / (M - 1), for
    its own uncertainty and the mean's, and the normal law made as wide as t of M - 1 degrees of freedom is at 95 %.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    shapes = np.stack(np.meshgrid(np.linspace(-3.5, 1.2, 48), np.linspace(-6, 5, 56), indexing="ij"), -1).reshape(-1, 2)
    exponent, floor = np.exp(shapes[:, :1]), 1 / (1 + np.exp(-shapes[:, 1:]))
    votes: dict[str, list[Any]] = {}
    for found in counts.values():
        if found["data"] == without:
            continue
        n, error, spread, top = long_curve(found)
        off = np.log(error) - np.log(floor + (1 - floor) * (n / top) ** -exponent)
        weight = 1 / (spread**2 + 0.01**2 + (reach_back * np.log(n / top)) ** 2)
        level = (off * weight).sum(1, keepdims=True) / weight.sum()
        votes.setdefault(found["data"], []).append(-(weight * (off - level) ** 2).sum(1) / 2)
    mean, cov = np.array([-0.5, -0.3]), np.diag([0.25, 2.25])
    for _ in range(100):
        away = shapes - mean
        prior = -((away @ np.linalg.inv(cov)) * away).sum(1) / 2
        share = np.zeros(len(shapes))
        for curves in votes.values():
            for value in curves:
                density = np.exp(value + prior - (value + prior).max())
                share += density / density.sum() / len(curves) / len(votes)
        mean = share @ shapes
        cov = (share[:, None] * (shapes - mean)).T @ (shapes - mean) + 1e-3 * np.eye(2)
    wider = math.sqrt((len(votes) + 1) / (len(votes) - 1)) * student.ppf(0.975, len(votes) - 1) / norm.ppf(0.975)
    s, t = np.sqrt(np.diag(cov)) * wider
    return Experience(
        (float(mean[0]), float(mean[1])), (float(s), float(t)), float(cov[0, 1] / math.sqrt(cov[0, 0] * cov[1, 1]))
    )


def judged(found: Mapping[str, Any], known: Experience) -> dict[str, Any]:
    """How the forecasts of one case compare with its truth."""
    now = found["labels"]
    curves = [
        fit_curve(table(f), np.array(f["tested"]), np.array(f["sizes"]), seed=seed, known=known)
        for seed, f in enumerate(found["forecasts"])
    ]
    labels_T, error_T = np.array(found["truth"])[:, :2].T
    at: dict[str, Any] = {}
    for times in AT:
        place = list(DRAWS).index(times)
        at[f"{times:g}"] = compared([c.at(times * now) for c in curves], error_T[place]) | {
            "gain": compared([c.gain(times * now, now) for c in curves], error_T[0] - error_T[place])
        }
    questions: dict[str, Any] = {}
    lowest_T = np.minimum.accumulate(error_T)
    for place in range(1, len(DRAWS)):
        if lowest_T[place] < lowest_T[place - 1]:
            answers = [reach(c, float(error_T[place]), now) for c in curves]
            questions[f"{list(DRAWS)[place]:g}"] = tallied(answers, float(labels_T[place]))
    return {"at": at, "questions": questions, "now": float(error_T[0])}


def compared(told: Sequence[tuple[float, float, float]], true: float) -> dict[str, Any]:
    """Estimates with their intervals against the truth."""
    value, low, high = np.array(told).T
    return {"truth": float(true), "expected": float(value.mean()), "off": float(np.abs(value - true).mean()),
            "width": float((high - low).mean()), "covered": int(((low <= true) & (true <= high)).sum()), "of": len(value)}  # fmt: skip


def tallied(answers: Sequence[Reach], true: float) -> dict[str, int]:
    """Answers to one question by their kind, and how many that give an interval hold the truth (labels in all)."""
    told = [a for a in answers if a.status == "told"]
    reached = [a for a in answers if a.status == "reached"]
    low = [a.low for a in answers if a.status == "far" and a.low is not None]
    return {
        "asked": len(answers),
        "both": sum(a.high is not None for a in told),
        "both_hold": sum(a.high is not None and a.low <= true <= a.high for a in told),  # type: ignore[operator]
        "least": sum(a.high is None for a in told),
        "least_hold": sum(a.high is None and a.low <= true for a in told),  # type: ignore[operator]
        "reached": len(reached),
        "reached_hold": sum(a.high is not None and true <= a.high for a in reached),
        "far": sum(a.status == "far" for a in answers),
        "far_least": len(low),
        "far_least_hold": sum(n <= true for n in low),
        "open": sum(a.status == "open" for a in answers),
        "flat": sum(a.status == "flat" for a in answers),
    }


def main() -> None:
    """Count what is missing, judge everything, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sets", nargs="*", default=list(CASES))
    parser.add_argument("--again", action="store_true", help="judge the counts there are, with nothing learned anew")
    given = parser.parse_args()
    counts = json.loads(RESULTS.read_text())["counts"] if RESULTS.exists() else {}
    for name in [] if given.again else given.sets:
        counts[name] = run(CASES[name])
        print(name, counts[name]["seconds"], counts[name]["truth"], flush=True)
        save(counts)
    save(counts)


def save(counts: Mapping[str, Any]) -> None:
    """Results of all cases, each with what the other data sets tell and with (all but) the likelihood alone."""
    known = learned(counts)
    print("EXPERIENCE of all sets:", known)
    judgements = {
        "experience": {name: judged(found, learned(counts, found["data"])) for name, found in counts.items()},
        "likelihood": {name: judged(found, NOTHING_KNOWN) for name, found in counts.items()},
    }
    tree = {"date": time.strftime("%Y-%m-%d"), "machine": environment(), "experience": asdict(known), "judged": judgements,
            "counts": counts}  # fmt: skip
    write_json(RESULTS, tree)


if __name__ == "__main__":
    main()
