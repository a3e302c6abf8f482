"""T6: forgetting. How far weights drift while a network overfits, and what L2-SP, EWC and the way between old and new weights keep.

A quadratic loss with a known answer first; then a small convolutional network that has learned MNIST and is tuned on a hundred pictures of Fashion-MNIST.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.lessons import Lesson, School, lesson, schooled, taught, tested
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
    share_over_seeds,
)

from graft.data.read import read
from graft.strategies.tuning import Outcome

PENALTIES = {"l2sp": (3.0,), "ewc": (300.0,)}
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
DIMS, STEPS = 6, 400
WEIGHTS = (0.1, 1.0, 10.0)
Floats = NDArray[np.float64]


def measure(setting: Setting) -> Numbers:
    seeds, epochs = ([0], 3) if setting.quick else ([0, 1, 2], 10)
    if setting.quick:
        digits = read("data:digits")
        school = schooled(digits, shots=40, tested=20, epochs=4, classes=range(5))
        target, classes, shots, each = digits, list(range(5, 10)), 6, 20
    else:
        school = schooled(read("data:mnist"), shots=60, tested=20, epochs=5)
        target, classes, shots, each = read("data:fashion_mnist"), None, 10, 20
    ways: dict[str, dict[str, Any]] = {"finetune": {}}
    for penalty, weights in PENALTIES.items():
        ways |= {f"{penalty} {weight:g}": {penalty: weight} for weight in (weights[:1] if setting.quick else weights)}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    sweeps: list[list[tuple[float, float]]] = []
    for seed in seeds:
        here = lesson(target, school.encoder, shots=shots, tested=each, seed=seed, classes=classes)
        for name, given in ways.items():
            settings = {"epochs": epochs, "rate": 3e-3, "head_rate": 3e-2, **given}
            outcome = taught("finetune", settings, here, seed=seed, told=name == "finetune", retain=school)
            runs[name].append(judged(outcome, here, school))
            if name == "finetune":
                sweeps.append([(tested(outcome, here, share), school.remembered(outcome, share)) for share in SHARES])
    return {
        "source": "digits 0-4" if setting.quick else "mnist",
        "target": "digits 5-9" if setting.quick else "fashion_mnist",
        "train": len(here.train),
        "test": len(here.test),
        "seeds": seeds,
        "epochs": epochs,
        "old_before": school.remembered(),
        "ways": {name: summary(found) for name, found in runs.items()},
        "by_epoch": runs["finetune"][0]["epochs"],
        "shares": {
            f"{share:g}": {
                "new": share_over_seeds([sweep[n][0] for sweep in sweeps]),
                "old": share_over_seeds([sweep[n][1] for sweep in sweeps]),
            }
            for n, share in enumerate(SHARES)
        },
        "quadratic": quadratic(),
        "fisher": {"even": weighted(np.ones(DIMS)), "uneven": weighted(np.geomspace(1e-2, 1e2, DIMS))},
    }


def judged(outcome: Outcome, here: Lesson, school: School) -> dict[str, Any]:
    """Both tasks after a training, and its epochs."""
    epochs = [
        {
            "loss": e.loss,
            "test_loss": e.validation_loss,
            "test": e.score,
            "drift": float(np.mean(list(e.drift.values()))),
            "by_group": dict(e.drift),
        }
        for e in outcome.record.epochs
    ]
    (probe,) = outcome.record.retained
    return {
        "new": tested(outcome, here),
        "old": school.remembered(outcome),
        "old_probe": probe.after,
        "drift": epochs[-1]["drift"],
        "epochs": epochs,
    }


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over the seeds."""
    shares = {key: share_over_seeds([run[key] for run in runs]) for key in ("new", "old", "old_probe")}
    return {**shares, "drift": over_seeds([run["drift"] for run in runs])}


# -- the quadratic case ------------------------------------------------------------------------------------------------


def quadratic() -> dict[str, Any]:
    """Loss (w - b)' A (w - b) / 2 with L2-SP, by gradient descent and in closed form.

    Along an eigenvector of A with eigenvalue a the solution goes the share a / (a + weight) of the way from the pretrained w0 to the best b.
    """
    import torch

    from graft.tensors.penalties import l2sp

    rng = np.random.default_rng(0)
    curvature = np.geomspace(0.3, 2.0, DIMS)
    axes = np.linalg.qr(rng.normal(size=(DIMS, DIMS)))[0]
    a, best, start = axes @ np.diag(curvature) @ axes.T, rng.normal(size=DIMS), rng.normal(size=DIMS)
    found: dict[str, Any] = {}
    for weight in WEIGHTS:
        model = torch.nn.ParameterDict({"w": torch.nn.Parameter(torch.tensor(start))})
        penalty = l2sp(model, {"w": torch.tensor(start)}, weight)
        steps = torch.optim.SGD(model.parameters(), lr=1 / (curvature[-1] + weight))
        for _ in range(STEPS):
            steps.zero_grad()
            away = model["w"] - torch.tensor(best)
            (away @ torch.tensor(a) @ away / 2 + penalty()).backward()
            steps.step()
        trained = model["w"].detach().numpy()
        closed = np.linalg.solve(a + weight * np.eye(DIMS), a @ best + weight * start)
        way = axes.T @ (trained - start) / (axes.T @ (best - start))
        found[f"{weight:g}"] = {
            "difference": float(np.abs(trained - closed).max()),
            "share_difference": float(np.abs(way - curvature / (curvature + weight)).max()),
            "least_share": float(way.min()),
            "largest_share": float(way.max()),
        }
    return found


def weighted(fisher: Floats) -> dict[str, float]:
    """Loss on the old task, (w - w0)' F (w - w0) / 2, left by L2-SP and by EWC at the weight that halves the new task's loss, |w - b|^2 / 2."""
    even = np.ones_like(fisher)
    old = {name: _old_loss(factors, fisher) for name, factors in (("l2sp", even), ("ewc", fisher))}
    return {"spread": float(fisher.max() / fisher.min()), **old, "ratio": old["l2sp"] / old["ewc"]}


def _old_loss(factors: Floats, fisher: Floats) -> float:
    """With a penalty of these factors; each weight goes 1 / (1 + weight factor) of the way of length 1."""
    low, high = 1e-9, 1e9
    for _ in range(200):
        weight = np.sqrt(low * high)
        left = 1 - 1 / (1 + weight * factors)
        low, high = (weight, high) if (left**2).mean() < 0.5 else (low, weight)
    return float((fisher / (1 + weight * factors) ** 2).sum() / 2)


# -- the page ----------------------------------------------------------------------------------------------------------


def present(numbers: Numbers) -> Page:
    ways, shares = numbers["ways"], numbers["shares"]
    full, middle = ways["finetune"], shares["0.5"]
    apart = max(found["difference"] for found in numbers["quadratic"].values())
    return Page(
        answer=(
            f"Fine-tuning brings {numbers['target']} to {percent(full['new'])} and {numbers['source']} from {100 * numbers['old_before']:.0f} % down to "
            f"{percent(full['old'])} with its own head; half the way between old and new weights has {percent(middle['new'])} and {percent(middle['old'])}. "
            f"The quadratic case agrees with its closed form to {apart:.0e}."
        ),
        reading=_reading(numbers),
        tables=[*_network_tables(numbers), *_quadratic_tables(numbers)],
        figures=_figures(numbers["by_epoch"], shares),
    )


def _network_tables(numbers: Numbers) -> list[Table]:
    new = numbers["shares"]["0"]["new"]
    rows = [("before (probe on the frozen network)", percent(new), f"{100 * numbers['old_before']:.1f} %", "", "0")]
    rows += [
        (name, percent(way["new"]), percent(way["old"]), percent(way["old_probe"]), f"{way['drift']['value']:.3f}")
        for name, way in numbers["ways"].items()
    ]
    return [
        Table(
            f"{numbers['train']} items of {numbers['target']} to learn from, {numbers['test']} to test on, {numbers['epochs']} epochs, "
            f"{len(numbers['seeds'])} seeds. Penalties stand with their weights.",
            ("", "new task", "old task, head of that time", "old task, a new probe", "mean relative drift"),
            rows,
        ),
        Table(
            "Weights between old and new (WiSE-FT), the same head.",
            ("share of the way", "new task", "old task"),
            [(share, percent(found["new"]), percent(found["old"])) for share, found in numbers["shares"].items()],
        ),
    ]


def _quadratic_tables(numbers: Numbers) -> list[Table]:
    return [
        Table(
            "Quadratic loss with L2-SP: share of the way from the pretrained weights to the best ones, along the flattest and the steepest axis.",
            ("weight", "flattest", "steepest", "largest difference from the closed form"),
            [
                (weight, f"{q['least_share']:.3f}", f"{q['largest_share']:.3f}", f"{q['difference']:.0e}")
                for weight, q in numbers["quadratic"].items()
            ],
        ),
        Table(
            "Quadratic losses: what is lost of the old task where the penalty is set to halve the loss of the new one.",
            ("largest over least Fisher information", "L2-SP", "EWC", "ratio"),
            [
                (f"{f['spread']:.0e}", f"{f['l2sp']:.3g}", f"{f['ewc']:.3g}", f"{f['ratio']:.1f}")
                for f in numbers["fisher"].values()
            ],
        ),
    ]


def _figures(epochs: Sequence[Mapping[str, Any]], shares: Mapping[str, Any]) -> dict[str, str]:
    curves = [
        Line(name, [(float(n + 1), epoch[key]) for n, epoch in enumerate(epochs)])
        for name, key in (("training loss", "loss"), ("test loss", "test_loss"))
    ]
    groups = [
        Line(group, [(float(n + 1), epoch["by_group"][group]) for n, epoch in enumerate(epochs)])
        for group in epochs[0]["by_group"]
    ]
    tasks = [
        Line(name, [(float(s), f[key]["value"]) for s, f in shares.items()], [ends(f[key]) for f in shares.values()])
        for name, key in (("new task", "new"), ("old task", "old"))
    ]
    return {
        "loss_by_epoch.svg": line_chart("Loss by epoch (first seed)", Axis("epoch"), Axis("loss"), curves),
        "drift_by_epoch.svg": line_chart("Drift (first seed)", Axis("epoch"), Axis("|w - w0| / |w0|"), groups),
        "between_old_and_new.svg": line_chart(
            "Both tasks on the way to the new weights", Axis("share of the way"), Axis("accuracy", percent=True), tasks
        ),
    }


def _reading(numbers: Numbers) -> str:
    ways, epochs, uneven = numbers["ways"], numbers["by_epoch"], numbers["fisher"]["uneven"]
    least = min(range(len(epochs)), key=lambda n: epochs[n]["test_loss"])
    held = {name: way for name, way in ways.items() if name != "finetune"}
    kept, full = max(held, key=lambda name: held[name]["old"]["value"]), ways["finetune"]
    return (
        f"Drift grows with the gap between training and test loss ({epochs[0]['test_loss'] - epochs[0]['loss']:.2f} after the first epoch, "
        f"{epochs[-1]['test_loss'] - epochs[-1]['loss']:.2f} after the last, drift {epochs[0]['drift']:.3f} and {epochs[-1]['drift']:.3f}); the test loss is "
        f"least after epoch {least + 1} of {len(epochs)}. The penalty that keeps most is {kept}: old task "
        f"{points_over(held[kept]['old'], full['old'])}, new task {points_over(held[kept]['new'], full['new'])} points beside plain fine-tuning. "
        "Where a head of its own is fitted again on the tuned vectors, far more of the old task is there than the old head shows: much of forgetting is "
        f"a head that no longer fits. Fisher weights matter where the information is uneven: spread over {uneven['spread']:.0e}, EWC loses "
        f"{uneven['ratio']:.0f} times less of the old task than L2-SP at the same loss of the new one; where it is even the two are one "
        "(Kirkpatrick et al. 2017; Li et al. 2018; Wortsman et al. 2022). The network and the sets are small, for a two-core machine."
    )


def points_over(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    return f"{100 * (one['value'] - other['value']):+.1f}".replace("-", "−")


STUDY = Study(
    name="t06_forgetting",
    title="T6: forgetting",
    question="How far do weights drift while they overfit, and how much of an old task do L2-SP, EWC and weight interpolation keep?",
    measure=measure,
    present=present,
    expected={
        "ways > finetune > new > value": about(0.7, 0.12),
        "ways > finetune > old > value": about(0.68, 0.2),
        "ways > l2sp 3 > old > value": about(0.77, 0.1),
        "ways > ewc 300 > old > value": about(0.8, 0.1),
        "shares > 0.5 > old > value": about(0.77, 0.1),
        "quadratic > 1 > difference": (0.0, 1e-6),
        "quadratic > 1 > share_difference": (0.0, 1e-6),
        "fisher > even > ratio": about(1.0, 1e-6),
        "fisher > uneven > ratio": about(51.46, 0.1),
    },
    expected_quick={
        "ways > finetune > new > value": (0.4, 1.0),
        "quadratic > 1 > difference": (0.0, 1e-6),
        "quadratic > 1 > share_difference": (0.0, 1e-6),
        "fisher > even > ratio": about(1.0, 1e-6),
    },
)

if __name__ == "__main__":
    main(STUDY)
