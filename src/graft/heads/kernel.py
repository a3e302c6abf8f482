"""Skeleton."""
class KernelHead:
    """RBF kernel probe."""
    def __init__(self, *, gamma: float = 1.0, ridge: float = 1.0, balanced: bool = False) -> None: ...
    # fit, logits, state, from_state

def fit_path(x_ND, y_N, n_classes, *, settings: tuple[tuple[float, float], ...], balanced: bool = False) -> list[KernelHead]: ...  # (gamma, ridge) pairs, one head each, in order; eigendecompositions shared by equal gammas
