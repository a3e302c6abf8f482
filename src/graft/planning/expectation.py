"""How right each strategy is expected to be, with an honest range, from counts alone or with a probe of the vectors.

**Base.** What a linear probe gets right: the score of the probe's `BASIS` as so many items, beside what public sets gave at this number of labels as
`PRIOR_ITEMS` more; without a probe the latter alone. Its mistakes are carried to the full number of labels along `CURVE`. **Strategies** are
the base and what is known of each (`graft.strategies.expected`); those that were probed are blended with their own score, as `fit` does. Where
class names mean something to the encoder, heads that start from them are expected to be better than the names alone.
**Range.** Nine in ten times the accuracy on new items should lie inside; its parts are the chance in the items looked at, the draw of the labels,
and what differs between data sets. They add up on the log-odds of being right, where a range ends before all and before nothing. Spreads, and what is
looked at, were set on NEU, SST-2, AG News, Banking77, CIFAR-10 and 20 classes of Tiny-ImageNet, each left out in turn (docs/LOG.md).
Legend: K labels a class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from graft.planning.probe import NAMES, Probe
from graft.strategies.expected import (
    HANDFUL,
    NAMES_EXPECTED,
    NAMES_ITEMS,
    PSEUDO_ITEMS,
    advantage,
    expected_gain,
    names_hold,
)
from graft.strategies.frozen import STRATEGIES
from graft.strategies.trained import TRAINED

LEVEL = 0.9
WIDE = 1.645  # standard deviations on either side that hold nine in ten
# Share right of the linear probe above chance (0 is chance, 1 all right) on SST-2, AG News, Banking77, CIFAR-10 and NEU at K labels a class
# (bench/results/accuracy.json), and how much it differs between sets.
KS = (1, 5, 10, 20, 50, 100, 1000)
SKILL = (0.45, 0.65, 0.70, 0.75, 0.77, 0.80, 0.85)
SKILL_SPREAD = 1.2
PRIOR_ITEMS = 8.0
BASIS = "kernel-probe"  # nearest to the linear probe; with prototypes beside it the base was up to 10 points too low on digits
CURVE = 0.35  # mistakes fall with K to this power: .25 to .7 between 5 and 20 labels a class on those sets
# Standard deviations of log-odds. Of the draw of the labels, at one a class: it falls with the root of K. Of what sets have of their own,
# such as a test part harder than the training part: .15 held 94 % on the sets it was chosen on; a third more, for they are only six.
DRAW = 0.3
RULE = 0.2
FURTHER = 0.2  # for each factor e of labels that the probe is carried
TRAINED_SPREAD = 0.15  # what a rung that trains gains or loses beyond what is expected
UNKNOWN_SPREAD = 0.25  # the same of a rung of which nothing is expected
IDLE_SPREAD = 1.0  # of names alone that mean nothing: 7 % of six classes of NEU
HITS_EXPECTED, HITS_ITEMS = 0.4, 2.0  # of names alone before any item is seen, and its weight in items
SURE = 0.01  # a range that comes so near to all or nothing ends there
NAMED_LEAD = 0.01  # a head that starts from names was that and more ahead of the names alone
LUCK = 0.05  # the chance of as many hits by luck from which on the probe has shown nothing
UNPROVEN = -0.005  # such a rung is put below the best frozen strategy, which costs less


@dataclass(frozen=True)
class Expected:
    """Share of new items expected right, and the ends between which it should lie nine in ten times."""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, value: float, spread: float) -> Expected:
        """A share and the ends of its range; `spread` is the standard deviation of its log-odds."""
        value = min(1.0, max(0.0, value))
        inner = min(1 - SURE / 2, max(SURE / 2, value))
        low, high = (1 / (1 + (1 / inner - 1) * math.exp(sign * WIDE * spread)) for sign in (1, -1))
        return cls(value, min(value, low if low > SURE else 0.0), max(value, high if high < 1 - SURE else 1.0))


@dataclass(frozen=True, eq=False)
class Ground:
    """What an expectation rests on: the median `labels` a class, the `classes`, the items' `modality`, the probe where there is one.

    `names` says whether class names are known to mean something to the encoder, None where a probe has to tell; an encoder that knows
    nothing of words has `worded` False.
    """

    modality: str
    classes: int
    labels: float
    probe: Probe | None = None
    names: bool | None = None
    worded: bool = True

    @property
    def names_help(self) -> bool:
        """Whether class names mean something to the encoder, as far as can be told."""
        if not self.worded:
            return False
        if self.probe is not None and self.probe.hits is not None:
            return names_hold(self.probe.hits, self.probe.items, self.classes)
        return names_hold(0.0, 0, self.classes) if self.names is None else self.names

    @property
    def unrelated(self) -> bool:
        """Whether neither the probe nor the class names were right more often than luck has it."""
        probe = self.probe
        if probe is None or not probe.scores or probe.p <= LUCK:
            return False
        return probe.hits is None or not self.names_help


def expectations(ground: Ground) -> dict[str, Expected]:
    """What is expected of every frozen strategy that can run, and of the rungs that `fit` trains unasked on these items."""
    if ground.classes < 2:
        return {}
    base, spread = base_of(ground)
    frozen = {name: _frozen(name, ground, base, spread) for name in STRATEGIES if ground.worded or "named" not in name}
    if not ground.worded:
        frozen.pop(NAMES)
    if ground.labels < 1:
        return {name: frozen[name] for name in frozen if name == NAMES}
    best = max(frozen.values(), key=lambda found: found.value)
    trained = {}
    for name, rung in TRAINED.items():
        if ground.modality not in rung.climbed:
            continue
        gain = (1 - best.value) * mended(name, ground)
        moves = TRAINED_SPREAD if gain > 0 else UNKNOWN_SPREAD
        trained[name] = Expected.around(best.value + (gain or UNPROVEN), math.hypot(spread, moves))
    return {**frozen, **trained}


def mended(name: str, ground: Ground) -> float:
    """The share of the best frozen strategy's mistakes that a rung that trains is expected to mend; 0 where nothing is expected."""
    if ground.labels * ground.classes <= HANDFUL or ground.unrelated:
        return 0.0
    return expected_gain(name, ground.modality, ground.labels, 1.0)


def base_of(ground: Ground) -> tuple[float, float]:
    """What the linear probe is expected to get right with all the labels, and the standard deviation of the log-odds of that."""
    chance = 1 / ground.classes
    skill = float(np.interp(math.log(max(1.0, ground.labels)), np.log(KS), SKILL))
    prior = chance + (1 - chance) * skill
    probe = ground.probe
    if probe is None or not probe.scores:
        return prior, SKILL_SPREAD
    measured = full(probe, BASIS, ground) - _ahead(BASIS, ground)
    value = (probe.items * measured + PRIOR_ITEMS * prior) / (probe.items + PRIOR_ITEMS)
    drawn = DRAW / math.sqrt(max(1.0, ground.labels))
    further = FURTHER * math.log(max(1.0, ground.labels / probe.labels_a_class))
    return value, math.hypot(_counted(value, probe.items + PRIOR_ITEMS), drawn, further, RULE)


def _counted(share: float, items: float) -> float:
    """The standard deviation of the log-odds of a share of so many items."""
    share = min(1 - 0.5 / (items + 1), max(0.5 / (items + 1), share))
    return 1 / math.sqrt(items * share * (1 - share))


def full(probe: Probe, name: str, ground: Ground) -> float:
    """A probed score carried from the labels a fold learned from to all of them."""
    fewer = 1.0 if ground.unrelated else min(1.0, probe.labels_a_class / max(1.0, ground.labels))
    return float(1 - (1 - probe.mean(name)) * fewer**CURVE)


def _ahead(name: str, ground: Ground) -> float:
    return advantage(name, ground.labels, names=ground.names_help)


def _frozen(name: str, ground: Ground, base: float, spread: float) -> Expected:
    """One frozen strategy."""
    probe = ground.probe
    if name == NAMES:
        return _names_alone(ground, base, spread)
    value = base + _ahead(name, ground)
    if probe is not None and name in probe.scores:
        value = (probe.items * full(probe, name, ground) + PSEUDO_ITEMS * value) / (probe.items + PSEUDO_ITEMS)
    if ground.names_help and "named" in name and probe is not None and probe.hits is not None:
        value = max(value, _shrunk_hits(probe) + NAMED_LEAD)
    return Expected.around(value, spread)


def _shrunk_hits(probe: Probe) -> float:
    assert probe.hits is not None
    return float((probe.items * probe.hits + NAMES_ITEMS * NAMES_EXPECTED) / (probe.items + NAMES_ITEMS))


def _names_alone(ground: Ground, base: float, spread: float) -> Expected:
    """Zero-shot learns nothing from the items, so its hits on them are fair, and nothing but chance moves them."""
    probe = ground.probe
    if probe is None or probe.hits is None:
        chance = 1 / ground.classes
        if not ground.names_help:
            return Expected.around(chance, IDLE_SPREAD)
        return Expected.around(max(chance, base + _ahead(NAMES, ground)), max(spread, SKILL_SPREAD))
    items = probe.items + HITS_ITEMS
    value = (probe.items * probe.hits + HITS_ITEMS * HITS_EXPECTED) / items
    return Expected.around(value, math.hypot(_counted(value, items), RULE))
