"""T4: the learning-rate range test (Smith 2017), for the whole model, the body and the head; on pretrained weights and on fresh ones.

A small convolutional network, trained on one set of pictures, is tuned on another, so that many trainings can be run on two cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.lessons import Lesson, lesson, schooled, small_network, taught, tested
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

from graft.data.read import read
from graft.encoders.base import Encoder
from graft.results import RangeTest
from graft.strategies.rungs import course
from graft.strategies.trained import TRAINED
from graft.strategies.tuning import fitted_probe
from graft.trainers.range_test import range_test
from graft.trainers.rates import RateGroup, Rates

PARTS = ("all", "body", "head")
FACTORS = (0.1, 1.0, 10.0)  # times the suggestion
BATCH, TOP = 16, 1.25
# Start: whether the body is pretrained, how the head starts.
STARTS = {
    "pretrained, head from the probe": (True, "probe"),
    "pretrained, random head": (True, "random"),
    "from scratch": (False, "random"),
}
SHORT = dict(zip(STARTS, ("tuned, probe", "tuned, random", "scratch"), strict=True))  # for the legends


def measure(setting: Setting) -> Numbers:
    seeds, steps, epochs = ([0], 30, 2) if setting.quick else ([0, 1, 2], 30, 5)
    if setting.quick:
        digits = read("data:digits")
        school = schooled(digits, shots=40, tested=5, epochs=4, classes=range(5))
        target, classes, shots, tested_each = digits, list(range(5, 10)), 10, 20
    else:
        school = schooled(read("data:mnist"), shots=60, tested=5, epochs=5)
        target, classes, shots, tested_each = read("data:fashion_mnist"), None, 8, 25
    found: dict[str, Any] = {}
    for name, (tuned, head) in STARTS.items():
        tests: list[Mapping[str, RangeTest]] = []
        scores: dict[str, list[float]] = {f"{factor:.3g}": [] for factor in FACTORS}
        for seed in seeds:
            encoder: Encoder = school.encoder if tuned else small_network(seed + 1)
            here = lesson(target, encoder, shots=shots, tested=tested_each, seed=seed, classes=classes)
            tests.append(tests_of(here, head, steps, seed))
            suggestion = tests[-1]["all"].suggestion
            for factor in FACTORS if suggestion is not None else ():
                rate = float(suggestion or 0) * factor
                settings = {"start": head, "rate": rate, "head_rate": rate, "epochs": epochs, "batch": BATCH}
                outcome = taught("finetune", settings, here, seed=seed)
                scores[f"{factor:.3g}"].append(tested(outcome, here))
        found[name] = summary(tests, scores) | {"train": len(here.train), "test": len(here.test)}
    return {
        "seeds": seeds,
        "steps": steps,
        "epochs": epochs,
        "starts": found,
        "source": "digits" if setting.quick else "mnist",
    }


def tests_of(here: Lesson, head: str, steps: int, seed: int) -> dict[str, RangeTest]:
    """The range tests of one start: of the whole model, of its body and of its head."""
    rung = TRAINED["finetune"].with_given({"start": head, "batch": BATCH})
    recipe = rung.recipe("image")
    way = course(rung, here.train, lambda x_ND: fitted_probe(rung.probe, x_ND, here.y_train, here.task), recipe, seed)
    *body, top = way.rates(recipe).groups
    parts = Rates(
        (
            RateGroup("body", [p for group in body for p in group.parameters], 1.0),
            RateGroup("head", top.parameters, 1.0),
        )
    )
    feed = way.feed(here.train, here.y_train, seed)
    tests = range_test(way.network, feed, way.objective(None), parts, recipe, seed=seed, steps=steps, apart=True)
    return {test.group: test for test in tests}


def summary(tests: Sequence[Mapping[str, RangeTest]], scores: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Suggestions over the seeds as geometric means, the first seed's curves, and accuracy by factor on the suggestion."""
    parts = {
        part: {
            "told": sum(test[part].suggestion is not None for test in tests),
            "steepest": _middle([test[part].steepest for test in tests]),
            "tenth": _middle([test[part].tenth for test in tests]),
            "suggestion": _middle([test[part].suggestion for test in tests]),
            "rates": tests[0][part].rates,
            "losses": tests[0][part].losses,
        }
        for part in PARTS
    }
    means = {factor: float(np.mean(values)) for factor, values in scores.items() if values}
    best = max(means, key=lambda factor: means[factor]) if means else None
    one = np.array(scores["1"])
    return {
        "parts": parts,
        "best_factor": None if best is None else float(best),
        "accuracy": {factor: share_over_seeds(values) for factor, values in scores.items() if values},
        "over": {
            f: over_seeds((one - np.array(values)).tolist()) for f, values in scores.items() if values and f != "1"
        },
    }


def _middle(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate]
    return float(np.exp(np.mean(np.log(known)))) if known else None


def present(numbers: Numbers) -> Page:
    starts = numbers["starts"]
    factors = sorted({float(f) for found in starts.values() for f in found["accuracy"]})
    return Page(
        answer=_answer(starts),
        reading=(
            "The test raises the rate evenly in its logarithm, a step each, from 1e-7 to 10 and ends where the smoothed loss is four times its least; the "
            "suggestion is the smaller of the steepest point and a tenth of the rate at the least loss, as Smith (2017) and fastai's users read it. With a "
            "random head, over fresh and pretrained weights alike, the suggestion did best on average of the three rates, but the seeds differ so much that "
            "the intervals of the gain hold zero, and thirty steps do not always let the loss fall by the 2 % that are asked for. From a fitted probe the "
            f"loss starts low and hardly falls, so the test reads little but noise, and {_factor(starts['pretrained, head from the probe'])} the suggestion "
            "did best: a rung lets a test move its own rate by a factor of three at most. With a random head body and head apart bear larger rates than "
            "together. Sizes are small, for a two-core machine."
        ),
        tables=_tables(numbers, factors),
        figures={
            "range_tests.svg": _curves(starts),
            "accuracy_by_rate.svg": line_chart(
                "Accuracy by rate",
                Axis("times the suggested rate", {f: f"{f:.2g}" for f in factors}, log=True),
                Axis("accuracy", percent=True),
                [
                    Line(
                        SHORT[name],
                        [(float(f), value["value"]) for f, value in found["accuracy"].items()],
                        [ends(value) for value in found["accuracy"].values()],
                    )
                    for name, found in starts.items()
                    if found["accuracy"]
                ],
            ),
        },
    )


def _tables(numbers: Numbers, factors: Sequence[float]) -> list[Table]:
    starts, seeds = numbers["starts"], len(numbers["seeds"])
    train = {found["train"] for found in starts.values()}
    tests = [
        (
            name,
            part,
            *(_rate(found["parts"][part][key]) for key in ("steepest", "tenth", "suggestion")),
            f"{found['parts'][part]['told']} of {seeds}",
        )
        for name, found in starts.items()
        for part in PARTS
    ]
    scores = [
        (name, *(percent(found["accuracy"][f"{factor:.3g}"]) for factor in factors))
        for name, found in starts.items()
        if found["accuracy"]
    ]
    return [
        Table(
            f"Range tests of {numbers['steps']} steps of {BATCH} items out of {max(train)}; geometric means over {seeds} seeds. A test in which the loss "
            "does not fall by 2 % tells nothing.",
            ("start", "part", "steepest", "a tenth of the least", "suggestion", "told"),
            tests,
        ),
        Table(
            f"Accuracy after {numbers['epochs']} epochs with all weights at the suggested rate times",
            ("start", *(f"{factor:.3g}" for factor in factors)),
            scores,
        ),
    ]


def _curves(starts: Mapping[str, Any]) -> str:
    lines = [
        Line(
            f"{SHORT[name]}: {part}",
            _shown(found["parts"][part]),
            dashed=not STARTS[name][0],
        )
        for name, found in starts.items()
        if name != "pretrained, random head"
        for part in PARTS
    ]
    largest = max(x for line in lines for x, _ in line.points)
    ticks = {10.0**power: f"1e{power}" for power in range(-7, 2) if 10.0**power <= 1.01 * largest}
    return line_chart("Smoothed loss by rate (first seed)", Axis("rate", ticks, log=True), Axis("loss"), lines)


def _shown(test: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The points until the loss is well above its first: what follows would press the rest flat."""
    points = list(zip(test["rates"], test["losses"], strict=True))
    return [(rate, loss) for rate, loss in points if loss <= TOP * points[0][1]]


def _answer(starts: Mapping[str, Any]) -> str:
    whole = {name: found["parts"]["all"]["suggestion"] for name, found in starts.items()}
    said = "; ".join(
        f"{name} {_rate(whole[name])}" + (f" (best at {found['best_factor']:.2g} × it)" if found["best_factor"] else "")
        for name, found in starts.items()
    )
    over = starts["from scratch"]["over"]
    if not over:
        return f"Suggested for the whole model: {said}."
    return (
        f"Suggested for the whole model: {said}. From scratch the suggestion is {points(over['0.1'])} points over a tenth of it and "
        f"{points(over['10'])} over ten times it."
    )


def _factor(found: Mapping[str, Any]) -> str:
    """Words for the factor on the suggestion that did best."""
    best = found["best_factor"]
    return "no factor on" if best is None else "just" if best == 1 else f"{best:.2g} times"


def _rate(value: float | None) -> str:
    return "none" if value is None else f"{value:.1e}"


STUDY = Study(
    name="t04_range_test",
    title="T4: the learning-rate range test",
    question="Which rates does a range test suggest for the whole model, its body and its head, tuned or from scratch, and are they good ones?",
    measure=measure,
    present=present,
    expected={
        "starts > from scratch > accuracy > 1 > value": about(0.49, 0.15),
        "starts > from scratch > over > 0.1 > value": (0.05, 0.5),
        "starts > from scratch > over > 10 > value": (0.0, 0.5),
        "starts > from scratch > parts > all > suggestion": (5e-4, 1e-2),
        "starts > pretrained, random head > parts > all > suggestion": (5e-4, 1e-2),
        "starts > pretrained, head from the probe > accuracy > 1 > value": about(0.6, 0.12),
    },
    expected_quick={
        "starts > from scratch > parts > all > suggestion": (1e-4, 1.0),
        "starts > pretrained, random head > parts > all > suggestion": (1e-4, 1.0),
    },
)

if __name__ == "__main__":
    main(STUDY)
