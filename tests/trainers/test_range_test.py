"""The range test: known answers on curves and on a bowl whose best rate is known, and nothing changed by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.trainers.small_training import Net, bits, loss, points, rates, trained
from torch import Tensor, nn

from graft import settings
from graft.errors import DataError
from graft.trainers.loop import RateGroup, Rates
from graft.trainers.range_test import HIGHEST, LOWEST, range_test, suggestions
from graft.trainers.recipe import Recipe

RECIPE = Recipe(batch=4)


def test_suggestions_on_a_known_curve() -> None:
    rates = tuple(np.geomspace(1e-5, 10, 61))
    logs = np.log10(rates)
    falling = 1 - 1 / (1 + np.exp(-3 * (logs + 3)))  # falls from 1 to 0, steepest at 1e-3
    losses = falling + np.where(logs > -1, (logs + 1) ** 2, 0)  # least at about 0.1
    steepest, tenth = suggestions(rates, tuple(losses))
    assert steepest == pytest.approx(1e-3) and tenth == pytest.approx(0.01, rel=0.3)


def test_the_first_batches_decide_nothing() -> None:
    """Their means are of few batches: a hard first batch looks like the steepest fall."""
    rates = tuple(np.geomspace(1e-7, 10, 81))
    losses = 2 - 1 / (1 + np.exp(-3 * (np.log10(rates) + 3)))
    losses[:2] += (3.0, 1.0)
    steepest, _ = suggestions(rates, tuple(losses))
    assert steepest == pytest.approx(1e-3)


@pytest.mark.parametrize(
    "losses", [[], [1.0, 0.5], [1.0, 1.1, 1.3, 2.0], [1.0, 1.0, 1.0], [1.0, 0.99, 1.5, 3.0]], ids=str
)
def test_a_curve_that_does_not_fall_tells_nothing(losses: list[float]) -> None:
    assert suggestions(tuple(np.geomspace(1e-5, 1, len(losses) or 1)), losses) == (None, None)


class Bowl(nn.Module):
    """Loss c/2 |w|² that no batch changes: steps of plain gradient descent shrink w below a rate of 2 / c and grow it above."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c, self.w = c, nn.Parameter(torch.ones(3, 2))

    def forward(self, _: dict[str, Tensor]) -> Tensor:
        return 1e-3 + self.c / 2 * self.w.square().sum()


@pytest.mark.parametrize("c", [5.0, 50.0, 5000.0])
def test_on_a_bowl_the_suggestion_is_a_rate_that_falls_and_does_not_diverge(c: float) -> None:
    bowl = Bowl(c)
    recipe = Recipe(batch=4, optimiser="sgd", momentum=0.0, clip=0.0)
    (found,) = range_test(bowl, points(), lambda m, b: m(b), rates(bowl), recipe, seed=0, steps=80)
    assert found.group == "all"
    assert found.suggestion is not None and 0.005 < found.suggestion * c < 2
    assert found.suggestion == min(found.steepest or 9, found.tenth or 9)
    assert found.losses[0] == pytest.approx(1e-3 + 3 * c)
    assert found.rates[0] == pytest.approx(LOWEST) and found.rates[-1] < HIGHEST  # it diverged, and was ended
    assert torch.equal(bowl.w, torch.ones(3, 2))


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_nothing_is_changed(optimiser: str) -> None:
    net = Net()
    net.upper.bias.requires_grad_(False)
    net.norm.eval()
    before, random = bits(net), torch.random.get_rng_state()
    groups = Rates(
        (
            RateGroup("lower", list(net.lower.parameters()), 0.1, first_epoch=3.0),
            RateGroup("upper", list(net.upper.parameters()), 0.1),
        )
    )
    found = range_test(net, points(), loss, groups, Recipe(batch=4, optimiser=optimiser), seed=0, apart=True)
    assert [test.group for test in found] == ["all", "lower", "upper"]
    assert all(len(test.rates) == len(test.losses) > 20 for test in found)
    assert bits(net) == before and torch.equal(random, torch.random.get_rng_state())
    assert not net.upper.bias.requires_grad and net.lower.bias.requires_grad
    assert [module.training for module in (net, net.norm)] == [True, False]
    assert all(p.grad is None for p in net.parameters())


def test_nothing_is_changed_by_an_interruption() -> None:
    net, calls = Net(), iter(range(100))

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if next(calls) == 50:
            raise KeyboardInterrupt
        return loss(model, batch)

    before = bits(net)
    with pytest.raises(KeyboardInterrupt):
        range_test(net, points(), objective, rates(net), RECIPE, seed=0)
    assert bits(net) == before


def test_only_the_groups_own_weights_move_in_its_test() -> None:
    net = Net(plain=True)
    seen = []

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        seen.append((model.lower.weight.requires_grad, model.upper.weight.requires_grad))  # type: ignore[union-attr]
        return loss(model, batch)

    groups = Rates(
        tuple(
            RateGroup(name, list(part.parameters()), 1.0) for name, part in (("lower", net.lower), ("upper", net.upper))
        )
    )
    found = range_test(net, points(), objective, groups, RECIPE, seed=0, steps=20, apart=True)
    counts = [len(test.rates) for test in found]
    moved = seen[1:]
    assert moved[: counts[0]] == [(True, True)] * counts[0]
    assert moved[-counts[2] :] == [(False, True)] * counts[2]


def test_the_same_seed_gives_the_same_curve() -> None:
    curves = [range_test(net := Net(), points(), loss, rates(net), RECIPE, seed=s)[0].losses for s in (0, 0, 1)]
    assert curves[0] == curves[1] != curves[2]


def test_its_rate_trains_better_than_a_hundredth_of_it_or_a_hundred_times_it() -> None:
    net = Net(plain=True)
    (found,) = range_test(net, points(200), loss, rates(net), Recipe(batch=16), seed=0)
    assert found.suggestion is not None

    def after(rate: float) -> float:
        net = Net(plain=True)
        _, run = trained(net, Recipe(epochs=3, batch=16), feed=points(200), rates=rates(net, rate))
        return run.epochs[-1].loss

    assert after(found.suggestion) < min(after(found.suggestion / 100), after(100 * found.suggestion))


def test_progress_and_an_empty_feed() -> None:
    told: list[Any] = []
    net = Net()
    with settings.listening(lambda *words: told.append(words)):
        range_test(net, points(), loss, rates(net), RECIPE, seed=0, steps=5, apart=True)
    assert told == [("rates", 0, 2), ("rates", 1, 2), ("rates", 2, 2)]
    with pytest.raises(DataError):
        range_test(net, points(0), loss, rates(net), RECIPE, seed=0)
