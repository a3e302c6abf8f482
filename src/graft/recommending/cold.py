"""How newcomers are served: people of whom a few likes are known.

Legend: P people with targets.
"""

from __future__ import annotations

import numpy as np

from graft.metrics.rank import query_interval
from graft.recommending.contest import TOLD, Contest, Exam, Rules, fitted
from graft.recommending.result import Cold

GIVEN = (1, 3, 10)  # likes that are told of a new person
MOST, SHARE = 1000, 0.2  # new people looked at, of all people: without many more a model would be another one


def newcomers(found: Contest, exam: Exam, rules: Rules) -> tuple[Cold, ...]:
    """The chosen model, fitted without the people asked about, from their last 1, 3 and 10 likes in one step; beside popularity."""
    seed = rules.seed
    known_P = exam.known()
    some = np.flatnonzero(known_P >= max(GIVEN))
    most = min(MOST, int(SHARE * len(np.unique(exam.cut.train.user_N))))
    some = np.sort(np.random.default_rng(seed).permutation(some)[:most])
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
            each = exam.newcomers(some, given).take(model).each
            metrics = {name: query_interval(each[name], seed) for name in TOLD}
            out.append(Cold(what=f"new people: {entry.kind.name}{likes}", n=len(some), metrics=metrics))
    return tuple(out)
