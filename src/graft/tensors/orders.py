"""In which order items are learned from: easy ones first (curricula), and batches in which classes are balanced (contrastive tuning).

Everything here takes and gives positions of items, and needs memory in proportion to the items and the batches drawn, never to their pairs.
Legend: N items, D dims, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from graft.errors import DataError, UsageError

FloatArray = NDArray[np.floating[Any]]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]

Order = NDArray[np.int64]

# -- how hard an item is ----------------------------------------------------------------------------------------------


def loss_difficulty(logits_NC: FloatArray, y_N: IntArray) -> Float64Array:
    """-log p(label) of each item (N,) under a model that is at hand, such as the fitted probe (transfer scoring: Hacohen & Weinshall 2019)."""
    return -np.asarray(log_softmax(logits_NC, axis=1)[np.arange(len(y_N)), y_N], np.float64)


def entropy_difficulty(logits_NC: FloatArray) -> Float64Array:
    """Entropy of the predicted classes in nats (N,), 0..log C: how unsure a model is, whatever the label."""
    log_p_NC = log_softmax(logits_NC, axis=1)
    return -np.asarray((np.exp(log_p_NC) * log_p_NC).sum(axis=1), np.float64)


def centre_difficulty(x_ND: FloatArray, y_N: IntArray) -> Float64Array:
    """Euclidean distance of each vector from the mean of its class (N,); labels are class codes >= 0."""
    n_classes = int(y_N.max()) + 1 if len(y_N) else 0
    sums_CD = np.zeros((n_classes, x_ND.shape[1]))
    np.add.at(sums_CD, y_N, x_ND)
    counts_C = np.bincount(y_N, minlength=n_classes)
    mean_CD = sums_CD / np.maximum(counts_C, 1)[:, None]
    return np.asarray(np.linalg.norm(x_ND - mean_CD[y_N], axis=1), np.float64)


def curriculum(
    difficulty: FloatArray,
    *,
    epochs: float,
    start: float = 0.3,
    hardest_first: bool = False,
    labels: IntArray | None = None,
    seed: int = 0,
) -> Callable[[int], Order]:
    """order(epoch) of N positions: at first from the easiest share `start` of the items, from all at `epochs` and after (Bengio et al. 2009).

    The share grows in a line with the epoch (`pace`). Within it the order is random by (seed, epoch). While it is below one its items come
    again until there are N, so that every epoch has the same number of steps and only what is seen differs. `hardest_first` turns the scale round.
    With `labels` (N,) the share is taken of each class, so that no class comes late only because it is hard. Items of equal difficulty are
    ordered at random by `seed`.

    Raises UsageError for `start` outside 0..1 (0 excluded) or `epochs` below 0, DataError for a difficulty that is not a number.
    """
    values = np.asarray(difficulty, np.float64)
    if not 0 < start <= 1 or not epochs >= 0:
        raise UsageError(
            f"A curriculum starts with a share above 0 up to 1 and takes 0 epochs or more, not {start} and {epochs}."
        )
    if np.isnan(values).any():
        raise DataError(
            f"The difficulty of {int(np.isnan(values).sum())} items is not a number, so they cannot be ordered."
        )
    shuffled = np.random.default_rng(seed).permutation(len(values))
    ranked = shuffled[np.argsort(-values[shuffled] if hardest_first else values[shuffled], kind="stable")]
    groups = [ranked] if labels is None else [ranked[labels[ranked] == code] for code in np.unique(labels)]

    def order(epoch: int) -> Order:
        share = pace(epoch, epochs, start)
        seen = np.concatenate([group[: max(1, round(share * len(group)))] for group in groups])
        draw = np.random.default_rng((seed, epoch))
        rounds = [draw.permutation(seen) for _ in range(-(-len(values) // len(seen)))]
        return np.concatenate(rounds)[: len(values)]

    return order


def pace(epoch: float, epochs: float, start: float) -> float:
    """The share of the items in use at `epoch` (0, 1, ..): `start` at 0, one from `epochs` on, in a line between."""
    return 1.0 if epoch >= epochs else start + (1 - start) * epoch / epochs


# -- batches for contrast ---------------------------------------------------------------------------------------------


class _Deck:
    """Cards dealt in random order, all once before any comes again."""

    def __init__(self, cards: Order, rng: np.random.Generator) -> None:
        self._cards, self._rng = cards, rng
        self._left: list[int] = []

    def __len__(self) -> int:
        return len(self._cards)

    def deal(self, hand: set[int]) -> int:
        """The next card that is not in the hand, which must not hold all of them."""
        if not self._left:
            self._left = self._rng.permutation(self._cards).tolist()
        for at in range(len(self._left) - 1, -1, -1):
            if self._left[at] not in hand:
                return self._left.pop(at)
        raise AssertionError("a hand never holds what is left of a deck")  # what is left was not dealt in this round


def balanced_order(labels: IntArray, batch: int, steps: int, seed: int = 0) -> list[Order]:
    """Positions of `steps` batches, each with pairs of one class and pairs of two, and every class as often as any other.

    A batch holds min(batch, N) different items: as many classes as fit with two items each (at least two classes; one item of a class
    that has no more), their numbers as even as can be. Classes come in random order, each once before any comes again, and so do the
    items of a class: rare classes are seen more often than their share. A round of SetFit's pairs (Tunstall et al. 2022) has O(N^2) of
    them; here a batch of b items gives b (b - 1) / 2 at the cost of b, and nothing but the batches is kept.

    `labels` (N,) are any codes. The same seed gives the same batches. Raises UsageError for a batch below 2, which has no pair,
    or negative steps, DataError where there are fewer than two items.
    """
    if batch < 2 or steps < 0:
        raise UsageError(f"Contrast needs batches of 2 items at least and 0 steps or more, not {batch} and {steps}.")
    if len(labels) < 2:
        raise DataError(f"Contrast needs at least two items; there are {len(labels)}.")
    rng = np.random.default_rng(seed)
    codes_N = np.unique(labels, return_inverse=True)[1]
    by_class = np.split(np.argsort(codes_N, kind="stable"), np.cumsum(np.bincount(codes_N))[:-1])
    decks = [_Deck(members, rng) for members in by_class]
    classes = _Deck(np.arange(len(decks)), rng)
    return [_batch(decks, classes, min(batch, len(labels)), rng) for _ in range(steps)]


def _batch(decks: list[_Deck], classes: _Deck, size: int, rng: np.random.Generator) -> Order:
    """`size` positions: classes are taken while two items of one more fit, then they fill the batch evenly."""
    chosen: dict[int, set[int]] = {}
    room = size
    while len(chosen) < len(decks) and (room >= 2 or len(chosen) < 2):
        code = classes.deal(set(chosen))
        chosen[code] = set()
        room -= min(2, len(decks[code]))
    filled = 0
    while filled < size:
        open_ = [code for code, hand in chosen.items() if len(hand) < len(decks[code])]
        if not open_:  # small classes: there is room for one more
            open_ = [classes.deal(set(chosen))]
            chosen[open_[0]] = set()
        for code in open_[: size - filled]:
            chosen[code].add(decks[code].deal(chosen[code]))
            filled += 1
    positions = np.fromiter((at for hand in chosen.values() for at in sorted(hand)), np.int64, filled)
    return rng.permutation(positions)
