"""Ways to transfer that leave the encoder as it is: a small head on its vectors. The seven cheapest rungs of the ladder.

Legend: N items, D dims, C classes, K classes of a picture encoder's own classifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graft.errors import ModelError, UsageError, unknown
from graft.heads import kernel, linear, neighbours, prototypes
from graft.heads.base import FloatArray, Head, IntArray
from graft.heads.zero_shot import BridgeHead, ZeroShotHead

Settings = Mapping[str, Any]
IMBALANCE = 2.0  # from this ratio of the largest to the smallest class on, heads are also tried with balanced classes


@dataclass(frozen=True)
class Bridge:
    """Class-name bridge of a picture encoder: its own classifier's `weight` (K, D) and `bias` (K,), and `cosines_CK` (C, K),
    how near the text of each of the user's classes is to the text of each of the classifier's.
    """

    weight: FloatArray
    bias: FloatArray
    cosines_CK: FloatArray


@dataclass(frozen=True)
class Task:
    """What is to be told apart in one encoder's space.

    `names_CD` are unit vectors of the class names in the items' own space, None where the encoder knows nothing of words;
    `names_source` says how they came about: "text" (the encoder itself), "joint" (its text tower), "bridge", or "" for none.
    """

    n_classes: int
    names_CD: FloatArray | None = field(default=None, repr=False)
    names_source: str = ""
    bridge: Bridge | None = field(default=None, repr=False)
    seed: int = 0


class Strategy(Protocol):
    """A named way to transfer. The selection knows no more of it than this.

    Frozen strategies learn from vectors (N, D). A strategy that trains an encoder may take any items that can be counted with
    `len` and taken apart with an index array, and returns heads whose `logits` take such items.
    """

    @property
    def name(self) -> str:
        """What people call it, e.g. "linear-probe"."""

    @property
    def rung(self) -> int:
        """Its place on the ladder, the cheapest is 0."""

    @property
    def needs_labels(self) -> bool:
        """False when nothing is learned from labels."""

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        """Why it cannot run with `counts_C` labelled items a class, or None."""

    def settings(self, task: Task, counts_C: IntArray) -> tuple[Settings, ...]:
        """What it tries, at least one; plain JSON. The first is its default where nothing can be measured."""

    def fit_path(self, x_ND: Any, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
        """One fitted head for each of `settings`, in their order; work is shared between them."""


def _few_classes(counts_C: IntArray) -> str | None:
    seen = int((np.asarray(counts_C) > 0).sum())
    return None if seen >= 2 else f"it learns from labelled items of two classes or more, and there is {seen or 'none'}"


def _nameless(task: Task) -> str | None:
    if task.names_CD is not None:
        return None
    return "it needs vectors of the class names beside the items, and this encoder knows nothing of words"


def _with_balance(settings: tuple[Settings, ...], counts_C: IntArray) -> tuple[Settings, ...]:
    """The settings, and the same with balanced classes where the classes differ much in size."""
    counts_C = np.asarray(counts_C)[np.asarray(counts_C) > 0]
    if counts_C.max() < IMBALANCE * counts_C.min():
        return settings
    return settings + tuple({**s, "balanced": True} for s in settings)


def _names(task: Task) -> FloatArray:
    assert task.names_CD is not None, "a strategy with names runs only where refusal() is None"
    return task.names_CD


@dataclass(frozen=True)
class ZeroShot:
    """The nearest class name; no label is learned from. Pictures without a text tower are scored over the class-name bridge."""

    name: str = "zero-shot"
    rung: int = 0
    needs_labels: bool = False

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        return _nameless(task)

    def settings(self, task: Task, counts_C: IntArray) -> tuple[Settings, ...]:
        return ({},)

    def fit_path(self, x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
        bridge = task.bridge
        heads: list[Head] = []
        for _ in settings:
            head = ZeroShotHead(_names(task)) if bridge is None else BridgeHead(bridge.weight, bridge.bias, bridge.cosines_CK)
            heads.append(head.fit(x_ND, y_N, task.n_classes))
        return heads


@dataclass(frozen=True)
class Prototypes:
    """The nearest class mean in the three normalisations of SimpleShot (Wang et al. 2019)."""

    name: str = "prototypes"
    rung: int = 1
    needs_labels: bool = True

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        return _few_classes(counts_C)

    def settings(self, task: Task, counts_C: IntArray) -> tuple[Settings, ...]:
        return tuple({"normalisation": n} for n in ("L2N", "CL2N", "UN"))

    def fit_path(self, x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
        return [prototypes.PrototypeHead(**s).fit(x_ND, y_N, task.n_classes) for s in settings]


@dataclass(frozen=True)
class NamedPrototypes:
    """Class means that start from the class name: normalise(sum of examples + weight * name), so that a name counts as `weight` examples."""

    name: str = "named-prototypes"
    rung: int = 2
    needs_labels: bool = True

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        return _nameless(task) or _few_classes(counts_C)

    def settings(self, task: Task, counts_C: IntArray) -> tuple[Settings, ...]:
        return tuple({"name_weight": w} for w in (6.0, 1.0, 2.0, 4.0, 8.0, 16.0))

    def fit_path(self, x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
        weights = tuple(s["name_weight"] for s in settings)
        return [*prototypes.fit_path(x_ND, y_N, task.n_classes, names_CD=_names(task), name_weights=weights)]


@dataclass(frozen=True)
class Neighbours:
    """A vote of the k nearest items."""

    name: str = "neighbours"
    rung: int = 3
    needs_labels: bool = True

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        return _few_classes(counts_C)

    def settings(self, task: Task, counts_C: IntArray) -> tuple[Settings, ...]:
        return tuple({"k": k} for k in (10, 1, 3, 5, 20))

    def fit_path(self, x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
        return [*neighbours.fit_path(x_ND, y_N, task.n_classes, ks=tuple(s["k"] for s in settings))]


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression along its L2 penalty; `named`: with each class name as an example of some weight."""

    name: str = "linear-probe"
    rung: int = 4
    named: bool = False
    needs_labels: bool = True

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        return (_nameless(task) if self.named else None) or _few_classes(counts_C)

    def settings(self, task: Task, counts_C: IntArray) -> tuple[Settings, ...]:
        return ()

    def fit_path(self, x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
        return []
