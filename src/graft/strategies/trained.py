"""Ways to transfer that train: the upper rungs of the ladder, cheapest first. Each starts from the fitted probe.

What a rung trains and with which settings is told here; how, in `graft.strategies.tuning`. Recipes differ by modality: texts are tuned
by a transformer's customary rates, pictures by those of convolutional nets. Legend: C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.encoders.base import EncoderInfo
from graft.errors import ModelError, UsageError, unknown
from graft.heads.base import IntArray
from graft.strategies import frozen
from graft.strategies.frozen import STRATEGIES, Settings, Task, strategies_named
from graft.trainers.recipe import Recipe, to_tree, with_settings

if TYPE_CHECKING:
    from graft.heads.base import Head
    from graft.strategies.items import Items
    from graft.strategies.tuning import TunedHead

FROZEN = "frozen"  # the word for all rungs that leave the encoder as it is
MODALITIES = ("text", "image")


@dataclass(frozen=True)
class Trained:
    """A rung that trains: `method` says what, `recipes` how by modality, changed by what the user `given`.

    `shares` of the way from the old weights to the new are measured besides the whole way, which costs a pass over the held-out items
    only (WiSE-FT, Wortsman et al. 2022). `probe` names the frozen strategy and its settings that it starts from.
    """

    name: str
    rung: int
    method: str
    recipes: Mapping[str, Recipe]
    shares: tuple[float, ...] = ()
    climbed: tuple[str, ...] = ()  # modalities for which `fit` tries it unasked
    given: Settings = field(default_factory=dict)
    probe: tuple[str, Settings] = ("linear-probe", {"c": 1.0})

    def refusal(self, task: Task, counts_C: IntArray) -> str | None:
        """Why it cannot run with these labels, or None."""
        del task
        seen = int(np.count_nonzero(counts_C))
        if seen < 2:
            return f"it learns from labelled items of at least two classes, and there are labels of {seen or 'none'}"
        return None

    def unfit(self, info: EncoderInfo) -> str | None:
        """Why it cannot tune this encoder, or None."""
        if info.modality not in self.recipes:
            return f"it is for {' and '.join(KINDS[m] for m in self.recipes)}, and this encoder takes {KINDS.get(info.modality, info.modality)}"
        if info.reference.partition(":")[0] == "pixels" and self.method != "scratch" and self.method != "head":
            return "raw pixels have no weights to train"
        return None

    def settings(self, counts_C: IntArray) -> tuple[Settings, ...]:
        """The whole way to the new weights, and shares of it."""
        del counts_C
        return tuple({"share": share} for share in (1.0, *self.shares))

    def recipe(self, modality: str) -> Recipe:
        """Its recipe for "text" or "image", with what the user set. Raises UsageError for a setting that is not known or out of range."""
        own = self.recipes[modality]
        set_ = with_settings(own, self.given)
        # "none" leaves to the rung what it has an answer to
        return replace(set_, epochs=set_.epochs or own.epochs, rate=own.rate if set_.rate is None else set_.rate)

    def with_given(self, given: Settings, probe: tuple[str, Settings] | None = None) -> Trained:
        """The rung with settings of the user's, and the probe it starts from: from scratch one without the names, which lie in another space."""
        if self.method == "scratch" and probe is not None:
            probe = "linear-probe", {name: value for name, value in probe[1].items() if name != "name_weight"}
        return replace(self, given={**self.given, **given}, probe=probe or self.probe)

    def fit_path(self, items: Items, y_N: IntArray, task: Task, settings: Sequence[Settings]) -> list[TunedHead]:
        """Body and head for each share of the way; trained once."""
        from graft.strategies.tuning import Job, tune

        outcome = tune(self, items, y_N, task, Job(self.recipe(items.encoder.info.modality)))
        return [outcome.head(s["share"]) for s in settings]

    def told(self, modality: str) -> dict[str, Any]:
        """Its recipe as plain JSON."""
        return to_tree(self.recipe(modality))


KINDS = {"text": "texts", "image": "pictures"}


def _both(text: Recipe, image: Recipe) -> dict[str, Recipe]:
    return {"text": text, "image": image}


_WHOLE = _both(
    Recipe(epochs=3, rate=5e-5, head_rate=1e-3),
    Recipe(epochs=5, rate=1e-4, head_rate=1e-3),
)
_LADDER = (
    Trained(
        "head-only",
        7,
        "head",
        _both(Recipe(epochs=20, rate=0.0, head_rate=1e-3), Recipe(epochs=20, rate=0.0, head_rate=1e-3)),
    ),
    Trained(
        "last-blocks",
        8,
        "last",
        _both(
            Recipe(epochs=5, rate=5e-5, head_rate=1e-3, last=2),
            Recipe(epochs=3, rate=3e-4, head_rate=0.0, last=5, head="refit"),
        ),
        shares=(0.5,),
        climbed=MODALITIES,
    ),
    Trained(
        "contrastive",
        9,
        "contrastive",
        _both(
            Recipe(epochs=1, batch=32, dropout=0.0),
            Recipe(epochs=1, batch=32, rate=1e-4, dropout=0.0, last=5),
        ),
        climbed=("text",),
    ),
    Trained("prompt", 10, "prompt", {"text": Recipe(epochs=5, rate=1e-2, head_rate=1e-3)}),
    Trained("prefix", 11, "prefix", {"text": Recipe(epochs=5, rate=1e-2, head_rate=1e-3)}),
    Trained(
        "adapters",
        12,
        "adapters",
        _both(Recipe(epochs=3, rate=1e-3, head_rate=1e-3), Recipe(epochs=5, rate=1e-3, head_rate=1e-3)),
    ),
    Trained(
        "lora",
        13,
        "lora",
        _both(Recipe(epochs=3, rate=5e-4, head_rate=1e-3), Recipe(epochs=5, rate=1e-3, head_rate=1e-3)),
        shares=(0.5,),
        climbed=MODALITIES,
    ),
    Trained(
        "lora+adapters",
        14,
        "lora+adapters",
        _both(Recipe(epochs=3, rate=5e-4, head_rate=1e-3), Recipe(epochs=5, rate=1e-3, head_rate=1e-3)),
    ),
    Trained(
        "gradual",
        15,
        "all",
        {kind: replace(recipe, depth_decay=1 / 2.6, unfreeze=0.5) for kind, recipe in _WHOLE.items()},
        shares=(0.5,),
    ),
    Trained(
        "discriminative",
        16,
        "all",
        {kind: replace(recipe, depth_decay=0.8) for kind, recipe in _WHOLE.items()},
        shares=(0.5,),
    ),
    Trained("finetune", 17, "all", _WHOLE, shares=(0.5,), climbed=MODALITIES),
    Trained("scratch", 18, "scratch", _both(Recipe(epochs=10, rate=1e-3), Recipe(epochs=10, rate=1e-3))),
)
TRAINED: dict[str, Trained] = {strategy.name: strategy for strategy in _LADDER}
ALL_NAMES = (*STRATEGIES, *TRAINED, FROZEN)


def divided(names: Sequence[str] | None) -> tuple[tuple[str, ...] | None, tuple[Trained, ...] | None]:
    """The frozen and the trained of these strategies, each None where all may be tried; `frozen` stands for all frozen ones.

    Where trained ones alone are named, all frozen ones are measured too: what is trained has to be set against them.

    Raises UsageError for an unknown name or for none at all.
    """
    if names is None:
        return None, None
    for name in names:
        if name not in ALL_NAMES:
            raise UsageError(unknown("Strategy", name, ALL_NAMES))
    if not names:
        raise UsageError(f"No strategy is named. Allowed: {', '.join(ALL_NAMES)}.")
    trained = tuple(strategy for name, strategy in TRAINED.items() if name in names)
    kept = [name for name in names if name in STRATEGIES]
    return (None if FROZEN in names or not kept else tuple(s.name for s in strategies_named(kept))), trained


def head_from_state(strategy: str, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Head:
    """The head that `Head.state` described, of the kind `strategy` makes; trained rungs end in a linear probe on the tuned vectors.

    Raises ModelError when the strategy is unknown or its arrays or configuration are not what the head wrote.
    """
    if strategy in TRAINED:
        return frozen.head_from_state("linear-probe", arrays, config)
    if strategy not in STRATEGIES:
        raise ModelError(unknown("The model's strategy", strategy, ALL_NAMES))
    return frozen.head_from_state(strategy, arrays, config)
