"""The way to search that an index has adopted because it helped: kept beside the versions, read when the index is opened.

INDEX/search.json          the way and its settings
INDEX/search.safetensors   learned queries, where the way has such
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import ModelError
from graft.store.files import write_bytes, write_json

Floats = NDArray[np.float32]
WAYS = ("plain", "prompts", "feedback", "map", "examples", "fusion")


@dataclass(frozen=True, eq=False)
class Adopted:
    """A way and its settings as `graft search --evaluate` measured them, and where it is joined with words, their weight (`hybrid`).

    `learned` maps texts to the queries (D,) learned for them, by view; `maps` views to the matrix (D, D) that queries go through.
    """

    way: str = "plain"
    settings: Mapping[str, Any] = field(default_factory=dict)
    hybrid: float | None = None
    learned: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)
    maps: Mapping[str, Floats] = field(default_factory=dict)


def adopt(path: Path, adopted: Adopted) -> None:
    """Keep a way in the index at `path`; the manifest is written last. Raises StorageError."""
    from safetensors.numpy import save

    tensors = {f"map/{view}": np.ascontiguousarray(map_DD, np.float32) for view, map_DD in adopted.maps.items()}
    for number, vectors in enumerate(adopted.learned.values()):
        tensors |= {f"{number}/{view}": np.ascontiguousarray(q_D, np.float32) for view, q_D in vectors.items()}
    blob = save(tensors)
    digest = hashlib.sha256(blob).hexdigest() if tensors else None
    if tensors:
        write_bytes(path / "search.safetensors", blob)
    tree = {"schema": 1, "way": adopted.way, "settings": dict(adopted.settings), "hybrid": adopted.hybrid}
    write_json(path / "search.json", tree | {"texts": list(adopted.learned), "sha256": digest})


def adopted_at(path: Path) -> int:
    """When the way of the index at `path` was written (nanoseconds), 0 where none is: changes with every `adopt`, and when it is removed."""
    try:
        return (path / "search.json").stat().st_mtime_ns
    except OSError:
        return 0


def read_adopted(path: Path) -> Adopted:
    """What the index at `path` has adopted; the plain way where nothing is. Raises ModelError when it is damaged."""
    if not (path / "search.json").exists():
        return Adopted()
    try:
        return _read(path)
    except Exception as problem:  # whatever a damaged file makes of itself
        raise ModelError(
            f"{path / 'search.json'} cannot be read ({problem}). Remove it to search plainly, or adopt a way again with --evaluate --adopt."
        ) from problem


def _read(path: Path) -> Adopted:
    from safetensors.numpy import load

    tree = json.loads((path / "search.json").read_bytes())
    if tree["way"] not in WAYS:
        raise ValueError(f"a way called {tree['way']!r}")
    texts, maps = tree["texts"], {}
    learned: dict[str, dict[str, Floats]] = {text: {} for text in texts}
    if tree["sha256"] is not None:
        blob = (path / "search.safetensors").read_bytes()
        if hashlib.sha256(blob).hexdigest() != tree["sha256"]:
            raise ValueError("search.safetensors has changed")
        for name, array in load(blob).items():
            kind, _, view = name.partition("/")
            if kind == "map":
                maps[view] = array
            else:
                learned[texts[int(kind)]][view] = array
    return Adopted(tree["way"], tree["settings"], tree["hybrid"], learned, maps)
