"""What people read: each kind of result as a few lines and tables. Programs take `--json` instead."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from graft.reports.formats import known
from graft.reports.ladder import foretold
from graft.results import DataSummary, EncoderSummary, FitResult, StrategyResult
from graft.tables import (
    labelling,
    labels,
    planning,
    pretraining,
    recommend,
    search,
    serving,
    shift,
    targets,
    training,
    weights,
)
from graft.tables.parts import ends, faults, heading, interval, line, plain_table, signed, size

if TYPE_CHECKING:
    from graft.artifact import Manifest
    from graft.fitting.reproduction import Reproduction
    from graft.opened import Predictions
    from graft.verbs.cache import CacheUse
    from graft.verbs.doctor import Diagnosis
    from graft.verbs.encode import Encoding

ROWS_SHOWN = 50
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
    parts: list[RenderableType] = [heading(f"{result.name}: {result.chosen}"), Text(result.why), Text("")]
    if result.test:
        parts += [_metrics(result.test, "on the test items"), Text("")]
    parts.append(_ladder(result))
    if trained := list(training.trained_rungs(result)):
        parts += [Text(""), *trained]
    if result.labels:
        parts += [Text(""), Text(labels.forecast(result.labels))]
    parts += [Text(""), *_data(result.data)]
    if result.plan is not None:
        parts.append(Text(foretold(result.plan)))
    if result.shift:
        told = f"told apart in {100 * result.shift.auc.value:.0f} % of pairs, where chance is 50"
        parts.append(
            Text(f"The test items look different from the training items ({told}): see the report.", style="yellow")
        )
    if result.suspects:
        parts.append(Text(f"Labels in doubt: {len(result.suspects)}, shown in the report."))
    parts += faults(result.data.faults)
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
    table = plain_table("strategy", f"{label}, cross-validated", "against the chosen", "seconds", "")
    several = len(result.encoders) > 1
    for strategy in result.strategies:
        chosen = strategy is result.chosen_result
        name = f"{strategy.name} · {strategy.encoder}" if several else strategy.name
        table.add_row(
            name,
            interval(strategy.metrics.get(result.metric)),
            "" if chosen else signed(strategy.versus_chosen),
            f"{known(strategy.seconds) or 0.0:.2f}" if strategy.status == "measured" else "",
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
    return [Text(line(text, 1000)) for text in lines]


def _manifest(manifest: Manifest) -> RenderableType:
    data = manifest.data
    facts = plain_table("", "")
    facts.show_header = False
    if manifest.task == "classify":
        facts.add_row("sorts", f"{manifest.encoder.modality}s into {len(manifest.classes)} classes")
    else:
        facts.add_row("answers", f"{manifest.encoder.modality}s by {manifest.data.columns.get('task', manifest.task)}")
    if manifest.classes:
        facts.add_row("levels" if manifest.task == "ordinal" else "classes", line(", ".join(manifest.classes), 400))
    facts.add_row("strategy", manifest.strategy)
    facts.add_row("encoder", _encoder(manifest.encoder))
    facts.add_row("fitted on", f"{data.train:,} items of {line(data.name, 60)}")
    if manifest.abstention:
        facts.add_row("unsure", f"below a probability of {manifest.abstention.threshold:.3f}")
    facts.add_row("made", f"{manifest.created} by graft {manifest.graft}")
    parts: list[RenderableType] = [heading(f"{manifest.name}: a model"), facts]
    if manifest.metrics:
        tested = manifest.measured_on == "test"
        where, counted = ("on the test items", "n") if tested else ("cross-validated", "folds")
        parts += [Text(""), _metrics(manifest.metrics, where, counted)]
    return Group(*parts)


def _predictions(result: Predictions) -> RenderableType:
    table = plain_table("item", "label", "probability", "then")
    for prediction in result.predictions[:ROWS_SHOWN]:
        then = ", ".join(f"{line(label, 40)} {p:.2f}" for label, p in prediction.top[1:])
        label = (
            Text("unsure", style="yellow")
            if prediction.label is None
            else Text(line(prediction.label, 60), style="bold")
        )
        if prediction.label is None:
            then = ", ".join(filter(None, [f"{line(prediction.top[0][0], 40)} {prediction.top[0][1]:.2f}", then]))
        table.add_row(line(prediction.item, 80), label, f"{prediction.probability:.2f}", then)
    parts: list[RenderableType] = [table]
    if result.out:
        parts = [Text(f"{len(result):,} answers written to {result.out}.")]
    elif len(result) > ROWS_SHOWN:
        parts.append(Text(f"... and {len(result) - ROWS_SHOWN:,} more: --out FILE.csv writes all, --json prints them."))
    return Group(*parts, *faults(result.faults))


def _encoding(result: Encoding) -> RenderableType:
    lines = [
        Text(f"{result.items:,} vectors of {result.encoder.dim} numbers written to {', '.join(result.files)}."),
        Text(
            f"Encoder: {_encoder(result.encoder)}. {result.encoder.cached:,} came from the cache. {result.seconds:.1f} s."
        ),
    ]
    return Group(*lines, *faults(result.faults))


def _cache(use: CacheUse) -> RenderableType:
    held = use.vectors
    table = plain_table("kept", "format", "vectors", "size")
    for space in held.spaces:
        table.add_row(space.reference or space.fingerprint[:12], space.format, f"{space.entries:,}", size(space.bytes))
    for name, taken in use.other.items():
        table.add_row(name, "", "", size(taken))
    parts: list[RenderableType] = [heading(use.folder)]
    if use.removed or use.freed:
        parts.append(Text(f"Removed {use.removed:,} vectors and {size(use.freed)} of other files."))
    parts.append(table if table.row_count else Text("Nothing is kept."))
    parts.append(Text(f"Vectors take {size(held.bytes)} of at most {size(held.limit)} (GRAFT_CACHE_GB)."))
    return Group(*parts, *([Text(held.note, style="yellow")] if held.note else []))


def _diagnosis(result: Diagnosis) -> RenderableType:
    table = plain_table("", "", "")
    table.show_header = False
    for check in result.checks:
        word, colour = STATUS[check.status]
        table.add_row(check.name, Text(word, style=colour), line(check.detail, 400))
    return Group(
        table, Text("All that is needed is here." if result.healthy else "Something is missing.", style="bold")
    )


def _reproduction(found: Reproduction) -> RenderableType:
    parts: list[RenderableType] = [heading(f"{found.name}: {found.verdict}"), Text(found.why)]
    cause = "differs too" if found.verdict == "same" else "may be the cause"
    for title, rows in (("differs", found.differences), (cause, found.causes)):
        if rows:
            table = plain_table(title, "was", "is")
            for row in rows[:ROWS_SHOWN]:
                table.add_row(line(row.what, 60), line(row.was, 40), line(row.now, 40))
            parts += [Text(""), table]
            if len(rows) > ROWS_SHOWN:
                parts.append(Text(f"... and {len(rows) - ROWS_SHOWN} more"))
    parts += [Text(""), Text(f"{found.compared:,} values compared; {found.seconds:.1f} s: {line(found.command, 200)}")]
    return Group(*parts, Text(f"The new result: {found.out}"))


_RENDERERS: dict[str, Callable[[Any], RenderableType]] = {
    "FitResult": _fit,
    "Manifest": _manifest,
    "Predictions": _predictions,
    "TargetResult": targets.target_table,
    "Estimates": targets.estimates_table,
    "Encoding": _encoding,
    "CacheUse": _cache,
    "Diagnosis": _diagnosis,
    "TuneResult": training.tune_table,
    "PlanResult": planning.plan_table,
    "PretrainResult": pretraining.pretrain_table,
    "IndexResult": search.index_table,
    "IndexVersions": search.versions_table,
    "SearchResult": search.search_table,
    "Evaluation": search.evaluation_table,
    "BridgeResult": search.bridge_table,
    "ModelCount": weights.count_table,
    "ShiftResult": shift.shift_table,
    "SpaceResult": search.space_table,
    "CurveResult": labels.curve_table,
    "LabelsResult": labels.doubts_table,
    "CorrectedTable": labels.corrected_line,
    "RecommendResult": recommend.recommend_table,
    "Recommendations": recommend.recommendations_table,
    "Reproduction": _reproduction,
    "LabelResult": labelling.label_table,
    "WeakResult": labelling.weak_table,
    "Served": serving.served_line,
    "Load": serving.load_table,
}


def _metrics(metrics: Any, where: str, counted: str = "n") -> Table:
    table = plain_table(where, "", "95 % interval", counted)
    for name, value in metrics.items():
        table.add_row(METRICS.get(name, name), f"{value.value:.3f}", ends(value), f"{value.n:,}")
    return table


def _encoder(encoder: EncoderSummary) -> str:
    ran = ", ".join(filter(None, (encoder.format, encoder.device)))
    return f"{encoder.reference} ({encoder.dim} numbers an item{', ' + ran if ran else ''})"
