"""What fits the memory: measured, predicted, and backed off from; and where a training runs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.trainers.small_training import N, Net, bits, loss, points, trained
from torch import Tensor, nn

from graft.errors import MissingError, UsageError
from graft.trainers import memory
from graft.trainers.memory import fit_pieces, is_out_of_memory, kept_bytes, machine
from graft.trainers.recipe import Recipe

MB = 2**20


@pytest.mark.parametrize(
    ("free", "piece"),
    [
        (None, 16),
        (2000 * MB, 16),
        (440 * MB, 16),
        (438 * MB, 8),
        (300 * MB, 8),
        (220 * MB, 4),
        (160 * MB, 2),
        (90 * MB, 1),
        (0, 1),
    ],
)
def test_pieces_fit_half_of_what_is_free(free: float | None, piece: int) -> None:
    found = fit_pieces(16, item=10 * MB, fixed=60 * MB, free=free)  # all at once: 220 MB
    assert found.piece == piece
    assert bool(found.note) == (piece < 16)
    if free == 300 * MB:
        assert all(told in found.note for told in ("16 items", "220 MB", "300 MB", "8 are put through at once"))


@given(st.integers(1, 500), st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e12))
def test_pieces_are_neither_empty_nor_too_many(wanted: int, item: float, fixed: float, free: float) -> None:
    piece = fit_pieces(wanted, item=item, fixed=fixed, free=free).piece
    assert 1 <= piece <= wanted
    assert piece == 1 or fixed + piece * item <= free * memory.SHARE * (1 + 1e-9)


def test_what_a_forward_pass_keeps() -> None:
    layer, x = nn.Linear(100, 50), torch.ones(8, 100)
    known = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    assert kept_bytes(lambda: layer(x).sum(), known) == x.nbytes  # for the weight's gradient
    deeper = lambda: layer(x).tanh().square().sum()
    assert kept_bytes(deeper, known) == x.nbytes + 8 * 50 * 4  # and the output of tanh, once for both
    assert kept_bytes(lambda: layer(x).sum(), set()) >= x.nbytes


@pytest.mark.parametrize("family", ["convolutions", "attention"])
def test_the_prediction_is_not_far_from_what_a_step_takes(family: str) -> None:
    """Against the allocations that torch's profiler counts."""
    if family == "convolutions":
        parts = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.SiLU(), nn.BatchNorm2d(8)) for _ in range(6)]
        model: nn.Module = nn.Sequential(*parts)
        x = torch.randn(4, 8, 64, 64)
    else:
        model = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True), 4, enable_nested_tensor=False
        )
        x = torch.randn(4, 100, 64)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    predicted = kept_bytes(lambda: model(x).square().mean(), weights) * memory.MARGIN
    model(x).square().mean().backward()  # gradients exist
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        model(x).square().mean().backward()
    change, most = 0, 0
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        change += event.nbytes()
        most = max(most, change)
    assert 0.8 * most < predicted < 2.5 * most


def test_little_memory_cuts_batches_into_pieces_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(epochs=2, batch=20, warmup=0.0)
    whole, _ = trained(Net(plain=True), recipe)
    copies = 4 * sum(p.nbytes for p in Net(plain=True).parameters())
    monkeypatch.setattr("graft.settings.free_memory", lambda: 2.0 * copies + 1500)
    net, run = trained(Net(plain=True), recipe)
    assert run.batch < 20 and run.accumulate == -(-20 // run.batch) and run.steps == 4
    (note,) = run.notes
    assert "20 items at once" in note
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], tensor)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_a_step_that_runs_out_of_memory_is_made_again_in_smaller_pieces(error: Exception) -> None:
    def small(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        value = loss(model, batch)
        if len(batch["targets"]) > 6:
            raise error
        return value

    recipe = Recipe(epochs=1, batch=20, warmup=0.0)
    whole, _ = trained(Net(plain=True), recipe)
    net, run = trained(Net(plain=True), recipe, objective=small)
    assert (run.batch, run.accumulate, run.steps) == (5, 4, 2)
    assert [note.partition(": ")[2] for note in run.notes] == [f"{n} items are put through at once." for n in (10, 5)]
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], tensor)


def test_not_one_item_fits() -> None:
    calls = iter(range(100))

    def never(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if next(calls):  # all but the look at memory
            raise MemoryError
        return loss(model, batch)

    with pytest.raises(MemoryError, match="one item at a time"):
        trained(objective=never)


def test_other_errors_pass() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not fit")) and not is_out_of_memory(ValueError("out of memory"))

    def wrong(*_: object) -> Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        trained(objective=wrong)


def test_a_look_at_memory_leaves_no_trace() -> None:
    class Counted(type(points())):  # type: ignore[misc]
        asked = 0

        def largest(self, count: int) -> dict[str, Tensor]:
            self.asked += 1
            return super().largest(count)  # type: ignore[no-any-return]

    plain = points()
    feed = Counted(plain.items, plain.targets, seed=0)
    first, _ = trained(feed=feed)
    assert feed.asked == 1

    class Bare:
        """A feed that cannot say which of its items are the largest."""

        def __len__(self) -> int:
            return N

        def epoch(self, epoch: int, batch: int) -> object:
            return plain.epoch(epoch, batch)

    assert bits(trained(feed=Bare())[0]) == bits(first)


@pytest.mark.parametrize("precision", ["bf16", "f32", "auto"])
def test_number_formats_on_a_cpu(precision: str) -> None:
    formats = []

    def objective(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        logits = model(batch)
        formats.append(logits.dtype)
        return nn.functional.cross_entropy(logits.float(), batch["targets"])

    net, run = trained(recipe=Recipe(epochs=1, batch=20, precision=precision), objective=objective)
    expected = {"bf16": torch.bfloat16}.get(precision, torch.float32)
    assert set(formats) == {expected} and run.precision == ("bf16" if precision == "bf16" else "f32")
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="f16"), machine("f16"):
        pass
    monkeypatch.setenv("GRAFT_DEVICE", "cuda:99")
    with pytest.raises(MissingError, match="cuda:99"), machine():
        pass


def test_peak_memory_is_counted_from_the_start() -> None:
    with machine() as here:
        memory.forget_peak(here.device)
        before = memory.peak(here.device)
        block = torch.ones(400 * MB // 4)  # much, as a busy system may meanwhile take back other pages of this process
        assert 200 < memory.peak(here.device) - before < 480
        del block
