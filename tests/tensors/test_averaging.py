"""Means of weights and answers: exact ends, exact middles, and a soup that is never worse than its best member.

Legend: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graft.errors import ModelError, UsageError
from graft.heads.base import softmax
from graft.tensors.averaging import ensemble, greedy_soup, interpolate, sweep, uniform_soup

State = dict[str, Tensor]


def state(seed: int, dtype: torch.dtype = torch.float32) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {
        "w": torch.randn(3, 4, generator=generator).to(dtype),
        "b": torch.randn(3, generator=generator).to(dtype),
        "steps": torch.tensor(seed),
    }


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# -- between old and new ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_the_ends_are_exact_and_the_middle_is_the_mean(dtype: torch.dtype) -> None:
    old, new = state(1, dtype), state(2, dtype)
    assert same(interpolate(old, new, 0.0) | {"steps": old["steps"]}, old)
    assert same(interpolate(old, new, 1.0), new)
    middle = interpolate(old, new, 0.5)
    torch.testing.assert_close(middle["w"], (old["w"] + new["w"]) / 2)
    quarter, beyond = (interpolate(old, new, share)["b"] for share in (0.25, 2.0))
    torch.testing.assert_close(quarter, 0.75 * old["b"] + 0.25 * new["b"])
    torch.testing.assert_close(beyond, 2 * new["b"] - old["b"])
    assert middle["steps"] == 2
    assert middle["w"].dtype == dtype
    assert same(old, state(1, dtype)) and same(new, state(2, dtype))


def test_the_sweep_scores_each_share() -> None:
    """The score of a concave function of the weights is best in between, at the true optimum."""
    old, new = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    found = sweep(old, new, lambda s: -float((s["w"] - 0.3) ** 2))
    assert [share for share, _ in found] == pytest.approx([step / 10 for step in range(11)])
    assert max(found, key=lambda pair: pair[1])[0] == pytest.approx(0.3)
    assert sweep(old, new, lambda s: float(s["w"]), shares=(0.0, 1.0)) == ((0.0, 0.0), (1.0, 1.0))


def test_states_of_different_models_are_refused() -> None:
    with pytest.raises(ModelError, match="only one has extra"):
        interpolate(state(1), state(2) | {"extra": torch.ones(1)}, 0.5)
    with pytest.raises(ModelError, match="shapes differ in b"):
        uniform_soup([state(1), state(2) | {"b": torch.ones(4)}])


# -- soups ------------------------------------------------------------------------------------------------------------


def test_a_uniform_soup_is_the_mean() -> None:
    states = [state(seed) for seed in range(5)]
    soup = uniform_soup(iter(states))
    torch.testing.assert_close(soup["w"], torch.stack([s["w"] for s in states]).mean(dim=0))
    assert soup["steps"] == 0
    assert same(uniform_soup(states[:1]), states[0])
    assert same(uniform_soup([states[1]] * 3), states[1])
    assert same(states[0], state(0))
    with pytest.raises(UsageError, match="at least one"):
        uniform_soup([])


def test_a_soup_of_many_half_precision_states_does_not_lose_digits() -> None:
    """A thousand times 0.1 summed in float16 would stall."""
    soup = uniform_soup({"w": torch.full((2,), 0.1, dtype=torch.float16)} for _ in range(1000))
    assert soup["w"].tolist() == torch.full((2,), 0.1, dtype=torch.float16).tolist()


def near(goal: Tensor) -> Callable[[State], float]:
    return lambda s: -float((s["w"] - goal).square().sum())


def test_a_greedy_soup_by_hand() -> None:
    """Goal 0; members at 1, -2 and 9: alone -1, -4, -81; the mean of the first two is -0.5, better; 9 spoils it."""
    states = [{"w": torch.tensor([value])} for value in (9.0, 1.0, -2.0)]
    soup, members, score = greedy_soup(states, near(torch.zeros(1)))
    assert members == (1, 2)
    assert soup["w"].tolist() == [-0.5]
    assert score == -0.25
    # a tie keeps the member: the more the steadier
    assert greedy_soup([states[1], states[1]], near(torch.zeros(1)))[1] == (0, 1)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_greedy_soup_is_never_worse_than_its_best_member(seeds: list[int], goal: int) -> None:
    states, score = [state(seed) for seed in seeds], near(state(goal)["w"])
    soup, members, value = greedy_soup(states, score)
    assert value == score(soup)
    assert value >= max(score(one) for one in states)
    assert same(soup, uniform_soup([states[member] for member in members]))
    assert len(set(members)) == len(members)


def test_a_member_that_went_to_pieces_is_left_out() -> None:
    broken, sound = {"w": torch.tensor([float("nan")])}, {"w": torch.tensor([1.0])}
    soup, members, score = greedy_soup([broken, sound], near(torch.zeros(1)))
    assert (members, score, soup["w"].tolist()) == ((1,), -1.0, [1.0])
    with pytest.raises(UsageError, match="at least one"):
        greedy_soup([], near(torch.zeros(1)))


# -- ensembles --------------------------------------------------------------------------------------------------------


def test_an_ensemble_answers_with_the_mean_probability() -> None:
    rng = np.random.default_rng(0)
    models = [3 * rng.normal(size=(6, 4)) for _ in range(3)]
    mean_NC = sum(softmax(rows) for rows in models) / 3
    np.testing.assert_allclose(np.exp(ensemble(models)), mean_NC, rtol=1e-12)
    weighted = (2 * softmax(models[0]) + 6 * softmax(models[2])) / 8
    np.testing.assert_allclose(np.exp(ensemble(models, [2, 0, 6])), weighted, rtol=1e-12)
    np.testing.assert_allclose(softmax(ensemble([models[1] + 5])), softmax(models[1]), rtol=1e-12)


def test_sure_models_do_not_underflow() -> None:
    far = np.array([[0.0, -2000.0]])
    found = ensemble([far, far])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, far)


@pytest.mark.parametrize(
    ("logits", "weights"),
    [
        ([], None),
        ([np.zeros((2, 3)), np.zeros((2, 4))], None),
        ([np.zeros((2, 3))], [1.0, 1.0]),
        ([np.zeros((2, 3))], [0.0]),
        ([np.zeros((2, 3))] * 2, [1.0, -1.0]),
    ],
)
def test_ensembles_that_cannot_be(logits: list[np.ndarray], weights: list[float] | None) -> None:
    with pytest.raises(UsageError, match="ensemble"):
        ensemble(logits, weights)
