"""What a comparison has measured, kept in the cache until its folder is written: after an interruption the same command goes on from there.

One file for each model and setting, whole or not there, in a folder of this very comparison. With the values the file holds the seconds they took, so that a
budget ends the trying of settings where it would have ended without the interruption. Beside them lie the trainings of two towers, so that one goes on from its
middle; of that one only what was left to do counts as its seconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from graft import settings
from graft.errors import GraftError, StorageError
from graft.interactions.partition import Cut
from graft.metrics.recommend import Ranked
from graft.recommenders.base import Settings
from graft.store.files import write_with
from graft.towers.known import Known

_SHAPERS = ("graft", "numpy", "scipy", "torch")  # packages whose versions shape a measurement
_EACH = "each."  # before the names of the measures' arrays
_log = logging.getLogger("graft")


@dataclass(frozen=True, eq=False)
class Measured:
    """What came of fitting and asking a model: its answers, or None and the reason; and the seconds that took."""

    ranked: Ranked | None
    seconds: float
    reason: str = ""


class Kept:
    """The measurements of one comparison; with `folder` None nothing is kept.

    Keeping is an aid, never a condition: where the disk fails that is said once, and the work goes on.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    @classmethod
    def of(cls, cut: Cut, seed: int, known: Known) -> Kept:
        """Those of the comparison of models on this cut, with what is known of items and people, by these versions of Graft and what it computes with."""
        about = [cut.how, cut.share, cut.seed, cut.now, seed, *map(metadata.version, _SHAPERS)]
        whole = hashlib.blake2b(json.dumps(about).encode(), digest_size=16)
        for value in (*vars(cut.train).values(), cut.targets_user_M, cut.targets_item_M, cut.targets_time_M):
            _add(whole, value)
        for value in vars(known).values():
            _add(whole, value)
        folder = settings.cache_dir() / "training" / whole.hexdigest()
        if before := len(list(folder.glob("*.npz"))):
            _log.warning("A comparison that was stopped goes on: %d measurements are kept of it.", before)
        return cls(folder)

    def once(self, part: str, name: str, tried: Settings, take: Callable[[], Ranked]) -> Measured:
        """What `take` gives for the model `name` with the settings `tried` on a part of the data; it is called if that was not kept.

        A GraftError is a result, too: its message is the reason why there are no answers. It is not kept, since it may be of the moment.
        """
        about = json.dumps([part, name, tried], sort_keys=True, default=repr)
        path = None if self.folder is None else self.folder / f"{hashlib.blake2b(about.encode()).hexdigest()[:24]}.npz"
        if path is not None and (known := _read(path)) is not None:
            return known
        began = time.perf_counter()
        try:
            ranked = take()
        except StorageError:
            raise
        except GraftError as problem:
            return Measured(None, time.perf_counter() - began, problem.message)
        found = Measured(ranked, time.perf_counter() - began)
        if path is not None:
            self._write(path, ranked, found.seconds)
        return found

    def clear(self) -> None:
        """Forget everything: the folder that was worked for is written."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, path: Path, ranked: Ranked, seconds: float) -> None:
        arrays: dict[str, Any] = {f.name: getattr(ranked, f.name) for f in fields(Ranked) if f.name != "each"}
        arrays |= {"seconds": seconds} | {_EACH + name: values for name, values in ranked.each.items()}
        try:
            write_with(path, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **arrays))
        except (StorageError, OSError) as problem:
            _log.warning("%s What is measured is not kept: stopped, the comparison would start anew.", problem)
            self.folder = None


def _read(path: Path) -> Measured | None:
    """What was kept, or None where nothing was, or it is damaged: then it is measured again."""
    if not path.exists():
        return None
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        each = {name.removeprefix(_EACH): arrays.pop(name) for name in list(arrays) if name.startswith(_EACH)}
        numbers = {name: arrays[name].item() for name in ("k", "coverage", "gini", "tail")}
        return Measured(Ranked(each=each, exposure_I=arrays["exposure_I"], **numbers), float(arrays["seconds"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _add(digest: Any, value: Any) -> None:
    """Take an array, a mapping, a value of plain fields or anything with one spelling into a digest."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape}\n".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for name, one in value.items():
            digest.update(f"{name}\n".encode())
            _add(digest, one)
    elif hasattr(value, "__dataclass_fields__"):
        _add(digest, asdict(value))
    else:
        digest.update(f"{value!r}\n".encode("utf-8", "surrogatepass"))
