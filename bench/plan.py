"""How well `plan` foretold what was measured: its ranges and its order beside the recorded test accuracies of `accuracy.json` and `few_labels.json`.

    GRAFT_DATA=... python bench/plan.py [--sets sst2 ...] [--seeds 5] [--all]

For every set, number of labels and draw the rules see the training items alone, as `graft plan` would, and say what each strategy will get right on the
official test part; the recorded runs on the same draws say what it got. Only training items are encoded. What is known of strategies beforehand
was rounded from these same sets, and so were a prior, a curve and the spreads of the rules: see studies/t01_strategy_advice.py for other data. `--all` adds
the rows with all labels (at most 5,000 items are looked at). Rows are added to bench/results/plan.json set by set.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.read import read
from graft.data.splits import take_shots
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.fitting.advising import MOST_ITEMS
from graft.fitting.session import environment
from graft.metrics.rank import spearman
from graft.planning.expectation import Expected, expectations
from graft.planning.foretold import ground_of
from graft.store.cache import VectorCache
from graft.strategies.expected import ALIKE
from graft.strategies.frozen import STRATEGIES
from graft.strategies.naming import name_classes

HERE = Path(__file__).parent / "results"
RESULTS = HERE / "plan.json"
SENTENCES = json.loads(Path(__file__).with_name("sentences.json").read_text(encoding="utf-8"))  # as in accuracy.json


def recorded() -> dict[tuple[str, int], dict[int, dict[str, float]]]:
    """Test accuracy by strategy for each set and labels a class (0: all), by seed; of rungs that train where they were run."""
    found: dict[tuple[str, int], dict[int, dict[str, float]]] = {}
    for row in json.loads((HERE / "accuracy.json").read_text(encoding="utf-8"))["rows"]:
        key = row["set"], row["shots"] or 0
        found[key] = {draw["seed"]: dict(draw["strategies"]) for draw in row["draws"]}
    for row in json.loads((HERE / "few_labels.json").read_text(encoding="utf-8"))["rows"]:
        if row["whose"] not in ("frozen", "setfit"):
            found.setdefault((row["set"], row["shots"]), {}).setdefault(row["seed"], {})[row["whose"]] = row["accuracy"]
    return found


def rows_of(
    name: str, measured: Mapping[tuple[str, int], dict[int, dict[str, float]]], seeds: int, *, whole: bool
) -> list[dict[str, Any]]:
    """One row for each number of labels of a set."""
    dataset = read(f"data:{name}")
    assert dataset.test_mask is not None
    training = np.flatnonzero(~dataset.test_mask)
    encoder = open_encoder(BUNDLED[dataset.modality])
    named = zip(dataset.classes, dataset.class_descriptions(), strict=True)
    rows = []
    with VectorCache.open() as cache:
        task = name_classes(encoder, [SENTENCES.get(name, {}).get(label, text) for label, text in named], cache=cache)
        for (of, shots), draws in sorted(measured.items()):
            if of != name or (not shots and not whole):
                continue
            told = []
            for seed in sorted(draws)[:seeds]:
                train = training[take_shots(dataset.labels[training], shots, seed)] if shots else training
                some = np.sort(np.random.default_rng(seed).permutation(train)[:MOST_ITEMS])
                x_ND = encode([dataset.contents[i] for i in some], encoder, cache=cache).vectors
                started = time.process_time()
                ground = ground_of(
                    x_ND, dataset.labels[some], task, np.arange(len(some)), modality=dataset.modality, seed=seed
                )
                full = np.median(np.bincount(dataset.labels[train], minlength=len(dataset.classes)))
                expected = expectations(replace(ground, labels=float(full)))
                told.append({"seed": seed, **judged(expected, draws[seed]), "seconds": time.process_time() - started})
            rows.append({"set": name, "shots": shots, "draws": told})
            print(
                name,
                shots,
                [(draw["top"], round(draw["expected"], 3), round(draw["measured"], 3)) for draw in told],
                flush=True,
            )
    return rows


def judged(expected: Mapping[str, Expected], true: Mapping[str, float]) -> dict[str, Any]:
    """What was foretold beside what was measured, for the strategies that were: the frozen ones, and rungs that train apart."""
    frozen = [name for name in STRATEGIES if name in true and name in expected]
    trained = [name for name in true if name not in STRATEGIES and name in expected]
    held = {name: expected[name].low <= true[name] <= expected[name].high for name in (*frozen, *trained)}
    if not frozen:
        return {"top": "", "expected": 0.0, "measured": 0.0, "held": held}
    bar = max(expected[name].value for name in frozen) - ALIKE["accuracy"]
    top = min((name for name in frozen if expected[name].value > bar), key=lambda name: STRATEGIES[name].rung)
    return {
        "top": top,
        "expected": expected[top].value,
        "low": expected[top].low,
        "high": expected[top].high,
        "measured": true[top],
        "best": max(true[name] for name in frozen),
        "rank_correlation": spearman(
            np.array([expected[n].value for n in frozen]), np.array([true[n] for n in frozen])
        ),
        "held": held,
        "width": float(np.mean([expected[name].high - expected[name].low for name in frozen])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", help="default: all that were recorded")
    parser.add_argument("--seeds", type=int, default=5, help="draws of each row at most")
    parser.add_argument("--all", action="store_true", help="the rows with all labels too")
    flags = parser.parse_args()
    measured = recorded()
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.is_file() else []
    for name in flags.sets or sorted({of for of, _ in measured}):
        new = rows_of(name, measured, flags.seeds, whole=flags.all)
        done = {(row["set"], row["shots"]) for row in new}
        kept = sorted(
            [*(row for row in kept if (row["set"], row["shots"]) not in done), *new],
            key=lambda row: (row["set"], row["shots"] or 10**9),
        )
        machine = {"date": time.strftime("%Y-%m-%d"), **environment()}
        RESULTS.write_text(json.dumps({"machine": machine, "rows": kept}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
