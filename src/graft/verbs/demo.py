"""`graft demo`: the main job, offline, on data that comes with the dependencies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    from graft.results import FitResult
    from graft.search_results import IndexResult, SearchResult

# Pictures and texts, few labels and many: twenty digits of each kind, then a catalogue of programme descriptions.
PARTS = (("data:digits", 20), ("data:streamcatalogue", None))
QUERY = "a detective in the snow"


def demo(
    *,
    seed: Annotated[int, "Seed of every random draw."] = 0,
    out: Annotated[Path | str | None, "Folder to write, which must not exist. Default: graft-out/demo."] = None,
) -> tuple[FitResult | IndexResult | SearchResult, ...]:
    """Fit handwritten digits (pictures) and a generated streaming catalogue (texts), report on each, and search the catalogue.

    Needs no network: the encoders and the data come with the installed packages. Raises StorageError when `out` exists.
    """
    from graft.fitting.session import free_folder
    from graft.verbs.fit import fit
    from graft.verbs.index import index
    from graft.verbs.search import search

    folder = free_folder(None if out is None else Path(out), "demo")
    fits = [  # rungs that train may take minutes, which a first look should not
        fit(data, shots=shots, seed=seed, strategies=["frozen"], out=folder / data.removeprefix("data:"))
        for data, shots in PARTS
    ]
    indexed = index(PARTS[1][0], out=folder / "search")
    found = search(folder / "search", QUERY, top=3)
    return (*fits, indexed, found)  # type: ignore[arg-type]  # no versions and no evaluation were asked for
