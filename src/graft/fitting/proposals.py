"""Which settings a search tries next: every combination of a grid, or what Bayesian optimisation expects the most of.

Bayesian optimisation is Ax's (Olson et al. 2025) on BoTorch (Balandat et al. 2020): first points of a Sobol sequence, spread evenly, then those
with the largest expected improvement under a Gaussian process of all trials so far. The same seed and scores give the same proposals.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from graft import settings
from graft.errors import MissingError
from graft.fitting.space import Axis, Settings, combinations, shown

GOAL = "goal"
ATTEMPTS = 5  # proposals that were tried before, after which a search has nothing new to try
LIBRARIES = ("ax", "botorch")  # whose logging writes to the terminal by handlers of its own


class Proposals(Protocol):
    """Says what is tried next. `next` and `tell` are called in turn."""

    def next(self) -> tuple[Settings, Settings] | None:
        """What to try, and the same as it was proposed, before rounding; None when nothing is left."""

    def tell(self, tried: Settings, goal: float | None, asked: Settings | None = None) -> None:
        """What came of it: larger is better, None where it failed. `asked` is what was proposed, None for what nobody proposed."""


class Grid:
    """All combinations in their order, but for those that were tried."""

    def __init__(self, axes: tuple[Axis, ...]) -> None:
        self._left = combinations(axes)
        self._tried: set[str] = set()

    def next(self) -> tuple[Settings, Settings] | None:
        """The next combination."""
        found = next((s for s in self._left if _key(s) not in self._tried), None)
        return None if found is None else (found, found)

    def tell(self, tried: Settings, goal: float | None, asked: Settings | None = None) -> None:
        """Nothing is learned but that it was tried."""
        del goal, asked
        self._tried.add(_key(tried))


class Bayes:
    """Sobol points, then expected improvement. A trial that failed counts as the worst so far: it says where not to look."""

    def __init__(self, axes: tuple[Axis, ...], seed: int) -> None:
        self.axes, self.seed = axes, seed
        self.first = max(4, 2 * len(axes))  # trials before the model, the defaults among them
        self._told = 0
        self._worst: float | None = None
        self._tried: set[str] = set()
        self._open: tuple[int, Settings] | None = None  # trial of Ax that waits for its score
        self._client = _client(axes, seed, self.first)

    def next(self) -> tuple[Settings, Settings] | None:
        """What is expected to gain the most; None where Ax has nothing that was not tried."""
        import torch
        from ax.exceptions.core import AxError

        from graft.trainers.batches import derived_seed

        with _quiet(), torch.random.fork_rng(devices=[]):
            for attempt in range(ATTEMPTS):
                torch.manual_seed(derived_seed(self.seed, self._told, attempt))
                try:
                    ((number, values),) = self._client.get_next_trials(max_trials=1).items()
                except (AxError, ValueError):  # exhausted, which Ax says in many ways
                    return None
                asked = self._from_ax(values)
                tried = {axis.name: axis.rounded(asked[axis.name]) for axis in self.axes}
                if _key(tried) not in self._tried:
                    self._open = (number, asked)
                    return tried, asked
                self._client.mark_trial_abandoned(number)
        return None

    def tell(self, tried: Settings, goal: float | None, asked: Settings | None = None) -> None:
        """Learn from it. What was not proposed just now, as when a search is resumed, is added; outside the space it is left out."""
        self._told += 1
        self._tried.add(_key(tried))
        if goal is not None:
            self._worst = goal if self._worst is None else min(goal, self._worst)
        value = self._worst if goal is None else goal
        given, number = asked or tried, None
        with _quiet():
            if self._open is not None:
                number, expected = self._open
                self._open = None
                if expected != given:
                    self._client.mark_trial_abandoned(number)
                    number = None
            if number is None:
                if not all(axis.holds(given[axis.name]) for axis in self.axes):
                    return
                number = self._client.attach_trial(parameters=self._to_ax(given))
            if value is None:
                self._client.mark_trial_failed(number)
            else:
                self._client.complete_trial(number, raw_data={GOAL: value})

    def replay(self, tried: Settings, goal: float | None, asked: Settings | None) -> None:
        """Learn from a trial of an earlier process, and leave the Sobol sequence where that process left it."""
        if asked is not None and self._told < self.first:
            self.next()
        self.tell(tried, goal, asked)

    def _to_ax(self, values: Settings) -> dict[str, Any]:
        return {a.name: _plain(a, values[a.name]) for a in self.axes}

    def _from_ax(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            a.name: next(v for v in a.values if _plain(a, v) == values[a.name]) if a.values else values[a.name]
            for a in self.axes
        }


def _plain(axis: Axis, value: Any) -> Any:
    """A value as Ax takes it: choices among things that are not all numbers are words."""
    if axis.values and not axis.ordered:
        return shown(value)
    return int(value) if axis.whole else float(value) if axis.values else value


def _key(values: Settings) -> str:
    return repr(sorted((name, shown(value)) for name, value in values.items()))


def _client(axes: tuple[Axis, ...], seed: int, first: int) -> Any:
    """Ax set up for these axes. Its import takes six seconds. Raises MissingError where it is not installed."""
    settings.progress("start the search", 0, 1)
    try:
        with _quiet():
            from ax.api.client import Client
            from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
    except ModuleNotFoundError as error:
        raise _missing(error.name or "ax-platform") from error
    parameters: list[Any] = []
    kind: Any
    scale: Any
    for axis in axes:
        if axis.values:
            kind = "float" if axis.ordered else "str"
            values = [_plain(axis, v) for v in axis.values]
            parameters.append(
                ChoiceParameterConfig(name=axis.name, values=values, parameter_type=kind, is_ordered=axis.ordered)
            )
        else:
            ends = (int(axis.low), int(axis.high)) if axis.whole else (axis.low, axis.high)
            kind, scale = ("int" if axis.whole else "float"), ("log" if axis.log else "linear")
            parameters.append(RangeParameterConfig(name=axis.name, bounds=ends, parameter_type=kind, scaling=scale))
    with _quiet():
        client = Client(random_seed=seed)
        client.configure_experiment(parameters=parameters, name="tune")
        client.configure_optimization(objective=GOAL)
        client.set_generation_strategy(_strategy(first, seed))
    settings.progress("start the search", 1, 1)
    return client


def _strategy(first: int, seed: int) -> Any:
    """Sobol points until `first` trials are done, then the largest expected improvement, in a logarithm that does not vanish (Ament et al. 2023).

    Ax's own default integrates over noise and starts its optimiser from twenty places: it took two to three times as long a proposal
    (2 s against 0.8 s of a processor for two settings) and found no better ones.
    """
    from ax.adapter.registry import Generators
    from ax.core.trial_status import TrialStatus
    from ax.generation_strategy.generation_node import GenerationNode
    from ax.generation_strategy.generation_strategy import GenerationStrategy
    from ax.generation_strategy.generator_spec import GeneratorSpec
    from ax.generation_strategy.transition_criterion import MinTrials
    from botorch.acquisition.analytic import LogExpectedImprovement

    spread = GeneratorSpec(generator_enum=Generators.SOBOL, generator_kwargs={"seed": seed})
    model = GeneratorSpec(
        generator_enum=Generators.BOTORCH_MODULAR,
        generator_kwargs={"botorch_acqf_class": LogExpectedImprovement},
        generator_gen_kwargs={"model_gen_options": {"optimizer_kwargs": {"num_restarts": 4, "raw_samples": 64}}},
    )
    counted: dict[str, Any] = {"transition_to": "model", "use_all_trials_in_exp": True}
    ready = [
        MinTrials(threshold=first, not_in_statuses=[TrialStatus.FAILED, TrialStatus.ABANDONED], **counted),
        MinTrials(threshold=2, only_in_statuses=[TrialStatus.COMPLETED], count_only_trials_with_data=True, **counted),
    ]
    return GenerationStrategy(
        name="Sobol, then expected improvement",
        nodes=[
            GenerationNode("spread", [spread], transition_criteria=ready, should_deduplicate=True),
            GenerationNode("model", [model], should_deduplicate=True),
        ],
    )


def check_installed() -> None:
    """Raise MissingError where Ax is not installed, without importing it: before anything is encoded for a search."""
    if importlib.util.find_spec("ax") is None:
        raise _missing("ax-platform")


def _missing(package: str) -> MissingError:
    return MissingError(
        f"Bayesian search needs the package {package!r}, which is not installed: pip install 'graft[tune]'. "
        "--method grid needs nothing more."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ax's advice to its own users, as log lines and warnings, is not for ours."""
    handlers = [handler for name in LIBRARIES for handler in logging.getLogger(name).handlers]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for handler, level in zip(handlers, levels, strict=True):
                handler.setLevel(level)
