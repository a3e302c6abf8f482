"""Tables of recommenders for people: how the models did, and what is recommended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from graft.recommending.report import held_out, measure_of, new_items, next_commands, on_test, plainly, short_histories
from graft.reports.formats import known
from graft.tables.parts import faults, heading, interval, line, plain_table, signed

if TYPE_CHECKING:
    from graft.recommending.opened import Recommendations
    from graft.recommending.result import RecommendResult

NARROW = "\u202f"  # the space that reports write before a unit; terminals draw it as a box as often as not
ASKED_SHOWN = 12


def recommend_table(result: RecommendResult) -> RenderableType:
    """Which model was chosen and why, all of them, what was read, and what to type next."""
    told = (
        result.why,
        plainly(result),
        held_out(result),
        on_test(result),
        *short_histories(result),
        *new_items(result),
    )
    parts: list[RenderableType] = [
        heading(f"{result.name}: {result.chosen}"),
        *(Text(line(text.replace(NARROW, " "), 1000)) for text in told if text),
        Text(""),
        _models(result),
        Text(""),
        *_data(result),
        *faults(result.faults),
    ]
    if result.out:
        total = sum(known(seconds) or 0.0 for seconds in result.seconds.values())
        parts += [
            Text(""),
            Text(f"{total:.1f} s in all. The report: {line(result.out, 400)}/report.html"),
            Text("To use it:"),
            *(Text(f"  {line(command, 600)}") for command in next_commands(result)),
        ]
    return Group(*parts)


def _models(result: RecommendResult) -> Table:
    measure = measure_of(result.measure)
    table = plain_table("model", f"{measure.label}, test", "HR@10", "gain, validation", "over", "seconds", "")
    for model in result.models:
        measured = model.status == "measured"
        hits = model.metrics.get("hr@10")
        table.add_row(
            line(model.name, 40),
            interval(model.metrics.get(result.measure)),
            f"{hits.value:.3f}" if hits and known(hits.value) is not None else "",
            signed(model.gain),
            line(model.gain_over, 40) if measured else "",
            f"{known(model.seconds) or 0.0:.1f}" if measured else "",
            "chosen"
            if model.name == result.chosen
            else ""
            if measured
            else line(f"{model.status}: {model.reason}", 200),
            style="bold" if model.name == result.chosen else None,
        )
    return table


def _data(result: RecommendResult) -> list[Text]:
    data = result.data
    seen = f", {data.seen:,} more seen but not liked" if data.seen else ""
    lines = [
        f"{data.likes:,} likes of {data.people:,} people, {data.items:,} items{seen}. A like: {data.how or 'every row'}."
    ]
    if data.columns:
        lines.append("Read as " + ", ".join(f"{role}: {column}" for role, column in data.columns.items()) + ".")
    if data.merged:
        lines.append(f"{data.merged:,} of {data.rows:,} rows were merged with another of the same person and item.")
    return [Text(line(text, 1000)) for text in (*lines, *data.notes)]


def recommendations_table(result: Recommendations) -> RenderableType:
    """What was asked, the answers, best first, and what should be known of them."""
    asked = ", ".join(line(title, 60) for title in result.asked[:ASKED_SHOWN])
    more = len(result.asked) - ASKED_SHOWN
    parts: list[RenderableType] = []
    if asked:
        parts.append(heading(f"For: {asked}" + (f" and {more:,} more" if more > 0 else "")))
    if result.recommendations:
        table = plain_table("", "title", "score", "because")
        for number, one in enumerate(result.recommendations, 1):
            score = f"{one.score:.3g}" if known(one.score) is not None else ""
            table.add_row(str(number), line(one.title or one.item, 80), score, line(one.reason, 120))
        parts.append(table)
    else:
        parts.append(Text("Nothing can be recommended."))
    parts += [Text(line(note, 400), style="yellow") for note in result.notes]
    return Group(*parts)
