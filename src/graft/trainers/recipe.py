"""A recipe: every setting of a training, as plain values; what `graft fit --train` and `graft tune` may set."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from graft.errors import UsageError, unknown

PLAIN = ("", "none")  # words for no augmentation


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a body is trained. `None` means: chosen by the rung, or by what is measured.

    - `epochs` passes over the items; `batch` items a step (cut further where memory is short, with accumulation to the same size);
      `seconds` ends the training after the epoch in which they pass.
    - `rate` of the body (None: by the rung), `range_test` whether a range test on these items may move it (None: where the test costs a
      tenth of the training at most), `head_rate` of the head, `depth_decay` the factor
      from each group of layers to the one below it (1: one rate for all; ULMFiT, Howard & Ruder 2018, takes 1 / 2.6), `unfreeze` epochs
      between one group's first step and that of the group below (0: all from the start).
    - `optimiser` adamw or sgd (with `momentum`), `weight_decay`, `schedule` cosine, linear, constant or one-cycle, `warmup` share of the
      steps, `clip` the longest gradient, `accumulate` batches a step, `ema` decay of a running mean of the weights (0: none).
    - `patience` epochs without a better validation loss before stopping (0: none), `validation` share of the training items held out for it.
    - `start` of the head: probe (the fitted linear probe; at step 0 nothing is lost), zero or random; `head` in the end: as trained, or
      refit on the tuned vectors (on CIFAR-10 at 20 a class one to four points better). `norm` frozen keeps the statistics of
      batch norm as pretrained; train lets small batches move them, which ruins small sets.
    - `last` groups that are trained by the rung last-blocks; `rank`, `width`, `length` of LoRA, bottleneck adapters, prompts and prefixes.
    - `augment` names joined by +, or auto, or none; `mixup`, `cutmix` their Beta parameter (0: off); `label_smoothing`; `dropout` of the body
      (None: as the model has it). `l2sp`, `ewc` weights of the penalties against forgetting.
    - `final` what becomes the model: refit on all items, or the soup (mean of the weights) of the folds' models. `splits` folds it is measured
      on (None: as many as the time allows, five at most).
    - `order` of the items: shuffled, or a curriculum from easy to hard (or hard to easy) by the probe's loss, its entropy, or the distance to
      the centre of the class. `pairs` of contrastive tuning; `kernel`, `channels` of a network from scratch. `precision` auto, f32, bf16 or f16.
    """

    epochs: float | None = None
    batch: int = 16
    seconds: float | None = None
    rate: float | None = None
    head_rate: float | None = None
    range_test: bool | None = None
    depth_decay: float | None = None
    unfreeze: float = 0.0
    optimiser: str = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: float = 0.1
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.0
    patience: int = 0
    validation: float = 0.1
    start: str = "probe"
    head: str = "trained"
    norm: str = "frozen"
    last: int | None = None
    rank: int = 8
    width: int = 48
    length: int = 8
    augment: str = "none"
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0
    dropout: float | None = None
    l2sp: float = 0.0
    ewc: float = 0.0
    final: str = "refit"
    splits: int | None = None
    order: str = "shuffled"
    pairs: int | None = None
    kernel: int = 3
    channels: int = 32
    precision: str = "auto"

    @property
    def changes_items(self) -> bool:
        """Whether an item is another in each epoch."""
        return self.augment not in PLAIN or self.mixup > 0 or self.cutmix > 0


CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimiser": ("adamw", "sgd"),
    "schedule": ("cosine", "linear", "constant", "one-cycle"),
    "start": ("probe", "zero", "random"),
    "head": ("trained", "refit"),
    "order": ("shuffled", *(f"{end}-by-{by}" for end in ("easy", "hard") for by in ("loss", "entropy", "centre"))),
    "norm": ("frozen", "train"),
    "final": ("refit", "soup"),
    "precision": ("auto", "f32", "bf16", "f16"),
}
# field: least and largest value that make sense, both allowed
RANGES: Mapping[str, tuple[float, float]] = {
    "epochs": (0.01, 10_000),
    "batch": (1, 65_536),
    "seconds": (1e-3, 1e9),
    "rate": (0, 100),
    "head_rate": (0, 100),
    "depth_decay": (0, 1),
    "unfreeze": (0, 1000),
    "momentum": (0, 1),
    "weight_decay": (0, 10),
    "warmup": (0, 1),
    "clip": (0, 1e9),
    "accumulate": (1, 4096),
    "ema": (0, 0.99999),
    "patience": (0, 1000),
    "validation": (0.01, 0.5),
    "last": (1, 1000),
    "splits": (1, 100),
    "rank": (1, 1024),
    "width": (1, 4096),
    "length": (1, 512),
    "mixup": (0, 10),
    "cutmix": (0, 10),
    "label_smoothing": (0, 0.9),
    "dropout": (0, 0.95),
    "l2sp": (0, 1e6),
    "ewc": (0, 1e9),
    "pairs": (1, 10**9),
    "kernel": (1, 15),
    "channels": (1, 1024),
}


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with these fields set; texts are read as the field's type.

    Raises UsageError naming every setting that is unknown or outside its range.
    """
    kinds = typing.get_type_hints(Recipe)
    problems, values = [], {}
    for name, given in settings.items():
        if name not in kinds:
            problems.append(unknown("The training setting", name, kinds))
            continue
        try:
            values[name] = value_of(kinds[name], given)
        except (ValueError, TypeError, OverflowError):
            problems.append(f"{name}={given}: a value of kind {kind_told(kinds[name])} is wanted.")
            continue
        problems += _out_of_range(name, values[name])
    if problems:
        raise UsageError(" ".join(problems))
    return replace(recipe, **values)


def read_settings(text: str) -> dict[str, str]:
    """`key=value` pairs divided by commas; raises UsageError for a part without `=`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [part for part in parts if "=" not in part]:
        raise UsageError(f"{', '.join(wrong)}: settings are written key=value,key=value, as in epochs=5,rate=1e-4.")
    return {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in parts)}


def to_tree(recipe: Recipe) -> dict[str, Any]:
    """The settings that differ from the defaults, as plain JSON."""
    plain = Recipe()
    return {
        f.name: getattr(recipe, f.name)
        for f in dataclasses.fields(recipe)
        if getattr(recipe, f.name) != getattr(plain, f.name)
    }


def kind_told(hint: Any) -> str:
    """A field's type in words."""
    return " or ".join("none" if k is types.NoneType else k.__name__ for k in _kinds(hint))


def value_of(hint: Any, given: Any) -> Any:
    """A value of the field's type, from text or as it is; raises ValueError."""
    kinds = _kinds(hint)
    if types.NoneType in kinds and (given is None or given in ("none", "None", "")):
        return None
    (kind,) = (k for k in kinds if k is not types.NoneType)
    if kind is bool:
        words = {
            "true": True,
            "on": True,
            "yes": True,
            "1": True,
            "false": False,
            "off": False,
            "no": False,
            "0": False,
        }
        if str(given).lower() not in words:
            raise ValueError(given)
        return words[str(given).lower()]
    if kind is int and float(given) != int(float(given)):
        raise ValueError(given)
    return kind(float(given)) if kind is int else kind(given)


def _out_of_range(name: str, value: Any) -> list[str]:
    if name in CHOICES and value not in CHOICES[name]:
        return [unknown(f"The training setting {name}", str(value), CHOICES[name])]
    if name in RANGES and value is not None and not RANGES[name][0] <= value <= RANGES[name][1]:
        low, high = RANGES[name]
        return [f"{name}={value}: it lies between {low:g} and {high:g}."]
    return []


def _kinds(hint: Any) -> tuple[type, ...]:
    return typing.get_args(hint) or (hint,)
