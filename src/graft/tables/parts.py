"""Pieces of the tables that people read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from graft.reports.formats import known_interval
from graft.results import Fault, Interval

FAULTS_SHOWN = 20


def heading(text: str) -> Text:
    """A title."""
    return Text(line(text, 200), style="bold")


def plain_table(*columns: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def interval(of: Interval | None) -> str:
    """A value with the ends of its interval; nothing for None and for what is no number."""
    return "" if (of := known_interval(of)) is None else f"{of.value:.3f}  {ends(of)}".rstrip()


def ends(interval: Interval) -> str:
    """The ends of an interval; nothing where there are none."""
    return "" if interval.low is None or interval.high is None else f"{interval.low:.3f} to {interval.high:.3f}"


def signed(interval: Interval | None) -> str:
    """A difference with its sign and its interval; nothing for None and for what is no number."""
    if (interval := known_interval(interval)) is None:
        return ""
    either = "" if interval.low is None or interval.high is None else f"  {interval.low:+.3f} to {interval.high:+.3f}"
    return f"{interval.value:+.3f}{either}"


def faults(given: Sequence[Fault]) -> Iterable[Text]:
    """The first faults, and how many more there are."""
    if not given:
        return
    yield Text(f"{len(given):,} item{'s' * (len(given) > 1)} could not be used:", style="yellow")
    for fault in given[:FAULTS_SHOWN]:
        value = f" ({line(fault.value, 60)})" if fault.value else ""
        yield Text(f"  {line(fault.where, 80)}: {line(fault.problem, 1000)}{value}")
    if len(given) > FAULTS_SHOWN:
        yield Text(f"  ... and {len(given) - FAULTS_SHOWN:,} more; --json lists all.")


def size(count: int) -> str:
    """Bytes as people write them."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.1f} MB"


def line(text: str, most: int) -> str:
    """One line, without control characters that a terminal would obey, cut to `most` characters."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
