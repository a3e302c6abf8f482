"""A plan as people read it: what is there, the advice, the strategies, the encoders, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from graft.planning.advice import Advised, DataFacts, EncoderAdvice, PlanResult
from graft.reports.formats import about, percent, plural
from graft.results import Interval
from graft.tables.parts import faults, heading, line, plain_table

KINDS = {"text": "text", "image": "picture"}
STATUS = {"advised": "", "costly": "too dear", "impossible": "cannot run"}


def plan_table(result: PlanResult) -> RenderableType:
    """All of a plan."""
    parts: list[RenderableType] = [heading(f"A plan for {result.name}"), Text(result.verdict, style="bold"), Text("")]
    parts += [Text(line(text, 1000)) for text in _situation(result)]
    able = [row for row in result.strategies if row.status != "impossible"]
    parts += [Text(""), *([_strategies(able)] if able else [])]
    unable = [row for row in result.strategies if row.status == "impossible"]
    for reason in dict.fromkeys(row.reason for row in unable):
        names = ", ".join(row.name for row in unable if row.reason == reason)
        parts.append(Text(f"Cannot run: {names}. {reason}", style="dim"))
    if result.encoders:
        parts += [Text(""), heading("Encoders"), _encoders(result.encoders), Text(f"Decided by {result.decided_by}.")]
        parts += [
            Text(f"  {line(row.reference, 60)}: {line(row.reason, 1000)}") for row in result.encoders if row.reason
        ]
    if result.changes:
        parts += [Text(""), heading("What would change this"), *(Text(f"- {text}") for text in result.changes)]
    parts += faults(result.faults)
    if not result.described and result.top is not None and result.data.labels_a_class:
        parts += [
            Text(""),
            Text(
                "Time and memory are estimates, good to a factor of two. graft fit measures, chooses and proves.",
                style="dim",
            ),
        ]
    return Group(*parts)


def _situation(result: PlanResult) -> list[str]:
    """The data, the distance, the machine, and on what the advice rests."""
    here = result.machine
    device = {"cpu": "no GPU", "cuda": "a CUDA GPU", "mps": "an Apple GPU"}.get(
        here.device.partition(":")[0], here.device
    )
    memory = "" if here.memory_mb is None else f", {here.memory_mb / 1000:.1f} GB of memory free"
    limit = "" if result.budget is None else f" A strategy may take {about(result.budget)}."
    lines = [
        f"Data: {_data(result.data)}",
        *(
            [f"Read as: {', '.join(f'{role} {name}' for role, name in result.data.columns.items())}."]
            * bool(result.data.columns)
        ),
        f"Distance: {result.distance.words}",
        f"Machine: {plural(here.threads, 'thread')} of {here.processor}{memory}, {device}.{limit}",
        f"Rests on: {result.basis}",
    ]
    return [*lines, f"Encoder: {result.encoder}"] if result.encoder else lines


def _data(data: DataFacts) -> str:
    """Counts in words."""
    kind = KINDS.get(data.modality, "item")
    if not data.classes:
        return f"{plural(data.items, kind)} without {'a label' if data.items == 1 else 'labels'}."
    even = f"{plural(round(data.labels_a_class), 'label')} a class"
    if data.least != data.most:
        even = f"{data.least:,} to {data.most:,} labels a class (half the classes have {round(data.labels_a_class):,} or more)"
    told = [
        f"{plural(data.labelled, f'labelled {kind}')} to learn from in {plural(data.classes, 'class', 'classes')}, {even}"
    ]
    if data.held_out:
        told.append(f"{data.held_out:,} are left for the test")
    if data.unlabelled:
        told.append(f"{data.unlabelled:,} have no label")
    copies = (
        f"{data.copies:,} of the {data.looked_at:,} looked at are copies of others or nearly so" if data.copies else ""
    )
    return "; ".join(filter(None, [*told, copies])) + "."


def _strategies(rows: Sequence[Advised]) -> Table:
    table = plain_table("", "strategy", "expected right", "in 9 of 10", "time", "memory", "why")
    for place, row in enumerate(rows, 1):
        table.add_row(
            str(place) if row.status == "advised" else "",
            row.name,
            "" if row.accuracy is None else percent(row.accuracy.value, 0),
            _ends(row.accuracy),
            "" if row.seconds is None else about(row.seconds),
            "" if row.memory_mb is None else f"{row.memory_mb / 1000:.1f} GB",
            " ".join(filter(None, [STATUS[row.status] and f"{STATUS[row.status].capitalize()}.", row.reason])),
            style="bold" if place == 1 and row.status == "advised" else "dim" if row.status == "costly" else None,
        )
    return table


def _encoders(rows: Sequence[EncoderAdvice]) -> Table:
    table = plain_table(
        "",
        "encoder",
        "probe right",
        "95 % interval",
        "LogME",
        "by size",
        "parameters",
        "dims",
        "1,000 items",
        "licence",
        "distance",
    )
    for place, row in enumerate(rows, 1):
        ranked = row.status == "ranked"
        table.add_row(
            str(place) if ranked else "-",
            line(row.reference, 60),
            "" if row.probe is None else percent(row.probe.value),
            _ends(row.probe),
            "" if row.logme is None else f"{row.logme:.3f}",
            "" if row.static is None else str(row.static),
            "" if row.parameters is None else f"{row.parameters / 1e6:.1f} M",
            "" if row.dim is None else f"{row.dim:,}",
            "" if row.seconds is None else about(1000 * row.seconds),
            (row.licence or ("not told" if row.parameters else "no weights")) if ranked else "",
            "" if row.distance is None else row.distance.verdict,
            style="bold" if place == 1 and ranked else None,
        )
    return table


def _ends(found: Interval | None) -> str:
    if found is None or found.low is None or found.high is None:
        return ""
    return f"{100 * found.low:.0f} to {100 * found.high:.0f} %"
