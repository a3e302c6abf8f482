"""What people read of a server that has stopped, and of a load test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graft.tables.parts import heading, interval, line, plain_table

if TYPE_CHECKING:
    from graft.server.load import Load
    from graft.server.run import Served


def served_line(result: Served) -> RenderableType:
    """What was served, and for how long."""
    names = ", ".join((*result.indexes, *result.models, *result.recommenders))
    return Text(f"Served {line(names, 200)} at {result.url} for {result.seconds:.0f} s.")


def load_table(result: Load) -> RenderableType:
    """Rates and latencies."""
    table = plain_table("asked for", "achieved", "p50", "p90", "p99", "longest", "errors", "sent late", "recall@10")
    table.add_row(
        f"{result.rate:,.0f}/s",
        f"{result.achieved:,.0f}/s",
        *(f"{ms:.1f} ms" for ms in (result.p50_ms, result.p90_ms, result.p99_ms, result.max_ms)),
        f"{result.errors:,}",
        f"{100 * result.late:.1f} %",
        interval(result.recall),
    )
    parts: list[RenderableType] = [heading(result.url), table]
    if result.first_error:
        parts.append(Text(f"The first error: {line(result.first_error, 300)}", style="yellow"))
    parts.append(
        Text(f"{result.requests:,} requests, {result.queries:,} queries, {result.seconds:.1f} s.", style="dim")
    )
    return Group(*parts)
