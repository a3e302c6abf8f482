"""C4: which negatives to learn from: random items, items of the same category, items that were viewed and left, and mixes of them.

Two towers learn from made-up views, in which whether a programme is completed or left depends on taste alone. Beside the softmax: triplets with
semi-hard negatives and a margin. Legend: U people, I items.
"""

from __future__ import annotations

from typing import Any

from studies.c03_popularity_bias import K, Views, summary
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, over_seeds, percent, points

from graft.towers.sampling import Shares
from graft.towers.training import Training
from graft.towers.two_tower import TwoTower

RANDOM, CATEGORY, LEFT = (
    Shares(**{"random": 0.0, "in_batch": 0.0, kind: 1.0}) for kind in ("random", "same_category", "left")
)
MIXED = Shares(random=0.5, in_batch=0, same_category=0.25, left=0.25)
TRIPLET = {"loss": "triplet", "margin": 0.2}
WAYS: dict[str, dict[str, Any]] = {
    "random 100": {"negatives": RANDOM},
    "same category 100": {"negatives": CATEGORY},
    "left 100": {"negatives": LEFT},
    "random 50, category 25, left 25": {"negatives": MIXED},
    "in batch 50, random 50 (the default)": {"negatives": Shares()},
    "triplets: random 100": {"negatives": RANDOM, **TRIPLET},
    "triplets: left 100": {"negatives": LEFT, **TRIPLET},
    "triplets: random 50, category 25, left 25": {"negatives": MIXED, **TRIPLET},
}
BASE = "random 100"


def measure(setting: Setting) -> Numbers:
    people, items, epochs, seeds = (200, 100, 3, range(2)) if setting.quick else (1500, 600, 10, range(3))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for seed in seeds:
        views = Views.made(people, items, seed)
        for name, given in WAYS.items():
            training = Training(standing=False, before=False, draws=4, **given)
            model = TwoTower.fit(
                views.cut.train, dims=32, epochs=epochs, training=training, known=views.known, seed=seed
            )
            found[name].append(views.judge(model) | {"stopped": float(bool(model.notes))})
    base = [row["hit_rate"] for row in found[BASE]]
    return {
        "people": people,
        "items": items,
        "epochs": epochs,
        "seeds": list(seeds),
        "dims": 32,
        "ways": {
            name: summary(rows)
            | {"over_random": over_seeds([row["hit_rate"] - b for row, b in zip(rows, base, strict=True)])}
            for name, rows in found.items()
        },
    }


def present(numbers: Numbers) -> Page:
    ways = numbers["ways"]
    best = max(ways, key=lambda name: ways[name]["hit_rate"]["value"])
    narrow = min(ways, key=lambda name: ways[name]["effective_rank"]["value"])
    stopped = [name for name, row in ways.items() if row["stopped"]["value"] > 0]
    table = Table(
        f"{numbers['people']:,} people, {numbers['items']:,} items, {numbers['dims']} dims, {len(numbers['seeds'])} seeds.",
        (
            "negatives (%)",
            f"HR@{K}",
            "over random (points)",
            f"nDCG@{K}",
            f"tail: recall@{K}",
            "effective rank",
            "mean cosine",
            "stopped",
        ),
        [
            (
                name,
                percent(row["hit_rate"]),
                points(row["over_random"]),
                percent(row["ndcg"]),
                percent(row["tail_recall"]),
                f"{row['effective_rank']['value']:.1f}",
                f"{row['mean_cosine']['value']:.2f}",
                f"{row['stopped']['value'] * len(numbers['seeds']):.0f} of {len(numbers['seeds'])}",
            )
            for name, row in ways.items()
        ],
    )
    kinds = {
        "random": "random 100",
        "category": "same category 100",
        "left": "left 100",
        "mix": "random 50, category 25, left 25",
    }
    lines = []
    for name, prefix in (("softmax", ""), ("triplets", "triplets: ")):
        there = [
            (float(x), ways[prefix + way]["hit_rate"]) for x, way in enumerate(kinds.values()) if prefix + way in ways
        ]
        lines.append(Line(name, [(x, row["value"]) for x, row in there], [ends(row) for _, row in there]))
    figure = line_chart(
        "Hits by the negatives learned from",
        Axis("negatives", {float(x): kind for x, kind in enumerate(kinds)}),
        Axis(f"HR@{K}", percent=True),
        lines,
    )
    return Page(
        answer=(
            f"Best: {best} (HR@{K} {percent(ways[best]['hit_rate'])}). Left items alone: {points(ways['left 100']['over_random'])} points "
            f"from random ones, same category alone {points(ways['same category 100']['over_random'])}, the mix "
            f"{points(ways['random 50, category 25, left 25']['over_random'])}."
        ),
        reading=(
            "An item that was left says what a person does not finish, but not how it stands to the many never met: hard negatives alone leave "
            "most of the space unordered. Triplets order by cosines alone, which leave less room for what everybody likes. The narrowest space is that of "
            f"{narrow} (effective rank {ways[narrow]['effective_rank']['value']:.1f} of {numbers['dims']}, "
            f"mean cosine {ways[narrow]['mean_cosine']['value']:.2f}); "
            + (
                f"training was stopped for collapse with {', '.join(stopped)}."
                if stopped
                else "no training was stopped for collapse."
            )
        ),
        tables=[table],
        figures={"negatives.svg": figure},
    )


STUDY = Study(
    name="c04_negatives",
    title="C4: which negatives",
    question="What do random, same-category and left items do as negatives, alone and mixed, and with semi-hard triplets; does the space collapse?",
    measure=measure,
    present=present,
    expected={
        "ways > random 100 > hit_rate > value": about(0.79, 0.04),
        "ways > random 100 > effective_rank > value": about(29.1, 1.5),
        "ways > same category 100 > over_random > value": about(-0.08, 0.06),
        "ways > left 100 > over_random > value": about(-0.66, 0.08),
        "ways > random 50, category 25, left 25 > over_random > value": about(-0.07, 0.04),
        "ways > triplets: random 100 > over_random > value": about(-0.16, 0.07),
    },
    expected_quick={
        "ways > random 100 > stopped > value": about(0.0, 0.01),
        "ways > random 100 > effective_rank > value": about(28.6, 3),
        "ways > same category 100 > over_random > value": about(-0.14, 0.14),
        "ways > left 100 > over_random > value": about(-0.13, 0.13),
    },
)

if __name__ == "__main__":
    main(STUDY)
