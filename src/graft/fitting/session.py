"""What surrounds the work of `fit`: flags checked, seconds counted, the environment, the folder and the command on record."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import platform
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graft.errors import UsageError, unknown
from graft.selection.trials import METRICS
from graft.settings import duration, processor, threads
from graft.store.files import check_writable
from graft.strategies.trained import ALL_NAMES, TRAINED
from graft.trainers.recipe import with_settings

PARTS = ("read", "encode", "select", "refit", "report")


def check_flags(
    metric: str,
    strategies: Sequence[str] | None,
    training: Mapping[str, str],
    *,
    retain: str | Path | None = None,
    coverage: float,
    shots: int | None,
    folds: int | None,
    seed: int,
) -> None:
    """Raise UsageError for all flags outside their ranges or without what they need, before anything is read.

    `retain` names data of another task, where there are any.
    """
    problems = []
    if metric not in METRICS:
        problems.append(unknown("--metric", metric, METRICS))
    if not 0.5 <= coverage <= 0.999:
        problems.append(f"--coverage {coverage}: it lies between 0.5 and 0.999.")
    if shots is not None and shots < 1:
        problems.append(f"--shots {shots}: at least 1 item a class is needed to learn from.")
    if folds is not None and folds < 2:
        problems.append(f"--folds {folds}: cross-validation needs at least 2.")
    if not 0 <= seed < 2**32:
        problems.append(f"--seed {seed}: it lies between 0 and {2**32 - 1}.")
    for name in strategies or ():
        if name not in ALL_NAMES:
            problems.append(unknown("--strategies", name, ALL_NAMES))
    if strategies is not None and not strategies:
        problems.append(f"--strategies names none. Allowed: {', '.join(ALL_NAMES)}.")
    problems += [f"--train: {problem}" for problem in _training_problems(training, retain is not None)]
    if problems:
        raise UsageError(" ".join(problems))


def _training_problems(training: Mapping[str, str], retains: bool) -> list[str]:
    try:
        recipe = with_settings(next(iter(TRAINED.values())).recipes["text"], training)
    except UsageError as error:
        return [error.message]
    problems = []
    if "augment" in training:
        from graft.strategies.regimen import misfits  # takes torch with it

        problems += misfits(recipe)
    if recipe.ewc and not retains:
        problems.append("ewc weighs each weight by what it meant to another task: name that task's data by --retain.")
    return problems


def at_once(*checks: Callable[[], Any]) -> list[Any]:
    """What each check returns. Raises one UsageError with the messages of all that raised one; other errors pass."""
    found, problems = [], []
    for check in checks:
        try:
            found.append(check())
        except UsageError as error:
            problems.append(error.message)
    if problems:
        raise UsageError(" ".join(dict.fromkeys(problems)))
    return found


class Stopwatch:
    """Seconds by part of the work, and what is left of the budget.

    `budget` is like "90s", "10m", "2h" or plain seconds; None for no limit. Raises UsageError for anything else.
    """

    def __init__(self, budget: str | None) -> None:
        self._started = time.perf_counter()
        self._budget = None if budget is None else duration(budget)
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the block's seconds towards `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

    def left(self) -> float | None:
        """Seconds left of the budget, at least 0; None without a budget."""
        return None if self._budget is None else max(0.0, self._budget - (time.perf_counter() - self._started))


def environment() -> dict[str, str]:
    """Versions of what shapes a result, the processor and the threads."""
    packages = ("graft", "torch", "transformers", "openvino", "numpy", "scipy", "scikit-learn", "pillow")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **versions, "processor": processor(), "threads": str(threads())}


def folders_named(name: str) -> Iterator[Path]:
    """graft-out/NAME, graft-out/NAME-2, ... without end."""
    base = Path("graft-out") / (re.sub(r"[^\w.-]+", "-", name).strip("-.")[:100] or "fit")
    return (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in itertools.count(1))


def free_folder(out: Path | None, name: str) -> Path:
    """`out`, which must not exist, or the first free of graft-out/NAME, graft-out/NAME-2, ...

    Raises UsageError where `out` exists, StorageError where nothing can be written.
    """
    check_writable(out or next(folders_named(name)))
    if out is None:
        return next(path for path in folders_named(name) if not path.exists())
    if out.exists():
        raise UsageError(f"--out {out} exists, and results are never overwritten. Name another folder, or remove it.")
    return out


def command_line(verb: str, data: object, flags: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """The command that does the same again on `data` (a list: each of them): flags that differ from their defaults, quoted for a shell; `--out` is
    left out.
    """
    words = ["graft", *verb.split(), *map(str, data if isinstance(data, list) else [data])]
    for name, value in flags.items():
        if name == "out" or value == defaults[name]:
            continue
        flag = "--" + name.replace("_", "-")
        for one in value if isinstance(value, (tuple, list)) else [value]:
            words += [flag] if one is True else [flag, str(one)]
    return shlex.join(words)
