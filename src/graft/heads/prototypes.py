"""Skeleton."""
from __future__ import annotations
from graft.heads.base import FloatArray

NORMALISATIONS = ("UN", "L2N", "CL2N")

class PrototypeHead:
    """Nearest class mean (Wang et al. 2019) ; with names: normalise(sum of examples + name_weight * name)."""
    def __init__(self, *, normalisation: str = "L2N", names_CD: FloatArray | None = None, name_weight: float = 6.0, scale: float | None = None) -> None: ...
    # fit, logits, state, from_state. scale None: set at fit.

def fit_path(x_ND, y_N, n_classes, *, normalisation="L2N", names_CD, name_weights: tuple[float, ...]) -> list[PrototypeHead]: ...  # one head a weight, class sums shared
