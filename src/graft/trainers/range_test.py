"""The learning-rate range test: rates from far too small to far too large, one a step, and what the loss makes of them (Smith 2017).

Imported only where training runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from graft import settings
from graft.errors import DataError
from graft.results import RangeTest
from graft.trainers.batches import Batch, Feed, derived_seed
from graft.trainers.memory import machine
from graft.trainers.rates import RateGroup, Rates
from graft.trainers.recipe import Recipe
from graft.trainers.stepping import Objective, Stepper, lent

LOWEST, HIGHEST = 1e-7, 10.0
SMOOTHING = 0.8  # share of the running mean that the past keeps
GONE = 4.0  # times the least smoothed loss, at which a test ends
UNSETTLED = 10  # losses at the start (a quarter of a short test) that are means of too few batches: which batch came first decides their slope
FALL = 0.02  # of the first smoothed loss, by which it must fall for a rate to be told from the noise


def range_test(
    model: nn.Module,
    feed: Feed,
    objective: Objective,
    rates: Rates,
    recipe: Recipe,
    *,
    seed: int,
    steps: int = 60,
    apart: bool = False,
) -> tuple[RangeTest, ...]:
    """Train for `steps` batches at rates growing evenly in their logarithm from 1e-7 to 10; end when the loss is four times its least.

    The first test, "all", has every weight in `rates` at the same rate; with `apart` one follows for each group alone. Optimiser, batch size and
    clipping are the recipe's. Losses are smoothed by a running mean, and each is that before the step at its rate. Weights, buffers, flags
    and random numbers are afterwards what they were, bit for bit.

    Raises DataError for a feed without items.
    """
    if len(feed) == 0:
        raise DataError("There is nothing to test rates on: no item is left.")
    one = [RateGroup("all", rates.parameters(), 1.0)]
    groups = one + [replace(g, rate=1.0, first_epoch=0.0, decay=0.0) for g in rates.groups if apart and g.parameters]
    found = []
    with machine(recipe.precision) as here, lent(model, Rates(tuple(one)), here):
        start = Stepper(model, objective, Rates(tuple(one)), replace(recipe, ema=0.0), here)
        start.fit(feed)
        before = start.result()
        try:
            for number, group in enumerate(groups):
                settings.progress("rates", number, len(groups))
                for parameter in start.parameters:
                    parameter.requires_grad_(False)
                    parameter.grad = None
                stepper = Stepper(model, objective, Rates((group,)), start.recipe, here)
                stepper.piece = start.piece
                found.append(_tested(group.name, stepper, _endless(feed, recipe.batch), seed, steps))
                start.put(before)
        finally:
            start.put(before)
        settings.progress("rates", len(groups), len(groups))
    return tuple(found)


def _tested(name: str, stepper: Stepper, batches: Iterator[Batch], seed: int, steps: int) -> RangeTest:
    tried = np.geomspace(LOWEST, HIGHEST, max(2, steps))
    mean, losses = 0.0, list[float]()
    for number, rate in enumerate(tried):
        loss = float(stepper.gradient([next(batches)], derived_seed(seed, number, stepper.here.rank))[0])
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed = mean / (
            1 - SMOOTHING ** (number + 1)
        )  # as if the first had always been there (Kingma & Ba 2015, section 3)
        if not math.isfinite(smoothed) or smoothed > GONE * min([*losses, smoothed]):
            break
        losses.append(smoothed)
        stepper.update(float(rate), number)
    rates = tuple(float(rate) for rate in tried[: len(losses)])
    steepest, tenth = suggestions(rates, losses)
    known = [rate for rate in (steepest, tenth) if rate is not None]
    return RangeTest(name, rates, tuple(losses), steepest, tenth, min(known, default=None))


def suggestions(rates: Sequence[float], losses: Sequence[float]) -> tuple[float | None, float | None]:
    """The rate at which the smoothed loss falls steepest against the logarithm of the rate, and a tenth of the rate at its least.

    Both None where the loss does not fall by 2 % before it is least: the test then tells nothing, as on weights that fit already.
    """
    if len(losses) < 3:
        return None, None
    first = min(UNSETTLED, len(losses) // 4)
    least = first + int(np.argmin(losses[first:]))
    if least == first or losses[least] > (1 - FALL) * max(losses[first:least]):
        return None, None
    slopes = np.gradient(np.asarray(losses), np.log(rates))[first : least + 1]
    return rates[first + int(np.argmin(slopes))], rates[least] / 10


def _endless(feed: Feed, batch: int) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from feed.epoch(epoch, batch)
        epoch += 1
