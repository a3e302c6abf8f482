"""What strategies cost on this machine before any is run: roughly, from measured rates.

Seconds are those in which `graft fit` has measured a strategy on its folds and, where it trains, trained it on all items: of frozen
strategies scaled from one fold of the probe, of trained rungs from the seconds in which this machine encodes one of the items and the measured cost of
a training step in such encodings. Good to a factor of two at the 80 to 2,000 items they were measured on; of frozen strategies far too high beyond
(10,000 items of 384 dims: prototypes 11, regression 9, zero-shot 60 times). Memory is the peak known of the bundled encoders at the default batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graft import settings
from graft.encoders.runtime import find_device
from graft.strategies.trained import TRAINED

MOST_SPLITS = 5  # folds a trained rung is measured on
# Seconds of one fold over those of the kernel probe's default on 100 items, by processor time at 80 to 2,000 items; those of regressions grow slower.
FOLD = {
    "zero-shot": 0.4,
    "prototypes": 1.6,
    "named-prototypes": 4.5,
    "neighbours": 0.5,
    "kernel-probe": 1.7,
    "linear-probe": 8.0,
    "named-linear-probe": 15.0,
}  # fmt: skip
REGRESSIONS = ("linear-probe", "named-linear-probe")
KERNEL_FOLD = 0.006  # seconds of the kernel probe on 100 items of 1,280 dims, one 2.8 GHz Xeon thread
GROWTH, REGRESSION_GROWTH = 1.5, 1.2
# A training step on one item, in encodings of one (bench/results/train.json and few_labels.json); on pictures of which the lower layers' output is kept.
STEP = {
    ("last-blocks", "text"): 1.8, ("contrastive", "text"): 7.0, ("lora", "text"): 4.5, ("finetune", "text"): 6.0,
    ("last-blocks", "image"): 2.5, ("lora", "image"): 10.0, ("finetune", "image"): 10.0,
}  # fmt: skip
PLAIN = 2.0  # a forward pass of the body in training's own number format, in encodings
# Peak of the process in MiB with the bundled encoders (the same files); NEU and CIFAR-10 at 20 a class for pictures.
PEAK = {
    ("last-blocks", "text"): 740.0, ("contrastive", "text"): 1200.0, ("lora", "text"): 910.0, ("finetune", "text"): 1380.0,
    ("last-blocks", "image"): 1850.0, ("lora", "image"): 2110.0, ("finetune", "image"): 2900.0,
}  # fmt: skip
BASE = 350.0  # of a process that only learns heads
BUNDLED_PARAMETERS = {"text": 22_713_216, "image": 4_652_008}
PACE = {
    "text": 0.010,
    "image": 0.014,
}  # seconds an item on one thread of docs/benchmarks.md's machine, where none could be timed
UNASKED = 600.0  # seconds that `fit` gives to rungs that train where no budget is named


@dataclass(frozen=True)
class Machine:
    """What is here to compute with: `memory_mb` is what is free, None where the system does not say; `device` cpu, cuda or mps."""

    processor: str
    threads: int
    memory_mb: float | None
    device: str


@dataclass(frozen=True)
class Load:
    """What there is to do: labelled `items` of `classes`, vectors of `dims`, seconds to encode one (`pace`), the `kernel` probe's seconds for one fold on
    `kernel_items` items (0: not timed), and the encoder's `parameters` (None: as the bundled one's)."""

    modality: str
    items: int
    classes: int
    labels: float
    dims: int
    pace: float
    kernel: float = 0.0
    kernel_items: float = 100.0
    parameters: int | None = None


@dataclass(frozen=True)
class Cost:
    """Seconds until a model, and MiB of memory at the peak."""

    seconds: float
    memory_mb: float


def machine() -> Machine:
    """This one."""
    free = settings.free_memory()
    return Machine(
        settings.processor(), settings.threads(), None if free is None else free / 2**20, find_device(settings.device())
    )


def cost(name: str, load: Load) -> Cost:
    """Of one strategy, frozen or trained."""
    n_folds = max(2, min(10, int(load.labels))) if load.items <= 1000 else 5
    if name in FOLD:
        repeats = max(1, min(2, 1000 // max(1, load.items)))
        return Cost(_fold(name, load) * n_folds * repeats, BASE + _arrays(name, load))
    runs = 0.8 * min(MOST_SPLITS, n_folds) + 1
    shares = 1 + len(TRAINED[name].shares)
    item = load.pace * (passes(name, load) * STEP[name, load.modality] * runs + PLAIN * (shares + 1))
    scale = (load.parameters or BUNDLED_PARAMETERS[load.modality]) / BUNDLED_PARAMETERS[load.modality]
    return Cost(item * load.items, BASE + (PEAK[name, load.modality] - BASE) * max(1.0, scale))


def passes(name: str, load: Load) -> float:
    """How often a training runs through each item."""
    rung = TRAINED[name]
    recipe = rung.recipe(load.modality)
    if rung.method != "contrastive":
        return float(recipe.epochs or 1)
    from graft.strategies.contrast import contrast_steps, suited

    recipe = suited(recipe, load.items, load.classes)
    return contrast_steps(recipe, load.items, load.classes) * recipe.batch / max(1, load.items)


def _fold(name: str, load: Load) -> float:
    """Seconds of one fold of a frozen strategy."""
    kernel = load.kernel or KERNEL_FOLD * max(0.3, load.dims / 1280)
    known = load.kernel_items if load.kernel else 100.0
    hundred = kernel * (100.0 / known) ** GROWTH if known > 100 else kernel
    growth = REGRESSION_GROWTH if name in REGRESSIONS else GROWTH
    classes = max(1.0, load.classes / 10) ** 0.5
    return float(hundred * FOLD[name] * max(1.0, load.items / 100) ** growth * classes)


def _arrays(name: str, load: Load) -> float:
    """MiB of a frozen strategy's arrays: vectors in f32 with a copy, and the kernel matrix."""
    square = 2 * min(load.items, 12_000) ** 2 * 4 if name == "kernel-probe" else 0
    return float((3 * load.items * load.dims * 4 + square) / 2**20)


def larger(load: Load, times: float) -> Load:
    """The same with so many times the labels."""
    return replace(load, items=round(load.items * times), labels=load.labels * times)
