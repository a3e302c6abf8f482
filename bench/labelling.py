"""How long `graft label` takes to choose the next 100 of 100,000 items, once they are encoded: seconds of one processor thread.

    python bench/labelling.py [--items 100000] [--dim 384]

Vectors are drawn from 200 groups of different size, 500 of them labelled in 20 classes. The limit is 5 seconds. Prints a table, and leaves
with 1 where a way is over the limit.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from graft.annotation.pool import Pool, next_batch
from graft.settings import one_thread

LIMIT = 5.0
LABELLED, CLASSES, GROUPS = 500, 20, 200


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


def main() -> None:
    parser = argparse.ArgumentParser(description="The next 100 of 100,000.")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    flags = parser.parse_args()
    of = pool(flags.items, flags.dim)
    classes = tuple(sorted({label for label in of.given if label}))
    over = []
    with one_thread():
        next_batch(of, {}, classes, "random", 1)  # imports
        for how in ("typical", "core-set", "margin", "uncertainty", "random"):
            wall, processor = time.perf_counter(), time.process_time()
            batch = next_batch(of, {}, classes, how, 100)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            print(
                f"{how:12} {processor:6.2f} s of the processor, {wall:6.2f} s by the clock, {len(batch.items)} items",
                flush=True,
            )
            over += [how] * (processor > LIMIT)
    sys.exit(f"Over {LIMIT:g} s: {', '.join(over)}" if over else 0)


if __name__ == "__main__":
    main()
