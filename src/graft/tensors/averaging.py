"""Means of weights and of answers: between old and new weights (WiSE-FT), over several trainings (soups), over several models (ensembles).

States are mappings from names to tensors of equal names and shapes, as `state_dict()` gives them. Floating tensors are averaged; others (counters,
tables) are taken from one state. Legend: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from graft.errors import ModelError, UsageError

FloatArray = NDArray[np.floating[Any]]
Float64Array = NDArray[np.float64]

State = Mapping[str, Tensor]
Score = Callable[[dict[str, Tensor]], float]

SHARES = tuple(step / 10 for step in range(11))


def interpolate(old: State, new: State, share: float) -> dict[str, Tensor]:
    """(1 - share) old + share new, tensor by tensor: WiSE-FT (Wortsman et al. 2022a). At 0 and 1 exactly the ends; others extrapolate.

    What is not floating comes from `new`. Raises ModelError for states of other names or shapes.
    """
    _check_alike([old, new])
    return {
        name: torch.lerp(start, new[name].to(start), share) if start.is_floating_point() else new[name].clone()
        for name, start in old.items()
    }


def sweep(old: State, new: State, score: Score, shares: Sequence[float] = SHARES) -> tuple[tuple[float, float], ...]:
    """(share, score of the weights at that share of the way) for each share; the larger the score the better."""
    return tuple((share, score(interpolate(old, new, share))) for share in shares)


def uniform_soup(states: Iterable[State]) -> dict[str, Tensor]:
    """The mean of all states (Wortsman et al. 2022b: model soups), which should have started from the same weights.

    Summed in float64, one state in memory at a time if `states` is a generator. What is not floating comes from the first.
    Raises UsageError for no states, ModelError for states of other names or shapes.
    """
    first: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    count = 0
    for state in states:
        if not count:
            first = {name: tensor.detach().clone() for name, tensor in state.items()}
            sums = {name: tensor.double() for name, tensor in first.items() if tensor.is_floating_point()}
        else:
            _check_alike([first, state])
            for name, total in sums.items():
                total.add_(state[name].to(total))
        count += 1
    if not count:
        raise UsageError("A soup needs at least one set of weights; there is none.")
    return first | {name: (total / count).to(first[name].dtype) for name, total in sums.items()}


def greedy_soup(states: Sequence[State], score: Score) -> tuple[dict[str, Tensor], tuple[int, ...], float]:
    """The greedy soup (Wortsman et al. 2022b, algorithm 1): its weights, the places of its members, and its score.

    States are tried from the best alone to the worst; one stays in if the mean with it scores at least as much as the mean without. `score` is on
    held-out items, larger is better, so the soup never scores below its best member; ties go to the earlier state. A score that is not a number
    counts as the worst. Raises as `uniform_soup`.
    """
    if not states:
        raise UsageError("A soup needs at least one set of weights; there is none.")

    def scored(state: State) -> float:
        value = float(score(dict(state)))
        return value if value == value else float("-inf")

    alone = [scored(state) for state in states]
    order = sorted(range(len(states)), key=lambda place: -alone[place])
    members, best = [order[0]], alone[order[0]]
    soup = uniform_soup([states[order[0]]])
    for place in order[1:]:
        tried = uniform_soup(states[member] for member in (*members, place))
        if (value := scored(tried)) >= best:
            members, best, soup = [*members, place], value, tried
    return soup, tuple(members), best


def ensemble(logits: Sequence[FloatArray], weights: Sequence[float] | None = None) -> Float64Array:
    """Logs of the mean of the models' probabilities, (N, C) in float64: logits whose softmax is that mean.

    `logits` holds one (N, C) array a model; `weights` (default equal) are scaled to the sum 1. Raises UsageError for no models, arrays of
    other shapes, and weights that are negative, all zero, or not one a model.
    """
    share = np.ones(len(logits)) if weights is None else np.asarray(weights, np.float64)
    if not len(logits) or len({np.shape(rows) for rows in logits}) > 1:
        raise UsageError("An ensemble needs the logits of at least one model, and all of one shape.")
    if share.shape != (len(logits),) or (share < 0).any() or not share.sum() > 0:
        raise UsageError(
            f"The weights of an ensemble are one a model, none below 0 and not all 0; not {share.tolist()}."
        )
    log_share: NDArray[np.float64] = np.full(len(share), -np.inf)
    np.log(share / share.sum(), out=log_share, where=share > 0)
    parts = np.stack([log_softmax(rows, axis=1) + log for rows, log in zip(logits, log_share, strict=True)])
    return np.asarray(np.logaddexp.reduce(parts, axis=0), np.float64)


def _check_alike(states: Sequence[State]) -> None:
    """Raises ModelError where the second state has other names or shapes than the first."""
    first, second = states
    if other := sorted(first.keys() ^ second.keys()):
        raise ModelError(f"The weights belong to different models; only one has {', '.join(other[:3])}.")
    if other := [name for name in first if first[name].shape != second[name].shape]:
        raise ModelError(f"The weights belong to different models; shapes differ in {', '.join(other[:3])}.")
