"""What recommenders cost beside others': fits of EASE, ALS and item-kNN, and the best 100 items of 100,000 people.

    python bench/recommend.py [--repeats 3]

Rivals: `implicit` (ALS by its conjugate gradients, cosine item-kNN, batched `recommend`) and EASE in plain NumPy. Same synthetic likes (falling
popularity, log-normal activity), same settings, one thread each, in turns; the parts run in processes of their own. Seconds are of the processor, medians,
and ratios are ours over the rival's, turn by turn. `pip install -r bench/requirements.txt` gets implicit; without it that rival is left out.
Writes bench/results/recommend.json.
"""

from __future__ import annotations

import argparse
import json
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
from numpy.typing import NDArray

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


PARTS = {"ease": ease, "als": als, "item-knn": neighbours, "recommend": recommend, "whole": whole}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--part", choices=PARTS, help="measure one part here and print it")
    given = asked.parse_args()
    if given.part:
        warnings.simplefilter("ignore")
        print(json.dumps(PARTS[given.part](given.repeats)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GRAFT_THREADS"), "1")
    for name in PARTS:
        command = [sys.executable, __file__, "--part", name, "--repeats", str(given.repeats)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | one)
        results[name] = json.loads(done.stdout.splitlines()[-1])
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        print(name, results[name], flush=True)


if __name__ == "__main__":
    main()
