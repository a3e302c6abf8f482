"""How long `plan` takes beyond encoding, and LogME beside the reference package: the same values, and how long each takes.

    GRAFT_DATA=... PYTHONPATH=... python bench/plan_speed.py      needs `pip install transformer-ranker` (0.2.0 was measured)

`plan` runs in fresh processes with the vectors in the cache, so that what is timed is everything but encoding: start, imports, reading, duplicates,
probe, LogME, rules. LogME is asked by both for the same real vectors in turn; the reference is You et al. 2021 by singular value
decomposition in torch, on as many threads. Least processor seconds of the rounds. Writes bench/results/plan_speed.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench.labels import quickest

from graft.data.read import read
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.fitting.session import environment
from graft.metrics.logme import logme
from graft.settings import one_thread
from graft.store.cache import VectorCache
from graft.store.files import write_json

RESULTS = Path(__file__).parent / "results" / "plan_speed.json"
PLANNED = ("ag_news", "cifar10")
ROUNDS = 3
ITEMS = 5_000
CHILD = """
import json, sys, time
wall = time.perf_counter()
import graft
plan = graft.plan(sys.argv[1])
print(json.dumps({"labelled": plan.data.looked_at, "processor": time.process_time(), "wall": time.perf_counter() - wall,
                  "after_encoding": plan.seconds["plan"]}))
"""


def planned(name: str) -> dict[str, Any]:
    """Seconds of a whole plan with a full cache, over the rounds; the first run fills the cache."""
    runs = []
    for _ in range(1 + ROUNDS):
        done = subprocess.run([sys.executable, "-c", CHILD, f"data:{name}"], check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
        print(name, runs[-1], flush=True)
    return {"set": name, "runs": runs[1:]}


def beside(name: str, classes: int) -> dict[str, Any]:
    """Both LogMEs on the vectors of 5,000 training items; with fewer classes than the set has, neighbouring ones are taken together."""
    import torch
    from transformer_ranker.estimators.logme import LogME

    dataset = read(f"data:{name}")
    assert dataset.test_mask is not None
    train = np.random.default_rng(0).permutation(np.flatnonzero(~dataset.test_mask))[:ITEMS]
    y_N = dataset.labels[train] * classes // len(dataset.classes)
    with VectorCache.open() as cache:
        x_ND = encode(
            [dataset.contents[i] for i in train], open_encoder(BUNDLED[dataset.modality]), cache=cache
        ).vectors
    x, y = torch.from_numpy(x_ND), torch.from_numpy(y_N)
    with one_thread():
        torch.set_num_threads(1)
        ours, our_seconds = quickest(lambda: logme(x_ND, y_N))
        theirs, their_seconds = quickest(lambda: LogME().fit(embeddings=x, labels=y))
    found = {
        "set": name,
        "items": len(y_N),
        "dims": x_ND.shape[1],
        "classes": len(np.unique(y_N)),
        "ours": ours,
        "theirs": theirs,
    }
    print(found, our_seconds, their_seconds, flush=True)
    return {**found, "our_seconds": our_seconds, "their_seconds": their_seconds}


def main() -> None:
    load = round(os.getloadavg()[0], 1)
    logmes = [beside(name, classes) for name, classes in (("banking77", 10), ("banking77", 77), ("cifar10", 10))]
    plans = [planned(name) for name in PLANNED]
    facts = {"date": time.strftime("%Y-%m-%d"), "load": load, **environment()}
    write_json(RESULTS, {"machine": facts, "plans": plans, "logme": logmes})


if __name__ == "__main__":
    main()
