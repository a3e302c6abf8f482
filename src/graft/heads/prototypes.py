"""Nearest class mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import Float64Array, FloatArray, IntArray, State, unit_rows

NORMALISATIONS = ("UN", "L2N", "CL2N")


class PrototypeHead:
    """Nearest class mean (Wang et al. 2019); with names: normalise(sum of examples + name_weight * name)."""

    def __init__(
        self, *, normalisation: str = "L2N", names_CD: FloatArray | None = None, name_weight: float = 6.0, scale: float | None = None
    ) -> None:
        self.normalisation, self.names_CD, self.name_weight, self.scale = normalisation, names_CD, name_weight, scale

    def _features(self, x_ND: FloatArray) -> FloatArray:
        if self.normalisation == "UN":
            return np.asarray(x_ND, np.float32)
        return unit_rows(x_ND - self.centre_D if self.normalisation == "CL2N" else x_ND)

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        self.centre_D = np.asarray(x_ND, np.float32).mean(0)
        f_ND = self._features(x_ND)
        one_NC = np.eye(n_classes, dtype=np.float32)[y_N]
        sum_CD = one_NC.T @ f_ND
        count_C = one_NC.sum(0)
        if self.names_CD is not None:
            self.mean_CD = unit_rows(sum_CD + self.name_weight * self.names_CD)
        else:
            self.mean_CD = sum_CD / np.maximum(count_C, 1)[:, None]
        spread = float(((f_ND - self.mean_CD[y_N]) ** 2).sum(1).mean()) or 1.0
        self.scale = float(self.scale or 10.0 / spread)
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        f_ND = self._features(x_ND).astype(np.float64)
        m_CD = self.mean_CD.astype(np.float64)
        assert self.scale is not None
        result: Float64Array = -self.scale * ((f_ND**2).sum(1)[:, None] - 2 * f_ND @ m_CD.T + (m_CD**2).sum(1))
        return result

    def state(self) -> State:
        return {"mean": self.mean_CD, "centre": self.centre_D}, {"normalisation": self.normalisation, "scale": self.scale}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self:
        head = cls(normalisation=config["normalisation"], scale=config["scale"])
        head.mean_CD, head.centre_D = arrays["mean"], arrays["centre"]
        return head


def fit_path(
    x_ND: FloatArray, y_N: IntArray, n_classes: int, *, normalisation: str = "L2N", names_CD: FloatArray, name_weights: tuple[float, ...]
) -> list[PrototypeHead]:
    """One head a weight."""
    return [PrototypeHead(normalisation=normalisation, names_CD=names_CD, name_weight=w).fit(x_ND, y_N, n_classes) for w in name_weights]
