"""Rules that people write: each looks at an item's words and names a label, or says nothing.

A rule is a function from a text to a label or None. Keywords and patterns are made here, also from the lines of a file; other
functions come from Python alone: nothing in a file is ever run.

Legend: N items, R rules.
"""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import DataError, MissingError, unknown
from graft.results import Fault
from graft.settings import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Rule = Callable[[str], str | None]
ABSTAINS = -1
RULE = "rule"  # what faults of rules are about
PATIENCE = 10.0  # seconds that a rule may take for one item; twice that may pass until it is noticed


@dataclass(frozen=True, eq=False)
class Votes:
    """What the rules said: `votes` (N, R) positions in `classes`, -1 where a rule says nothing; `faults` of rules that failed, by rule."""

    classes: tuple[str, ...]
    votes: NDArray[np.int64]
    faults: tuple[Fault, ...]


def keyword(label: str, *words: str) -> Rule:
    """Names `label` where one of the words (or phrases) occurs as a whole, in upper or lower case."""
    found = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in words), re.IGNORECASE)
    return lambda text: label if found.search(text) else None


def pattern(label: str, expression: str) -> Rule:
    """Names `label` where the regular expression is found anywhere in the text. Raises re.error for one that is none."""
    found = re.compile(expression)
    return lambda text: label if found.search(text) else None


def read_rules(path: Path, classes: Sequence[str]) -> dict[str, Rule]:
    """Rules of a file, one a line: `label<TAB>word, another phrase` or `label<TAB>/regular expression/`; # begins a remark.

    `classes` are the labels there are, or empty where any will do. Raises MissingError without the file, and DataError with every line
    that is no rule, names a label that is not known, or holds an expression that is none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as problem:
        raise MissingError(f"There is no file {path} for --rules.") from problem
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is no UTF-8 text"
        raise DataError(f"{path}, given for --rules, cannot be read: {reason}.") from problem
    rules: dict[str, Rule] = {}
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where, (label, tab, said) = f"line {number}", line.partition("\t")
        label, said = label.strip(), said.strip()
        if not tab or not label or not said:
            faults.append(Fault(where, "not of the form label<TAB>words, or label<TAB>/regular expression/", line[:80]))
            continue
        if classes and label not in classes:
            faults.append(Fault(where, unknown("the label", label, classes), label))
        try:
            made = _rule(label, said)
        except (re.error, ValueError) as problem:
            faults.append(Fault(where, f"not a rule: {problem}", said[:80]))
            continue
        rules[f"{where}: {label}, {said}"] = made
    if faults:
        count = f"{len(faults)} line{'s' * (len(faults) > 1)}"
        raise DataError(
            f"{path}, given for --rules, has {count} that cannot be used. --classes adds labels.", faults=faults
        )
    if not rules:
        raise DataError(f"{path}, given for --rules, holds no rule: write lines label<TAB>word, another word.")
    return rules


def _rule(label: str, said: str) -> Rule:
    if len(said) > 2 and said.startswith("/") and said.endswith("/"):
        return pattern(label, said[1:-1])
    words = [word.strip() for word in said.split(",") if word.strip()]
    if not words:
        raise ValueError("it names no word")
    if any(len(word) > 2 and word.startswith("/") and word.endswith("/") for word in words):
        raise ValueError("an expression between slashes stands on a line of its own")
    return keyword(label, *words)


def apply_rules(rules: Mapping[str, Rule], texts: Sequence[str], classes: Sequence[str]) -> Votes:
    """What every rule says of every text. A rule that raises says nothing there, and is told once with how often it did; one that does not
    return from an item within ten seconds is left out.

    `classes` are the labels there are, or empty: then those that the rules name, sorted. Raises DataError, with every fault of every
    rule, for labels that are not known and where no rule says anything.
    """
    import numpy as np

    said = {}
    for number, (name, rule) in enumerate(rules.items()):
        progress("rules", number, len(rules))
        said[name] = _say(name, rule, texts)
    named = {label for labels, _ in said.values() for label in labels if label is not None}
    known = tuple(classes) or tuple(sorted(named))
    code = {label: i for i, label in enumerate(known)}
    faults = [fault for _, found in said.values() for fault in found]
    strange = [
        Fault(name, unknown("the label", label, known), label)
        for name, (labels, _) in said.items()
        for label in sorted({label for label in labels if label is not None and label not in code})
    ]
    silent = [name for name, (labels, found) in said.items() if not any(labels) and not found]
    faults += [Fault(name, "it says nothing of any item", about=RULE) for name in silent]
    if strange:
        raise DataError("Rules name labels that are not known: --classes adds labels.", faults=[*strange, *faults])
    if not named:
        raise DataError(f"None of {len(rules)} rules says anything of {len(texts):,} items.", faults=faults)
    columns = [[ABSTAINS if label is None else code[label] for label in labels] for labels, _ in said.values()]
    return Votes(known, np.array(columns, np.int64).T.reshape(len(texts), len(said)), tuple(faults))


def _say(name: str, rule: Rule, texts: Sequence[str]) -> tuple[list[str | None], list[Fault]]:
    labels: list[str | None] = []
    problems: list[tuple[int, str]] = []
    try:
        with _patience(lambda: len(labels)):
            for place, text in enumerate(texts):
                try:
                    label = rule(text)
                    if label is not None and (not isinstance(label, str) or not label):
                        raise TypeError(f"it returned {label!r}, neither a label nor None")
                except Exception as problem:  # a rule is anybody's code
                    label = None
                    problems.append((place, f"{type(problem).__name__}: {problem}"))
                labels.append(label)
    except _NoReturn:
        why = f"it did not return within {PATIENCE:g} seconds on item {len(labels)}, and is left out"
        return [None] * len(texts), [Fault(name, why, about=RULE)]
    if not problems:
        return labels, []
    at, what = problems[0]
    why = f"it failed on {len(problems):,} of {len(texts):,} items, first on item {at}: {what}"
    return labels, [Fault(name, why, about=RULE)]


class _NoReturn(BaseException):
    """Raised inside a rule; no rule's own `except Exception` stops it."""


@contextlib.contextmanager
def _patience(done: Callable[[], int]) -> Iterator[None]:
    """Raise _NoReturn where `done()` stands still for PATIENCE seconds; in the main thread alone, as signals come there, and not on Windows."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    before = -1

    def look(*_: object) -> None:
        nonlocal before
        before, last = done(), before
        if before == last:
            raise _NoReturn

    handler = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
