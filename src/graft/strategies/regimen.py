"""What a recipe does to batches, to the loss and to the weights: augmentation, mixing, order, penalties. Imported only where training runs.

Legend: B items of a batch, P classes with at least one example.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft.errors import UsageError, unknown
from graft.heads.base import IntArray
from graft.heads.linear import fit_path
from graft.strategies.contrast import MANY_CLASSES
from graft.strategies.items import Items
from graft.strategies.trained import KINDS
from graft.tensors import augment as pictures
from graft.tensors import rewriting as texts
from graft.tensors.augment import Transform, cutmix, either, for_pictures, mixup
from graft.tensors.objectives import Objective, classification, contrastive, pair_cosine
from graft.tensors.orders import centre_difficulty, curriculum, entropy_difficulty, loss_difficulty
from graft.trainers.batches import derived_seed
from graft.trainers.recipe import PLAIN, Recipe

LOOKED_AT = 16  # pictures by which is told whether they show writing


def misfits(recipe: Recipe, modality: str | None = None) -> list[str]:
    """What the recipe would do to items that items of `modality` ("text", "image") do not allow, a sentence each.

    With None, before the items are known, what no items allow.
    """
    names = {"image": pictures.NAMES, "text": texts.NAMES}
    known = [name for all_ in names.values() for name in all_]
    allowed = known if modality is None else names[modality]
    asked = dict.fromkeys(name.strip() for name in recipe.augment.split("+"))
    problems = []
    for name in asked.keys() - {*allowed, "auto", *PLAIN}:
        if modality is None or name not in known:
            problems.append(unknown("The augmentation", name, (*allowed, "auto", "none")))
            continue
        (other,) = names.keys() - {modality}
        problems.append(
            f"The augmentation {name} is for {KINDS[other]}, and these items are {KINDS[modality]}: "
            f"for them there are {', '.join(allowed)}, auto and none."
        )
    mixing = [name for name in ("mixup", "cutmix") if getattr(recipe, name)]
    if mixing and modality == "text":
        problems.append(
            f"{' and '.join(mixing)}: only pictures can be mixed; for texts there is augment={'+'.join(allowed)}."
        )
    return sorted(problems)


def transforms(recipe: Recipe, items: Items, n_classes: int) -> tuple[tuple[Transform, ...], tuple[str, ...]]:
    """What is done to each batch, and notes on it. Raises UsageError for what these items do not allow."""
    if problems := misfits(recipe, items.encoder.info.modality):
        raise UsageError(" ".join(problems))
    made: list[Transform] = []
    notes: list[str] = []
    if recipe.augment not in PLAIN:
        transform, note = _augmentation(recipe.augment, items)
        made += [transform] if transform else []
        notes += [note] if note else []
    mixing = [mixup(recipe.mixup, n_classes)] if recipe.mixup else []
    mixing += [cutmix(recipe.cutmix, n_classes)] if recipe.cutmix else []
    return (*made, *([either(mixing)] if mixing else [])), tuple(notes)


def retyped(recipe: Recipe, items: Items, seed: int) -> Callable[[int], Items] | None:
    """Texts with slips of the fingers, others in each epoch and the same for the same seed; None where the recipe asks for none."""
    if items.encoder.info.modality != "text" or texts.RAW not in recipe.augment.split("+"):
        return None
    plain = [str(items.store.contents[position]) for position in items.index]
    return lambda epoch: items.rewritten(texts.augment_texts(plain, (texts.RAW,), seed=derived_seed(seed, epoch)))


def _augmentation(augment: str, items: Items) -> tuple[Transform | None, str]:
    if items.encoder.info.modality == "image":
        rows = items.rows()
        some = np.linspace(0, len(rows) - 1, min(len(rows), LOOKED_AT)).astype(np.int64)
        return for_pictures(augment, items.store.classes, np.stack([rows.rows[i] for i in some]))
    return texts.for_texts(augment), ""


def objective(recipe: Recipe, *, contrast: bool, n_classes: int, weights_P: NDArray[np.float32] | None) -> Objective:
    """The loss of a batch."""
    if contrast:
        return contrastive() if n_classes > MANY_CLASSES else pair_cosine()
    weights = None if weights_P is None else torch.from_numpy(weights_P)
    return classification(weights, label_smoothing=recipe.label_smoothing)


def order(recipe: Recipe, items: Items, y_N: IntArray, seed: int) -> Callable[[int], NDArray[Any]] | None:
    """The order of items by epoch, None for a shuffle; difficulty is told by a linear probe on the frozen vectors.

    The last epoch has all items: none is left out of the training for being hard.
    """
    if recipe.order == "shuffled":
        return None
    end, _, by = recipe.order.partition("-by-")
    if by == "centre":
        difficulty = centre_difficulty(items.x_ND, y_N)
    else:
        (probe,) = fit_path(items.x_ND, y_N, int(np.max(y_N)) + 1, cs=(1.0,))
        logits = probe.logits(items.x_ND)
        difficulty = loss_difficulty(logits, y_N) if by == "loss" else entropy_difficulty(logits)
    last = max(0, math.ceil(recipe.epochs or 1) - 1)
    return curriculum(difficulty, epochs=last, seed=seed, hardest_first=end == "hard", labels=y_N)
