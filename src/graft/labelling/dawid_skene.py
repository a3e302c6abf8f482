"""True classes and error rates of several unreliable observers, from what they said alone.

A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied Statistics 28 (1979).

Legend: N items, R observers, C classes, A answers (the classes, and silence where that is an answer too).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
TINY = 1e-300
BELIEVED, WEIGHT = 0.7, 100.0  # share of a rule's votes thought right beforehand; how many items that belief is worth


@dataclass(frozen=True, eq=False)
class Consensus:
    """`posterior` (N, C) of the true classes, `prior` (C,) how common they are, `answers` (R, C, A) what each observer answers to each
    true class (rows sum to 1), `log_likelihood` after each round, never falling (without smoothing).
    """

    posterior: Floats
    prior: Floats
    answers: Floats
    log_likelihood: tuple[float, ...]


def dawid_skene(
    count_NRA: NDArray[np.integer] | Floats,
    n_classes: int,
    *,
    belief_RCA: Floats | None = None,
    rounds: int = 200,
    tolerance: float = 1e-7,
) -> Consensus:
    """Maximum likelihood by EM. `count_NRA` says how often observer r answered a to item n; the first `n_classes` answers are the classes.

    Starts from the share of each class among an item's answers (the paper's 3.1); an item with none of the classes among them starts
    uniform. `belief_RCA` counts answers (R, C, A) that were seen before in thought, a Dirichlet prior; without it the estimates are the
    paper's. Ends when the log likelihood an item gains less than `tolerance`.
    """
    count_NRA = np.asarray(count_NRA, np.float64)
    n, observers, kinds = count_NRA.shape
    flat_NX = count_NRA.reshape(n, observers * kinds)
    said_NC = count_NRA[:, :, :n_classes].sum(axis=1)
    total_N1 = said_NC.sum(axis=1, keepdims=True)
    posterior_NC = np.where(total_N1 > 0, said_NC / np.maximum(total_N1, 1), 1 / n_classes)
    told: list[float] = []
    for _ in range(rounds):
        prior_C = posterior_NC.mean(axis=0)
        answers_RCA = (posterior_NC.T @ flat_NX).reshape(n_classes, observers, kinds).transpose(1, 0, 2)
        answers_RCA = answers_RCA if belief_RCA is None else answers_RCA + belief_RCA
        sum_RC1 = answers_RCA.sum(axis=2, keepdims=True)
        answers_RCA = np.where(sum_RC1 > 0, answers_RCA / np.maximum(sum_RC1, TINY), 1 / kinds)
        by_class_CX = np.log(np.maximum(answers_RCA, TINY)).transpose(1, 0, 2).reshape(n_classes, observers * kinds)
        joint_NC = flat_NX @ by_class_CX.T + np.log(np.maximum(prior_C, TINY))
        most_N1 = joint_NC.max(axis=1, keepdims=True)
        likelihood_NC = np.exp(joint_NC - most_N1)
        sum_N1 = likelihood_NC.sum(axis=1, keepdims=True)
        posterior_NC = likelihood_NC / sum_N1
        told.append(float((np.log(sum_N1) + most_N1).sum()))
        if len(told) > 1 and abs(told[-1] - told[-2]) < tolerance * n:
            break
    return Consensus(posterior_NC, prior_C, answers_RCA, tuple(told))


@dataclass(frozen=True, eq=False)
class Weighed:
    """What rules say together: `probability` (N, C), uniform where none says anything; `covered` (N,) where one does; by rule (R,)
    `coverage` (share of items it speaks of), `overlap` (share on which another speaks too), `conflict` (share on which another says
    something else), `accuracy` (estimated share of its votes that are right, NaN where it never speaks).
    """

    probability: Floats
    covered: NDArray[np.bool_]
    coverage: Floats
    overlap: Floats
    conflict: Floats
    accuracy: Floats


def weigh(vote_NR: Codes, n_classes: int) -> Weighed:
    """Put the votes of rules together by Dawid and Skene's model; -1 is silence.

    Silence counts as an answer: most rules name one class only, and what such a rule tells lies in when it speaks. Only items of which
    some rule speaks are modelled, as the others would form a class of their own. Every rule is believed beforehand to be right in `BELIEVED` of
    cases, with the weight of `WEIGHT` items: without that, or with a belief that says nothing, few items end in one class.
    """
    n, rules = vote_NR.shape
    speaks_NR = vote_NR >= 0
    covered_N = np.asarray(speaks_NR.any(axis=1), np.bool_)
    some = vote_NR[covered_N]
    count_NRA = np.zeros((len(some), rules, n_classes + 1))
    at_N, rule_R = np.arange(len(some))[:, None], np.arange(rules)[None]
    count_NRA[at_N, rule_R, np.where(some >= 0, some, n_classes)] = 1
    probability_NC = np.full((n, n_classes), 1 / n_classes)
    if len(some):
        probability_NC[covered_N] = dawid_skene(
            count_NRA, n_classes, belief_RCA=_belief(count_NRA, n_classes)
        ).posterior
    votes_R = speaks_NR.sum(axis=0)
    others_NR = speaks_NR.sum(axis=1, keepdims=True) - speaks_NR
    same_NR = np.stack([(vote_NR == vote_NR[:, r : r + 1]).sum(axis=1) - 1 for r in range(rules)], axis=1)
    right_R = np.array([probability_NC[speaks_NR[:, r], vote_NR[speaks_NR[:, r], r]].sum() for r in range(rules)])
    return Weighed(
        probability_NC,
        covered_N,
        votes_R / max(n, 1),
        (speaks_NR & (others_NR > 0)).mean(axis=0),
        (speaks_NR & (others_NR > same_NR)).mean(axis=0),
        np.divide(right_R, votes_R, out=np.full(rules, np.nan), where=votes_R > 0),
    )


def _belief(count_NRA: Floats, n_classes: int) -> Floats:
    """(R, C, A) answers of `WEIGHT` items as they would be if `BELIEVED` of each rule's votes were right, and the wrong ones fell anywhere."""
    said_NC = count_NRA[:, :, :n_classes].sum(axis=1)
    share_C = (said_NC / said_NC.sum(axis=1, keepdims=True)).mean(axis=0)
    rate_RC = count_NRA[:, :, :n_classes].mean(axis=0)
    other_CC = np.tile(share_C[:, None], n_classes)  # true class, class voted for
    np.fill_diagonal(other_CC, 0)
    wrong_CC = (1 - BELIEVED) * other_CC / np.maximum(other_CC.sum(axis=0), TINY)
    spoken_RCC = rate_RC[:, None, :] * (wrong_CC + BELIEVED * np.eye(n_classes))[None]
    silent_RC1 = np.maximum(share_C[None, :, None] - spoken_RCC.sum(axis=2, keepdims=True), 0)
    return WEIGHT * np.concatenate([spoken_RCC, silent_RC1], axis=2)
