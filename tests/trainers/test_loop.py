"""The loop: what plain torch does, stopped and resumed anywhere to the same bits, and everything around the weights left as it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.trainers.small_training import N, Net, bits, loss, points, rates, trained, validation
from torch import Tensor, nn

from graft import settings
from graft.errors import DataError, UsageError
from graft.trainers import loop, memory
from graft.trainers.batches import derived_seed
from graft.trainers.loop import Hooks, RateGroup, Rates, train
from graft.trainers.rates import RunningMean, schedule
from graft.trainers.recipe import CHOICES, Recipe

RECIPE = Recipe(epochs=2, batch=4)


# --- known answers


@pytest.mark.parametrize("optimiser", CHOICES["optimiser"])
def test_it_is_plain_torch(optimiser: str) -> None:
    recipe = Recipe(epochs=3, batch=16, accumulate=2, optimiser=optimiser, schedule="linear", warmup=0.0, clip=0.5)
    net = Net()
    _, run = trained(net, recipe, rates=rates(net, 0.05))
    plain, feed = Net().train(), points()
    kind = torch.optim.AdamW if optimiser == "adamw" else torch.optim.SGD
    options: dict[str, Any] = {"momentum": 0.9} if optimiser == "sgd" else {}
    steps = kind(plain.parameters(), lr=0.05, weight_decay=0.0, fused=True, **options)
    for epoch in range(3):
        batches = list(feed.epoch(epoch, 16))
        for number, group in enumerate((batches[:2], batches[2:])):
            torch.manual_seed(derived_seed(0, epoch, number, 0))
            items = sum(len(batch["targets"]) for batch in group)
            for batch in group:
                (loss(plain, batch) * len(batch["targets"]) / items).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            for part in steps.param_groups:
                part["lr"] = 0.05 * (1 - (2 * epoch + number) / 6)
            steps.step()
            steps.zero_grad()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], tensor)
    assert run.steps == 6 and run.batch == 16 and run.accumulate == 2 and run.device == "cpu" and run.precision == "f32"
    assert [record.epoch for record in run.epochs] == [0, 1, 2] and run.stopped == "" and run.best_epoch == 2


def test_a_step_of_accumulated_batches_is_that_of_a_large_one() -> None:
    whole, _ = trained(Net(plain=True), Recipe(epochs=1, batch=N, warmup=0.0))
    parts, run = trained(Net(plain=True), Recipe(epochs=1, batch=7, accumulate=6, warmup=0.0))
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], tensor)
    assert run.steps == 1


def test_the_epochs_loss_is_the_mean_over_its_items() -> None:
    net = Net(plain=True)
    _, run = trained(net, Recipe(epochs=1, batch=7), rates=rates(net, 0.0))
    expected, _ = validation(points())(net)
    assert run.epochs[0].loss == pytest.approx(expected, rel=1e-6)


def test_a_penalty_is_followed_at_every_step() -> None:
    weight = nn.Parameter(torch.tensor([4.0]))
    net = Net()
    groups = Rates((RateGroup("extra", [weight], 0.1),))
    recipe = Recipe(epochs=1, batch=10, optimiser="sgd", momentum=0.0, schedule="constant", warmup=0.0, clip=0.0)
    zero = lambda model, batch: 0 * loss(model, batch) + 0 * weight.sum()
    train(net, points(), zero, groups, recipe, seed=0, hooks=Hooks(penalty=lambda: (weight**2).sum()))
    assert weight.item() == pytest.approx(4 * 0.8**4)  # w - 0.1 * 2 w, four times


def test_weight_decay_is_for_matrices() -> None:
    net = Net()
    nothing = lambda model, batch: 0 * loss(model, batch)
    trained(net, Recipe(epochs=1, batch=N, warmup=0.0), objective=nothing, rates=rates(net, 0.1, decay=0.5))
    before = Net()
    torch.testing.assert_close(net.lower.weight, before.lower.weight * 0.95)
    torch.testing.assert_close(net.lower.bias, before.lower.bias)


def test_the_running_mean() -> None:
    weight = torch.tensor([1.0])
    mean = RunningMean([weight], 0.5)
    expected = 1.0
    for step, value in enumerate([2.0, -1.0, 5.0]):
        weight.fill_(value)
        mean.move(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert mean.mean[0].item() == pytest.approx(expected)


def test_the_running_mean_is_what_is_judged_and_kept() -> None:
    seen: list[Tensor] = []
    plain: list[Tensor] = []

    def judged(model: nn.Module) -> tuple[float, float | None]:
        assert isinstance(model, Net) and not model.training and not torch.is_grad_enabled()
        seen.append(model.upper.weight.clone())
        return 1.0, 0.5

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if model.training:
            assert isinstance(model, Net)
            plain.append(model.upper.weight.detach().clone())
        return loss(model, batch)

    net, run = trained(recipe=Recipe(epochs=2, batch=20, ema=0.9), evaluate=judged, objective=objective)
    torch.testing.assert_close(net.upper.weight.detach(), seen[-1])
    assert all(not torch.equal(seen[0], weight) for weight in plain)
    assert [(r.validation_loss, r.score) for r in run.epochs] == [(1.0, 0.5)] * 2


# --- schedules


def test_schedules_known_answers() -> None:
    assert [schedule("constant", s, 10, 0.2) for s in (0, 1, 2, 9)] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert [schedule("linear", s, 10, 0.2) for s in (2, 6, 9)] == pytest.approx([1, 0.5, 0.125])
    assert [schedule("cosine", s, 10, 0.0) for s in (0, 5, 9)] == pytest.approx(
        [1, 0.5, (1 + math.cos(0.9 * math.pi)) / 2]
    )
    assert [schedule("one-cycle", s, 11, 0.3) for s in (0, 2, 4, 10)] == pytest.approx([0.04, 0.52, 1, 1e-4])
    with pytest.raises(UsageError, match="cosine"):
        schedule("cosin", 0, 10, 0.1)


@given(st.sampled_from(CHOICES["schedule"]), st.integers(1, 200), st.floats(0, 1))
def test_schedules_rise_to_a_peak_and_do_not_rise_again(name: str, total: int, warmup: float) -> None:
    factors = [schedule(name, step, total, warmup) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors[:-1]) and 0 <= factors[-1] <= 1
    peak = int(np.argmax(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_the_rate_told_is_the_bodys() -> None:
    net = Net()
    parts = Rates(
        (RateGroup("head", list(net.upper.parameters()), 1.0), RateGroup("top", list(net.lower.parameters()), 0.01))
    )
    _, run = trained(net, Recipe(epochs=2, batch=20, warmup=0.0, schedule="linear"), rates=parts)
    assert [record.rate for record in run.epochs] == pytest.approx([0.0075, 0.0025])


# --- which weights


def test_only_weights_with_a_rate_change_and_flags_and_modes_stay() -> None:
    net = Net()
    net.eval()
    net.norm.train()
    net.upper.weight.requires_grad_(False)
    before = bits(net)
    trained(net, rates=Rates((RateGroup("upper", list(net.upper.parameters()), 0.01),)))
    changed = {name for name, value in bits(net).items() if value != before[name]}
    assert changed == {
        "upper.weight",
        "upper.bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    }
    assert not net.upper.weight.requires_grad and net.lower.weight.requires_grad
    assert [m.training for m in (net, net.norm, net.lower)] == [False, True, False]
    assert all(p.grad is None for p in net.parameters())


def test_groups_unfreeze_at_their_epoch() -> None:
    net = Net()
    first, told = net.lower.weight.detach().clone(), []
    groups = Rates(
        (
            RateGroup("lower", list(net.lower.parameters()), 0.01, first_epoch=0.5),
            RateGroup("upper", list(net.upper.parameters()), 0.01),
        )
    )

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        told.append((net.lower.weight.requires_grad, torch.equal(net.lower.weight, first)))
        return loss(model, batch)

    trained(net, Recipe(epochs=1, batch=10), rates=groups, objective=objective)
    steps = told[-5:-1]  # the first look is at memory, the last at the loss after the end
    assert steps == [(False, True), (False, True), (True, True), (True, False)]


@pytest.mark.parametrize(
    "groups",
    [
        lambda net: Rates((RateGroup("a", list(net.parameters()), 0.1, 1.0),)),
        lambda net: Rates((RateGroup("a", [net.upper.bias], 0.1), RateGroup("b", [net.upper.bias], 0.1))),
        lambda _: Rates(()),
    ],
)
def test_groups_that_cannot_work_are_refused(groups: Callable[[Net], Rates]) -> None:
    net = Net()
    with pytest.raises(UsageError):
        trained(net, rates=groups(net))


# --- the end


@pytest.mark.parametrize("items", [1, 3])
def test_one_batch_is_enough(items: int) -> None:
    _, run = trained(Net(plain=True), Recipe(epochs=3, batch=4), feed=points(items))
    assert run.steps == 3 and len(run.epochs) == 3


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(DataError, match="no item"):
        trained(feed=points(0))


@pytest.mark.parametrize(("epochs", "steps", "records"), [(0.5, 5, 1), (1.25, 12, 2), (0.01, 1, 1)])
def test_parts_of_epochs(epochs: float, steps: int, records: int) -> None:
    _, run = trained(recipe=Recipe(epochs=epochs, batch=4))
    assert run.steps == steps and len(run.epochs) == records


def test_patience_keeps_the_best_weights() -> None:
    weights, losses = [], iter([3.0, 2.0, 2.5, 2.0])

    def judged(model: nn.Module) -> tuple[float, float | None]:
        assert isinstance(model, Net)
        weights.append(bits(model))
        return next(losses), None

    net, run = trained(recipe=Recipe(epochs=9, batch=4, patience=2), evaluate=judged)
    assert run.best_epoch == 1 and bits(net) == weights[1]
    assert len(run.epochs) == 4 and "2 epochs" in run.stopped
    net, run = trained(recipe=Recipe(epochs=2, batch=4), evaluate=lambda _: (1.0 + len(weights), None))
    assert run.best_epoch == 1 and run.stopped == ""


def test_a_time_limit_ends_after_an_epoch() -> None:
    _, run = trained(recipe=Recipe(epochs=50, batch=4, seconds=1e-3))
    assert len(run.epochs) == 1 and run.best_epoch == 0 and "time limit of 0.001 s" in run.stopped
    _, run = trained(recipe=Recipe(epochs=1, batch=4, seconds=1e-3))
    assert run.stopped == ""


def broken(at: int, value: float = math.nan) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    """The loss of a network, but `value` from call number `at` on; the first call is the one that measures memory."""
    calls = iter(range(10_000))

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return loss(model, batch) * (value if next(calls) >= at else 1.0)

    return objective


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("at", "epoch"), [(1, -1), (2, -1), (10, -1), (11, -1), (12, 0), (25, 1)])
def test_a_loss_that_is_no_number_stops_at_the_last_good_weights(
    tmp_path: Path, at: int, epoch: int, value: float
) -> None:
    recipe = Recipe(epochs=4, batch=4, schedule="constant", warmup=0.0)
    good = trained(recipe=replace(recipe, epochs=epoch + 1))[0] if epoch >= 0 else Net()
    hooks = Hooks(checkpoint=tmp_path / "c.safetensors", every=0.0)
    net, run = trained(recipe=recipe, objective=broken(at, value), hooks=hooks)
    assert f"at step {at} of 40" in run.stopped and str(value) in run.stopped
    assert run.best_epoch == epoch and len(run.epochs) == (at - 1) // 10
    assert bits(net) == bits(good)
    again, second = trained(recipe=recipe, objective=broken(1), hooks=hooks)  # it is over, and stays so
    assert bits(again) == bits(good) and second.resumed and second.stopped == run.stopped


@pytest.mark.parametrize("optimiser", CHOICES["optimiser"])
def test_a_rate_that_diverges_leaves_weights_with_a_finite_loss(optimiser: str) -> None:
    for epochs in (0.1, 1, 3):  # after the first update, in the first epoch, later
        recipe = Recipe(epochs=epochs, batch=4, optimiser=optimiser, clip=0.0, schedule="constant", warmup=0.0)
        net = Net()
        _, run = trained(net, recipe, rates=rates(net, 1e300))
        assert run.stopped and run.best_epoch == -1
        assert bits(net) == bits(Net())


def test_a_validation_loss_that_is_no_number_stops_too() -> None:
    losses = iter([1.0, math.nan])
    _, run = trained(recipe=Recipe(epochs=3, batch=4, patience=3), evaluate=lambda _: (next(losses), None))
    assert "validation loss was nan after epoch 2" in run.stopped and run.best_epoch == 0 and len(run.epochs) == 1


# --- the surroundings


def test_the_same_seed_gives_the_same_bits_and_another_others() -> None:
    torch.manual_seed(1)
    first, _ = trained()
    torch.manual_seed(2)
    again, _ = trained()
    other, _ = trained(seed=1)
    assert bits(first) == bits(again) != bits(other)


def test_threads_and_random_numbers_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_THREADS", "2")
    seen = []

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        seen.append(torch.get_num_threads())
        return loss(model, batch)

    random = torch.random.get_rng_state()
    before = torch.get_num_threads()
    with settings.one_thread():
        inside = torch.get_num_threads()
        trained(objective=objective)
        assert set(seen[1:]) == {1}  # so little work is quicker on one
        del seen[:]
        monkeypatch.setattr(memory, "SMALL", 0)
        trained(objective=objective)
        assert set(seen) == {2} and torch.get_num_threads() == inside
    assert torch.get_num_threads() == before
    assert torch.equal(random, torch.random.get_rng_state())


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, int]] = []
        self.texts: list[str] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.done.append((stage, done, total))

    def tell(self, stage: str, text: str) -> None:
        assert stage == "lora"
        self.texts.append(text)


def test_progress_tells_loss_rate_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "TELL", 0.0)
    listener = Listener()
    with settings.listening(listener):
        trained(hooks=Hooks(stage="lora"))
    assert listener.done == [("lora", done, 20) for done in range(1, 21)]
    assert all(word in listener.texts[3] for word in ("loss 0.", "rate 0.0", "items/s", "s left"))


def test_trackers_and_after_epoch_are_told() -> None:
    told = []

    class Noted:
        def log(self, values: Any, step: int) -> None:
            told.append((step, dict(values)))

    hooks = Hooks(tracker=Noted(), after_epoch=lambda epoch: {"top": epoch + 0.5})
    _, run = trained(hooks=hooks, evaluate=lambda _: (2.0, None))
    assert [r.drift for r in run.epochs] == [{"top": 0.5}, {"top": 1.5}]
    assert [step for step, _ in told] == [10, 20]
    assert told[1][1] == {
        "loss": run.epochs[1].loss,
        "rate": run.epochs[1].rate,
        "validation loss": 2.0,
        "drift/top": 1.5,
    }


# --- stopped and resumed


def stopped_by(error: BaseException, at: int) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    calls = iter(range(1000))

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if next(calls) == at:
            raise error
        return loss(model, batch)

    return objective


@pytest.mark.parametrize("every", [0.0, 1e9])
@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"patience": 1}, {"optimiser": "sgd"}, {"accumulate": 3}])
def test_ctrl_c_in_any_epoch_then_resume_gives_the_same_bits(
    tmp_path: Path, options: dict[str, Any], every: float
) -> None:
    recipe = Recipe(epochs=3, batch=4, **options)
    feed = points()
    more: dict[str, Any] = {"feed": feed, "evaluate": validation(feed)}
    expected, whole = trained(recipe=recipe, **more)
    for at in (1, 4, 9, 13, 25):
        hooks = Hooks(checkpoint=tmp_path / f"{at}" / "checkpoint.safetensors", key="k", every=every)
        with pytest.raises(KeyboardInterrupt):
            trained(recipe=recipe, objective=stopped_by(KeyboardInterrupt(), at), hooks=hooks, **more)
        net, run = trained(recipe=recipe, hooks=hooks, **more)
        assert run.resumed == (at > (10 if every else options.get("accumulate", 1)))
        assert bits(net) == bits(expected)
        assert [(r.loss, r.validation_loss, r.rate) for r in run.epochs] == [
            (r.loss, r.validation_loss, r.rate) for r in whole.epochs
        ]
        assert (run.steps, run.best_epoch, run.stopped) == (whole.steps, whole.best_epoch, whole.stopped)


def test_a_training_that_was_done_is_not_done_again(tmp_path: Path) -> None:
    hooks = Hooks(checkpoint=tmp_path / "c.safetensors", every=0.0)
    net, run = trained(hooks=hooks)
    again, second = trained(hooks=hooks, objective=stopped_by(AssertionError(), 1))
    assert bits(again) == bits(net) and second.resumed and second.epochs == run.epochs and second.steps == run.steps


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"feed": points(seed=1)},
        {"feed": points(N - 4)},
        {"recipe": Recipe(epochs=3, batch=4)},
        {"net": Net(seed=1)},
        {"evaluate": lambda _: (1.0, None)},
    ],
    ids=["seed", "data", "fewer", "recipe", "weights", "judged"],
)
def test_a_checkpoint_of_another_training_is_never_used(tmp_path: Path, change: dict[str, Any]) -> None:
    hooks = Hooks(checkpoint=tmp_path / "c.safetensors", every=0.0, key="k")
    with pytest.raises(KeyboardInterrupt):
        trained(objective=stopped_by(KeyboardInterrupt(), 9), hooks=hooks)
    if "net" in change:
        change = {"net": Net(seed=1)}
    expected, _ = trained(**({"net": Net(seed=1)} if "net" in change else change))
    net, run = trained(hooks=hooks, **change)
    assert not run.resumed and bits(net) == bits(expected)
    assert any("another training" in note and "anew" in note for note in run.notes)


def test_more_time_may_be_given(tmp_path: Path) -> None:
    hooks = Hooks(checkpoint=tmp_path / "c.safetensors", every=0.0)
    with pytest.raises(KeyboardInterrupt):
        trained(
            recipe=Recipe(epochs=2, batch=4, seconds=100), objective=stopped_by(KeyboardInterrupt(), 9), hooks=hooks
        )
    _, run = trained(recipe=Recipe(epochs=2, batch=4, seconds=200), hooks=hooks)
    assert run.resumed
