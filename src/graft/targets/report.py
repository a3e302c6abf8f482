"""The report of a target's fit: truth against answer, what is missed, every measure with its interval, and the largest errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from graft.reports.build import html_page
from graft.reports.charts import Axis, linear_axis, time_parts, value_axis
from graft.reports.formats import NONE, brief, cut, figure, known, known_interval, measure_named, percent, plural
from graft.results import Interval
from graft.targets.kinds import KINDS
from graft.targets.reach import ends_of
from graft.targets.result import Seen, TargetResult

ANSWERS = {"number": "numbers", "count": "counts", "ordinal": "ordered levels", "multilabel": "several labels an item"}
HEADLINES = {"number": "r2", "count": "d2", "ordinal": "kappa", "multilabel": "micro_f1"}  # what says most to a reader
MEANINGS = {
    "rmse": "root of the mean squared error, in the unit of the label",
    "mae": "how far an answer is off on average, in the unit of the label",
    "r2": "1 is perfect, 0 what the mean of these items reaches",
    "poisson_deviance": "0 is perfect; a rate half too high costs less where counts are small",
    "d2": "1 is perfect, 0 what the mean rate of these items reaches",
    "rps": "0 is perfect; probability far from the true level costs more than beside it",
    "kappa": "1 is perfect, 0 chance; being two levels off counts four times one",
    "rank_error": "levels between truth and answer on average",
    "accuracy": "share of items whose level is answered exactly",
    "log_loss": "0 is perfect; the mean over labels",
    "micro_f1": "over all labels together",
    "macro_f1": "mean over the labels, rare ones counting as much",
    "hamming": "share of yes and no that are wrong, over all labels",
    "average_precision": "how far up a label's items stand when all are ranked by its probability; mean over labels",
}
MOST_LABELS, MOST_FAULTS, NAME_LETTERS = 200, 50, 60
BAND_POINTS = 25  # at which the ends of intervals are drawn


@dataclass(frozen=True)
class Figure:
    """A measure as it is written."""

    label: str
    value: str
    ends: str
    n: int
    meaning: str


@dataclass(frozen=True)
class Row:
    """One contender as it is written."""

    name: str
    setting: str
    score: str
    ends: str
    gain: str
    gain_ends: str
    seconds: float
    chosen: bool


@dataclass(frozen=True)
class Scatter:
    """Dots (x, y, words) in per cent, and the line that perfect answers lie on: of truth against answer, or of what is missed."""

    x: Axis
    y: Axis
    title: str
    dots: tuple[tuple[float, float, str], ...]
    line: tuple[float, float, float, float]
    ends: tuple[
        tuple[float, float, float, float], ...
    ] = ()  # pieces of the lines between which intervals hold the truth


@dataclass(frozen=True)
class Cell:
    """One cell of the table of levels: a count, and its share of the true level's items."""

    count: int
    share: float


def target_report(result: TargetResult, seen: Seen, scores: Mapping[str, Interval]) -> str:
    """One HTML page below 5 MB, readable offline, on a phone and on paper. `scores` are those of the items in `seen`."""
    headline = _figure(HEADLINES[result.task], scores[HEADLINES[result.task]])
    return html_page(
        "target.html",
        result=result,
        answers=ANSWERS[result.task],
        measure=measure_named(result.metric),
        seen=seen,
        headline=headline,
        figures=[_figure(name, of) for name, of in scores.items()],
        rows=[_row(result, position) for position in range(len(result.strategies))],
        described=_described(result),
        reach=_reach(result),
        scatters=_scatters(seen, result),
        levels=_levels(result),
        labels=result.labels[:MOST_LABELS],
        faults=result.data.faults[:MOST_FAULTS],
        times=time_parts(result.seconds),
    )


def _figure(name: str, of: Interval) -> Figure:
    measure, kept = measure_named(name), known_interval(of)
    if kept is None:
        return Figure(measure.label, NONE, "", of.n, "not defined here: these items are all alike")
    written = percent if measure.share else figure
    ends = "" if kept.low is None or kept.high is None else f"{written(kept.low)} to {written(kept.high)}"
    return Figure(measure.label, written(kept.value), ends, kept.n, MEANINGS.get(name, ""))


def _row(result: TargetResult, position: int) -> Row:
    strategy = result.strategies[position]
    score = known_interval(strategy.metrics[result.metric])
    gain = known_interval(strategy.gain)
    setting = ", ".join(f"{name} {value:.3g}" for name, value in strategy.settings.items())
    return Row(
        name=strategy.name + (f" · {strategy.encoder}" if len(result.encoders) > 1 else ""),
        setting=setting,
        score=NONE if score is None else figure(score.value),
        ends="" if score is None or score.low is None else f"{figure(score.low)} to {figure(score.high)}",
        gain="" if gain is None else figure(gain.value),
        gain_ends=""
        if gain is None
        else ("" if gain.low is None else f"{figure(gain.low)} to {figure(gain.high)} ") + f"over {strategy.gain_over}",
        seconds=known(strategy.seconds) or 0.0,
        chosen=strategy is result.chosen_result,
    )


def _described(result: TargetResult) -> list[tuple[str, str]]:
    """The training items' values in words; of many labels the commonest."""
    if result.data.classes and result.task == "multilabel":
        items = sorted(result.target.items(), key=lambda pair: -pair[1])[:20]
        return [(cut(name, NAME_LETTERS), percent(share)) for name, share in items]
    share = bool(result.data.classes)
    return [
        (cut(name, NAME_LETTERS), percent(value) if share else figure(value)) for name, value in result.target.items()
    ]


def _reach(result: TargetResult) -> str:
    reach = result.reach
    if reach is None:
        return ""
    if reach.value is None:
        return f"No interval is given: {plural(result.data.train, 'item')} cannot promise a coverage of {percent(reach.coverage, 0)}."
    unit = {"number": "", "count": "", "ordinal": " levels"}[result.task]
    where = "the test items" if reach.measured_on == "test" else "the items out of fold, by which it was set"
    covered = known_interval(reach.covered)
    text = f"Every answer comes with an interval meant to hold the truth of {percent(reach.coverage, 0)} of items."
    if covered is not None:
        ends = "" if covered.low is None else f" ({percent(covered.low)} to {percent(covered.high or 0.0)})"
        text += f" It held that of {percent(covered.value)}{ends} of {where}, n = {covered.n:,}; its mean width is {figure(reach.width)}{unit}."
    if reach.spread is not None:
        times = math.exp(abs(reach.spread.slope))
        text += f" They are {times:.1f} times as wide at the {'greatest' if reach.spread.slope > 0 else 'least'} answers as at the other end."
    return text


def _scatters(seen: Seen, result: TargetResult) -> tuple[Scatter, ...]:
    """Truth against answer, and what is missed against the answer; none without points, or where every answer is the same."""
    points = [(t, a, item) for t, a, item in seen.points if known(t) is not None and known(a) is not None]
    if len({a for _, a, _ in points}) < 2:
        return ()
    truths, answers, missed = [t for t, _, _ in points], [a for _, a, _ in points], [t - a for t, a, _ in points]
    words = [f"{cut(item, 60)}: {figure(t)}, answered {figure(a)}" for t, a, item in points]
    x, upward = _padded(answers), linear_axis(truths, brief, lowest=-math.inf, highest=math.inf)
    low, high = max(x.low, upward.low), min(x.high, upward.high)  # where the line of perfect answers is to be seen
    band = _band(result, min(answers), max(answers))
    bound = max(abs(end) for end in (*missed, *(end for _, *ends in band for end in ends))) or 1.0
    off = linear_axis([-bound, bound], brief, lowest=-math.inf, highest=math.inf)
    return (
        Scatter(
            x,
            upward,
            "Truth",
            tuple((x.at(a), upward.at(t), w) for t, a, w in zip(truths, answers, words, strict=True)),
            (x.at(low), upward.at(low), x.at(high), upward.at(high)),
        ),
        Scatter(
            x,
            off,
            "Truth less answer",
            tuple((x.at(a), off.at(m), w) for a, m, w in zip(answers, missed, words, strict=True)),
            (0, off.at(0), 100, off.at(0)),
            tuple(
                (x.at(left[0]), off.at(left[side]), x.at(right[0]), off.at(right[side]))
                for left, right in pairwise(band)
                for side in (1, 2)
            ),
        ),
    )


def _band(result: TargetResult, least: float, most: float) -> list[tuple[float, float, float]]:
    """(answer, low end less it, high end less it) of intervals over the answers there are; none without intervals."""
    answers_NK = np.linspace(least, most, BAND_POINTS)[:, None]
    ends = None if result.reach is None else ends_of(KINDS[result.task], answers_NK, result.reach)
    if ends is None:
        return []
    return [(float(a), float(low - a), float(high - a)) for a, low, high in zip(answers_NK[:, 0], *ends, strict=True)]


def _padded(values: list[float]) -> Axis:
    """A horizontal axis with some room beyond the outermost values."""
    room = 0.04 * (max(values) - min(values))
    return value_axis([min(values) - room, max(values) + room])


def _levels(result: TargetResult) -> list[tuple[str, list[Cell]]]:
    """The rows of the table of levels: each true level with its counts by answer."""
    return [
        (cut(name, NAME_LETTERS), [Cell(n, n / max(1, sum(row))) for n in row])
        for name, row in zip(result.data.classes, result.confusion, strict=False)
    ]
