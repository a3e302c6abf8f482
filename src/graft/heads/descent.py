"""Smooth convex losses brought to their least: one call for the heads without a closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graft.heads.base import Float64Array

MOST_STEPS = 1000
TIGHT = (
    1e-11  # relative decrease of the loss in a step below which it stops; coefficients then agree to about five digits
)

Loss = Callable[[Float64Array], tuple[float, Float64Array]]


def minimise(loss: Loss, start: Float64Array) -> Float64Array:
    """Where `loss`, which gives a value and its gradient, is least (L-BFGS, Liu & Nocedal 1989), from `start`."""
    from scipy.optimize import minimize

    options = {"maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "maxcor": 20, "ftol": TIGHT, "gtol": 1e-7}
    found: Float64Array = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    return np.asarray(found, np.float64)
