"""The report of a fitted recommender: what was chosen and why, every model beside it, what it recommends to whom, and what was read."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from graft import results
from graft.recommending import short
from graft.recommending.content import said
from graft.recommending.models import KINDS
from graft.recommending.result import MapPoint, ModelResult, RecommendResult, Shown
from graft.reports.build import html_page
from graft.reports.charts import Axis, choice_axis, linear_axis, time_parts
from graft.reports.formats import NONE, Measure, cut, known, known_interval, measure_named, percent, plural, setting
from graft.reports.ladder import Ladder, Row, drawn
from graft.reports.vector_map import VectorMap, vector_map
from graft.results import Interval, StrategyResult

MOST_MODELS, MOST_SHOWN, MOST_TITLES, MOST_GROUPS, MOST_COLD, MOST_FAULTS, MOST_NOTES = 24, 12, 20, 6, 24, 50, 20
TITLE_LETTERS, SETTING_LETTERS = 120, 120
TYPED_LETTERS = 60  # of a title or an id that the reader is to type
ASIDE = 2.2  # per cent that two marks of one group stand apart from its middle

MEASURES = {
    m.name: m
    for m in (
        Measure("hr@10", "HR@10", share=False),
        Measure("ndcg@10", "nDCG@10", share=False),
        Measure("mrr", "MRR", share=False),
        Measure("hr@100", "HR@100", share=False),
        Measure("recall@100", "Recall@100", share=False),
    )
}
MEANINGS = {
    "hr@10": "people who later liked at least one of 10 recommendations",
    "ndcg@10": "how many of 10 recommendations were liked later, those further up counting more; 1 is perfect",
    "mrr": "1 / place of the first recommendation that was liked later",
    "hr@100": "people who later liked at least one of 100 recommendations",
    "recall@100": "share of what people liked later that is among 100 recommendations",
}
BIAS = ("coverage", "gini", "tail")


@dataclass(frozen=True)
class Figure:
    """One measure on the test part: of the chosen model and of popularity, None where it was not taken."""

    measure: Measure
    meaning: str
    chosen: Interval | None
    popularity: Interval | None


@dataclass(frozen=True)
class ModelRow:
    """One model in the table; `words` say what it is, `scores` are in the order of the view's measures, None where there is no number."""

    number: int
    model: ModelResult
    words: str
    chosen: bool
    scores: tuple[Interval | None, ...]
    validation: Interval | None
    gain: Interval | None
    test_gain: Interval | None
    seconds: float
    settings: tuple[tuple[str, str], ...]
    bias: tuple[float | None, ...]
    groups: tuple[Interval | None, ...]

    @property
    def measured(self) -> bool:
        """Whether there is any number of the test part."""
        return any(self.scores)


@dataclass(frozen=True)
class Dot:
    """One group of people under one model, in per cent; `low` and `high` are the ends of its interval."""

    x: float
    y: float
    low: float
    high: float
    words: str
    best: bool


@dataclass(frozen=True)
class Activity:
    """The measure by how many likes were known: the chosen model beside popularity."""

    x: Axis
    y: Axis
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Newcomers:
    """One way of being new; `scores` are in the order of the view's measures."""

    what: str
    n: int
    reason: str
    scores: tuple[Interval | None, ...]


@dataclass(frozen=True)
class Example:
    """Someone of the test part; a title is said with whether it was recommended and liked later."""

    user: str
    history: tuple[str, ...]
    recommended: tuple[tuple[str, bool], ...]
    liked_later: tuple[tuple[str, bool], ...]

    @property
    def hits(self) -> int:
        """Recommendations that were liked later."""
        return sum(hit for _, hit in self.recommended)


@dataclass(frozen=True)
class RecommendView:
    """The whole report; no picture where nothing could be measured, no map without places."""

    measure: Measure
    measures: tuple[Measure, ...]
    headline: Interval | None
    popularity: Interval | None
    plainly: str
    held_out: str
    on_test: str
    worse: bool
    figures: tuple[Figure, ...]
    ladder: Ladder
    rows: tuple[ModelRow, ...]
    group_names: tuple[str, ...]
    activity: Activity | None
    cold: tuple[Newcomers, ...]
    short: tuple[str, ...]
    new_items: tuple[str, ...]
    examples: tuple[Example, ...]
    map: VectorMap | None
    commands: tuple[str, ...]


def recommend_report(result: RecommendResult) -> str:
    """The report of a recommender: one HTML page below 5 MB, readable offline, on a phone and on paper."""
    return html_page(
        "recommend.html",
        style="recommend.css",
        result=result,
        view=recommend_view(result),
        times=time_parts({name: known(s) or 0.0 for name, s in result.seconds.items()}),
    )


def recommend_view(result: RecommendResult) -> RecommendView:
    """What is drawn and written of a recommender."""
    measure = measure_of(result.measure)
    models = result.models[:MOST_MODELS]
    groups = tuple(dict.fromkeys(name for m in models for name, i in m.by_activity.items() if known_interval(i)))[
        :MOST_GROUPS
    ]
    rows = tuple(_row(number, m, result, groups) for number, m in enumerate(models, 1))
    chosen, popular = result.chosen_result, popularity(result)
    return RecommendView(
        measure=measure,
        measures=tuple(MEASURES.values()),
        headline=_score(chosen, measure),
        popularity=None if popular in (None, chosen) else _score(popular, measure),
        plainly=plainly(result),
        held_out=held_out(result),
        on_test=on_test(result),
        worse=_worse(chosen),
        figures=tuple(
            Figure(m, MEANINGS[m.name], _score(chosen, m), None if popular is chosen else _score(popular, m))
            for m in MEASURES.values()
        ),
        ladder=drawn(tuple(_rung(row, measure) for row in rows), measure),
        rows=rows,
        group_names=tuple(cut(name, 40) for name in groups),
        activity=_activity(rows, groups, measure),
        cold=tuple(
            Newcomers(c.what, c.n, c.reason, tuple(known_interval(c.metrics.get(m)) for m in MEASURES))
            for c in result.cold[:MOST_COLD]
        ),
        short=short_histories(result),
        new_items=new_items(result),
        examples=tuple(_example(one) for one in result.shown[:MOST_SHOWN]),
        map=_map(result.map),
        commands=next_commands(result),
    )


# ---- Words ----


def measure_of(name: str) -> Measure:
    """The measure of this name; one that is not known here is written as a plain number."""
    return MEASURES.get(name) or measure_named(name)


def popularity(result: RecommendResult) -> ModelResult | None:
    """What every model has to beat: recommending to everyone what most people like."""
    return next((m for m in result.models if m.name == "popularity"), None)


def plainly(result: RecommendResult) -> str:
    """How often somebody finds something among 10 recommendations, beside popularity; nothing where it was not measured."""
    chosen, popular = result.chosen_result, popularity(result)
    found = _score(chosen, MEASURES["hr@10"])
    if found is None:
        return ""
    beside = _score(popular, MEASURES["hr@10"]) if popular not in (None, chosen) else None
    others = f"; among the items that most people like, {percent(beside.value)} do" if beside else ""
    return (
        f"Among 10 recommendations {percent(found.value)} of people find something that they went on to like{others}."
    )


def held_out(result: RecommendResult) -> str:
    """What was held out, of whom, and what could not be asked about."""
    parts = result.parts
    people, likes = plural(parts.people, "person", "people"), plural(parts.targets, "like")
    moment = _date(parts.now)
    said = {
        "time": f"The models learned from the likes up to {moment or 'one moment'} and had to foretell {likes} of {people} after it.",
        "last": f"The models learned from all likes but the last of each of {people}, and had to foretell that one.",
        "random": f"The models had to foretell {likes} of {people}, drawn at random from all and held out.",
    }.get(parts.how, f"Held out ({cut(parts.how, 200)}): {likes} of {people}.")
    new = [
        plural(n, one, many)
        for n, one, many in ((parts.new_people, "person", "people"), (parts.new_items, "item", "items"))
        if n
    ]
    left = f" Left out there: {' and '.join(new)} of which nothing was known before." if new else ""
    rehearsal = plural(parts.validation_people, "person", "people")
    return f"{said}{left} Settings and model were chosen on other likes, of {rehearsal}, held out of the {parts.train_likes:,} to learn from."


def on_test(result: RecommendResult) -> str:
    """What became of the chosen model's gain on the likes by which nothing was chosen."""
    chosen, measure = result.chosen_result, measure_of(result.measure)
    gain = known_interval(chosen.test_gain)
    if gain is None:
        return ""
    ends = f" ({measure.gain_range(gain)})" if measure.gain_range(gain) else ""
    said = f"Measured once, on the test part, its gain over {chosen.gain_over or 'the best below'} is {measure.gain(gain)}{ends}"
    if _worse(chosen):
        return f"{said}: there it is worse."
    return f"{said}." if gain.low is not None and gain.low > 0 else f"{said}: there it cannot be told from chance."


def short_histories(result: RecommendResult) -> tuple[str, ...]:
    """Who gets popularity because too little is known of them, a sentence for new people and one for known ones."""
    return short.said(result.short, result.chosen, measure_of(result.measure)) if result.short else ()


def new_items(result: RecommendResult) -> tuple[str, ...]:
    """How well items are placed by their content, a sentence for each kind of content."""
    return tuple(
        said(c) for c in result.cold if c.way and known_interval(c.gain) and known_interval(c.metrics.get("hr@10"))
    )


def settings_told(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Settings as one would type them; what is inside another in brackets."""

    def told(value: Any) -> str:
        if isinstance(value, Mapping):
            return "(" + ", ".join(f"{name} {told(v)}" for name, v in value.items()) + ")"
        return setting(value)

    return tuple((cut(name, 40), cut(told(value), SETTING_LETTERS)) for name, value in settings.items())


def next_commands(result: RecommendResult) -> tuple[str, ...]:
    """What to type next: more like the item that most people like, and for someone who is known."""
    title = next((p.title for p in result.map if _typed(p.title)), "a title")
    user = next((s.user for s in result.shown if _typed(s.user)), "ID")
    out = shlex.quote(result.out or "OUT")
    return (
        f"graft recommend like {out} {shlex.quote(title)}",
        f"graft recommend for {out} --user {shlex.quote(user)}",
    )


def _typed(text: str) -> bool:
    """Whether a text can be typed at a prompt as it stands."""
    return 0 < len(text) <= TYPED_LETTERS and text.isprintable() and not text.startswith("-") and "'" not in text


def _date(moment: float | None) -> str:
    if moment is None or known(moment) is None:
        return ""
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%-d %B %Y}"
    except (OverflowError, OSError, ValueError):
        return ""


# ---- Rows and pictures ----


def _score(model: ModelResult | None, measure: Measure) -> Interval | None:
    return known_interval(model.metrics.get(measure.name)) if model else None


def _worse(model: ModelResult) -> bool:
    gain = known_interval(model.test_gain)
    return gain is not None and gain.high is not None and gain.high < 0


def _row(number: int, model: ModelResult, result: RecommendResult, groups: Sequence[str]) -> ModelRow:
    kind = KINDS.get(model.name)
    return ModelRow(
        number,
        model,
        kind.words if kind else "",
        model.name == result.chosen,
        tuple(_score(model, m) for m in MEASURES.values()),
        known_interval(model.validation),
        known_interval(model.gain),
        known_interval(model.test_gain),
        known(model.seconds) or 0.0,
        settings_told(model.settings),
        tuple(known(model.bias.get(name)) for name in BIAS),
        tuple(known_interval(model.by_activity.get(name)) for name in groups),
    )


def _rung(row: ModelRow, measure: Measure) -> Row:
    """The row as the ladder's picture takes it."""
    named = StrategyResult(row.model.name, row.model.rung, row.model.status)
    return Row(row.number, named, "", row.chosen, _score(row.model, measure), row.gain, row.seconds)


def _activity(rows: Sequence[ModelRow], groups: Sequence[str], measure: Measure) -> Activity | None:
    """The chosen model and popularity, side by side in each group; None with fewer than two groups."""
    drawn = [row for row in rows if row.chosen or row.model.name == "popularity"]
    found = [(row, k, i) for row in drawn for k, i in enumerate(row.groups) if i is not None]
    if len({k for _, k, _ in found}) < 2:
        return None
    ends = [v for _, _, i in found for v in (i.value, i.low, i.high) if v is not None]
    x, y = (
        choice_axis([cut(name, 66 // max(3, len(groups))) for name in groups]),
        linear_axis(ends, lambda v: f"{v:.3g}", lowest=0.0, highest=math.inf),
    )
    aside = ASIDE if len(drawn) > 1 else 0.0
    dots = tuple(
        Dot(
            x.ticks[k].at + (aside if row.chosen else -aside),
            y.at(i.value),
            y.at(i.value if i.low is None else i.low),
            y.at(i.value if i.high is None else i.high),
            f"{row.model.name}, {groups[k]}: {measure.value(i.value)} ({plural(i.n, 'person', 'people')})",
            row.chosen,
        )
        for row, k, i in found
    )
    return Activity(x, y, dots)


def _example(one: Shown) -> Example:
    hits = {title for title, hit in one.recommended if hit}
    return Example(
        one.user,
        tuple(_title(title) for title in one.history[:MOST_TITLES]),
        tuple((_title(title), hit) for title, hit in one.recommended[:MOST_TITLES]),
        tuple((_title(title), title in hits) for title in one.liked_later[:MOST_TITLES]),
    )


def _title(text: str) -> str:
    return cut(text, TITLE_LETTERS) or NONE


def _map(points: Sequence[MapPoint]) -> VectorMap | None:
    """The items as dots of the vectors' map, their categories as classes; titles alone where no category is known."""
    placed = [p for p in points if known(p.x) is not None and known(p.y) is not None]
    unknown = "no category" if any(p.category for p in placed) else ""
    dots = [
        results.MapPoint(
            x=p.x,
            y=p.y,
            label=p.category or unknown,
            predicted=p.category or unknown,
            item=plural(p.likes, "like"),
            text=p.title,
        )
        for p in placed
    ]
    return vector_map(dots, "", ())
