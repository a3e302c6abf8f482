"""`graft tune`: the best settings of one strategy on your data, by a grid or by Bayesian optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

if TYPE_CHECKING:
    from graft.fitting.searching import Record, Tried
    from graft.fitting.session import Stopwatch
    from graft.fitting.space import Axis
    from graft.fitting.steps import Encoded
    from graft.fitting.validation import Field
    from graft.results import Interval, TuneResult

TRIALS = 20
TestParts = tuple[Path | None, float | None]  # a second file of items, or a share of the first
_UNCOMPARED = {"trials": TRIALS, "budget": None}  # they say how long a search goes on, not what is searched


def tune(
    data: Annotated[str | Path, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME."],
    *,
    strategy: Annotated[str, "The strategy whose settings are searched, such as lora or linear-probe."],
    over: Annotated[
        str, "What is searched: rate=1e-5..1e-3:log,epochs=1..5,rank=4|8|16; /15 cuts a range to 15 points."
    ],
    method: Annotated[Literal["bayes", "grid"], "Bayesian optimisation, or every combination in order."] = "bayes",
    trials: Annotated[int, "Settings that bayes tries, the defaults among them; a grid tries all."] = TRIALS,
    train: Annotated[str | None, "Settings that all trials have, as in epochs=5,batch=32."] = None,
    label: Annotated[str | None, "Column of labels; guessed when left out."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    encoder: Annotated[str | None, "Encoder reference. Default: the bundled one."] = None,
    metric: Annotated[Literal["accuracy", "macro_f1", "log_loss"], "What is to be best."] = "accuracy",
    budget: Annotated[str | float | None, "Time after which no further trial is begun: 90s, 10m, 2h."] = None,
    test: Annotated[str | None, "Items that no trial may see: a path, or a fraction such as 0.2."] = None,
    split: Annotated[Path | str | None, "JSON file with the train and test items, as a fit saves it."] = None,
    names: Annotated[Path | str | None, "File of lines label<TAB>a name or a sentence, for named heads."] = None,
    shots: Annotated[int | None, "Search on this many items a class."] = None,
    group: Annotated[str, "Items that stay together: auto (near duplicates), none, or a column."] = "auto",
    strict: Annotated[bool, "Stop if any item is faulty, instead of going on without it."] = False,
    seed: Annotated[int, "Seed of every random draw."] = 0,
    out: Annotated[
        Path | str | None, "Folder to write; a search that it holds goes on. Default: graft-out/NAME-tune."
    ] = None,
) -> TuneResult:
    """Search the settings of a strategy on a part of your training items that no trial learns from.

    The test part is taken away first, as `fit` does, so that what is found can be proven there. The first trial is that of the default
    settings. Every finished trial is kept at once: after Ctrl-C the same command goes on.

    Raises UsageError for settings that are not known and for an `out` that holds something else, DataError when the data cannot be
    learned from, MissingError when the encoder or Ax is not here, StorageError when `out` cannot be written or another
    process searches there.
    """
    flags = {name: value for name, value in locals().items() if name != "data"}
    from graft.fitting.proposals import Bayes, Grid
    from graft.fitting.searching import Record, search
    from graft.fitting.validation import field_of, subject
    from graft.store.files import alone

    axes, given, watch, test_parts = _checked(flags)
    command = _command(data, flags | _UNCOMPARED)
    encoded, folder = _encoded(data, flags, test_parts, command)
    where = field_of(encoded, group=group, test_part={"test": test_parts[1], "shots": shots}, seed=seed)
    what = subject(strategy, where, axes, given, folder=folder, seed=seed)
    proposals = Grid(axes) if method == "grid" else Bayes(axes, seed)
    most = None if method == "grid" else trials
    with alone(folder):
        record = Record.open(folder, command, where.key(command))
        found = search(record, where.part(metric), what.run, proposals, what.defaults, most=most, left=watch.left)
        return _publish(data, flags, where, record, found, axes, {**given, **what.set_by(found[0])})


def _checked(flags: Mapping[str, Any]) -> tuple[tuple[Axis, ...], dict[str, str], Stopwatch, TestParts]:
    """What the flags mean. Raises UsageError for all that is wrong with them, MissingError where Ax is needed and not here."""
    from graft.fitting.proposals import check_installed
    from graft.fitting.session import Stopwatch, at_once, check_flags
    from graft.fitting.space import read_request
    from graft.verbs.fit import test_part

    numbers = {name: flags[name] for name in ("metric", "shots", "seed")}
    grid, budget = flags["method"] == "grid", flags["budget"]
    (axes, given), watch, parts, _, _ = at_once(
        lambda: read_request(flags["strategy"], flags["over"], flags["train"] or "", grid=grid),
        lambda: Stopwatch(None if budget is None else str(budget)),
        lambda: test_part(flags["test"]),
        lambda: check_flags(**numbers, coverage=0.9, folds=None, strategies=None, training={}),
        lambda: _check_trials(flags["trials"]),
    )
    if not grid:
        check_installed()
    return axes, given, watch, parts


def _check_trials(trials: int) -> None:
    from graft.errors import UsageError

    if trials < 2:
        raise UsageError(f"--trials {trials}: at least 2 are needed, that of the defaults and one more.")


def _encoded(data: str | Path, flags: Mapping[str, Any], parts: TestParts, command: str) -> tuple[Encoded, Path]:
    """The items read and encoded as `fit` does, and the folder of the search, which is looked at first."""
    from graft.data.partition import before_encoding, narrow
    from graft.data.read import check_trainable, read
    from graft.fitting.searching import search_folder
    from graft.fitting.steps import encode_items

    out = None if flags["out"] is None else Path(flags["out"])
    if out is not None:
        search_folder(out, "", command)
    (held, fraction), group, names = parts, flags["group"], flags["names"]
    dataset = read(
        data,
        label=flags["label"],
        content=flags["content"],
        group=None if group in ("auto", "none") else group,
        test=held,
        names=None if names is None else Path(names),
        strict=flags["strict"],
    )
    check_trainable(dataset)
    folder = search_folder(out, dataset.name, command)
    partition = before_encoding(dataset, split=flags["split"], test=fraction, shots=flags["shots"], seed=flags["seed"])
    used, partition = narrow(dataset, partition)
    references = [] if flags["encoder"] is None else [flags["encoder"]]
    return encode_items(used, partition, references, strict=flags["strict"]), folder


def _publish(
    data: str | Path,
    flags: Mapping[str, Any],
    where: Field,
    record: Record,
    found: tuple[Tried | None, Interval | None],
    axes: tuple[Axis, ...],
    settings: Mapping[str, str],
) -> TuneResult:
    """Write report and `result.json`, which says what was found and how to fit with it."""
    from graft.reports.tune import tune_report
    from graft.results import TuneResult, to_json
    from graft.store.files import write_bytes, write_json

    best, gain = found
    result = TuneResult(
        name=where.dataset.name,
        strategy=flags["strategy"],
        encoder=where.encoder.info.reference,
        data=str(data),
        method=flags["method"],
        metric=flags["metric"],
        trials=tuple(trial.told for trial in record.trials),
        best=best.told.number if best else None,
        baseline=record.trials[0].told.score if record.trials else None,
        gain=gain,
        parameters={axis.name: axis.told() for axis in axes},
        seconds=record.seconds,
        seed=flags["seed"],
        command=_command(data, flags),
        out=str(record.folder),
        fit=_fit_command(data, flags, settings),
    )
    write_bytes(record.folder / "report.html", tune_report(result).encode())
    write_json(record.folder / "result.json", to_json(result))
    return result


def _command(data: str | Path, flags: Mapping[str, Any]) -> str:
    from graft.fitting.session import command_line

    return command_line("tune", data, flags, {"strategy": None, "over": None, **(tune.__kwdefaults__ or {})})


def _fit_command(data: str | Path, flags: Mapping[str, Any], settings: Mapping[str, str]) -> str:
    """The `graft fit` that uses what was found. A frozen strategy chooses its settings itself, on the folds."""
    from graft.fitting.session import command_line
    from graft.strategies.trained import TRAINED
    from graft.verbs.fit import fit

    defaults = fit.__kwdefaults__ or {}
    same = {name: value for name, value in flags.items() if name in defaults and name not in ("out", "budget", "train")}
    chosen: dict[str, Any] = {"strategies": flags["strategy"]}
    if flags["strategy"] in TRAINED and settings:
        chosen["train"] = ",".join(f"{name}={value}" for name, value in settings.items())
    return command_line("fit", data, same | chosen, {**defaults, "encoder": None})
