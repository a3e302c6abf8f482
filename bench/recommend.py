"""What recommenders cost beside others': fits of EASE, ALS and item-kNN, the best 100 items of 100,000 people, an epoch of two towers.

    GRAFT_DATA=... python bench/recommend.py [--repeats 3] [--only PART ...]

Rivals: `implicit` (ALS by its conjugate gradients, cosine item-kNN, batched `recommend`), EASE in plain NumPy, and two towers in plain torch. Same
synthetic likes (falling popularity, log-normal activity; the likes of MovieTweetings for the towers), same settings, one thread each, in turns; the parts
run in processes of their own. Seconds are of the processor, medians, and ratios are ours over the rival's, turn by turn.
`pip install -r bench/requirements.txt` gets implicit; without it that rival is left out. Writes bench/results/recommend.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from graft.interactions.likes import Interactions
from graft.recommenders.als import ALS
from graft.recommenders.base import histories_of
from graft.recommenders.ease import EASE
from graft.recommenders.neighbours import ItemNeighbours
from graft.recommenders.top import top_k

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

RESULTS = Path(__file__).parent / "results" / "recommend.json"
PEOPLE, ITEMS, LIKES = 50_000, 20_000, 1_000_000
DIMS, REGULARISATION, ALPHA, ITERATIONS, NEIGHBOURS, BEST = 64, 10.0, 10.0, 15, 100, 100
COMPARED = 5  # iterations of ALS when it is compared; the whole fit has ITERATIONS
EASE_ITEMS = {"more people than items": (20_000, 3_000, 200_000), "fewer people than items": (600, 4_000, 40_000)}
ASKED = 100_000
TOWER_BATCH, TEMPERATURE, LONGEST = 256, 0.1, 100


def synthetic(people: int, items: int, likes: int, seed: int = 0) -> Interactions:
    """Likes drawn by popularity (falling with the place to the power 0.8) and activity (log-normal), each pair once."""
    rng = np.random.default_rng(seed)
    popular_I = np.arange(1, items + 1) ** -0.8
    active_U = rng.lognormal(size=people)
    drawn = int(1.4 * likes)
    user_N = rng.choice(people, drawn, p=active_U / active_U.sum())
    item_N = rng.permutation(items)[rng.choice(items, drawn, p=popular_I / popular_I.sum())]
    pairs = rng.permutation(np.unique(user_N * items + item_N))[:likes]
    pairs.sort()
    return Interactions(
        users=tuple(map(str, range(people))),
        items=tuple(map(str, range(items))),
        user_N=(pairs // items).astype(np.int32),
        item_N=(pairs % items).astype(np.int32),
        weight_N=np.ones(len(pairs), np.float32),
    )


def processor(do: Callable[[], Any]) -> float:
    started = time.process_time()
    do()
    return time.process_time() - started


def compared(ours: Callable[[], Any], rival: Callable[[], Any] | None, repeats: int) -> dict[str, Any]:
    """Seconds of both in turns, who begins changing, and the ratio of each turn."""
    mine: list[float] = []
    theirs: list[float] = []
    for turn in range(repeats):
        pair = [(ours, mine)]
        if rival is not None:
            pair.append((rival, theirs))
        for do, seconds in pair[:: 1 if turn % 2 == 0 else -1]:
            seconds.append(processor(do))
    return told(mine, theirs)


def told(mine: list[float], theirs: list[float]) -> dict[str, Any]:
    """Seconds, their medians, and the ratios of each turn."""
    found: dict[str, Any] = {"graft": [round(s, 3) for s in mine], "seconds": round(statistics.median(mine), 3)}
    if theirs:
        ratios = [m / t for m, t in zip(mine, theirs, strict=True)]
        found |= {"rival": [round(s, 3) for s in theirs], "ratio": round(statistics.median(ratios), 3)}
        found["ratios"] = [round(r, 3) for r in ratios]
    return found


def numpy_ease(matrix: csr_matrix) -> NDArray[np.float32]:
    """EASE as its paper prints it."""
    gram_II = matrix.T.dot(matrix).toarray()
    diagonal = np.diag_indices(len(gram_II))
    gram_II[diagonal] += REGULARISATION
    inverse_II = np.linalg.inv(gram_II)
    weight_II: NDArray[np.float32] = inverse_II / -np.diag(inverse_II)
    weight_II[diagonal] = 0
    return weight_II


def ease(repeats: int) -> dict[str, Any]:
    """EASE against plain NumPy, for catalogues larger and smaller than the audience; with the largest difference of a weight."""
    found = {}
    for name, size in EASE_ITEMS.items():
        likes = synthetic(*size)
        matrix = likes.matrix()
        ours = partial(EASE.fit, likes, regularisation=REGULARISATION)
        apart = float(np.abs(ours().weight_II - numpy_ease(matrix)).max())
        found[name] = compared(ours, partial(numpy_ease, matrix), repeats)
        found[name] |= {"size": size, "largest_difference": apart}
    return found


def loss(likes: Interactions, person_UD: NDArray[Any], item_ID: NDArray[Any]) -> float:
    """What ALS minimises."""
    score_N = np.vecdot(person_UD[likes.user_N], item_ID[likes.item_N]).astype(np.float64)
    everything = float(((person_UD.T @ person_UD) * (item_ID.T @ item_ID)).sum(dtype=np.float64))
    liked = float(((1 + ALPHA) * (1 - score_N) ** 2 - score_N**2).sum())
    return everything + liked + REGULARISATION * float((person_UD**2).sum() + (item_ID**2).sum())


def als(repeats: int) -> dict[str, Any]:
    """Some iterations of ALS, and the loss they reach."""
    likes = synthetic(PEOPLE, ITEMS, LIKES)
    matrix = likes.matrix()
    made: dict[str, Any] = {}

    def ours() -> None:
        made["graft"] = ALS.fit(likes, dims=DIMS, regularisation=REGULARISATION, alpha=ALPHA, iterations=COMPARED)

    def theirs() -> None:
        from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-not-found,unused-ignore]

        # its alpha is the whole confidence of a like
        model = AlternatingLeastSquares(
            factors=DIMS,
            regularization=REGULARISATION,
            alpha=1 + ALPHA,
            iterations=COMPARED,
            num_threads=1,
            random_state=0,
        )
        model.fit(matrix, show_progress=False)
        made["implicit"] = model

    found = compared(ours, theirs if has_implicit() else None, repeats) | {"iterations": COMPARED}
    model = made["graft"]
    found["loss"] = loss(likes, model.person_vectors(histories_of(likes)), model.item_ID)
    if "implicit" in made:
        rival = made["implicit"]
        person_UD = rival.recalculate_user(np.arange(PEOPLE), matrix)
        found["rival_loss"] = loss(likes, person_UD, rival.item_factors)
    return found


def neighbours(repeats: int) -> dict[str, Any]:
    """Cosine item-kNN; the rival's item counts among its own neighbours, so it gets one more."""
    likes = synthetic(PEOPLE, ITEMS, LIKES)
    matrix = likes.matrix()

    def theirs() -> None:
        from implicit.nearest_neighbours import CosineRecommender  # type: ignore[import-not-found,unused-ignore]

        CosineRecommender(K=NEIGHBOURS + 1, num_threads=1).fit(matrix, show_progress=False)

    ours = lambda: ItemNeighbours.fit(likes, neighbours=NEIGHBOURS, shrink=0.0)
    return compared(ours, theirs if has_implicit() else None, repeats)


def recommend(repeats: int) -> dict[str, Any]:
    """The best items of all people, twice over, with the seen ones left out; ours solves for every person anew from their likes."""
    likes = synthetic(PEOPLE, ITEMS, LIKES)
    matrix = likes.matrix()
    model = ALS.fit(likes, dims=DIMS, regularisation=REGULARISATION, alpha=ALPHA, iterations=2)
    asked = histories_of(likes, np.arange(ASKED // repeats, dtype=np.int32) % PEOPLE)
    people = asked.users_B
    rival = None
    if has_implicit():
        from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-not-found,unused-ignore]

        rival = AlternatingLeastSquares(factors=DIMS, iterations=1, num_threads=1, random_state=0)
        rival.fit(matrix, show_progress=False)
        rival.item_factors = model.item_ID
        rival.user_factors = model.person_vectors(histories_of(likes))
    theirs = (lambda: rival.recommend(people, asked.matrix, N=BEST)) if rival is not None else None
    return compared(lambda: top_k(model, asked, BEST), theirs, repeats) | {"people_a_turn": len(asked), "k": BEST}


class PlainTowers(nn.Module):
    """Two towers as people write them: items by id and categories, a person by the mean of what was liked before, through one hidden layer."""

    def __init__(self, features_IF: torch.Tensor, dims: int) -> None:
        super().__init__()
        self.features_IF = features_IF
        self.id = nn.Embedding(len(features_IF), dims)
        self.content = nn.Linear(features_IF.shape[1], dims, bias=False)
        self.hidden, self.taste = nn.Linear(dims, 2 * dims), nn.Linear(2 * dims, dims)

    def forward(self, history_BL: torch.Tensor, item_B: torch.Tensor) -> torch.Tensor:
        """Cosines (B, B) of the rows' people and the rows' items; -1 fills a history up."""
        item_ID = nn.functional.normalize(self.id.weight + self.content(self.features_IF), dim=1)
        there_BL1 = (history_BL >= 0)[:, :, None].float()
        liked_BLD = nn.functional.embedding(history_BL.clamp(min=0), item_ID)
        mean_BD = (liked_BLD * there_BL1).sum(1) / there_BL1.sum(1).clamp(min=1)
        person_BD = nn.functional.normalize(mean_BD + self.taste(torch.relu(self.hidden(mean_BD))), dim=1)
        return person_BD @ item_ID[item_B].T


def plain_epoch(likes: Interactions, features_IF: NDArray[np.float32]) -> Callable[[], None]:
    """An epoch of a plain loop: in-batch softmax with the logQ correction, items that a person likes left out, AdamW."""
    torch.manual_seed(0)
    user_N, item_N = torch.from_numpy(likes.user_N.astype(np.int64)), torch.from_numpy(likes.item_N.astype(np.int64))
    liked_UI = torch.zeros(len(likes.users), len(likes.items), dtype=torch.bool)
    liked_UI[user_N, item_N] = True
    log_q_I = torch.log(torch.bincount(item_N, minlength=len(likes.items)).clamp(min=1) / len(item_N))
    first_N = torch.searchsorted(user_N, user_N)  # likes are sorted by person and time
    towers = PlainTowers(torch.from_numpy(features_IF), DIMS)
    optimiser = torch.optim.AdamW(towers.parameters(), lr=3e-3, weight_decay=0.01)

    def run() -> None:
        for place_B in torch.split(torch.randperm(len(item_N)), TOWER_BATCH):
            user_B, item_B = user_N[place_B], item_N[place_B]
            length_B = (place_B - first_N[place_B]).clamp(max=LONGEST)
            before_BL = place_B[:, None] - 1 - torch.arange(max(1, int(length_B.max())))
            history_BL = torch.where(
                before_BL >= (place_B - length_B)[:, None], item_N[before_BL.clamp(min=0)], torch.tensor(-1)
            )
            scores_BB = towers(history_BL, item_B) / TEMPERATURE
            other_BB = scores_BB - log_q_I[item_B] - math.log(len(place_B) - 1)
            other_BB = other_BB.masked_fill(liked_UI[user_B[:, None], item_B], -1e30)
            own_B1 = scores_BB.diagonal()[:, None]
            loss = (torch.cat([own_B1, other_BB], 1).logsumexp(1) - own_B1[:, 0]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return run


def two_tower(repeats: int) -> dict[str, Any]:
    """An epoch of two towers on the likes of MovieTweetings, without features of the moment, beside a plain loop of the same.

    Ours does more: means of the weights, ids left out at random, and a look for collapse after the epoch. What is prepared once for all epochs
    is not counted: an epoch is what a fit of two takes longer than one of one.
    """
    from graft.interactions.read import read_interactions
    from graft.towers.known import Known, item_facts, item_rows
    from graft.towers.training import Training
    from graft.towers.two_tower import TwoTower

    torch.set_num_threads(1)
    reading = read_interactions("data:movietweetings-100k")
    likes, known = reading.interactions.likes(), Known(categories=reading.catalogue.categories)
    training = Training(standing=False, batch=TOWER_BATCH)

    def fit(epochs: int) -> None:
        TwoTower.fit(likes, dims=DIMS, temperature=TEMPERATURE, epochs=epochs, training=training, known=known)

    fit(1)  # what is imported and set up late
    plain = plain_epoch(likes, item_rows(known, item_facts(known), len(likes.items)))
    plain()
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(repeats):
        one, two, rival = processor(partial(fit, 1)), processor(partial(fit, 2)), processor(plain)
        mine.append(two - one)
        theirs.append(rival)
    return told(mine, theirs) | {"likes": len(likes), "people": len(likes.users), "items": len(likes.items)}


def whole(repeats: int) -> dict[str, Any]:
    """A million likes prepared and trained in a process of its own: seconds and the most memory it held."""
    del repeats
    clock, own = time.perf_counter(), time.process_time()
    likes = synthetic(PEOPLE, ITEMS, LIKES)
    drawn = time.process_time() - own
    ALS.fit(likes, dims=DIMS, regularisation=REGULARISATION, alpha=ALPHA, iterations=ITERATIONS)
    return {
        "seconds": round(time.perf_counter() - clock, 1),
        "processor": round(time.process_time() - own, 1),
        "of_which_drawing": round(drawn, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "iterations": ITERATIONS,
    }


def has_implicit() -> bool:
    try:
        import implicit  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        return False
    return True


PARTS = {
    "ease": ease,
    "als": als,
    "item-knn": neighbours,
    "recommend": recommend,
    "two-tower": two_tower,
    "whole": whole,
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--part", choices=PARTS, help="measure one part here and print it")
    asked.add_argument("--only", choices=PARTS, nargs="+", help="parts to measure, the others' results stay")
    given = asked.parse_args()
    if given.part:
        warnings.simplefilter("ignore")
        print(json.dumps(PARTS[given.part](given.repeats)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GRAFT_THREADS"), "1")
    for name in given.only or PARTS:
        command = [sys.executable, __file__, "--part", name, "--repeats", str(given.repeats)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | one)
        results[name] = json.loads(done.stdout.splitlines()[-1])
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        print(name, results[name], flush=True)


if __name__ == "__main__":
    main()
