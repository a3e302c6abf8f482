"""The trained head answers as the fitted probe until it is trained, and turns back into one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from graft.encoders.open import open_encoder
from graft.heads.base import log_softmax
from graft.heads.linear import LinearHead
from graft.trainers.body import Split, open_body
from graft.trainers.networks import CutNetwork, Network, ProbeHead, WholeNetwork

DIMS, CLASSES = 24, 4


def points(kind: str, n: int = 60, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors of several kinds: signed, or as after a ReLU and pooling (then with many zeros, and small ones too)."""
    rng = np.random.default_rng(seed)
    y_N = np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, n - CLASSES)])
    x_ND = rng.normal(size=(n, DIMS)) + 1.5 * np.eye(CLASSES, DIMS)[y_N]
    if kind != "signed":
        x_ND = np.maximum(x_ND - 0.8, 0)
        x_ND[:, -1] = 0.01
    if kind == "small":
        x_ND *= 1e-3
    return x_ND.astype(np.float32), y_N


def fitted(kind: str, *, named: bool, classes: tuple[int, ...] = (0, 1, 2, 3), c: float = 10.0) -> LinearHead:
    x_ND, y_N = points(kind)
    some = np.isin(y_N, classes)
    names_CD = np.eye(CLASSES, DIMS, dtype=np.float32) + 0.2 if named else None
    return LinearHead(c=c, names_CD=names_CD, name_weight=6.0).fit(x_ND[some], y_N[some], CLASSES)


def answers(head: nn.Module, x_ND: NDArray[np.float32]) -> NDArray[np.float64]:
    with torch.no_grad():
        return np.asarray(head(torch.from_numpy(x_ND)).numpy(), np.float64)


@pytest.mark.parametrize("kind", ["signed", "positive", "small"])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("classes", [(0, 1, 2, 3), (1, 3)])
def test_untrained_it_is_the_probe(kind: str, named: bool, classes: tuple[int, ...]) -> None:
    probe = fitted(kind, named=named, classes=classes)
    assert probe.normaliser.root == (kind != "signed")
    assert not named or probe.pull > 0
    head = ProbeHead(probe)
    new_ND = points(kind, seed=1)[0]
    new_ND[0] = 0  # a vector without direction
    found, expected = answers(head, new_ND), probe.logits(new_ND)
    assert found.shape == (len(new_ND), len(classes))
    if len(classes) < CLASSES:
        found, expected = log_softmax(found), expected[:, list(classes)]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(head.fitted().logits(new_ND), probe.logits(new_ND), atol=1e-6)


@pytest.mark.parametrize("kind", ["signed", "positive"])
@pytest.mark.parametrize("named", [False, True])
def test_trained_it_turns_back_into_a_probe_that_answers_as_it_does(kind: str, named: bool) -> None:
    probe = fitted(kind, named=named)
    before = {name: array.copy() for name, array in probe.state()[0].items()}
    head = ProbeHead(probe)
    x_ND, y_N = points(kind)
    optimiser = torch.optim.SGD(head.parameters(), 10.0)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(torch.from_numpy(x_ND)), torch.from_numpy(y_N)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert np.abs(answers(head, x_ND) - probe.logits(x_ND)).max() > 0.05
    after = head.fitted()
    np.testing.assert_allclose(after.logits(x_ND), answers(head, x_ND), atol=1e-3)
    arrays, config = after.state()
    np.testing.assert_allclose(LinearHead.from_state(arrays, config).logits(x_ND), after.logits(x_ND), atol=1e-9)
    kept = after.logits(x_ND)
    with torch.no_grad():
        head.coef.zero_()
    np.testing.assert_array_equal(after.logits(x_ND), kept)  # no view of what is trained on
    for name, array in probe.state()[0].items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("kind", ["signed", "positive"])
def test_every_slope_is_finite_and_reaches_the_vectors(kind: str) -> None:
    x_ND = torch.from_numpy(points(kind)[0]).requires_grad_()
    with torch.no_grad():
        x_ND[0] = 0
    head = ProbeHead(fitted(kind, named=True))
    nn.functional.cross_entropy(head(x_ND), torch.from_numpy(points(kind)[1])).backward()  # type: ignore[no-untyped-call]
    assert x_ND.grad is not None and torch.isfinite(x_ND.grad).all()
    assert float(x_ND.grad[1:].abs().sum(1).min()) > 0
    assert {name for name, p in head.named_parameters() if p.grad is not None} == {"coef", "intercept"}


def test_a_start_from_nothing() -> None:
    probe = fitted("signed", named=True)
    x_ND = points("signed")[0]
    assert np.abs(answers(ProbeHead(probe, start="zero"), x_ND)).max() == 0
    first, again, other = (ProbeHead(probe, start="random", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.coef, again.coef) and not torch.equal(first.coef, other.coef)
    assert 0.5 * DIMS**-0.5 < float(first.coef.detach().abs().max()) <= DIMS**-0.5
    assert float(first.intercept.detach().abs().max()) == 0
    np.testing.assert_allclose(first.fitted().logits(x_ND), answers(first, x_ND), atol=1e-3)


def test_a_head_on_vectors_and_a_network_without_its_head() -> None:
    probe, x_ND = fitted("signed", named=False), torch.from_numpy(points("signed")[0])
    network = Network(ProbeHead(probe))
    np.testing.assert_allclose(network({"vectors": x_ND}).detach().numpy(), probe.logits(x_ND.numpy()), atol=1e-3)
    network.headless = True
    assert network({"vectors": x_ND}) is x_ND


@pytest.mark.parametrize(("kind", "first"), [("bert", 2), ("convnext", 4)])
def test_cut_or_whole_a_network_answers_the_same(
    kind: str, first: int, tiny_model: Callable[[str], Path], texts: list[str], pictures: list[object]
) -> None:
    encoder = open_encoder(f"dir:{tiny_model(kind)}")
    body = open_body(encoder)
    prepared = encoder.prepare(texts if kind == "bert" else pictures)
    batch = {name: torch.from_numpy(array) for name, array in encoder.collate(prepared).items()}
    with torch.no_grad():
        x_ND = body(batch).numpy()
    head = LinearHead().fit(x_ND, np.arange(len(x_ND)) % 2, 2)
    whole = WholeNetwork(body, ProbeHead(head))
    split = Split(body, first)
    cut = CutNetwork(split, body, whole.head)
    with torch.no_grad():
        np.testing.assert_allclose(whole(batch).numpy(), head.logits(x_ND), atol=1e-3)
        activations = split.lower(batch)
        again = cut({**batch, "activations": activations})
    np.testing.assert_allclose(again.numpy(), head.logits(x_ND), atol=1e-3)
