"""Fits and answers of numbers, counts, ordered levels and sets of labels, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graft.reports.formats import figure, known, known_interval, measure_named
from graft.tables.parts import faults, heading, line, plain_table

if TYPE_CHECKING:
    from graft.results import Interval
    from graft.targets.opened import Estimate, Estimates
    from graft.targets.result import TargetResult

ROWS_SHOWN = 50


def target_table(result: TargetResult) -> RenderableType:
    """What a fit chose and measured."""
    parts: list[RenderableType] = [heading(f"{result.name}: {result.chosen}, {result.data.columns['task']}")]
    parts += [Text(result.why), Text("")]
    if result.test:
        table = plain_table("on the test items", "", "95 % interval", "n")
        for name, value in result.test.items():
            table.add_row(measure_named(name).label, figure(value.value), _ends(value), f"{value.n:,}")
        reach = result.reach
        if reach and reach.covered:
            ends = _ends(reach.covered)
            table.add_row(
                f"intervals at {reach.coverage:.0%} that hold the truth",
                figure(reach.covered.value),
                ends,
                f"{reach.covered.n:,}",
            )
        parts += [table, Text("")]
    contest = plain_table(
        "contender", f"{measure_named(result.metric).label}, on folds", "95 % interval", "errs less by", "seconds", ""
    )
    several = len(result.encoders) > 1
    for strategy in result.strategies:
        chosen = strategy is result.chosen_result
        score = strategy.metrics[result.metric]
        gain = known_interval(strategy.gain)
        less = "" if gain is None else f"{figure(gain.value)}  {_ends(gain)} over {strategy.gain_over}"
        name = f"{strategy.name} · {strategy.encoder}" if several else strategy.name
        seconds = f"{known(strategy.seconds) or 0.0:.2f}"
        contest.add_row(
            name,
            figure(score.value),
            _ends(score),
            less,
            seconds,
            "chosen" if chosen else "",
            style="bold" if chosen else None,
        )
    parts += [contest, Text(""), *_data(result), *faults(result.data.faults)]
    if result.out:
        parts += [
            Text(""),
            Text(f"{sum(result.seconds.values()):.1f} s in all. The report: {result.out}/report.html"),
            Text(f"To use it: graft predict {result.out} ITEM..."),
        ]
    return Group(*parts)


def _data(result: TargetResult) -> list[Text]:
    data = result.data
    held = f": {data.train:,} to learn from, {data.test:,} for the test" if data.test else ""
    lines = [f"{data.items:,} items{held}."]
    lines.append("Read as " + ", ".join(f"{role}: {column}" for role, column in data.columns.items()) + ".")
    words = [f"{name} {figure(value) if not data.classes else f'{value:.0%}'}" for name, value in result.target.items()]
    lines.append("Labels: " + ", ".join(words[:20]) + (f" and {len(words) - 20} more" if len(words) > 20 else "") + ".")
    doubles = data.duplicates
    if doubles.exact or doubles.near or doubles.leaked:
        lines.append(f"Duplicates: {doubles.exact} exact, {doubles.near} near.")
    if data.unlabelled:
        lines.append(f"Without a label: {data.unlabelled:,}.")
    return [Text(line(text, 1000)) for text in lines]


def estimates_table(result: Estimates) -> RenderableType:
    """Answers to new items."""
    interval = f"{result.coverage:.0%} interval" if result.coverage else ""
    columns = {
        "number": ("item", "value", interval),
        "count": ("item", "rate", interval),
        "ordinal": ("item", "level", interval, "probabilities"),
        "multilabel": ("item", "labels", "likeliest"),
    }
    table = plain_table(*columns[result.task])
    for estimate in result.estimates[:ROWS_SHOWN]:
        table.add_row(line(estimate.item, 80), *_cells(estimate, result))
    parts: list[RenderableType] = [table]
    if result.out:
        parts = [Text(f"{len(result):,} answers written to {result.out}.")]
    elif len(result) > ROWS_SHOWN:
        parts.append(Text(f"... and {len(result) - ROWS_SHOWN:,} more: --out FILE.csv writes all, --json prints them."))
    return Group(*parts, *faults(result.faults))


def _cells(estimate: Estimate, result: Estimates) -> tuple[str, ...]:
    names = result.names
    known_ends = estimate.low is not None and estimate.high is not None
    each = ", ".join(f"{line(name, 40)} {p:.2f}" for name, p in estimate.probabilities[:10])
    if result.task == "multilabel":
        return line(", ".join(estimate.labels) or "none", 120), each
    if result.task == "ordinal":
        low, high = (names[int(end)] if end is not None else "" for end in (estimate.low, estimate.high))
        between = low if low == high else f"{low} to {high}"
        return line(estimate.labels[0], 60), line(between if known_ends else "", 80), each
    ends = [
        f"{end:,.0f}" if result.task == "count" else figure(end)
        for end in (estimate.low, estimate.high)
        if end is not None
    ]
    return figure(estimate.value), " to ".join(ends)


def _ends(interval: Interval) -> str:
    kept = known_interval(interval)
    return "" if kept is None or kept.low is None else f"{figure(kept.low)} to {figure(kept.high)}"
