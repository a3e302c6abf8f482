"""New items by what they say and show: encoded, mapped to a model's item vectors, measured on items held out, kept and asked.

The ways are "text" (title, categories and description of an item) and "image" (its picture). A map is learned from the items that most people like, and
offered with what was measured: the share of people who find something they like among 10 of the items whose likes were kept from training.

Legend: I items, C dims of content, D dims of the model, M held-out items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content, ImageSource
from graft.encoders.base import Encoder
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.errors import DataError, MissingError, ModelError, UsageError
from graft.interactions.likes import Catalogue, Interactions
from graft.metrics.recommend import hit_rate, places
from graft.metrics.space import unit
from graft.recommenders.base import Recommender, histories_of
from graft.recommending.contest import Entry, Rules, fitted
from graft.recommending.result import Cold
from graft.store.cache import VectorCache
from graft.towers.new_items import ContentMap, HeldOut, NewItems, hold_out_items, judge, learn_map, liked_together

FEWEST = 100  # liked items with content, below which none can be held out to measure by
MOST = 5000  # items a map is learned from, those most liked: at a hundred texts a second less than a minute
SHARE = 0.2  # of these items, held out to measure by
SHUFFLES = 39  # the best of so many is beaten by luck once in forty times
WAYS = {"text": "text", "image": "picture"}  # as an encoder calls it, and as people do
OWN = "content/"  # what stands before the names of the arrays kept

Float32Array = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]
Tree = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Told:
    """What an encoder makes of the items: vectors (I, C), zeros where an item has no such content or is not among those looked at."""

    way: str
    encoder: str
    fingerprint: str
    content_IC: Float32Array


@dataclass(frozen=True, eq=False)
class Way:
    """The map of one way, the encoder it takes, and what was measured, in a sentence; `helps` where it is beyond doubt better than chance."""

    map: ContentMap
    encoder: str
    fingerprint: str
    measured: str
    helps: bool


@dataclass(frozen=True, eq=False)
class Placing:
    """By what new items are placed among the vectors (I, D) of the model of this name."""

    model: str
    vectors_ID: Float32Array
    ways: Mapping[str, Way]

    def facts(self) -> Tree:
        """All but the arrays, as JSON."""
        ways = {
            name: {"encoder": w.encoder, "fingerprint": w.fingerprint, "measured": w.measured, "helps": w.helps}
            for name, w in self.ways.items()
        }
        return {"model": self.model, "ways": ways}

    def arrays(self) -> Arrays:
        """The vectors and the maps, by names that begin with `OWN`."""
        found: Arrays = {OWN + "vectors": self.vectors_ID}
        for name, way in self.ways.items():
            found |= {f"{OWN}{name}/{part}": array for part, array in way.map.state().items()}
        return found

    @classmethod
    def rebuilt(cls, facts: Tree, arrays: Mapping[str, NDArray[Any]]) -> Placing:
        """What `facts` and `arrays` described. Raises KeyError or TypeError where they are not its own."""
        ways = {}
        for name, told in facts["ways"].items():
            begin = f"{OWN}{name}/"
            own = {key.removeprefix(begin): array for key, array in arrays.items() if key.startswith(begin)}
            ways[name] = Way(map=ContentMap.from_state(own), **told)
        return cls(facts["model"], arrays[OWN + "vectors"], ways)

    def likeness(self, way: str, content: Content) -> Float32Array:
        """Cosines (I,) of where a new item is put with the vectors of all items.

        Raises UsageError for a way that was not learned or an empty text, MissingError or DataError for a picture that cannot be read, ModelError
        where the encoder is another one now.
        """
        if way not in self.ways:
            raise UsageError(
                f"This recommender places new items by their {' or '.join(WAYS[w] for w in self.ways)}, not by a {WAYS[way]}: the table it was "
                f"fitted with has too few of these."
            )
        known = self.ways[way]
        encoder = _kept_open(known.encoder, way)
        if encoder.info.fingerprint != known.fingerprint:
            raise ModelError(
                f"The encoder {known.encoder} is not the one this recommender was fitted with. Fit again to use it."
            )
        if isinstance(content, str) and not content.strip():
            raise UsageError("The text of the new item is empty.")
        if isinstance(content, ImageSource) and not content.path.is_file():
            raise MissingError(f"There is no picture at {str(content.path)!r}.")
        named = ["the text" if isinstance(content, str) else str(content.path)]
        done = encode([content], encoder, ids=named, remember=False)
        if done.faults:
            raise DataError(f"{done.faults[0].where}: {done.faults[0].problem}")
        near_I = unit(self.vectors_ID) @ unit(known.map.vectors(done.vectors))[0]
        return np.asarray(near_I, np.float32)


def described(catalogue: Catalogue) -> list[str]:
    """What there is to read of every item: title, categories, description; "" where there is nothing."""
    texts = catalogue.texts or ("",) * len(catalogue.titles)
    each = zip(catalogue.titles, catalogue.categories, texts, strict=True)
    return [". ".join(filter(None, (title, ", ".join(names), text.strip()))) for title, names, text in each]


def told(catalogue: Catalogue, rows: Interactions, encoder: str | None) -> tuple[Told, ...]:
    """Vectors of the contents of the liked items, the most liked first, up to `MOST`; nothing of a way that fewer than `FEWEST` of them have.

    `encoder` is taken for the contents it is for, the bundled ones for the others.
    """
    likes_I = np.bincount(rows.likes().item_N, minlength=len(rows.items))
    order = [code for code in np.argsort(-likes_I, kind="stable").tolist() if likes_I[code]]
    contents: dict[str, Sequence[Content | None]] = {"text": [text or None for text in described(catalogue)]}
    if catalogue.pictures is not None:
        contents["image"] = [None if path is None else ImageSource(path) for path in catalogue.pictures]
    found = []
    for way, of_item in contents.items():
        codes = [code for code in order if of_item[code] is not None][:MOST]
        if len(codes) < FEWEST:
            continue
        opened = _encoder(encoder, way)
        with VectorCache.open() as cache:
            done = encode([c for code in codes if (c := of_item[code]) is not None], opened, cache=cache)
        content_IC = np.zeros((len(of_item), done.vectors.shape[1]), np.float32)
        content_IC[np.array(codes)[done.index]] = done.vectors
        found.append(Told(way, opened.info.reference, opened.info.fingerprint, content_IC))
    return tuple(found)


def placing(name: str, model: Recommender, contents: Sequence[Told], cold: Sequence[Cold]) -> Placing | None:
    """The maps to the vectors of a model fitted on all likes, with what was measured; None for a model without vectors or no content."""
    vectors_ID = model.item_vectors()
    ways = {}
    for one in contents:
        measured = next((c for c in cold if c.way == one.way), None)
        if vectors_ID is None or measured is None or measured.gain is None:
            continue
        learned = learn_map(one.content_IC, vectors_ID)
        ways[one.way] = Way(learned, one.encoder, one.fingerprint, said(measured), helps(measured))
    return Placing(name, np.asarray(vectors_ID, np.float32), ways) if ways and vectors_ID is not None else None


def new_items(
    entry: Entry | None, towers: Entry | None, rows: Interactions, contents: Sequence[Told], rules: Rules
) -> tuple[Cold, ...]:
    """How well items are recommended of which only the content is known: by the map to the entry's vectors, by likeness of content alone, by
    two towers that are told of items, and by chance, which is all that popularity can do for an item nobody has liked yet.

    A fifth of the liked items with content are kept from training; people who like one of them and another item are asked about.
    """
    if not contents or entry is None:
        why = "no model with item vectors was measured" if contents else f"fewer than {FEWEST} liked items have content"
        return (Cold(what="new items", n=0, reason=f"{why}, so new items were not measured"),)
    usable_I = np.any([one.content_IC.any(axis=1) for one in contents], axis=0)
    try:
        held = hold_out_items(rows, share=SHARE, usable_I=usable_I, seed=rules.seed)
        model = fitted(entry, held.train, rules)
    except DataError as problem:
        return (Cold(what="new items", n=0, reason=problem.message),)
    vectors_ID = model.item_vectors()
    assert vectors_ID is not None, "the entry was chosen for its vectors"
    out = []
    for one in contents:
        words = WAYS[one.way]
        mapped_MD = learn_map(one.content_IC, vectors_ID).vectors(one.content_IC[held.items_M])
        by_map = _judged(held, vectors_ID, mapped_MD, rules.seed)
        alone = _judged(held, one.content_IC, one.content_IC[held.items_M], rules.seed)
        out += [
            replace(_cold(f"new items: {entry.kind.name}, by their {words}", *by_map), way=one.way),
            _cold(f"new items: by likeness of {words} alone", *alone),
        ]
    if towers is not None and (rules.known.categories is not None or rules.known.content_IC is not None):
        net = model if towers is entry else fitted(towers, held.train, rules)
        own_BM = net.scores(histories_of(held.train, held.users_B))[:, held.items_M]
        out.append(_cold("new items: two-tower, by what it is told of items", *_told_apart(held, own_BM, rules.seed)))
    chance = by_map[0].chance
    return (*out, Cold(what="new items: by chance, as by popularity", n=chance.n, metrics={"hr@10": chance}))


def helps(cold: Cold) -> bool:
    """Whether content is beyond doubt better than chance: for other people, and better than when what belongs to one item is told of another."""
    return (
        cold.gain is not None
        and cold.gain.low is not None
        and cold.gain.low > 0
        and cold.metrics["hr@10"].value > cold.shuffled
    )


def said(cold: Cold) -> str:
    """What was measured of one way, in a sentence for people."""
    hits, gain, words = cold.metrics["hr@10"], cold.gain, WAYS.get(cold.way, "content")
    assert gain is not None, "only what was measured is told"
    by_chance = hits.value - gain.value
    verdict = (
        f"a new item's {words} helps to place it"
        if helps(cold)
        else f"a new item's {words} does not help to place it beyond doubt"
    )
    return (
        f"Of {hits.n:,} people {100 * hits.value:.1f} % find something they like among 10 items known by their {words} alone, {100 * by_chance:.1f} % by "
        f"chance: {verdict}."
    )


def _judged(held: HeldOut, item_ID: NDArray[Any], new_MD: NDArray[Any], seed: int) -> tuple[NewItems, float]:
    return _told_apart(held, liked_together(held.train.matrix()[held.users_B], item_ID, new_MD), seed)


def _told_apart(held: HeldOut, scores_BM: NDArray[Any], seed: int) -> tuple[NewItems, float]:
    """What is measured of the scores, and the best HR@10 of `SHUFFLES` scores in which items have changed places.

    Few items tell of few tastes: by luck noise may fit them, and all people share that luck, so an interval over people does not see it.
    """
    rng = np.random.default_rng(seed)
    shuffled = (scores_BM[:, rng.permutation(scores_BM.shape[1])] for _ in range(SHUFFLES))
    best = max(float(hit_rate(places(each_BM, held.row_N, held.column_N), 10).mean()) for each_BM in shuffled)
    return judge(held, lambda *_: scores_BM, seed=seed), best


def _cold(what: str, found: NewItems, shuffled: float) -> Cold:
    gain = found.over_chance
    ends = "" if gain.low is None else f" ({gain.low:+.3f} to {gain.high:+.3f})"
    reason = f"among {found.items:,} items held out; {gain.value:+.3f}{ends} to chance"
    cold = Cold(
        what=what, n=found.people, metrics={"hr@10": found.hit_rate}, reason=reason, gain=gain, shuffled=shuffled
    )
    return cold if helps(cold) else replace(cold, reason=f"{reason}: no help beyond doubt")


@lru_cache(maxsize=4)
def _kept_open(reference: str, way: str) -> Encoder:
    """The encoder by which new items are asked about: a server asks many times."""
    return open_encoder(reference, modality=way)


def _encoder(reference: str | None, way: str) -> Encoder:
    """The encoder named where it takes this content, else the bundled one. Raises as `open_encoder` for an encoder that takes neither."""
    if reference is not None:
        for modality in WAYS:
            try:
                opened = open_encoder(reference, modality=modality)
            except UsageError:
                continue
            if modality == way:
                return opened
        open_encoder(reference)
    return open_encoder(BUNDLED[way], modality=way)
