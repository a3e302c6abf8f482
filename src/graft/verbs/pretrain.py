"""`graft pretrain`: an encoder of your own from labelled items, used like any other afterwards."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from graft.errors import UsageError

if TYPE_CHECKING:
    from graft.fitting.pretraining import PretrainResult


def pretrain(
    data: Annotated[str | Path, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME."],
    *,
    supervised: Annotated[bool, "Learn from the labels of DATA: so far the one way there is."] = False,
    network: Annotated[
        str | None,
        "cnn (pictures) or bag (texts), trained from nothing, or an encoder to train further. Default: by DATA.",
    ] = None,
    train: Annotated[str | None, "Settings of the training, as in epochs=20,rate=1e-3,channels=64."] = None,
    teacher: Annotated[
        str | Path | None, "A model that fit wrote: its probabilities are learned from besides the labels."
    ] = None,
    label: Annotated[str | None, "Column of labels; guessed when left out."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    test: Annotated[str | None, "Held-out items: a path, or a fraction such as 0.2."] = None,
    split: Annotated[Path | str | None, "JSON file with the train and test items, as a fit saves it."] = None,
    strict: Annotated[bool, "Stop if any item is faulty, instead of going on without it."] = False,
    seed: Annotated[int, "Seed of every random draw."] = 0,
    out: Annotated[Path | str | None, "Folder to write, which must not exist. Default: graft-out/NAME-encoder."] = None,
) -> PretrainResult:
    """Train an encoder on the labels of a source set, for sets with fewer labels: `graft fit OTHER --encoder dir:OUT`.

    A small network learns from nothing, or an encoder that is named learns further; the head above it is thrown away. How well both tell the
    classes apart is measured once on held-out items. With a teacher the network learns from a fitted model's probabilities, too. Started by
    `torchrun`, the processes share the work.

    Raises UsageError for flags that cannot work, DataError when the data cannot be learned from, MissingError when an encoder or the teacher
    is not here, StorageError when `out` cannot be written.
    """
    flags = {name: value for name, value in locals().items() if name != "data"}
    from graft.data.read import read
    from graft.errors import DataError
    from graft.fitting.pretraining import ask, enrol, publish, recipe_of, taught
    from graft.fitting.session import at_once, check_flags, command_line, free_folder
    from graft.verbs.fit import test_part

    started = time.perf_counter()
    recipe, (held, fraction), _, _ = at_once(
        lambda: recipe_of(network, train or ""),
        lambda: test_part(test),
        lambda: check_flags(
            metric="accuracy", coverage=0.9, shots=None, folds=None, seed=seed, strategies=None, training={}
        ),
        lambda: _check_way(supervised),
    )
    if out is not None:
        free_folder(Path(out), "")
    dataset = read(data, label=label, content=content, test=held, strict=strict)
    folder = free_folder(None if out is None else Path(out), f"{dataset.name}-encoder")
    here = enrol(dataset, network=network, recipe=recipe, split=split, test=fraction, seed=seed)
    if strict and here.dataset.faults:
        raise DataError(
            f"{data}: {len(here.dataset.faults)} items are faulty; --strict stops here.", faults=here.dataset.faults
        )
    asked = None if teacher is None else ask(teacher, here)
    done = taught(here, asked)
    command = command_line("pretrain", data, flags, pretrain.__kwdefaults__ or {})
    return publish(here, done, asked, folder=folder, command=command, started=started)


def _check_way(supervised: bool) -> None:
    if not supervised:
        raise UsageError("Encoders are trained on labels so far: say so with --supervised.")
