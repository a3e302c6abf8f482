"""Answers about labels as tables: how many more a target takes, which are doubted, what was corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graft.label_curve import CurveResult, LabelCurve
from graft.reports.curve import gained, told, told_first, twice
from graft.reports.formats import plural
from graft.tables.parts import faults, heading, line, plain_table

if TYPE_CHECKING:
    from graft.reports.review import CorrectedTable, LabelsResult

SHOWN = 20
NARROW = "\u202f"  # the space that reports write before a unit; terminals draw it as a box as often as not


def forecast(curve: LabelCurve) -> str:
    """The sentences of a fit."""
    return told_first(curve).replace(NARROW, " ")


def curve_table(result: CurveResult) -> RenderableType:
    """What was measured, what is expected, what twice the labels would bring, and what the targets take."""
    curve = result.curve
    parts: list[RenderableType] = [
        heading(f"{result.name}: {curve.strategy} on {curve.encoder}, {curve.labels:,} labels")
    ]
    if curve.reason:
        parts.append(Text(told_first(curve)))
    else:
        table = plain_table("labels", "accuracy", "95 % interval", "", "points gained", "95 % interval")
        rows = [
            *((p, "measured", ("", "")) for p in curve.measured),
            *((p, "expected", gained(p)) for p in curve.expected),
        ]
        for point, how, gain in rows:
            ends = f"{point.low:.3f} to {point.high:.3f}"
            table.add_row(f"{point.labels:,}", f"{point.accuracy:.3f}", ends, how, *gain)
        sentences = [twice(curve), *map(told, curve.targets)]
        parts += [table, Text(""), *(Text(said.replace(NARROW, " ")) for said in sentences if said)]
    return Group(*parts, Text(""), Text(f"The report: {result.out}/report.html"))


def doubts_table(result: LabelsResult) -> RenderableType:
    """The most doubtful labels, and where to judge them."""
    parts: list[RenderableType] = [
        heading(f"{result.name}: {result.doubted:,} of {plural(result.asked, 'label')} doubted"),
        Text(
            f"{result.strategy} on {result.encoder} gives {result.right.value:.1%} of the items the label they have "
            f"(the largest class: {result.chance:.1%})."
        ),
    ]
    if result.reason:
        parts.append(Text(f"Nothing is doubted: {result.reason}.", style="yellow"))
    if result.suspects:
        table = plain_table("item", "label", "p", "suggested", "p")
        for s in result.suspects[:SHOWN]:
            table.add_row(
                line(s.item, 60), line(s.given, 30), f"{s.p_given:.2f}", line(s.suggested, 30), f"{s.p_suggested:.2f}"
            )
        parts += [Text(""), table]
    if result.lone:
        parts.append(Text(f"Not asked, with a single item: {line(', '.join(result.lone), 200)}"))
    parts += faults(result.faults)
    told = f"To judge them, open {result.out}/review.html" if result.suspects else f"The page: {result.out}/review.html"
    return Group(*parts, Text(""), Text(told))


def corrected_line(result: CorrectedTable) -> RenderableType:
    """What was changed, and where it is."""
    parts: list[RenderableType] = [
        heading(f"{result.path}: {plural(result.changed, 'label')} changed of {plural(result.rows, 'row')}"),
        Text(f"{result.confirmed:,} confirmed as they were."),
    ]
    if result.lost:
        parts.append(Text(f"{plural(result.lost, 'item')} could not be read, and left out.", style="yellow"))
    if result.pairs:
        table = plain_table("label", "now", "items")
        for given, label, number in result.pairs[:SHOWN]:
            table.add_row(line(given, 40), line(label, 40), f"{number:,}")
        parts += [Text(""), table]
    return Group(*parts, Text(""), Text(f"Next: graft fit {result.path}"))
