"""The tree of errors a user can meet; each knows the exit code of the command line.

0 done, 2 usage, 3 the data or model given is bad, 4 something needed is missing, 130 interrupted, 1 a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from graft.results import Fault


class GraftError(Exception):
    """Base of every error Graft raises on purpose.

    `faults` lists every faulty item of an input at once, so that a person mends them in one go.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.faults = tuple(faults)


class UsageError(GraftError):
    """A flag or argument has a value that cannot work."""

    exit_code = 2


class DataError(GraftError):
    """The data given are bad; `faults` names the rows or files."""

    exit_code = 3


class ModelError(GraftError):
    """A model, artefact or encoder folder is bad, changed, or does not fit what is asked of it."""

    exit_code = 3


class MissingError(GraftError):
    """Something needed is not here: a file, a package, weights; the message names it and the way to get it."""

    exit_code = 4


class StorageError(GraftError):
    """The disk is full, read-only or failing; nothing half-written is left behind."""

    exit_code = 4


def unknown(what: str, value: str, allowed: Iterable[str]) -> str:
    """A message for a value outside a closed set: names the value, the nearest allowed one, and all that are allowed."""
    names = sorted(set(allowed))
    near = difflib.get_close_matches(value, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{what} {value!r} is not known.{hint} Allowed: {', '.join(names)}."
