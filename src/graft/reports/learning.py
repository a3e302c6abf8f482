"""Pictures of one training: losses and scores by epoch, the way between old weights and new, and the weights by depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from graft.reports.charts import Axis, Curve, Plot, count_axis, curve, linear_axis, power_axis, share_axis
from graft.reports.formats import NONE, brief, cut, decimal, known, percent, seconds
from graft.results import EpochRecord, RangeTest, TrainingRecord

MOST_POINTS, MOST_EPOCHS, MOST_COLUMNS, MOST_GROUPS, MOST_RANGE_POINTS = 120, 40, 24, 32, 40
NAME_LETTERS = 40
FEW_RATES = 2
TALLEST = 4.0  # a loss above so many times the first leaves the picture

T = TypeVar("T")
Words = Callable[[float], str]


@dataclass(frozen=True)
class EpochRow:
    """One epoch as it is written in the table."""

    epoch: int
    loss: str
    validation: str
    score: str
    rate: str
    seconds: str


@dataclass(frozen=True)
class GroupRow:
    """One group of weights, input first: its rate, the rate its range test suggests, how far it drifted by epoch (shades 0..1), and in the end."""

    name: str
    rate: str
    suggestion: str
    shades: tuple[float, ...]
    drift: str


@dataclass(frozen=True)
class RangeView:
    """The range test of one group: its loss by rate, the suggestion as a place on the line, and in words."""

    group: str
    x: Axis
    line: Curve
    mark: tuple[float, float] | None
    suggestion: str
    hint: str


def pictures(training: TrainingRecord) -> tuple[Plot, ...]:
    """The plots there is something to draw in: losses, scores, and the way from the old weights to the new."""
    found = (_losses(training), _scores(training), _sweep(training))
    return tuple(plot for plot in found if plot)


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _losses(training: TrainingRecord) -> Plot | None:
    """Training and validation loss by epoch. A loss far above the first ones would flatten all others: it leaves the picture at the top."""
    epochs = thinned(training.epochs, MOST_POINTS)
    finite = [v for e in epochs for v in (known(e.loss), known(e.validation_loss)) if v is not None]
    if len(epochs) < 2 or not finite:
        return None
    top = TALLEST * max(finite[0], min(finite)) if min(finite) > 0 else math.inf
    x = count_axis([e.epoch + 1 for e in epochs])
    room = [2 * finite[0]] if max(finite) > top else []  # so that what leaves the picture is seen to rise
    y = linear_axis(
        [*(v for v in finite if v <= top), *room], lambda v: f"{v:.3g}", lowest=min(0.0, *finite), highest=float("inf")
    )
    lines = (
        curve([(e.epoch + 1, e.loss) for e in epochs], x, y, decimal, name="training", kind="training"),
        curve([(e.epoch + 1, e.validation_loss) for e in epochs], x, y, decimal, name="validation", kind="validation"),
    )
    beyond = "Losses beyond the top are not drawn to scale." if max(finite) > top else ""
    held = [(v, e.epoch + 1) for e in training.epochs if (v := known(e.validation_loss)) is not None]
    least = f"Lowest validation loss: {decimal(min(held)[0])}, epoch {min(held)[1]}." if held else ""
    first, last = known(training.epochs[0].loss), known(training.epochs[-1].loss)
    said = f"from {decimal(first) if first is not None else 'no number'} to {decimal(last) if last is not None else 'no number'}"
    return Plot(
        "Loss",
        "Epoch",
        x,
        y,
        tuple(line for line in lines if line.points),
        f"Training loss by epoch, {said}. {least}",
        lost=tuple(x.at(e.epoch + 1) for e in epochs if known(e.loss) is None),
        note=" ".join(filter(None, [least, beyond])),
    )


def _scores(training: TrainingRecord) -> Plot | None:
    epochs = thinned(training.epochs, MOST_POINTS)
    scored = [(e.epoch + 1, v) for e in epochs if (v := known(e.score)) is not None]
    if len(scored) < 2:
        return None
    words, tick, highest = _score_words([v for _, v in scored])
    x = count_axis([e.epoch + 1 for e in epochs])
    y = linear_axis([v for _, v in scored], tick, lowest=float("-inf"), highest=highest)
    line = curve([(e.epoch + 1, e.score) for e in epochs], x, y, words, name="score", kind="validation")
    best = max(scored, key=lambda pair: pair[1])
    said = f"Best: {words(best[1])}, epoch {best[0]}."
    return Plot(
        "Share right on held-out items" if highest == 1.0 else "Score on held-out items",
        "Epoch",
        x,
        y,
        (line,),
        f"Score by epoch. {said}",
        note=said,
    )


def _sweep(training: TrainingRecord) -> Plot | None:
    """Scores on the way from the old weights to the new (WiSE-FT)."""
    swept = sorted((s, v) for s, v in training.interpolation if known(s) is not None and known(v) is not None)
    swept = thinned(swept, MOST_POINTS)
    if len(swept) < 2:
        return None
    words, tick, highest = _score_words([v for _, v in swept])
    x, y = share_axis(), linear_axis([v for _, v in swept], tick, lowest=float("-inf"), highest=highest)
    best = max(swept, key=lambda pair: pair[1])
    said = f"Best: {words(best[1])} at {percent(best[0], 0)} of the way."
    return Plot(
        "Between the old weights and the new",
        "Share of the way",
        x,
        y,
        (curve(swept, x, y, words, kind="validation"),),
        f"Score by share of the way from the old weights to the new. {said}",
        best=(x.at(best[0]), y.at(best[1]), ""),
        note=said,
    )


def _score_words(values: Sequence[float]) -> tuple[Words, Words, float]:
    """How scores are written beside a point and on an axis, and the highest there can be. Scores grow as things get better, so that
    those of a measure whose least is best are negative.
    """
    if all(0 <= v <= 1 for v in values):
        return percent, lambda v: f"{100 * v:.4g}\u202f%", 1.0
    return decimal, lambda v: f"{v:.3g}".replace("-", "\u2212"), float("inf")


def epoch_rows(epochs: Sequence[EpochRecord]) -> tuple[EpochRow, ...]:
    """The table of epochs, thinned where there are many."""
    words = _score_words([v for e in epochs if (v := known(e.score)) is not None])[0]

    def written(value: float | None, how: Words) -> str:
        return NONE if (number := known(value)) is None else how(number)

    return tuple(
        EpochRow(
            e.epoch + 1,
            written(e.loss, _loss),
            written(e.validation_loss, _loss),
            written(e.score, words),
            brief(e.rate),
            seconds(known(e.seconds) or 0.0),
        )
        for e in thinned(epochs, MOST_EPOCHS)
    )


def _loss(value: float) -> str:
    return decimal(value) if abs(value) < 1e4 else f"{value:.2g}"


# ---- Weights by depth ----


def group_rows(training: TrainingRecord) -> tuple[GroupRow, ...]:
    """Every group that has drifted or has a rate of its own, in the order of their depth where it is known."""
    epochs = thinned([e for e in training.epochs if e.drift], MOST_COLUMNS)
    own = {} if few_rates(training) else training.rates
    names = dict.fromkeys([*(name for e in epochs for name in e.drift), *own])
    suggested = {test.group: known(test.suggestion) for test in training.range_tests}
    drifts = {name: [known(e.drift.get(name)) for e in epochs] for name in names}
    most = max((d for values in drifts.values() for d in values if d is not None), default=0.0) or 1.0
    rows = []
    for name in thinned(list(names), MOST_GROUPS):
        values = drifts[name]
        last = next((d for d in reversed(values) if d is not None), None)
        rows.append(
            GroupRow(
                cut(name, NAME_LETTERS),
                brief(own.get(name)),
                brief(suggested.get(name)),
                tuple(round(max(d or 0.0, 0.0) / most, 2) for d in values) if last is not None else (),
                NONE if last is None else percent(last, 2 if last < 0.1 else 0),
            )
        )
    return tuple(rows)


def few_rates(training: TrainingRecord) -> bool:
    """Whether the rates are so few that a line says them."""
    return len(training.rates) <= FEW_RATES


def range_views(tests: Sequence[RangeTest]) -> tuple[RangeView, ...]:
    """The range tests on one axis of rates, so that groups can be compared; each has its own scale of losses."""
    drawn = [(test, points) for test in thinned(tests, MOST_GROUPS) if len(points := _tested(test)) > 1]
    if not drawn:
        return ()
    x = power_axis([rate for _, points in drawn for rate, _ in points], most=4)
    return tuple(_range_view(test, points, x) for test, points in drawn)


def _tested(test: RangeTest) -> list[tuple[float, float]]:
    """(rate, loss) pairs that can be drawn, up to where the loss has left the picture for good."""
    pairs = [
        (rate, loss)
        for rate, loss in zip(test.rates, test.losses, strict=False)
        if known(rate) is not None and rate > 1e-100 and known(loss) is not None
    ]
    if not pairs:
        return []
    top = _top(pairs)
    least = min(range(len(pairs)), key=lambda i: pairs[i][1])
    left = next((i + 1 for i in range(least, len(pairs)) if pairs[i][1] > top), len(pairs))
    return thinned(pairs[:left], MOST_RANGE_POINTS)


def _top(pairs: Sequence[tuple[float, float]]) -> float:
    """The highest loss that is drawn: half as much above the first as that lies above the least."""
    first, least = pairs[0][1], min(loss for _, loss in pairs)
    return first + 0.5 * (first - least) if first > least else max(1.5 * first, first + 0.1)


def _range_view(test: RangeTest, points: Sequence[tuple[float, float]], x: Axis) -> RangeView:
    top = _top(points)
    losses = [min(loss, top) for _, loss in points]
    y = linear_axis(losses, decimal, lowest=-math.inf, highest=math.inf)
    suggestion = known(test.suggestion)
    mark = None
    if suggestion is not None and suggestion > 0:
        near = min(points, key=lambda pair: abs(math.log(pair[0] / suggestion)))
        mark = (x.at(suggestion), y.at(min(near[1], top)))
    either = (("steepest at", known(test.steepest)), ("a tenth of the least", known(test.tenth)))
    return RangeView(
        cut(test.group, NAME_LETTERS),
        x,
        curve([(rate, min(loss, top)) for rate, loss in points], x, y, decimal),
        mark,
        brief(suggestion) if suggestion is not None else "",
        ", ".join(f"{word} {brief(value)}" for word, value in either if value is not None),
    )
