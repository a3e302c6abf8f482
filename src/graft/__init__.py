"""Graft takes a pretrained model the rest of the way.

    import graft

    result = graft.fit("photos/")            # one folder a class, a zip, a table, or data:NAME
    model = graft.load("graft-out/photos")
    model.predict(["new.jpg"])
    graft.index("photos/", out="found")      # labels or not
    graft.open_index("found").search("a red boat").hits

Names are imported when they are first used, so that `import graft` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graft.annotation.label import label
    from graft.estimator import TransferClassifier, TransferRegressor
    from graft.loading import load
    from graft.opened import open_encoder
    from graft.results import FitResult
    from graft.retrieval.opened import open_index
    from graft.targets.result import TargetResult
    from graft.verbs.diagnose import model as diagnose_model
    from graft.verbs.diagnose import shift as diagnose_shift
    from graft.verbs.encode import encode
    from graft.verbs.fit import fit
    from graft.verbs.index import index
    from graft.verbs.plan import plan
    from graft.verbs.predict import predict
    from graft.verbs.pretrain import pretrain
    from graft.verbs.recommend import fit as fit_recommender
    from graft.verbs.reproduce import reproduce
    from graft.verbs.search import search
    from graft.verbs.tune import tune

    __version__: str

__all__ = [
    "FitResult",
    "TargetResult",
    "TransferClassifier",
    "TransferRegressor",
    "__version__",
    "diagnose_model",
    "diagnose_shift",
    "encode",
    "fit",
    "fit_recommender",
    "index",
    "label",
    "load",
    "open_encoder",
    "open_index",
    "plan",
    "predict",
    "pretrain",
    "reproduce",
    "search",
    "tune",
]

_HOMES = {
    "FitResult": "graft.results",
    "TargetResult": "graft.targets.result",
    "TransferClassifier": "graft.estimator",
    "TransferRegressor": "graft.estimator",
    "diagnose_model": "graft.verbs.diagnose",
    "diagnose_shift": "graft.verbs.diagnose",
    "encode": "graft.verbs.encode",
    "fit": "graft.verbs.fit",
    "fit_recommender": "graft.verbs.recommend",
    "index": "graft.verbs.index",
    "label": "graft.annotation.label",
    "load": "graft.loading",
    "open_encoder": "graft.opened",
    "open_index": "graft.retrieval.opened",
    "plan": "graft.verbs.plan",
    "predict": "graft.verbs.predict",
    "pretrain": "graft.verbs.pretrain",
    "reproduce": "graft.verbs.reproduce",
    "search": "graft.verbs.search",
    "tune": "graft.verbs.tune",
}


_NAMES = {
    "fit_recommender": "fit",
    "diagnose_model": "model",
    "diagnose_shift": "shift",
}  # where the name in its home is another


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("graft")
    if name not in _HOMES:
        raise AttributeError(f"module 'graft' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), _NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
