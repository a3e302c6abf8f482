"""`graft cache`: what is kept between runs, and a way to be rid of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from graft import settings
from graft.errors import UsageError, unknown

if TYPE_CHECKING:
    from graft.store.cache import CacheStats


# What lies in the cache beside the vectors; whatever else is there is not ours.
PARTS = {
    "converted encoders": ("openvino",),
    "fetched data": ("data",),
    "measurements": ("digests.json", "fidelity.json", "layers.json"),
}


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
            freed = 0 if encoder is not None else _remove_others()
        return CacheUse(str(folder), vectors.stats(), _others(), removed, freed)


def _others() -> dict[str, int]:
    """Bytes of each part that is there."""
    sizes = {part: sum(map(_size, names)) for part, names in PARTS.items()}
    return {part: size for part, size in sizes.items() if size}


def _size(name: str) -> int:
    path = settings.cache_dir() / name
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def _remove_others() -> int:
    """Remove every part; returns the bytes freed."""
    import shutil

    before = sum(_others().values())
    for path in (settings.cache_dir() / name for names in PARTS.values() for name in names):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return before - sum(_others().values())
