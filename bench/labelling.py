"""How long `graft label` takes once items are encoded: the next 100 of 100,000, an answer on the page, the graph of neighbours.

    PYTHONPATH=... python bench/labelling.py

Seconds of one processor thread. Vectors are drawn from 200 groups of different size, 500 of them labelled in 20 classes. The limit for the next
100 is 5 seconds; leaves with 1 where a way is over it. The graph of neighbours (propagation of labels from rules) is made in processes of
its own, so that the memory is its own too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from graft.annotation.journal import Journal
from graft.annotation.pool import Pool, next_batch
from graft.annotation.session import Session
from graft.fitting.session import environment
from graft.labelling.spreading import neighbour_graph
from graft.settings import one_thread
from graft.store.files import write_json

RESULTS = Path(__file__).parent / "results" / "labelling.json"
LIMIT = 5.0
ITEMS, DIMS, BATCH = 100_000, (384, 1280), 100
LABELLED, CLASSES, GROUPS = 500, 20, 200
GRAPHS = (5_000, 20_000, 100_000)
PAGES = (1_000, 100_000, 1_000_000)  # items behind the page
ROUNDS = 3


def pool(items: int, dim: int) -> Pool:
    """Unit vectors round the middles of groups, of which low-numbered ones are larger."""
    rng = np.random.default_rng(0)
    middle = rng.standard_normal((GROUPS, dim)).astype(np.float32)
    group = (GROUPS * rng.random(items) ** 2).astype(np.int64)
    x_ND = middle[group] + 0.8 * rng.standard_normal((items, dim), dtype=np.float32)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    ids = tuple(map(str, range(items)))
    given = [None if i >= LABELLED else f"class {group[i] % CLASSES}" for i in range(items)]
    return Pool("bench", "bench", "text", ids, ids, ids, tuple(given), x_ND)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - processor, time.perf_counter() - wall


def batches(dim: int) -> list[dict[str, Any]]:
    of = pool(ITEMS, dim)
    classes = tuple(sorted({label for label in of.given if label}))
    rows = []
    with one_thread():
        next_batch(of, {}, classes, "random", 1)  # imports
        for how in ("typical", "core-set", "margin", "uncertainty", "random"):
            taken = [timed(partial(next_batch, of, {}, classes, how, BATCH)) for _ in range(ROUNDS)]
            rows.append({"how": how, "dims": dim, "seconds": sorted(processor for processor, _ in taken)})
            print(rows[-1], flush=True)
    return rows


def answers(items: int) -> dict[str, Any]:
    """Milliseconds from an answer to the next item, with the disk's sync, by the clock; the quickest of 50, and their median."""
    of = pool(items, 2)
    classes = tuple(sorted({label for label in of.given if label}))
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        batch = next_batch(of, {}, classes, "random", BATCH)
        session = Session(of, journal, classes, lambda *_: batch, batch)

        def answered(key: str) -> None:
            session.answer(key, classes[0], new=False)
            session.state()

        taken = [timed(partial(answered, item.key))[1] for item in batch.items[:50]]
        journal.close()
    return {"items": items, "milliseconds": [round(1000 * float(f(taken)), 2) for f in (min, np.median)]}


def graph(items: int) -> None:
    """In a process of its own: prints seconds of the processor and the peak of memory beyond the vectors."""
    x_ND = pool(items, 384).x_ND
    neighbour_graph(x_ND[:100])  # imports
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on (Linux)
    before = held("VmRSS")
    with one_thread():
        processor, _ = timed(lambda: neighbour_graph(x_ND))
    print(json.dumps({"items": items, "seconds": round(processor, 1), "mib": round(held("VmHWM") - before)}))


def held(name: str) -> float:
    """MiB of this process by the kernel's account: VmRSS now, VmHWM at the peak."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="The next 100 of 100,000, an answer, the graph.")
    parser.add_argument("--graph", type=int)
    flags = parser.parse_args()
    if flags.graph:
        graph(flags.graph)
        return
    result: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "machine": environment(), "limit": LIMIT}
    result["answers"] = [answers(items) for items in PAGES]
    print(result["answers"], flush=True)
    result["graphs"] = []
    for items in GRAPHS:
        told = subprocess.run(
            [sys.executable, __file__, "--graph", str(items)], capture_output=True, text=True, check=True
        )
        result["graphs"].append(json.loads(told.stdout))
        print(result["graphs"][-1], flush=True)
    result["batches"] = [row for dim in DIMS for row in batches(dim)]
    write_json(RESULTS, result)
    over = [f"{row['how']} ({row['dims']})" for row in result["batches"] if row["seconds"][0] > LIMIT]
    sys.exit(f"Over {LIMIT:g} s: {', '.join(over)}" if over else 0)


if __name__ == "__main__":
    main()
