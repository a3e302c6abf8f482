"""A network that scores pairs of a person and an item (neural matrix factorisation, He et al. 2017), the person as the mean of what they like.

Legend: U users, I items, N likes, D dims, H hidden units, B people of a batch, P pairs of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from graft import settings as machine
from graft.recommenders.base import (
    FittedItems,
    Float32Array,
    Histories,
    Settings,
    liked_matrix,
    popularity_of,
    strangers_by_popularity,
    weighted_means,
)

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_matrix

    from graft.interactions.likes import Interactions

STEP = 512  # likes of a step, about: those of whole people, whose vectors are then added up once
HIDDEN = (64, 32)
NEGATIVES = 4  # items drawn beside every like, as He et al. have them
BLOCK_NUMBERS = 2**22  # hidden units held at once when scoring: 16 MB


class PairScorer(FittedItems):
    """The logit of a like: w (p * q) + v relu(B relu(A [p, q])) + bias of the item, with q the item's vector.

    p is the mean, weighted by strength, of second vectors of what the person likes, in training without the item in question; He et
    al. learn a vector a person instead, which leaves new people without any.
    """

    name: ClassVar[str] = "mlp"

    @classmethod
    def fit(
        cls,
        likes: Interactions,
        *,
        dims: int = 32,
        rate: float = 0.003,
        decay: float = 1e-5,
        epochs: int = 10,
        seed: int = 0,
    ) -> Self:
        """Learn from the likes by Adam on cross entropy: each like once an epoch, and four items drawn by chance from the catalogue.

        `decay` is added to the gradient for each weight (L2). Raises DataError where there is no like.
        """
        matrix = liked_matrix(likes)
        settings = {"dims": dims, "rate": rate, "decay": decay, "epochs": epochs, "seed": seed}
        arrays = _train(matrix, settings)
        return cls(settings, arrays | {"popular": popularity_of(matrix)})

    def scores(self, histories: Histories) -> Float32Array:
        """Logits (B, I); people without a known like are scored by popularity."""
        a = self.arrays
        person_BD = weighted_means(histories.matrix, a["context"])
        dims = person_BD.shape[1]
        scores_BI: Float32Array = (person_BD * a["product"]) @ a["item"].T + a["bias"]
        # The first layer of a pair is a part of the person plus a part of the item.
        by_person_BH = person_BD @ a["first"][:, :dims].T
        by_item_IH = a["item"] @ a["first"][:, dims:].T + a["first_bias"]
        block = max(1, BLOCK_NUMBERS // by_item_IH.size)
        for start in range(0, len(scores_BI), block):
            hidden_BIH = np.maximum(by_person_BH[start : start + block, None] + by_item_IH, 0)
            second_BIH = np.maximum(hidden_BIH @ a["second"].T + a["second_bias"], 0)
            scores_BI[start : start + block] += second_BIH @ a["last"]
        return strangers_by_popularity(scores_BI, histories, self.popular_I)


def grid() -> list[Settings]:
    """Settings worth trying, cheap ones first."""
    return [
        {"dims": dims, "rate": rate, "epochs": epochs}
        for epochs in (5, 15)
        for dims in (32, 64)
        for rate in (0.001, 0.003)
    ]


def _train(matrix: csr_matrix, settings: Settings) -> dict[str, NDArray[Any]]:
    """The weights after all epochs."""
    import torch

    rng = np.random.default_rng(settings["seed"])
    weights = _start(matrix, settings["dims"], rng)
    adam = torch.optim.Adam(weights.values(), lr=settings["rate"], weight_decay=settings["decay"])
    for done in range(settings["epochs"]):
        for people in _parties(matrix, rng):
            histories = matrix[people]
            item_P = histories.indices.astype(np.int64)
            others_P = rng.integers(0, matrix.shape[1], NEGATIVES * len(item_P))
            logit = _logits(weights, _pooled(histories, weights["context"]), item_P, others_P)
            truth = torch.zeros_like(logit)
            truth[: len(item_P)] = 1
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, truth)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        machine.progress("mlp", done + 1, settings["epochs"])
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def _start(matrix: csr_matrix, dims: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Drawn weights; the biases begin at the log odds of a like."""
    import torch

    n_items, (wide, narrow) = matrix.shape[1], HIDDEN
    shapes = {"context": (n_items, dims), "item": (n_items, dims), "product": (dims,)}
    shapes |= {"first": (wide, 2 * dims), "first_bias": (wide,), "second": (narrow, wide), "second_bias": (narrow,)}
    shapes |= {"last": (narrow,), "bias": (n_items,)}
    drawn = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    for name in ("context", "item"):
        drawn[name] *= 0.1
    drawn["product"] = np.ones(dims, np.float32)
    for name in ("first", "second"):
        drawn[name] *= np.float32(np.sqrt(2 / shapes[name][1]))
    drawn["last"] *= np.float32(np.sqrt(1 / narrow))
    for name in ("first_bias", "second_bias", "bias"):
        drawn[name][:] = 0
    return {name: torch.tensor(array, requires_grad=True) for name, array in drawn.items()}


def _parties(matrix: csr_matrix, rng: np.random.Generator) -> list[NDArray[Any]]:
    """People with likes in a drawn order, parted so that each part has about as many likes as a step takes."""
    count_U = np.diff(matrix.indptr)
    people = rng.permutation(np.flatnonzero(count_U))
    step_U = (np.cumsum(count_U[people]) - 1) // STEP
    return np.split(people, np.flatnonzero(np.diff(step_U)) + 1)


def _pooled(histories: csr_matrix, context_ID: torch.Tensor) -> torch.Tensor:
    """For every like (P, D) the mean of the second vectors of what that person likes besides; zeros where there is nothing else."""
    import torch

    count_B = np.diff(histories.indptr)
    person_P = torch.from_numpy(np.repeat(np.arange(len(count_B)), count_B))
    own_PD = context_ID[torch.from_numpy(histories.indices.astype(np.int64))]
    weight_P1 = torch.from_numpy(histories.data)[:, None]
    sums = torch.zeros((len(count_B), own_PD.shape[1])).index_add(0, person_P, weight_P1 * own_PD)
    totals = torch.zeros((len(count_B), 1)).index_add(0, person_P, weight_P1)
    rest_P1 = totals[person_P] - weight_P1
    alone_P1 = torch.from_numpy(count_B)[person_P, None] == 1
    return torch.where(alone_P1, 0.0, (sums[person_P] - weight_P1 * own_PD) / torch.where(alone_P1, 1.0, rest_P1))


def _logits(
    weights: dict[str, torch.Tensor], person_PD: torch.Tensor, item_P: NDArray[Any], others_P: NDArray[Any]
) -> torch.Tensor:
    """Logits of the likes, then of the others, which stand in for each person as often as there are people."""
    import torch

    item = torch.from_numpy(np.concatenate([item_P, others_P]))
    person = person_PD.repeat(1 + len(others_P) // len(item_P), 1)
    vector = weights["item"][item]
    hidden = torch.relu(torch.cat([person, vector], 1) @ weights["first"].T + weights["first_bias"])
    hidden = torch.relu(hidden @ weights["second"].T + weights["second_bias"])
    return (person * vector) @ weights["product"] + hidden @ weights["last"] + weights["bias"][item]
