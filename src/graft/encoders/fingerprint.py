"""Fingerprints of encoders: a hash over weights, configuration, tokenizer and preprocessing.

Hashing ninety megabytes takes a tenth of a second and a large model many seconds, so digests of large files are remembered in
`digests.json` in the cache folder by path, size and time of change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from graft import settings

# Raised whenever preparation, pooling or the wrapped graph changes what comes out for the same files: old vectors and graphs then count as another
# encoder's.
PIPELINE = 1
SMALL = 1 << 20  # files up to this many bytes are hashed every time, which costs less than remembering them

_lock = threading.Lock()


def digest(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits; for a large file remembered from the last time unless its size or time of change differ.

    Raises OSError when the file cannot be read.
    """
    path = path.resolve()
    stat = path.stat()
    if stat.st_size <= SMALL:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    memo, key, state = settings.cache_dir() / "digests.json", str(path), [stat.st_size, stat.st_mtime_ns]
    with _lock:
        known = remembered(memo).get(key)
        if isinstance(known, list) and known[:2] == state:
            return str(known[2])
        with path.open("rb") as stream:
            value = hashlib.file_digest(stream, "sha256").hexdigest()
        remember(memo, key, [*state, value])
    return value


def fingerprint(parts: Iterable[str], files: Iterable[tuple[str, Path]] = ()) -> str:
    """One hash (64 hex digits) over constants and over files named by their place in the model's folder."""
    whole = hashlib.sha256(f"graft encoder, pipeline {PIPELINE}".encode())
    for part in parts:
        whole.update(b"\0" + part.encode())
    for name, path in sorted(files):
        whole.update(b"\0" + name.encode() + b"\0" + digest(path).encode())
    return whole.hexdigest()


def remembered(memo: Path) -> dict[str, object]:
    """What a memo file holds; empty when it is absent or damaged, since everything in it can be found again."""
    try:
        tree = json.loads(memo.read_bytes())
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def remember(memo: Path, key: str, value: object) -> None:
    """Add one entry to a memo file, whole or not at all; a cache folder that cannot be written is no error here, the value is found again."""
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        tree = {**remembered(memo), key: value}
        handle, temporary = tempfile.mkstemp(prefix=memo.name, dir=memo.parent)
        try:
            with os.fdopen(handle, "w") as stream:
                json.dump(tree, stream)
            Path(temporary).replace(memo)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
