"""What a network weighs and costs, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graft.tables.parts import heading, line, plain_table, size

if TYPE_CHECKING:
    from graft.diagnostics.counting import ModelCount

MOST_LAYERS = 8


def count_table(result: ModelCount) -> RenderableType:
    """Parameters by depth and the largest layers, bytes of a training step, operations of an item, the largest batch."""
    unused = f", {result.unused:,} more of the pretrained model shape no vector" if result.unused else ""
    depths = plain_table("depth", "parameters", "share", "f32")
    for name, n in result.depths.items():
        depths.add_row(line(name, 40), f"{n:,}", f"{100 * n / result.parameters:.1f} %", size(4 * n))
    layers = plain_table("largest layers", "kind", "depth", "parameters")
    for layer in sorted(result.layers, key=lambda one: -one.parameters)[:MOST_LAYERS]:
        layers.add_row(line(layer.name, 70), layer.kind, layer.depth, f"{layer.parameters:,}")
    bills = plain_table(
        "optimiser", "its state", "weights, gradients, state", "a step", f"largest batch in {size(result.memory)}"
    )
    for bill in result.bills:
        bills.add_row(bill.optimiser, size(bill.state), size(bill.fixed), size(bill.step), f"{bill.largest:,}")
    measured = "not measured" if result.measured is None else f"measured: {size(result.measured)}"
    return Group(
        heading(f"{result.reference}: {result.parameters:,} parameters{unused}"),
        depths,
        Text(""),
        layers,
        Text(""),
        Text(
            f"Activations kept for a batch of {result.batch} ({result.input} an item): {size(result.kept)} predicted, {measured}; "
            f"{size(result.kept_item)} an item."
        ),
        Text(
            f"Operations an item: {result.forward / 1e9:.2f} GFLOP forward, {result.training / 1e9:.2f} GFLOP forward and backward "
            f"({result.convention})."
        ),
        Text(""),
        bills,
        Text("A step holds one and a half times the activations: gradients of activations and workspaces come on top."),
        *(Text(note) for note in result.notes),
    )
