"""What people read of items to label, and of labels from rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graft.labelling.rules import RULE
from graft.reports.formats import plural
from graft.tables.parts import faults, heading, interval, line, plain_table, signed

if TYPE_CHECKING:
    from graft.labelling.outcome import Counts, LabelResult, WeakResult

ITEMS_SHOWN = 20


def label_table(result: LabelResult) -> RenderableType:
    """The next items with their reasons, and how to go on."""
    counts = result.counts
    labelled, asked = counts.given + counts.answered, plural(len(result.items), "item")
    head = f"{asked} to label next" if result.items else f"{labelled:,} of {plural(counts.items, 'item')} labelled"
    parts: list[RenderableType] = [heading(f"{result.name}: {head}")]
    if result.items:
        parts.append(Text(line(f"{result.how}. {result.why}", 400)))
    parts.append(Text(_counts(counts)))
    if result.columns:
        parts.append(
            Text(line("Read as " + ", ".join(f"{role}: {name}" for role, name in result.columns.items()) + ".", 400))
        )
    if result.classes:
        parts.append(Text(line(f"{plural(len(result.classes), 'label')}: {', '.join(result.classes)}.", 400)))
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
    for path in result.edited:
        parts.append(Text(f"labels.csv was changed by hand and is kept as {path}: it is written from the answers."))
    if labelled:
        parts.append(Text(f"To learn from the labels so far: graft fit {result.files[1]}"))
    if counts.unlabelled > counts.skipped:
        served = "--serve" in result.command.split()
        parts.append(
            Text("To go on: the same command." if served else "To label on a page: the same command with --serve.")
        )
    return Group(*parts)


def weak_table(result: WeakResult) -> RenderableType:
    """What rules are worth, what was written."""
    parts: list[RenderableType] = [heading(f"{result.name}: labels from {plural(len(result.rules), 'rule')}")]
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
    parts += faults([fault for fault in result.faults if fault.about != RULE])
    parts += [
        Text(f"{line(fault.where, 60)}: {line(fault.problem, 1000)}", style="yellow")
        for fault in result.faults
        if fault.about == RULE
    ]
    told = ", ".join(f"{count:,} {source}" for source, count in result.labelled.items())
    parts.append(Text(f"Labels written to {result.files[0]}: {told}. Next: graft fit {result.files[0]}"))
    return Group(*parts)


def _counts(counts: Counts) -> str:
    more = []
    if counts.held_out:
        more.append(f"{counts.held_out:,} of its test part {'is' if counts.held_out == 1 else 'are'} left alone")
    if counts.gone:
        more.append(f"{plural(counts.gone, 'answer')} kept for items that are gone")
    if counts.differ:
        more.append(
            f"{plural(counts.differ, 'answer')} unlike the label that stands in the data now: the answer counts"
        )
    return (
        f"{plural(counts.items, 'item')}: {counts.given:,} labelled in the data, {counts.answered:,} by you, {counts.skipped:,} skipped, "
        f"{counts.unlabelled:,} without a label{''.join(f'; {one}' for one in more)}."
    )
