"""What a collection gives to any query, and how far a hit stands out from it: "nothing matches" is an answer.

How a query scores against a sample of the items tells next to nothing: the standard score of the best hit separates questions that have an
answer from questions that have none with an area under the curve of .4 to .8, the best score itself, against what unrelated
questions get from the same collection, with .97 to 1.0 for texts (docs/LOG.md). So unrelated questions are asked, on many subjects;
for pictures and examples it is the items themselves that ask, each for its nearest other.
Legend: B background queries, D dims, K hits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from graft.retrieval.opened import OpenedIndex

Floats = NDArray[np.float32]

ASKED = 300  # items that ask for their nearest other
MATCH = 0.9  # confidence from which a hit is said to match: one unrelated question in ten to thirty gets one
_FOREIGN = 0.05 * (1 - MATCH) / MATCH
_FAINT = 1e-4  # a share of probability that counts as none


@cache
def unrelated() -> tuple[str, ...]:
    """Texts on many subjects, few of which any one collection is about."""
    return tuple(Path(__file__).with_suffix(".txt").read_text("utf-8").splitlines())


@dataclass(frozen=True)
class Background:
    """The best scores that background queries get from a collection: their median and tenth percentile.

    They are taken as a Gumbel distribution, that of maxima; shares of probability (`logarithm`), whose logarithms have no long upper tail,
    as a log-normal one. Fitted at and below the median, so that a collection that a fifth of the background is about loses less than .1 of confidence.
    """

    median: float
    low: float
    logarithm: bool = False

    @classmethod
    def fit(cls, best_B: Floats, *, logarithm: bool) -> Background:
        """From the best score of each background query."""
        low, median = np.quantile(np.log(np.maximum(best_B, _FAINT)) if logarithm else best_B, [0.1, 0.5])
        return cls(float(median), float(low), logarithm)

    def confidence(self, scores_K: Floats) -> Floats:
        """Probability (K,) that an unrelated query gets no score as high."""
        below = max(self.median - self.low, 1e-3)
        if self.logarithm:
            z_K = 1.2816 * (np.log(np.maximum(scores_K, _FAINT)) - self.median) / below
            return np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in z_K.tolist()], np.float32)
        spread = below / (math.log(math.log(10)) - math.log(math.log(2)))
        reduced_K = (scores_K - self.median) / spread - math.log(math.log(2))
        confidence: Floats = np.exp(-np.exp(-np.clip(reduced_K, -30, 30))).astype(np.float32)
        return confidence


def of_words(index: OpenedIndex) -> dict[str, Background]:
    """The background of questions in words, for every view they can be compared in."""
    return {
        view: Background.fit(
            index.search_vectors(q_BD, 1, view=view).scores[:, 0], logarithm=index.views[view].bridge_kind == "names"
        )
        for view, q_BD in index.encode_queries(unrelated(), keep=True).items()
    }


@dataclass(frozen=True)
class Nearness:
    """How near items are to their nearest other, what a picture or an example has to reach: the median, and the lower end (5 %).

    With p the share of items that are no nearer to any other (an exponential tail below the median), confidence is p / (p + .0056): .9 at
    the lower end, .989 at the median.
    """

    median: float
    low: float

    def confidence(self, scores_K: Floats) -> Floats:
        """Of each score (K,)."""
        scale = max((self.median - self.low) / np.log(10), 1e-6)
        share = 0.5 * np.exp(np.clip((scores_K - self.median) / scale, -30, 0))
        confidence: Floats = (share / (share + _FOREIGN)).astype(np.float32)
        return confidence


def of_items(index: OpenedIndex, view: str) -> Nearness:
    """The nearness of a view's items, from a sample; in an index of one item everything is near."""
    n = len(index)
    if n < 2:
        return Nearness(-1e6, -2e6)
    chosen = np.sort(np.random.default_rng(0).choice(n, min(n, ASKED), replace=False))
    scores = index.search_vectors(index.vectors(view, chosen), 2, view=view).scores[:, 1]
    low, median = np.quantile(scores, [0.05, 0.5])
    return Nearness(float(median), float(low))
