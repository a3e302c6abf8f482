"""How long `graft diagnose shift` takes after encoding, at 10,000 against 10,000 vectors; and what its cheap form adds to a fit of 2,000 items.

python bench/shift.py

Vectors are drawn at random: what is done with them does not depend on their values. Seconds are those of the clock and of the processor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from graft.diagnostics.shift import compare, quick
from graft.diagnostics.sides import MOST_WORDS, Pair
from graft.fitting.session import environment
from graft.reports.shift import Side

RESULTS = Path(__file__).parent / "results" / "shift.json"
ITEMS, CLASSES = 10_000, 10
ROUNDS = 3


def pair(dims: int) -> Pair:
    """Two sets of one distribution, with labels of ten classes that can be learned, and counts of words beside."""
    draw = np.random.default_rng(0)
    n = 2 * ITEMS
    label_N = draw.integers(0, CLASSES, n)
    x_ND = draw.standard_normal((n, dims), np.float32) + 3 * draw.standard_normal((CLASSES, dims), np.float32)[label_N]
    side = Side("set", "set", ITEMS, ITEMS)
    return Pair(
        sides=(side, side),
        modality="text",
        encoder="",
        contents=("",) * n,
        ids=tuple(map(str, range(n))),
        second_N=np.arange(n) >= ITEMS,
        cluster_N=np.arange(n),
        x_ND=x_ND,
        raw_ND=draw.poisson(0.1, (n, MOST_WORDS)).astype(np.float32),
        label_N=label_N,
        classes=tuple(map(str, range(CLASSES))),
    )


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    """Seconds of each round."""
    clock, processor = [], []
    for _ in range(ROUNDS):
        started, busy = time.perf_counter(), time.process_time()
        work()
        clock.append(round(time.perf_counter() - started, 2))
        processor.append(round(time.process_time() - busy, 2))
    return {"seconds": sorted(clock), "processor_seconds": sorted(processor)}


def main() -> None:
    rows: list[dict[str, Any]] = []
    for dims in (384, 1280):
        made = pair(dims)
        rows.append({"dims": dims, "items": ITEMS, **timed(partial(compare, made, seed=0, name=""))})
        some = made.x_ND[:2000]
        asked = partial(quick, some, np.arange(1600), np.arange(1600, 2000), np.arange(2000), 0)
        rows[-1]["fit"] = timed(asked)
        print(json.dumps(rows[-1]), flush=True)
        result = {"machine": environment(), "date": time.strftime("%Y-%m-%d"), "rounds": ROUNDS, "rows": rows}
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
