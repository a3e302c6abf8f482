"""What people read of indexes and searches."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from graft.results import Interval
from graft.search_results import Evaluation, Hit, IndexResult, IndexVersions, SearchResult
from graft.tables.parts import faults, heading, line, plain_table, signed, size

if TYPE_CHECKING:
    from graft.reports.space import SpaceResult
    from graft.verbs.bridge import BridgeResult

COLUMNS_SHOWN, CELL = 4, 60
THUMBNAIL = 12  # columns of signs; half as many rows, two pixels high each


def index_table(result: IndexResult) -> RenderableType:
    """What an index holds, and what this run changed."""
    change = ", ".join(
        f"{count:,} {word}"
        for word, count in (
            ("added", result.added),
            ("changed", result.changed),
            ("deleted", result.deleted),
            ("unchanged", result.unchanged),
        )
        if count
    )
    parts: list[RenderableType] = [
        heading(f"{result.path}: {result.items:,} items, version {result.version}"),
        Text(change + "." if change else "Nothing changed."),
        Text(""),
        _views(result),
    ]
    if result.columns:
        parts.append(
            Text("Filter by: " + ", ".join(f"{line(name, 40)} ({kind})" for name, kind in result.columns.items()))
        )
    parts += [Text(note, style="yellow") for note in result.notes]
    parts += faults(result.faults)
    if result.seconds:
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items() if seconds >= 0.05)
        parts.append(Text(f"Time: {spent or 'below 0.1 s'}.", style="dim"))
    parts += [Text(""), Text(f'To use it: graft search {result.path} "..."   or   graft serve {result.path}')]
    return Group(*parts)


def _views(result: IndexResult) -> Table:
    table = plain_table("compared by", "numbers", "made by", "search", "recall@10 (from)", "memory")
    for view in result.views:
        made = f"bridge ({view.bridge})" if view.bridge else f"{view.encoder.reference} {view.encoder.format}".strip()
        how = view.kind if view.kind == "exact" else f"{view.kind}, {view.probes} of {view.lists} lists"
        recall = "all are found" if view.recall is None else f"{view.recall.value:.3f} ({view.recall.low:.3f})"
        table.add_row(view.name, f"{view.dim:,}", made, how, recall, size(view.bytes))
    return table


def versions_table(result: IndexVersions) -> RenderableType:
    """The versions of an index."""
    table = plain_table("version", "made", "items", "added", "changed", "deleted", "")
    for version in result.versions:
        served = "served" if version.version == result.current else ""
        counts = (version.items, version.added, version.changed, version.deleted)
        table.add_row(str(version.version), version.created, *(f"{count:,}" for count in counts), served)
    return Group(heading(result.path), table)


def search_table(result: SearchResult) -> RenderableType:
    """Hits as a table, with small pictures where the terminal can show them."""
    parts: list[RenderableType] = [heading(result.query)]
    if not result.hits:
        return Group(*parts, Text("No item passes the filter." if result.items else "The index is empty."))
    if not result.matched:
        parts.append(
            Text(
                "Nothing matches: no item stands out from what this collection gives to any query. The nearest are:",
                style="yellow",
            )
        )
    columns = list(result.hits[0].payload)[:COLUMNS_SHOWN]
    pictures = _thumbnails(result.hits) if _shows_pictures() else {}
    table = plain_table(
        "", *(["picture"] if pictures else []), "id", "score", "sure", *(line(name, 30) for name in columns), "content"
    )
    for number, hit in enumerate(result.hits, start=1):
        shown = [pictures.get(hit.id, Text(""))] if pictures else []
        cells = ["" if hit.payload[name] is None else line(str(hit.payload[name]), CELL) for name in columns]
        table.add_row(
            str(number),
            *shown,
            line(hit.id, CELL),
            f"{hit.score:.3f}",
            f"{hit.confidence:.2f}",
            *cells,
            line(hit.content, 2 * CELL),
        )
    note = f" {result.note}" if result.note else ""
    parts += [
        table,
        Text(f"{result.items:,} items, version {result.version}, {1000 * result.seconds:.0f} ms.{note}", style="dim"),
    ]
    return Group(*parts)


def _shows_pictures() -> bool:
    """Whether the terminal draws 24-bit colours, which pictures of half blocks need."""
    import os

    return (
        sys.__stdout__ is not None
        and sys.__stdout__.isatty()
        and os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
    )


def _thumbnails(hits: Iterable[Hit]) -> dict[str, Text]:
    from graft.data.dataset import source_of
    from graft.data.images import SUFFIXES, UnreadableImage, decode, suffix

    drawn = {}
    for hit in hits:
        if "\n" in hit.content or len(hit.content) > 4096 or suffix(hit.content.rpartition("::")[2]) not in SUFFIXES:
            continue
        try:
            drawn[hit.id] = half_blocks(decode(source_of(hit.content).read_bytes()))
        except (OSError, KeyError, ValueError, UnreadableImage):
            continue
    return drawn


def half_blocks(picture: Any, columns: int = THUMBNAIL) -> Text:
    """A PIL picture as coloured half blocks, two pixels a sign, at most `columns` wide and as high."""
    small = picture.convert("RGB")
    small.thumbnail((columns, columns))
    width, height = small.size
    text = Text()
    for y in range(0, height, 2):
        for x in range(width):
            upper = small.getpixel((x, y))
            lower = small.getpixel((x, y + 1)) if y + 1 < height else (0, 0, 0)
            text.append(
                "▀",
                Style(color=f"rgb({upper[0]},{upper[1]},{upper[2]})", bgcolor=f"rgb({lower[0]},{lower[1]},{lower[2]})"),
            )
        text.append("\n" if y + 2 < height else "")
    return text


def evaluation_table(result: Evaluation) -> RenderableType:
    """Ways to search, measured, and the queries that come off worst."""
    names = list(result.ways[0].metrics)
    table = plain_table("way", *names, f"gain in {result.metric}", "settings")
    for way in result.ways:
        style = "bold" if way.name == result.chosen else ""
        values = [f"{way.metrics[name].value:.3f}" for name in names]
        known = ", ".join(f"{name} {value}" for name, value in way.settings.items())
        table.add_row(Text(way.name, style=style), *values, signed(way.gain), line(known, CELL))
    parts: list[RenderableType] = [
        heading(f"{result.index}: {result.queries:,} queries of {result.judged}, {result.items:,} items"),
        Text(result.why),
        Text(
            f"{result.ways[0].name}: {_ends(result.ways[0].metrics[result.metric])} in {result.metric} (95 % interval over queries)."
        ),
        Text(""),
        table,
    ]
    if result.groups:
        groups = plain_table("queries", "n", f"{result.metric} of {result.chosen}")
        for name, metrics in result.groups.items():
            groups.add_row(line(name or "(none)", CELL), f"{metrics[result.metric].n:,}", _ends(metrics[result.metric]))
        parts += [Text(""), groups]
    worst = plain_table("worst queries", result.metric, "plain", "found first (+ right, - wrong)")
    for query in result.worst[:10]:
        found = ", ".join(f"{'+' if right else '-'}{line(item, 30)}" for item, right in query.found)
        worst.add_row(line(query.query, CELL), f"{query.value:.2f}", f"{query.plain:.2f}", found)
    parts += [Text(""), worst]
    if result.adopted:
        parts += [
            Text(""),
            Text(
                f"From now on {result.index} is searched this way. Remove {result.index}/search.json to return to the plain search."
            ),
        ]
    return Group(*parts, *faults(result.faults))


def bridge_table(result: BridgeResult) -> RenderableType:
    """The candidates for a bridge on held-out pictures."""
    names = list(result.candidates[0].recalls)
    table = plain_table("bridge", *names, "gain over the first")
    for candidate in result.candidates:
        style = "bold" if candidate.kind == result.chosen else ""
        table.add_row(
            Text(candidate.kind, style=style), *(_ends(candidate.recalls[n]) for n in names), signed(candidate.gain)
        )
    read = f"{result.pairs:,} texts of {result.pictures:,} pictures; each text looks for its picture among {result.pool:,} that were held out."
    return Group(
        heading(f"{result.out}: {result.chosen}"),
        Text(result.why),
        Text(read),
        Text(""),
        table,
        *faults(result.faults),
        Text(""),
        Text(f"To use it: graft index PICTURES --bridge {result.out} --out INDEX"),
    )


def space_table(result: SpaceResult) -> RenderableType:
    """The findings about a space, and what to do about them."""
    table = plain_table("", "measured", "what to do")
    for finding in result.findings:
        table.add_row(finding.topic, Text(finding.figure, style="yellow" if finding.act else ""), finding.advice)
    encoder = f"view {result.view}, {result.encoder}"
    return Group(
        heading(f"{result.name}: {encoder}, {result.sampled:,} of {result.items:,} items"),
        table,
        *([Text(""), Text(f"The report: {result.out}/report.html")] if result.out else []),
    )


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
