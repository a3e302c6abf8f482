"""What people read of items to label, and of labels from rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graft.tables.parts import faults, heading, interval, line, plain_table, signed

if TYPE_CHECKING:
    from graft.labelling.outcome import Counts, LabelResult, WeakResult

ITEMS_SHOWN = 20


def label_table(result: LabelResult) -> RenderableType:
    """The next items with their reasons, and how to go on."""
    parts: list[RenderableType] = [heading(f"{result.name}: {len(result.items):,} items to label next")]
    parts += [Text(line(f"{result.how}. {result.why}", 400)), Text(_counts(result.counts))]
    if result.columns:
        parts.append(
            Text(line("Read as " + ", ".join(f"{role}: {name}" for role, name in result.columns.items()) + ".", 400))
        )
    if result.classes:
        parts.append(Text(line(f"{len(result.classes)} labels: {', '.join(result.classes)}.", 400)))
    parts.append(Text(""))
    table = plain_table("", "item", "why", "text") if result.modality == "text" else plain_table("", "item", "why")
    for rank, item in enumerate(result.items[:ITEMS_SHOWN], start=1):
        cells = [str(rank), line(item.id, 60), line(item.reason, 80)]
        table.add_row(*cells, *([line(item.text, 70)] if result.modality == "text" else []))
    if result.items:
        parts.append(table)
    if len(result.items) > ITEMS_SHOWN:
        parts.append(Text(f"... and {len(result.items) - ITEMS_SHOWN:,} more in {result.files[0]}."))
    parts += faults(result.faults)
    parts.append(Text(f"Labels so far: {result.files[1]}, as graft fit takes it."))
    if result.items:
        parts.append(Text("To label on a page: the same command with --serve."))
    return Group(*parts)


def weak_table(result: WeakResult) -> RenderableType:
    """What rules are worth, what was written."""
    parts: list[RenderableType] = [heading(f"{result.name}: labels from {len(result.rules)} rules")]
    parts += [Text(_counts(result.counts)), Text("")]
    table = plain_table("rule", "speaks of", "with others", "against others", "estimated right", "right, measured")
    for rule in result.rules:
        shares = [f"{share:.1%}" for share in (rule.coverage, rule.overlap, rule.conflict)]
        estimated = "" if rule.estimated is None else f"{rule.estimated:.3f}"
        table.add_row(line(rule.rule, 60), *shares, estimated, interval(rule.measured))
    parts += [table, Text("")]
    if result.accuracy is not None:
        parts.append(Text(f"The rules together, on labelled items: {interval(result.accuracy)} right."))
    if result.steps:
        ways = plain_table("carried further by", "right, on labelled items", "gain", "")
        for step in result.steps:
            ways.add_row(step.name, interval(step.accuracy), signed(step.gain), step.why)
        parts += [ways, Text("")]
    parts += faults(result.faults)
    told = ", ".join(f"{count:,} {source}" for source, count in result.labelled.items())
    parts.append(Text(f"Labels written to {result.files[0]}: {told}. Next: graft fit {result.files[0]}"))
    return Group(*parts)


def _counts(counts: Counts) -> str:
    held = f"; {counts.held_out:,} of its test part are left alone" if counts.held_out else ""
    gone = f"; {counts.gone:,} answers are kept for items that are gone" if counts.gone else ""
    return (
        f"{counts.items:,} items: {counts.given:,} labelled in the data, {counts.answered:,} by you, {counts.skipped:,} skipped, "
        f"{counts.unlabelled:,} without a label{held}{gone}."
    )
