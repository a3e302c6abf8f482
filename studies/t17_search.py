"""T17: Bayesian optimisation against a grid of 75 over learning rate, momentum and kernel size of a small CNN.

Proposals, trials and scores are those of `graft tune`; a trial trains the small network of the studies for a fraction of a second.
Legend: V validation pictures, C classes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, main, over_seeds, percent, share_over_seeds

from graft.trainers.recipe import Recipe

if TYPE_CHECKING:
    from studies.small_cnn import Pictures

    from graft.fitting.proposals import Proposals

SPACE = "rate=1e-7..1e-3:log{rates},momentum=0..1{momenta},kernel=3|5|7"
MIDDLE = {"rate": 1e-5, "momentum": 0.5, "kernel": 3}  # where every search begins; a point of the grid


@dataclass(frozen=True)
class Size:
    """What is trained: pictures a class, `points` of the grid in rate and in momentum, `trials` of Bayesian optimisation."""

    data: str = "data:mnist"
    side: int = 16
    shots: int = 20
    tested: int = 40
    epochs: int = 2
    points: tuple[int, int] = (5, 5)
    trials: int = 25
    seeds: tuple[int, ...] = (0, 1)


QUICK = Size("data:digits", shots=6, tested=10, epochs=1, points=(2, 2), trials=7, seeds=(0,))


def measure(setting: Setting) -> Numbers:
    from studies.small_cnn import draw

    from graft.fitting.proposals import Bayes, Grid
    from graft.fitting.space import keywords, read_space

    size = QUICK if setting.quick else Size()
    train_of, test = draw(size.data, size.shots, size.tested, [0], size.side)
    bench = Bench(train_of[0], test, size)
    known = keywords("scratch")
    cut = {"rates": f"/{size.points[0]}", "momenta": f"/{size.points[1]}"}
    grid = bench.search(Grid(read_space(SPACE.format(**cut), known)), None)
    axes = read_space(SPACE.format(rates="", momenta=""), known)
    bayes = [bench.search(Bayes(axes, seed), size.trials) for seed in size.seeds]
    whole, steps = len(grid), math.ceil(len(train_of[0]) / 4) * size.epochs
    best = max(t["score"] for t in grid)
    counts = {"train": len(train_of[0]), "test": len(test), "steps": steps, "epochs": size.epochs, "side": size.side}
    return {
        "data": size.data,
        **counts,
        "seeds": list(size.seeds),
        "grid": {
            "trials": grid,
            "best": best,
            "in_order": best_so_far([t["score"] for t in grid]),
            "at_random": expected_best([t["score"] for t in grid]),
        },
        "bayes": {
            "trials": bayes,
            "best": share_over_seeds([max(t["score"] for t in trials) for trials in bayes]),
            "best_so_far": np.mean([best_so_far([t["score"] for t in trials]) for trials in bayes], axis=0).tolist(),
            "lowest": np.min([best_so_far([t["score"] for t in trials]) for trials in bayes], axis=0).tolist(),
            "highest": np.max([best_so_far([t["score"] for t in trials]) for trials in bayes], axis=0).tolist(),
            "to_the_grid": [first_at([t["score"] for t in trials], best) for trials in bayes],
            "more_than_grid": over_seeds([max(t["score"] for t in trials) - best for trials in bayes]),
            "trials_each": size.trials,
        },
        "grid_size": whole,
    }


class Bench:
    """Runs searches: every trial starts from the same weights on the same pictures."""

    def __init__(self, train: Pictures, test: Pictures, size: Size) -> None:
        self.train, self.test, self.size = train, test, size

    def run(self, tried: Mapping[str, Any]) -> Any:
        """Logits (V, C) with these settings."""
        from studies import small_cnn

        chosen = {**MIDDLE, **tried}
        model = small_cnn.network(
            len(self.test.classes), seed=0, side=self.size.side, width=8, kernel=int(chosen["kernel"])
        )
        recipe = Recipe(
            epochs=self.size.epochs,
            batch=4,
            rate=chosen["rate"],
            optimiser="sgd",
            momentum=chosen["momentum"],
            weight_decay=0.0,
            schedule="constant",
            warmup=0.0,
        )
        small_cnn.learn(model, self.train, recipe, seed=0)
        return small_cnn.logits(model, self.test).astype(np.float32)

    def search(self, proposals: Proposals, most: int | None) -> list[dict[str, Any]]:
        """Settings and scores of all trials in order."""
        from graft.fitting.searching import Part, Record, search

        part = Part(self.test.y_N, np.ones(len(self.test), bool), "accuracy")
        with tempfile.TemporaryDirectory() as folder:
            record = Record.open(Path(folder) / "search", "t17", "t17")
            search(record, part, self.run, proposals, MIDDLE, most=most, left=lambda: None)
            return [{"settings": dict(t.told.settings), "score": t.told.score or 0.0} for t in record.trials]


def best_so_far(scores: Sequence[float]) -> list[float]:
    """The largest up to each trial."""
    return np.maximum.accumulate(scores).tolist()  # type: ignore[no-any-return]


def expected_best(scores: Sequence[float]) -> list[float]:
    """The mean over all orders of the largest of the first n, for n from 1: the trial of rank i is the largest of n with C(N-i, n-1) / C(N, n)."""
    ranked, whole = sorted(scores, reverse=True), len(scores)
    return [
        sum(s * math.comb(whole - i, n - 1) for i, s in enumerate(ranked, 1)) / math.comb(whole, n)
        for n in range(1, whole + 1)
    ]


def first_at(scores: Sequence[float], wanted: float) -> int | None:
    """The number of trials until a score was reached, None where it was not."""
    return next((n for n, score in enumerate(scores, 1) if score >= wanted), None)


def present(numbers: Numbers) -> Page:
    grid, bayes, whole = numbers["grid"], numbers["bayes"], numbers["grid_size"]
    trials, seeds = bayes["trials_each"], numbers["seeds"]
    found = [max(each, key=lambda t: t["score"]) for each in bayes["trials"]]
    top = max(grid["trials"], key=lambda t: t["score"])
    reached = [n for n in bayes["to_the_grid"] if n is not None]
    table = Table(
        f"{numbers['data']}, {numbers['train']} pictures to learn from and {numbers['test']} to score on, {numbers['side']} x {numbers['side']} "
        f"pixels, SGD, {numbers['steps']} steps of 4 pictures, over rate 1e-7 to 1e-3 (log), momentum 0 to 1, kernel 3, 5 or 7. Sizes are small, "
        "for a machine of two cores. The accuracy is that of the best trial on the pictures it was chosen by.",
        ("search", "trials", "best accuracy", "rate", "momentum", "kernel", "trials to the grid's best"),
        [
            (
                "grid",
                str(whole),
                f"{100 * grid['best']:.1f} %",
                *told(top),
                str(first_at(grid["in_order"], grid["best"])),
            ),
            *(
                (f"Bayes, seed {seed}", str(trials), f"{100 * t['score']:.1f} %", *told(t), str(n or "not reached"))
                for seed, t, n in zip(seeds, found, bayes["to_the_grid"], strict=True)
            ),
        ],
    )
    at = min(trials, whole) - 1
    steps = [float(n) for n in range(1, whole + 1)]
    lines = [
        Line("Bayes, mean of seeds", list(zip(steps, bayes["best_so_far"], strict=False))),
        Line("grid, random order", list(zip(steps, grid["at_random"], strict=True))),
        Line("grid, in its order", list(zip(steps, grid["in_order"], strict=True)), dashed=True),
    ]
    return Page(
        answer=(
            f"Bayesian optimisation reaches {percent(bayes['best'])} in {trials} trials, the grid {100 * grid['best']:.1f} % in {whole}; "
            f"{len(reached)} of {len(seeds)} searches reach the grid's best{f', after {min(reached)} to {max(reached)} trials' if reached else ''}."
        ),
        reading=(
            f"After {at + 1} trials the grid in random order is at {100 * grid['at_random'][at]:.1f} % on average and in its own order at "
            f"{100 * grid['in_order'][at]:.1f} %, Bayesian optimisation at {100 * bayes['best_so_far'][at]:.1f} %. In {numbers['steps']} steps a network "
            "learns only at the largest rates and momenta, so the optimum lies at the edge of what was searched, and the score is far below what "
            "MNIST allows: the searches are compared, not the network. A grid spends four in five trials on rates at which nothing is learned. "
            "Bergstra and Bengio (2012) find the same for random search; a grid is right only where few settings matter."
        ),
        tables=[table],
        figures={
            "best_so_far.svg": line_chart(
                "Best so far", Axis("trials", ticks(whole)), Axis("accuracy", percent=True), lines
            )
        },
    )


def told(trial: Mapping[str, Any]) -> tuple[str, str, str]:
    """Rate, momentum and kernel of a trial."""
    chosen = trial["settings"]
    return f"{chosen['rate']:.2g}", f"{chosen['momentum']:.2f}", str(chosen["kernel"])


def ticks(whole: int) -> dict[float, str]:
    """Five numbers of trials."""
    return {float(n): str(n) for n in sorted({1, *(round(whole * k / 5) for k in range(1, 6))})}


STUDY = Study(
    name="t17_search",
    title="T17: search over settings",
    question="Does Bayesian optimisation find better settings than a grid, and in how many trials?",
    measure=measure,
    present=present,
    expected={
        "grid_size": (75, 75),
        "grid > best": about(0.35, 0.2),
        "bayes > best > value": about(0.4, 0.25),
    },
    expected_quick={"grid_size": (13, 13), "bayes > best > value": (0.05, 1.0)},
)

if __name__ == "__main__":
    main(STUDY)
