"""What the names of the classes tell before, or beside, any labelled example.

Legend: N items, D dims of the items' space, C the user's classes, K classes of a picture encoder's own classifier, T dims of a text space.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from graft.heads.base import (
    Arrays,
    Config,
    Float32Array,
    Float64Array,
    FloatArray,
    IntArray,
    State,
    log_softmax,
    softmax,
    unit_rows,
)
from graft.heads.normalise import Normaliser

SHARP, BLURRED = 20.0, 10.0
EXPECTED_SCALE = 10.0
MOST_SCALE = 200.0
ENOUGH_ITEMS = 2000


class ZeroShotHead:
    """The nearest class name: logits = scale * cos(item, name), for names (C, D) in the items' own space.

    Nothing is learned. `scale` 20 is about the maximum-likelihood value for sentence encoders (16 to 26 on three sets); temperature
    scaling puts it right.
    """

    def __init__(self, names_CD: FloatArray, *, scale: float = 20.0) -> None:
        self.names_CD = unit_rows(names_CD)
        self.scale = scale

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:  # noqa: ARG002 - as every head
        """Nothing to learn; raises ValueError when there is not a name for each class."""
        if len(self.names_CD) != n_classes:
            raise ValueError(f"{len(self.names_CD)} names for {n_classes} classes")
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        """Finite float64 (N, C)."""
        return self.scale * (unit_rows(x_ND) @ self.names_CD.T).astype(np.float64)

    def state(self) -> State:
        """The names and the scale."""
        return {"names": self.names_CD}, {"scale": self.scale}

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(arrays["names"], scale=config["scale"])
        head.names_CD = arrays["names"]  # of length 1 already: scaled once more, last bits would change
        return head


class BridgeHead:
    """Zero-shot for pictures without a text tower: the log of `class_scores`, made from a classifier's `weight_KD` and `bias_K`.

    `cosines_CK` says how near the text of each of the user's classes is to the text of each of the classifier's classes.
    """

    def __init__(
        self, weight_KD: FloatArray, bias_K: FloatArray, cosines_CK: FloatArray, *, beta: float = SHARP
    ) -> None:
        self.weight_KD, self.bias_K, self.cosines_CK = weight_KD, bias_K, cosines_CK
        self.beta = beta

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:  # noqa: ARG002 - as every head
        """Nothing to learn; raises ValueError when there is not a row of cosines for each class."""
        if len(self.cosines_CK) != n_classes:
            raise ValueError(f"{len(self.cosines_CK)} rows of cosines for {n_classes} classes")
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        """Finite float64 (N, C)."""
        p_NK = class_probabilities(x_ND, self.weight_KD, self.bias_K)
        return np.log(class_scores(p_NK, self.cosines_CK, self.beta) + 1e-12)

    def state(self) -> State:
        """The classifier's layer, the cosines, and beta."""
        return {"weight": self.weight_KD, "bias": self.bias_K, "cosines": self.cosines_CK}, {"beta": self.beta}

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        return cls(arrays["weight"], arrays["bias"], arrays["cosines"], beta=config["beta"])


def class_probabilities(x_ND: FloatArray, weight_KD: FloatArray, bias_K: FloatArray) -> Float64Array:
    """A classifier's probabilities (N, K) of items with features `x_ND`: softmax(x W' + b)."""
    return softmax(x_ND @ weight_KD.T + bias_K)


def class_scores(p_NK: FloatArray, cosines_CK: FloatArray, beta: float = SHARP) -> Float64Array:
    """How much of each item's probability falls on classifier classes that are named like each query: p @ softmax(beta * cosines)'.

    `cosines_CK` are between texts of queries and of the classifier's classes. `beta` 20 to 40 are best for queries that are among the
    classifier's classes (Tiny-ImageNet), 10 to 20 for others (CIFAR-10: .62 to .66 right).
    """
    scores_NC: Float64Array = p_NK @ softmax(beta * cosines_CK).T
    return scores_NC


def conse(p_NK: FloatArray, names_KT: FloatArray, *, top: int = 10) -> Float32Array:
    """Items in the text space (N, T), unit rows: the mean of the `top` likeliest classes' name vectors, weighted by their probabilities.

    Convex combination of semantic embeddings (Norouzi et al. 2014).
    """
    top = min(top, p_NK.shape[1])
    kth_N1 = np.partition(p_NK, -top, axis=1)[:, -top, None]
    return unit_rows(np.where(p_NK >= kth_N1, p_NK, 0) @ unit_rows(names_KT))


def synthesised_names(weight_KD: FloatArray, cosines_CK: FloatArray, *, beta: float = BLURRED) -> Float32Array:
    """Vectors (C, D) for the user's class names in a picture encoder's own space: blends of its classifier's class weights.

    softmax(beta * cosines) @ (weights less their mean), unit rows. With `beta` 10 the blend is broader than in `class_scores`: on CIFAR-10
    the nearest such vector is right for .68 of the pictures (beta 5: .69, 20: .63; without the centring .63 at 10).
    """
    centred_KD = weight_KD - weight_KD.mean(axis=0)
    return unit_rows(softmax(beta * cosines_CK) @ centred_KD)


class NamePrior:
    """Class names as a prior for learned heads: cosines to them once items and names are each centred, and how far to trust them.

    Centring takes away what all items, or all names, have in common (a topic, the gap between the towers of a joint encoder). `scale` is
    the factor s that makes softmax(s * cosine) likeliest on the labelled items (`fit_scale`): about 6 to 26 where names and items
    agree, near 0 where the names say nothing about these items.
    """

    def __init__(self, names_CD: FloatArray) -> None:
        self.names_CD = unit_rows(names_CD - names_CD.mean(axis=0))
        self.normaliser = Normaliser("LCL2N")
        self.scale = EXPECTED_SCALE

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        """Learn the items' mean and the scale from labelled items; raises ValueError when there is not a name for each class."""
        if len(self.names_CD) != n_classes:
            raise ValueError(f"{len(self.names_CD)} names for {n_classes} classes")
        self.normaliser.fit(x_ND)
        some = np.linspace(0, len(x_ND) - 1, min(len(x_ND), ENOUGH_ITEMS)).astype(np.int64)
        self.scale = fit_scale(self.cosines(x_ND[some]), y_N[some])
        return self

    def cosines(self, x_ND: FloatArray) -> Float32Array:
        """(N, C) between centred items and centred names."""
        return self.normaliser(x_ND) @ self.names_CD.T

    def arrays(self) -> dict[str, Float32Array]:
        """What `cosines` needs, for a head's state."""
        return {"names": self.names_CD, **self.normaliser.arrays("name_centre")}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The prior that `arrays` described."""
        prior = cls.__new__(cls)
        prior.names_CD = arrays["names"]
        prior.normaliser = Normaliser.from_arrays("LCL2N", False, arrays, "name_centre")
        return prior


def fit_scale(cosines_NC: FloatArray, y_N: IntArray) -> float:
    """The s in 0..200 that maximises the posterior of softmax(s * cosines) given labels, under a normal prior of mean and deviation 10.

    The prior counts as much as a few items: it steadies the scale at one or two examples a class.
    """
    from scipy.optimize import minimize_scalar

    rows_N = np.arange(len(y_N))

    def loss(scale: float) -> float:
        fit = -log_softmax(scale * cosines_NC)[rows_N, y_N].sum()
        return float(fit + 0.5 * (scale / EXPECTED_SCALE - 1) ** 2)

    return float(minimize_scalar(loss, bounds=(0.0, MOST_SCALE), method="bounded").x)
