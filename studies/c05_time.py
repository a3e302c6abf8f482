"""C5: hour, day and age joined to an item's vector: static towers against time-aware ones, on what was liked after the cut.

Everything up to a moment is learned from; each like of the fortnight after it is asked for at its own quarter of a day, as a service would be. "Standing" is an
item's age and how often it was liked so far and lately, "calendar" the hour, the day and, once each was seen twice, the season.

Legend: M targets, P people of a cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, percent, points

from graft.interactions.partition import Cut, rolling
from graft.interactions.read import read_interactions
from graft.interactions.reading import Reading
from graft.interactions.streamrec import generate
from graft.metrics.rank import paired_interval, query_interval
from graft.metrics.recommend import rank_people
from graft.recommenders.base import Float32Array, Histories, Recommender, histories_of
from graft.recommenders.popularity import Popularity
from graft.towers.known import Known
from graft.towers.training import Training
from graft.towers.two_tower import TwoTower

REAL, DAY, DAYS = "data:movietweetings-100k", 86_400.0, 14.0
AGES = {"0–7 days": 7.0, "8–30 days": 30.0, "31–120 days": 120.0, "older": np.inf}
MEASURES = ("hr@10", "hr@100", "mrr")
STATIC, BASE = "static", "popular in the last 7 days"
TOWERS: Mapping[str, Training] = {
    STATIC: Training(standing=False),
    "calendar": Training(standing=False, calendar=True),
    "standing": Training(),
    "standing and calendar": Training(calendar=True),
}
WAYS = (BASE, *TOWERS)


@dataclass(frozen=True, eq=False)
class Asked:
    """The likes of a fortnight after a cut, (M,) by their moments: who, what, the middle of the quarter of a day, and how old the item was (days)."""

    cut: Cut
    user_M: NDArray[np.int64]
    item_M: NDArray[np.int64]
    now_M: NDArray[np.float64]
    age_M: NDArray[np.float64]
    histories: Histories

    @classmethod
    def after(cls, cut: Cut, date_I: NDArray[np.float64] | None) -> Asked:
        assert cut.now is not None and cut.targets_time_M is not None
        soon = np.flatnonzero(cut.targets_time_M <= cut.now + DAYS * DAY)
        now_M = (np.floor(cut.targets_time_M[soon] / (DAY / 4)) + 0.5) * (DAY / 4)
        order = np.argsort(now_M, kind="stable")
        soon, now_M = soon[order], now_M[order]
        item_M = cut.targets_item_M[soon].astype(np.int64)
        likes = cut.train.likes()
        assert likes.time_N is not None
        born_I = np.full(len(likes.items), np.inf)
        np.minimum.at(born_I, likes.item_N, likes.time_N)
        if date_I is not None:
            born_I = np.where(np.isnan(date_I), born_I, date_I)
        user_M = cut.targets_user_M[soon].astype(np.int64)
        age_M = (cut.targets_time_M[soon] - born_I[item_M]) / DAY
        return cls(cut, user_M, item_M, now_M, age_M, histories_of(cut.train, user_M))

    def hits(self, model: Recommender) -> dict[str, NDArray[np.float64]]:
        """Every measure of every target, (M,)."""

        def score(part: slice) -> Float32Array:
            now_B = self.now_M[part]
            edges = [part.start, *(part.start + 1 + np.flatnonzero(np.diff(now_B))).tolist(), part.stop]
            blocks = [
                model.scores(replace(self.histories.part(a, b), now=float(self.now_M[a]))) for a, b in pairwise(edges)
            ]
            return np.concatenate(blocks)

        likes_I = np.bincount(self.cut.train.likes().item_N, minlength=len(self.cut.train.items))
        return rank_people(score, list(self.item_M[:, None]), self.cut.train.seen()[self.user_M], likes_I).each


def measure(setting: Setting) -> Numbers:
    if setting.quick:
        return {"sets": {"made up": of([(generate(150, 60, seed=0).reading, 1)], 2)}}
    made = [(generate(1000, 300, seed=seed).reading, 1) for seed in range(3)]
    return {"sets": {"made up": of(made, 5), REAL.removeprefix("data:"): of([(read_interactions(REAL), 1)], 3)}}


def of(readings: list[tuple[Reading, int]], epochs: int) -> dict[str, Any]:
    """All cuts of all readings together: means over the targets of a person at a cut, intervals over these."""
    rows: dict[str, dict[str, list[NDArray[np.float64]]]] = {way: {m: [] for m in MEASURES} for way in WAYS}
    people, ages, cuts = [], [], 0
    for seed, (reading, count) in enumerate(readings):
        catalogue = reading.catalogue
        known = Known(categories=catalogue.categories, date_I=catalogue.dates, people=reading.people)
        for cut in rolling(reading.interactions, count, first=0.8):
            asked = Asked.after(cut, catalogue.dates)
            for way in WAYS:
                model: Recommender = (
                    Popularity.fit(cut.train, days=7.0)
                    if way == BASE
                    else TwoTower.fit(cut.train, dims=32, epochs=epochs, training=TOWERS[way], known=known, seed=seed)
                )
                each = asked.hits(model)
                for m in MEASURES:
                    rows[way][m].append(each[m])
            people.append(asked.user_M + 1_000_000 * cuts)
            ages.append(asked.age_M)
            cuts += 1
    who, age = np.concatenate(people), np.concatenate(ages)
    values = {way: {m: np.concatenate(rows[way][m]) for m in MEASURES} for way in WAYS}
    all_of = np.ones(len(who), bool)
    mean = {way: {m: by_person(values[way][m], who, all_of) for m in MEASURES} for way in WAYS}
    group = np.searchsorted(list(AGES.values()), age)
    return {
        "cuts": cuts,
        "people": len(np.unique(who)),
        "targets": len(who),
        "epochs": epochs,
        "ways": {way: {m: query_interval(mean[way][m], 0) for m in MEASURES} for way in WAYS},
        "gains": {way: {m: paired_interval(mean[way][m], mean[STATIC][m], 0) for m in MEASURES} for way in WAYS},
        "calendar_over_standing": paired_interval(mean["standing and calendar"]["hr@10"], mean["standing"]["hr@10"], 0),
        "by_age": {
            name: {
                "targets": int((group == place).sum()),
                "ways": {way: query_interval(by_person(values[way]["hr@10"], who, group == place), 0) for way in WAYS},
            }
            for place, name in enumerate(AGES)
            if len(np.unique(who[group == place])) > 1
        },
    }


def by_person(value_M: NDArray[np.float64], who_M: NDArray[np.int64], some_M: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Means over the targets of each person, (P,)."""
    _, row = np.unique(who_M[some_M], return_inverse=True)
    found: NDArray[np.float64] = np.bincount(row, value_M[some_M]) / np.bincount(row)
    return found


def present(numbers: Numbers) -> Page:
    sets = numbers["sets"]
    tables = [
        Table(
            f"{name}: {row['targets']:,} likes of {row['people']:,} people in the {DAYS:.0f} days after {row['cuts']} cuts.",
            ("towers", "HR@10", "HR@100", "MRR", "HR@10 over static (points)"),
            [
                (way, *(percent(got[m]) for m in MEASURES), "" if way == STATIC else points(row["gains"][way]["hr@10"]))
                for way, got in row["ways"].items()
            ],
        )
        for name, row in sets.items()
    ]
    return Page(
        answer="HR@10 over static towers: "
        + "; ".join(
            f"{name}: standing {points(row['gains']['standing']['hr@10'])} points, "
            f"calendar {points(row['gains']['calendar']['hr@10'])}, both {points(row['gains']['standing and calendar']['hr@10'])}"
            for name, row in sets.items()
        )
        + ".",
        reading=" ".join(_read(name, row) for name, row in sets.items())
        + " A like is asked for at its own quarter of a day; how items stand is known up to the cut alone, so it ages during the fortnight. No training part "
        "here holds every season twice, so seasons are left out by the model itself, and the calendar is hours and days: it found nothing even in the made-up "
        "world, where a third of the categories belong to the evening.",
        tables=tables,
        figures={
            f"age_{place + 1}.svg": line_chart(
                f"Hits by the age of what was liked, {name}",
                Axis(
                    "age of the item (likes asked for)",
                    {float(i): f"{group} ({got['targets']:,})" for i, (group, got) in enumerate(row["by_age"].items())},
                ),
                Axis("HR@10", percent=True),
                [
                    Line(
                        way.replace("popular in the last 7 days", "popular lately").replace(
                            "standing and", "standing,"
                        ),
                        [(float(i), got["ways"][way]["value"]) for i, got in enumerate(row["by_age"].values())],
                        [ends(got["ways"][way]) for got in row["by_age"].values()],
                        dashed=way == BASE,
                    )
                    for way in (BASE, STATIC, "standing", "standing and calendar")
                ],
            )
            for place, (name, row) in enumerate(sets.items())
        },
    )


def _read(name: str, row: Mapping[str, Any]) -> str:
    """What the calendar adds, what standing adds, and how both stand to what is popular lately."""
    added, over = row["calendar_over_standing"], row["gains"]["standing"]["hr@10"]
    said = "adds" if added["low"] > 0 else "costs" if added["high"] < 0 else "adds nothing that can be told from chance"
    stands = "gain" if over["low"] > 0 else "lose" if over["high"] < 0 else "are level"
    lately = row["ways"][BASE]["hr@10"]
    return (
        f"On {name} towers that know how items stand {stands} against static ones; the calendar beside it {said} ({points(added)} points); "
        f"what is popular lately has {percent(lately)} by itself."
    )


STUDY = Study(
    name="c05_time",
    title="C5: time",
    question="What do an item's age, its likes lately, and the hour and day of asking add to two towers, on likes after the training?",
    measure=measure,
    present=present,
    expected={
        "sets > made up > targets": (544, 544),
        "sets > made up > gains > standing > hr@10 > value": about(0.088, 0.05),
        "sets > made up > gains > calendar > hr@10 > value": about(0.006, 0.03),
        "sets > made up > calendar_over_standing > value": about(0.003, 0.03),
        "sets > movietweetings-100k > targets": (2447, 2447),
        "sets > movietweetings-100k > gains > standing > hr@10 > value": about(0.065, 0.03),
        "sets > movietweetings-100k > gains > popular in the last 7 days > hr@10 > value": about(0.037, 0.03),
        "sets > movietweetings-100k > calendar_over_standing > value": about(-0.003, 0.02),
    },
    expected_quick={
        "sets > made up > targets": (23, 23),
        "sets > made up > ways > static > hr@10 > value": (0.2, 0.75),
        "sets > made up > ways > standing and calendar > hr@10 > value": (0.2, 0.75),
    },
)

if __name__ == "__main__":
    main(STUDY)
