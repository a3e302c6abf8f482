"""`data:streamrec`: a streaming service that is made up, with the truth behind it, of any size and seed.

Programmes have a category, a place in a space of tastes near that of their category, a release, a title and a sentence whose words go
with the category. People have a taste (one category above all, by their age, and a second), an activity and a moment of joining.
A view is drawn thus: the moment (more in the evening), then a few programmes by popularity (Zipf), freshness (a programme is watched
most near its release, and not before), season (half of the categories have a month of their own) and hour (some categories belong to the
evening), then one of these by the person's taste. Whether it is completed or left depends on the taste alone.

The same settings give the same interactions, bit by bit, with the same version of numpy.

Legend: U people, I items, C categories, D dims of taste, N views, M candidates of a view, B one time bucket's views.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.catalogue import programmes
from graft.errors import UsageError, unknown
from graft.interactions.gather import natural
from graft.interactions.likes import Catalogue, Interactions, People
from graft.interactions.reading import Reading

NAME = "streamrec"
DIMS = 8
HEAD = 0.1  # of the programmes has four fifths of the views
_HEAD_SHARE = 0.83  # what popularity alone would give the head; taste, freshness and season take some of it back
START = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
DAYS = 730
_DAY = 86_400.0
_FLAT = 0.02  # Mandelbrot's shift of Zipf's ranks, as a share of the items: else everybody would have seen the first of them
_CANDIDATES = 8  # programmes a person chooses among; more would let taste outweigh popularity
_CHOICE, _COMPLETION = 4.0, 5.0  # how strongly taste decides what is watched, and whether to the end
_FRESH, _FRESH_DAYS = 4.0, 30.0  # how much more a new programme is watched than an old one, and how fast that passes
_SEASON, _EVENING = 1.0, 0.7  # strength of months and hours, as powers of e

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Generated:
    """The reading as a table would give it, and the truth: `taste_UD` and `item_ID` (float64, aligned with users and items), whose product is
    what a person thinks of an item, and `appeal_I`, the popularity that items were drawn by (sums to 1)."""

    reading: Reading
    taste_UD: Floats
    item_ID: Floats
    appeal_I: Floats


def settings_of(name: str) -> dict[str, Any]:
    """Settings in a set's name: `streamrec:people=2000,items=500,seed=3`. Raises UsageError."""
    defaults = {"people": 3000, "items": 1000, "views": 20, "seed": 0}
    found = dict(defaults)
    for part in filter(None, name.partition(":")[2].split(",")):
        key, _, value = part.partition("=")
        if key not in defaults:
            raise UsageError(unknown("The setting of data:streamrec", key, defaults))
        if not value.isdecimal():
            raise UsageError(
                f"data:{name}: {key} is {value!r}; it must be a whole number, such as {key}={defaults[key]}."
            )
        found[key] = int(value)
    return found


def generate(people: int = 3000, items: int = 1000, *, views: int = 20, seed: int = 0) -> Generated:
    """Views of `people` persons of `items` programmes over two years, about `views` different ones a person.

    A person sees a programme once: completed (weight 1) or left (weight 0). Raises UsageError for sizes below 1 and for fewer than
    two programmes.
    """
    if people < 1 or items < 2 or views < 1:
        raise UsageError(
            f"data:{NAME} needs people, views and items: at least 1, 1 and 2; not {people}, {views} and {items}."
        )
    rng = np.random.default_rng([seed, 1])
    made = sorted(programmes(items, seed), key=lambda programme: natural(programme.id))
    kinds = sorted({programme.category for programme in made})
    kind_I = np.array([kinds.index(programme.category) for programme in made])
    centre_CD = _unit(rng.standard_normal((len(kinds), DIMS)))
    item_ID = _unit(0.8 * centre_CD[kind_I] + 0.6 * _unit(rng.standard_normal((items, DIMS))))
    release_I = START + _DAY * DAYS * rng.uniform(-1, 0.95, items)  # about half of them are there from the start
    release_I[release_I.argmin()] = min(release_I.min(), START - _DAY)  # at least one is
    appeal_I, draws = _popularity(items, min(views, items // 2))
    appeal_I = rng.permutation(appeal_I)
    crowd = _people(people, centre_CD, rng)
    user_N, item_N, time_N = _views(crowd, draws, (appeal_I, release_I, kind_I, item_ID), rng)
    liking_N = (crowd.taste_UD[user_N] * item_ID[item_N]).sum(1)
    completed_N = rng.random(len(user_N)) < 1 / (1 + np.exp(-_COMPLETION * (liking_N - 0.3)))
    interactions = Interactions(
        users=tuple(f"u{i + 1}" for i in range(people)),
        items=tuple(programme.id for programme in made),
        user_N=user_N.astype(np.int32),
        item_N=item_N.astype(np.int32),
        weight_N=completed_N.astype(np.float32),
        time_N=time_N,
    )
    catalogue = Catalogue(
        titles=tuple(programme.title for programme in made),
        categories=tuple((programme.category,) for programme in made),
        texts=tuple(programme.description.split(". ")[0].rstrip(".") + "." for programme in made),
        dates=np.floor(release_I),
    )
    reading = Reading(
        name=NAME,
        interactions=interactions,
        catalogue=catalogue,
        people=People({"age": crowd.age_U}, {"plan": crowd.plan_U, "region": crowd.region_U}),
        columns={"user": "user", "item": "item", "event": "event", "time": "time"},
        how="events completed = 1, left = 0",
        like=None,
        rows=len(interactions),
        merged=0,
        notes=(f"generated: {people:,} people and {items:,} programmes are made up, seed {seed}",),
    )
    return Generated(reading, crowd.taste_UD, item_ID, appeal_I)


@dataclass(frozen=True, eq=False)
class _Crowd:
    taste_UD: Floats
    activity_U: Floats  # mean about 1
    joined_U: Floats  # seconds since 1970
    age_U: Floats
    plan_U: tuple[str, ...]
    region_U: tuple[str, ...]


def _people(count: int, centre_CD: Floats, rng: np.random.Generator) -> _Crowd:
    kinds = len(centre_CD)
    age_U = np.floor(rng.uniform(16, 80, count))
    favoured_C = np.linspace(18, 75, kinds)  # the age at which a category is liked most
    near_UC = -(((age_U[:, None] - favoured_C) / 12) ** 2)
    first_U = (near_UC + rng.gumbel(size=near_UC.shape)).argmax(1)
    second_U = rng.integers(0, kinds, count)
    share_U1 = rng.uniform(0.5, 1, (count, 1))
    leaning_UD = share_U1 * centre_CD[first_U] + (1 - share_U1) * centre_CD[second_U]
    taste_UD = _unit(leaning_UD + 0.4 * _unit(rng.standard_normal(leaning_UD.shape)))
    premium_U = rng.random(count) < 0.3
    activity_U = rng.lognormal(-0.32, 0.8, count) * np.where(premium_U, 1.6, 0.74)
    joined_U = START + _DAY * DAYS * np.where(rng.random(count) < 0.4, 0.0, rng.uniform(0, 0.9, count))
    regions = ("north", "south", "east", "west")
    return _Crowd(
        taste_UD,
        activity_U,
        joined_U,
        age_U,
        tuple("premium" if premium else "basic" for premium in premium_U.tolist()),
        tuple(regions[i] for i in rng.integers(0, len(regions), count).tolist()),
    )


def _popularity(items: int, views: int) -> tuple[Floats, float]:
    """Chances of the items, falling with rank by a power (Zipf 1949, Mandelbrot 1953), and the draws that give a person `views` different ones on average.

    A person sees an item once, which flattens the head: the power is such that the head has its share of what is left after that.
    """
    rank_I = np.arange(1, items + 1)
    head = max(1, round(HEAD * items))
    wanted = min(_HEAD_SHARE, 0.6 * head / views)  # where a person sees many of few items, the head cannot have more
    low, high = 0.0, 6.0
    for _ in range(40):
        power = (low + high) / 2
        chance_I = np.asarray((rank_I + _FLAT * items) ** -power, np.float64)
        chance_I /= chance_I.sum()
        draws = _draws(chance_I, views)
        share = -np.expm1(-draws * chance_I[:head]).sum() / views
        low, high = (power, high) if share < wanted else (low, power)
    return chance_I, draws


def _draws(chance_I: Floats, views: int) -> float:
    """Draws with replacement after which `views` different items are expected."""
    low, high = 0.0, 20.0  # as powers of e
    for _ in range(40):
        middle = (low + high) / 2
        many = -np.expm1(-np.exp(middle) * chance_I).sum() > views
        low, high = (low, middle) if many else (middle, high)
    return float(np.exp(low))


def _views(
    crowd: _Crowd, draws: float, catalogue: tuple[Floats, Floats, Ints, Floats], rng: np.random.Generator
) -> tuple[Ints, Ints, Floats]:
    """Person, item and moment of every view, sorted by person and moment; only the first of a person's views of an item is kept."""
    people, end = len(crowd.activity_U), START + _DAY * DAYS
    count_U = np.minimum(np.maximum(1, rng.poisson(draws * crowd.activity_U)), 100 * round(draws + 1))
    user_N = np.repeat(np.arange(people), count_U)
    day_N = np.floor((crowd.joined_U[user_N] + rng.random(len(user_N)) * (end - crowd.joined_U[user_N]) - START) / _DAY)
    evening_N = rng.random(len(user_N)) < 0.65
    hour_N = np.where(evening_N, rng.uniform(18, 24, len(user_N)), rng.uniform(8, 18, len(user_N)))
    time_N = np.floor(START + day_N * _DAY + hour_N * 3600)
    bucket_N = (day_N // 7).astype(np.int64) * 2 + evening_N
    order_N = np.argsort(bucket_N, kind="stable")
    edges = np.searchsorted(bucket_N[order_N], np.arange(bucket_N.max() + 2))
    item_N = np.empty(len(user_N), np.int64)
    for bucket in range(len(edges) - 1):
        rows_B = order_N[edges[bucket] : edges[bucket + 1]]
        if len(rows_B):
            chance_I = _chances(bucket, catalogue)
            item_N[rows_B] = _chosen(chance_I, crowd.taste_UD[user_N[rows_B]], catalogue[3], rng)
    order_N = np.lexsort((time_N, item_N, user_N))
    user_N, item_N, time_N = user_N[order_N], item_N[order_N], time_N[order_N]
    first_N = np.ones(len(user_N), bool)
    first_N[1:] = (user_N[1:] != user_N[:-1]) | (item_N[1:] != item_N[:-1])
    user_N, item_N, time_N = user_N[first_N], item_N[first_N], time_N[first_N]
    order_N = np.lexsort((item_N, time_N, user_N))
    return user_N[order_N], item_N[order_N], time_N[order_N]


def _chances(bucket: int, catalogue: tuple[Floats, Floats, Ints, Floats]) -> Floats:
    """How likely each item is to come before anybody's eyes in a week's days (even buckets) or evenings (odd)."""
    appeal_I, release_I, kind_I, _ = catalogue
    monday = START + _DAY * 7 * (bucket // 2)  # as the first day is; a programme comes with the week after its release
    age_I = (monday - release_I) / _DAY
    fresh_I = np.where(age_I < 0, 0.0, 1 + _FRESH * np.exp(-np.maximum(age_I, 0) / _FRESH_DAYS))
    kinds = int(kind_I.max()) + 1
    year = (monday - START) / _DAY / 365
    seasonal_C = np.where(
        np.arange(kinds) % 2 == 0, _SEASON * np.cos(2 * np.pi * (year - np.arange(kinds) / kinds)), 0.0
    )
    evening_C = np.where(np.arange(kinds) % 3 == 0, _EVENING if bucket % 2 else -_EVENING, 0.0)
    chance_I: Floats = appeal_I * fresh_I * np.exp(seasonal_C + evening_C)[kind_I]
    return chance_I


def _chosen(chance_I: Floats, taste_BD: Floats, item_ID: Floats, rng: np.random.Generator) -> Ints:
    """One item a view: of a few drawn by their chances, by taste and luck."""
    sums_I = np.cumsum(chance_I)
    drawn_BM = np.searchsorted(sums_I, rng.random((len(taste_BD), _CANDIDATES)) * sums_I[-1], side="right")
    liking_BM = np.einsum("bd,bmd->bm", taste_BD, item_ID[drawn_BM])
    best_B = (_CHOICE * liking_BM + rng.gumbel(size=liking_BM.shape)).argmax(1)
    return np.asarray(drawn_BM[np.arange(len(drawn_BM)), best_B], np.int64)


def _unit(rows_ND: Floats) -> Floats:
    result: Floats = rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)
    return result
