"""The table of a trained encoder for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graft.tables.parts import faults, heading, interval, line, plain_table

if TYPE_CHECKING:
    from graft.fitting.pretraining import PretrainResult


def pretrain_table(result: PretrainResult) -> RenderableType:
    """What was trained, how well it tells its classes apart, and how it is used."""
    training, encoder = result.training, result.encoder
    facts = plain_table("", "")
    facts.show_header = False
    facts.add_row("network", f"{line(result.network, 60)}, {encoder.dim} numbers an item")
    held = f", {result.measured:,} held out" if result.measured else ""
    facts.add_row("learned from", f"{result.train:,} items of {len(result.classes)} classes{held}")
    last = f", loss {training.epochs[-1].loss:.3f}" if training.epochs else ""
    facts.add_row(
        "trained",
        f"{training.trained:,} numbers, {len(training.epochs)} epochs{last}, {training.items_per_second:,.0f} items/s",
    )
    if result.test:
        facts.add_row("accuracy", f"{interval(result.test['accuracy'])}  with its head, on items it did not learn from")
    if result.teacher_accuracy:
        facts.add_row("teacher", f"{interval(result.teacher_accuracy)}  {line(result.teacher, 60)}")
    notes = [Text(line(note, 400)) for note in (training.stopped, *training.notes) if note]
    return Group(
        heading(f"{result.name}: an encoder"),
        facts,
        *notes,
        *faults(result.faults),
        Text(""),
        Text(f"{result.seconds:.1f} s in all. To use it: graft fit OTHER --encoder {encoder.reference}"),
    )
