"""From labelled items to an encoder of one's own: what `graft pretrain` reads, holds out, trains, judges once and writes.

Legend: N items, C classes, D dims.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.data.dataset import Dataset, content_hash
from graft.data.partition import Partition, after_encoding, before_encoding, learnable, narrow
from graft.data.read import check_trainable
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.errors import DataError, ModelError, UsageError
from graft.heads.base import softmax
from graft.metrics.intervals import score_with_intervals
from graft.results import SCHEMA, EncoderSummary, Fault, Interval, TrainingRecord, to_json
from graft.selection.contender import paired_items
from graft.store.cache import VectorCache
from graft.store.files import new_folder, write_json
from graft.strategies.items import Items
from graft.strategies.trained import TRAINED
from graft.trainers.recipe import Recipe, read_settings, to_tree, with_settings

if TYPE_CHECKING:
    from graft.fitting.schooling import Lesson, Schooled

NETWORKS = {"cnn": "image", "bag": "text"}
KINDS = {"text": "texts", "image": "pictures"}
BLANK = {"norm"}  # settings that mean something for pretrained weights alone
UNUSED = {"range_test", "last", "rank", "width", "length", "final", "splits", "pairs", "l2sp", "ewc", "head"}
THUMBNAILS = "pixels:8"  # by which pictures that cannot be read are found before a training begins
COMPARED = 16  # items whose vectors the saved encoder must give again
CLOSE = 1e-4  # of the largest value
LEAST = 1e-6  # probability of a teacher that is told from none


@dataclass(frozen=True)
class PretrainResult:
    """An encoder that was trained on labelled items, and how well it tells them apart with the head that is thrown away.

    `encoder` is opened by its reference; `test` are metrics on `measured` items that were not learned from, None where none were held out. With a
    `teacher` (the model's folder), `teacher_accuracy` is the teacher's on the same items.
    """

    name: str
    data: str
    modality: str
    classes: tuple[str, ...]
    train: int
    measured: int
    split: str
    network: str
    encoder: EncoderSummary
    training: TrainingRecord
    test: Mapping[str, Interval] | None = None
    teacher: str = ""
    teacher_accuracy: Interval | None = None
    faults: tuple[Fault, ...] = ()
    seconds: float = 0.0
    seed: int = 0
    command: str = ""
    out: str = ""
    schema: int = SCHEMA


@dataclass(frozen=True)
class Distilled:
    """What a teacher was worth: accuracies on the same held-out items, and the paired gain of the taught student over the one that was alone."""

    teacher: Interval
    alone: Interval
    taught: Interval
    gain: Interval


@dataclass(frozen=True, eq=False)
class Class:
    """Items to learn from and to be judged on, and the encoder that is to be trained."""

    dataset: Dataset
    partition: Partition
    encoder: Encoder
    recipe: Recipe
    network: str
    seed: int
    items: Items = field(repr=False)

    @property
    def test(self) -> NDArray[np.int64]:
        """Positions of the held-out items; empty where there are none."""
        assert self.partition.test is not None
        return self.partition.test


def recipe_of(network: str | None, train: str) -> Callable[[str], Recipe]:
    """The recipe by modality, checked before anything is read. Raises UsageError for settings that are not known or not used here."""
    given = read_settings(train)
    blank = network is None or network in NETWORKS
    wrong = sorted(given.keys() & (UNUSED | (BLANK if blank else {"kernel", "channels"})))
    problems = [f"{', '.join(wrong)}: not used by this training; leave it out."] if wrong else []
    rung = TRAINED["scratch" if blank else "finetune"]
    try:
        with_settings(rung.recipes["text"], given)
    except UsageError as error:
        problems.append(error.message)
    if problems:
        raise UsageError("--train: " + " ".join(problems))
    return rung.with_given(given).recipe


def enrol(
    dataset: Dataset,
    *,
    network: str | None,
    recipe: Callable[[str], Recipe],
    split: str | Path | None,
    test: float | None,
    seed: int,
) -> Class:
    """Hold out the test part, leave out what cannot be read, and make or open the network.

    Copies of an item are kept on one side. Raises UsageError for a network that is not for these items, DataError where too few are left.
    """
    check_trainable(dataset)
    _check_network(network, dataset)
    made = recipe(dataset.modality)
    if made.changes_items:
        from graft.strategies.regimen import misfits

        if problems := misfits(made, dataset.modality):
            raise UsageError("--train: " + " ".join(problems))
    partition = before_encoding(dataset, split=split, test=test, shots=None, seed=seed)
    dataset, partition = narrow(dataset, partition)
    dataset, partition, groups = _readable(dataset, partition)
    partition = after_encoding(dataset, partition, groups, test=test, shots=None, seed=seed)
    dataset, partition = learnable(dataset, partition)
    if len(dataset.classes) < 2:
        raise DataError(f"{dataset.source}: items of one class only are left to learn from.", faults=dataset.faults)
    encoder, x_ND = _network(network, dataset, partition, made, seed)
    kind = network or encoder.info.reference
    if network in (None, *NETWORKS):
        kind = next(name for name, modality in NETWORKS.items() if modality == dataset.modality)
    items = Items.of(encoder, dataset.contents, x_ND, dataset.classes)
    return Class(dataset, partition, encoder, made, kind, seed, items)


def _check_network(network: str | None, dataset: Dataset) -> None:
    if network in NETWORKS and NETWORKS[network] != dataset.modality:
        right = next(name for name, modality in NETWORKS.items() if modality == dataset.modality)
        raise UsageError(
            f"--network {network} is for {KINDS[NETWORKS[network]]}, and these data are {KINDS[dataset.modality]}: {right} is for them."
        )


def _readable(dataset: Dataset, partition: Partition) -> tuple[Dataset, Partition, NDArray[np.int64]]:
    """The items that can be read, and group codes by which copies stay together."""
    if dataset.modality == "text":
        hashes = [content_hash(str(content).encode()) for content in dataset.contents]
    else:
        with VectorCache.open() as cache:
            seen = encode(dataset.contents, open_encoder(THUMBNAILS), ids=dataset.ids, cache=cache)
        if not len(seen.index):
            raise DataError("No item could be read.", faults=seen.faults)
        dataset = replace(dataset.take(seen.index), faults=(*dataset.faults, *seen.faults))
        partition, hashes = partition.within(seen.index), list(seen.hashes)
        dataset, partition = learnable(dataset, partition)
    _, groups = np.unique(np.array(hashes), return_inverse=True)
    return dataset, partition, groups.astype(np.int64)


def _network(
    network: str | None, dataset: Dataset, partition: Partition, recipe: Recipe, seed: int
) -> tuple[Encoder, NDArray[np.float32]]:
    """A new small network, or the encoder that is named, with its vectors (N, D) of all items (none for a new one)."""
    if network in (None, *NETWORKS):
        from graft.encoders.tuned import new_network

        config: dict[str, Any] = {"seed": seed}
        if dataset.modality == "image":
            config |= {"kernel": recipe.kernel, "width": recipe.channels}
            return new_network("image", config), np.zeros((len(dataset), 1), np.float32)
        texts = [str(dataset.contents[i]) for i in partition.train]
        return new_network("text", config, texts), np.zeros((len(dataset), 1), np.float32)
    assert network is not None
    encoder = open_encoder(network, modality=dataset.modality)
    if encoder.info.modality != dataset.modality:
        raise UsageError(
            f"--network {network} takes {KINDS.get(encoder.info.modality, encoder.info.modality)}, and these data are {KINDS[dataset.modality]}."
        )
    with VectorCache.open() as cache:
        done = encode(dataset.contents, encoder, ids=dataset.ids, cache=cache)
    if done.faults:
        raise DataError(f"{len(done.faults)} items cannot be read.", faults=done.faults)
    return encoder, done.vectors


@dataclass(frozen=True, eq=False)
class Teacher:
    """A fitted model and its probabilities (N, C) of all items, columns in the order of the student's classes."""

    path: str
    fingerprint: str
    p_NC: NDArray[np.float64] = field(repr=False)


def ask(path: str | Path, here: Class) -> Teacher:
    """What the fitted model at `path` says of all items.

    Raises UsageError where it reads other things than these items or does not know a class of theirs; as `load` does, where there is no model.
    """
    from graft.opened import load

    model, dataset = load(path), here.dataset
    if model.modality != dataset.modality:
        raise UsageError(
            f"--teacher {path} reads {KINDS.get(model.modality, model.modality)}, and these data are {KINDS[dataset.modality]}."
        )
    if missing := [name for name in dataset.classes if name not in model.classes]:
        raise UsageError(
            f"--teacher {path} does not know {', '.join(map(repr, missing[:5]))}{' and others' * (len(missing) > 5)}: "
            "it must have been fitted on the classes of these data."
        )
    p_NC = model.predict_proba(list(dataset.contents))[:, [model.classes.index(name) for name in dataset.classes]]
    p_NC = np.maximum(p_NC, LEAST)
    return Teacher(str(path), model.manifest.encoder.fingerprint, p_NC / p_NC.sum(axis=1, keepdims=True))


def taught(here: Class, teacher: Teacher | None) -> Schooled:
    """Train, with checkpoints in the cache, which are removed once it is through."""
    from graft.fitting.schooling import school

    train, labels = here.partition.train, here.dataset.labels
    log_p_NC = None if teacher is None else np.log(teacher.p_NC).astype(np.float32)
    about = f"{here.encoder.info.fingerprint} {sorted(to_tree(here.recipe).items())} {here.seed} {sorted(map(str, here.dataset.ids))}"
    key = hashlib.blake2b(about.encode() + labels[train].tobytes() + train.tobytes(), digest_size=16)
    if log_p_NC is not None:
        key.update(log_p_NC.tobytes())
    folder = settings.cache_dir() / "training" / key.hexdigest()
    checkpoint = folder / "pretrain.safetensors"
    lesson = _lesson(here, log_p_NC)
    done = school(replace(lesson, checkpoint=checkpoint, key=key.hexdigest()))
    shutil.rmtree(folder, ignore_errors=True)
    return done


def _lesson(here: Class, log_p_NC: NDArray[np.float32] | None) -> Lesson:
    from graft.fitting.schooling import Lesson

    train = here.partition.train
    return Lesson(
        here.items[train], here.dataset.labels[train], len(here.dataset.classes), here.recipe, here.seed, log_p_NC
    )


def judged(here: Class, done: Schooled) -> Mapping[str, Interval] | None:
    """Metrics of network and head on the held-out items, None without any."""
    if not len(here.test):
        return None
    p_NC = softmax(done.logits(here.items[here.test]))
    return score_with_intervals(here.dataset.labels[here.test], p_NC, seed=here.seed)


def publish(
    here: Class, done: Schooled, teacher: Teacher | None, *, folder: Path, command: str, started: float
) -> PretrainResult:
    """Judge once, write the encoder, read it back and compare, and `result.json` last; all of it or nothing.

    Raises ModelError where the encoder that was read back gives other vectors.
    """
    from graft.encoders.tuned import save_encoder

    dataset, test = here.dataset, here.test
    info = done.encoder.info
    summary = EncoderSummary(f"dir:{folder}", info.fingerprint, info.space, info.dim, info.modality)
    accuracy = None
    if teacher is not None and len(test):
        accuracy = score_with_intervals(dataset.labels[test], teacher.p_NC[test], seed=here.seed)["accuracy"]
    result = PretrainResult(
        name=dataset.name,
        data=dataset.source,
        modality=dataset.modality,
        classes=dataset.classes,
        train=len(here.partition.train),
        measured=len(test),
        split=here.partition.how,
        network=here.network,
        encoder=summary,
        training=done.record,
        test=judged(here, done),
        teacher=teacher.path if teacher else "",
        teacher_accuracy=accuracy,
        faults=dataset.faults,
        seed=here.seed,
        command=command,
        out=str(folder),
    )
    if not settings.leads():
        return result
    with new_folder(folder) as draft:
        save_encoder(draft, done.encoder)
        _compare(draft, here, done)
        result = replace(result, seconds=time.perf_counter() - started)
        write_json(draft / "result.json", to_json(result))
    return result


def _compare(folder: Path, here: Class, done: Schooled) -> None:
    """Raise ModelError unless the encoder in `folder` gives the vectors that were trained."""
    import torch

    from graft.encoders.tuned import open_tuned

    some = here.items[np.arange(min(len(here.dataset), COMPARED))]
    again = open_tuned(folder, here.dataset.modality)
    batch = some.rows().batch(range(len(some)))
    with torch.inference_mode():
        raw = again.module()(**batch)
    saved_ND = again.finish(raw.numpy(), {name: tensor.numpy() for name, tensor in batch.items()})
    trained_ND = done.vectors(some)
    worst = float(np.abs(saved_ND - trained_ND).max() / max(float(np.abs(trained_ND).max()), 1e-9))
    if not worst <= CLOSE:
        raise ModelError(
            f"The saved encoder's vectors differ from the trained one's by {worst:.2g} of the largest value "
            f"(at most {CLOSE:g} is allowed); nothing was kept."
        )


def with_and_without(here: Class, teacher: Teacher) -> Distilled:
    """The same student, with the same seed, trained with the teacher and alone. Raises UsageError where no item was held out."""
    if not len(here.test):
        raise UsageError("What a teacher is worth is told on held-out items, and none were held out.")
    y_N = here.dataset.labels[here.test]
    logits = [taught(here, who).logits(here.items[here.test]) for who in (None, teacher)]
    alone, student = (score_with_intervals(y_N, softmax(each), seed=here.seed)["accuracy"] for each in logits)
    return Distilled(
        score_with_intervals(y_N, teacher.p_NC[here.test], seed=here.seed)["accuracy"],
        alone,
        student,
        paired_items(logits[1].astype(np.float32), logits[0].astype(np.float32), y_N, "accuracy"),
    )
