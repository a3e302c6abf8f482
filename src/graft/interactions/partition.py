"""Which interactions are learned from and which are to be foretold.

By time nothing after the cut is seen in training, as it will be in use; by each person's last like everybody has one; at random says least,
and is for tables without times. In all of them a target is a like of a person and an item that training has a like of: the others are
counted, and kept in `Cut.held` for measures of new people and items. As pairs are merged, no target was seen in training.

Legend: N interactions, M targets, U users, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, UsageError
from graft.interactions.likes import Interactions

SHARE = 0.8  # of all interactions, likes or not, lie before the cut

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Cut:
    """One way to part interactions.

    `train`: all rows to learn from, seen ones too. `held`: all likes held out. `targets_user_M`, `targets_item_M` (int32), `targets_time_M`
    (seconds, None without times): those likes whose person and item have a like in training, sorted by person. `now`: the
    moment of asking (None where each target has its own, or there are no times). `how`: time | last | random. `share`: the share of rows in training,
    `seed`: of a random cut. `new_people`, `new_items`: people and items of `held` without a like in training; `dropped`: likes of these, which are
    no targets.
    """

    train: Interactions
    held: Interactions
    targets_user_M: NDArray[np.int32]
    targets_item_M: NDArray[np.int32]
    targets_time_M: NDArray[np.float64] | None
    now: float | None
    how: str
    share: float
    seed: int
    new_people: int
    new_items: int
    dropped: int


def by_time(interactions: Interactions, share: float = SHARE) -> Cut:
    """Everything up to one moment against the likes after it: the moment that `share` of all rows, likes or not, lie before (their quantile, by
    linear interpolation). Raises UsageError without times or with a share outside (0, 1), DataError when nothing comes after the moment."""
    _check_share(share)
    times_N = _times(interactions)
    now = float(np.quantile(times_N, share))
    return _by_moment(interactions, now, np.inf, share)


def rolling(interactions: Interactions, cuts: int = 5, first: float = 0.5) -> list[Cut]:
    """Time cuts one after another: training up to each moment, targets up to the next. The moments part the rows from `first` on into `cuts`
    windows of equal size. For tables where one late cut leaves too few people who are known. Raises as `by_time`."""
    _check_share(first)
    if cuts < 1:
        raise UsageError(f"rolling cuts must be at least 1, not {cuts}.")
    shares = np.linspace(first, 1, cuts + 1)
    moments = np.quantile(_times(interactions), shares)
    moments[-1] = np.inf
    return [
        _by_moment(interactions, float(moments[i]), float(moments[i + 1]), float(shares[i] / shares[i + 1]))
        for i in range(cuts)
    ]


def leave_last_out(interactions: Interactions) -> Cut:
    """Each person's last like against all before it, where a person has two or more; of several of the same second the last item is taken.

    What a person saw after that like is in neither part. Raises UsageError without times, DataError when nobody has two likes.
    """
    _times(interactions)
    liked_N = interactions.weight_N > 0
    users = len(interactions.users)
    place_N = np.arange(len(interactions))
    last_U = np.full(users, len(interactions))
    several_U = np.bincount(interactions.user_N[liked_N], minlength=users) > 1
    found_U = np.zeros(users, np.int64)
    found_U[interactions.user_N[liked_N]] = place_N[liked_N]  # rows are sorted by time: the last one stays
    last_U[several_U] = found_U[several_U]
    train_N, held_N = place_N < last_U[interactions.user_N], place_N == last_U[interactions.user_N]
    if not held_N.any():
        raise DataError("Nobody has two likes, so no last like can be held out: more likes a person are needed.")
    return _cut(interactions, train_N, held_N, None, ("last", float(train_N.mean()), 0))


def at_random(interactions: Interactions, share: float = SHARE, seed: int = 0) -> Cut:
    """A random `share` of all rows against the likes among the others. Raises UsageError with a share outside (0, 1), DataError when no like is
    held out."""
    _check_share(share)
    train_N = np.random.default_rng([seed, 2]).permutation(len(interactions)) < round(share * len(interactions))
    held_N = ~train_N & (interactions.weight_N > 0)
    if not held_N.any() or not train_N.any():
        raise DataError(f"{len(interactions):,} interactions are too few to hold some out.")
    return _cut(interactions, train_N, held_N, None, ("random", share, seed))


def validation(cut: Cut) -> Cut:
    """A cut of the training part, made as the cut itself was: parameters are chosen on it, and the targets stay unseen. Raises as that does."""
    if cut.how == "time":
        return by_time(cut.train, cut.share)
    if cut.how == "last":
        return leave_last_out(cut.train)
    return at_random(cut.train, cut.share, cut.seed + 1)


def _by_moment(interactions: Interactions, now: float, until: float, share: float) -> Cut:
    times_N = _times(interactions)
    train_N = times_N <= now
    held_N = ~train_N & (times_N <= until) & (interactions.weight_N > 0)
    if train_N.all():
        raise DataError(
            f"No interaction comes after the moment that {share:.0%} lie before: the last {1 - share:.0%} or more have one time. Part them at random."
        )
    return _cut(interactions, train_N, held_N, now, ("time", share, 0))


def _cut(
    interactions: Interactions, train_N: Mask, held_N: Mask, now: float | None, way: tuple[str, float, int]
) -> Cut:
    train, held = interactions.rows(train_N), interactions.rows(held_N)
    liked = train.likes()
    known_U = np.bincount(liked.user_N, minlength=len(train.users)) > 0
    known_I = np.bincount(liked.item_N, minlength=len(train.items)) > 0
    kept_M = known_U[held.user_N] & known_I[held.item_N]
    targets = held.rows(kept_M)
    return Cut(
        train=train,
        held=held,
        targets_user_M=targets.user_N,
        targets_item_M=targets.item_N,
        targets_time_M=targets.time_N,
        now=now,
        how=way[0],
        share=way[1],
        seed=way[2],
        new_people=len(np.unique(held.user_N[~known_U[held.user_N]])),
        new_items=len(np.unique(held.item_N[~known_I[held.item_N]])),
        dropped=len(held) - len(targets),
    )


def _times(interactions: Interactions) -> NDArray[np.float64]:
    if interactions.time_N is None:
        raise UsageError("These interactions have no times, so they cannot be parted by time. Part them at random.")
    return interactions.time_N


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"the training share must lie between 0 and 1, not {share}.")
