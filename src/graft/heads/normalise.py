"""Putting vectors on one footing before a head sees them.

Legend: N items, D dims.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from graft.errors import UsageError, unknown
from graft.heads.base import Arrays, Float32Array, FloatArray, unit_rows

NORMALISATIONS = ("UN", "L2N", "CL2N", "LCL2N", "HCL2N", "CSN")


class Normaliser:
    """Vectors (N, D) as a head wants them, learned from the training items alone.

    UN: as they are. L2N: length 1. CL2N: less the training mean, then length 1 (all three Wang et al. 2019, SimpleShot). LCL2N: length
    1 before the centring too, so that no long vector rules the mean. HCL2N: LCL2N of the square roots where no feature of the training
    items is negative, as after a ReLU and pooling (the Hellinger map, Arandjelovic & Zisserman 2012: a few large features no longer drown
    the many small ones), and plain LCL2N otherwise. CSN: less the training mean, over the training items' root mean square distance from it, so
    that what only lengths tell is kept. Raises UsageError for another `kind`.
    """

    def __init__(self, kind: str = "HCL2N") -> None:
        if kind not in NORMALISATIONS:
            raise UsageError(unknown("Normalisation", kind, NORMALISATIONS))
        self.kind = kind
        self.root = False
        self.centre_D: Float32Array | None = None
        self.scale = 1.0

    def fit(self, x_ND: FloatArray) -> Self:
        """Learn the mean, and whether roots can be taken, from training vectors."""
        self.root = self.kind == "HCL2N" and bool(x_ND.min() >= 0)
        self.centre_D = None
        if self.kind in ("UN", "L2N"):
            return self
        x_ND = self._before_centring(x_ND)
        self.centre_D = x_ND.mean(axis=0, dtype=np.float64).astype(np.float32)
        if self.kind == "CSN":
            square = np.square(x_ND - self.centre_D, dtype=np.float64).sum(axis=1).mean()
            self.scale = float(np.sqrt(square)) or 1.0
        return self

    def __call__(self, x_ND: FloatArray) -> Float32Array:
        """The vectors (N, D), float32; a new item's negative feature counts as zero where roots are taken."""
        x_ND = self._before_centring(x_ND)
        if self.centre_D is None:
            return x_ND
        x_ND = x_ND - self.centre_D
        return x_ND / np.float32(self.scale) if self.kind == "CSN" else unit_rows(x_ND)

    def _before_centring(self, x_ND: FloatArray) -> Float32Array:
        x_ND = np.asarray(x_ND, np.float32)
        if self.root:
            x_ND = np.sqrt(np.maximum(x_ND, 0))
        return x_ND if self.kind in ("UN", "CL2N", "CSN") else unit_rows(x_ND)

    def arrays(self, prefix: str) -> dict[str, Float32Array]:
        """What was learned, for a head's state; `root` goes into its configuration."""
        scale = {f"{prefix}_scale": np.array([self.scale], np.float32)} if self.kind == "CSN" else {}
        return {} if self.centre_D is None else {prefix: self.centre_D, **scale}

    @classmethod
    def from_arrays(cls, kind: str, root: bool, arrays: Arrays, prefix: str) -> Self:
        """The normaliser that `arrays` described."""
        normaliser = cls(kind)
        normaliser.root = root
        normaliser.centre_D = arrays.get(prefix)
        if kind == "CSN":
            normaliser.scale = float(arrays[f"{prefix}_scale"][0])
        return normaliser
