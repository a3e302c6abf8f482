"""What a network weighs and costs, against what torch allocates and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.contracts.conftest import tiny_model  # noqa: F401
from torch import nn

from graft.diagnostics.counting import ModelCount, count
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.errors import UsageError
from graft.trainers.body import first_batch, open_body
from graft.trainers.memory import MARGIN, most_items

GB = 2**30


@pytest.fixture(scope="module")
def tiny(tiny_model: Callable[[str], Path]) -> Encoder:  # noqa: F811
    return open_encoder(f"dir:{tiny_model('bert')}")


@pytest.fixture(scope="module")
def counted(tiny: Encoder) -> ModelCount:
    return count(tiny, batch=16, tokens=20, memory_bytes=GB / 100)


@pytest.mark.parametrize(("reference", "batch"), [("minilm", 5), ("efficientnet-lite0", 3)])
def test_activations_of_the_bundled_encoders(reference: str, batch: int) -> None:
    found = count(open_encoder(reference), batch=batch, tokens=24, memory_bytes=GB)
    assert found.measured is not None
    assert found.kept == pytest.approx(found.measured, rel=0.02)
    known = {"minilm": (22_565_376, 147_840), "efficientnet-lite0": (3_371_008, 1_281_000)}  # as published, in all
    assert (found.parameters, found.unused) == known[reference]
    assert sum(found.depths.values()) == sum(layer.parameters for layer in found.layers) == found.parameters


def test_activations_of_a_tiny_transformer(counted: ModelCount) -> None:
    assert counted.measured is not None
    assert counted.kept == pytest.approx(counted.measured, rel=0.02)
    assert counted.input == "20 tokens"


def test_operations_of_minilm_are_those_of_the_formula() -> None:
    """A token: 4 D² for the projections and 8 D² for the two dense layers, and 2 T D for attention, in each of six blocks; and BERT's pooler, D²,
    which runs though no vector needs it.
    """
    found = count(open_encoder("minilm"), batch=1, tokens=32, memory_bytes=GB)
    d, t = 384, 32
    assert found.forward == 2 * 6 * t * (4 * d * d + 8 * d * d + 2 * t * d) + 2 * d * d
    assert found.training == 3 * found.forward


def test_operations_of_convolutions_are_those_of_their_shapes() -> None:
    encoder = open_encoder("efficientnet-lite0")
    body, total = open_body(encoder), 0

    def note(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        total += 2 * output.numel() * layer.weight[0].numel()

    for layer in body.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.no_grad():
        body(first_batch(encoder))
    assert count(encoder, batch=1, tokens=1, memory_bytes=GB).forward == total


def test_gradients_and_states_are_what_torch_holds(tiny: Encoder, counted: ModelCount) -> None:
    body = open_body(tiny).train()
    body(first_batch(tiny)).sum().backward()
    assert sum(p.grad.nbytes for p in body.parameters() if p.grad is not None) == counted.gradients == counted.weights
    made = {
        "sgd": torch.optim.SGD(body.parameters(), 0.1),
        "momentum": torch.optim.SGD(body.parameters(), 0.1, momentum=0.9),
        "adam": torch.optim.Adam(body.parameters(), 0.1),
    }
    for bill in counted.bills:
        optimiser = made[bill.optimiser]
        optimiser.step()
        held = sum(
            v.nbytes for state in optimiser.state.values() for v in state.values() if torch.is_tensor(v) and v.dim()
        )
        assert held == bill.state
        assert bill.fixed == bill.state + counted.weights + counted.gradients


def test_the_largest_batch_fits_and_one_more_does_not(counted: ModelCount) -> None:
    once = counted.kept - 16 * counted.kept_item
    for bill in counted.bills:
        step = [bill.fixed + MARGIN * (once + n * counted.kept_item) for n in (bill.largest, bill.largest + 1)]
        assert bill.largest > 0
        assert step[0] <= counted.memory < step[1]
        assert bill.step == pytest.approx(bill.fixed + MARGIN * counted.kept, abs=1)
    assert most_items(10.0, 100.0, 99.0) == 0


def test_a_batch_that_does_not_fit_is_not_run(tiny: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.settings.free_memory", lambda: 1000.0)
    found = count(tiny, batch=64, tokens=8, memory_bytes=None)
    assert found.measured is None and found.notes
    assert [bill.largest for bill in found.bills] == [0, 0, 0]


def test_numbers_that_cannot_be(tiny: Encoder) -> None:
    with pytest.raises(UsageError, match=r"--batch 0: .*--tokens 0: .*--memory -1: "):
        count(tiny, batch=0, tokens=0, memory_bytes=-GB)
