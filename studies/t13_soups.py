"""T13: uniform and greedy soup of five fine-tuned models, beside the best single one and their ensemble.

`graft.strategies.tuning.tune` trains five times from one start with settings of their own, `graft.tensors.averaging` cooks (Wortsman et al. 2022).
The start is a small network of `graft pretrain` with the fitted probe as its head. Legend: N items, C classes.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.drawn import Codes, Pictures, accuracy, chosen_probe, draw, small_network, train
from studies.study import (
    Numbers,
    Page,
    Setting,
    Study,
    Table,
    about,
    ends,
    main,
    over_seeds,
    percent,
    points,
    share_over_seeds,
)

if TYPE_CHECKING:
    import torch

    from graft.strategies.items import Items
    from graft.strategies.tuning import Outcome

RECIPES: dict[str, dict[str, Any]] = {
    "rate 1e-3": {"rate": 1e-3},
    "rate 3e-4": {"rate": 3e-4},
    "rate 1e-3, mixup 0.3": {"rate": 1e-3, "mixup": 0.3},
    "rate 1e-3, label smoothing 0.1": {"rate": 1e-3, "label_smoothing": 0.1},
    "rate 2e-3, weight decay 0.1": {"rate": 2e-3, "weight_decay": 0.1},
}
WORDS = {
    "start": "the start: probe on the pretrained network",
    "single": "one model, mean of the five",
    "best": "best single model by validation",
    "uniform": "uniform soup",
    "greedy": "greedy soup",
    "ensemble": "ensemble (five times the cost)",
    "oracle": "best single model by the test itself",
}


def measure(setting: Setting) -> Numbers:
    parts: tuple[Sequence[int] | None, Sequence[int] | None] = (None, None)  # classes: all
    if setting.quick:
        source, target, pre, parts = "data:digits", "data:digits", "epochs=3,channels=8", (range(5), range(5, 10))
        sizes, epochs, seeds = (16, 30), 2, [0]
    else:
        source, target, pre = "data:mnist", "data:fashion_mnist", "epochs=4,channels=16"
        sizes, epochs, seeds = (40, 50), 4, [0, 1, 2]
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        learned = draw(source, 16 if setting.quick else 100, 20, 0, parts[0])
        reference, _ = small_network(learned, pre, 0, Path(folder) / "network")
        for seed in seeds:
            found.append(one_seed(reference, draw(target, *sizes, seed, parts[1]), seed, epochs))
    names = list(found[0]["accuracy"])
    best = [each["accuracy"]["best"] for each in found]
    return {
        "source": source,
        "target": target,
        "train": found[0]["train"],
        "validation": found[0]["validation"],
        "test": found[0]["test"],
        "epochs": epochs,
        "seeds": seeds,
        "recipes": RECIPES,
        "members": [each["members"] for each in found],
        "singles": {name: share_over_seeds([f["singles"][i] for f in found]) for i, name in enumerate(RECIPES)},
        "halfway_minus_ends": over_seeds([each["halfway_minus_ends"] for each in found]),
        "ways": {
            name: {
                "accuracy": share_over_seeds([each["accuracy"][name] for each in found]),
                "over_best": over_seeds([each["accuracy"][name] - b for each, b in zip(found, best, strict=True)]),
                "loss": over_seeds([each["loss"][name] for each in found]) if name in found[0]["loss"] else None,
            }
            for name in names
        },
    }


def one_seed(reference: str, drawn: tuple[Pictures, Pictures], seed: int, epochs: int) -> dict[str, Any]:
    """Five trainings on three quarters of the items, chosen among and mixed by the rest, judged on the test items."""
    from graft.tensors.averaging import ensemble, greedy_soup, interpolate, uniform_soup

    pool, test = drawn
    items, tested = pool.items(reference), test.items(reference)
    held = np.arange(len(items)) % 4 == 0
    y_N, held_N, n_classes = pool.y_N[~held], pool.y_N[held], len(pool.classes)
    base = {"epochs": epochs, "head_rate": 1e-2, "range_test": False}
    probe = chosen_probe(items.x_ND[~held], y_N, n_classes, seed)
    runs = [
        train("finetune", {**base, **given}, items[~held], y_N, n_classes, 10 * seed + place, probe=probe)
        for place, given in enumerate(RECIPES.values())
    ]
    kettle = runs[0]
    states = [run.after for run in runs]

    def score(state: Mapping[str, torch.Tensor]) -> float:
        return accuracy(answers(kettle, state, items[held]), held_N)

    greedy, members, _ = greedy_soup(states, score)
    logits = [answers(kettle, state, tested) for state in states]
    singles = [accuracy(rows, test.y_N) for rows in logits]
    best = int(np.argmax([score(state) for state in states]))
    mixed = {
        "start": answers(kettle, kettle.before, tested),
        "best": logits[best],
        "uniform": answers(kettle, uniform_soup(states), tested),
        "greedy": answers(kettle, greedy, tested),
        "ensemble": ensemble(logits),
    }
    scored = {name: accuracy(rows, test.y_N) for name, rows in mixed.items()}
    scored |= {"single": float(np.mean(singles)), "oracle": max(singles)}
    pairs = itertools.combinations(range(len(states)), 2)
    halfway = [
        accuracy(answers(kettle, interpolate(states[a], states[b], 0.5), tested), test.y_N)
        - (singles[a] + singles[b]) / 2
        for a, b in pairs
    ]
    return {
        "accuracy": {name: scored[name] for name in WORDS},
        "loss": {name: log_loss(rows, test.y_N) for name, rows in mixed.items()},
        "singles": singles,
        "members": [list(RECIPES)[place] for place in members],
        "halfway_minus_ends": float(np.mean(halfway)),
        "train": len(y_N),
        "validation": len(held_N),
        "test": len(test.y_N),
    }


def answers(outcome: Outcome, state: Mapping[str, torch.Tensor], items: Items) -> NDArray[np.float64]:
    """Logits (N, C) of the network with these weights, body and head."""
    outcome.course.network.load_state_dict(dict(state), strict=False)
    return outcome.course.logits(items)


def log_loss(logits_NC: NDArray[np.float64], y_N: Codes) -> float:
    """Mean cross entropy in nats."""
    from graft.heads.base import log_softmax

    return float(-log_softmax(logits_NC)[np.arange(len(y_N)), y_N].mean())


def present(numbers: Numbers) -> Page:
    ways = numbers["ways"]
    table = Table(
        f"{numbers['target']}: {numbers['train']} pictures to learn from, {numbers['validation']} to choose by, {numbers['test']} to test, "
        f"{len(numbers['seeds'])} seeds; every model starts from one network pretrained on {numbers['source']}.",
        ("model", "test accuracy", "over the best single (points, paired)", "log loss"),
        [
            (
                words,
                percent(ways[name]["accuracy"]),
                points(ways[name]["over_best"]),
                f"{ways[name]['loss']['value']:.3f}" if ways[name]["loss"] else "–",
            )
            for name, words in WORDS.items()
        ],
    )
    singles = Table(
        "The five, and how often the greedy soup took each.",
        ("settings", "test accuracy", "in the greedy soup"),
        [
            (name, percent(row), f"{sum(name in members for members in numbers['members'])} of {len(numbers['seeds'])}")
            for name, row in numbers["singles"].items()
        ],
    )
    shown = [ways[name]["accuracy"] for name in WORDS]
    short = ("start", "mean of five", "best", "uniform", "greedy", "ensemble", "test's best")
    figure = line_chart(
        "Soups beside single models",
        Axis("model", {float(i): name for i, name in enumerate(short)}),
        Axis("test accuracy", percent=True),
        [Line("accuracy", [(float(i), row["value"]) for i, row in enumerate(shown)], [ends(row) for row in shown])],
    )
    return Page(
        answer=(
            f"Over the best single model by validation ({percent(ways['best']['accuracy'])}): uniform soup {points(ways['uniform']['over_best'])} points, "
            f"greedy soup {points(ways['greedy']['over_best'])}, ensemble {points(ways['ensemble']['over_best'])}."
        ),
        reading=(
            f"Halfway between two of the five the accuracy is {points(numbers['halfway_minus_ends'])} points from the mean of the two: where that is "
            f"not below zero, models that started from the same weights lie in one basin, and mixing costs nothing. The start itself has "
            f"{percent(ways['start']['accuracy'])}. Wortsman et al. (2022) gain about half a point with greedy soups of tens of large "
            "models on ImageNet; here five small ones on a few hundred pictures are mixed, sizes for a two-core machine. The rates were lowered after "
            "quick runs with test pictures in sight."
        ),
        tables=[table, singles],
        figures={"soups.svg": figure},
    )


STUDY = Study(
    name="t13_soups",
    title="T13: model soups",
    question="Is the mean of the weights of five fine-tuned models better than the best of them, and how near to their ensemble?",
    measure=measure,
    present=present,
    expected={
        "ways > start > accuracy > value": about(0.749, 0.06),
        "ways > best > accuracy > value": about(0.778, 0.06),
        "ways > uniform > accuracy > value": about(0.761, 0.06),
        "ways > uniform > over_best > value": about(-0.017, 0.04),
        "ways > ensemble > over_best > value": about(0.003, 0.03),
        "halfway_minus_ends > value": about(0.0, 0.03),
    },
    expected_quick={
        "ways > start > accuracy > value": about(0.78, 0.15),
        "ways > greedy > accuracy > value": about(0.77, 0.17),
    },
)

if __name__ == "__main__":
    main(STUDY)
