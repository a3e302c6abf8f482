"""Which strategy to take, from what was measured and from what is known beforehand, and the reasons in words.

**Shrunk scores.** With few labels a fold's score says little. Each mean is therefore blended with what is expected of the strategy at
this number of labels a class: shrunk = (n * mean + m * (base + advantage)) / (n + m), where n counts the items measured on, m is
`PSEUDO_ITEMS`, `advantage` is what is known of the strategy (points over the linear probe) and base, the same for all, is the mean over the strategies
measured of mean - advantage. With n much larger than m the measurement alone decides, and a strategy that the best mean beats beyond
doubt (paired interval above zero) is out whatever was expected of it.

What is expected of the strategies stands in `graft.strategies.expected`. Log loss, which is no share of items, is not shrunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graft.metrics.intervals import corrected_resampled_t
from graft.results import Interval
from graft.strategies.expected import ALIKE, PSEUDO_ITEMS, advantage

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Standing:
    """One strategy that was measured: its name, rung and encoder, its score on every fold (larger is better), and whether
    the class names mean something to that encoder.
    """

    name: str
    rung: int
    encoder: str
    scores_F: Floats
    seconds: float
    names: bool = True


@dataclass(frozen=True)
class Choice:
    """Position of the chosen strategy among the standings, of the one with the best shrunk score, and all shrunk scores."""

    chosen: int
    best: int
    shrunk: tuple[float, ...]


def choose(
    standings: Sequence[Standing],
    *,
    items: int,
    labels_a_class: float,
    sizes: tuple[float, float],
    metric: str = "accuracy",
) -> Choice:
    """The best shrunk score of those not beaten beyond doubt, or the cheapest within half a point of it whose paired interval holds zero."""
    weight = 0.0 if metric == "log_loss" else PSEUDO_ITEMS
    means = np.array([s.scores_F.mean() for s in standings])
    expected = np.array([advantage(s.name, labels_a_class, names=s.names) for s in standings])
    shrunk = (items * means + weight * (np.mean(means - expected) + expected)) / (items + weight)
    top = standings[int(means.argmax())]
    beaten = [s is not top and told_apart(top, s, sizes) for s in standings]
    best = int(np.where(beaten, -np.inf, shrunk).argmax())
    order = sorted(range(len(standings)), key=lambda i: (standings[i].rung, -shrunk[i]))
    for i in order[: order.index(best)]:
        if (
            not beaten[i]
            and shrunk[best] - shrunk[i] < ALIKE[metric]
            and not told_apart(standings[best], standings[i], sizes)
        ):
            return Choice(i, best, tuple(map(float, shrunk)))
    return Choice(best, best, tuple(map(float, shrunk)))


def difference(a: Standing, b: Standing, sizes: tuple[float, float]) -> Interval:
    """Mean paired difference a - b over the folds, with its corrected interval."""
    return corrected_resampled_t(a.scores_F - b.scores_F, *sizes)


def told_apart(a: Standing, b: Standing, sizes: tuple[float, float]) -> bool:
    """True when the interval of the paired difference does not hold zero."""
    gap = difference(a, b, sizes)
    return gap.low is not None and gap.high is not None and (gap.low > 0 or gap.high < 0)


def worth_taking(gain: Interval, expected: float, *, items: int, metric: str) -> bool:
    """Whether a rung that trains is to be taken over the best so far though its `gain`, on so many items, proves nothing by itself.

    The gain is blended with what is `expected` of the rung, as the frozen strategies' scores are; one that is disproved, or of which nothing
    is expected, is not taken.
    """
    if metric == "log_loss" or (gain.high is not None and gain.high < 0):
        return False
    blended = (items * gain.value + PSEUDO_ITEMS * expected) / (items + PSEUDO_ITEMS)
    return expected > 0 and blended >= ALIKE[metric]


def choose_unmeasured(runnable: Sequence[tuple[str, str]], names: Mapping[str, bool]) -> tuple[int, str]:
    """Position among `runnable` (strategy, encoder) pairs, and why, where there are no folds. `names` is `names_hold` by encoder."""
    expected = [advantage(name, 1.0, names=names.get(encoder, False)) for name, encoder in runnable]
    place = int(np.argmax(expected))
    name, encoder = runnable[place]
    why = f"{_capital(name)} was taken on experience: with so few labels nothing can be measured on items that were not learned from."
    if names.get(encoder):
        why += (
            " The class names mean something to the encoder (zero-shot gets clearly more of the labelled items right than "
            "chance would), and strategies that start from them are then the best."
        )
    elif encoder in names:
        why += " The class names say too little to the encoder to rely on: zero-shot does not get clearly more of the labelled items right than chance would."
    return place, why


@dataclass(frozen=True)
class Wording:
    """How scores and differences are put for people: the metric, mean sizes of the folds' two parts, and whether encoders compete."""

    metric: str
    sizes: tuple[float, float]
    encoders: bool

    def name(self, s: Standing) -> str:
        """The strategy, with its encoder where there are several."""
        return f"{s.name} on {s.encoder}" if self.encoders else s.name

    def score(self, s: Standing) -> str:
        """A mean over the folds with its interval."""
        found = corrected_resampled_t(s.scores_F, *self.sizes)
        if self.metric == "log_loss":
            return f"log loss {-found.value:.3f}" + _ends(found, -1.0, ".3f")
        low, high = (None if end is None else min(1.0, max(0.0, end)) for end in (found.low, found.high))
        share = f"{100 * found.value:.1f} %" + _ends(replace(found, low=low, high=high), 100.0, ".1f")
        return f"{share} right" if self.metric == "accuracy" else f"macro-F1 {share}"

    def lead(self, a: Standing, b: Standing) -> str:
        """How far `a` is from `b`, with its interval, in words that end in the name of `b`."""
        gap = difference(a, b, self.sizes)
        side = (
            ("above" if gap.value >= 0 else "below")
            if self.metric != "log_loss"
            else ("better" if gap.value >= 0 else "worse")
        )
        sign = 1.0 if gap.value >= 0 else -1.0
        if self.metric == "log_loss":
            return f"{abs(gap.value):.3f} nats{_ends(gap, sign, '.3f')} {side} than {self.name(b)}"
        return f"{abs(100 * gap.value):.1f} points{_ends(gap, 100 * sign, '.1f')} {side} {self.name(b)}"


def _ends(found: Interval, factor: float, form: str) -> str:
    """ " (low to high)", or nothing without an interval."""
    if found.low is None or found.high is None:
        return ""
    low, high = sorted((found.low * factor, found.high * factor))
    return f" ({low:{form}} to {high:{form}})"


def explain(standings: Sequence[Standing], choice: Choice, wording: Wording, stopped: Sequence[str] = ()) -> str:
    """One plain paragraph: what was chosen, by how much over which, what could not be told apart, and what it cost."""
    winner, best = standings[choice.chosen], standings[choice.best]
    others = sorted((s for s in standings if s is not winner), key=lambda s: -float(s.scores_F.mean()))
    text = [f"{_capital(wording.name(winner))} was chosen: {wording.score(winner)} on items it had not learned from."]
    if not others:
        text.append("No other strategy could be measured to set it against.")
    if winner is not best and (gap := difference(winner, best, wording.sizes)).value == 0 == gap.low:
        text.append(f"{_capital(wording.name(best))} scores the same on every fold, so the cheaper was taken.")
    elif winner is not best:
        half = "less than a hundredth of a nat" if wording.metric == "log_loss" else "less than half a point"
        if abs(float(winner.scores_F.mean() - best.scores_F.mean())) >= ALIKE[wording.metric]:
            half += " when set beside what experience expects"
        text.append(
            f"It is {wording.lead(winner, best)}: too little to tell the two apart, and {half}, so the cheaper was taken."
        )
    elif others:
        text.append(f"It is {wording.lead(winner, others[0])}, the best of the others.")
        if others[0].scores_F.mean() >= winner.scores_F.mean():
            text.append(
                "With so few labels that lead may be chance, and experience at this number of labels favours the choice."
            )
    alike = [wording.name(s) for s in others if s is not best and not told_apart(winner, s, wording.sizes)]
    if alike:
        text.append(f"It cannot be told apart from {_listed(alike)}.")
    if stopped:
        text.append(
            f"The time budget ran out before {_listed(stopped)} {'was' if len(stopped) == 1 else 'were'} measured."
        )
    text.append(f"Measuring it took {winner.seconds:.2g} s, all of them {sum(s.seconds for s in standings):.2g} s.")
    return " ".join(text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
