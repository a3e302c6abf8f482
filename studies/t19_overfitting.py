"""T19: remedies against overfitting, each alone and all together, for a small CNN from nothing on very few pictures.

Every training has the same initial weights, rate, schedule and number of epochs for a seed; every remedy is a setting of `trainers.recipe`.
Legend: N pictures, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, over_seeds, points, share_over_seeds

from graft.trainers.recipe import Recipe

if TYPE_CHECKING:
    from studies.small_cnn import Pictures

    from graft.tensors.augment import Transform

FOLDS = 3
PLAIN = Recipe(epochs=24, batch=8, rate=1e-2, weight_decay=0.0)


@dataclass(frozen=True)
class Remedy:
    """What is changed of the plain recipe; `folds` models, each of which leaves one fold out, answer together where it is above 1."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    folds: int = 1


ALL = {"augment": "auto", "mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1, "dropout": 0.3, "weight_decay": 0.1}
REMEDIES = {
    "nothing": Remedy(),
    "augmentation": Remedy({"augment": "auto"}),
    "mixup": Remedy({"mixup": 0.4}),
    "cutmix": Remedy({"cutmix": 1.0}),
    "label smoothing": Remedy({"label_smoothing": 0.1}),
    "dropout": Remedy({"dropout": 0.3}),
    "weight decay": Remedy({"weight_decay": 0.1}),
    "early stopping": Remedy({"patience": 5, "validation": 0.2}),
    "ensemble of folds": Remedy(folds=FOLDS),
    "all but stopping and folds": Remedy(ALL),
    "all": Remedy({**ALL, "patience": 10}, FOLDS),
}
SHOWN = ("nothing", "label smoothing", "augmentation", "all but stopping and folds")


@dataclass(frozen=True)
class Size:
    """How much is trained on what; test pictures a class."""

    data: str = "data:fashion_mnist"
    side: int = 16
    shots: int = 10
    tested: int = 50
    epochs: int = 24
    seeds: tuple[int, ...] = (0, 1, 2)
    remedies: tuple[str, ...] = tuple(REMEDIES)


QUICK = Size("data:digits", shots=6, tested=10, epochs=12, seeds=(0,), remedies=("nothing", "augmentation", "all"))


def measure(setting: Setting) -> Numbers:
    from studies.small_cnn import draw

    size = QUICK if setting.quick else Size()
    train_of, test = draw(size.data, size.shots, size.tested, size.seeds, size.side)
    trials = {
        name: [trial(REMEDIES[name], train_of[seed], test, size, seed) for seed in size.seeds] for name in size.remedies
    }
    plain = [found["accuracy"] for found in trials["nothing"]]
    rows = {
        name: {
            "accuracy": share_over_seeds([t["accuracy"] for t in found]),
            "gain": over_seeds([t["accuracy"] - base for t, base in zip(found, plain, strict=True)]),
            "loss": over_seeds([t["loss"] for t in found]),
            "train_accuracy": share_over_seeds([t["train_accuracy"] for t in found]),
            "train_loss": over_seeds([t["train_loss"] for t in found]),
            "epochs": float(np.mean([t["epochs"] for t in found])),
            "by_seed": [t["accuracy"] for t in found],
            "curves": {key: np.mean([t["curves"][key] for t in found], axis=0).tolist() for key in found[0]["curves"]},
        }
        for name, found in trials.items()
    }
    first = train_of[size.seeds[0]]
    facts = {"data": size.data, "side": size.side, "epochs": size.epochs, "seeds": list(size.seeds)}
    return {**facts, "train": len(first), "test": len(test), "folds": FOLDS, "remedies": rows}


def trial(remedy: Remedy, pictures: Pictures, test: Pictures, size: Size, seed: int) -> dict[str, Any]:
    """One remedy with one seed: what it answers to training and test pictures; losses along the way where one model is trained to the end."""
    from graft.data.splits import folds
    from graft.tensors.averaging import ensemble
    from studies import small_cnn

    recipe = replace(PLAIN, epochs=size.epochs, **remedy.settings)
    every = np.arange(len(pictures))
    if remedy.folds > 1:
        parts = folds(pictures.y_N, None, remedy.folds, 1, np.random.default_rng(seed))
    else:
        parts = [held_out(pictures, recipe, seed) if recipe.patience else (every, every[:0])]
    answers, learned, curves, epochs = [], [], {}, []
    for number, (inside, outside) in enumerate(parts):
        follow = Following(pictures, test) if not recipe.patience and remedy.folds == 1 else None
        held = pictures.take(outside) if recipe.patience else None
        model, run = trained(pictures.take(inside), held, recipe, size, seed + 1000 * number, follow)
        answers.append(small_cnn.logits(model, test))
        learned.append(small_cnn.logits(model, pictures))
        epochs.append(len(run.epochs))
        curves = follow.curves if follow else {}
    test_NC, train_NC = ensemble(answers), ensemble(learned)
    return {
        "accuracy": small_cnn.accuracy(test_NC, test.y_N),
        "loss": small_cnn.loss(test_NC, test.y_N),
        "train_accuracy": small_cnn.accuracy(train_NC, pictures.y_N),
        "train_loss": small_cnn.loss(train_NC, pictures.y_N),
        "epochs": float(np.mean(epochs)),
        "curves": curves,
    }


def held_out(pictures: Pictures, recipe: Recipe, seed: int) -> tuple[Any, Any]:
    """Positions to learn from and to stop by."""
    from graft.data.splits import hold_out

    return hold_out(pictures.y_N, None, recipe.validation, np.random.default_rng(seed))


def trained(
    pictures: Pictures, held: Pictures | None, recipe: Recipe, size: Size, seed: int, follow: Following | None
) -> tuple[Any, Any]:
    """The trained network and its run; `held` pictures say when to stop."""
    from graft.trainers.loop import Hooks
    from studies import small_cnn

    n_classes = len(pictures.classes)
    model = small_cnn.network(n_classes, seed=seed, side=size.side, dropout=recipe.dropout or 0.0)

    def evaluate(network: Any) -> tuple[float, float | None]:
        assert held is not None
        logits_NC = small_cnn.logits(network, held)
        return small_cnn.loss(logits_NC, held.y_N), small_cnn.accuracy(logits_NC, held.y_N)

    run = small_cnn.learn(
        model,
        pictures,
        recipe,
        seed=seed,
        transforms=transforms(recipe, pictures),
        evaluate=None if held is None else evaluate,
        hooks=Hooks(after_epoch=follow.of(model) if follow else None),
    )
    return model, run


def transforms(recipe: Recipe, pictures: Pictures) -> Sequence[Transform]:
    """Augmentation, and one of mixup and cutmix for each batch."""
    from graft.tensors.augment import cutmix, either, for_pictures, mixup

    moved, _ = for_pictures(recipe.augment, pictures.classes, pictures.pixels(16))
    n_classes = len(pictures.classes)
    mixing = [mixup(recipe.mixup, n_classes)] if recipe.mixup else []
    mixing += [cutmix(recipe.cutmix, n_classes)] if recipe.cutmix else []
    return [*([moved] if moved else []), *([either(mixing)] if mixing else [])]


class Following:
    """Losses of the whole training and test parts as they are, every third epoch: `curves` by name, "epoch" among them."""

    def __init__(self, train: Pictures, test: Pictures) -> None:
        self.parts = {"train loss": train, "test loss": test}
        self.curves: dict[str, list[float]] = {name: [] for name in ("epoch", *self.parts)}

    def of(self, model: Any) -> Callable[[int], Mapping[str, float]]:
        """What is called after each epoch."""
        from studies.small_cnn import logits, loss

        def after_epoch(epoch: int) -> Mapping[str, float]:
            if epoch % 3 == 2:
                self.curves["epoch"].append(epoch + 1.0)
                for name, part in self.parts.items():
                    self.curves[name].append(loss(logits(model, part), part.y_N))
            return {}

        return after_epoch


def present(numbers: Numbers) -> Page:
    rows = numbers["remedies"]
    table = Table(
        f"{numbers['data']}, {numbers['train']} training and {numbers['test']} test pictures of {numbers['side']} x {numbers['side']} pixels, "
        f"{numbers['epochs']} epochs, {len(numbers['seeds'])} seeds; sizes are small, for a machine of two cores. The gain over nothing is paired "
        "by seed. Training accuracy and loss are of the training pictures as they are.",
        ("remedy", "test accuracy", "gain (points)", "test loss", "training accuracy", "training loss", "epochs"),
        [
            (
                name,
                f"{100 * row['accuracy']['value']:.1f} %",
                points(row["gain"]) if name != "nothing" else "",
                f"{row['loss']['value']:.2f}",
                f"{100 * row['train_accuracy']['value']:.1f} %",
                f"{row['train_loss']['value']:.2f}",
                f"{row['epochs']:.0f}",
            )
            for name, row in rows.items()
        ],
    )
    alone = {n: r["gain"]["value"] for n, r in rows.items() if n != "nothing" and not n.startswith("all")}
    best, worst = max(alone, key=lambda n: alone[n]), min(alone, key=lambda n: alone[n])
    plain, whole = rows["nothing"], rows["all"]
    others = {n: r for n, r in rows.items() if n != "nothing"}
    helped = [n for n, r in others.items() if r["gain"]["low"] is not None and r["gain"]["low"] > 0]
    harmed = [n for n, r in others.items() if r["gain"]["high"] is not None and r["gain"]["high"] < 0]
    free = [n for n in others if n not in (*helped, *harmed) and others[n]["gain"]["value"] > -0.01]
    steps = numbers["epochs"] * -(-numbers["train"] // PLAIN.batch)
    return Page(
        answer=(
            f"Nothing {100 * plain['accuracy']['value']:.1f} %; alone {best} does best ({100 * alone[best]:+.1f} points) and {worst} worst "
            f"({100 * alone[worst]:+.1f}); all together {100 * whole['accuracy']['value']:.1f} % ({points(whole['gain'])} points): "
            f"in {steps} steps remedies {'do not pay' if not helped else 'may pay'}."
        ).replace("-", "−"),
        reading=(
            f"Without a remedy the network knows {100 * plain['train_accuracy']['value']:.0f} % of its training pictures and "
            f"{100 * plain['accuracy']['value']:.0f} % of the others, a gap of {plain['loss']['value'] - plain['train_loss']['value']:.2f} nats between "
            f"the losses. Remedies narrow that gap, and in so short a training ({numbers['epochs']} epochs, {steps} steps) by making the network "
            f"learn less: the whole interval of the gain lies above zero for {', '.join(helped) or 'none'}, below it for {', '.join(harmed) or 'none'}. "
            f"All together leave it at {100 * whole['train_accuracy']['value']:.0f} % even of its training pictures: it underfits. "
            f"Next to nothing is lost by {', '.join(free) or 'none'}. "
            f"Early stopping learns from four in five pictures, and each of {numbers['folds']} folds' models from two in three, which the mean of "
            "their answers pays back. Mixup and cutmix were published on tens of thousands of pictures and hundreds of epochs, where they gain "
            "about one point on CIFAR-10 (Zhang et al. 2018, Yun et al. 2019): a remedy wants a longer training, and nothing here speaks against "
            "it there. So Graft leaves them off unless asked, and the training loss says whether there is room for one."
        ),
        tables=[table],
        figures={"losses.svg": loss_figure(numbers), "gains.svg": gain_figure(numbers)},
    )


def loss_figure(numbers: Numbers) -> str:
    """Loss of training (dashed) and test pictures by epoch."""
    lines = []
    for name in (n for n in SHOWN if n in numbers["remedies"]):
        curves = numbers["remedies"][name]["curves"]
        for part in ("test loss", "train loss"):
            path = list(zip(curves["epoch"], curves[part], strict=True))
            label = "all in one model" if name.startswith("all") else name
            lines.append(Line(f"{label}, {part.split()[0]}", path, dashed=part == "train loss"))
    return line_chart("Loss by epoch", Axis("epoch"), Axis("cross entropy (nats)"), lines)


def gain_figure(numbers: Numbers) -> str:
    """Gain of each remedy over nothing."""
    rows = {n: r["gain"] for n, r in numbers["remedies"].items() if n != "nothing"}
    short = {"augmentation": "augment", "label smoothing": "smooth", "weight decay": "decay", "early stopping": "stop"}
    short |= {"ensemble of folds": "folds", "all but stopping and folds": "one model"}
    return line_chart(
        "Gain over nothing, paired by seed",
        Axis("remedy", {float(i): short.get(name, name) for i, name in enumerate(rows)}),
        Axis("gain in test accuracy", percent=True),
        [Line("gain", [(float(i), g["value"]) for i, g in enumerate(rows.values())], [ends(g) for g in rows.values()])],
    )


STUDY = Study(
    name="t19_overfitting",
    title="T19: fighting overfitting",
    question="What do augmentation, mixup, cutmix, label smoothing, dropout, weight decay, early stopping and ensembles of folds do, alone and together?",
    measure=measure,
    present=present,
    expected={
        "remedies > nothing > accuracy > value": about(0.68, 0.1),
        "remedies > all > accuracy > value": about(0.44, 0.15),
        "remedies > augmentation > gain > value": about(-0.065, 0.08),
        "remedies > label smoothing > gain > value": about(0.0, 0.05),
        "remedies > nothing > train_accuracy > value": (0.75, 1.0),
    },
    expected_quick={
        "remedies > nothing > accuracy > value": (0.2, 0.9),
        "remedies > all > train_accuracy > value": (0.05, 0.9),
    },
)

if __name__ == "__main__":
    main(STUDY)
