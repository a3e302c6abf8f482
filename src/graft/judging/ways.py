"""Ways to ask better: prompts, feedback from the first hits, words beside vectors, examples, maps learned from judged queries.

A way ranks the items for some queries under some settings; it never sees the answers of the queries it is measured on.
Legend: Q queries, N items, D dims, M dims of a second view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import UsageError
from graft.judging.learning import TEXT_WEIGHT, learned_queries, mlp_queries, prototypes
from graft.judging.scene import DEPTH, FOLDS, Scene, standard, top
from graft.retrieval.fusion import reciprocal_ranks
from graft.retrieval.speaking import prompted
from graft.retrieval.versions import view_weights
from graft.store.index import asked, prepared

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]
Settings = Mapping[str, Any]
Ranking = list[Longs]

TEMPLATES = {
    "image": ("a photo of a {}", "a picture of the {}", "a {} in the scene"),
    "text": ("{}", "this is about {}", "a text on the subject of {}"),
}


@dataclass(frozen=True)
class Way:
    """A way to search: its settings to choose among, how it ranks, and the words for people."""

    name: str
    settings: tuple[Settings, ...]
    rank: Callable[[Longs, Settings], Ranking]


class Ways:
    """All ways that a scene allows. What costs time is computed once and kept."""

    def __init__(self, scene: Scene, tuned_on: Longs, seed: int) -> None:
        self.scene, self._tuned_on, self._seed = scene, tuned_on, seed

    @cached_property
    def vectors(self) -> dict[str, Floats]:
        """What the words of the queries become, in every view they can be compared in."""
        return self._encode(self.scene.texts)

    def _encode(self, texts: Sequence[str]) -> dict[str, Floats]:
        return self.scene.index.encode_queries(texts, keep=True)

    def every(self) -> list[Way]:
        """The plain search first."""
        ways = [Way("plain", ({},), self._plain), Way("prompts", self._prompt_settings(), self._prompts)]
        feedback = tuple({"items": m, "weight": w} for m, w in product((3, 10, 30), (0.25, 0.5, 1.0)))
        ways.append(Way("feedback", feedback, self._feedback))
        if len(self.vectors) > 1:
            shares = tuple({"share": share} for share in (0.1, 0.25, 0.4, 0.6, 0.75, 0.9))
            ways.append(Way("fusion", (*shares, {"share": "by query"}), self._fusion))
            ways += [Way(f"only {view}", ({"view": view},), self._only) for view in self.vectors]
        if self.scene.index.manifest.words:
            ways.append(Way("words", ({},), self._words))
            ways.append(self.with_words(ways[0], {}))
        if self.scene.examples is not None:
            blends = tuple({"words": w} for w in (0.0, 0.25, 0.5, 1.0))
            ways += [
                Way("example mean", blends, self._example_mean),
                Way("network", tuple({"mean": w} for w in (0.0, 0.5, 1.0)), self._network),
                Way("examples", tuple({"words": w} for w in (0.0, 5.0, TEXT_WEIGHT)), self._learned),
            ]
        if len(self._tuned_on) >= 20 and self.scene.examples is None:
            ways.append(Way("map", tuple({"penalty": p} for p in (1.0, 10.0, 100.0, 1000.0)), self._map))
        return ways

    # Each way in turn

    def _plain(self, chosen: Longs, _: Settings) -> Ranking:
        return self._ranked(chosen, lambda block: self._scores(self.vectors, block))

    def _prompt_settings(self) -> tuple[Settings, ...]:
        templates = TEMPLATES["text" if self.scene.index.modality == "text" else "image"]
        return (*({"templates": (t,)} for t in templates), {"templates": templates}, {"templates": ("{}", *templates)})

    def _prompts(self, chosen: Longs, settings: Settings) -> Ranking:
        vectors = prompted(self._encode, self.scene.texts, settings["templates"])
        return self._ranked(chosen, lambda block: self._scores(vectors, block))

    def _feedback(self, chosen: Longs, settings: Settings) -> Ranking:
        """Pseudo-relevance feedback (Rocchio 1971): the first hits, taken for right, are examples of what is sought."""
        own = self.scene.rows(self.scene.own)

        def scores(block: Longs) -> Floats:
            first = standard(self._scores(self.vectors, block))
            means = np.stack([own[ranking].mean(0) for ranking in top(first, settings["items"])])
            again: Floats = first + settings["weight"] * standard(means @ own.T)
            return again

        return self._ranked(chosen, scores)

    def _fusion(self, chosen: Longs, settings: Settings) -> Ranking:
        """Weights of the views' standard scores: a share of the first, or, by query, as far as each view's best hit stands out."""
        first = next(iter(self.vectors))

        def scores(block: Longs) -> Floats:
            total = np.zeros((len(block), len(self.scene.positions)), np.float32)
            for view, q_QD in self.vectors.items():
                raw = self.scene.scores({view: q_QD}, block)
                if settings["share"] == "by query":
                    total += self.scene.index.word_background[view].confidence(raw.max(1))[:, None] * standard(raw)
                else:
                    share = float(settings["share"])
                    total += (share if view == first else (1 - share) / (len(self.vectors) - 1)) * standard(raw)
            return total

        return self._ranked(chosen, scores)

    def _only(self, chosen: Longs, settings: Settings) -> Ranking:
        view = settings["view"]
        return self._ranked(chosen, lambda block: self._scores({view: self.vectors[view]}, block))

    def _words(self, chosen: Longs, _: Settings) -> Ranking:
        return [self._by_words[query] for query in chosen.tolist()]

    @cached_property
    def _by_words(self) -> dict[int, Longs]:
        scene = self.scene
        place = np.full(len(scene.index), -1, np.int64)
        place[scene.positions] = np.arange(len(scene.positions))
        found = {}
        for query, text in enumerate(scene.texts):
            places = place[scene.index.by_words(text, DEPTH, where=scene.where)]
            found[query] = places[places >= 0]
        return found

    def with_words(self, way: Way, known: Settings) -> Way:
        """A way by vectors under settings that are `known`, joined with the ranking by words (reciprocal-rank fusion)."""

        def rank(chosen: Longs, settings: Settings) -> Ranking:
            near, said = way.rank(chosen, known), self._words(chosen, {})
            weights = (1.0, settings["words"])
            return [reciprocal_ranks([a, b], weights=weights)[0][:DEPTH] for a, b in zip(near, said, strict=True)]

        name = "hybrid" if way.name == "plain" else f"{way.name} + hybrid"
        return Way(name, tuple({"words": w} for w in (0.1, 0.25, 0.5, 0.75, 1.0, 1.5)), rank)

    def _example_mean(self, chosen: Longs, settings: Settings) -> Ranking:
        """The mean of the examples as the query, blended with the words."""
        x_ND, y_N = self._examples
        means = prototypes(x_ND, y_N, len(self.scene.judged))
        own = self.scene.rows(self.scene.own)

        def scores(block: Longs) -> Floats:
            total = standard(means[block] @ own.T)
            if settings["words"]:
                total = total + settings["words"] * standard(self._scores(self.vectors, block))
            return total

        return self._ranked(chosen, scores)

    def _network(self, chosen: Longs, settings: Settings) -> Ranking:
        """A small network from words to the items' space, blended with the mean of the examples."""
        x_ND, y_N = self._examples
        blend = self._sent + settings["mean"] * prototypes(x_ND, y_N, len(self.scene.judged))
        own = self.scene.rows(self.scene.own)
        return self._ranked(chosen, lambda block: blend[block] @ own.T)

    @cached_property
    def _sent(self) -> Floats:
        x_ND, y_N = self._examples
        return mlp_queries(next(iter(self.vectors.values())), x_ND, y_N, seed=self._seed)

    def _learned(self, chosen: Longs, settings: Settings) -> Ranking:
        learned = self.learned(settings)
        return self._ranked(chosen, lambda block: self.scene.scores(learned, block, raw=True))

    def learned(self, settings: Settings) -> dict[str, Floats]:
        """Queries (Q, D) a view, learned from examples by one-against-the-rest regression.

        Where words reach pictures by class names, the classes' probabilities are learned from too, and the words count besides, with the
        weight in `settings`. Kinds, which are sums of classes, are left out: they would count their classes twice.
        """
        scene = self.scene
        x_ND, y_N = self._examples
        other = next((view for view in self.vectors if scene.index.views[view].bridge_kind == "names"), None)
        if other is None:
            return {scene.own: learned_queries(x_ND, y_N, len(scene.judged)).first_QD}
        classes = scene.index.speaker.classes(other)
        second = scene.index.vectors(other, self._example_rows[0])[:, :classes]
        said = settings["words"] * self.vectors[other]
        made = learned_queries(x_ND, y_N, len(scene.judged), second_NM=second)
        assert made.second_QM is not None
        said[:, :classes] += made.second_QM
        return {scene.own: made.first_QD, other: said}

    @cached_property
    def _example_rows(self) -> tuple[Longs, Longs]:
        assert self.scene.examples is not None
        given = self.scene.examples
        return np.concatenate(given), np.repeat(np.arange(len(given)), [len(rows) for rows in given])

    @cached_property
    def _examples(self) -> tuple[Floats, Longs]:
        positions, labels = self._example_rows
        if len(np.unique(labels)) < 2:
            raise UsageError("--learn leaves fewer than two queries with an example: nothing can be learned from them.")
        raw = self.scene.index.vectors(self.scene.own, positions)
        return prepared(raw, self.scene.index.views[self.scene.own].metric), labels

    def _map(self, chosen: Longs, settings: Settings) -> Ranking:
        """A ridge map of the query's vector towards the items that answer it, learned from judged queries that share no answer with those it
        is used on."""
        view, q_QD = self._spoken
        rows = self.scene.rows(view)
        moved = q_QD.copy()
        for held in self._folds(chosen):
            learn = self.scene.apart(self._tuned_on, held)
            if len(learn) > 1:
                moved[held] = q_QD[held] @ self._ridge(learn, settings["penalty"])
        return self._ranked(chosen, lambda block: moved[block] @ rows.T)

    @property
    def _spoken(self) -> tuple[str, Floats]:
        """The view that words speak in first, and the queries as they are compared in it."""
        view, q_QD = next(iter(self.vectors.items()))
        return view, asked(q_QD, self.scene.index.views[view].metric)

    def whole_map(self, settings: Settings) -> dict[str, Floats]:
        """The map learned from all queries that may be learned from, for the view it is of."""
        return {self._spoken[0]: self._ridge(self._tuned_on, settings["penalty"])}

    def _ridge(self, learn: Longs, penalty: float) -> Floats:
        """The matrix (D, D) that takes queries to the mean of their answers: the identity, and a ridge regression of what is missing."""
        view, q_QD = self._spoken
        rows, x_QD = self.scene.rows(view), q_QD[learn].astype(np.float64)
        goal_QD = np.stack([rows[list(self.scene.gains[query])].mean(0) for query in learn.tolist()])
        eye = np.eye(q_QD.shape[1])
        step = np.linalg.solve(x_QD.T @ x_QD + penalty * eye, x_QD.T @ (goal_QD - x_QD))
        return np.asarray(eye + step, np.float32)

    def _folds(self, chosen: Longs) -> list[Longs]:
        """`chosen` in parts that are mapped by what was learned without them: fifths of those that are learned from, the others as one."""
        inside = np.intersect1d(chosen, self._tuned_on)
        fold = self.scene.fold[inside]
        parts = [*(inside[fold == number] for number in range(FOLDS)), np.setdiff1d(chosen, self._tuned_on)]
        return [part for part in parts if len(part)]

    def _scores(self, vectors: Mapping[str, Floats], block: Longs) -> Floats:
        """Of words that speak in one view as they are; of several, the weighted sum of standard scores."""
        if len(vectors) == 1:
            return self.scene.scores(vectors, block)
        weights = view_weights([self.scene.index.views[view] for view in vectors])
        parts = [weights[view] * standard(self.scene.scores({view: q}, block)) for view, q in vectors.items()]
        total: Floats = np.sum(parts, axis=0, dtype=np.float32)
        return total

    def _ranked(self, chosen: Longs, scores: Callable[[Longs], Floats]) -> Ranking:
        return [ranking for block in self.scene.blocks(chosen) for ranking in top(scores(block))]
