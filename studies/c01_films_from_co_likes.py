"""C1: item vectors from how many people like both of two films, by Graft's solver and by gradient descent.

X_ij is the number of people who like both i and j; the vectors minimise the sum over i != j of (v_i . v_j - X_ij)^2. The solver of the library's
model "co-likes" (`graft.recommenders.colikes`) and four optimisers at three rates each (`graft.recommenders.descent`); the ten films nearest to three
that are named by their titles, and how many of the ten change with the optimiser.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, main

from graft.interactions.read import read_interactions
from graft.interactions.streamrec import generate
from graft.recommenders.colikes import CoLikes, decompose, pairs_of
from graft.recommenders.descent import descend
from graft.recommending.loose import Titles

DATA, ASKED = "data:ml-latest-small", ("Apollo 13 (1995)", "Toy Story (1995)", "Home Alone (1990)")
DIMS, ITERATIONS, NEAR, LEAST = 32, 150, 10, 20  # LEAST: likes of a film that may be among the ten
RATES = {
    "sgd": (1e-6, 3e-6, 1e-5),
    "momentum": (3e-7, 1e-6, 3e-6),
    "adagrad": (0.1, 0.3, 1.0),
    "adam": (0.01, 0.03, 0.1),
}
SHOWN = 40  # points of a line

Vectors = NDArray[np.float64]


def measure(setting: Setting) -> Numbers:
    if setting.quick:
        reading, dims, iterations, least = generate(300, 120, seed=0).reading, 8, 60, 5
    else:
        reading, dims, iterations, least = read_interactions(DATA), DIMS, ITERATIONS, LEAST
    likes, titles = reading.interactions.likes(), Titles(reading.catalogue.titles, reading.interactions.items)
    matrix = likes.matrix()
    popular_I = np.diff(matrix.tocsc().indptr)
    asked = [int(popular_I.argsort(kind="stable")[-1 - i]) for i in range(3)]
    if not setting.quick:
        asked = [titles.find(name)[0].place for name in ASKED]
    pairs = pairs_of(matrix)
    zeros = pairs.squares()
    started = time.process_time()
    v_ID, losses = decompose(pairs, dims)
    solver: dict[str, Any] = {
        "seconds": time.process_time() - started,
        "losses": [1 + change / zeros for change in losses],
        "near": nearest(v_ID, asked, popular_I >= least),
    }
    other, _ = decompose(pairs, dims, seed=1)
    scale = 0.1 if not setting.quick else 0.5
    runs: dict[str, dict[str, Any]] = {}
    for optimiser, rates in RATES.items():
        for rate in (r * (30 if setting.quick and optimiser in ("sgd", "momentum") else 1) for r in rates):
            started = time.process_time()
            run = descend(pairs, dims, optimiser=optimiser, rate=rate, iterations=iterations, scale=scale)
            runs.setdefault(optimiser, {})[f"{rate:.0e}"] = {
                "seconds": time.process_time() - started,
                "diverged": int(run.diverged),
                "least": min(run.losses) / zeros,
                "losses": thinned([loss / zeros for loss in run.losses]),
                "agree": agreement(nearest(run.v_ID, asked, popular_I >= least), solver["near"]),
            }
    model = CoLikes.fit(likes, dims=dims)
    names = reading.catalogue.titles
    return {
        "data": reading.name,
        "people": int((np.diff(matrix.indptr) > 0).sum()),
        "items": int((popular_I > 0).sum()),
        "likes": matrix.nnz,
        "dims": dims,
        "iterations": iterations,
        "least_likes": least,
        "squares": zeros,
        "asked": {
            names[i]: [
                {"title": names[j], "together": int(n)}
                for j, n in zip(near, model.together(i, np.array(near)), strict=True)
            ]
            for i, near in zip(asked, solver["near"], strict=True)
        },
        "solver": {"seconds": solver["seconds"], "losses": solver["losses"], "least": solver["losses"][-1]},
        "other_start": agreement(nearest(other, asked, popular_I >= least), solver["near"]),
        "runs": runs,
    }


def nearest(v_ID: Vectors, asked: list[int], allowed_I: NDArray[np.bool_]) -> list[list[int]]:
    """The films of the largest cosine with each that was asked for, of those allowed."""
    unit_ID = v_ID / np.maximum(np.linalg.norm(v_ID, axis=1, keepdims=True), 1e-12)
    found = []
    for item in asked:
        alike_I = np.where(allowed_I, unit_ID @ unit_ID[item], -np.inf)
        alike_I[item] = -np.inf
        found.append([int(i) for i in np.argsort(-alike_I, kind="stable")[:NEAR]])
    return found


def agreement(near: list[list[int]], of_solver: list[list[int]]) -> list[int]:
    """How many of the ten are those of the solver, for each film asked for."""
    return [len(set(one) & set(other)) for one, other in zip(near, of_solver, strict=True)]


def thinned(losses: list[float]) -> dict[int, float]:
    """Iteration to loss, as many as a line shows."""
    return {i: losses[i] for i in sorted({*range(0, len(losses), max(1, len(losses) // SHOWN)), len(losses) - 1})}


def present(numbers: Numbers) -> Page:
    solver, runs = numbers["solver"], numbers["runs"]
    best = {optimiser: min(rates, key=lambda rate: rates[rate]["least"]) for optimiser, rates in runs.items()}
    asked = list(numbers["asked"])
    agree = {optimiser: runs[optimiser][rate]["agree"] for optimiser, rate in best.items()}
    films = Table(
        f"The ten nearest by cosine among those that at least {numbers['least_likes']} people like, by the solver; in brackets how many like both.",
        asked,
        [
            [f"{near[place]['title']} ({near[place]['together']})" for near in numbers["asked"].values()]
            for place in range(min(map(len, numbers["asked"].values())))
        ],
    )
    table = Table(
        f"Least loss within {numbers['iterations']} iterations, as a share of that of zeros, and how many of the ten are the solver's.",
        ("way", "rate", "loss", "CPU seconds", *asked),
        [
            ("solver", "", f"{solver['least']:.4f}", f"{solver['seconds']:.1f}", *["10"] * len(asked)),
            *(
                (
                    optimiser,
                    rate,
                    "diverged" if run["diverged"] else f"{run['least']:.4f}",
                    f"{run['seconds']:.1f}",
                    *map(str, run["agree"]),
                )
                for optimiser, rates in runs.items()
                for rate, run in rates.items()
            ),
        ],
    )
    found = [count for counts in agree.values() for count in counts]
    return Page(
        answer=(
            f"The solver reaches {solver['least']:.4f} of the loss of zeros in {len(solver['losses'])} iterations; at their best rates "
            + ", ".join(f"{optimiser} {runs[optimiser][rate]['least']:.4f}" for optimiser, rate in best.items())
            + f". Of the solver's ten films {min(found)} to {max(found)} are also theirs."
        ),
        reading=(
            f"{numbers['people']:,} people, {numbers['items']:,} items, {numbers['likes']:,} likes, {numbers['dims']} dims. Of the solver's ten "
            "films each optimiser finds, at its best rate: "
            + "; ".join(f"{optimiser} {', '.join(map(str, counts))}" for optimiser, counts in agree.items())
            + f"; other starts of the solver {', '.join(map(str, numbers['other_start']))}. An iteration of the solver takes about four times the products of "
            "a gradient step; its seconds are those of two starts, of which the better one is kept."
        ),
        tables=[films, table],
        figures={
            "loss.svg": _chart(
                "Loss by iteration, each at its best rate",
                {"solver": dict(enumerate(solver["losses"], start=1))}
                | {f"{optimiser} {rate}": runs[optimiser][rate]["losses"] for optimiser, rate in best.items()},
            ),
            **{
                f"{optimiser}.svg": _chart(
                    f"Loss by iteration, {optimiser}", {r: run["losses"] for r, run in rates.items()}
                )
                for optimiser, rates in runs.items()
            },
        },
    )


def _chart(title: str, lines: dict[str, dict[Any, float]]) -> str:
    """Losses from 0 to those of zeros; what lies above is left out."""
    drawn = [Line(name, [(float(i), v) for i, v in losses.items() if v <= 1.05]) for name, losses in lines.items()]
    drawn = [line for line in drawn if line.points]
    last = max(x for line in drawn for x, _ in line.points)
    ticks = {float(x): f"{x:g}" for x in np.linspace(0, last, 6).round()}
    return line_chart(title, Axis("iteration", ticks), Axis("loss, share of that of zeros", percent=True), drawn)


STUDY = Study(
    name="c01_films_from_co_likes",
    title="C1: films from co-likes",
    question="Which films do vectors find that reproduce how many people like two films, and do they change with the optimiser?",
    measure=measure,
    present=present,
    expected={"solver > least": about(0.038, 0.002), "likes": (48_580, 48_580), "items": (6_298, 6_298)},
    expected_quick={"solver > least": (0.0, 0.5)},
)

if __name__ == "__main__":
    main(STUDY)
