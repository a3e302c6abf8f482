"""`graft fit`: from items and a few labels to a tested classifier, the evidence for it, and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

if TYPE_CHECKING:
    from graft.data.dataset import Dataset
    from graft.fitting.session import Stopwatch
    from graft.results import FitResult
    from graft.targets.result import TargetResult


def fit(
    data: Annotated[str | Path, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME."],
    *,
    label: Annotated[
        str | None,
        "Column of labels, guessed when left out; and what it holds, guessed and shown: "
        "COLUMN:classes, :multilabel, :ordinal=low,mid,high, :count or :number.",
    ] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    encoder: Annotated[
        Sequence[str] | str, "Encoder reference; several compete on the same folds. Default: the bundled one."
    ] = (),
    strategies: Annotated[
        Sequence[str] | str | None,
        "Only these strategies, separated by commas; frozen stands for all that train nothing.",
    ] = None,
    metric: Annotated[Literal["accuracy", "macro_f1", "log_loss"], "What to choose by."] = "accuracy",
    budget: Annotated[
        str | float | None,
        "Time after which no further strategy is measured; encoding counts. 90s, 10m, 2h. Left out: trained rungs get ten minutes.",
    ] = None,
    train: Annotated[str | None, "Settings of the trained rungs, as in epochs=5,rate=1e-4,mixup=0.2."] = None,
    retain: Annotated[
        str | Path | None, "Labelled data of another task, or texts without labels: how much of it a training forgets."
    ] = None,
    track: Annotated[
        Literal["wandb", "mlflow", "tensorboard"] | None, "Where losses and rates are written while a rung is trained."
    ] = None,
    test: Annotated[str | None, "Held-out items: a path, or a fraction such as 0.2."] = None,
    split: Annotated[Path | str | None, "JSON file with the train and test items, as a fit saves it."] = None,
    names: Annotated[
        Path | str | None, "File of lines label<TAB>a name or a sentence, for zero-shot and named heads."
    ] = None,
    shots: Annotated[int | None, "Learn from this many items a class."] = None,
    folds: Annotated[int | None, "Folds of the cross-validation; chosen from the data when left out."] = None,
    group: Annotated[str, "Items that stay together: auto (near duplicates), none, or a column."] = "auto",
    time: Annotated[str | None, "Column of times: the latest items are held out."] = None,
    strict: Annotated[bool, "Stop if any item is faulty, instead of going on without it."] = False,
    coverage: Annotated[
        float, "Coverage of the unsure rule: share of items whose true label it keeps, 0.5 to 0.999."
    ] = 0.9,
    seed: Annotated[int, "Seed of every random draw."] = 0,
    out: Annotated[Path | str | None, "Folder to write, which must not exist. Default: graft-out/NAME."] = None,
) -> FitResult | TargetResult:
    """Choose the best way to transfer on your data, prove it on held-out items, save it, and report.

    Labels that are numbers, counts, ordered levels, or several an item go their own way (`graft.targets`) and give a `TargetResult`; what
    it shares with a `FitResult` is in `graft.results.Fitted`.
    Otherwise every frozen strategy is measured on the same paired folds, then those that train, one after the other while each proves a
    gain and the time lasts. The choice is refitted on all training items, calibrated, and tested once. Writes `result.json`,
    `report.html`, `split.json` and `model/` into `out`.

    Raises DataError when the data cannot be learned from, UsageError when flags contradict each other, MissingError when an
    encoder is not here, StorageError when `out` exists or cannot be written.
    """
    flags = {name: value for name, value in locals().items() if name != "data"}
    from graft.data.partition import before_encoding, narrow
    from graft.data.read import check_trainable
    from graft.fitting.proof import prove, publish
    from graft.fitting.session import Stopwatch, check_flags, command_line, free_folder
    from graft.fitting.steps import choose, encode_items
    from graft.fitting.upper import check_request, wanted_of, what_time_let_run
    from graft.trainers.recipe import read_settings

    watch = Stopwatch(None if budget is None else str(budget))
    wanted = _words(strategies)
    references = [encoder] if isinstance(encoder, str) else list(encoder)
    given = read_settings(train or "")
    check_flags(metric, wanted, given, retain=retain, coverage=coverage, shots=shots, folds=folds, seed=seed)
    request = wanted_of(wanted, given, retain=retain, track=track, left=watch.left, seed=seed)
    held, fraction = test_part(test)
    with watch.part("read"):
        dataset = _read(data, flags, held)
    if dataset.target is not None:
        return _fit_target(data, dataset, flags, watch)
    with watch.part("read"):
        check_trainable(dataset)
        check_request(request, dataset.modality, references)
        folder = free_folder(None if out is None else Path(out), dataset.name)
        partition = before_encoding(dataset, split=split, test=fraction, shots=shots, seed=seed)
        used, partition = narrow(dataset, partition)
    with watch.part("encode"):
        encoded = encode_items(used, partition, references, strict=strict)
    with watch.part("select"):
        chosen = choose(
            encoded,
            group=group,
            hold_out={"test": fraction, "shots": shots},
            metric=metric,
            folds=folds,
            request=request,
        )
    with watch.part("refit"):
        proof = prove(chosen, coverage=coverage, seed=seed)
    flags |= what_time_let_run(chosen.selection.results, given, only=request.only)
    command = command_line("fit", data, flags, fit.__kwdefaults__ or {})
    if out is None:  # another fit may have taken the name meanwhile
        folder = free_folder(None, dataset.name)
    return publish(chosen, proof, watch=watch, command=command, folder=folder, seed=seed)


def _read(data: str | Path, flags: Mapping[str, Any], test: Path | None) -> Dataset:
    """The data as the flags say; their labels are guessed to be classes or another target unless named."""
    from graft.data.read import read
    from graft.data.targets import asked_of

    label, asked = asked_of(flags["label"])
    return read(
        data,
        label=label,
        content=flags["content"],
        group=None if flags["group"] in ("auto", "none") else flags["group"],
        time=flags["time"],
        test=test,
        names=None if flags["names"] is None else Path(flags["names"]),
        strict=flags["strict"],
        asked=asked,
    )


CLASS_FLAGS = ("strategies", "metric", "budget", "train", "retain", "track", "shots")  # of no meaning to another target


def _fit_target(data: str | Path, dataset: Dataset, flags: Mapping[str, Any], watch: Stopwatch) -> TargetResult:
    """`fit` of labels that are no classes. Raises UsageError for flags that are for classes alone."""
    from graft.data.partition import before_encoding
    from graft.errors import UsageError
    from graft.fitting.session import command_line, environment, free_folder
    from graft.targets.publish import Wanted, fit_target

    defaults = fit.__kwdefaults__ or {}
    if odd := [f"--{name}" for name in CLASS_FLAGS if flags[name] != defaults[name]]:
        raise UsageError(
            f"{', '.join(odd)}: for classes, and the labels are taken as {dataset.columns['task']}. Leave out what is for classes, "
            "or take the labels as such: --label COLUMN:classes."
        )
    _, fraction = test_part(flags["test"])
    out, encoder, seed = flags["out"], flags["encoder"], flags["seed"]
    folder = free_folder(None if out is None else Path(out), dataset.name)
    partition = before_encoding(dataset, split=flags["split"], test=fraction, shots=None, seed=seed)
    return fit_target(
        dataset,
        partition,
        Wanted(
            encoders=(encoder,) if isinstance(encoder, str) else tuple(encoder),
            test=fraction,
            folds=flags["folds"],
            group=flags["group"],
            strict=flags["strict"],
            coverage=flags["coverage"],
            seed=seed,
        ),
        timed=watch.part,
        seconds=watch.seconds,
        environment=environment(),
        command=command_line("fit", data, flags, defaults),
        folder=folder,
    )


def _words(given: str | Sequence[str] | None) -> list[str] | None:
    """The words of a comma-separated text, or of a list of such; None for None."""
    if given is None:
        return None
    texts = [given] if isinstance(given, str) else given
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def test_part(test: str | None) -> tuple[Path | None, float | None]:
    """`--test` as a path or as a fraction strictly between 0 and 1; raises UsageError for a number outside."""
    from graft.errors import UsageError

    if test is None:
        return None, None
    try:
        fraction = float(test)
    except ValueError:
        return Path(test), None
    if not 0 < fraction < 1:
        raise UsageError(f"--test {test}: a fraction lies between 0 and 1, such as 0.2; a path names held-out items.")
    return None, fraction
