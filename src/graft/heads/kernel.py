"""Kernel probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import Float64Array, FloatArray, IntArray, State, unit_rows


class KernelHead:
    """RBF kernel ridge on unit vectors, Nystroem landmarks."""

    def __init__(self, *, gamma: float = 1.0, ridge: float = 1.0, balanced: bool = False) -> None:
        self.gamma, self.ridge, self.balanced = gamma, ridge, balanced

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        z_MD = unit_rows(x_ND)
        if len(z_MD) > 1000:
            z_MD = z_MD[np.sort(np.random.RandomState(0).permutation(len(z_MD))[:1000])]
        k_NM = self._kernel(unit_rows(x_ND), z_MD)
        k_MM = self._kernel(z_MD, z_MD)
        one_NC = np.eye(n_classes)[y_N]
        self.mean_C = one_NC.mean(0)
        self.alpha_MC = np.linalg.lstsq(k_NM.T @ k_NM + self.ridge * k_MM + 1e-6 * np.eye(len(z_MD)), k_NM.T @ (one_NC - self.mean_C), rcond=None)[0]
        self.z_MD = z_MD
        return self

    def _kernel(self, a_ND: FloatArray, b_MD: FloatArray) -> NDArray[np.float64]:
        return np.exp(-self.gamma * np.maximum(2 - 2 * (a_ND @ b_MD.T), 0)).astype(np.float64)

    def logits(self, x_ND: FloatArray) -> Float64Array:
        result: Float64Array = 6 * (self._kernel(unit_rows(x_ND), self.z_MD) @ self.alpha_MC + self.mean_C)
        return result

    def state(self) -> State:
        return {"z": self.z_MD, "alpha": self.alpha_MC, "mean": self.mean_C}, {"gamma": self.gamma, "ridge": self.ridge}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self:
        head = cls(gamma=config["gamma"], ridge=config["ridge"])
        head.z_MD, head.alpha_MC, head.mean_C = arrays["z"], arrays["alpha"], arrays["mean"]
        return head


def fit_path(x_ND: FloatArray, y_N: IntArray, n_classes: int, *, settings: tuple[tuple[float, float], ...], balanced: bool = False) -> list[KernelHead]:
    """One head a (gamma, ridge)."""
    return [KernelHead(gamma=g, ridge=r).fit(x_ND, y_N, n_classes) for g, r in settings]
