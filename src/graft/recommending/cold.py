"""How newcomers are served: people of whom a few likes are known.

Legend: P people with targets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from graft.metrics.rank import query_interval
from graft.metrics.recommend import rank_people
from graft.recommenders.base import Histories, Recommender
from graft.recommending.contest import KS, TOLD, Contest, Exam, Rules, fitted
from graft.recommending.result import Cold

GIVEN = (1, 3, 10)  # likes that are told of a new person
MOST = 1000  # new people looked at


def newcomers(found: Contest, exam: Exam, rules: Rules) -> tuple[Cold, ...]:
    """The chosen model, fitted without the people asked about, from their last 1, 3 and 10 likes in one step; beside popularity."""
    seed = rules.seed
    known_P = exam.known()
    some = np.flatnonzero(known_P >= max(GIVEN))
    some = np.sort(np.random.default_rng(seed).permutation(some)[:MOST])
    if len(some) < 2:
        reason = (
            f"people of the test part with {max(GIVEN)} likes or more: {len(some)}, too few to measure newcomers on"
        )
        return (Cold(what="people", n=len(some), reason=reason),)
    train = exam.cut.train
    others = train.rows(~np.isin(train.user_N, exam.people_P[some]))
    out = []
    for entry in dict.fromkeys((found.entries[0], found.chosen)):
        model = fitted(entry, others, rules)
        for given in GIVEN if entry is found.chosen else GIVEN[:1]:
            likes = "" if entry is found.entries[0] else f", from {given} like{'s' * (given > 1)}"
            out.append(_measured(f"new people: {entry.kind.name}{likes}", model, exam, some, given, seed))
    return tuple(out)


def _measured(what: str, model: Recommender, exam: Exam, some: np.ndarray, given: int, seed: int) -> Cold:
    short = [_latest(exam.histories.part(p, p + 1), given, float(exam.now_P[p])) for p in some.tolist()]

    def score(part: slice) -> np.ndarray:
        return np.concatenate([model.scores(one) for one in short[part]])

    ranked = rank_people(score, [exam.targets[p] for p in some.tolist()], exam.seen[some], exam.likes_I, ks=KS)
    return Cold(what=what, n=len(some), metrics={name: query_interval(ranked.each[name], seed) for name in TOLD})


def _latest(history: Histories, given: int, now: float) -> Histories:
    """The history as that of someone unknown with the latest `given` likes alone; the last ones named where there are no times."""
    matrix = history.matrix
    times = np.arange(matrix.nnz, dtype=np.float64) if history.times is None else history.times
    kept = np.sort(np.argsort(times, kind="stable")[-given:])
    from scipy.sparse import csr_matrix

    short = csr_matrix((matrix.data[kept], matrix.indices[kept], [0, len(kept)]), shape=matrix.shape)
    own = None if history.times is None else history.times[kept]
    return replace(history, matrix=short, times=own, users_B=None, now=None if np.isnan(now) else now)
