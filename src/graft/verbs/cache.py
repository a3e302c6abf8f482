"""`graft cache`: what is kept between runs, and a way to be rid of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from graft import settings
from graft.errors import UsageError, unknown

if TYPE_CHECKING:
    from graft.store.cache import CacheStats

MEMOS = ("digests.json", "fidelity.json", "layers.json")
UNFINISHED = re.compile(r"[0-9a-f]{32}")  # a training's key, or that of a comparison of recommenders
CONVERTED = re.compile(r"[0-9a-f]{64}|converting-.+")  # a fingerprint, or what a stopped conversion left


@dataclass(frozen=True)
class CacheUse:
    """The cache's folder: vectors by encoder, and bytes of everything else by what it is.

    `removed` counts the vectors taken out, `freed` the bytes of other files.
    """

    folder: str
    vectors: CacheStats
    other: dict[str, int]
    removed: int = 0
    freed: int = 0


def cache(
    *,
    clear: Annotated[bool, "Remove what is kept: everything, or one encoder's vectors."] = False,
    encoder: Annotated[
        str | None, "With --clear: only the vectors of this encoder (its reference or fingerprint)."
    ] = None,
) -> CacheUse:
    """Show or clear what is kept between runs: vectors, converted encoders, fetched data.

    Clearing is safe: what is missing is made or fetched again. Raises UsageError when `encoder` is given without `clear`, or names an
    encoder of which nothing is kept.
    """
    from graft.store.cache import VectorCache

    if encoder is not None and not clear:
        raise UsageError("--encoder goes with --clear: it names whose vectors are removed.")
    folder = settings.cache_dir()
    removed = freed = 0
    with VectorCache.open() as vectors:
        if clear:
            kept = vectors.stats().spaces
            known = {name for space in kept for name in (space.reference, space.fingerprint)}
            if encoder is not None and encoder not in known:
                references = {space.reference or space.fingerprint for space in kept}
                raise UsageError(
                    unknown("encoder", encoder, references) if references else "Nothing is kept of any encoder."
                )
            removed = vectors.clear(encoder)
            freed = 0 if encoder is not None else _remove(_others(vectors.path))
        return CacheUse(str(folder), vectors.stats(), _sizes(_others(vectors.path)), removed, freed)


def _others(vectors: Path) -> dict[str, list[Path]]:
    """What lies beside the file of `vectors`, by what it is.

    Only what Graft itself writes there, by its exact name: `GRAFT_CACHE` may name a folder with a `data` of somebody's own in it.
    """
    folder = vectors.parent
    graphs = [path for path in _entries(folder / "openvino") if CONVERTED.fullmatch(path.name)]
    locks = [folder / f"{name}.lock" for name in (vectors.name, *MEMOS)]
    parts = {
        "converted encoders": graphs,
        "fetched data": list(_fetched(folder / "data")),
        "work to go on with": [path for path in _entries(folder / "training") if UNFINISHED.fullmatch(path.name)],
        "measurements": [folder / name for name in MEMOS],
        "damaged vectors, set aside": [vectors.with_name(f"{vectors.name}.damaged")],
        "locks": locks,
    }
    return {part: [path for path in paths if path.exists()] for part, paths in parts.items()}


def _fetched(folder: Path) -> Iterator[Path]:
    """Files of named sets that Graft made or fetched, which it can do again; a set that was put there by hand is left alone."""
    from graft.data.named import SETS

    ours = {name: known.files for name, known in SETS.items() if known.make or known.published}
    for path in _entries(folder):
        if path.name in ours:
            yield from (path / file for file in ours[path.name])
        elif any(path.name.startswith(f".{name}.") for name in ours):  # left by a process that was killed
            yield path


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _sizes(parts: Mapping[str, Sequence[Path]]) -> dict[str, int]:
    """Bytes of each part of which there are any."""
    sizes = {part: sum(map(_size, paths)) for part, paths in parts.items()}
    return {part: size for part, size in sizes.items() if size}


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def _remove(parts: Mapping[str, Sequence[Path]]) -> int:
    """Remove every part, and the folders that are empty then; returns the bytes freed."""
    import shutil

    before = sum(_sizes(parts).values())
    for path in (path for paths in parts.values() for path in paths):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    for path in (*parts["fetched data"], *parts["converted encoders"], *parts["work to go on with"]):
        for above in (path.parent, path.parent.parent):
            if above != settings.cache_dir():
                with contextlib.suppress(OSError):  # something else is in it
                    above.rmdir()
    return before - sum(_sizes(parts).values())
