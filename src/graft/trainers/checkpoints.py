"""A training under way as one file, from which it goes on to the same bits: weights, optimiser, running mean, best weights, and where it was.

The file is safetensors; its metadata hold JSON (version, key, position, history) and a digest of everything, so that a file that was cut
short or changed is known. Imported only where training runs.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graft.errors import StorageError
from graft.store.files import write_with

VERSION = 1
NAME = "checkpoint.safetensors"
WORTH = 20  # a checkpoint is written when this many times as long has passed since the last as writing it takes
DISK = 200 * 2**20  # bytes a second that a disk takes, until it was measured


@dataclass(frozen=True, eq=False)
class State:
    """A training at one moment: tensors by name, and plain JSON."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class Checkpoints:
    """Where one training is kept, and when. With `path` None nothing is.

    `key` says what is trained on what and how; a checkpoint of another key or version is never used. Inside an epoch one is written every
    `every` seconds at most; none is written more often than is worth its time, unless `every` is 0. `notes` are sentences for the user.
    """

    def __init__(self, path: Path | None, key: str, *, every: float = 60.0, writes: bool = True) -> None:
        self.path, self.key, self.every, self.writes = path, key, every, writes
        self.notes: list[str] = []
        self._last, self._cost = time.monotonic(), 0.0

    def load(self) -> State | None:
        """What was kept of this very training, or None; a file that is of no use is noted."""
        if self.path is None or not self.path.exists():
            return None
        try:
            return self._read(self.path)
        except (_UselessError, OSError) as reason:
            self.notes.append(f"{self.path} was not used: {reason}. The training starts anew.")
            return None

    def save(self, state: Callable[[], State], *, inside: bool = False) -> bool:
        """Keep a training's state, if it is time to; `inside` an epoch that is less often. Returns whether it was time.

        A disk that fails or is full is noted, and nothing is kept from then on: the training matters more. The old file then stands.
        """
        passed = time.monotonic() - self._last
        if self.path is None or not self.writes or (inside and passed < self.every) or passed < WORTH * self._cost:
            return False
        kept = state()
        if self.every and not self._cost and passed < WORTH * kept.nbytes / DISK:
            return False
        began = time.monotonic()
        try:
            self._write(self.path, kept)
        except StorageError as error:
            self.notes.append(f"{error.message} The training goes on without checkpoints: killed, it would start anew.")
            self.writes = False
        self._last = time.monotonic()
        self._cost = self._last - began if self.every else 0.0
        return True

    def _write(self, path: Path, state: State) -> None:
        from safetensors.torch import save_file

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
        facts = json.dumps(state.facts, allow_nan=True)
        about = {"version": str(VERSION), "key": self.key, "facts": facts, "digest": _digest(self.key, facts, tensors)}
        write_with(path, lambda temporary: save_file(tensors, temporary, metadata=about))

    def _read(self, path: Path) -> State:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("version") != str(VERSION):
                    raise _UselessError("another version of Graft wrote it")
                if about.get("key") != self.key:
                    raise _UselessError("it is of another training: other data, settings, weights or versions")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except SafetensorError:
            raise _UselessError("it is damaged or was cut short") from None
        facts = about.get("facts", "")
        if about.get("digest") != _digest(self.key, facts, tensors):
            raise _UselessError("it is damaged or was changed")
        return State(tensors, json.loads(facts))


class _UselessError(Exception):
    """Why a checkpoint cannot be used."""


def _digest(key: str, facts: str, tensors: Mapping[str, Tensor]) -> str:
    """Of everything in a checkpoint, 32 hex digits."""
    digest = hashlib.blake2b(f"{key}\n{facts}\n".encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        digest.update(raw(tensors[name]))
    return digest.hexdigest()


def raw(tensor: Tensor) -> bytes | memoryview:
    """A tensor's bytes, as they lie in memory."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def training_key(key: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A key of the caller's `key`, plain facts, the tensors a training starts from, and the versions of Graft and torch."""
    text = json.dumps([metadata.version("graft"), torch.__version__, key, facts], sort_keys=True, default=str)
    return _digest(key, text, tensors)
