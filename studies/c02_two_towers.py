"""C2: two towers with an in-batch softmax against matrix factorisation and a scorer of pairs, by how much there is to learn from.

People and items with features, likes up to a moment to learn from and those after it to foretell (80/20). Every model has as many settings tried on a
part of the training likes; the two towers are taken apart: likes alone, with features, and with how items stand at the moment. Intervals are over people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.c06_cold_start import LEAST, often_liked
from studies.chart import Axis, Line, line_chart
from studies.study import (
    Numbers,
    Page,
    Setting,
    Study,
    Table,
    about,
    ends,
    main,
    percent,
    points,
)

from graft.interactions.likes import Interactions
from graft.interactions.partition import by_time, validation
from graft.interactions.read import read_interactions
from graft.interactions.reading import Reading
from graft.interactions.streamrec import generate
from graft.metrics.rank import paired_interval, query_interval
from graft.recommenders.base import Recommender, Settings
from graft.recommending.contest import Exam
from graft.recommending.models import KINDS
from graft.towers.known import Known
from graft.towers.sampling import Shares
from graft.towers.training import Training

REAL, MEASURES, BY = "data:movietweetings-100k", ("hr@10", "hr@100", "mrr"), "ndcg@10"
RIVALS = ("als", "bpr", "mlp")
IN_BATCH = Shares(random=0, in_batch=1)
PLAIN = Training(negatives=IN_BATCH, standing=False)
TOWERS: Mapping[str, tuple[Training, bool]] = {  # how it is trained, whether it is told of features
    "two towers: likes": (PLAIN, False),
    "two towers: features": (PLAIN, True),
    "two towers: features, standing": (Training(negatives=IN_BATCH), True),
}
WAYS = ("popularity", "recent-popularity", *RIVALS, *TOWERS)
BARE, FEATURED, WHOLE = TOWERS
Each = dict[str, NDArray[np.float64]]


def fitted(way: str, likes: Interactions, settings: Settings, known: Known, seed: int) -> Recommender:
    """A model of the ladder, or one of the three two towers."""
    if way not in TOWERS:
        return KINDS[way].fit(likes, settings, seed, Known())
    training, told = TOWERS[way]
    return KINDS["two-tower"].fit(likes, {**settings, "training": training}, seed, known if told else Known())


def tuned(way: str, rehearsal: Exam, known: Known, tried: int) -> Settings:
    """Of `tried` settings, at even distances in the model's grid, the one that does best on a part of the training likes."""
    grid = KINDS["two-tower" if way in TOWERS else way].grid()
    some = [grid[int(i)] for i in np.unique(np.linspace(0, len(grid) - 1, tried).round())]
    if len(some) == 1:
        return some[0]
    train = rehearsal.cut.train
    scores = [float(rehearsal.take(fitted(way, train, s, known, 0)).each[BY].mean()) for s in some]
    return some[int(np.argmax(scores))]


def compared(readings: Sequence[Reading], tried: int) -> dict[str, Any]:
    """All models on each reading, with settings tuned on the first: means over the people of all of them, and gains over the best rival."""
    found: list[dict[str, Each]] = []
    chosen: dict[str, Settings] = {}
    likes = []
    for seed, reading in enumerate(readings):
        cut = by_time(reading.interactions)
        exam, catalogue = Exam(cut), reading.catalogue
        known = Known(categories=catalogue.categories, date_I=catalogue.dates, people=reading.people)
        if not seed:
            rehearsal = Exam(validation(cut))
            chosen = {way: tuned(way, rehearsal, known, tried) for way in WAYS}
        found.append({way: exam.take(fitted(way, cut.train, chosen[way], known, seed)).each for way in WAYS})
        likes.append(len(cut.train.likes()))
    each = {way: {m: np.concatenate([one[way][m] for one in found]) for m in MEASURES} for way in WAYS}
    best = max(RIVALS, key=lambda way: float(each[way]["hr@10"].mean()))
    return {
        "likes": round(float(np.mean(likes))),
        "tested": len(each[best]["mrr"]),
        "settings": chosen,
        "ways": {way: {m: query_interval(each[way][m], 0) for m in MEASURES} for way in WAYS},
        "best": best,
        "gains": {way: {m: paired_interval(each[way][m], each[best][m], 0) for m in MEASURES} for way in TOWERS},
        "over_recent": paired_interval(each[WHOLE]["hr@10"], each["recent-popularity"]["hr@10"], 0),
        "seeds": {
            way: [float(one[way]["hr@10"].mean() - one[best]["hr@10"].mean()) for one in found] for way in TOWERS
        },
    }


def measure(setting: Setting) -> Numbers:
    items, sizes, seeds, tried = (60, (60, 150), 1, 1) if setting.quick else (200, (100, 300, 1000), 3, 2)
    made = {
        str(people): compared([generate(people, items, views=16, seed=seed).reading for seed in range(seeds)], tried)
        for people in sizes
    }
    numbers: Numbers = {"items": items, "seeds": seeds, "tried": tried, "sizes": made, "real": None}
    if setting.quick:
        return numbers
    reading = read_interactions(REAL)
    some, catalogue = often_liked(reading.interactions, reading.catalogue)
    return numbers | {
        "real": {"name": reading.name, **compared([replace(reading, interactions=some, catalogue=catalogue)], 1)}
    }


def present(numbers: Numbers) -> Page:
    sizes, held = numbers["sizes"], numbers["real"]
    sets = {f"{int(people):,} people": row for people, row in sizes.items()} | ({held["name"]: held} if held else {})
    tables = [
        Table(
            f"{name}: {row['likes']:,.0f} likes to learn from, {row['tested']:,.0f} people asked about.",
            ("model", "HR@10", "HR@100", "MRR", f"HR@10 over {row['best']} (points)"),
            [
                (
                    way,
                    *(percent(got[m]) for m in MEASURES),
                    points(row["gains"][way]["hr@10"]) if way in row["gains"] else "",
                )
                for way, got in row["ways"].items()
            ],
        )
        for name, row in sets.items()
    ]
    shown = ("recent-popularity", *RIVALS, *TOWERS)
    lines = [
        Line(
            way.replace("two towers: ", "towers: ").replace("features, ", "+ "),
            [(float(people), row["ways"][way]["hr@10"]["value"]) for people, row in sizes.items()],
            [ends(row["ways"][way]["hr@10"]) for row in sizes.values()],
        )
        for way in shown
    ]
    small, large = (list(sizes.values())[place]["gains"] for place in (0, -1))
    few, many = (f"{int(list(sizes)[place]):,}" for place in (0, -1))

    def gain(gains: Mapping[str, Any], way: str) -> str:
        return points(gains[way]["hr@10"])

    return Page(
        answer=(
            f"HR@10 over the best of ALS, BPR and the MLP, in points: told of likes alone {gain(small, BARE)} at {few} people and "
            f"{gain(large, BARE)} at {many}; of features too {gain(small, FEATURED)} and {gain(large, FEATURED)}; of how items stand too "
            f"{gain(small, WHOLE)} and {gain(large, WHOLE)}."
            + (f" On {held['name']} {', '.join(gain(held['gains'], way) for way in TOWERS)}." if held else "")
        ),
        reading=parted(sizes, numbers["seeds"])
        + (
            f" On real likes (films with {LEAST} likes or more, one seed, the first settings of each model) the towers with all they are told are "
            f"{points(held['over_recent'])} points from what was most liked just before the cut "
            f"(window of {held['settings']['recent-popularity']['days']:g} d; longer ones were not tried there)."
            if held
            else ""
        )
        + " Rivals know likes alone, and the best of the three is picked by the test part itself, which flatters it.",
        tables=tables,
        figures={
            "sizes.svg": line_chart(
                f"Hits by the number of people, {numbers['items']} made-up items",
                Axis("people", log=True),
                Axis("HR@10", percent=True),
                lines,
            )
        },
    )


def parted(sizes: Mapping[str, Any], seeds: int) -> str:
    """At which sizes each of the towers lies beyond doubt above or below the best rival."""
    said = []
    for way in TOWERS:
        gains = {f"{int(people):,}": row["gains"][way]["hr@10"] for people, row in sizes.items()}
        above = [people for people, gain in gains.items() if gain["low"] > 0]
        below = [people for people, gain in gains.items() if gain["high"] < 0]
        parts = [f"{word} at {', '.join(at)} people" for word, at in (("above", above), ("below", below)) if at]
        said.append(f"{way.removeprefix('two towers: ')} {' and '.join(parts) or 'level at every size'}")
    return f"By 95 % intervals over the people of {seeds} made-up worlds the towers lie, by what they are told: {'; '.join(said)}."


STUDY = Study(
    name="c02_two_towers",
    title="C2: two towers against factors and pairs",
    question="With a time split, do two towers beat matrix factorisation and an MLP on pairs, and at which size of the data do they part?",
    measure=measure,
    present=present,
    expected={
        "sizes > 1000 > tested": (1553, 1553),
        f"sizes > 100 > gains > {FEATURED} > hr@10 > value": about(-0.4, 0.2),
        f"sizes > 100 > gains > {WHOLE} > hr@10 > value": about(-0.03, 0.12),
        f"sizes > 1000 > gains > {BARE} > hr@10 > value": about(0.01, 0.03),
        f"sizes > 1000 > gains > {WHOLE} > hr@10 > value": about(0.023, 0.03),
        "real > tested": (2151, 2151),
        f"real > gains > {BARE} > hr@10 > value": about(0.056, 0.03),
        f"real > gains > {WHOLE} > hr@10 > value": about(0.111, 0.03),
    },
    expected_quick={
        "sizes > 150 > tested": (80, 80),
        "sizes > 150 > ways > bpr > hr@10 > value": about(0.71, 0.15),
        f"sizes > 150 > ways > {WHOLE} > hr@10 > value": about(0.59, 0.2),
    },
)

if __name__ == "__main__":
    main(STUDY)
