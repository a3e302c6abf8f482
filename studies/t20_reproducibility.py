"""T20: what each source of randomness contributes to the spread of a small CNN's accuracy; with all of them fixed, the same bits.

One source is varied at a time over five seeds while the others stay; `trainers.loop.train` derives everything that is random from its seed.
Legend: N pictures, C classes, S runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, main, over_seeds, percent, share_over_seeds

from graft.results import Interval
from graft.trainers.recipe import Recipe

SEEDS = range(5)
DROPOUT = 0.3


@dataclass(frozen=True)
class Size:
    """How much is trained on what."""

    data: str = "data:fashion_mnist"
    side: int = 16
    shots: int = 20
    tested: int = 100
    epochs: int = 10
    seeds: tuple[int, ...] = tuple(SEEDS)


FULL, QUICK = Size(), Size(data="data:digits", shots=6, tested=10, epochs=3, seeds=(0, 1))


@dataclass(frozen=True)
class Draw:
    """The seeds of one run, and how it is computed. `bit` is the place of a weight that is moved to the next number that float32 has."""

    weights: int = 0
    order: int = 0
    dropout: int = 0
    items: int = 0
    bit: int | None = None
    threads: int = 1
    onednn: bool = True


# the five ways to compute the same: threads split sums in other places, and torch's own kernels add in another order than oneDNN's
WAYS = tuple(Draw(threads=t, onednn=fast) for t, fast in ((1, True), (2, True), (3, True), (1, False), (2, False)))
WAYS_TOLD = "one to three threads with oneDNN, one and two without"
MADE_BY: Mapping[str, Callable[[int], Draw]] = {
    "initial weights": lambda s: Draw(weights=s),
    "order of the items": lambda s: Draw(order=s),
    "dropout": lambda s: Draw(dropout=s),
    "all three": lambda s: Draw(weights=s, order=s, dropout=s),
    "one bit of one weight": lambda s: Draw(bit=s * 7),
    "threads and algorithms": lambda s: WAYS[s],
    "training items": lambda s: Draw(items=s),
}


@dataclass(frozen=True, eq=False)
class Run:
    """What came of a draw: answers to the test pictures (N,), how many are right, the weights in a row, and their hash."""

    answers: Any
    accuracy: float
    weights: Any
    bits: str


class Bench:
    """The pictures, and one training for a draw."""

    def __init__(self, size: Size) -> None:
        from studies.small_cnn import draw

        self.size = size
        self.train, self.test = draw(size.data, size.shots, size.tested, size.seeds, size.side)

    def run(self, draw: Draw, checkpoint: Path | None = None, stop_after: int | None = None) -> Run:
        """Train and answer. Raises KeyboardInterrupt after epoch `stop_after`, as a user's Ctrl-C would."""
        import torch

        from graft.trainers.loop import Hooks
        from studies import small_cnn

        size, test = self.size, self.test
        model = small_cnn.network(len(test.classes), seed=draw.weights, side=size.side, dropout=DROPOUT)
        if draw.bit is not None:
            move_one_bit(model, draw.bit)
        recipe = Recipe(epochs=size.epochs, batch=16, rate=1e-2)

        def after_epoch(epoch: int) -> Mapping[str, float]:
            if epoch == stop_after:
                raise KeyboardInterrupt
            return {}

        hooks = Hooks(checkpoint=checkpoint, key="t20", after_epoch=after_epoch, every=0.0)
        with computed(draw):
            small_cnn.learn(model, self.train[draw.items], recipe, seed=draw.dropout, order=draw.order, hooks=hooks)
        answers = small_cnn.logits(model, test).argmax(axis=1)
        weights = torch.cat([p.detach().flatten() for p in model.parameters()]).double().numpy()
        return Run(answers, float(np.mean(answers == test.y_N)), weights, bits(model))


def bits(model: Any) -> str:
    """A hash over every bit of the weights."""
    whole = hashlib.blake2b(digest_size=16)
    for value in model.state_dict().values():
        whole.update(value.numpy().tobytes())
    return whole.hexdigest()


def move_one_bit(model: Any, place: int) -> None:
    """Move one weight of the first convolution to the next larger number of float32."""
    import torch

    first = next(p for p in model.parameters() if p.dim() == 4).detach()
    at = np.unravel_index(place, first.shape)
    first[at] = torch.nextafter(first[at], torch.tensor(torch.inf))


@contextlib.contextmanager
def computed(draw: Draw) -> Iterator[None]:
    """Graft trains with the draw's number of threads and its library."""
    import torch

    before, onednn = os.environ.get("GRAFT_THREADS"), torch.backends.mkldnn.enabled
    os.environ["GRAFT_THREADS"] = str(draw.threads)
    torch.backends.mkldnn.enabled = draw.onednn  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = onednn
        if before is None:
            del os.environ["GRAFT_THREADS"]
        else:
            os.environ["GRAFT_THREADS"] = before


def measure(setting: Setting) -> Numbers:
    size = QUICK if setting.quick else FULL
    bench = Bench(size)
    first = bench.run(Draw())
    found = {name: summary([first, *(bench.run(made(s)) for s in size.seeds[1:])]) for name, made in MADE_BY.items()}
    again = {
        "again in the same process": bench.run(Draw()).bits,
        "stopped by Ctrl-C half-way, resumed from its checkpoint": resumed(bench),
    }
    if not setting.quick:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            again["in another process"] = other.submit(bits_elsewhere, size).result()
    return {
        "data": size.data,
        "train": len(bench.train[0]),
        "test": len(bench.test),
        "epochs": size.epochs,
        "side": size.side,
        "dropout": DROPOUT,
        "seeds": list(size.seeds),
        "sources": found,
        "identical": {name: float(hashed == first.bits) for name, hashed in again.items()},
        "sampling_of_test": float(np.sqrt(first.accuracy * (1 - first.accuracy) / len(bench.test))),
    }


def resumed(bench: Bench) -> str:
    """The bits of a training that was stopped half-way and went on from its checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.safetensors"
        with contextlib.suppress(KeyboardInterrupt):
            bench.run(Draw(), checkpoint, stop_after=bench.size.epochs // 2)
        return bench.run(Draw(), checkpoint).bits


def bits_elsewhere(size: Size) -> str:
    """The bits of the first run, in whatever process this is."""
    return Bench(replace(size, seeds=(0,))).run(Draw()).bits


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Over S runs: accuracy, its standard deviation; over pairs of runs: share of answers that differ, relative distance of the weights."""
    pairs = list(itertools.combinations(runs, 2))
    differ = [float(np.mean(a.answers != b.answers)) for a, b in pairs]
    apart = [float(np.linalg.norm(a.weights - b.weights) / np.linalg.norm(a.weights)) for a, b in pairs]
    return {
        "by_seed": [run.accuracy for run in runs],
        "accuracy": share_over_seeds([run.accuracy for run in runs]),
        "spread": spread([run.accuracy for run in runs]),
        "differ": {"value": float(np.mean(differ)), "low": min(differ), "high": max(differ), "n": len(pairs)},
        "apart": over_seeds(apart).value,
        "different_bits": len({run.bits for run in runs}),
    }


def spread(values: Sequence[float]) -> Interval:
    """Standard deviation with its 95 % interval (chi squared, of normal values)."""
    from scipy.stats import chi2

    n, sd = len(values), float(np.std(values, ddof=1))
    low, high = (sd * float(np.sqrt((n - 1) / chi2.ppf(q, n - 1))) for q in (0.975, 0.025))
    return Interval(sd, low, high, n)


def present(numbers: Numbers) -> Page:
    rows, same = numbers["sources"], numbers["identical"]
    singles = {name: rows[name] for name in ("initial weights", "order of the items", "dropout")}
    squares = float(np.sqrt(sum(row["spread"]["value"] ** 2 for row in singles.values())))
    table = Table(
        f"{numbers['data']}, {numbers['train']} training and {numbers['test']} test pictures of {numbers['side']} x {numbers['side']} pixels, "
        f"{numbers['epochs']} epochs, dropout {numbers['dropout']:g}, {len(numbers['seeds'])} runs a row, of which the first is the same in all "
        "rows; sizes are small, for a machine of two cores. Differing answers and distances are means over pairs of runs.",
        (
            "what is varied",
            "accuracy",
            "standard deviation (points)",
            "answers that differ (least to most)",
            "distance of the weights",
            "different bits",
        ),
        [
            (
                name,
                percent(row["accuracy"]),
                percent(row["spread"], 2).replace(" %", ""),
                percent(row["differ"]),
                f"{row['apart']:.2g}",
                f"{row['different_bits']} of {len(row['by_seed'])}",
            )
            for name, row in rows.items()
        ],
    )
    fixed = Table(
        "All seeds fixed, on one thread: is every bit of the weights that of the first run?",
        ("run", "same bits"),
        [(name, "yes" if value else "no") for name, value in same.items()],
    )
    at = {float(i): words(name) for i, name in enumerate(rows)}
    differ = [row["differ"] for row in rows.values()]
    bit, ways, items = (rows[name] for name in ("one bit of one weight", "threads and algorithms", "training items"))
    largest = max(singles, key=lambda name: singles[name]["spread"]["value"])
    return Page(
        answer=(
            "Standard deviation of the accuracy in points: "
            + ", ".join(f"{name} {100 * row['spread']['value']:.1f}" for name, row in rows.items())
            + f"; all fixed: identical bits in {sum(map(bool, same.values()))} of {len(same)} ways to run it again."
        ),
        reading=(
            f"No seed can be left out: each alone changes {100 * min(r['differ']['value'] for r in singles.values()):.0f} to "
            f"{100 * max(r['differ']['value'] for r in singles.values()):.0f} % of the answers, and the largest spread is that of {largest}. Were "
            f"they independent and additive, the three together would spread by {100 * squares:.1f} points; they spread by "
            f"{100 * rows['all three']['spread']['value']:.1f}: one of them does nearly what all do. "
            f"The {len(numbers['seeds'])} ways to compute the same ({WAYS_TOLD}) gave {ways['different_bits']} different sets of bits: the number "
            "of threads changes none for so small a network, the library of convolutions does. What begins as rounding ends as "
            f"{100 * ways['differ']['value']:.1f} % other answers, and one bit of one weight as {100 * bit['differ']['value']:.1f} %. "
            "Summers and Dinneen (2021, Nondeterminism and Instability in Neural Network Optimization) find on CIFAR-10 that one bit changes "
            f"about as much as a new seed does: after hundreds of epochs, where ours has had {numbers['epochs']}. "
            f"Other training items change {100 * items['differ']['value']:.0f} % of the answers. Bouthillier et al. (2021, Accounting for Variance in "
            "Machine Learning Benchmarks) find the draw of the data the largest source of variance in the score; in answers it is here, in "
            f"accuracy its {100 * items['spread']['value']:.1f} points are not. With five runs a standard "
            "deviation is known to a factor of 0.6 to 2.9 only, so neighbours may change places. "
            f"Which {numbers['test']} pictures are tested on would alone spread the accuracy by {100 * numbers['sampling_of_test']:.1f} points "
            "(binomial)."
        ),
        tables=[table, fixed],
        figures={
            "answers_that_differ.svg": line_chart(
                "Answers that differ between two runs",
                Axis("what is varied", at),
                Axis("test answers that differ", percent=True),
                [
                    Line(
                        "pairs of runs",
                        [(float(i), d["value"]) for i, d in enumerate(differ)],
                        [(d["low"], d["high"]) for d in differ],
                    )
                ],
            )
        },
    )


def words(name: str) -> str:
    """A source in a word or two, for an axis."""
    short = {"order of the items": "order", "initial weights": "weights", "one bit of one weight": "one bit"}
    return short.get(name, name.replace("threads and algorithms", "threads").replace("training items", "items"))


STUDY = Study(
    name="t20_reproducibility",
    title="T20: reproducibility",
    question="What does each source of randomness contribute to the spread of a trained network's accuracy, and does fixing all give identical bits?",
    measure=measure,
    present=present,
    expected={
        "identical > again in the same process": (1, 1),
        "identical > in another process": (1, 1),
        "identical > stopped by Ctrl-C half-way, resumed from its checkpoint": (1, 1),
        "sources > initial weights > accuracy > value": about(0.62, 0.08),
        "sources > initial weights > differ > value": about(0.17, 0.08),
        "sources > all three > spread > value": (0.005, 0.06),
        "sources > one bit of one weight > differ > value": (0, 0.06),
        "sources > training items > differ > value": about(0.33, 0.15),
    },
    expected_quick={
        "identical > again in the same process": (1, 1),
        "identical > stopped by Ctrl-C half-way, resumed from its checkpoint": (1, 1),
        "sources > training items > different_bits": (2, 2),
        "sources > order of the items > different_bits": (2, 2),
    },
)

if __name__ == "__main__":
    main(STUDY)
