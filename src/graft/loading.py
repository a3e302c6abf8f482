"""`graft.load`: whatever was fitted, opened: a classifier, a model of another target, or a recommender."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(path: str | Path) -> Any:
    """Open what `fit` or `recommend fit` wrote at `path`: the folder itself, or model/ in it.

    Gives a `graft.opened.Classifier`, a `graft.targets.opened.Estimator` (numbers, counts, levels, label sets) or a
    `graft.recommending.opened.OpenedRecommender`, by what is there.

    Raises MissingError when it or a part of it is not here, ModelError when a file was changed or was written by a newer Graft.
    """
    from graft.recommending.artefact import is_recommender

    if is_recommender(path):
        from graft.recommending.opened import open_recommender

        return open_recommender(path)
    from graft.targets.opened import is_target, open_target

    if is_target(path):
        return open_target(path)
    from graft import opened

    return opened.load(path)
