"""The report of a search over settings: how the best so far grew, what each setting does, and every try."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graft.reports.build import html_page
from graft.reports.charts import Axis, choice_axis, count_axis, linear_axis, power_axis, value_axis
from graft.reports.formats import NONE, Measure, cut, known, known_interval, measure_named, plural, setting
from graft.reports.learning import thinned
from graft.results import Interval, TuneResult, TuneTrial

MOST_DOTS, MOST_ROWS, MOST_PARAMETERS, MOST_CHOICES = 1000, 1000, 18, 12
NAME_LETTERS, VALUE_LETTERS = 40, 24
WIDE = 20.0  # a setting whose greatest value is so many times its least is drawn on a logarithmic axis

Line = tuple[float, float, float, float]


@dataclass(frozen=True)
class Dot:
    """One try in a picture, in per cent, with what is said of it; `low` and `high` are the ends of its interval, at `y` without one."""

    x: float
    y: float
    low: float
    high: float
    words: str
    best: bool


@dataclass(frozen=True)
class BestSoFar:
    """The picture of the search: measured tries, the staircase of the best so far, tries without a score (x, words), the
    height of the defaults' score; `beyond` when poor tries are drawn at the edge."""

    x: Axis
    y: Axis
    dots: tuple[Dot, ...]
    steps: tuple[Line, ...]
    lost: tuple[tuple[float, str], ...]
    baseline: float | None
    beyond: bool


@dataclass(frozen=True)
class Slice:
    """One setting against the score, over all tries; the other settings differ from dot to dot."""

    name: str
    range: str
    best: str
    x: Axis
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class TrialRow:
    """One try as a row of the table."""

    trial: TuneTrial
    score: Interval | None
    values: tuple[str, ...]
    best: bool


@dataclass(frozen=True)
class TuneView:
    """The whole report; no picture where nothing could be measured."""

    measure: Measure
    lead: str
    headline: Interval | None
    settings: tuple[tuple[str, str], ...]
    picture: BestSoFar | None
    slices: tuple[Slice, ...]
    names: tuple[str, ...]
    rows: tuple[TrialRow, ...]


def tune_report(result: TuneResult) -> str:
    """The report of a search: one HTML page below 5 MB, readable offline, on a phone and on paper."""
    return html_page("tune.html", result=result, view=tune_view(result))


def tune_view(result: TuneResult) -> TuneView:
    """What is drawn and written of a search."""
    measure, best = measure_named(result.metric), result.best_trial
    scored = [t for t in result.trials if known(t.score) is not None]
    names = tuple(dict.fromkeys([*result.parameters, *(name for t in result.trials for name in t.settings)]))
    names = names[:MOST_PARAMETERS]
    kept = set(map(id, thinned(scored, MOST_DOTS))) | {id(best)}
    drawn = [t for t in scored if id(t) in kept]
    y = _score_axis(drawn, result.baseline, measure) if drawn else None
    slices = (_slice(name, drawn, best, y, result, measure) for name in names) if y else ()
    return TuneView(
        measure,
        tune_lead(result),
        _interval(best) if best else None,
        tuple((cut(k, NAME_LETTERS), cut(setting(v), VALUE_LETTERS)) for k, v in best.settings.items()) if best else (),
        _best_so_far(result, drawn, y, measure) if y else None,
        tuple(s for s in slices if s),
        tuple(cut(name, NAME_LETTERS) for name in names),
        tuple(_row(t, names, t is best) for t in result.trials[:MOST_ROWS]),
    )


def tune_lead(result: TuneResult) -> str:
    """What the search brought, said with what it rests on."""
    best, baseline, n = result.best_trial, known(result.baseline), len(result.trials)
    measure, scored = measure_named(result.metric), sum(known(t.score) is not None for t in result.trials)
    if best is None or known(best.score) is None:
        return f"None of the tries, {n} in all, could be measured." if n else "Nothing was tried."
    defaults = f", where the defaults have {measure.value(baseline)}" if baseline is not None else ""
    reached = measure.value(best.score or 0.0)
    if best.number == 0:
        return f"Of {plural(n, 'try', 'tries')} none was better than the default settings, which reach {reached}."
    text = [f"The best of {n} tries is number {best.number}: {reached}{defaults}."]
    gain = known_interval(result.gain)
    if gain:
        ends = measure.gain_range(gain)
        points = " points" if measure.share else ""
        sure = gain.low is not None and gain.low > 0
        text.append(
            f"Paired over the same items that is {measure.gain(gain)}{points}{f' ({ends})' if ends else ''}"
            + (", beyond what chance gives a single try." if sure else ": no gain that can be told from chance.")
        )
    if scored > 1:
        text.append(f"The best of {scored} measured tries flatters itself: expect a little less on new items.")
    return " ".join(text)


def _interval(trial: TuneTrial) -> Interval | None:
    return known_interval(Interval(trial.score, trial.low, trial.high, 0)) if trial.score is not None else None


def _score_axis(trials: Sequence[TuneTrial], baseline: float | None, measure: Measure) -> Axis:
    """Around the scores; the lowest tenth of many tries may lie below it, so that the good ones are told apart."""
    scores = sorted(_rank(t, measure) for t in trials)
    floor = scores[len(scores) // 10] if len(scores) >= 10 else scores[0]
    sign = -1.0 if measure.lower_is_better else 1.0
    values = [sign * s for s in scores if s >= floor]
    if (default := known(baseline)) is not None:
        values.append(default)
    if measure.share and all(0 <= v <= 1 for v in values):
        return linear_axis(values, lambda v: f"{100 * v:.4g}\u202f%", lowest=0.0, highest=1.0)
    return linear_axis(values, lambda v: f"{v:.3g}", lowest=-math.inf, highest=math.inf)


def _rank(trial: TuneTrial, measure: Measure) -> float:
    """The score, signed so that more is better."""
    score = trial.score or 0.0
    return -score if measure.lower_is_better else score


def _dot(trial: TuneTrial, x: float, y: Axis, best: bool, measure: Measure) -> Dot:
    found = _interval(trial)
    assert found is not None, "only measured tries are drawn"
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    words = f"{_named(trial)}: {measure.value(found.value)}"
    return Dot(x, y.at(found.value), y.at(low), y.at(high), words, best)


def _named(trial: TuneTrial) -> str:
    return f"try {trial.number}" if trial.number else "default settings"


def _best_so_far(result: TuneResult, drawn: Sequence[TuneTrial], y: Axis, measure: Measure) -> BestSoFar:
    x = count_axis([t.number for t in result.trials])
    lost = thinned([t for t in result.trials if known(t.score) is None], MOST_DOTS // 4)
    steps: list[Line] = []
    top: TuneTrial | None = None
    for trial in drawn:
        if top is not None and _rank(trial, measure) <= _rank(top, measure):
            continue
        if top is not None:
            level, place = y.at(top.score or 0.0), x.at(trial.number)
            steps += [(x.at(top.number), level, place, level), (place, level, place, y.at(trial.score or 0.0))]
        top = trial
    if top is not None:
        level = y.at(top.score or 0.0)
        steps.append((x.at(top.number), level, x.at(result.trials[-1].number), level))
    baseline = known(result.baseline)
    return BestSoFar(
        x,
        y,
        tuple(_dot(t, x.at(t.number), y, t is result.best_trial, measure) for t in drawn),
        tuple(steps),
        tuple(
            (x.at(t.number), f"{_named(t)} {t.status}" + (f": {cut(t.reason, 80)}" if t.reason else "")) for t in lost
        ),
        None if baseline is None else y.at(baseline),
        any(not y.low <= (t.score or 0.0) <= y.high for t in drawn),
    )


def _slice(
    name: str, drawn: Sequence[TuneTrial], best: TuneTrial | None, y: Axis | None, result: TuneResult, measure: Measure
) -> Slice | None:
    """None where the setting was never changed, or takes too many values that are no numbers."""
    tried = [(t, t.settings[name]) for t in drawn if name in t.settings]
    choices = list(dict.fromkeys(setting(v) for _, v in tried))
    if y is None or len(choices) < 2:
        return None
    numbers = [_number(v) for _, v in tried]
    if all(n is not None for n in numbers):
        values = [n for n in numbers if n is not None]
        x = _numeric_axis(values)
        places = [x.at(v) for v in values]
    elif len(choices) <= MOST_CHOICES:
        x = choice_axis([cut(c, 12) for c in choices])
        places = [x.ticks[choices.index(setting(v))].at for _, v in tried]
    else:
        return None
    return Slice(
        cut(name, NAME_LETTERS),
        cut(result.parameters.get(name, ""), 80),
        cut(setting(best.settings[name]), VALUE_LETTERS) if best and name in best.settings else NONE,
        x,
        tuple(_dot(t, at, y, t is best, measure) for (t, _), at in zip(tried, places, strict=True)),
    )


def _number(value: object) -> float | None:
    return known(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _numeric_axis(values: Iterable[float]) -> Axis:
    """Logarithmic where the values spread over more than a decade."""
    values = list(values)
    low, high = min(values), max(values)
    return power_axis(values, most=4) if low > 1e-100 and high / low >= WIDE else value_axis(values)


def _row(trial: TuneTrial, names: Sequence[str], best: bool) -> TrialRow:
    values = tuple(cut(setting(trial.settings[n]), VALUE_LETTERS) if n in trial.settings else NONE for n in names)
    return TrialRow(trial, _interval(trial), values, best)
