"""Records of trainings made from nothing: a good run, one that diverged, one on a single split, one that thaws seventeen groups, one epoch only."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from tests.reports.made import Sample

from graft.results import (
    EpochRecord,
    Interval,
    RangeTest,
    Retained,
    StrategyResult,
    TrainingRecord,
    TuneResult,
    TuneTrial,
)

NAN = float("nan")


def groups(blocks: int) -> tuple[str, ...]:
    """The groups of a body with so many blocks, input first."""
    return ("stem", *(f"block {k}" for k in range(blocks)), "top")


def drift(names: tuple[str, ...], share: float, thawed: int = 99) -> dict[str, float]:
    """The relative distance of each group when `share` of the training is over: the upper groups moved most, the lowest not at all."""
    n = len(names)
    return {
        name: 0.0 if n - k > thawed else 0.08 * math.sqrt(share) * 0.75 ** (n - 1 - k) for k, name in enumerate(names)
    }


def range_test(group: str, best: float) -> RangeTest:
    """A test whose loss falls about `best` and explodes a decade and a half above it."""
    rates = tuple(float(r) for r in np.geomspace(1e-7, 10, 100))
    x = [math.log10(r / best) for r in rates]
    losses = tuple(1.6 - 0.8 / (1 + math.exp(-3 * v)) + (math.exp(4 * (v - 1.6)) if v > 0.7 else 0.0) for v in x)
    shown = tuple(v if v < 4 else NAN for v in losses)
    return RangeTest(group, rates, shown, best, best * 0.7, best)


def epochs(count: int, names: tuple[str, ...], *, start: float = 0.62, thaw: int = 99) -> tuple[EpochRecord, ...]:
    """A loss that falls and a validation loss that turns upward near the end."""
    rng = np.random.default_rng(count)
    return tuple(
        EpochRecord(
            epoch=e - 1,
            loss=start * math.exp(-2.2 * e / count) + float(rng.normal(0, 0.008)),
            validation_loss=0.28 + 0.3 * math.exp(-4 * e / count) + 0.06 * (e / count) ** 3,
            score=0.905 + 0.05 * (1 - math.exp(-4 * e / count)) + float(rng.normal(0, 0.002)),
            rate=1e-4 * 0.5 * (1 + math.cos(math.pi * e / count)),
            seconds=38.0,
            drift=drift(names, e / count, 1 + thaw * e // count),
        )
        for e in range(1, count + 1)
    )


def good() -> TrainingRecord:
    """LoRA over ten epochs, measured on one split, with all there is to tell."""
    names = ("adapter", "head")
    return TrainingRecord(
        method="lora",
        epochs=epochs(10, names),
        rates={"adapter": 1e-3, "head": 1e-3},
        range_tests=(range_test("adapter", 1.2e-3), range_test("head", 4e-3)),
        trained=147_456,
        parameters=3_371_008,
        bytes=594_112,
        batch=8,
        accumulate=2,
        memory_mb=1240.0,
        items_per_second=38.4,
        retained=(
            Retained("imagenet-sample", "accuracy", 0.742, 0.735),
            Retained("wiki.txt", "masked-token loss", 2.11, 2.38),
        ),
        interpolation=((0.0, 0.912), (0.25, 0.934), (0.5, 0.951), (0.75, 0.957), (1.0, 0.954)),
        measured_on="one split",
        folds=1,
        predicted_seconds=352.0,
        recipe={"epochs": 10, "rate": 1e-3, "range_test": True, "augment": "crop+colour"},
        notes=("A batch of 16 did not fit the memory: 8 items at a time, accumulated twice.",),
    )


def gradual() -> TrainingRecord:
    """Seventeen groups that are thawed one after the other, from the top down."""
    names = groups(15)
    rates = {name: 3e-4 * (1 / 2.6) ** (len(names) - 1 - k) for k, name in enumerate(names)}
    return TrainingRecord(
        method="all",
        epochs=epochs(8, names, thaw=17),
        stopped="The validation loss did not become smaller for 2 epochs.",
        rates={**rates, "head": 1e-3},
        range_tests=tuple(range_test(name, 1e-4 * 1.2**k) for k, name in enumerate(names)),
        trained=3_371_008,
        parameters=3_371_008,
        bytes=13_612_204,
        batch=16,
        memory_mb=2310.0,
        items_per_second=21.9,
        interpolation=((0.5, 0.948), (1.0, 0.953)),
        folds=5,
        predicted_seconds=1460.0,
        recipe={"epochs": 8, "unfreeze": 0.5, "depth_decay": 0.385, "patience": 2},
    )


def diverged() -> TrainingRecord:
    """A rate far too high: the loss leaves, and is no number in the third epoch."""
    names = groups(6)
    ran = (
        EpochRecord(0, 0.61, 0.55, 0.88, 0.08, 41.0, drift(names, 0.5)),
        EpochRecord(1, 7.9e4, 3.1e9, 0.17, 0.1, 40.0, dict.fromkeys(names, 12.5)),
        EpochRecord(2, NAN, NAN, NAN, 0.1, 12.0, dict.fromkeys(names, NAN)),
    )
    return TrainingRecord(
        method="all",
        epochs=ran,
        stopped="The loss was nan at step 61 of 100. The weights are those after epoch 1.",
        rates={"body": 0.1, "head": 0.1},
        range_tests=(RangeTest("body", (1e-3, 1e-2), (NAN, math.inf), None, None, None),),
        trained=22_713_216,
        parameters=22_713_216,
        bytes=90_852_864,
        batch=16,
        items_per_second=NAN,
        memory_mb=NAN,
        folds=1,
        retained=(Retained("wiki.txt", "masked-token loss", 2.11, NAN),),
        interpolation=((0.5, NAN), (1.0, NAN)),
        recipe={"rate": 0.1},
    )


def one_epoch() -> TrainingRecord:
    """A single epoch, nothing held out, no drift taken."""
    return TrainingRecord(
        method="contrastive",
        epochs=(EpochRecord(0, 0.417, rate=5e-5, seconds=9.2),),
        rates={"body": 5e-5},
        trained=22_713_216,
        parameters=22_713_216,
        bytes=45_426_432,
        batch=32,
        precision="bf16",
        device="cuda",
        memory_mb=840.0,
        items_per_second=412.0,
        folds=10,
    )


def rung(
    name: str,
    place: int,
    seconds: float,
    score: tuple[float, float, float | None] | None = None,
    training: TrainingRecord | None = None,
) -> StrategyResult:
    """A trained rung; `score` is its accuracy, its gain over the named linear probe, and half of the gain's interval (None: none)."""
    metrics, gain = {}, None
    if score:
        value, over, half = score
        metrics = {"accuracy": Interval(value, value - 0.012, value + 0.012, 15)}
        gain = Interval(over, None if half is None else over - half, None if half is None else over + half, 15)
    return StrategyResult(
        name=name,
        rung=place,
        status="measured" if training else "skipped",
        reason="" if training else "predicted to take 2 h 10 min, more than the 41 min that are left",
        metrics=metrics,
        gain=gain,
        gain_over="named-linear-probe",
        seconds=seconds,
        memory_mb=1800.0 if training else 0.0,
        training=training,
    )


def climbing(sample: Sample) -> Sample:
    """The sample with trained rungs above the frozen ones, of which one is worth it and chosen."""
    encoder = sample.result.strategies[0].encoder
    best = max(s.metrics["accuracy"].value for s in sample.result.strategies if s.metrics)
    rungs = (
        rung(
            "head-only",
            7,
            14.0,
            (best - 0.004, -0.004, 0.003),
            replace(one_epoch(), method="head", precision="f32", device="cpu"),
        ),
        rung(
            "last-blocks", 8, 212.0, (best + 0.006, 0.006, 0.009), replace(gradual(), range_tests=(), interpolation=())
        ),
        rung("contrastive", 9, 95.0, (best + 0.001, 0.001, None), one_epoch()),
        rung("lora", 13, 388.0, (best + 0.021, 0.021, 0.008), good()),
        rung("gradual", 15, 1502.0, (best + 0.018, -0.003, 0.011), gradual()),
        replace(
            rung("finetune", 17, 93.0, None, diverged()), status="stopped", reason="the training diverged in every fold"
        ),
        rung("scratch", 18, 0.0),
    )
    strategies = (*sample.result.strategies, *(replace(s, encoder=encoder) for s in rungs))
    result = replace(
        sample.result,
        strategies=strategies,
        chosen="lora",
        why="lora has the best mean accuracy, and its gain over named-linear-probe keeps its interval above zero.",
    )
    return replace(sample, result=result)


def staying(sample: Sample) -> Sample:
    """The sample with two trained rungs that were not worth it."""
    best = max(s.metrics["accuracy"].value for s in sample.result.strategies if s.metrics)
    rungs = (
        rung("last-blocks", 8, 64.0, (best + 0.002, 0.002, 0.009), replace(good(), measured_on="folds", folds=10)),
        rung("lora", 13, 3720.0, (best - 0.011, -0.013, 0.008), replace(good(), retained=(), range_tests=())),
        rung("finetune", 17, 0.0),
    )
    strategies = (*sample.result.strategies, *(replace(s, encoder="minilm") for s in rungs))
    return replace(sample, result=replace(sample.result, strategies=strategies))


def search(count: int = 40) -> TuneResult:
    """A search over four settings of every kind; a few tries diverged or were given up."""
    rng = np.random.default_rng(5)
    trials = [
        TuneTrial(
            0,
            {"rate": 1e-3, "epochs": 3, "schedule": "cosine", "range_test": False},
            "measured",
            0.902,
            0.885,
            0.919,
            14.0,
        )
    ]
    for number in range(1, count + 1):
        rate, epochs_ = 10 ** float(rng.uniform(-5, -2)), int(rng.integers(1, 10))
        schedule = ("cosine", "linear", "one-cycle")[int(rng.integers(3))]
        settings = {"rate": rate, "epochs": epochs_, "schedule": schedule, "range_test": bool(rng.integers(2))}
        score = 0.93 - 0.03 * (math.log10(rate) + 3.7) ** 2 - 0.004 * abs(epochs_ - 6) + float(rng.normal(0, 0.006))
        if rate > 6e-3:
            trials.append(
                TuneTrial(number, settings, "failed", None, seconds=4.0, reason="The loss was inf at step 12 of 90.")
            )
        elif number % 11 == 0:
            trials.append(
                TuneTrial(
                    number,
                    settings,
                    "pruned",
                    None,
                    seconds=2.0,
                    reason="after the first fold it was far behind the best",
                )
            )
        else:
            trials.append(TuneTrial(number, settings, "measured", score, score - 0.015, score + 0.015, 21.4))
    best = max((t for t in trials if t.score is not None), key=lambda t: t.score or 0.0)
    return TuneResult(
        name="steel_surfaces",
        strategy="lora",
        encoder="efficientnet-lite0",
        data="steel_surfaces.zip, 120 training items",
        method="bayes",
        metric="accuracy",
        trials=tuple(trials),
        best=best.number,
        baseline=0.902,
        gain=Interval((best.score or 0.0) - 0.902, 0.004, 0.047, 5),
        parameters={
            "rate": "1e-5 to 1e-2, logarithmic",
            "epochs": "1 to 9",
            "schedule": "cosine, linear or one-cycle",
            "range_test": "on or off",
        },
        seconds=731.0,
        command="graft tune steel_surfaces.zip --strategy lora --search rate=1e-5..1e-2",
        out="graft-out/steel_surfaces-tune",
        fit="graft fit steel_surfaces.zip --strategies lora --train rate=3e-4,epochs=5,schedule=linear,range_test=True",
    )
