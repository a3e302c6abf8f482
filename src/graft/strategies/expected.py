"""What is known of every strategy before it is tried: the one place for such knowledge, for the choice of `fit` and for the advice of `plan`.

`ADVANTAGE` (points over the linear probe) is rounded from accuracies on five public sets (SST-2, AG News, Banking77, CIFAR-10, NEU surface defects;
five draws each); between those sets it varies by one to two points, and two strategies disagree on one item in seven, hence
`PSEUDO_ITEMS`, the number of items that what is known weighs as much as. It holds for strategies that look at class names only where the
names mean something to the encoder: see `names_hold`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

ALIKE: Mapping[str, float] = {
    "accuracy": 0.005,
    "macro_f1": 0.005,
    "log_loss": 0.01,
}  # half a point, a hundredth of a nat
PSEUDO_ITEMS = 400.0
LABELS = (1, 2, 5, 10, 20, 50, 100)
ADVANTAGE: Mapping[str, tuple[float, ...]] = {
    "zero-shot": (0.05, 0.0, -0.05, -0.08, -0.12, -0.15, -0.2),
    "prototypes": (-0.05, -0.03, -0.01, -0.015, -0.02, -0.02, -0.03),
    "named-prototypes": (0.12, 0.07, 0.025, 0.01, -0.005, -0.01, -0.02),
    "neighbours": (-0.01, -0.02, -0.025, -0.02, -0.02, -0.03, -0.02),
    "linear-probe": (0.0,) * 7,
    "named-linear-probe": (0.11, 0.08, 0.04, 0.03, 0.015, 0.018, 0.005),
    "kernel-probe": (-0.005, 0.0, 0.0, 0.002, 0.006, 0.001, 0.01),
}
# Which share of the best frozen strategy's mistakes a rung that trains is expected to mend at these numbers of labels, rounded. Texts: cut by half
# from what SST-2, AG News and Banking77 (5 to 64 a class) gave on items that were not tested on. Pictures: below the median of Fashion-MNIST,
# MNIST, USPS and Tiny-ImageNet (docs/LOG.md). A share, for where little is wrong little can be mended. For other rungs nothing is expected.
MENDED: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("contrastive", "text"): (0.0, 0.0, 0.05, 0.08, 0.1, 0.1, 0.0),
    ("last-blocks", "image"): (0.0, 0.0, 0.06, 0.08, 0.1, 0.1, 0.1),
}
# The share of mistakes before any item is seen, and its weight in items: of 32 items two wrong say little of what is wrong elsewhere.
WRONG_EXPECTED, WRONG_ITEMS = 0.2, 40.0
HANDFUL = 16  # items; with no more than these a rung that trains is not expected to gain anything
IDLE_NAMES: Mapping[str, float] = {"zero-shot": -0.3, "named-prototypes": -0.03, "named-linear-probe": -0.005}
HELPFUL, HELPFUL_TIMES = 0.15, 3.0  # names are relied on from chance and this share on, or from so many times chance on
NAMES_EXPECTED, NAMES_ITEMS = (
    0.6,
    4.0,
)  # what zero-shot is expected to get right before any item is seen, and its weight in items


def names_hold(hits: float, items: int, n_classes: int) -> bool:
    """Whether the class names mean something to the encoder: `hits` is the share of `items` labelled items that zero-shot gets right.

    Zero-shot learns nothing from the items, so that share is fair at any number of them.
    """
    share = (items * hits + NAMES_ITEMS * NAMES_EXPECTED) / (items + NAMES_ITEMS)
    return share >= min(1 / n_classes + HELPFUL, HELPFUL_TIMES / n_classes)


def advantage(name: str, labels_a_class: float, *, names: bool) -> float:
    """What the strategy is expected to be ahead of the linear probe, in shares of items; 0 for one that is not in the table.

    `names` says whether the class names mean something to the encoder.
    """
    if not names and name in IDLE_NAMES:
        return IDLE_NAMES[name]
    if name not in ADVANTAGE:
        return 0.0
    return float(np.interp(np.log(max(labels_a_class, 1.0)), np.log(LABELS), ADVANTAGE[name]))


def expected_gain(name: str, modality: str, labels_a_class: float, wrong: float) -> float:
    """What a rung that trains is expected to be ahead of the best frozen strategy, which gets the share `wrong` of the items wrong.

    In shares of items; 0 where nothing is known.
    """
    if (name, modality) not in MENDED:
        return 0.0
    return wrong * float(np.interp(np.log(max(labels_a_class, 1.0)), np.log(LABELS), MENDED[name, modality]))


def likely_wrong(wrong: int, items: int) -> float:
    """The share of mistakes to reckon with where `wrong` of so many held-out `items` were answered wrong."""
    return (wrong + WRONG_ITEMS * WRONG_EXPECTED) / (items + WRONG_ITEMS)
