"""Recommenders against each other: tuned on a part of the training likes, taken only if beyond doubt better than simpler ones, then measured once.

Legend: P people with targets, I items, B people of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.interactions.likes import Interactions
from graft.interactions.partition import Cut
from graft.metrics.rank import paired_interval, query_interval
from graft.metrics.recommend import Ranked, rank_people
from graft.recommenders.base import Float32Array, Recommender, Scorer, Settings, histories_of, latest, popularity_of
from graft.recommenders.trend import WITHIN
from graft.recommending.kept import Kept
from graft.recommending.models import Kind
from graft.recommending.result import ModelResult
from graft.towers.known import Known

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

DAY = 86_400.0
KS = (10, 100)
TOLD = ("hr@10", "ndcg@10", "mrr", "hr@100", "recall@100")
GROUPS = ((1, 4), (5, 19), (20, None))  # likes known of a person


class Exam:
    """The questions of a cut: for everybody with targets, all that was known of them, and what has to be foretold.

    Where each target has its own moment (the last like of everybody), people are asked about at the beginning of its day, a day at a time.
    """

    def __init__(self, cut: Cut) -> None:
        self.cut, train = cut, cut.train
        people_P, first_P = np.unique(cut.targets_user_M, return_index=True)
        bounds = [*first_P.tolist(), len(cut.targets_user_M)]
        targets = [cut.targets_item_M[bounds[i] : bounds[i + 1]] for i in range(len(people_P))]
        nows_P = np.full(len(people_P), np.nan)
        if cut.now is None and cut.targets_time_M is not None:
            nows_P = np.floor(cut.targets_time_M[first_P] / DAY) * DAY
        elif cut.now is not None:
            nows_P[:] = cut.now
        order = np.argsort(nows_P, kind="stable")
        self.people_P = people_P[order]
        self.targets = [targets[i] for i in order]
        self.now_P = nows_P[order]
        self.seen: csr_matrix = train.seen()[self.people_P]
        self.likes_I = popularity_of(train.matrix()).astype(np.float64)
        self.histories = histories_of(train, self.people_P.astype(np.int32))

    def __len__(self) -> int:
        return len(self.people_P)

    def known(self) -> NDArray[np.int64]:
        """Likes known of each person, (P,)."""
        known: NDArray[np.int64] = np.diff(self.histories.matrix.indptr).astype(np.int64)
        return known

    def newcomers(self, some: NDArray[np.integer[Any]], given: int) -> Exam:
        """The same questions about some of the people (ascending places), as if they were new and only their latest `given` likes were known; the last
        ones named where there are no times. What they have seen is still left out."""
        exam = copy(self)
        exam.people_P, exam.now_P, exam.seen = self.people_P[some], self.now_P[some], self.seen[some]
        exam.targets = [self.targets[place] for place in some.tolist()]
        exam.histories = latest(self.histories.of(some), given)
        return exam

    def scores(self, model: Scorer, part: slice) -> Float32Array:
        """Scores (B, I) of some people, each asked about at their moment."""
        start, stop = part.start, part.stop
        now_B = self.now_P[start:stop]
        edges = [start, *(start + np.flatnonzero(np.diff(now_B) != 0) + 1).tolist(), stop]
        blocks = []
        for first, last in pairwise(edges):
            now = float(self.now_P[first])
            asked = replace(self.histories.part(first, last), now=None if np.isnan(now) else now)
            blocks.append(model.scores(asked))
        return np.concatenate(blocks)

    def take(self, model: Scorer) -> Ranked:
        """Every measure of everybody, and what is recommended."""
        return rank_people(lambda part: self.scores(model, part), self.targets, self.seen, self.likes_I, ks=KS)


@dataclass(eq=False)
class Entry:
    """One model of the contest: the settings that did best on the validation part, and its answers there and on the test part."""

    kind: Kind
    status: str = "measured"
    reason: str = ""
    settings: Settings = field(default_factory=dict)
    tried: int = 0
    known: int = 0
    validation: Ranked | None = None
    test: Ranked | None = None
    seconds: float = 0.0
    gain_over: str = ""


@dataclass(frozen=True, eq=False)
class Contest:
    """How it went: all entries in the ladder's order, which was chosen, and its model as it was fitted for the test part."""

    entries: tuple[Entry, ...]
    chosen: Entry
    model: Recommender
    why: str


@dataclass(frozen=True, eq=False)
class Rules:
    """What all models are measured by, the seconds for trying settings, the seed, what is known of items and people, and what was measured before."""

    measure: str
    seconds: float
    seed: int
    known: Known
    kept: Kept = field(default_factory=Kept)


def contest(kinds: Sequence[Kind], validation: Exam, test: Exam, rules: Rules) -> Contest:
    """Tune every model on the validation part, choose, and measure all on the test part, by which nothing is chosen.

    Each model has the same time for trying settings, what one leaves goes to those after it, and one setting is tried in any case. A model that cannot
    be fitted on these data is skipped with the reason.
    """
    entries: list[Entry] = []
    left = rules.seconds
    for place, kind in enumerate(kinds):
        settings.progress("models", place, len(kinds))
        share = max(0.0, left) / (len(kinds) - place)
        entry = _tuned(kind, entries, validation, share, rules)
        left -= entry.seconds
        entries.append(entry)
    chosen, why = choose(entries, rules.measure, rules.seed)
    model = fitted(chosen, test.cut.train, rules)
    for place, entry in enumerate(entries):
        settings.progress("test", place, len(entries))
        if entry.status == "measured":
            _ask(entry, model if entry is chosen else None, test, rules)
    return Contest(tuple(entries), chosen, model, why)


def fitted(entry: Entry, likes: Interactions, rules: Rules) -> Recommender:
    """The entry's model with its settings, fitted on these interactions."""
    return _fitted(entry.kind, entry.settings, likes, rules)


def _ask(entry: Entry, model: Recommender | None, test: Exam, rules: Rules) -> None:
    """Measure the entry on the test part, by its `model` where that is fitted already; it is skipped where it cannot be fitted there."""
    take = lambda: test.take(model or fitted(entry, test.cut.train, rules))
    found = rules.kept.once("test", entry.kind.name, entry.settings, take)
    entry.test = found.ranked
    if found.ranked is None:
        entry.status, entry.reason = "skipped", found.reason


def choose(entries: Sequence[Entry], measure: str, seed: int) -> tuple[Entry, str]:
    """The last model of the ladder whose paired gain over the best so far keeps its interval above zero, and why."""
    measured = [e for e in entries if e.validation is not None]
    best, steps = measured[0], []
    for entry in measured[1:]:
        entry.gain_over = best.kind.name
        gain = paired_interval(_each(entry, measure), _each(best, measure), seed)
        if gain.low is not None and gain.low > 0:
            steps.append(
                f"{entry.kind.name} beats {best.kind.name} by {gain.value:.3f} ({gain.low:.3f} to {gain.high:.3f})"
            )
            best = entry
    unit = f"{measure} of the {len(_each(best, measure)):,} people of the validation part"
    if best is measured[0]:
        return (
            best,
            f"No model beats popularity beyond doubt in {unit}, so what most people like is recommended to everyone.",
        )
    return best, f"In {unit}, {'; '.join(steps)}. No later model beats {best.kind.name} beyond doubt."


def _tuned(kind: Kind, entries: Sequence[Entry], validation: Exam, seconds: float, rules: Rules) -> Entry:
    entry, measure = Entry(kind), rules.measure
    grid: list[Settings] = kind.grid()
    if kind.joins:
        personal = [e for e in entries if e.validation is not None and e.kind.name in WITHIN]
        if not personal:
            return replace(entry, status="skipped", reason="there is no personal model to join with the trend")
        inner = max(personal, key=lambda e: float(_each(e, measure).mean()))
        grid = [{**s, "model": inner.kind.name, "given": inner.settings} for s in grid]
    entry.known = len(grid)
    for number, tried in enumerate(grid):
        if number and entry.seconds * (number + 1) / number > seconds:
            break
        take = partial(_answers, kind, tried, validation, rules)
        found = rules.kept.once("validation", kind.name, tried, take)
        entry.seconds += found.seconds
        if found.ranked is None:
            if entry.validation is None:
                entry.status, entry.reason = "skipped", found.reason
            break
        entry.tried = number + 1
        if entry.validation is None or found.ranked.each[measure].mean() > entry.validation.each[measure].mean():
            entry.validation, entry.settings = found.ranked, tried
    return entry


def _answers(kind: Kind, tried: Settings, validation: Exam, rules: Rules) -> Ranked:
    return validation.take(_fitted(kind, tried, validation.cut.train, rules))


def _fitted(kind: Kind, tried: Settings, likes: Interactions, rules: Rules) -> Recommender:
    return kind.fit(likes, tried, rules.seed, rules.known, rules.kept.folder)


def _each(entry: Entry, measure: str) -> NDArray[np.float64]:
    assert entry.validation is not None, "only measured models are compared"
    return entry.validation.each[measure]


def told(found: Contest, exam: Exam, measure: str, seed: int) -> tuple[ModelResult, ...]:
    """The contest as plain values."""
    by_name = {entry.kind.name: entry for entry in found.entries}
    return tuple(_told(entry, by_name.get(entry.gain_over), exam, measure, seed) for entry in found.entries)


def _told(entry: Entry, below: Entry | None, exam: Exam, measure: str, seed: int) -> ModelResult:
    own = ModelResult(
        name=entry.kind.name,
        rung=entry.kind.rung,
        status=entry.status,
        reason=entry.reason,
        settings=entry.settings,
        tried=entry.tried,
        settings_known=entry.known,
        gain_over=entry.gain_over,
        seconds=entry.seconds,
    )
    if entry.validation is None or entry.test is None:
        return own
    test: Mapping[str, Any] = entry.test.each
    own = replace(
        own,
        metrics={name: query_interval(test[name], seed) for name in TOLD},
        validation=query_interval(_each(entry, measure), seed),
        bias={"coverage": entry.test.coverage, "gini": entry.test.gini, "tail": entry.test.tail},
        by_activity=_by_activity(test[measure], exam.known(), seed),
    )
    if below is None or below.test is None:
        return own
    return replace(
        own,
        gain=paired_interval(_each(entry, measure), _each(below, measure), seed),
        test_gain=paired_interval(test[measure], below.test.each[measure], seed),
    )


def _by_activity(values_P: NDArray[np.float64], known_P: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """The measure for people of few, some and many known likes."""
    found = {}
    for low, high in GROUPS:
        mask = (known_P >= low) & (known_P <= (high or np.inf))
        if mask.any():
            name = f"{low} to {high} likes" if high else f"{low} likes or more"
            found[name] = query_interval(values_P[mask], seed)
    return found
