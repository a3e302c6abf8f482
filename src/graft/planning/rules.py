"""The one set of rules behind every advice: strategies in order, the reason for each, and what would change the order.

A situation is what is known: from data that were looked at, or from words alone. What would change the advice is found by asking the same rules
about another situation: more labels, more time, names that mean something.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graft.planning.advice import Advised
from graft.planning.costs import UNASKED, Cost, Load, Machine, cost, larger
from graft.planning.domain import Distance
from graft.planning.expectation import Expected, Ground, expectations, full, mended
from graft.planning.probe import NAMES, Probe
from graft.reports.formats import about, percent, plural
from graft.results import Interval
from graft.strategies.expected import ALIKE, advantage, expected_gain
from graft.strategies.frozen import STRATEGIES
from graft.strategies.trained import KINDS, TRAINED

MORE_LABELS = (2, 5, 10)
NOTICED = 0.02  # a rise in what is expected right that is worth telling
UNEVEN = 5.0  # the largest class over the smallest
MANY_COPIES = 0.05
MEASURABLE = "A second label of every class, of items that are no copies of each other"
TELLING = 50  # items from which a probe that is right by luck alone says something of the labels
NAMED_APART = 20  # classes from which labels may be ids
MEMORY = 0.8  # of what is free


@dataclass(frozen=True, eq=False)
class Situation:
    """Everything the rules look at. `least` and `most` are the labels of the smallest and the largest class, `copies` the share of duplicates,
    `unfit` says why the encoder cannot be trained ("" where it can), `budget` is in seconds, None for what `fit` takes unasked.
    """

    ground: Ground
    load: Load
    machine: Machine
    distance: Distance
    least: int = 0
    most: int = 0
    copies: float = 0.0
    unlabelled: int = 0
    unfit: str = ""
    budget: float | None = None

    @property
    def time(self) -> float:
        """Seconds that a rung may take."""
        return UNASKED if self.budget is None else self.budget


def advise(situation: Situation) -> tuple[Advised, ...]:
    """Every frozen strategy and every rung that `fit` would train unasked: those that can run and fit best first, then the costly, then the others.

    By what is expected right; where the best are within half a point of each other the cheapest of them comes first, as `fit` chooses.
    """
    found = expectations(situation.ground)
    rows = [_row(name, found.get(name), situation) for name in _names(situation)]
    ranks = {"advised": 0, "costly": 1, "impossible": 2}
    rows.sort(key=lambda row: (ranks[row.status], -(row.accuracy.value if row.accuracy else 0.0), row.rung))
    able = [row for row in rows if row.status == "advised" and row.accuracy]
    if able:
        assert able[0].accuracy is not None
        bar = able[0].accuracy.value - ALIKE["accuracy"]
        first = min((row for row in able if row.accuracy and row.accuracy.value > bar), key=lambda row: row.rung)
        rows = [first, *(row for row in rows if row is not first)]
    return tuple(rows)


def _names(situation: Situation) -> list[str]:
    climbed = [name for name, rung in TRAINED.items() if situation.ground.modality in rung.climbed]
    return [*STRATEGIES, *climbed]


def _row(name: str, expected: Expected | None, situation: Situation) -> Advised:
    trains = name in TRAINED
    rung = TRAINED[name].rung if trains else STRATEGIES[name].rung
    refusal = _refusal(name, situation)
    if refusal or expected is None:
        return Advised(name, rung, trains, "impossible", _capital(refusal or "nothing is known of it"))
    price = cost(name, situation.load)
    dear = _too_dear(price, situation) if trains else ""
    probe = situation.ground.probe
    looked = probe.items if probe is not None and (probe.scores or (name == NAMES and probe.hits is not None)) else 0
    return Advised(
        name,
        rung,
        trains,
        "costly" if dear else "advised",
        dear or _reason(name, situation),
        Interval(expected.value, expected.low, expected.high, looked),
        price.seconds,
        price.memory_mb,
    )


def _refusal(name: str, situation: Situation) -> str:
    """Why it cannot run, or nothing."""
    ground = situation.ground
    if (name == NAMES or "named" in name) and not ground.worded:
        return "it starts from class names, and this encoder knows nothing of words"
    if ground.classes < 2:
        return "there are no two classes yet that could be told apart"
    if name in TRAINED and situation.unfit:
        return situation.unfit
    if name != NAMES and ground.labels < 1:
        return "it learns from labelled items of at least two classes"
    return ""


def _too_dear(price: Cost, situation: Situation) -> str:
    """Why time or memory does not allow it, or nothing."""
    free = situation.machine.memory_mb
    if price.seconds > situation.time:
        limit = "the budget" if situation.budget is not None else "the time that fit gives unasked"
        return f"It would take about {about(price.seconds)}, more than {limit}, {about(situation.time)}."
    if free is not None and price.memory_mb > MEMORY * free:
        return f"It would take about {price.memory_mb:,.0f} MB of memory, and {free:,.0f} MB are free."
    return ""


def _reason(name: str, situation: Situation) -> str:
    """Why it stands where it stands, in a sentence."""
    ground = situation.ground
    if name in TRAINED:
        return _trained_reason(name, ground)
    if name == NAMES:
        return _names_reason(ground)
    ahead = advantage(name, ground.labels, names=ground.names_help)
    at = f"at about {_labels(ground.labels)}"
    beside = (
        "level with the linear probe"
        if abs(ahead) < 0.003
        else f"{abs(100 * ahead):.1f} points {'above' if ahead > 0 else 'below'} the linear probe"
    )
    if ground.probe is not None and name in ground.probe.scores:
        own, carried = (percent(share, 0) for share in (ground.probe.mean(name), full(ground.probe, name, ground)))
        whole = "" if own == carried else f", which is {carried} carried to all labels"
        return f"The probe got {own} right with {_labels(ground.probe.labels_a_class)}{whole}."
    if "named" in name:
        why = (
            "It starts from the class names, which mean something here"
            if ground.names_help
            else "It starts from the class names, which mean little here"
        )
        return f"{why}; {beside} {at} on public sets."
    if name == "linear-probe":
        return (
            "The safe measure of the vectors; what is expected of it follows from the probe."
            if _probed(ground)
            else f"What public sets gave {at}."
        )
    return f"On public sets {beside} {at}."


def _probed(ground: Ground) -> bool:
    return ground.probe is not None and bool(ground.probe.scores)


def _names_reason(ground: Ground) -> str:
    probe = ground.probe
    if probe is None or probe.hits is None:
        return "Needs no labels; whether the names mean anything to the encoder can be told only on labelled items."
    held = "" if ground.names_help else f", no better than chance ({percent(1 / ground.classes, 0)}) to rely on"
    return f"The class names alone get {percent(probe.hits, 0)} of {plural(probe.items, 'labelled item')} right{held}; more labels do not help it."


def _trained_reason(name: str, ground: Ground) -> str:
    share_mended = mended(name, ground)
    if share_mended > 0:
        share = f"Expected to mend {percent(share_mended, 0)} of the best frozen strategy's mistakes"
        return f"{share} at about {_labels(ground.labels)} ({KINDS[ground.modality]} of public sets)."
    if ground.unrelated:
        return "What the labels have to do with the items it could not learn either, as far as the probe can tell."
    known = any(expected_gain(name, ground.modality, k, 1.0) > 0 for k in (5, 20, 50))
    why = (
        "With so few or so many labels no gain is expected of it"
        if known
        else "No gain can be expected of it beforehand"
    )
    return f"{why}: fit has to prove one on the folds."


def changes(situation: Situation, rows: Sequence[Advised]) -> tuple[str, ...]:
    """What would change the advice, the likeliest first."""
    return tuple(dict.fromkeys(_changes(situation, rows)))


def _changes(situation: Situation, rows: Sequence[Advised]) -> Iterator[str]:
    ground, top = situation.ground, _top(rows)
    if ground.classes < 2:
        more = " The items without a label are there to be labelled." if situation.unlabelled else ""
        yield f"Labels of at least two classes: ten of each are enough to begin with, and then ask again.{more}"
        return
    if ground.labels < 1:
        yield "Labels: five of each class are enough to measure what is only guessed here."
        return
    if ground.unrelated:
        yield "A look at a dozen labelled items: if their labels are right, this encoder does not see what tells them apart; rank others with --encoders."
    if situation.load.classes >= NAMED_APART and 2 * situation.load.classes > situation.load.items:
        yield (
            f"Another column: {situation.load.classes:,} classes for {situation.load.items:,} labelled items look like ids or free text; "
            "--label names the one that says what to tell apart."
        )
    yield from _more_labels(situation, top)
    yield from _more_time(situation, rows, top)
    if ground.worded and not ground.names_help and ground.labels < 50:
        yield "Class names in words: with --names FILE, a sentence for each class, heads that start from names may come first where labels are few."
    if not _probed(ground) and ground.probe is not None:
        yield f"{MEASURABLE}: then strategies can be measured on folds, and the ranges here shrink by half."
    if situation.least and situation.most >= UNEVEN * situation.least:
        yield f"Labels of the rare classes: the smallest has {situation.least}, the largest {situation.most:,}; with --metric macro_f1 they count alike."
    if situation.copies >= MANY_COPIES:
        share = percent(situation.copies, 0)
        yield f"{share} of the items looked at are copies of others: they teach nothing new, so there are fewer labels than it seems."
    if situation.unlabelled > 5 * max(1, situation.load.items):
        yield f"{situation.unlabelled:,} items have no label: labelling some of them is what helps most."
    if situation.machine.device == "cpu" and any(row.status == "costly" and row.trains for row in rows):
        yield "A GPU: rungs that train are then ten times as fast and more, and the time is no reason against them."


def _more_labels(situation: Situation, top: Advised | None) -> Iterator[str]:
    """The first multiple of the labels at which another strategy leads, or clearly more is expected right."""
    if top is None or top.accuracy is None:
        return
    for times in MORE_LABELS:
        more = replace(
            situation,
            ground=replace(situation.ground, labels=situation.ground.labels * times),
            load=larger(situation.load, times),
        )
        other = _top(advise(replace(more, budget=max(situation.time, times * situation.time))))
        if other is None or other.accuracy is None:
            return
        rise = other.accuracy.value - top.accuracy.value
        if other.name != top.name or rise >= NOTICED:
            leads = f"{other.name} leads" if other.name != top.name else f"{top.name} still leads"
            yield f"{times} times the labels ({_labels(situation.ground.labels * times)}): {leads}, with about {percent(other.accuracy.value, 0)} right."
            return


def _more_time(situation: Situation, rows: Sequence[Advised], top: Advised | None) -> Iterator[str]:
    """What a budget without end would put first."""
    late = [row for row in rows if row.status == "costly" and row.seconds is not None and row.seconds > situation.time]
    if not late:
        return
    longest = max(row.seconds or 0.0 for row in late)
    other = _top(advise(replace(situation, budget=longest + 1)))
    if other is not None and top is not None and other.name != top.name and other.seconds is not None:
        yield f"More time: with --budget {max(1, round(1.5 * other.seconds / 60))}m {other.name} can be trained, and leads."


def _top(rows: Sequence[Advised]) -> Advised | None:
    return next((row for row in rows if row.status == "advised"), None)


def verdict(situation: Situation, rows: Sequence[Advised]) -> str:
    """The advice in a sentence or two."""
    top, ground = _top(rows), situation.ground
    if top is None or top.accuracy is None:
        return "Nothing can be learned yet: no strategy can run on what is there."
    low, high = top.accuracy.low or 0.0, top.accuracy.high or 0.0
    share = percent(top.accuracy.value, 0)
    right = f"expected to get {'' if share[0] in '<>' else 'about '}{share} of new items right ({percent(low, 0)} to {percent(high, 0)} in nine cases of ten)"
    if ground.labels < 1:
        return f"Only {top.name} can run without labels: {right}, a guess until some items are labelled."
    if ground.unrelated and ground.probe is not None:
        return _by_luck(ground.probe, f"{top.name}, the first below, is {right}.")
    bar = top.accuracy.value - 2 * ALIKE["accuracy"]
    hopes = [row for row in rows[1:] if row.status == "advised" and (not row.trains or mended(row.name, ground) > 0)]
    near = [row.name for row in hopes if row.accuracy and row.accuracy.value > bar]
    beside = f" Within a point of it: {', '.join(near)}; fit will tell." if near else ""
    basis = (
        ""
        if _probed(ground)
        else " This rests on counts and on public sets, not on a measurement of these items, so the range is wide."
    )
    return f"Take {top.name}: {right}.{beside}{basis}"


def _by_luck(probe: Probe, first: str) -> str:
    """What is said where the probe was right no more often than luck has it."""
    looked = plural(probe.items, "item")
    if probe.items < TELLING:
        return f"Too few labels to tell whether they have anything to do with the items: of {looked} the probe got no more right than luck would. {first}"
    return (
        f"The labels look unrelated to the items: of {looked} the probe got no more right than with labels shuffled. "
        f"Look into that before training anything; {first}"
    )


def _labels(labels: float) -> str:
    return f"{plural(max(1, round(labels)), 'label')} a class"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
