"""E9: parameters, bytes and operations of given networks and optimisers, predicted and as torch allocates them.

`graft diagnose model` counts; beside it, what torch holds after one real step with each optimiser.
"""

from __future__ import annotations

from typing import Any

from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, main

from graft.diagnostics.counting import ModelCount, count
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoders.tuned import new_network
from graft.results import to_json

MB, GB = 2**20, 2**30
FULL = {"minilm": ([1, 4, 8, 16], 64), "efficientnet-lite0": ([1, 2, 4, 8], 1)}  # batches, tokens
QUICK = {"small CNN": ([1, 4], 1)}
MEMORY = 8 * GB


def measure(setting: Setting) -> Numbers:
    found = {}
    for name, (batches, tokens) in (QUICK if setting.quick else FULL).items():
        encoder = new_network("image", {"width": 8, "side": 16, "seed": 0}) if setting.quick else open_encoder(name)
        counts = {batch: count(encoder, batch=batch, tokens=tokens, memory_bytes=MEMORY) for batch in batches}
        last = counts[batches[-1]]
        found[name] = {
            "input": last.input,
            "parameters": last.parameters,
            "unused": last.unused,
            "weights": last.weights,
            "forward": last.forward,
            "kept_item": last.kept_item,
            "batches": {str(batch): {"predicted": c.kept, "measured": c.measured} for batch, c in counts.items()},
            "error": max(abs(c.kept / c.measured - 1) for c in counts.values() if c.measured),
            "optimisers": optimisers(encoder, last),
            "largest_layers": to_json(sorted(last.layers, key=lambda one: -one.parameters)[:3]),
        }
    return {"memory": MEMORY, "networks": found}


def optimisers(encoder: Encoder, counted: ModelCount) -> dict[str, Any]:
    """What each keeps, as counted and as torch holds it after one step, and the largest batch."""
    import torch

    from graft.trainers.body import first_batch, open_body

    body = open_body(encoder).train()
    body(first_batch(encoder)).sum().backward()
    rates: dict[str, Any] = {
        "sgd": lambda p: torch.optim.SGD(p, 1e-3),
        "momentum": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, 1e-3),
    }
    found = {}
    for bill in counted.bills:
        optimiser = rates[bill.optimiser](body.parameters())
        optimiser.step()
        held = [v for state in optimiser.state.values() for v in state.values() if torch.is_tensor(v)]
        found[bill.optimiser] = {
            "state": bill.state,
            "held": sum(v.nbytes for v in held),
            "fixed": bill.fixed,
            "largest": bill.largest,
        }
    return found


def present(numbers: Numbers) -> Page:
    nets = numbers["networks"]
    sizes = [
        (
            name,
            f"{n['parameters']:,}",
            f"{n['unused']:,}",
            f"{n['weights'] / MB:.1f}",
            f"{n['kept_item'] / MB:.1f}",
            f"{n['forward'] / 1e9:.2f}",
            n["input"],
        )
        for name, n in nets.items()
    ]
    kept = [
        (name, batch, f"{row['predicted'] / MB:.2f}", f"{row['measured'] / MB:.2f}")
        for name, n in nets.items()
        for batch, row in n["batches"].items()
    ]
    bills = [
        (
            name,
            key,
            f"{row['state'] / MB:.1f}",
            f"{row['held'] / MB:.1f}",
            f"{row['fixed'] / MB:.1f}",
            f"{row['largest']:,}",
        )
        for name, n in nets.items()
        for key, row in n["optimisers"].items()
    ]
    figure = line_chart(
        "Activations that a step keeps, MiB",
        Axis("items of a batch"),
        Axis("MiB"),
        [
            Line(f"{name}, measured", [(float(b), row["measured"] / MB) for b, row in n["batches"].items()])
            for name, n in nets.items()
        ],
    )
    worst = max(n["error"] for n in nets.values())
    shares = ", ".join(f"{name} {n['kept_item'] / n['weights']:.1f}" for name, n in nets.items())
    close = "to the byte" if worst < 1e-9 else f"within {100 * worst:.1f} % of"
    return Page(
        answer=(
            f"Activations predicted from batches of one and two are {close} what torch keeps; Adam's two moments are twice the "
            f"weights. One item's activations take, in times the weights: {shares}."
        ),
        reading=(
            "So it is the batch that decides the memory of a training, not the optimiser: going from Adam to plain SGD buys few items more. "
            f"The largest batches are for {numbers['memory'] / GB:.0f} GB with all weights trained in f32, and leave half as much again as the activations "
            "for gradients of activations and workspaces."
        ),
        tables=[
            Table(
                "Networks. A multiply-add counts as two operations.",
                (
                    "network",
                    "parameters",
                    "unused",
                    "weights, MiB",
                    "activations an item, MiB",
                    "GFLOP forward",
                    "an item",
                ),
                sizes,
            ),
            Table("Activations kept for the backward pass, MiB.", ("network", "batch", "predicted", "measured"), kept),
            Table(
                "Optimisers, MiB; `held` is what torch holds after a step.",
                ("network", "optimiser", "its state", "held", "weights, gradients and state", "largest batch"),
                bills,
            ),
        ],
        figures={"activations.svg": figure},
    )


STUDY = Study(
    name="e09_counting",
    title="E9: counting parameters and memory",
    question="How many parameters, bytes and operations does a network take with a given optimiser, and does torch allocate what is predicted?",
    measure=measure,
    present=present,
    expected={
        "networks > minilm > parameters": (22_565_376, 22_565_376),
        "networks > efficientnet-lite0 > parameters": (3_371_008, 3_371_008),
        "networks > minilm > error": (0.0, 0.03),
        "networks > efficientnet-lite0 > error": (0.0, 0.03),
    },
    expected_quick={"networks > small CNN > error": (0.0, 0.03)},
)

if __name__ == "__main__":
    main(STUDY)
