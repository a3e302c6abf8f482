"""Trials of a search over settings: each trained on the same items and scored on the same validation part, kept as soon as it is done.

The folder of a search holds `search.json` (what is searched, written first), `trials.jsonl` (a line for every finished trial) and `answers/` (the
logits of the first and the best trial, which are compared pairwise). From them the same command goes on after an interruption.
Legend: N items, V items of the validation part, C classes.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.errors import DataError, GraftError, MissingError, ModelError, StorageError, UsageError
from graft.fitting.proposals import Bayes, Proposals
from graft.fitting.session import folders_named
from graft.fitting.space import Settings
from graft.heads.base import log_softmax, softmax
from graft.heads.calibration import fit_temperature
from graft.metrics.intervals import score_with_intervals
from graft.results import Interval, TuneTrial, from_json, to_json
from graft.selection.contender import paired_items
from graft.selection.trials import LOSS_WEIGHT
from graft.store.files import alone, check_writable, storage_errors, write_json, write_with

SCHEMA = 1
HELD = 0.2  # share of the training items that trials are scored on
SEARCH, TRIALS, ANSWERS, CHECKPOINT = "search.json", "trials.jsonl", "answers", "trial.safetensors"

Logits = NDArray[np.float32]
Run = Callable[[Settings], Logits]


@dataclass(frozen=True, eq=False)
class Part:
    """What trials are scored on: labels of the validation part, and whether the class of each has items to learn from."""

    y_V: NDArray[np.int64]
    known_V: NDArray[np.bool_]
    metric: str

    def score(self, logits_VC: Logits) -> tuple[Interval, float]:
        """The metric with its interval over the items, and a finer goal (larger is better) that also tells apart trials with as many right.

        Log loss is that at the best temperature, as a fitted model is calibrated, and of items whose class could be learned.
        """
        known = self.known_V if self.known_V.any() else np.ones(len(self.y_V), bool)
        y_K, logits_KC = self.y_V[known], logits_VC[known]
        calm_KC = logits_KC / fit_temperature(logits_KC, y_K)
        loss = float(-log_softmax(calm_KC)[np.arange(len(y_K)), y_K].mean())
        if self.metric == "log_loss":
            return score_with_intervals(y_K, softmax(calm_KC), seed=0)["log_loss"], -loss
        found = score_with_intervals(self.y_V, softmax(logits_VC), seed=0)[self.metric]
        return found, found.value - LOSS_WEIGHT * loss

    def gain(self, mine_VC: Logits, theirs_VC: Logits) -> Interval:
        """Paired difference in the metric, larger is better."""
        some = self.known_V if self.metric == "log_loss" and self.known_V.any() else np.ones(len(self.y_V), bool)
        return paired_items(mine_VC[some], theirs_VC[some], self.y_V[some], self.metric)

    def better(self, trial: Tried, best: Tried | None) -> bool:
        """Whether a measured trial beats the best so far; of equal scores the finer goal decides, and then the first."""
        if trial.goal is None or best is None or best.goal is None:
            return trial.goal is not None
        sign = -1.0 if self.metric == "log_loss" else 1.0
        return (sign * (trial.told.score or 0.0), trial.goal) > (sign * (best.told.score or 0.0), best.goal)


@dataclass(frozen=True)
class Tried:
    """A finished trial: what is told of it, its `goal` (None where it failed), and the settings as they were proposed."""

    told: TuneTrial
    goal: float | None = None
    asked: Mapping[str, Any] | None = None


@dataclass(eq=False)
class Record:
    """A search's folder. `trials` are those that are finished, in order; `before` the seconds that earlier processes took for them."""

    folder: Path
    trials: list[Tried] = field(default_factory=list)
    before: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def open(cls, folder: Path, command: str, key: str) -> Record:
        """The record of this very search, empty where it is new. Raises UsageError where the folder is of another, DataError where it is damaged."""
        held = read_search(folder)
        if held is None:
            write_json(folder / SEARCH, {"schema": SCHEMA, "command": command, "key": key})
            return cls(folder)
        if held.get("key") != key:
            raise UsageError(
                f"--out {folder} holds trials on other items, with another encoder or by another version of Graft: "
                "they cannot be compared. Name another folder, or remove it."
            )
        return cls(folder, *_read_trials(folder / TRIALS))

    @property
    def seconds(self) -> float:
        """Seconds of the search, over all processes that went on with it."""
        return self.before + time.perf_counter() - self.started

    def add(self, trial: Tried, logits_VC: Logits | None, best: Tried | None) -> None:
        """Keep a finished trial, and the logits of the first and the best one. Raises StorageError, and then the trial is not there."""
        number, answers = trial.told.number, self.folder / ANSWERS
        if logits_VC is not None:
            write_with(answers / f"{number}.npy", lambda path: np.save(path, logits_VC, allow_pickle=False))
        line = {**to_json(trial.told), "goal": trial.goal, "asked": trial.asked, "elapsed": self.seconds}
        _append(self.folder / TRIALS, to_json(line))
        self.trials.append(trial)
        kept = {"0.npy", f"{best.told.number}.npy" if best else ""}
        for path in answers.glob("*.npy"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def logits(self, trial: Tried) -> Logits | None:
        """What a trial answered, where it was kept."""
        path = self.folder / ANSWERS / f"{trial.told.number}.npy"
        try:
            found: Logits = np.load(path, allow_pickle=False)
        except (OSError, ValueError):
            return None
        return found


def search_folder(out: Path | None, name: str, command: str) -> Path:
    """`out`, or the first of graft-out/NAME-tune, NAME-tune-2, .. that is new or holds this very search.

    Raises UsageError where `out` holds something else, StorageError where nothing can be written or another process searches.
    """
    check_writable(out or next(folders_named(f"{name}-tune")))
    if out is None:
        return next(path for path in folders_named(f"{name}-tune") if _new_or_same(path, command))
    held = read_search(out)
    if held is not None and held.get("command") != command:
        raise UsageError(
            f"--out {out} holds another search, `{held.get('command')}`. Name another folder, or remove it."
        )
    if held is not None:
        with alone(out):  # told before anything is encoded
            pass
    return out


def _new_or_same(folder: Path, command: str) -> bool:
    try:
        held = read_search(folder)
    except UsageError:
        return False
    return held is None or held.get("command") == command


def read_search(folder: Path) -> dict[str, Any] | None:
    """What `search.json` of a folder says; None where nothing is there. Raises UsageError where something else is."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        held: dict[str, Any] = json.loads((folder / SEARCH).read_bytes())
        if held["schema"] > SCHEMA:
            raise UsageError(
                f"--out {folder} is a search of a newer Graft: `pip install --upgrade graft` goes on with it."
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--out {folder} exists and is no search that could go on, and nothing is overwritten. Name another folder, or remove it."
        ) from error
    return held


def _read_trials(path: Path) -> tuple[list[Tried], float]:
    """The finished trials and the seconds up to the last; a line that a killed process left without its end is taken off the file."""
    if not path.exists():
        return [], 0.0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with storage_errors(path):
            os.truncate(path, len(whole))
    found, elapsed = [], 0.0
    for number, line in enumerate(whole.splitlines()):
        try:
            tree = json.loads(line)
            told = from_json(TuneTrial, tree)
            if told.number != number:
                raise ValueError(f"number {told.number}")
            found.append(Tried(told, tree["goal"], tree["asked"]))
            elapsed = float(tree["elapsed"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is damaged in line {number + 1} ({error}). Remove the folder, and search anew."
            ) from error
    return found, elapsed


def _append(path: Path, tree: Any) -> None:
    """Add a line, whole or not at all; on the disk when this returns."""
    line = json.dumps(tree, allow_nan=False).encode() + b"\n"
    with storage_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) < len(line):
                    raise OSError(28, os.strerror(28))  # the disk took a part of it: it is full
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)


def search(
    record: Record,
    part: Part,
    run: Run,
    proposals: Proposals,
    defaults: Settings,
    *,
    most: int | None,
    left: Callable[[], float | None],
) -> tuple[Tried | None, Interval | None]:
    """Run trials until `most` are done, nothing is left to try, or time is up; the first is that of the `defaults`.

    Returns the best trial and its paired gain over the defaults, each None where there is none. An interruption passes through; what was
    finished is in the record.
    """
    best: Tried | None = None
    for trial in record.trials:
        _again(proposals, trial)
        best = trial if part.better(trial, best) else best
    while (most is None or len(record.trials) < most) and left() != 0.0:
        number = len(record.trials)
        settings.progress("tune", number, most or 0)
        proposed = (defaults, None) if number == 0 else proposals.next()
        if proposed is None:
            break
        tried, asked = proposed
        trial, logits_VC = _try(number, tried, asked, run, part)
        proposals.tell(tried, trial.goal, asked)
        best = trial if part.better(trial, best) else best
        record.add(trial, logits_VC, best)
    settings.progress("tune", len(record.trials), len(record.trials))
    return best, _gain(record, part, best)


def _again(proposals: Proposals, trial: Tried) -> None:
    tried = trial.told.settings
    if isinstance(proposals, Bayes):
        proposals.replay(tried, trial.goal, trial.asked)
    else:
        proposals.tell(tried, trial.goal, trial.asked)


def _try(number: int, tried: Settings, asked: Settings | None, run: Run, part: Part) -> tuple[Tried, Logits | None]:
    """One trial; settings that diverge or cannot work are a result, too. A full disk or a missing package ends the search."""
    started = time.perf_counter()
    told = TuneTrial(number, dict(tried))
    try:
        logits_VC = run(tried if number else {})
        if not np.isfinite(logits_VC).all():
            raise ModelError("its answers are no finite numbers")
        found, goal = part.score(logits_VC)
    except (StorageError, MissingError):
        raise
    except (GraftError, MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
        reason = error.message if isinstance(error, GraftError) else f"{type(error).__name__}: {error}"
        failed = replace(told, status="failed", reason=reason, seconds=time.perf_counter() - started)
        return Tried(failed, None, asked), None
    told = replace(told, score=found.value, low=found.low, high=found.high, seconds=time.perf_counter() - started)
    return Tried(told, goal, asked), logits_VC


def _gain(record: Record, part: Part, best: Tried | None) -> Interval | None:
    if best is None or best.told.number == 0:
        return None
    mine, theirs = record.logits(best), record.logits(record.trials[0])
    if mine is None or theirs is None or record.trials[0].goal is None:
        return None
    return part.gain(mine, theirs)


def search_key(arrays: Sequence[NDArray[Any]], *facts: object) -> str:
    """What trials may be compared under: a digest of arrays and facts."""
    whole = hashlib.blake2b(repr(facts).encode(), digest_size=16)
    for array in arrays:
        whole.update(f"{array.dtype} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()
