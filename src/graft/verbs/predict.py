"""`graft predict`: answer new items with a fitted model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from graft.errors import DataError, UsageError

if TYPE_CHECKING:
    from graft.opened import Predictions
    from graft.targets.opened import Estimates


def predict(
    model: Annotated[str | Path, "A folder that fit wrote, or the model/ in it."],
    items: Annotated[Sequence[str], "Pictures, folders, zips, tables or texts; - reads lines of the standard input."],
    *,
    text: Annotated[bool, "Take every item as a text, even where a file has that name."] = False,
    content: Annotated[
        str | None, "Column of texts or picture paths in a table; the one fitted on when left out."
    ] = None,
    top: Annotated[int, "How many of the likeliest labels to give with each answer; ordered levels are all given."] = 3,
    out: Annotated[Path | str | None, "Write the answers to a new .csv, .tsv, .jsonl or .parquet file."] = None,
) -> Predictions | Estimates:
    """Answer new items with a fitted model, and say how sure it is.

    An item that exists is a file, a folder, a zip or a table; anything else is a text. Where the likeliest label is less probable than
    the model's threshold the answer is "unsure" (a label of None); numbers and counts come with an interval. Items that
    cannot be read are listed in `faults`; the rest is answered.

    Raises DataError when no item can be read, ModelError when the model or its encoder was changed, MissingError when one is not
    here, UsageError when `out` exists or is of no such kind.
    """
    from graft.opened import load
    from graft.targets.opened import is_target, open_target
    from graft.verbs.items import gather
    from graft.verbs.outputs import ANSWER_SUFFIXES, check_target, write_answers

    if top < 1:
        raise UsageError(f"--top {top}: at least one label is given with each answer.")
    target = None if out is None else Path(out)
    if target is not None:
        check_target(target, ANSWER_SUFFIXES)
    opened = open_target(model) if is_target(model) else load(model)
    given = [items] if isinstance(items, str) else [str(item) for item in items]
    usual = opened.manifest.data.columns.get("content")
    found = gather(given, opened.modality, text=text, column=content, usual=usual)
    answers: Predictions | Estimates = opened.answer(found.contents, found.ids, top=top)
    answers = replace(answers, faults=(*found.faults, *answers.faults))
    if not len(answers):
        raise DataError("There is nothing to answer: none of the items can be read.", faults=answers.faults)
    if target is not None:
        write_answers(target, answers)
        answers = replace(answers, out=str(target))
    return answers
