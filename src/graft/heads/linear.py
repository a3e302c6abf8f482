"""Skeleton."""
from __future__ import annotations
from graft.heads.base import FloatArray

class LinearHead:
    """Multinomial logistic regression, L2; c as scikit-learn's C (larger: weaker penalty). names_CD: named linear probe."""
    def __init__(self, *, c: float = 1.0, names_CD: FloatArray | None = None, name_weight: float = 8.0, balanced: bool = False) -> None: ...
    # fit, logits, state, from_state

def fit_path(x_ND, y_N, n_classes, *, cs: tuple[float, ...], names_CD=None, name_weight: float = 8.0, balanced: bool = False) -> list[LinearHead]: ...  # warm started, one head a c, in the order given
