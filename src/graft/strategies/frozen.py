"""Ways to transfer that leave the encoder as it is: a small head on its vectors. The seven cheapest rungs of the ladder.

Legend: N items, D dims, C classes, K classes of a picture encoder's own classifier.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graft.errors import ModelError, UsageError, unknown
from graft.heads import kernel, linear, neighbours, prototypes
from graft.heads.base import FloatArray, Head, IntArray
from graft.heads.zero_shot import BridgeHead, ZeroShotHead

Settings = Mapping[str, Any]
IMBALANCE = 2.0  # from this ratio of the largest to the smallest class on, heads are also tried with balanced classes
PLENTY = 50  # labels a class from which the kernel and linear settings of `few` were at most .002 ahead (four sets, 1,000 and 2,000 items)
MANY = 4000  # items; on four sets of 5,000 to 10,000 the one kernel setting left then lost at most .003 to the best of those tried
PENALTIES = (1.0, 0.3, 3.0, 10.0)


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

    def only(self, codes: Sequence[int]) -> Task:
        """The task of telling these classes apart, in this order."""
        bridge = self.bridge and replace(self.bridge, cosines_CK=self.bridge.cosines_CK[codes])
        return replace(
            self, n_classes=len(codes), names_CD=None if self.names_CD is None else self.names_CD[codes], bridge=bridge
        )


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

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        """Why it cannot run with `counts_C` labelled items a class, or None."""

    def settings(self, counts_C: IntArray) -> tuple[Settings, ...]:
        """What it tries, at least one, as plain JSON. The first is its default where nothing can be measured."""

    def fit_path(self, x_ND: Any, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
        """One fitted head for each of `settings`, in their order; work is shared between them."""


Fit = Callable[[FloatArray, IntArray, Task, Sequence[Settings]], list[Head]]


@dataclass(frozen=True)
class Frozen:
    """A head on vectors that stay as they are: `fit` makes one head for each setting of `grid`.

    `few` are settings tried besides with fewer than `PLENTY` labels a class, where they may matter; `many` is what is tried instead
    from `MANY` items on, where a fit takes seconds and the best setting is known within narrow bounds. `named` heads need vectors of
    the class names, `learns` is False where labels are not looked at, `weighs` says that the head can give classes of different size
    the same weight.
    """

    name: str
    rung: int
    fit: Fit
    grid: tuple[Settings, ...]
    few: tuple[Settings, ...] = ()
    many: tuple[Settings, ...] = ()
    named: bool = False
    learns: bool = True
    weighs: bool = False

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        """Why it cannot run: no names in the items' space, or labels of fewer than two classes."""
        if self.named and task.names_CD is None:
            return (
                "it needs vectors of the class names beside those of the items, and this encoder knows nothing of words"
            )
        seen = int(np.count_nonzero(counts_C))
        if self.learns and seen < 2:
            return f"it learns from labelled items of at least two classes, and there are labels of {seen or 'none'}"
        return None

    def settings(self, counts_C: IntArray) -> tuple[Settings, ...]:
        """The grid, and the same with balanced classes where that is possible and the classes differ much in size."""
        seen_C = np.asarray(counts_C)[np.asarray(counts_C) > 0]
        grid = self.grid + self.few if len(seen_C) and np.median(seen_C) < PLENTY else self.grid
        if self.many and seen_C.sum() >= MANY:
            grid = self.many
        if not self.weighs or seen_C.max() < IMBALANCE * seen_C.min():
            return grid
        return grid + tuple({**setting, "balanced": True} for setting in grid)

    def fit_path(self, x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
        """One head a setting; vectors (N, D) float32, labels in 0..C-1."""
        return self.fit(x_ND, y_N, task, settings)


def _zero_shot(x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
    """The nearest class name; pictures without a text tower are scored over the class-name bridge."""
    head: Head = ZeroShotHead(_names(task))
    if task.bridge is not None:
        head = BridgeHead(task.bridge.weight, task.bridge.bias, task.bridge.cosines_CK)
    return [head.fit(x_ND, y_N, task.n_classes) for _ in settings]


def _prototypes(x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
    """The nearest class mean."""
    return [prototypes.PrototypeHead(**s).fit(x_ND, y_N, task.n_classes) for s in settings]


def _named_prototypes(x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
    """Class means that start from the class name, counted as `name_weight` examples."""
    weights = tuple(s["name_weight"] for s in settings)
    return [*prototypes.fit_path(x_ND, y_N, task.n_classes, names_CD=_names(task), name_weights=weights)]


def _neighbours(x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
    """A vote of the k nearest items."""
    return [*neighbours.fit_path(x_ND, y_N, task.n_classes, ks=tuple(s["k"] for s in settings))]


def _linear_probe(x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
    """Multinomial logistic regression along its penalty; with `name_weight`, each class's name is an example of that weight."""

    def path(values: Sequence[tuple[Any, ...]], fixed: Settings) -> Sequence[Head]:
        names_CD = _names(task) if "name_weight" in fixed else None
        cs = tuple(c for (c,) in values)
        return linear.fit_path(x_ND, y_N, task.n_classes, cs=cs, names_CD=names_CD, **fixed)

    return _along(("c",), settings, path)


def _kernel_probe(x_ND: FloatArray, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[Head]:
    """Ridge regression on the classes in the space of an RBF kernel."""

    def path(values: Sequence[tuple[Any, ...]], fixed: Settings) -> Sequence[Head]:
        pairs = tuple((gamma, ridge) for gamma, ridge in values)
        return kernel.fit_path(x_ND, y_N, task.n_classes, settings=pairs, **fixed)

    return _along(("gamma", "ridge"), settings, path)


def _names(task: Task) -> FloatArray:
    assert task.names_CD is not None, "a strategy with names runs only where refusal() is None"
    return task.names_CD


def _along(
    keys: tuple[str, ...],
    settings: Sequence[Settings],
    path: Callable[[Sequence[tuple[Any, ...]], Settings], Sequence[Head]],
) -> list[Head]:
    """Heads in the order of `settings`; those that differ in `keys` alone are fitted together by `path(values of keys, the rest)`."""
    together: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for place, setting in enumerate(settings):
        fixed = tuple(sorted((k, v) for k, v in setting.items() if k not in keys))
        together.setdefault(fixed, []).append(place)
    heads: dict[int, Head] = {}
    for fixed, places in together.items():
        values = [tuple(settings[place][key] for key in keys) for place in places]
        heads.update(zip(places, path(values, dict(fixed)), strict=True))
    return [heads[place] for place in range(len(settings))]


def _grid(**axes: Sequence[Any]) -> tuple[Settings, ...]:
    """Every combination of the axes' values, the last axis fastest."""
    return tuple(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


# The order is that of processor seconds measured from 100 to 5,000 items (docs/LOG.md).
_LADDER = (
    Frozen("zero-shot", 0, _zero_shot, ({},), named=True, learns=False),
    Frozen("prototypes", 1, _prototypes, _grid(normalisation=("L2N", "CL2N", "UN", "HCL2N"))),
    Frozen(
        "named-prototypes",
        2,
        _named_prototypes,
        _grid(name_weight=(None,)),
        few=_grid(name_weight=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0)),
        named=True,
    ),
    Frozen("neighbours", 3, _neighbours, _grid(k=(10, 1, 3, 5, 20))),
    Frozen(
        "kernel-probe",
        4,
        _kernel_probe,
        _grid(gamma=(0.9,), ridge=(0.1, 0.5)),
        few=_grid(gamma=(0.3,), ridge=(0.1, 0.5)),
        many=_grid(gamma=(0.9,), ridge=(0.1,)),
        weighs=True,
    ),
    Frozen("linear-probe", 5, _linear_probe, _grid(c=PENALTIES), few=_grid(c=(0.1, 30.0, 100.0)), weighs=True),
    Frozen(
        "named-linear-probe",
        6,
        _linear_probe,
        _grid(name_weight=(6.0,), c=PENALTIES),
        few=_grid(name_weight=(2.0, 18.0), c=(1.0, 10.0)),
        many=_grid(name_weight=(6.0,), c=(1.0, 3.0, 10.0)),
        named=True,
        weighs=True,
    ),
)
STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in _LADDER}

_HEADS: dict[str, type[Head]] = {
    "prototypes": prototypes.PrototypeHead,
    "named-prototypes": prototypes.PrototypeHead,
    "neighbours": neighbours.NeighbourHead,
    "linear-probe": linear.LinearHead,
    "named-linear-probe": linear.LinearHead,
    "kernel-probe": kernel.KernelHead,
}


def strategies_named(names: Sequence[str] | None) -> tuple[Strategy, ...]:
    """The strategies of these names, cheapest rung first; all for None. Raises UsageError for an unknown name or for none at all."""
    if names is None:
        return tuple(STRATEGIES.values())
    if not names:
        raise UsageError(f"No strategy is named. Allowed: {', '.join(STRATEGIES)}.")
    for name in names:
        if name not in STRATEGIES:
            raise UsageError(unknown("Strategy", name, STRATEGIES))
    return tuple(strategy for name, strategy in STRATEGIES.items() if name in names)


def head_from_state(strategy: str, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Head:
    """The head that `Head.state` described, of the kind the frozen `strategy` makes.

    Raises ModelError when its arrays or configuration are not what the head wrote.
    """
    kind = _HEADS.get(strategy, BridgeHead if "cosines" in arrays else ZeroShotHead)
    try:
        return kind.from_state(arrays, config)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ModelError(f"The model's {strategy} head cannot be rebuilt: {error!r}.") from error
