"""C6: cold start: new items from their text, and new people from one, three and ten likes.

New items: a part of the items is kept from training with all its likes, and ranked for the people who like one of them, by content alone; popularity
cannot tell them apart, so it has what chance has. New people: a part of the people is kept from training; of each the first likes are told and those
after the tenth foretold.

Legend: I items, M new items, B people, C dims of content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
    over_seeds,
    percent,
    points,
    share_over_seeds,
)

from graft.interactions.likes import Catalogue, Interactions
from graft.interactions.read import read_interactions
from graft.interactions.streamrec import generate
from graft.metrics.rank import paired_interval, query_interval
from graft.metrics.recommend import rank_people
from graft.recommenders.als import ALS
from graft.recommenders.base import Float32Array, Recommender, histories_from, histories_of
from graft.recommenders.ease import EASE
from graft.recommenders.neighbours import ItemNeighbours
from graft.recommenders.popularity import Popularity
from graft.towers.known import Known, item_facts, item_rows
from graft.towers.new_items import HeldOut, hold_out_items, judge, learn_map, liked_together
from graft.towers.training import Training
from graft.towers.two_tower import TwoTower

REAL, ENCODER = "data:ml-latest-small", "minilm"
LEAST = 5  # likes of a real film that takes part: of thousands with fewer little can be learned, and they cost most of the time
GIVEN, K = (1, 3, 10), 10
SHARE = 0.2  # of the items, and of the people, are new
BASE = "popularity"
TEXT, KINDS_ALONE = "text", "categories"
Contents = dict[str, Float32Array]


def measure(setting: Setting) -> Numbers:
    if setting.quick:
        reading = generate(150, 200, seed=0).reading
        sets = {"made up": [(reading.interactions, reading.catalogue)]}
    else:
        made = [generate(400, 250, seed=seed).reading for seed in range(3)]
        real = read_interactions(REAL)
        sets = {
            "made up": [(one.interactions, one.catalogue) for one in made],
            REAL.removeprefix("data:"): [often_liked(real.interactions, real.catalogue)] * 3,
        }
    encoder, epochs = (None, 2) if setting.quick else (setting.encoder or ENCODER, 3)
    return {
        "epochs": epochs,
        "encoder": encoder,
        "sets": {name: of(rows, encoder, epochs) for name, rows in sets.items()},
    }


def often_liked(rows: Interactions, catalogue: Catalogue) -> tuple[Interactions, Catalogue]:
    """Only the items with `LEAST` likes or more."""
    kept = np.flatnonzero(np.bincount(rows.likes().item_N, minlength=len(rows.items)) >= LEAST)
    code_I = np.full(len(rows.items), -1, np.int32)
    code_I[kept] = np.arange(len(kept))
    some = rows.rows(code_I[rows.item_N] >= 0)
    some = replace(some, items=tuple(rows.items[i] for i in kept), item_N=code_I[some.item_N])
    return some, Catalogue(tuple(catalogue.titles[i] for i in kept), tuple(catalogue.categories[i] for i in kept))


def contents_of(catalogue: Catalogue, encoder: str | None) -> Contents:
    """Categories as shares, and where there is an encoder the vectors of "title: categories", with the description where there is one."""
    items = len(catalogue.titles)
    known = Known(categories=catalogue.categories)
    found = {KINDS_ALONE: item_rows(known, item_facts(known), items)}
    if encoder is None:
        return found
    from graft.encoders.open import open_encoder
    from graft.encoding import encode
    from graft.store.cache import VectorCache

    more = catalogue.texts or ("",) * items
    texts = [
        f"{title}: {', '.join(kinds)}. {text}".strip()
        for title, kinds, text in zip(catalogue.titles, catalogue.categories, more, strict=True)
    ]
    with VectorCache.open() as cache:
        done = encode(texts, open_encoder(encoder, modality="text"), cache=cache)
    return found | {TEXT: np.asarray(done.vectors, np.float32)}


def of(rows: Sequence[tuple[Interactions, Catalogue]], encoder: str | None, epochs: int) -> dict[str, Any]:
    """Both questions for a set, by several seeds, each with its interactions."""
    items, people = [], []
    before: tuple[Catalogue | None, Contents] = (None, {})
    for seed, (interactions, catalogue) in enumerate(rows):
        if catalogue is not before[0]:
            before = (catalogue, contents_of(catalogue, encoder))
        items.append(new_items(interactions, catalogue, before[1], epochs, seed))
        people.append(new_people(interactions, catalogue, epochs, seed))
    return {"items": items_told(items), "people": people_told(people)}


# --- new items


def new_items(
    rows: Interactions, catalogue: Catalogue, contents: Contents, epochs: int, seed: int
) -> dict[str, dict[str, float]]:
    """HR@10 and recall@10 among the new items by each way to place them."""
    held = hold_out_items(rows, share=SHARE, seed=seed)
    factors = ALS.fit(held.train, dims=32, seed=seed)
    ways: dict[str, Callable[[Any, NDArray[np.int64]], NDArray[Any]]] = {}
    for name, content_IC in contents.items():
        ways[f"likeness of {name}"] = _alike(content_IC, held.items_M, content_IC)
        mapped = learn_map(content_IC, factors.item_vectors(), seed=seed)
        placed = mapped.vectors(content_IC[held.items_M])
        ways[f"ALS and a map from {name}"] = _alike(factors.item_vectors(), None, placed)
    known = Known(categories=catalogue.categories, content_IC=contents.get(TEXT))
    ways[f"two towers told of {' and '.join(contents)}"] = _towers(held, known, epochs, seed)
    found = {way: judge(held, scores, k=K, seed=seed) for way, scores in ways.items()}
    chance = next(iter(found.values()))
    rows_ = {BASE: {"hit_rate": chance.chance.value, "over": 0.0, "people": chance.people, "items": chance.items}}
    return rows_ | {
        way: {"hit_rate": one.hit_rate.value, "recall": one.recall.value, "over": one.over_chance.value}
        for way, one in found.items()
    }


def _alike(
    item_IC: Float32Array, new_M: NDArray[np.int64] | None, of_new: Float32Array
) -> Callable[[Any, NDArray[np.int64]], NDArray[Any]]:
    """Scores by the likeness of new items to what people like; `of_new` are rows of the new items, or of all with their codes."""
    new_MD = of_new if new_M is None else of_new[new_M]
    return lambda likes, _: liked_together(likes, item_IC, new_MD)


def _towers(held: HeldOut, known: Known, epochs: int, seed: int) -> Callable[[Any, NDArray[np.int64]], NDArray[Any]]:
    model = TwoTower.fit(held.train, dims=32, epochs=epochs, training=Training(standing=False), known=known, seed=seed)
    some = Known(
        categories=None if known.categories is None else [known.categories[i] for i in held.items_M],
        content_IC=None if known.content_IC is None else known.content_IC[held.items_M],
    )
    new_MD = model.new_item_vectors(some, len(held.items_M))
    return lambda _, users: model.person_vectors(histories_of(held.train, users))[0] @ new_MD.T


def items_told(found: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    return {
        "people": [int(one[BASE]["people"]) for one in found],
        "items": [int(one[BASE]["items"]) for one in found],
        "ways": {
            way: {
                "hit_rate": share_over_seeds([one[way]["hit_rate"] for one in found]),
                "over": over_seeds([one[way]["over"] for one in found]),
            }
            for way in found[0]
        },
    }


# --- new people


def new_people(rows: Interactions, catalogue: Catalogue, epochs: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """HR@10 of each new person by each model and number of likes told."""
    liked = rows.likes()
    many = np.flatnonzero(np.bincount(liked.user_N, minlength=len(rows.users)) > max(GIVEN))
    new = np.sort(np.random.default_rng(seed).permutation(many)[: max(2, round(SHARE * len(many)))])
    train = rows.rows(~np.isin(rows.user_N, new))
    known_I = np.bincount(train.likes().item_N, minlength=len(rows.items)) > 0
    told, targets, kept = [], [], []
    for user in new.tolist():
        mine = liked.item_N[liked.user_N == user]  # as they came, where there are times
        after = mine[max(GIVEN) :]
        if known_I[after].any():
            told.append(mine[: max(GIVEN)])
            targets.append(np.sort(after[known_I[after]]))
            kept.append(user)
    seen = rows.seen()[kept].tolil()
    for row, items in enumerate(targets):
        seen[row, items] = 0
    seen = seen.tocsr()
    seen.eliminate_zeros()
    likes_I = np.bincount(train.likes().item_N, minlength=len(rows.items))
    known = Known(categories=catalogue.categories)
    models: dict[str, Recommender] = {
        BASE: Popularity.fit(train),
        "item-knn": ItemNeighbours.fit(train),
        "ALS": ALS.fit(train, dims=32, seed=seed),
        "EASE": EASE.fit(train),
        "two towers": TwoTower.fit(train, dims=32, epochs=epochs, known=known, seed=seed),
    }
    found = {}
    for name, model in models.items():
        for given in GIVEN:
            asked = histories_from([items[:given].tolist() for items in told], len(rows.items))

            def score(part: slice, model: Recommender = model, asked: Any = asked) -> Float32Array:
                return model.scores(asked.part(part.start, part.stop))

            found[f"{name} {given}"] = rank_people(score, targets, seen, likes_I, ks=(K,)).each[f"hr@{K}"]
    return found


def people_told(found: list[dict[str, NDArray[np.float64]]]) -> dict[str, Any]:
    """The people of all seeds together."""
    each = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    names = list(dict.fromkeys(name.rpartition(" ")[0] for name in each))
    return {
        "people": len(next(iter(each.values()))),
        "ways": {
            name: {
                str(given): {
                    "hit_rate": query_interval(each[f"{name} {given}"], 0),
                    "over": paired_interval(each[f"{name} {given}"], each[f"{BASE} {given}"], 0),
                }
                for given in GIVEN
            }
            for name in names
        },
    }


def present(numbers: Numbers) -> Page:
    sets = numbers["sets"]
    tables, figures = [], {}
    for place, (name, row) in enumerate(sets.items()):
        items, people = row["items"], row["people"]
        tables.append(
            Table(
                f"New items, {name}: {' / '.join(f'{n:,}' for n in items['items'])} new items and "
                f"{' / '.join(f'{n:,}' for n in items['people'])} people, by seed; mean and interval over the seeds.",
                ("placed by", f"HR@{K} among the new", "over popularity (points)"),
                [
                    (way, percent(got["hit_rate"]), "" if way == BASE else points(got["over"]))
                    for way, got in items["ways"].items()
                ],
            )
        )
        tables.append(
            Table(
                f"New people, {name}: {people['people']:,} people of all seeds, HR@{K}; in brackets over popularity (points).",
                ("model", *(f"{given} like{'s' * (given > 1)} told" for given in GIVEN)),
                [
                    (
                        way,
                        *(
                            percent(got[str(g)]["hit_rate"])
                            + ("" if way == BASE else f"; {points(got[str(g)]['over'])}")
                            for g in GIVEN
                        ),
                    )
                    for way, got in people["ways"].items()
                ],
            )
        )
        figures[f"people_{place + 1}.svg"] = line_chart(
            f"New people by the likes told, {name}",
            Axis("likes told", {float(i): str(g) for i, g in enumerate(GIVEN)}),
            Axis(f"HR@{K}", percent=True),
            [
                Line(
                    way,
                    [(float(i), got[str(g)]["hit_rate"]["value"]) for i, g in enumerate(GIVEN)],
                    [ends(got[str(g)]["hit_rate"]) for g in GIVEN],
                    dashed=way == BASE,
                )
                for way, got in people["ways"].items()
            ],
        )
    return Page(
        answer=" ".join(_answer(name, row) for name, row in sets.items()),
        reading=(
            "New items have no likes, so popularity ranks them as chance does. Likeness of content needs no training at all; a map into the space of ALS and "
            "towers told of content also learn which content goes together. New people are placed in one step from their likes by every model, nothing "
            "is trained again; people who like fewer than eleven items cannot be asked about and are left out. "
            f"Nothing was tuned; the towers had {numbers['epochs']} epochs. "
            f"Of real films those with at least {LEAST} likes take part. Pictures: neither set has any."
        ),
        tables=tables,
        figures=figures,
    )


def _answer(name: str, row: dict[str, Any]) -> str:
    items, people = row["items"]["ways"], row["people"]["ways"]
    best = max((way for way in items if way != BASE), key=lambda way: items[way]["hit_rate"]["value"])
    first = {
        str(g): max((w for w in people if w != BASE), key=lambda w: people[w][str(g)]["hit_rate"]["value"])
        for g in GIVEN
    }
    return (
        f"{name}: new items best by {best}, HR@{K} {percent(items[best]['hit_rate'])} where popularity has {percent(items[BASE]['hit_rate'])}; new people over "
        "popularity "
        + ", ".join(f"{points(people[way][g]['over'])} points from {g} ({way})" for g, way in first.items())
        + "."
    )


STUDY = Study(
    name="c06_cold_start",
    title="C6: cold start",
    question="How well are new items placed by their text alone, and new people by one, three and ten likes, beside popularity?",
    measure=measure,
    present=present,
    expected={
        "sets > made up > items > ways > likeness of categories > over > value": about(0.23, 0.12),
        "sets > made up > people > ways > ALS > 10 > over > value": about(0.105, 0.09),
        "sets > ml-latest-small > items > ways > popularity > hit_rate > value": about(0.267, 0.02),
        "sets > ml-latest-small > items > ways > likeness of text > over > value": about(0.374, 0.06),
        "sets > ml-latest-small > items > ways > ALS and a map from text > over > value": about(0.415, 0.12),
        "sets > ml-latest-small > items > ways > two towers told of categories and text > over > value": about(
            0.488, 0.1
        ),
        "sets > ml-latest-small > people > ways > ALS > 1 > over > value": about(-0.053, 0.05),
        "sets > ml-latest-small > people > ways > ALS > 10 > over > value": about(0.102, 0.05),
        "sets > ml-latest-small > people > ways > two towers > 10 > over > value": about(-0.014, 0.06),
    },
    expected_quick={
        "sets > made up > items > ways > popularity > hit_rate > value": about(0.48, 0.05),
        "sets > made up > items > ways > likeness of categories > over > value": about(0.26, 0.15),
        "sets > made up > items > ways > ALS and a map from categories > over > value": about(0.34, 0.2),
        "sets > made up > people > people": (9, 9),
    },
    takes_encoder=True,
)

if __name__ == "__main__":
    main(STUDY)
