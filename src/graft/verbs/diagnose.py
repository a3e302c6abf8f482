"""`graft diagnose`: questions one can ask of an index's space, of two sets of items, of a network, of labels and of their number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

if TYPE_CHECKING:
    from graft.diagnostics.counting import ModelCount
    from graft.label_curve import CurveResult
    from graft.reports.review import CorrectedTable, LabelsResult
    from graft.reports.shift import ShiftResult
    from graft.reports.space import SpaceResult


def space(
    index: Annotated[str | Path, "Folder of an index."],
    *,
    out: Annotated[Path | str | None, "Folder to write, which must not exist. Default: graft-out/NAME-space."] = None,
    path: Annotated[Sequence[str], "Id of an item at one end of a path; give it twice."] = (),
    items: Annotated[
        Sequence[str], "Id of an item for the heat maps, 2 to 40 of them; some of each of eight groups when left out."
    ] = (),
    view: Annotated[str | None, "View of the index to look at. Default: image, else text."] = None,
    text: Annotated[str | None, "Payload column with the texts of pictures; guessed when left out."] = None,
    sample: Annotated[int, "Items to measure on, drawn at random."] = 2000,
    seed: Annotated[int, "Seed of every random draw."] = 0,
) -> SpaceResult:
    """Measure the geometry of an index's vectors and say what to do about it.

    Crowding, dimensions, hubs, similarity heat maps, the path between two items, a map, and where texts and pictures meet, the gap
    between them and what closing it does to search. Writes `result.json` and `report.html` into `out`.

    Raises MissingError where there is no index, UsageError for a view, a column or a number that cannot be, DataError for unknown ids
    and with fewer than 12 items, StorageError when `out` exists or cannot be written.
    """
    flags = {name: value for name, value in locals().items() if name != "index"}
    import time
    from dataclasses import replace

    from graft.diagnostics.drawn import Question
    from graft.diagnostics.space import examine
    from graft.fitting.session import command_line, environment, free_folder
    from graft.reports.space import space_report
    from graft.results import to_json
    from graft.retrieval.opened import open_index
    from graft.store.files import new_folder, write_bytes, write_json

    started = time.perf_counter()
    name = Path(index).resolve().name
    folder = free_folder(None if out is None else Path(out), f"{name}-space")
    opened = open_index(index)
    question = Question(tuple(path), tuple(items), view, text, sample, seed)
    opened_at = time.perf_counter()
    result, evidence = examine(opened, question, name=name, path=str(index))
    measured_at = time.perf_counter()
    result = replace(
        result,
        out=str(folder),
        command=command_line("diagnose space", index, flags, space.__kwdefaults__ or {}),
        environment=environment(),
        seconds={"open": opened_at - started, "measure": measured_at - opened_at},
    )
    with new_folder(folder) as draft:
        write_bytes(draft / "report.html", space_report(result, evidence).encode())
        write_json(draft / "result.json", to_json(result))
    return result


def shift(
    first: Annotated[str | Path, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME."],
    second: Annotated[
        str | Path | None, "What it is compared with; left out: the first's official test part with its training part."
    ] = None,
    *,
    encoder: Annotated[str | None, "Encoder reference. Default: the bundled one for texts or pictures."] = None,
    label: Annotated[str | None, "Column of labels; guessed when left out."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    sample: Annotated[int, "Items of each set to look at, drawn at random."] = 10_000,
    out: Annotated[Path | str | None, "Folder to write, which must not exist. Default: graft-out/NAME-shift."] = None,
    seed: Annotated[int, "Seed of every random draw."] = 0,
) -> ShiftResult:
    """Say whether two sets come from one distribution, and what gives the difference away.

    A linear classifier between the sets (proxy A-distance, ROC-AUC with a permutation null) on vectors and on raw pixels or words, the kernel
    distance of the vectors, the most telling items, and the class shares of the second set where the first has labels. The verdict is "same",
    "shifted" or "cannot tell". Writes `result.json` and `report.html` into `out`.

    Raises DataError for texts against pictures and where nothing can be read, UsageError for flags that do not fit, MissingError for data or an
    encoder that is not here, StorageError when `out` exists or cannot be written.
    """
    flags = {name: value for name, value in locals().items() if name not in ("first", "second")}
    given = [str(data) for data in (first, second) if data is not None]
    import time
    from dataclasses import replace

    from graft.data.read import read
    from graft.diagnostics.shift import compare
    from graft.diagnostics.sides import check, parts, side_by_side
    from graft.fitting.session import command_line, environment, free_folder
    from graft.reports.shift import shift_report
    from graft.results import to_json
    from graft.store.files import new_folder, write_bytes, write_json

    check(sample, seed)
    started = time.perf_counter()
    one = read(first, label=label, content=content)
    one, two = parts(one) if second is None else (one, read(second, label=label, content=content))
    name = f"{one.name} and {two.name}"
    folder = free_folder(None if out is None else Path(out), f"{_stem(first)}-shift")
    read_at = time.perf_counter()
    pair = side_by_side(one, two, encoder=encoder, sample=sample, seed=seed)
    encoded_at = time.perf_counter()
    result, evidence = compare(pair, seed=seed, name=name)
    measured_at = time.perf_counter()
    result = replace(
        result,
        out=str(folder),
        command=command_line("diagnose shift", given, flags, shift.__kwdefaults__ or {}),
        environment=environment(),
        seconds={"read": read_at - started, "encode": encoded_at - read_at, "measure": measured_at - encoded_at},
    )
    with new_folder(folder) as draft:
        write_bytes(draft / "report.html", shift_report(result, evidence).encode())
        write_json(draft / "result.json", to_json(result))
    return result


def curve(
    data: Annotated[str | Path, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME, with labels."],
    *,
    target: Annotated[
        Sequence[str | float], "Accuracy wanted, between 0 and 1; the next two round ones when left out."
    ] = (),
    out: Annotated[Path | str | None, "Folder to write, which must not exist. Default: graft-out/NAME-curve."] = None,
    label: Annotated[str | None, "Column of labels; guessed when left out."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    group: Annotated[str, "Items that stay together: auto (near duplicates), none, or a column."] = "auto",
    encoder: Annotated[str | None, "Encoder reference. Default: the bundled one."] = None,
    strategy: Annotated[str | None, "Frozen strategy to draw the curve of; the best on folds when left out."] = None,
    repeats: Annotated[int, "Times the folds are drawn: more make the curve steadier, 1 to 20."] = 4,
    seed: Annotated[int, "Seed of every random draw."] = 0,
) -> CurveResult:
    """Measure how accuracy grows with labels, and forecast how many more reach a target.

    Errors are counted on held-out folds after learning from nested subsets of the others; a power law through them gives the forecast with its
    interval, or the reason why none can be given. A test part that the data have is left alone. Writes `result.json` and `report.html` into `out`.

    Raises DataError for data with too few labels, UsageError for a target or a strategy that cannot be, StorageError when `out` exists or cannot
    be written.
    """
    flags = {name: value for name, value in locals().items() if name != "data"}
    import time

    from graft.fitting.labelled import check_group, read_labelled
    from graft.fitting.questions import check_curve, draw_curve
    from graft.fitting.session import command_line, environment, free_folder
    from graft.label_curve import CurveResult
    from graft.reports.build import curve_report
    from graft.results import to_json
    from graft.store.files import new_folder, write_bytes, write_json

    check_group(group, seed)
    targets = check_curve(target, strategy, repeats)
    started = time.perf_counter()
    folder = free_folder(None if out is None else Path(out), f"{_stem(data)}-curve")
    labelled = read_labelled(data, label=label, content=content, group=group, encoder=encoder, test_part=False)
    read_at = time.perf_counter()
    found = draw_curve(labelled, targets=targets, strategy=strategy, repeats=repeats, seed=seed)
    result = CurveResult(
        name=labelled.dataset.name,
        source=str(data),
        items=len(labelled.dataset),
        curve=found,
        seed=seed,
        seconds={"read and encode": read_at - started, "measure": time.perf_counter() - read_at},
        environment=environment(),
        command=command_line("diagnose curve", data, flags, curve.__kwdefaults__ or {}),
        out=str(folder),
    )
    with new_folder(folder) as draft:
        write_bytes(draft / "report.html", curve_report(result).encode())
        write_json(draft / "result.json", to_json(result))
    return result


def model(
    encoder: Annotated[str, "Encoder reference: minilm, efficientnet-lite0, hub:org/name, dir:path, layer:REF:NAME."],
    *,
    batch: Annotated[int, "Items of a training step."] = 32,
    tokens: Annotated[int, "Tokens of a text."] = 128,
    memory: Annotated[float | None, "Gigabytes a training may take; what is free now when left out."] = None,
    modality: Annotated[Literal["text", "image"] | None, "Tower of a joint encoder."] = None,
) -> ModelCount:
    """Count an encoder's numbers, bytes and operations, and the largest batch that a memory holds.

    Parameters by layer, bytes of weights, gradients, optimiser state (SGD, momentum, Adam) and activations of a training step, in f32 with all
    weights trained. Activations are predicted from batches of one and two items and, where it fits, measured at the batch asked for.

    Raises UsageError for numbers below one, MissingError for an encoder that is not here, ModelError for weights that cannot be used.
    """
    import time
    from dataclasses import replace

    from graft.diagnostics.counting import count
    from graft.encoders.open import open_encoder

    started = time.perf_counter()
    opened = open_encoder(encoder, modality=modality)
    found = count(opened, batch=batch, tokens=tokens, memory_bytes=None if memory is None else memory * 2**30)
    return replace(found, seconds=time.perf_counter() - started)


def labels(
    data: Annotated[str | Path, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME, with labels."],
    *,
    corrections: Annotated[
        Path | str | None,
        "File that the page saved: a copy of the data with these labels is written, and nothing is judged.",
    ] = None,
    out: Annotated[
        Path | str | None, "Folder to write, which must not exist. Default: graft-out/NAME-doubts, or NAME-corrected."
    ] = None,
    label: Annotated[str | None, "Column of labels; guessed when left out."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    group: Annotated[str, "Items that stay together: auto (near duplicates), none, or a column."] = "auto",
    encoder: Annotated[str | None, "Encoder reference. Default: the bundled one."] = None,
    most: Annotated[int, "Suspects on the page, the most doubtful first, 1 to 1000."] = 100,
    seed: Annotated[int, "Seed of every random draw."] = 0,
) -> LabelsResult | CorrectedTable:
    """Find labels that look wrong, judge them on a page, and write the corrected table.

    Every labelled item is asked of a model that did not learn from it; confident learning (Northcutt et al. 2021) doubts those of which it is, by the
    standard of each class, confident that they belong to another. Writes `review.html`, where a person decides, and `result.json` into `out`. What
    the page saves goes into `--corrections`, which writes the table with its labels changed.

    Raises DataError for data without two classes of two items, for corrections that do not fit the data; UsageError, MissingError, StorageError.
    """
    flags = {name: value for name, value in locals().items() if name != "data"}
    from graft.fitting.questions import correct, doubt
    from graft.fitting.session import command_line, free_folder

    wanted = None if out is None else Path(out)
    if corrections is not None:
        folder = free_folder(wanted, f"{_stem(data)}-corrected")
        return correct(data, Path(corrections), folder, label=label, content=content)
    folder = free_folder(wanted, f"{_stem(data)}-doubts")
    command = command_line("diagnose labels", data, flags, labels.__kwdefaults__ or {})
    columns = {"label": label, "content": content, "group": group, "encoder": encoder}
    return doubt(data, columns, most=most, seed=seed, command=command, folder=folder)


def _stem(data: str | Path) -> str:
    """What a folder of results is called after the data."""
    return Path(str(data).removeprefix("data:")).expanduser().resolve().stem
