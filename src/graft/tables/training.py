"""Tables of trainings for people: the trained rungs of a fit, and a search over settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from graft.reports.formats import known, known_interval, measure_named, size
from graft.reports.training import kept, went_astray, worth
from graft.reports.tune import tune_lead
from graft.results import FitResult, Retained, StrategyResult, TrainingRecord, TuneResult, TuneTrial
from graft.tables.parts import heading, line, plain_table, signed

BEST_SHOWN = 10
NARROW = "\u202f"  # the space that reports write before a unit; terminals draw it as a box as often as not


def trained_rungs(result: FitResult) -> Iterable[RenderableType]:
    """Whether training was worth it, and what each run took; nothing where no rung was trained."""
    runs = [(s, s.training) for s in result.strategies if s.training and (s.training.epochs or s.training.stopped)]
    if not runs:
        return
    yield Text(line(worth(result).replace(NARROW, " "), 1000))
    several = len(result.encoders) > 1
    table = plain_table(
        "trained rung", "gain over rungs below", "weights", "on disk", "epochs", "a step", "memory", "measured on"
    )
    for s, training in runs:
        name = f"{s.name} · {s.encoder}" if several else s.name
        style = "bold" if s is result.chosen_result else None
        table.add_row(line(name, 60), *_run(s, training), style=style)
    yield table
    for s, training in runs:
        yield from (Text(line(f"{s.name}: {note}", 400)) for note in _notes(s, training, result))


def _run(s: StrategyResult, training: TrainingRecord) -> tuple[str, ...]:
    share = f" ({100 * training.trained / training.parameters:.3g} %)" if training.parameters else ""
    batches = f"{training.batch} x {training.accumulate}" if training.accumulate > 1 else f"{training.batch}"
    memory = known(training.memory_mb) or known(s.memory_mb) or 0.0
    folds = f"{training.folds} fold{'s' * (training.folds != 1)}" if training.folds else training.measured_on
    return (
        signed(known_interval(s.gain)),
        f"{training.trained:,}{share}" if training.trained else "",
        size(training.bytes).replace(NARROW, " ") if training.bytes else "",
        str(max(e.epoch for e in training.epochs) + 1) if training.epochs else "",
        line(f"{batches} on {training.device}, {training.precision}", 60) if training.batch else "",
        f"{memory:,.0f} MB" if memory else "",
        folds if training.measured_on == "folds" else line(training.measured_on, 40),
    )


def _notes(s: StrategyResult, training: TrainingRecord, result: FitResult) -> tuple[str, ...]:
    """Why a training that went astray stopped, and all there is to say of the chosen one."""
    if s is result.chosen_result:
        return tuple(filter(None, (training.stopped, *map(_left, training.retained), *training.notes)))
    return (training.stopped,) if training.stopped and went_astray(training) else ()


def _left(retained: Retained) -> str:
    """What is left of another task, in a line."""
    shown = kept(retained)
    return f"{shown.name}: {shown.measure} {shown.before} before, {shown.after} after{' (worse)' * shown.worse}."


def tune_table(result: TuneResult) -> RenderableType:
    """The best settings, what they gain, and the best tries."""
    parts: list[RenderableType] = [
        heading(f"{result.name}: settings of {result.strategy} on {result.encoder}"),
        Text(line(tune_lead(result).replace(NARROW, " "), 1000)),
    ]
    best = result.best_trial
    if best is not None:
        settings = plain_table("setting", "best", "searched")
        for name, value in best.settings.items():
            settings.add_row(line(name, 40), line(_typed(value), 60), line(result.parameters.get(name, ""), 80))
        parts += [Text(""), settings, Text(""), _best_tries(result)]
    lost = [t for t in result.trials if known(t.score) is None]
    if lost:
        parts.append(
            Text(
                f"{len(lost)} of {len(result.trials)} tries have no score: {line(lost[0].reason or lost[0].status, 120)}."
            )
        )
    if result.out:
        parts += [Text(""), Text(f"{known(result.seconds) or 0.0:.1f} s in all. The report: {result.out}/report.html")]
    if result.fit:
        parts.append(Text(f"To use them: {line(result.fit, 2000)}"))
    return Group(*parts)


def _best_tries(result: TuneResult) -> RenderableType:
    measure = measure_named(result.metric)
    sign = 1 if measure.lower_is_better else -1
    scored = [(score, t) for t in result.trials if (score := known(t.score)) is not None]
    table = plain_table("try", f"{result.metric}, best first", "seconds", "settings")
    for score, trial in sorted(scored, key=lambda pair: (sign * pair[0], pair[1].number))[:BEST_SHOWN]:
        settings = ", ".join(f"{name}={_typed(value)}" for name, value in trial.settings.items())
        style = "bold" if trial.number == result.best else None
        table.add_row(str(trial.number), _score(trial, score), f"{trial.seconds:.1f}", line(settings, 160), style=style)
    return table


def _score(trial: TuneTrial, score: float) -> str:
    low, high = known(trial.low), known(trial.high)
    return f"{score:.3f}" + ("" if low is None or high is None else f"  {low:.3f} to {high:.3f}")


def _typed(value: Any) -> str:
    """A setting as `--train` takes it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)
