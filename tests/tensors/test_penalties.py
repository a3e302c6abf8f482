"""Penalties on problems whose solution is known: quadratic losses in closed form, Fisher's information of logistic regression by its formula.

Legend: N items, D dims, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from graft.errors import ModelError, UsageError
from graft.tensors.penalties import Penalty, drift, ewc, fisher_diagonal, l2sp, snapshot


@dataclass(frozen=True)
class Group:
    name: str
    parameters: tuple[str, ...]


class Quadratic(nn.Module):
    """1/2 (w - best)' H (w - best), w in two tensors, starting at `start`."""

    def __init__(self, hessian: Tensor, best: Tensor, start: Tensor) -> None:
        super().__init__()
        self.hessian, self.best = hessian, best
        self.a, self.b = nn.Parameter(start[:2].clone()), nn.Parameter(start[2:].clone())

    def weights(self) -> Tensor:
        return torch.cat([self.a, self.b])

    def loss(self) -> Tensor:
        apart = self.weights() - self.best
        return apart @ self.hessian @ apart / 2

    def minimise(self, penalty: Penalty) -> Tensor:
        """One step of Newton's, which is exact for a quadratic, from the gradients alone."""
        weights = [self.a, self.b]
        slope = torch.cat(torch.autograd.grad(self.loss() + penalty(), weights, create_graph=True))
        curvature = torch.stack([torch.cat(torch.autograd.grad(part, weights, retain_graph=True)) for part in slope])
        least: Tensor = self.weights() - torch.linalg.solve(curvature, slope)
        return least.detach()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic(diagonal: bool = False) -> Quadratic:
    root = drawn(5, 5)
    hessian = torch.diag(root[0].square() + 0.1) if diagonal else root @ root.T + 0.1 * torch.eye(5)
    return Quadratic(hessian, drawn(5, seed=1), drawn(5, seed=2))


# -- L2-SP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0, 1e6])
def test_l2sp_solves_the_quadratic_in_closed_form(weight: float) -> None:
    """(H + weight I) w = H best + weight w0."""
    model = quadratic()
    start = model.weights().detach().clone()
    expected = torch.linalg.solve(model.hessian + weight * torch.eye(5), model.hessian @ model.best + weight * start)
    torch.testing.assert_close(model.minimise(l2sp(model, snapshot(model), weight)), expected, rtol=1e-6, atol=1e-6)


def test_each_weight_lies_between_the_old_and_the_best_at_the_share_its_curvature_says() -> None:
    """With a diagonal H: w = w0 + h / (h + weight) (best - w0)."""
    model = quadratic(diagonal=True)
    start, h = model.weights().detach().clone(), model.hessian.diagonal()
    found = model.minimise(l2sp(model, snapshot(model), 2.0))
    torch.testing.assert_close((found - start) / (model.best - start), h / (h + 2.0), rtol=1e-6, atol=1e-6)


def test_weights_without_a_start_are_pulled_to_zero() -> None:
    model = quadratic(diagonal=True)
    h = model.hessian.diagonal()
    found = model.minimise(l2sp(model, {"a": snapshot(model)["a"]}, 1e9, others=3.0))
    torch.testing.assert_close(found[:2], drawn(5, seed=2)[:2], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[2:], (h / (h + 3.0) * model.best)[2:], rtol=1e-6, atol=1e-6)
    free = model.minimise(l2sp(model, {"a": snapshot(model)["a"]}, 1e9))
    torch.testing.assert_close(free[2:], model.best[2:], rtol=1e-6, atol=1e-6)


def test_the_value_by_hand_and_frozen_weights() -> None:
    model = quadratic()
    penalty = l2sp(model, dict(model.state_dict()), 4.0)  # the model's own tensors: their values are kept, not they
    assert float(penalty().detach()) == 0
    with torch.no_grad():
        model.a.add_(torch.tensor([1.0, 2.0]))
        model.b.add_(3.0)
    assert float(penalty().detach()) == pytest.approx(4 / 2 * (1 + 4 + 3 * 9))
    model.b.requires_grad_(False)
    assert float(penalty().detach()) == pytest.approx(4 / 2 * 5)
    model.a.requires_grad_(False)
    nothing = penalty()
    nothing.backward()  # type: ignore[no-untyped-call]
    assert nothing.item() == 0


# -- EWC --------------------------------------------------------------------------------------------------------------


def test_ewc_solves_the_quadratic_in_closed_form() -> None:
    """(H + weight F) w = H best + weight F w0."""
    model = quadratic()
    start, fisher = model.weights().detach().clone(), drawn(5, seed=3).square()
    penalty = ewc(model, snapshot(model), {"a": fisher[:2], "b": fisher[2:]}, 7.0)
    pull = 7.0 * torch.diag(fisher)
    expected = torch.linalg.solve(model.hessian + pull, model.hessian @ model.best + pull @ start)
    torch.testing.assert_close(model.minimise(penalty), expected, rtol=1e-6, atol=1e-6)


def test_what_mattered_stays_and_the_rest_goes_to_the_best() -> None:
    model = quadratic(diagonal=True)
    start = model.weights().detach().clone()
    mattered = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = model.minimise(ewc(model, snapshot(model), {"a": mattered}, 1e9))
    torch.testing.assert_close(found[0], start[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1:], model.best[1:], rtol=1e-6, atol=1e-6)


def test_ewc_keeps_the_old_task_better_than_l2sp_at_equal_gain_on_the_new() -> None:
    """Two quadratic tasks: with the old one's true curvature the sum of both losses is minimised."""
    old = quadratic(diagonal=True)
    new = Quadratic(torch.diag(drawn(5, seed=4).square() + 0.1), drawn(5, seed=5), old.best)
    h_old = old.hessian.diagonal()
    found = new.minimise(ewc(new, snapshot(new), {"a": h_old[:2], "b": h_old[2:]}, 1.0))
    h_new = new.hessian.diagonal()
    torch.testing.assert_close(found, (h_old * old.best + h_new * new.best) / (h_old + h_new), rtol=1e-6, atol=1e-6)


# -- Fisher -----------------------------------------------------------------------------------------------------------


class Softmax(nn.Module):
    """Multinomial logistic regression, and a weight it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.unused, self.frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1), requires_grad=False)
        with torch.no_grad():
            self.linear.weight.copy_(drawn(3, 4, seed=6))
            self.linear.bias.copy_(drawn(3, seed=7))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.linear(batch["x"]) * self.frozen
        return logits


def task(n: int = 12) -> dict[str, Tensor]:
    return {"x": drawn(n, 4, seed=8).float(), "targets": torch.arange(n) % 3}


def cut(batch: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    n = len(batch["x"])
    return [{name: tensor[at : at + size] for name, tensor in batch.items()} for at in range(0, n, size)]


def test_expected_fisher_of_logistic_regression_is_its_formula() -> None:
    """Mean over items of p_c (1 - p_c) x_d^2, and p_c (1 - p_c) for the intercepts."""
    model, batch = Softmax(), task()
    p_NC = torch.softmax(model(batch), dim=1).detach()
    spread_NC = p_NC * (1 - p_NC)
    for size in (1, 5, 12):
        fisher = fisher_diagonal(model, cut(batch, size), labels="expected")
        torch.testing.assert_close(fisher["linear.weight"], spread_NC.T @ batch["x"].square() / 12)
        torch.testing.assert_close(fisher["linear.bias"], spread_NC.mean(dim=0))
        assert fisher["unused"].tolist() == [0, 0]
        assert "frozen" not in fisher


def test_given_labels_make_the_empirical_fisher() -> None:
    model, batch = Softmax(), task()
    off_NC = torch.softmax(model(batch), dim=1).detach() - torch.eye(3)[batch["targets"]]
    fisher = fisher_diagonal(model, cut(batch, 4), labels="given")
    torch.testing.assert_close(fisher["linear.weight"], off_NC.square().T @ batch["x"].square() / 12)


def test_drawn_labels_estimate_the_expected_ones() -> None:
    model, batch = Softmax(), task()
    exact = fisher_diagonal(model, [batch], labels="expected")["linear.bias"]
    many = {name: tensor.repeat(40, *[1] * (tensor.dim() - 1)) for name, tensor in batch.items()}
    drawn_once, again = (fisher_diagonal(model, [many], n=480, seed=1)["linear.bias"] for _ in range(2))
    assert torch.equal(drawn_once, again)
    torch.testing.assert_close(drawn_once, exact, rtol=0.25, atol=0)
    assert not torch.equal(drawn_once, fisher_diagonal(model, [many], n=480, seed=2)["linear.bias"])


def test_only_the_first_items_count_and_gradients_are_left_alone() -> None:
    model, batch = Softmax(), task()
    model.linear.bias.grad = torch.full((3,), 5.0)
    first = {name: tensor[:5] for name, tensor in batch.items()}
    found, expected = (fisher_diagonal(model, cut(b, 3), n=5, labels="expected") for b in (batch, first))
    for name, value in found.items():
        assert torch.equal(value, expected[name])
    assert model.linear.bias.grad.tolist() == [5, 5, 5]
    with pytest.raises(UsageError, match="at least one item"):
        fisher_diagonal(model, [])
    with pytest.raises(UsageError, match="'guessed' is not known"):
        fisher_diagonal(model, [batch], labels="guessed")


# -- drift ------------------------------------------------------------------------------------------------------------


def test_drift_by_hand() -> None:
    model = quadratic()
    with torch.no_grad():
        model.a.copy_(torch.tensor([3.0, 4.0]))
        model.b.zero_()
    before = snapshot(model)
    groups = (Group("stem", ("a",)), Group("top", ("b",)), Group("both", ("a", "b")))
    assert drift(before, model, groups) == {"stem": (0, 0), "top": (0, 0), "both": (0, 0)}
    with torch.no_grad():
        model.a.add_(torch.tensor([0.3, 0.4]))
        model.b.add_(torch.tensor([2.0, 1.0, 2.0]))
    found = drift(before, model, groups)
    assert found["stem"] == pytest.approx((0.5, 0.1))
    assert found["top"] == pytest.approx((3.0, 1.0))  # started at zero and left it
    assert found["both"] == pytest.approx((9.25**0.5, 9.25**0.5 / 5))
    with pytest.raises(ModelError, match="'head' names weights that are not known: c"):
        drift(before, model, [Group("head", ("c",))])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: l2sp(m, {"c": torch.ones(2)}, 1.0), ModelError, "the model has a, b, the start c"),
        (lambda m: l2sp(m, {"a": torch.ones(3)}, 1.0), ModelError, "another shape than at their start: a"),
        (lambda m: l2sp(m, snapshot(m), -1.0), UsageError, "l2sp=-1"),
        (lambda m: l2sp(m, snapshot(m), float("nan")), UsageError, "l2sp=nan"),
        (lambda m: ewc(m, snapshot(m), {"a": torch.ones(3)}, 1.0), ModelError, "another shape"),
        (lambda m: ewc(m, snapshot(m), {}, 1.0), ModelError, "None of the weights has a start"),
        (lambda m: ewc(m, snapshot(m), snapshot(m), -2.0), UsageError, "ewc=-2"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[nn.Module], Penalty], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(quadratic())
