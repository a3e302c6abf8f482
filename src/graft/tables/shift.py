"""How two sets compare, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graft.reports.formats import plural
from graft.tables.parts import ends, faults, heading, interval, line, plain_table

if TYPE_CHECKING:
    from graft.reports.shift import LabelShift, ShiftResult

COLOURS = {"same": "green", "shifted": "red", "cannot tell": "yellow"}
MOST_CLASSES = 12


def shift_table(result: ShiftResult) -> RenderableType:
    """The verdict, how well each sense tells the sets apart, class shares that moved, words that tell."""
    parts: list[RenderableType] = [
        heading(f"{result.name}: {result.verdict}"),
        Text(result.why, style=COLOURS.get(result.verdict, "")),
        Text(""),
    ]
    table = plain_table("told apart by", "AUC", "p", "A-distance", "MCC", "accuracy", "majority")
    for s in result.senses:
        table.add_row(
            s.name,
            interval(s.auc),
            f"{s.p:.3f}",
            interval(s.a_distance),
            f"{s.mcc:.3f}",
            f"{s.accuracy:.3f}",
            f"{s.majority:.3f}",
        )
    if result.kernel:
        table.add_row(f"kernel, MMD² {result.kernel.value:.2g}", "", f"{result.kernel.p:.3f}", "", "", "", "")
    if result.senses or result.kernel:
        parts.append(table)
    if result.labels:
        parts += [Text(""), *_labels(result.labels)]
    if result.words:
        told = plain_table("words that tell", f"in {line(result.first.name, 30)}", f"in {line(result.second.name, 30)}")
        for word in result.words:
            told.add_row(line(word.word, 40), f"{100 * word.first:.1f} %", f"{100 * word.second:.1f} %")
        parts += [Text(""), told]
    parts += [Text(""), *(Text(line(note, 400)) for note in result.notes)]
    if result.out:
        shown = (
            "The report"
            if result.verdict == "same" or not result.senses
            else "The report, with the items that give it away"
        )
        parts.append(Text(f"{shown}: {result.out}/report.html"))
    return Group(*parts, *faults(result.faults))


def _labels(labels: LabelShift) -> list[RenderableType]:
    moved = labels.moved
    if not moved:
        if labels.uncertain:
            return [Text(f"Class shares are not to be relied on. {labels.uncertain}")]
        return [Text(f"Class shares: none of {plural(len(labels.classes), 'class', 'classes')} is seen to move.")]
    table = plain_table("class shares that moved", "first", "second, estimated", "second, by its labels")
    for c in moved[:MOST_CLASSES]:
        seen = "" if c.observed is None else f"{c.observed:.3f}"
        table.add_row(line(c.name, 40), f"{c.first:.3f}", f"{c.estimated.value:.3f}  {ends(c.estimated)}", seen)
    return [table]
