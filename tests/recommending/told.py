"""Fits of recommenders as they are told: films, the least there can be, nothing measured, and words that mean harm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from tests.reports.samples import HOSTILE

from graft.recommending.result import Cold, Facts, MapPoint, ModelResult, Parts, RecommendResult, Short, Shown
from graft.results import Fault, Interval

NAN = math.nan
TITLES = (
    "Toy Story (1995)", "Star Wars: Episode IV - A New Hope (1977)", "Fargo (1996)", "Groundhog Day (1993)", "Alien (1979)",
    "Sense and Sensibility (1995)", "Twelve Monkeys (1995)", "The Silence of the Lambs (1991)", "Home Alone (1990)", "Casablanca (1942)",
    "Monty Python and the Holy Grail (1975)", "Amélie (2001)", "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1964)",
    "Willy Wonka & the Chocolate Factory (1971)", "七人の侍 (1954)", "Jurassic Park (1993)",
)  # fmt: skip
GENRES = (
    "Drama", "Comedy", "Action", "Thriller", "Romance", "Adventure", "Sci-Fi", "Children", "Crime", "Horror", "War", "Musical", "Mystery",
)  # fmt: skip
GROUPS = {"1 to 4 likes": 0.6, "5 to 19 likes": 0.9, "20 likes or more": 1.2}
# fmt: off
WORTH = {
    "popularity": 0.118, "recent-popularity": 0.131, "ppmi-svd": 0.204, "co-likes": 0.198, "item-knn": 0.221, "als": 0.229, "ease": 0.243,
    "item2vec": 0.187, "bpr": 0.212, "mlp": 0.0, "two-tower": 0.214, "with-trend": 0.247,
}  # nDCG@10 of each model
# fmt: on


def interval(value: float, half: float = 0.012, n: int = 2931) -> Interval:
    return Interval(value, value - half, value + half, n)


def films() -> RecommendResult:
    """Twelve models of which one could not be fitted; the last but one is chosen."""
    models, best = [], (0.0, "")
    for rung, (name, worth) in enumerate(WORTH.items(), 1):
        measured = name != "mlp"
        models.append(
            model(name, rung, worth, best[1], worth - best[0])
            if measured
            else ModelResult(name=name, rung=rung, status="skipped", reason="PyTorch is not installed.")
        )
        best = max(best, (worth, name)) if measured else best
    return RecommendResult(
        name="films",
        source="ratings.csv",
        chosen="ease",
        why=(
            "In ndcg@10 of the 2,140 people of the validation part, recent-popularity beats popularity by 0.013 (0.009 to 0.017); item-knn beats "
            "recent-popularity by 0.090 (0.082 to 0.098); ease beats item-knn by 0.022 (0.015 to 0.029). No later model beats ease beyond doubt."
        ),
        measure="ndcg@10",
        models=tuple(models),
        parts=Parts(
            how="time", train_likes=460_226, people=2931, targets=71_048, new_people=1104, new_items=57, validation_people=2140, now=974_000_000.0
        ),
        data=Facts(
            name="films",
            rows=1_000_212,
            people=6040,
            items=3883,
            likes=575_281,
            seen=424_928,
            merged=3,
            columns={"user": "userId (guessed)", "item": "movieId (guessed)", "rating": "rating (guessed)", "time": "timestamp (guessed)"},
            how="rated 4 or higher, four fifths of the highest",
            faulty=120,
            notes=("Of the ids in movies.csv 177 are in no interaction.",),
        ),
        cold=(
            Cold(what="new people: popularity", n=1000, metrics=metrics(0.118)),
            *(Cold(what=f"new people: ease, from {k} like{'s' * (k > 1)}", n=1000, metrics=metrics(v)) for k, v in ((1, 0.141), (3, 0.188), (10, 0.222))),
            Cold(what="new items", n=7, reason="7 items were new after the cut: too few to measure by"),
        ),
        short=Short(
            instead="recent-popularity", known_likes=2, new_likes=1, known={"1": interval(0.024), "2": interval(0.019), "3": interval(-0.01)},
            new={"1": interval(0.029, n=1000), "2": interval(-0.02, n=1000)}, known_test={"1": interval(0.02), "2": interval(0.018)},
            new_test={"1": interval(0.062, n=1000)},
        ),
        shown=tuple(
            Shown(
                user=str(17 + 301 * k),
                history=tuple(TITLES[(k + j) % 16] for j in range(12 if k else 1)),
                recommended=tuple((TITLES[(5 * k + 3 * j + 1) % 16], (k * j) % 4 == 1) for j in range(10)),
                liked_later=tuple(TITLES[(5 * k + 3 * j + 1) % 16] for j in range(12) if (k * j) % 4 == 1 or j > 9),
            )
            for k in range(6)
        ),
        map=points(800),
        faults=tuple(Fault(f"row {12 + 31 * k}", "the rating is no number", "n/a") for k in range(120)),
        seconds={"compare": 214.2, "newcomers": 3.4, "refit": 2.1},
        environment={"graft": "0.1.0", "python": "3.12.3", "numpy": "2.1.3", "scipy": "1.14.1"},
        out="graft-out/films",
        command="graft recommend fit ratings.csv --items movies.csv --out graft-out/films",
    )  # fmt: skip


def model(name: str, rung: int, worth: float, over: str = "", gain: float = 0.0, **more: object) -> ModelResult:
    """A measured model."""
    inner = (
        {"inner": "ease", "inner_settings": {"l2": 500.0, "recent_days": None}, "days": 30}
        if name == "with-trend"
        else {"factors": 64, "l2": 2e-4}
    )
    made = ModelResult(
        name=name,
        rung=rung,
        status="measured",
        settings={"days": None} if rung == 1 else inner,
        tried=1 if rung == 1 else 5,
        settings_known=1 if rung == 1 else 12,
        metrics=metrics(worth),
        validation=interval(worth - 0.004),
        gain=interval(gain, 0.006) if over else None,
        gain_over=over,
        test_gain=interval(gain - 0.003, 0.007) if over else None,
        bias={"coverage": min(1.0, worth**2 * 9), "gini": 0.99 - worth, "tail": worth / 3},
        by_activity={group: interval(worth * by, 0.02, 900) for group, by in GROUPS.items()},
        seconds=0.04 * 1.9**rung,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def metrics(worth: float) -> Mapping[str, Interval]:
    """All measures of a model whose nDCG@10 this is."""
    rates = {
        "hr@10": min(1.0, 2.4 * worth),
        "ndcg@10": worth,
        "mrr": 1.3 * worth,
        "hr@100": min(0.99, 4 * worth),
        "recall@100": 1.8 * worth,
    }
    return {name: interval(value) for name, value in rates.items()}


def points(count: int) -> tuple[MapPoint, ...]:
    """Items in groups of one category each."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(len(GENRES), count, p=np.arange(len(GENRES), 0, -1) / sum(range(len(GENRES) + 1)))
    centres = rng.random((len(GENRES), 2))
    places = np.clip(centres[kinds] + rng.normal(0, 0.07, (count, 2)), 0, 1)
    return tuple(
        MapPoint(
            x=float(x), y=float(y), title=TITLES[k % 16], category=GENRES[kind] if k % 40 else "", likes=3000 // (k + 1)
        )
        for k, ((x, y), kind) in enumerate(zip(places, kinds, strict=True))
    )


def two_models() -> RecommendResult:
    """Popularity and one other that is no better; no times, no map, no titles, nobody shown."""
    made = films()
    pair = (model("popularity", 1, 0.031), model("item-knn", 5, 0.030, "popularity", -0.001))
    return replace(
        made,
        name="purchases",
        chosen="popularity",
        why="No model beats popularity beyond doubt in ndcg@10 of the 41 people of the validation part, so what most people like is recommended to everyone.",
        models=pair,
        parts=Parts(
            how="random", train_likes=212, people=41, targets=53, new_people=0, new_items=0, validation_people=38
        ),
        cold=(
            Cold(
                what="people",
                n=1,
                reason="1 people with targets have 10 likes or more: too few to measure newcomers on",
            ),
        ),
        shown=(),
        map=(),
        faults=(),
        data=replace(
            made.data, faulty=0, merged=0, seen=0, notes=("There are no times, so likes were held out at random.",)
        ),
    )


def nothing_measured() -> RecommendResult:
    """Every number is none."""
    made = films()
    lost = Interval(NAN, NAN, NAN, 0)
    return replace(
        made,
        models=tuple(
            replace(
                m,
                metrics=dict.fromkeys(m.metrics, lost),
                validation=lost,
                gain=lost,
                test_gain=lost,
                bias=dict.fromkeys(m.bias, NAN),
                by_activity=dict.fromkeys(m.by_activity, lost),
                seconds=NAN,
            )
            for m in made.models
        ),
        cold=tuple(replace(c, metrics=dict.fromkeys(c.metrics, lost)) for c in made.cold),
        short=Short(instead="popularity", known_likes=1, new_likes=1, known={"1": lost}, new={"1": lost}),
        map=tuple(replace(p, x=NAN) for p in made.map),
        parts=replace(made.parts, now=NAN),
        seconds={"compare": NAN},
    )


def hostile() -> RecommendResult:
    """Names, titles, columns and messages that try to break out of the page."""
    made, bad = films(), " ".join(HOSTILE)
    return replace(
        made,
        name=HOSTILE[0],
        source=bad,
        chosen=HOSTILE[0],
        why=bad,
        measure=HOSTILE[1],
        models=(
            replace(made.models[0], metrics={**made.models[0].metrics, HOSTILE[1]: interval(0.1)}),
            replace(model(HOSTILE[0], 3, 0.2, bad, 0.01), metrics={HOSTILE[1]: interval(0.2)}, settings=dict.fromkeys(HOSTILE, bad),
                by_activity=dict.fromkeys(HOSTILE, interval(0.1))),
            ModelResult(name=bad, rung=4, status=HOSTILE[2], reason=bad),
        ),
        parts=replace(made.parts, how=bad, now=1e300),
        data=replace(made.data, name=bad, columns={HOSTILE[0]: HOSTILE[1]}, how=bad, notes=HOSTILE),
        cold=tuple(Cold(what=word, n=3, metrics=metrics(0.1), reason=bad) for word in HOSTILE),
        shown=tuple(Shown(user=word, history=HOSTILE, recommended=tuple((w, w == word) for w in HOSTILE), liked_later=(word,)) for word in HOSTILE),
        map=tuple(replace(p, title=HOSTILE[k % 8], category=HOSTILE[k % 7]) for k, p in enumerate(points(60))),
        faults=tuple(Fault(f"row {i} {HOSTILE[i % 8]}", HOSTILE[(i + 1) % 8], bad) for i in range(400)),
        environment={"graft": HOSTILE[0], HOSTILE[1]: HOSTILE[2]},
        out=HOSTILE[2],
        command=bad,
    )  # fmt: skip


def enormous() -> RecommendResult:
    """Every text as long as a cell of a table may be, and a hundred times as many of everything."""
    made, long = films(), "🦜" * 100_000
    names = [f"{k} {long}" for k in range(100)]
    many = model(long, 13, 0.1, long, settings=dict.fromkeys(names, long))
    return replace(
        made,
        name=long,
        why=long,
        command=long,
        models=(*made.models, *(replace(many, by_activity=dict.fromkeys(names, interval(0.1))) for _ in range(100))),
        cold=tuple(Cold(what=long, n=3, metrics=metrics(0.1), reason=long) for _ in range(500)),
        shown=(Shown(user=long, history=(long,) * 200, recommended=((long, True),) * 200, liked_later=(long,) * 200),) * 100,
        map=tuple(replace(p, title=long, category=f"{k} {long}") for k, p in enumerate(points(4000))),
        faults=tuple(Fault(long, long, long) for _ in range(5000)),
        data=replace(made.data, columns=dict.fromkeys(names, long), how=long, notes=(long,) * 500),
        environment=dict.fromkeys(names, long),
    )  # fmt: skip


SAMPLES = {"films": films, "two_models": two_models, "nothing_measured": nothing_measured, "hostile": hostile}
