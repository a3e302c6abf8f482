"""Two circles of taste: people 0-19 like films of the sea, 20-39 films of space; everybody's last like is one of their circle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graft.interactions.likes import Catalogue, Interactions
from graft.recommenders.als import ALS
from graft.recommending import artefact

SEA = (
    "Deep Water (1999)",
    "The Old Lighthouse (2001)",
    "Salt (2004)",
    "Harbour Lights (1988)",
    "Tide (2010)",
    "Gulls (2012)",
)
SPACE = (
    "Apollo 13 (1995)",
    "Red Planet (2000)",
    "Orbit (2005)",
    "The Last Star (2011)",
    "Moonrise (1997)",
    "Comet (2013)",
)
TITLES = (*SEA, *SPACE)


def likes(seed: int = 0) -> Interactions:
    """Four of six films of one's own circle, one after the other, a day apart."""
    rng = np.random.default_rng(seed)
    user, item, time = [], [], []
    for person in range(40):
        own = rng.permutation(6)[:4] + (0 if person < 20 else 6)
        user += [person] * 4
        item += own.tolist()
        time += [86_400.0 * day + person for day in range(4)]
    order = np.lexsort([item, time, user])
    return Interactions(
        tuple(f"p{i:02d}" for i in range(40)),
        tuple(f"{i:03d}" for i in range(12)),
        np.array(user, np.int32)[order],
        np.array(item, np.int32)[order],
        np.ones(len(user), np.float32),
        np.array(time)[order],
    )


def catalogue() -> Catalogue:
    """Titles and one category each."""
    return Catalogue(TITLES, tuple(("Sea",) if title in SEA else ("Space",) for title in TITLES))


def saved() -> artefact.Saved:
    """An ALS model of the likes."""
    rows = likes()
    model = ALS.fit(rows, dims=4, seed=0)
    return artefact.Saved("als", model.settings, model.state(), rows, catalogue(), {"name": "films"})


def folder(path: Path) -> Path:
    """The model written to an empty folder."""
    path.mkdir()
    artefact.write(path, saved(), "# films")
    return path
