"""People of whom too little is known: where popularity serves them better beyond doubt than the chosen model, they get popularity.

A model is chosen by how it serves everybody, most of whom are known well. From one or two likes it may tell less than what most people like does.
Decided on the validation part, for two sorts of people apart, as a model has learned from the likes of the one and not of the other: people it knows,
by how many likes they have; and new people, who are asked about with one like alone, two, three, five and ten, by models that have never seen them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.interactions.likes import Interactions
from graft.metrics.rank import query_interval
from graft.recommenders.base import Float32Array, Histories, Recommender, Scorer
from graft.recommenders.popularity import Popularity
from graft.recommending.cold import MOST, SHARE
from graft.recommending.contest import Contest, Entry, Exam, Rules, fitted
from graft.recommending.result import Gains, Short
from graft.reports.formats import Measure, known_interval, plural
from graft.results import Interval

GIVEN = (1, 2, 3, 5, 10)  # likes that are told, and the most of each group of known people
FEWEST = 20  # people below which no interval says anything


@dataclass(frozen=True)
class Few:
    """Known people with at most `known` likes, and new ones of whom at most `new` are told, get popularity of the last `days` (of all time when
    None)."""

    known: int
    new: int
    days: float | None


class Leaning:
    """A model, and popularity, which answers for people of whom too little is known."""

    def __init__(self, model: Scorer, popular: Popularity, few: Few) -> None:
        self.model, self.popular, self.few = model, popular, few

    def scores(self, histories: Histories) -> Float32Array:
        """Scores (B, I): each row of the model's or of popularity's, whose scales have nothing in common."""
        scores_BI = self.model.scores(histories)
        scores_BI[short(histories, self.few)] = self.popular.popular(histories.now)
        return scores_BI


def leaning(model: Recommender, few: Few | None, likes: Interactions) -> Scorer:
    """The model with popularity of `likes`, by which it was fitted, for people of few likes; the model itself where it serves them, too."""
    return model if few is None else Leaning(model, Popularity.fit(likes, days=few.days), few)


def short(histories: Histories, few: Few) -> NDArray[np.bool_]:
    """Of whom too little is known (B,)."""
    known_B = np.zeros(len(histories), bool) if histories.users_B is None else histories.users_B >= 0
    too_few_B: NDArray[np.bool_] = np.diff(histories.matrix.indptr) <= np.where(known_B, few.known, few.new)
    return too_few_B


def short_histories(found: Contest, validation: Exam, test: Exam, rules: Rules) -> tuple[Short | None, Few | None]:
    """Up to how many likes popularity is beyond doubt better than the chosen model, and by how much: decided on the validation part, told of the
    test part. None and None where popularity was chosen anyway.
    """
    plain = [e for e in found.entries if e.kind.model is Popularity and e.validation is not None]
    if found.chosen in plain:
        return None, None
    instead = max(plain, key=lambda e: float(e.validation.each[rules.measure].mean()) if e.validation else 0.0)
    known = _known(found.chosen, instead, validation, "validation", rules)
    new = _new(found.chosen, instead, validation, rules)
    told = Short(instead=instead.kind.name, known_likes=_upto(known), new_likes=_upto(new), known=known, new=new)
    if not told.known_likes and not told.new_likes:
        return told, None
    if told.known_likes:
        told = replace(told, known_test=_known(found.chosen, instead, test, "test", rules))
    if told.new_likes:
        told = replace(told, new_test=_new(found.chosen, instead, test, rules))
    return told, Few(told.known_likes, told.new_likes, instead.settings["days"])


def _upto(gains: Gains) -> int:
    """The most likes up to which popularity is ahead beyond doubt."""
    upto = 0
    for given in GIVEN:
        gain = gains.get(str(given))
        if gain is None or gain.low is None or gain.low <= 0:
            break
        upto = given
    return upto


def _known(chosen: Entry, instead: Entry, exam: Exam, part: str, rules: Rules) -> Gains:
    """What popularity gains for people with so many likes, or more than the number before and no more than this."""
    each = [getattr(entry, part).each[rules.measure] for entry in (instead, chosen)]
    likes_P, before = exam.known(), 0
    apart = {}
    for given in GIVEN:
        apart[given] = [(each[0] - each[1])[(likes_P > before) & (likes_P <= given)]]
        before = given
    return _intervals(apart, rules.seed)


def _new(chosen: Entry, instead: Entry, exam: Exam, rules: Rules) -> Gains:
    """The same for new people, told so many likes; up to a fifth of all people at a time are left out of what models learn from, up to `MOST` in all."""
    train, likes_P = exam.cut.train, exam.known()
    some = np.random.default_rng(rules.seed).permutation(len(exam))[:MOST]
    parties = -(-len(some) // max(1, int(SHARE * len(np.unique(train.user_N)))))
    apart: dict[int, list[NDArray[np.float64]]] = {given: [] for given in GIVEN}
    for done, party in enumerate(np.array_split(some, parties)):
        settings.progress("people of few likes", done, parties)
        others = train.rows(~np.isin(train.user_N, exam.people_P[party]))
        models = [fitted(entry, others, rules) for entry in (instead, chosen)]
        for given in GIVEN:
            if (told := np.sort(party[likes_P[party] >= given])).size:
                asked = exam.newcomers(told, given)
                each = [asked.take(model).each[rules.measure] for model in models]
                apart[given].append(each[0] - each[1])
    return _intervals(apart, rules.seed)


def _intervals(apart: Mapping[int, list[NDArray[np.float64]]], seed: int) -> dict[str, Interval]:
    """Means of paired differences by likes, where enough people have as many."""
    found = {given: np.concatenate(each) for given, each in apart.items() if sum(map(len, each)) >= FEWEST}
    return {str(given): query_interval(values, seed) for given, values in found.items()}


def said(told: Short, chosen: str, measure: Measure) -> tuple[str, ...]:
    """Whom popularity serves better, and by how much with as many likes as it still does, in sentences; nothing where nothing was measured."""
    lately = f"what most people like{'' if told.instead == 'popularity' else ' lately'} ({told.instead})"
    if not told.new_likes and not told.known_likes:
        figure = _figure(told.new, GIVEN[0], measure)
        said = f"From 1 like {chosen} answers new people, too: {lately} is not beyond doubt better for them, {figure} on the validation part."
        return (said,) if figure else ()
    sorts = (
        ("a new person who names", told.new_likes, told.new, told.new_test),
        ("a known person with", told.known_likes, told.known, told.known_test),
    )
    out = []
    for whom, likes, gains, test in sorts:
        if figure := _figure(gains, likes, measure):
            whole = f"To {whom} {'at most ' if likes > 1 else ''}{plural(likes, 'like')} {lately} is recommended"
            once = _figure(test, likes, measure)
            ends = f"; measured once, on the test part, {once}." if once else "."
            out.append(f"{whole}: it gains {figure} over {chosen} on the validation part{ends}")
    return tuple(out)


def _figure(gains: Gains, likes: int, measure: Measure) -> str:
    """The gain of people with so many likes."""
    gain = known_interval(gains.get(str(likes)))
    if gain is None:
        return ""
    ends = measure.gain_range(gain)
    people = plural(gain.n, "person", "people")
    return f"{measure.gain(gain)}{f' ({ends})' if ends else ''} in {measure.label} ({people}, {plural(likes, 'like')})"
