"""How right `fit`'s choice is, beside the heads people fit themselves, on the same vectors, splits and tuning, in one run.

    GRAFT_DATA=... python bench/accuracy.py [--seeds 5] [--sets sst2 ...] [--skip-all]

Rows are a public set and K training items a class (drawn by the rule of `fit --shots`), or all of them; the test part is the official
one. Every baseline that has a setting picks it by stratified cross-validation on the training items alone, as `fit` does. The best
baseline of a row is picked *by its test score*, which favours the baselines. Writes bench/results/accuracy.json.

Legend: N items, D dims, C classes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.data.read import read
from graft.data.splits import take_shots
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.fitting.session import environment
from graft.heads.base import unit_rows
from graft.metrics.intervals import mean_interval
from graft.results import Interval, to_json
from graft.selection.select import Candidate, select
from graft.settings import one_thread
from graft.store.cache import VectorCache
from graft.strategies.frozen import STRATEGIES, Task
from graft.strategies.naming import name_classes

RESULTS = Path(__file__).parent / "results" / "accuracy.json"
ROWS: Mapping[str, tuple[int, ...]] = {
    "neu_surface_defect": (1, 5, 8, 20),
    "cifar10": (1, 5, 8, 20),
    "banking77": (5, 8, 10),
    "sst2": (8, 64),
    "ag_news": (8, 64),
}
SENTENCES: Mapping[str, Mapping[str, str]] = json.loads(
    Path(__file__).with_name("sentences.json").read_text(encoding="utf-8")
)
NAMED = ("named-prototypes", "named-linear-probe")
LEARNED = ("prototypes", "neighbours", "linear-probe", "kernel-probe")
MANY = 2000  # from here on baselines are tuned on one held-out fifth instead of five
Vectors = NDArray[np.float32]
Codes = NDArray[np.int64]
Model = Callable[[Vectors], Codes]


def prepared(name: str) -> tuple[Dataset, Vectors, Task, Task]:
    """A set, its vectors, and the task with short names and with a sentence a class (the same where there are none)."""
    dataset = read(f"data:{name}")
    encoder = open_encoder(BUNDLED[dataset.modality])
    with VectorCache.open() as cache:
        x_ND = encode(dataset.contents, encoder, cache=cache).vectors
        short, long = (
            name_classes(encoder, [given.get(label, text) for label, text in named], cache=cache)
            for given in ({}, SENTENCES.get(name, {}))
            for named in [list(zip(dataset.classes, dataset.class_descriptions(), strict=True))]
        )
    return dataset, x_ND, short, long


def baselines(x_ND: Vectors, y_N: Codes, short: Task, long: Task, seed: int) -> dict[str, Model]:
    """What one fits oneself with scikit-learn, each tuned on the training items where there are two of a class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import SVC

    unit = Normalizer()
    logistic = LogisticRegression(max_iter=2000, tol=1e-3)
    return {
        "zero-shot, short names": zero_shot(x_ND, y_N, short),
        "zero-shot, sentences": zero_shot(x_ND, y_N, long),
        **{f"prototypes {kind}": nearest_mean(x_ND, y_N, kind) for kind in ("UN", "L2N", "CL2N")},
        "logistic regression": tuned(unit, logistic, {"C": [1.0, 0.1, 10.0, 100.0]}, x_ND, y_N, seed),
        "RBF SVM": tuned(unit, SVC(gamma="scale"), {"C": [10.0, 1.0, 100.0]}, x_ND, y_N, seed),
        "nearest neighbours": tuned(unit, KNeighborsClassifier(1), {"n_neighbors": [1, 5, 20]}, x_ND, y_N, seed),
    }


def zero_shot(x_ND: Vectors, y_N: Codes, task: Task) -> Model:
    (head,) = STRATEGIES["zero-shot"].fit_path(x_ND, y_N, task, [{}])
    return lambda x: head.logits(x).argmax(1)


def nearest_mean(x_ND: Vectors, y_N: Codes, kind: str) -> Model:
    """SimpleShot (Wang et al. 2019), written out again so that it is not ours that is compared."""
    centre_D = x_ND.mean(0) if kind == "CL2N" else np.zeros(x_ND.shape[1], np.float32)

    def seen(x: Vectors) -> Vectors:
        return x if kind == "UN" else unit_rows(x - centre_D)

    mean_CD = np.stack([seen(x_ND)[y_N == c].mean(0) for c in range(int(y_N.max()) + 1)])
    return lambda x: (
        ((seen(x)[:, None, :] - mean_CD) ** 2).sum(2).argmin(1) if len(x) < 64 else _nearest(seen(x), mean_CD)
    )


def _nearest(x_ND: Vectors, mean_CD: Vectors) -> Codes:
    codes: Codes = (2 * x_ND @ mean_CD.T - (mean_CD**2).sum(1)).argmax(1)
    return codes


def tuned(unit: Any, model: Any, grid: dict[str, list[Any]], x_ND: Vectors, y_N: Codes, seed: int) -> Model:
    """The model at the setting that cross-validation prefers; the first of the grid with one item a class."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit
    from sklearn.pipeline import make_pipeline

    key = model.__class__.__name__.lower()
    least = int(np.bincount(y_N).min())
    pipeline = make_pipeline(unit, model)
    values = {
        f"{key}__{name}": [v for v in options if name != "n_neighbors" or v < len(y_N) / 2]
        for name, options in grid.items()
    }
    if least < 2:
        pipeline.set_params(**{name: options[0] for name, options in values.items()})
        fitted = pipeline.fit(x_ND, y_N)
    else:
        folds = StratifiedKFold(min(5, least), shuffle=True, random_state=seed)
        if len(y_N) >= MANY:
            folds = StratifiedShuffleSplit(1, test_size=0.2, random_state=seed)
        fitted = GridSearchCV(pipeline, values, cv=folds).fit(x_ND, y_N)
    return lambda x: np.asarray(fitted.predict(x))


def one_draw(name: str, shots: int | None, seed: int, part: tuple[Dataset, Vectors, Task, Task]) -> dict[str, Any]:
    """Test accuracy of every baseline, of every strategy as `fit` tunes it, and of `fit`'s choice."""
    dataset, x_ND, short, long = part
    assert dataset.test_mask is not None
    known = dataset.labels >= 0
    train, test = np.flatnonzero(known & ~dataset.test_mask), np.flatnonzero(known & dataset.test_mask)
    if shots is not None:
        train = train[take_shots(dataset.labels[train], shots, seed, dataset.classes)]
    x, y, x_test, y_test = x_ND[train], dataset.labels[train], x_ND[test], dataset.labels[test]
    started = time.process_time()
    rivals = {key: model(x_test) == y_test for key, model in baselines(x, y, short, long, seed).items()}
    between = time.process_time()
    chosen = select([Candidate(name, x, long)], y, seed=seed)
    right = chosen.head.logits(x_test).argmax(1) == y_test
    after = time.process_time()
    settings = {r.name: r.settings for r in chosen.results if r.status == "measured"}
    counts = np.bincount(y, minlength=long.n_classes)
    strategies = {}
    for key, strategy in STRATEGIES.items():
        if strategy.refusal(long, counts) is None:
            (head,) = strategy.fit_path(x, y, long, [settings.get(key) or strategy.settings(counts)[0]])
            strategies[key] = float((head.logits(x_test).argmax(1) == y_test).mean())
    best = max(rivals, key=lambda key: float(rivals[key].mean()))
    return {
        "seed": seed, "train": len(train), "test": len(test), "chosen": chosen.chosen, "fit": float(right.mean()),
        "strategies": strategies, "baselines": {key: float(hit.mean()) for key, hit in rivals.items()},
        "seconds_baselines": round(between - started, 2), "seconds_fit": round(after - between, 2),
        "over_items": to_json(paired(right, rivals[best])),
    }  # fmt: skip


def paired(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Interval:
    """Difference of two accuracies on the same test items with its 95 % interval (normal, over items)."""
    gap = ours.astype(np.float64) - theirs
    half = 1.96 * float(gap.std(ddof=1)) / len(gap) ** 0.5
    mean = float(gap.mean())
    return Interval(mean, mean - half, mean + half, len(gap))


def row(name: str, shots: int | None, draws: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the draws, and the paired difference of `fit`'s choice to the baseline that is best in the mean."""
    means = {key: float(np.mean([d["baselines"][key] for d in draws])) for key in draws[0]["baselines"]}
    best = max(means, key=lambda key: means[key])
    gap = mean_interval([d["fit"] - d["baselines"][best] for d in draws]) if len(draws) > 1 else None
    return {
        "set": name, "shots": shots, "draws": draws, "fit": float(np.mean([d["fit"] for d in draws])),
        "best_baseline": best, "best": means[best],
        "gap": to_json(gap) if gap else draws[0]["over_items"],
        "strategies": {key: float(np.mean([d["strategies"][key] for d in draws])) for key in draws[0]["strategies"]},
    }  # fmt: skip


def told(found: Mapping[str, Any]) -> str:
    gap = found["gap"]
    low, high = 100 * gap["low"], 100 * gap["high"]
    chosen = sorted({d["chosen"] for d in found["draws"]})
    return (
        f"{found['set']:20}{found['shots'] or 'all':>5}  fit {found['fit']:.4f}  best baseline {found['best']:.4f} "
        f"({found['best_baseline']}, {100 * gap['value']:+.1f} [{low:+.1f}, {high:+.1f}])  chose {', '.join(chosen)}  "
        f"{np.mean([d['seconds_fit'] for d in found['draws']]):.1f} s"
    )


def eights(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At eight a class: the better named head beside zero-shot and the best learned strategy."""
    found = []
    for one in rows:
        if one["shots"] == 8:
            scores = one["strategies"]
            learned, named = max(scores[key] for key in LEARNED), max(scores[key] for key in NAMED)
            found.append({"set": one["set"], "zero-shot": scores["zero-shot"], "learned": learned, "named": named})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=list(ROWS))
    parser.add_argument("--skip-all", action="store_true", help="leave out the rows with all training items")
    flags = parser.parse_args()
    rows = []
    with one_thread():
        for name in flags.sets:
            part = prepared(name)
            for shots in (*ROWS[name], *([] if flags.skip_all else [None])):
                draws = [one_draw(name, shots, seed, part) for seed in range(1 if shots is None else flags.seeds)]
                rows.append(row(name, shots, draws))
                print(told(rows[-1]), flush=True)
    for one in eights(rows):
        print({key: value if isinstance(value, str) else round(value, 4) for key, value in one.items()})
    print(f"mean: fit {np.mean([r['fit'] for r in rows]):.4f}, best baselines {np.mean([r['best'] for r in rows]):.4f}")
    RESULTS.parent.mkdir(exist_ok=True)
    result = {"machine": environment(), "date": time.strftime("%Y-%m-%d"), "rows": rows, "eight_a_class": eights(rows)}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
