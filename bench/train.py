"""How fast an epoch of training is, beside the same written with plain torch, transformers and peft; in turn, in one run.

    GRAFT_DATA=... python bench/train.py [text] [pictures] [--rounds 3]

A plain loop is what a person writes: the pretrained model, a linear layer, AdamW as torch sets it up, cross entropy, shuffled batches
padded to their longest. Ours is `graft.strategies.tuning.tune` on the same items with the same batch size, with what it does besides (gradient
clipping, a schedule, learning-rate groups). Both have batch norm and dropout as Graft's rung has them. Seconds are those of the steps of
one epoch, by the processor's clock, which other work on the machine disturbs less; the median of the rounds' ratios counts. Memory is
the process's peak, each in a process of its own. Writes bench/results/train.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.data.read import read
from graft.data.splits import take_shots
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.fitting.session import environment
from graft.settings import threads
from graft.store.cache import VectorCache
from graft.strategies.frozen import Task
from graft.strategies.items import Items
from graft.strategies.trained import TRAINED
from graft.strategies.tuning import Job, tune
from graft.trainers.body import Body, open_body

RESULTS = Path(__file__).parent / "results" / "train.json"
RUNGS = ("head-only", "last-blocks", "lora", "finetune")
SETS = {
    "text": ("sst2", "digits", 48, 16),
    "pictures": ("neu_surface_defect", "digits", 8, 16),
}  # set, stand-in, shots, batch


def items_of(kind: str) -> tuple[Items, np.ndarray[Any, np.dtype[np.int64]]]:
    """Labelled items of the set, and their codes."""
    name, _, shots, _ = SETS[kind]
    dataset = read(f"data:{name}")
    train = np.arange(len(dataset)) if dataset.test_mask is None else np.flatnonzero(~dataset.test_mask)
    chosen = train[take_shots(dataset.labels[train], shots, 0)]
    contents = [dataset.contents[i] for i in chosen]
    encoder = open_encoder(BUNDLED[dataset.modality])
    with VectorCache.open() as cache:
        x_ND = encode(contents, encoder, cache=cache).vectors
    return Items.of(encoder, contents, x_ND, dataset.classes), dataset.labels[chosen]


def ours(kind: str, rung: str, items: Items, y_N: Any) -> Callable[[], float]:
    """Processor seconds of the steps of one epoch of ours; what is computed once for all epochs and folds is computed before."""
    strategy = TRAINED[rung].with_given({"epochs": 2, "batch": SETS[kind][3], "dropout": 0})
    recipe = strategy.recipe(items.encoder.info.modality)

    def run() -> float:
        ticks = Ticks()
        tune(strategy, items, y_N, Task(int(y_N.max()) + 1), Job(recipe, tracker=ticks, stage="bench"))
        return ticks.at[1] - ticks.at[0]

    return run


class Ticks:
    """A tracker that notes the processor's clock after each epoch; the first of two warms up, the second counts."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Called after each epoch with its figures."""
        del values, step
        self.at.append(time.process_time())


def plain(kind: str, rung: str, items: Items, y_N: Any) -> Callable[[], float]:
    """Processor seconds of one epoch of a loop as people write it."""
    body, head = open_body(items.encoder), nn.Linear(items.x_ND.shape[1], int(y_N.max()) + 1)
    body.set_dropout(0)
    wanted = plain_parameters(body, rung)
    optimiser = torch.optim.AdamW([*wanted, *head.parameters()], lr=1e-4)
    rows, targets, batch = items.rows(), torch.from_numpy(y_N), SETS[kind][3]

    def run() -> float:
        torch.set_num_threads(threads())
        body.train()
        order = torch.randperm(len(items))
        started = time.process_time()
        for start in range(0, len(items), batch):
            some = order[start : start + batch]
            optimiser.zero_grad()
            with torch.set_grad_enabled(rung != "head-only"):
                vectors = body(rows.batch(some.numpy()))
            loss = nn.functional.cross_entropy(head(vectors), targets[some])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return time.process_time() - started

    return run


def plain_parameters(body: Body, rung: str) -> list[nn.Parameter]:
    """What the plain loop trains of the body: all, the last blocks, LoRA by peft, or nothing."""
    if rung == "lora":
        from peft import LoraConfig, inject_adapter_in_model

        from graft.trainers.adapters import targets

        inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules=list(targets(body))), body)
        return [p for name, p in body.named_parameters() if "lora_" in name]
    groups = body.groups()
    last = {"finetune": len(groups), "head-only": 0}.get(rung, 0)
    if rung == "last-blocks":
        recipe = TRAINED[rung].recipe(body.encoder.info.modality)
        last = (recipe.last or 2) + int(groups[-1].name == "top")
    names = {name for group in groups[len(groups) - last :] for name in group.parameters}
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name in names)
    return [p for p in body.parameters() if p.requires_grad]


def compared(kind: str, rung: str, rounds: int) -> dict[str, Any]:
    """Rounds of both, in turn."""
    items, y_N = items_of(kind)
    rivals = {"ours": ours(kind, rung, items, y_N), "plain": plain(kind, rung, items, y_N)}
    found: dict[str, list[float]] = {name: [] for name in rivals}
    rivals["plain"]()
    for _ in range(rounds):
        for name, run in rivals.items():
            found[name].append(run())
    ratios = [a / b for a, b in zip(found["ours"], found["plain"], strict=True)]
    return {
        "set": kind,
        "rung": rung,
        "items": len(items),
        "batch": SETS[kind][3],
        "ours_seconds": statistics.median(found["ours"]),
        "plain_seconds": statistics.median(found["plain"]),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "rounds": rounds,
    }


def peak(kind: str, rung: str, whose: str) -> float:
    """MiB at the peak of a process that trains one epoch."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (kind, rung, whose))


def _peak(kind: str, rung: str, whose: str) -> float:
    items, y_N = items_of(kind)
    (ours if whose == "ours" else plain)(kind, rung, items, y_N)()
    # not getrusage, whose peak a started process takes over from the one that starts it
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    rows = []
    for kind in flags.sets:
        for rung in RUNGS:
            row = compared(kind, rung, flags.rounds)
            row |= {f"{whose}_mib": peak(kind, rung, whose) for whose in ("ours", "plain")}
            print(row, flush=True)
            rows.append(row)
    machine = {"date": time.strftime("%Y-%m-%d"), **environment()}
    RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
