"""`graft plan`: before anything is trained, which strategy and which encoder to take, what it will cost, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    from graft.planning.advice import PlanResult


def plan(
    data: Annotated[
        str | Path | None, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME; none with --describe."
    ] = None,
    *,
    encoders: Annotated[
        tuple[str, ...] | str, "Encoder references to rank, one after the other. Default: the bundled one."
    ] = (),
    describe: Annotated[
        tuple[str, ...] | str,
        "Advice from words instead of data: labels=500 classes=3 domain=metal-surfaces budget=small; also items, modality, names=yes|no.",
    ] = (),
    label: Annotated[str | None, "Column of labels, guessed when left out; none takes no column for them."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    names: Annotated[
        Path | str | None, "File of lines label<TAB>a name or a sentence, for heads that start from names."
    ] = None,
    shots: Annotated[int | None, "Plan for learning from this many items a class."] = None,
    group: Annotated[str, "Items that stay together: auto (near duplicates), none, or a column."] = "auto",
    budget: Annotated[
        str | float | None,
        "Time that a strategy that trains may take: 90s, 10m, 2h. Left out: ten minutes, as fit gives.",
    ] = None,
    seed: Annotated[int, "Seed of every random draw."] = 0,
) -> PlanResult:
    """Advise before anything is trained: strategies in order, with the accuracy, time and memory to expect of each.

    Says what the data are, how far they are from what the encoder knows, what this machine offers, and what would change the advice. The
    items are encoded as `fit` does (5,000 labelled ones at most) and looked at by two quick strategies on a few folds; nothing is written
    but the vector cache. With several `encoders` they are ranked too.

    Raises UsageError for flags that contradict each other and descriptions that cannot be, DataError when nothing can be read,
    MissingError when an encoder is not here.
    """
    flags = {name: value for name, value in locals().items() if name != "data"}
    from dataclasses import replace

    from graft.data.read import read
    from graft.fitting.advising import Wish, from_words, planned
    from graft.fitting.session import command_line
    from graft.planning.described import read_description

    seconds = _checked(data, flags)
    command = command_line("plan", "" if data is None else data, flags, plan.__kwdefaults__ or {})
    references = [encoders] if isinstance(encoders, str) else list(encoders)
    if data is None:
        description, words = read_description([describe] if isinstance(describe, str) else describe)
        return replace(from_words(description, words, references), command=command)
    dataset = read(
        data,
        label=label,
        content=content,
        group=None if group in ("auto", "none") else group,
        names=None if names is None else Path(names),
    )
    return replace(planned(dataset, references, Wish(seconds, shots, group, seed)), command=command)


def _checked(data: str | Path | None, flags: dict[str, object]) -> float | None:
    """Seconds of the budget. Raises UsageError with all that is wrong with the flags."""
    from graft.errors import UsageError
    from graft.settings import duration

    problems, seconds = [], None
    described = bool(flags["describe"])
    if described == (data is not None):
        problems.append(
            "Give DATA or --describe, not both: one looks, the other only listens."
            if described
            else "There is nothing to plan for: give DATA, or describe it, as in --describe labels=500 classes=3 domain=metal-surfaces."
            + " DATA comes before --encoders, which takes all words after it." * bool(flags["encoders"])
        )
    if described:
        idle = [f"--{name}" for name in ("label", "content", "names", "shots") if flags[name] is not None]
        idle += ["--budget"] * (flags["budget"] is not None)
        if idle:
            problems.append(
                f"{', '.join(idle)}: of no use with --describe, where the words say it all (budget=10m, labels=..)."
            )
    shots, seed = flags["shots"], flags["seed"]
    if isinstance(shots, int) and shots < 1:
        problems.append(f"--shots {shots}: at least 1 item a class is needed to learn from.")
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        problems.append(f"--seed {seed}: it lies between 0 and {2**32 - 1}.")
    if flags["budget"] is not None:
        try:
            seconds = duration(str(flags["budget"]))
        except UsageError as error:
            problems.append(error.message)
    if problems:
        raise UsageError(" ".join(problems))
    return seconds
