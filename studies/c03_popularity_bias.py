"""C3: how often an item is a negative, by its popularity, and what the logQ correction makes of it.

Two towers learn from made-up views in which few items have most of the views (Zipf). The negatives of a like are the items of the batch's
other likes, so an item is one as often as it is liked; or they are drawn evenly. Legend: U people, I items, G groups of items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, over_seeds, percent, share_over_seeds

from graft.interactions.partition import Cut, at_random
from graft.interactions.streamrec import generate
from graft.metrics.recommend import in_head, rank_people
from graft.recommenders.base import histories_of
from graft.recommenders.popularity import Popularity
from graft.towers.known import Known
from graft.towers.sampling import Sampler, Shares
from graft.towers.training import Training
from graft.towers.two_tower import TwoTower
from graft.towers.watch import spread

K = 10
GROUPS = 5  # items sorted by popularity, as many likes in each group
WAYS: dict[str, dict[str, Any]] = {
    "in batch, as it is": {"negatives": Shares(random=0, in_batch=1), "logq": False},
    "in batch, logQ": {"negatives": Shares(random=0, in_batch=1), "logq": True},
    "random": {"negatives": Shares(random=1, in_batch=0), "logq": True},
    "half in batch, half random, logQ": {"negatives": Shares(random=0.5, in_batch=0.5), "logq": True},
}


@dataclass(frozen=True, eq=False)
class Views:
    """Views made up by a seed, parted at random: there are no times to learn from, so that popularity alone is in question."""

    cut: Cut
    known: Known
    likes_I: NDArray[np.int64]

    @classmethod
    def made(cls, people: int, items: int, seed: int) -> Views:
        reading = generate(people, items, seed=seed).reading
        cut = at_random(reading.interactions, seed=seed)
        likes_I = np.bincount(cut.train.likes().item_N, minlength=items)
        return cls(cut, Known(categories=reading.catalogue.categories), likes_I)

    def judge(self, model: Any) -> dict[str, float]:
        """Measures of what is recommended to everybody with a target, and of the space."""
        people, start = np.unique(self.cut.targets_user_M, return_index=True)
        targets = np.split(self.cut.targets_item_M, start[1:])
        histories = histories_of(self.cut.train, people)
        seen = self.cut.train.seen()[people]

        def score(part: slice) -> NDArray[np.float32]:
            found: NDArray[np.float32] = model.scores(histories.part(part.start, part.stop))
            return found

        ranked = rank_people(score, targets, seen, self.likes_I, ks=(K,))
        head_I = in_head(self.likes_I)
        tail = [np.array([item for item in mine if not head_I[item]]) for mine in targets]
        with_tail = np.flatnonzero([len(mine) > 0 for mine in tail])
        of_tail = rank_people(
            lambda part: model.scores(histories_of(self.cut.train, people[with_tail[part]])),
            [tail[row] for row in with_tail],
            seen[with_tail],
            self.likes_I,
            ks=(K,),
        )
        found = {
            "hit_rate": float(ranked.each[f"hr@{K}"].mean()),
            "ndcg": float(ranked.each[f"ndcg@{K}"].mean()),
            "tail_recall": float(of_tail.each[f"recall@{K}"].mean()),
            "tail_shown": ranked.tail,
            "coverage": ranked.coverage,
            "gini": ranked.gini,
        }
        vectors_ID = model.item_vectors()
        if vectors_ID is not None:
            lie = spread(vectors_ID[self.likes_I > 0])
            found |= {"effective_rank": lie.effective_rank, "mean_cosine": lie.mean_cosine}
        return found


def groups_of(likes_I: NDArray[np.int64]) -> NDArray[np.int64]:
    """(I,) 0 for the most liked items to GROUPS - 1 for the least, about as many likes in each group; -1 without a like."""
    order = np.argsort(-likes_I, kind="stable")
    before_I = np.cumsum(likes_I[order]) - likes_I[order]
    group_I = np.empty(len(likes_I), np.int64)
    group_I[order] = np.minimum(before_I * GROUPS // max(1, likes_I.sum()), GROUPS - 1)
    return np.where(likes_I > 0, group_I, -1)


def measure(setting: Setting) -> Numbers:
    people, items, epochs, seeds = (200, 100, 4, range(2)) if setting.quick else (2000, 1000, 12, range(3))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("popularity", *WAYS)}
    negative: list[dict[str, Any]] = []
    for seed in seeds:
        views = Views.made(people, items, seed)
        found["popularity"].append(views.judge(Popularity.fit(views.cut.train)))
        for name, given in WAYS.items():
            training = Training(standing=False, before=False, **given)
            model = TwoTower.fit(
                views.cut.train, dims=32, epochs=epochs, training=training, known=views.known, seed=seed
            )
            found[name].append(views.judge(model) | bias(model, views))
        negative.append(how_often(views, seed))
    measures = {name: summary(rows) for name, rows in found.items()}
    names = [f"group {g + 1}" for g in range(GROUPS)]
    return {
        "people": people,
        "items": items,
        "epochs": epochs,
        "seeds": list(seeds),
        "head_items": over_seeds([row["head"] for row in negative]),
        "negative": {
            kind: {name: over_seeds([row[kind][g] for row in negative]) for g, name in enumerate(names)}
            for kind in ("in batch", "random", "items")
        },
        "ways": measures,
    }


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    shares = ("hit_rate", "ndcg", "tail_recall", "tail_shown", "coverage", "gini")
    return {key: (share_over_seeds if key in shares else over_seeds)([row[key] for row in rows]) for key in rows[0]}


def bias(model: TwoTower, views: Views) -> dict[str, float]:
    """How an item's mean score over the people grows with the logarithm of its likes: 1 where scores are log chances, 0 where popularity plays no part."""
    liked_I = views.likes_I > 0
    mean_I = model.scores(histories_of(views.cut.train, np.unique(views.cut.train.likes().user_N))).mean(0)[liked_I]
    log_I = np.log(views.likes_I[liked_I])
    return {"slope": float(np.polyfit(log_I, mean_I, 1)[0])}


def how_often(views: Views, seed: int) -> dict[str, Any]:
    """Share of all comparisons in which an item of each group is the negative, over an epoch, and the share of items in the group."""
    group_I, train = groups_of(views.likes_I), views.cut.train
    sampler = Sampler(train, None, Shares(), 1)
    rng = np.random.default_rng(seed)
    drawn = sampler.draw(rng.permutation(len(sampler.item_N)), rng)
    shares = {"in batch": sampler.item_N, "random": drawn.random_Bn.ravel(), "items": np.flatnonzero(views.likes_I)}
    found: dict[str, Any] = {
        kind: (np.bincount(group_I[item], minlength=GROUPS) / len(item)).tolist() for kind, item in shares.items()
    }
    return found | {"head": float(in_head(views.likes_I).mean())}


def present(numbers: Numbers) -> Page:
    ways, negative = numbers["ways"], numbers["negative"]
    first, last = "group 1", f"group {GROUPS}"
    ratio = {
        group: negative["in batch"][group]["value"] / negative["random"][group]["value"] for group in (first, last)
    }
    table = Table(
        f"{numbers['people']:,} people, {numbers['items']:,} items, {len(numbers['seeds'])} seeds; the head is the {percent(numbers['head_items'])} of the "
        "items with 80 % of the likes, the tail all others. Slope: growth of the mean score with log likes.",
        (
            "negatives",
            f"HR@{K}",
            f"nDCG@{K}",
            f"tail: recall@{K}",
            "tail: share shown",
            "coverage",
            "slope",
            "effective rank",
        ),
        [
            (
                name,
                *(percent(row[key]) for key in ("hit_rate", "ndcg", "tail_recall", "tail_shown", "coverage")),
                *(f"{row[key]['value']:.2f}" if key in row else "–" for key in ("slope", "effective_rank")),
            )
            for name, row in ways.items()
        ],
    )
    often = Table(
        "Items in order of popularity, a fifth of the likes in each group.",
        ("group", "share of the items", "negative in batch", "negative at random"),
        [
            (group, *(percent(negative[kind][group]) for kind in ("items", "in batch", "random")))
            for group in negative["items"]
        ],
    )
    lines = [
        Line(
            kind,
            [(float(g), row["value"]) for g, row in enumerate(negative[kind].values())],
            [ends(row) for row in negative[kind].values()],
        )
        for kind in ("in batch", "random")
    ]
    plain, corrected = ways["in batch, as it is"], ways["in batch, logQ"]
    return Page(
        answer=(
            f"In a batch an item of the most popular group is a negative {ratio[first]:.0f} times as often as at random, one of the least popular "
            f"{ratio[last]:.2f} times. logQ: HR@{K} {percent(plain['hit_rate'])} to {percent(corrected['hit_rate'])}, "
            f"tail shown {percent(plain['tail_shown'])} to {percent(corrected['tail_shown'])}."
        ),
        reading=(
            "Left as they are, scores learned in batches are log chances less log popularity: what is liked by everyone is pushed down, and the tail is shown "
            f"instead (slope {plain['slope']['value']:.2f} against {corrected['slope']['value']:.2f} with the correction). That helps the tail's own recall "
            f"({percent(plain['tail_recall'])} against {percent(corrected['tail_recall'])}) and costs hits over all. With the correction the same draws "
            "estimate the softmax over the whole catalogue, as random ones do."
        ),
        tables=[table, often],
        figures={
            "negatives.svg": line_chart(
                "How often an item of a group is a negative",
                Axis(
                    "items by popularity, a fifth of the likes each",
                    {float(g): name for g, name in enumerate(negative["items"])},
                ),
                Axis("share of the negatives", percent=True),
                lines,
            )
        },
    )


STUDY = Study(
    name="c03_popularity_bias",
    title="C3: popularity bias and the logQ correction",
    question="How often is an item a negative, by its popularity, and what does correcting for it do to hits, to the tail and to the space?",
    measure=measure,
    present=present,
    expected={
        "negative > in batch > group 1 > value": about(0.21, 0.03),
        "negative > random > group 1 > value": about(0.011, 0.005),
        "ways > in batch, as it is > slope > value": about(0.12, 0.15),
        "ways > in batch, logQ > slope > value": about(0.93, 0.12),
        "ways > in batch, as it is > hit_rate > value": about(0.16, 0.06),
        "ways > in batch, logQ > hit_rate > value": about(0.74, 0.05),
        "ways > random > hit_rate > value": about(0.75, 0.05),
        "ways > in batch, as it is > tail_shown > value": about(0.88, 0.06),
        "ways > in batch, logQ > tail_shown > value": about(0.02, 0.03),
    },
    expected_quick={
        "negative > in batch > group 1 > value": about(1 / GROUPS, 0.1),
        "ways > in batch, as it is > slope > value": about(0.24, 0.25),
        "ways > in batch, logQ > slope > value": about(0.91, 0.25),
    },
)

if __name__ == "__main__":
    main(STUDY)
