"""Optimisers that go on from their state."""

from __future__ import annotations

import torch
from torch import nn

from graft.trainers.rates import Optimiser, RateGroup, Rates
from graft.trainers.recipe import Recipe


def test_restored_moments_belong_to_their_weights() -> None:
    """A state read from a file lies in memory row by row; weights of convolutions may lie with their channels last."""
    weights = []
    for restored in (False, True):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last))
        rates = Rates((RateGroup("all", [weight], 0.1),))
        optimiser = Optimiser(rates, Recipe())
        for step in range(3):
            weight.grad = (
                torch.arange(108.0).view(4, 3, 3, 3).sin().add(step).contiguous(memory_format=torch.channels_last)
            )
            optimiser.torch.step()
            if restored and step == 1:
                state = {
                    name: value.clone(memory_format=torch.contiguous_format)
                    for name, value in optimiser.state().items()
                }
                optimiser = Optimiser(rates, Recipe())
                optimiser.torch.param_groups[0]["lr"] = 0.1
                optimiser.restore(state)
        weights.append(weight.detach().clone())
    assert torch.equal(*weights)
