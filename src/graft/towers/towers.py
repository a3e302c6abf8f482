"""Two towers as torch modules, and the lesson they learn: people and items become vectors whose inner products say who likes what.

    item    v = unit(id + W x)              x: categories, numbers, vectors of text or picture; the id part is left out now and then (id dropout)
    person  m = mean of v over the history, without the like that is to be foretold
            h = relu(A [m, features] + a),  p = unit(m + B h + b) (+ id),  w = C h + c
    score   p v / temperature + w s + z (P v)

with s how the item stands at the moment (see `standing`) and z the calendar of the moment. It is an inner product of [p / temperature, w, z] with [v, s, P v],
so the item's vector at a moment has what depends on time beside what does not, and neighbours are found as in any space.

Imported only where training runs; fitted models answer without torch. Legend: U people, I items, N likes, B of a batch, D dims, H hidden, F features of
items, S features of people, T moments, J items a batch is compared with, R rows a moment, n items of each like's own, M some places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from graft.towers.sampling import Sampler
from graft.towers.softmax import log_expected, sampled_softmax_loss, semi_hard_triplet_loss
from graft.trainers.batches import Batch, derived_seed

LONGEST = 100  # likes of a history that are pooled in training, the last ones; asking pools all


@dataclass(frozen=True)
class Sizes:
    """How wide everything is: 0 for what there is none of."""

    items: int
    item_features: int
    people: int  # with an id part of their own
    person_features: int
    standing: int
    calendar: int


class TwoTowers(nn.Module):
    """The weights. Everything is drawn from torch's generator as it stands."""

    def __init__(self, sizes: Sizes, dims: int) -> None:
        super().__init__()
        self.id_ID = nn.Parameter(torch.randn(sizes.items, dims) / dims**0.5)
        self.content = nn.Linear(sizes.item_features, dims, bias=False) if sizes.item_features else None
        self.person_UD = nn.Parameter(torch.zeros(sizes.people, dims)) if sizes.people else None
        self.hidden = nn.Linear(dims + sizes.person_features, 2 * dims)
        self.taste = nn.Linear(2 * dims, dims)
        self.standing = nn.Linear(2 * dims, sizes.standing) if sizes.standing else None
        self.calendar = nn.Linear(dims, sizes.calendar, bias=False) if sizes.calendar else None
        for layer in filter(None, (self.standing, self.calendar)):
            nn.init.zeros_(layer.weight)  # at first all stand alike

    def items(self, x_IF: Tensor, keep_I1: Tensor | None = None) -> Tensor:
        """Unit vectors (I, D); `keep_I1` is 0 where the id part is left out."""
        id_ID = self.id_ID if keep_I1 is None else self.id_ID * keep_I1
        return normalize(id_ID if self.content is None else id_ID + self.content(x_IF), dim=1)

    def people(self, mean_BD: Tensor, x_BS: Tensor, id_BD: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Unit vectors (B, D), and what the people make of how items stand (B, standing)."""
        hidden_BH = torch.relu(self.hidden(torch.cat([mean_BD, x_BS], dim=1)))
        person_BD = mean_BD + self.taste(hidden_BH)
        if id_BD is not None:
            person_BD = person_BD + id_BD
        return normalize(person_BD, dim=1), None if self.standing is None else self.standing(hidden_BH)


@dataclass(frozen=True, eq=False)
class Given:
    """What a lesson is made of. Likes (N,) are sorted by person and then time; `moment_N` is the place of each like's moment among T.

    `standing_ITF`: how items stand at the moments, or (I, 1, F) at none in particular; then `standing_alone_IF` is how they stand for one of those who like
    them, that like not counted. `calendar_NZ`: of each like's moment.
    """

    user_N: NDArray[np.int64]
    item_N: NDArray[np.int64]
    weight_N: NDArray[np.float32]
    start_U: NDArray[np.int64]
    item_IF: NDArray[np.float32]
    person_US: NDArray[np.float32]
    moment_N: NDArray[np.int64]
    standing_ITF: NDArray[np.float32]
    standing_alone_IF: NDArray[np.float32] | None
    calendar_NZ: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class How:
    """Settings of a lesson, see `TwoTower.fit` and `Training`."""

    temperature: float
    loss: str
    margin: float
    correct: bool
    id_dropout: float
    before: bool


class Lesson:
    """The likes as a feed for the training loop, and the loss of a batch of them."""

    def __init__(self, given: Given, sampler: Sampler, how: How, *, seed: int) -> None:
        self.given, self.sampler, self.how, self.seed = given, sampler, how, seed
        likes_I = np.bincount(given.item_N, minlength=len(given.item_IF))
        log_q_I = np.log(np.maximum(likes_I, 1) / len(given.item_N)).astype(np.float32)
        arrays = {name: array for name, array in vars(given).items() if array is not None} | {"log_q_I": log_q_I}
        self._tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        self._log_uniform = -float(np.log(len(sampler.known)))

    # --- what the loop draws from

    def __len__(self) -> int:
        return len(self.given.item_N)

    def epoch(self, epoch: int, batch: int) -> Iterator[Batch]:
        """Batches of an epoch: places of likes and their negatives."""
        order = np.random.default_rng(derived_seed(self.seed, epoch)).permutation(len(self))
        for number, places_B in enumerate(np.array_split(order, -(-len(order) // batch))):
            yield self._batch(places_B, np.random.default_rng(derived_seed(self.seed, epoch, number)))

    def largest(self, count: int) -> Batch:  # noqa: ARG002
        """A whole batch to measure memory on: what a step takes is mostly that of the items, however few likes there are."""
        return self._batch(np.arange(min(len(self), 256)), np.random.default_rng(self.seed))

    def _batch(self, places_B: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        drawn = self.sampler.draw(places_B, rng)
        arrays = {"place": places_B, "random": drawn.random_Bn, "hard": drawn.hard_Bn, "own": drawn.own_Bn}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    # --- the loss

    def objective(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss of the batch's likes."""
        assert isinstance(model, TwoTowers)
        place_B = batch["place"]
        here = {name: self._on(place_B.device, name) for name in self._tensors}
        item_ID = model.items(here["item_IF"], self._kept(model, len(here["item_IF"]), place_B.device))
        asked = _Asked(model, here, item_ID, place_B, self.how)
        shares, rows = self.sampler.shares, len(place_B)
        target_B, random_J = here["item_N"][place_B], batch["random"].reshape(-1)
        item_J = torch.cat([target_B, random_J]) if shares.in_batch else random_J
        scores, left_out, expected = [], [], []
        if len(item_J):
            scores.append(asked.scores(item_J))
            left_out.append(asked.liked(item_J))
            if shares.in_batch:
                drawn_J = (
                    here["log_q_I"][target_B]
                    if self.how.correct
                    else torch.full_like(asked.weight_B, self._log_uniform)
                )
                expected.append(log_expected(drawn_J, max(1, rows - 1), shares.in_batch).expand(rows, -1))
            if len(random_J):
                expected.append(self._uniform(rows, len(random_J), len(random_J), shares.random, place_B.device))
        if batch["hard"].shape[1]:
            scores.append(asked.own_scores(batch["hard"]))
            left_out.append(batch["own"])
            # No chances of theirs cover the catalogue, so they count as if drawn from all of it: their share is how much more their kind matters.
            kinds = [share for share in (shares.same_category, shares.left) if share]
            expected += [
                self._uniform(rows, self.sampler.draws, self.sampler.draws, share, place_B.device) for share in kinds
            ]
        scores_BJ, left_out_BJ = torch.cat(scores, dim=1), torch.cat(left_out, dim=1)
        if self.how.loss == "triplet":
            return semi_hard_triplet_loss(
                asked.person_BD, item_ID[target_B], scores_BJ, left_out_BJ, self.how.margin, asked.weight_B
            )
        return sampled_softmax_loss(
            asked.positive(), scores_BJ, torch.cat(expected, dim=1), left_out_BJ, asked.weight_B
        )

    def _uniform(self, rows: int, columns: int, draws: int, share: float, device: torch.device) -> Tensor:
        """What is taken off the scores of items drawn with equal chances, (rows, columns)."""
        return log_expected(torch.full((1, 1), self._log_uniform, device=device), draws, share).expand(rows, columns)

    def _kept(self, model: TwoTowers, items: int, device: torch.device) -> Tensor | None:
        """Which items keep their id part in this step."""
        if model.content is None or not model.training or not self.how.id_dropout:
            return None
        return (torch.rand(items, 1, device=device) >= self.how.id_dropout).float()

    def _on(self, device: torch.device, name: str) -> Tensor:
        if self._tensors[name].device != device:
            self._tensors[name] = self._tensors[name].to(device)
        return self._tensors[name]


class _Asked:
    """The people of a batch of likes at the moments of these, and their scores. Scores are cosines alone for triplets."""

    def __init__(self, model: TwoTowers, here: dict[str, Tensor], item_ID: Tensor, place_B: Tensor, how: How) -> None:
        self.model, self.here, self.item_ID, self.how = model, here, item_ID, how
        self.user_B, self.target_B = here["user_N"][place_B], here["item_N"][place_B]
        self.weight_B, self.moment_B = here["weight_N"][place_B], here["moment_N"][place_B]
        self.start_B, self.stop_B = here["start_U"][self.user_B], here["start_U"][self.user_B + 1]
        id_BD = None if model.person_UD is None else model.person_UD[self.user_B]
        mean_BD = self._pooled(place_B)
        self.person_BD, self.standing_BF = model.people(mean_BD, here["person_US"][self.user_B], id_BD)
        self.calendar_BZ = here["calendar_NZ"][place_B]
        self.temperature = 1.0 if how.loss == "triplet" else how.temperature

    def positive(self) -> Tensor:
        """Scores (B,) of what was liked."""
        vector_BD = self.item_ID[self.target_B]
        found_B = (self.person_BD * vector_BD).sum(1) / self.temperature
        if self.standing_BF is not None:
            alone_IF = self.here.get("standing_alone_IF")
            stands_BF = (
                self.here["standing_ITF"][self.target_B, self.moment_B] if alone_IF is None else alone_IF[self.target_B]
            )
            found_B = found_B + (self.standing_BF * stands_BF).sum(1)
        if self.model.calendar is not None:
            found_B = found_B + (self.calendar_BZ * self.model.calendar(vector_BD)).sum(1)
        return found_B

    def scores(self, item_J: Tensor) -> Tensor:
        """Scores (B, J) of the same items for everyone."""
        vector_JD = self.item_ID[item_J]
        found_BJ = (self.person_BD / self.temperature) @ vector_JD.T
        if self.standing_BF is not None:
            found_BJ = found_BJ + self._standing_scores(self.standing_BF, item_J)
        if self.model.calendar is not None:
            found_BJ = found_BJ + self.calendar_BZ @ self.model.calendar(vector_JD).T
        return found_BJ

    def _standing_scores(self, standing_BF: Tensor, item_J: Tensor) -> Tensor:
        """(B, J): the part of the scores that is due to how items stand at each like's moment.

        Rows of one moment are put together, R places a moment, so that nothing of size B × J × F is gathered: that took twice the time of all the rest.
        """
        stands_JTF = self.here["standing_ITF"][item_J]
        sorted_B, order_B = torch.sort(self.moment_B, stable=True)
        place_B = torch.empty_like(order_B)
        place_B[order_B] = torch.arange(len(order_B), device=order_B.device) - torch.searchsorted(sorted_B, sorted_B)
        asked_TRF = standing_BF.new_zeros(stands_JTF.shape[1], int(place_B.max()) + 1, standing_BF.shape[1])
        asked_TRF = asked_TRF.index_put((self.moment_B, place_B), standing_BF)
        return torch.bmm(asked_TRF, stands_JTF.permute(1, 2, 0))[self.moment_B, place_B]

    def own_scores(self, item_Bn: Tensor) -> Tensor:
        """Scores (B, n) of items of each like's own."""
        vector_BnD = self.item_ID[item_Bn]
        found_Bn = torch.bmm(vector_BnD, self.person_BD[:, :, None])[:, :, 0] / self.temperature
        if self.standing_BF is not None:
            stands_BnF = self.here["standing_ITF"][item_Bn, self.moment_B[:, None]]
            found_Bn = found_Bn + torch.bmm(stands_BnF, self.standing_BF[:, :, None])[:, :, 0]
        if self.model.calendar is not None:
            found_Bn = found_Bn + torch.bmm(self.model.calendar(vector_BnD), self.calendar_BZ[:, :, None])[:, :, 0]
        return found_Bn

    def liked(self, item_J: Tensor) -> Tensor:
        """(B, J): whether an item is among all that the person likes, the target included."""
        unique_K, place_J = torch.unique(item_J, return_inverse=True)
        code_I = torch.full((len(self.item_ID),), -1, dtype=torch.long, device=item_J.device)
        code_I[unique_K] = torch.arange(len(unique_K), device=item_J.device)
        row_M, place_M = _ranges(self.start_B, self.stop_B)
        code_M = code_I[self.here["item_N"][place_M]]
        found_BK = torch.zeros(len(self.user_B), len(unique_K), dtype=torch.bool, device=item_J.device)
        found_BK[row_M[code_M >= 0], code_M[code_M >= 0]] = True
        return found_BK[:, place_J]

    def _pooled(self, place_B: Tensor) -> Tensor:
        """Mean vectors (B, D) of what the people liked beside the target, or before it; zeros where there is nothing."""
        stop_B = place_B if self.how.before else self.stop_B
        start_B = torch.maximum(self.start_B, stop_B - LONGEST)
        row_M, place_M = _ranges(start_B, stop_B)
        weight_M = torch.where(place_M == place_B[row_M], 0.0, self.here["weight_N"][place_M])
        total_B = torch.zeros_like(self.weight_B).index_add_(0, row_M, weight_M)
        offset_B = torch.cumsum(stop_B - start_B, 0) - (stop_B - start_B)
        share_M = weight_M / total_B.clamp(min=1e-12)[row_M]
        return embedding_bag(
            self.here["item_N"][place_M], self.item_ID, offset_B, mode="sum", per_sample_weights=share_M
        )


def _ranges(start_B: Tensor, stop_B: Tensor) -> tuple[Tensor, Tensor]:
    """The places start..stop-1 of all rows one after another (M,), and the row of each."""
    count_B = stop_B - start_B
    row_M = torch.repeat_interleave(torch.arange(len(count_B), device=count_B.device), count_B)
    before_B = torch.cumsum(count_B, 0) - count_B
    return row_M, torch.arange(len(row_M), device=count_B.device) - before_B[row_M] + start_B[row_M]
