"""`graft demo`: the main job, offline, on data that comes with the dependencies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    from graft.results import FitResult

# Pictures and texts, few labels and many: twenty digits of each kind, then a catalogue of programme descriptions.
PARTS = (("data:digits", 20), ("data:streamcatalogue", None))


def demo(
    *,
    seed: Annotated[int, "Seed of every random draw."] = 0,
    out: Annotated[Path | str | None, "Folder to write, which must not exist. Default: graft-out/demo."] = None,
) -> tuple[FitResult, ...]:
    """Fit handwritten digits (pictures) and a generated streaming catalogue (texts), and write a report of each.

    Needs no network: the encoders and the data come with the installed packages. Raises StorageError when `out` exists.
    """
    from graft.fitting.session import free_folder
    from graft.verbs.fit import fit

    folder = free_folder(None if out is None else Path(out), "demo")
    return tuple(fit(data, shots=shots, seed=seed, out=folder / data.removeprefix("data:")) for data, shots in PARTS)
