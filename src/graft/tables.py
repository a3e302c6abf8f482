"""What people read: each kind of result as a few lines and tables. Programs take `--json` instead."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from graft.results import DataSummary, EncoderSummary, Fault, FitResult, Interval, StrategyResult

if TYPE_CHECKING:
    from graft.artifact import Manifest
    from graft.opened import Predictions
    from graft.verbs.cache import CacheUse
    from graft.verbs.doctor import Diagnosis
    from graft.verbs.encode import Encoding

ROWS_SHOWN = 50
FAULTS_SHOWN = 20
PIPE_WIDTH = 140  # columns where there is no terminal to ask
STATUS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "missing": ("missing", "red")}
METRICS = {"accuracy": "accuracy", "macro_f1": "macro F1", "log_loss": "log loss", "ece": "calibration error"}


def render(result: Any, *, terminal: bool) -> str:
    """`result`, which a verb returned, as text; with colours and as wide as the window where `terminal` says there is one."""
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=None if terminal else PIPE_WIDTH,
        markup=False,  # what people's files hold is shown, never obeyed
        highlight=False,
        emoji=False,
    )
    with console.capture() as text:
        for one in result if isinstance(result, tuple) else (result,):
            console.print(_RENDERERS[type(one).__name__](one))
    lines = text.get().split("\n")
    return "\n".join(lines if terminal else [line.rstrip() for line in lines])


def _fit(result: FitResult) -> RenderableType:
    parts: list[RenderableType] = [_heading(f"{result.name}: {result.chosen}"), Text(result.why), Text("")]
    if result.test:
        parts += [_metrics(result.test, "on the test items"), Text("")]
    parts.append(_ladder(result))
    parts += [Text(""), *_data(result.data)]
    if result.suspects:
        parts.append(Text(f"Labels in doubt: {len(result.suspects)}, shown in the report."))
    parts += _faults(result.data.faults)
    if result.out:
        total = sum(result.seconds.values())
        parts += [
            Text(""),
            Text(f"{total:.1f} s in all. The report: {result.out}/report.html"),
            Text(f"To use it: graft predict {result.out} ITEM..."),
        ]
    return Group(*parts)


def _ladder(result: FitResult) -> Table:
    label = METRICS.get(result.metric, result.metric)
    table = _table("strategy", f"{label}, cross-validated", "against the chosen", "seconds", "")
    several = len(result.encoders) > 1
    for strategy in result.strategies:
        chosen = strategy is result.chosen_result
        name = f"{strategy.name} · {strategy.encoder}" if several else strategy.name
        table.add_row(
            name,
            _interval(strategy.metrics.get(result.metric)),
            "" if chosen else _signed(strategy.versus_chosen),
            f"{strategy.seconds:.2f}" if strategy.status == "measured" else "",
            "chosen" if chosen else _status(strategy),
            style="bold" if chosen else None,
        )
    return table


def _status(strategy: StrategyResult) -> str:
    return "" if strategy.status == "measured" else f"{strategy.status}: {strategy.reason}"


def _data(data: DataSummary) -> list[Text]:
    held = f": {data.train:,} to learn from, {data.test:,} for the test" if data.test else ""
    lines = [f"{data.items:,} items, {len(data.classes)} classes{held}."]
    if data.columns:
        lines.append("Read as " + ", ".join(f"{role}: {column}" for role, column in data.columns.items()) + ".")
    doubles = data.duplicates
    if doubles.exact or doubles.near or doubles.leaked:
        leaked = f"; {doubles.leaked} test items have a double among the training items" if doubles.leaked else ""
        lines.append(f"Duplicates: {doubles.exact} exact, {doubles.near} near{leaked}.")
    if data.unlabelled:
        lines.append(f"Without a label: {data.unlabelled:,}.")
    return [Text(_line(line, 1000)) for line in lines]


def _manifest(manifest: Manifest) -> RenderableType:
    data = manifest.data
    facts = _table("", "")
    facts.show_header = False
    facts.add_row("sorts", f"{manifest.encoder.modality}s into {len(manifest.classes)} classes")
    facts.add_row("classes", _line(", ".join(manifest.classes), 400))
    facts.add_row("strategy", manifest.strategy)
    facts.add_row("encoder", _encoder(manifest.encoder))
    facts.add_row("fitted on", f"{data.train:,} items of {_line(data.name, 60)}")
    if manifest.abstention:
        facts.add_row("unsure", f"below a probability of {manifest.abstention.threshold:.3f}")
    facts.add_row("made", f"{manifest.created} by graft {manifest.graft}")
    parts: list[RenderableType] = [_heading(f"{manifest.name}: a model"), facts]
    if manifest.metrics:
        tested = manifest.measured_on == "test"
        where, counted = ("on the test items", "n") if tested else ("cross-validated", "folds")
        parts += [Text(""), _metrics(manifest.metrics, where, counted)]
    return Group(*parts)


def _predictions(result: Predictions) -> RenderableType:
    table = _table("item", "label", "probability", "then")
    for prediction in result.predictions[:ROWS_SHOWN]:
        then = ", ".join(f"{_line(label, 40)} {p:.2f}" for label, p in prediction.top[1:])
        label = (
            Text("unsure", style="yellow")
            if prediction.label is None
            else Text(_line(prediction.label, 60), style="bold")
        )
        if prediction.label is None:
            then = ", ".join(filter(None, [f"{_line(prediction.top[0][0], 40)} {prediction.top[0][1]:.2f}", then]))
        table.add_row(_line(prediction.item, 80), label, f"{prediction.probability:.2f}", then)
    parts: list[RenderableType] = [table]
    if result.out:
        parts = [Text(f"{len(result):,} answers written to {result.out}.")]
    elif len(result) > ROWS_SHOWN:
        parts.append(Text(f"... and {len(result) - ROWS_SHOWN:,} more: --out FILE.csv writes all, --json prints them."))
    return Group(*parts, *_faults(result.faults))


def _encoding(result: Encoding) -> RenderableType:
    lines = [
        Text(f"{result.items:,} vectors of {result.encoder.dim} numbers written to {', '.join(result.files)}."),
        Text(
            f"Encoder: {_encoder(result.encoder)}. {result.encoder.cached:,} came from the cache. {result.seconds:.1f} s."
        ),
    ]
    return Group(*lines, *_faults(result.faults))


def _cache(use: CacheUse) -> RenderableType:
    held = use.vectors
    table = _table("kept", "format", "vectors", "size")
    for space in held.spaces:
        table.add_row(space.reference or space.fingerprint[:12], space.format, f"{space.entries:,}", _size(space.bytes))
    for name, size in use.other.items():
        table.add_row(name, "", "", _size(size))
    parts: list[RenderableType] = [_heading(use.folder)]
    if use.removed or use.freed:
        parts.append(Text(f"Removed {use.removed:,} vectors and {_size(use.freed)} of other files."))
    parts.append(table if table.row_count else Text("Nothing is kept."))
    parts.append(Text(f"Vectors take {_size(held.bytes)} of at most {_size(held.limit)} (GRAFT_CACHE_GB)."))
    return Group(*parts, *([Text(held.note, style="yellow")] if held.note else []))


def _diagnosis(result: Diagnosis) -> RenderableType:
    table = _table("", "", "")
    table.show_header = False
    for check in result.checks:
        word, colour = STATUS[check.status]
        table.add_row(check.name, Text(word, style=colour), _line(check.detail, 400))
    return Group(
        table, Text("All that is needed is here." if result.healthy else "Something is missing.", style="bold")
    )


_RENDERERS: dict[str, Callable[[Any], RenderableType]] = {
    "FitResult": _fit,
    "Manifest": _manifest,
    "Predictions": _predictions,
    "Encoding": _encoding,
    "CacheUse": _cache,
    "Diagnosis": _diagnosis,
}


def _heading(text: str) -> Text:
    return Text(_line(text, 200), style="bold")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _metrics(metrics: Any, where: str, counted: str = "n") -> Table:
    table = _table(where, "", "95 % interval", counted)
    for name, interval in metrics.items():
        table.add_row(METRICS.get(name, name), f"{interval.value:.3f}", _ends(interval), f"{interval.n:,}")
    return table


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.value:.3f}  {_ends(interval)}".rstrip()


def _ends(interval: Interval) -> str:
    return "" if interval.low is None or interval.high is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _signed(interval: Interval | None) -> str:
    if interval is None:
        return ""
    ends = "" if interval.low is None or interval.high is None else f"  {interval.low:+.3f} to {interval.high:+.3f}"
    return f"{interval.value:+.3f}{ends}"


def _encoder(encoder: EncoderSummary) -> str:
    ran = ", ".join(filter(None, (encoder.format, encoder.device)))
    return f"{encoder.reference} ({encoder.dim} numbers an item{', ' + ran if ran else ''})"


def _faults(faults: Sequence[Fault]) -> Iterable[Text]:
    if not faults:
        return
    yield Text(f"{len(faults):,} item{'s' * (len(faults) > 1)} could not be used:", style="yellow")
    for fault in faults[:FAULTS_SHOWN]:
        value = f" ({_line(fault.value, 60)})" if fault.value else ""
        yield Text(f"  {_line(fault.where, 80)}: {fault.problem}{value}")
    if len(faults) > FAULTS_SHOWN:
        yield Text(f"  ... and {len(faults) - FAULTS_SHOWN:,} more; --json lists all.")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.1f} MB"


def _line(text: str, most: int) -> str:
    """One line, without control characters that a terminal would obey, cut to `most` characters."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
