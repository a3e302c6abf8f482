"""`graft label`: the next items worth a label, a page to label them on, and labels from rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from graft.labelling.rules import Rule

if TYPE_CHECKING:
    from graft.labelling.outcome import LabelResult, WeakResult


def label(
    data: Annotated[str | Path, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME; some or no labels."],
    *,
    how: Annotated[
        Literal["auto", "uncertainty", "margin", "core-set", "typical", "random"],
        "What makes an item worth a label; auto is typical for the first labels, then margin.",
    ] = "auto",
    top: Annotated[int, "Items of a batch."] = 100,
    classes: Annotated[str | None, "Labels to choose from, separated by commas, beside those in the data."] = None,
    serve: Annotated[bool, "Open the page on which the items are labelled; Ctrl-C ends it."] = False,
    port: Annotated[int, "Port of the page on this machine; 0 takes one that is free."] = 8010,
    rules: Annotated[
        Path | str | Mapping[str, Rule] | None,
        "File of rules, lines label<TAB>word, phrase or label<TAB>/regular expression/: weak labels instead of questions.",
    ] = None,
    label: Annotated[str | None, "Column of labels, guessed when left out; none takes no column for them."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    encoder: Annotated[str | None, "Encoder reference. Default: the bundled one for texts or pictures."] = None,
    seed: Annotated[int, "Seed of every random draw."] = 0,
    strict: Annotated[bool, "Stop if any item is faulty, instead of going on without it."] = False,
    out: Annotated[
        Path | str | None, "Folder of the answers; one that is there is gone on with. Default: graft-out/NAME-labels."
    ] = None,
) -> LabelResult | WeakResult:
    """Rank the items that are most worth a label, label them on a page, or have rules label them.

    Writes `next.csv` (what to ask, with reasons) and `labels.csv` (all labels so far, for `graft fit`) into `out`, where every answer of
    the page is kept at once. With `rules`: `weak.csv`, labels with their probability and source, what each rule is worth, and whether
    spreading the labels over the vectors helped on the items that have a label.

    Raises UsageError for flags that cannot be, DataError when nothing can be read or rules cannot be used, MissingError when the
    encoder, the rules or a package is not here, StorageError when another process holds `out` or it cannot be written.
    """
    flags = {name: value for name, value in locals().items() if name != "data"}
    import time

    from graft.annotation.pool import classes_named, open_pool
    from graft.annotation.weak import check_rules, weak_labels
    from graft.annotation.work import answer_folder, check_answers, check_flags, open_answers, run_queries
    from graft.fitting.session import command_line

    started = time.perf_counter()
    check_flags(top=top, seed=seed, port=port, serve=serve, rules=rules)
    named = classes_named(classes)
    check_rules(rules)
    pool = open_pool(data, label=label, content=content, encoder=encoder, strict=strict)
    folder = answer_folder(None if out is None else Path(out), pool)
    flags["rules"] = None if isinstance(rules, Mapping) else rules
    told = command_line("label", data, flags, DEFAULTS), started
    with open_answers(folder) as journal:
        check_answers(folder, pool, journal.answers)
        if rules is not None:
            return weak_labels(pool, journal.answers, named, rules, folder, told=told)
        at = port if serve else None
        return run_queries(pool, journal, named, folder, how=how, top=top, seed=seed, port=at, told=told)


DEFAULTS = label.__kwdefaults__ or {}  # in the function the name is that of a flag
