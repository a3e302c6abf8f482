"""T18: a fitted model on a large encoder teaches a small CNN: cross entropy plus KL, at equal steps, with and without more pictures.

The loss is `tensors.objectives.distillation`, with the temperature and weight that `graft pretrain --supervised --teacher MODEL` takes.
Legend: N pictures, C classes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from studies.chart import Axis, Line, line_chart
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

import graft
from graft.data.read import read
from graft.trainers.recipe import Recipe

if TYPE_CHECKING:
    from studies.small_cnn import Pictures

    from graft.data.dataset import Dataset

ALONE, TEACHER = "student alone", "teacher"


@dataclass(frozen=True)
class Arm:
    """A student: pictures a class (None: the labelled ones), how far it listens to the teacher (0: not at all, 1: to nothing else), temperature."""

    shots: int | None = None
    weight: float = 0.0
    temperature: float = 2.0


@dataclass(frozen=True)
class Size:
    """How much is trained on what: `shots` labelled pictures a class, `pools` of more that the teacher answers for; `passes` by a student."""

    data: str = "data:fashion_mnist"
    encoder: str = "efficientnet-lite0"
    side: int = 16
    shots: int = 10
    pools: tuple[int, ...] = (25, 50)
    tested: int = 50
    passes: int = 2500
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def arms(self) -> dict[str, Arm]:
        """Every student by name."""
        found = {
            ALONE: Arm(),
            "labels and teacher": Arm(weight=0.5),
            "labels and teacher, T = 4, weight 0.9": Arm(weight=0.9, temperature=4.0),
            "teacher only": Arm(weight=1.0),
        }
        for shots in self.pools:
            found[f"teacher only, {shots} a class"] = Arm(shots, 1.0)
            found[f"labels, {shots} a class"] = Arm(shots)
        return found


QUICK = Size("data:digits", "pixels:16", shots=5, pools=(10,), tested=10, passes=300, seeds=(0,))


def measure(setting: Setting) -> Numbers:
    from studies.small_cnn import accuracy

    size = QUICK if setting.quick else Size()
    dataset = read(size.data)
    trials: dict[str, list[dict[str, float]]] = {}
    for seed in size.seeds:
        lesson = Lesson(dataset, size, seed)
        found = {TEACHER: lesson.teacher_test, **{name: lesson.taught(arm) for name, arm in size.arms.items()}}
        for name, logits_NC in found.items():
            right = accuracy(logits_NC, lesson.test.y_N)
            agrees = float(np.mean(logits_NC.argmax(axis=1) == lesson.teacher_test.argmax(axis=1)))
            trials.setdefault(name, []).append({"accuracy": right, "agrees": agrees})
    alone = [t["accuracy"] for t in trials[ALONE]]
    rows = {
        name: {
            "accuracy": share_over_seeds([t["accuracy"] for t in found]),
            "gain": over_seeds([t["accuracy"] - base for t, base in zip(found, alone, strict=True)]),
            "agrees": share_over_seeds([t["agrees"] for t in found]),
            "shots": (size.arms[name].shots or size.shots) if name in size.arms else size.shots,
            "by_seed": [t["accuracy"] for t in found],
        }
        for name, found in trials.items()
    }
    facts = {
        "data": size.data,
        "encoder": size.encoder,
        "side": size.side,
        "shots": size.shots,
        "pools": list(size.pools),
    }
    counts = {"classes": len(dataset.classes), "test": len(lesson.test), "passes": size.passes}
    return {**facts, **counts, "seeds": list(size.seeds), "parameters": lesson.parameters, "models": rows}


class Lesson:
    """The pictures of a seed, what its teacher says of them, and the training of a student.

    The pool is the same for all seeds and holds as many pictures of every class, class after class; a seed draws which of them are labelled.
    """

    def __init__(self, dataset: Dataset, size: Size, seed: int) -> None:
        from studies import small_cnn

        self.size, self.seed = size, seed
        self.most = max(size.pools)
        train_of, test = small_cnn.positions(dataset, self.most, size.tested, [0])
        pool, draw = train_of[0], np.random.default_rng(seed)
        self.drawn_CS = np.stack([c * self.most + draw.permutation(self.most) for c in range(len(dataset.classes))])
        some = dataset.take(np.concatenate([pool, test]))
        whole = small_cnn.prepared(some, size.side)
        self.test = whole.take(np.arange(len(pool), len(some)))
        self.pool = whole.take(np.arange(len(pool)))
        log_p_NC = np.log(np.maximum(teacher(some, self.chosen(size.shots), len(pool), size, seed), 1e-6))
        self.teacher_pool, self.teacher_test = log_p_NC[: len(pool)], log_p_NC[len(pool) :]
        self.parameters = 0

    def chosen(self, shots: int) -> Any:
        """Positions in the pool of `shots` pictures of each class, fewer always among more."""
        return self.drawn_CS[:, :shots].reshape(-1)

    def taught(self, arm: Arm) -> Any:
        """Logits (N, C) of the test pictures by a student; all have the same initial weights and number of steps."""
        import torch

        from graft.fitting.schooling import TaughtRows
        from graft.tensors.objectives import distillation
        from studies import small_cnn

        chosen = self.chosen(arm.shots or self.size.shots)
        pictures: Pictures = self.pool.take(chosen)
        said = torch.from_numpy(self.teacher_pool[chosen].astype(np.float32))
        rows = TaughtRows(pictures.rows.rows, pictures.rows.collate, teacher_NC=said)
        model = small_cnn.network(len(self.pool.classes), seed=self.seed, side=self.size.side)
        self.parameters = sum(p.numel() for p in model.parameters())
        objective = distillation(lambda batch: batch["teacher"], temperature=arm.temperature, weight=arm.weight)
        recipe = Recipe(epochs=self.size.passes / len(pictures), batch=10, rate=1e-2)
        small_cnn.learn(
            model,
            small_cnn.Pictures(rows, pictures.y_N, pictures.classes),
            recipe,
            seed=self.seed,
            objective=objective if arm.weight else None,
        )
        return small_cnn.logits(model, self.test)


def teacher(some: Dataset, labelled: Any, n_pool: int, size: Size, seed: int) -> Any:
    """Probabilities (N, C) of all pictures by a model that `graft.fit` made of the labelled ones."""
    with tempfile.TemporaryDirectory() as folder:
        split, out = Path(folder) / "split.json", Path(folder) / "model"
        ids = {"train": [some.ids[i] for i in labelled], "test": [some.ids[i] for i in range(n_pool, len(some))]}
        split.write_text(json.dumps(ids), encoding="utf-8")
        graft.fit(
            size.data,
            encoder=[size.encoder],
            strategies="linear-probe",
            split=split,
            group="none",
            folds=3,
            seed=seed,
            out=out,
        )
        model = graft.load(out)
        p_NC = model.predict_proba(list(some.contents))
        return p_NC[:, [model.classes.index(name) for name in some.classes]]


def present(numbers: Numbers) -> Page:
    rows: Mapping[str, Any] = numbers["models"]
    shots, pools = numbers["shots"], numbers["pools"]
    table = Table(
        f"{numbers['data']}, {shots} labelled pictures of each of {numbers['classes']} classes, {numbers['test']} test pictures, "
        f"{len(numbers['seeds'])} seeds. The teacher is a linear probe that `graft fit` made on {numbers['encoder']}; the student is a CNN of "
        f"{numbers['parameters']:,} weights on {numbers['side']} x {numbers['side']} pixels, trained for {numbers['passes']} pictures in batches "
        "of 10 whatever it learns from. Sizes are small, for a machine of two cores.",
        ("model", "test accuracy", "gain over the student alone (points, paired)", "answers as the teacher does"),
        [
            (
                name,
                percent(row["accuracy"]),
                points(row["gain"]) if name != ALONE else "",
                percent(row["agrees"]) if name != TEACHER else "",
            )
            for name, row in rows.items()
        ],
    )
    same, more = rows["labels and teacher"], rows[f"teacher only, {pools[-1]} a class"]
    labelled, alone, teaches = rows[f"labels, {pools[-1]} a class"], rows[ALONE], rows[TEACHER]
    lines = [
        by_shots("labels", rows, [ALONE, *(f"labels, {n} a class" for n in pools)]),
        by_shots("teacher only", rows, ["teacher only", *(f"teacher only, {n} a class" for n in pools)]),
        by_shots("labels and teacher", rows, ["labels and teacher"]),
        Line(
            f"teacher ({shots} a class)",
            [(float(n), teaches["accuracy"]["value"]) for n in (shots, *pools)],
            dashed=True,
        ),
    ]
    return Page(
        answer=(
            f"Student alone {percent(alone['accuracy'])}, with the teacher on the same pictures {points(same['gain'])} points, with its "
            f"answers to {pools[-1] * numbers['classes']} pictures {points(more['gain'])}; teacher {percent(teaches['accuracy'])}."
        ),
        reading=(
            f"On the pictures that the teacher itself learned from, its answers bring {points(same['gain'])} points at weight 0.5 and temperature 2, "
            f"{points(rows['labels and teacher, T = 4, weight 0.9']['gain'])} at 0.9 and 4, {points(rows['teacher only']['gain'])} in place of the "
            f"labels. Where it answers for {pools[-1]} pictures a class, of which {pools[-1] - shots} have no label, the student gains "
            f"{points(more['gain'])}; with labels for all of them it would gain {points(labelled['gain'])}, at the same number of steps. "
            "Hinton et al. (2015) report for MNIST 146 errors of a small network alone and 74 with a teacher that makes 67, after far longer "
            "training on 60,000 pictures; Beyer et al. (2022) find that what counts is many, varied pictures and patience. Over "
            f"{len(numbers['seeds'])} seeds the intervals are wide. Labels for {pools[-1]} pictures a class tell what can be hoped for at most in "
            f"{numbers['passes'] // 10} steps: where they bring little, the student is short of training rather than of pictures, and what a teacher "
            "is worth on unlabelled ones stays open at this size. "
            "Pruning is left for later."
        ),
        tables=[table],
        figures={
            "accuracy_by_pictures.svg": line_chart(
                "What the student learns from",
                Axis("pictures a class", {float(n): str(n) for n in (shots, *pools)}, log=True),
                Axis("test accuracy", percent=True),
                lines,
            )
        },
    )


def by_shots(name: str, rows: Mapping[str, Any], arms: list[str]) -> Line:
    """Accuracy of some students over their pictures a class."""
    found = [rows[arm] for arm in arms]
    path = [(float(row["shots"]), row["accuracy"]["value"]) for row in found]
    return Line(name, path, [ends(row["accuracy"]) for row in found])


STUDY = Study(
    name="t18_distillation",
    title="T18: distillation",
    question="What does a small network gain from a large teacher's answers, on the same pictures and on pictures without labels?",
    measure=measure,
    present=present,
    expected={
        "models > student alone > accuracy > value": about(0.68, 0.08),
        "models > teacher > accuracy > value": about(0.8, 0.08),
        "models > labels and teacher > gain > value": about(0.0, 0.06),
        "models > teacher only, 50 a class > gain > value": about(0.0, 0.08),
    },
    expected_quick={
        "models > teacher > accuracy > value": about(0.7, 0.3),
        "models > teacher only, 10 a class > agrees > value": (0.1, 1.0),
    },
)

if __name__ == "__main__":
    main(STUDY)
