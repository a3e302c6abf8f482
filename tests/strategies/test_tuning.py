"""What a training starts from and ends in: the probe, a tuned encoder with a plain head, the same bits for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.strategies.conftest import Lesson, vectors

from graft import settings
from graft.encoders.tuned import TunedEncoder, new_network
from graft.errors import ModelError, UsageError
from graft.strategies.frozen import Task
from graft.strategies.items import Items
from graft.strategies.regimen import order
from graft.strategies.trained import TRAINED, Trained
from graft.strategies.tuning import FREE, Job, Outcome, fitted_probe, souped, tune
from graft.trainers.recipe import with_settings
from graft.trainers.stepping import Stepper

Lessons = Callable[[str], Lesson]

SURE = {"epochs": 1, "batch": 8, "range_test": False}
WHOLE = ("head-only", "gradual", "discriminative", "finetune", "scratch")
AS_PROBE = [name for name in TRAINED if name not in ("prompt", "prefix", "scratch", "contrastive")]


def job(rung: Trained, lesson: Lesson, given: dict[str, Any] | None = None, **more: Any) -> Job:
    recipe = rung.recipe(lesson.items.encoder.info.modality)
    few = {"pairs": 60} if rung.method == "contrastive" else {}
    return Job(with_settings(recipe, SURE | few | (given or {})), **more)


def tuned(name: str, lesson: Lesson, given: dict[str, Any] | None = None, **more: Any) -> Outcome:
    rung = TRAINED[name]
    return tune(rung, lesson.items, lesson.y_N, lesson.task, job(rung, lesson, given, **more))


def close(one: Any, other: Any, tolerance: float) -> bool:
    return bool(np.abs(one - other).max() <= tolerance * max(1.0, float(np.abs(other).max())))


def check(name: str, lesson: Lesson) -> None:
    """That a rung starts as the probe, learns, and ends in an encoder and a head that answer as the network does."""
    outcome, items = tuned(name, lesson), lesson.items
    probe = fitted_probe(TRAINED[name].probe, items.x_ND, lesson.y_N, lesson.task)
    if name in AS_PROBE:
        assert close(outcome.head(0.0).logits(items), probe.logits(items.x_ND), 1e-3)
        assert close(outcome.vectors(items, 0.0), items.x_ND, 1e-4)
    learned = outcome.head(1.0).logits(items)
    assert np.isfinite(learned).all() and learned.shape == (24, 3)
    assert np.abs(learned - outcome.head(0.0).logits(items)).max() > 1e-5
    encoder = outcome.encoder(1.0)
    if name == "head-only":
        assert encoder is None
        np.testing.assert_array_equal(outcome.vectors(items, 1.0), items.x_ND)
    else:
        assert isinstance(encoder, TunedEncoder) and encoder.info.fingerprint != items.encoder.info.fingerprint
        own_ND = vectors(encoder, list(items.store.contents))
        assert close(own_ND, outcome.vectors(items, 1.0), 1e-4)
        assert close(outcome.plain_head(1.0).logits(own_ND), learned, 1e-3)
        assert not close(own_ND, outcome.vectors(items, 0.0), 1e-5)
        half = outcome.encoder(0.5)
        assert isinstance(half, TunedEncoder)
        assert close(vectors(half, list(items.store.contents)), outcome.vectors(items, 0.5), 1e-4)
        assert close(outcome.vectors(items, 1.0), own_ND, 1e-4)  # the way there and back changes nothing
    record = outcome.record
    assert record.method == name and record.stopped == "" and len(record.epochs) == 1
    assert 0 < record.trained < record.parameters or name in WHOLE
    assert record.trained <= record.parameters and record.bytes == 4 * record.trained
    assert record.items_per_second > 0 and np.isfinite(record.epochs[0].loss)


@pytest.mark.parametrize("name", [name for name in TRAINED if name not in ("gradual", "discriminative")])
def test_texts(name: str, lesson: Lessons) -> None:
    check(name, lesson("sentence-transformer"))


@pytest.mark.parametrize("name", ["last-blocks", "contrastive", "lora", "scratch"])
def test_pictures(name: str, lesson: Lessons) -> None:
    check(name, lesson("convnext"))


@pytest.mark.parametrize("name", ["finetune", "contrastive", "lora"])
def test_the_same_seed_gives_the_same_bits(name: str, lesson: Lessons) -> None:
    given = {"dropout": 0.2}
    first, again, other = (tuned(name, lesson("sentence-transformer"), given, seed=seed) for seed in (5, 5, 6))
    for key, value in first.after.items():
        assert torch.equal(value, again.after[key]), key
    assert any(not torch.equal(value, other.after[key]) for key, value in first.after.items())
    items = lesson("sentence-transformer").items
    np.testing.assert_array_equal(first.head(1.0).logits(items), again.head(1.0).logits(items))


def test_killed_in_the_middle_it_goes_on_to_the_same_bits(
    lesson: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the first of two epochs; another key, as of other data, starts anew."""
    whole = tuned("last-blocks", lesson("sentence-transformer"), {"epochs": 2})
    kept = {"checkpoint": tmp_path / "c.safetensors", "key": "this"}
    steps = 0

    def stop(stage: str, done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if stage == "train" and done >= 5 and total == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(settings, "progress", stop)
        patched.setattr("graft.trainers.loop.TELL", 0.0)
        patched.setattr("graft.trainers.checkpoints.WORTH", 0)  # so short an epoch would not be worth a checkpoint
        with pytest.raises(KeyboardInterrupt):
            tuned("last-blocks", lesson("sentence-transformer"), {"epochs": 2}, **kept)
    assert (tmp_path / "c.safetensors").exists()
    again = tuned("last-blocks", lesson("sentence-transformer"), {"epochs": 2}, **kept)
    assert len(again.record.epochs) == 2
    for key, value in whole.after.items():
        assert torch.equal(value, again.after[key]), key
    for key, value in whole.before.items():
        assert torch.equal(value, again.before[key]), key
    other = tuned("last-blocks", lesson("sentence-transformer"), {"epochs": 2}, **(kept | {"key": "that"}))
    assert all(torch.equal(value, other.after[key]) for key, value in whole.after.items())
    assert any("start" in note or "anew" in note for note in other.record.notes)


WILD = {"rate": 100, "head_rate": 100, "epochs": 3, "batch": 4, "clip": 0, "optimiser": "sgd", "momentum": 1}


@pytest.mark.parametrize(
    ("name", "told"), [("last-blocks", True), ("finetune", True), ("finetune", False), ("contrastive", False)]
)
def test_a_rate_that_is_far_too_high_neither_crashes_nor_spoils_the_answers(
    name: str, told: bool, lesson: Lessons
) -> None:
    taught = lesson("resnet")
    outcome = tuned(name, taught, WILD, held=(taught.items, taught.y_N) if told else None)
    assert np.isfinite(outcome.head(1.0).logits(taught.items)).all()
    assert np.isfinite(outcome.vectors(taught.items, 1.0)).all()
    if name == "finetune":
        assert "oss was" in outcome.record.stopped and "The weights are those" in outcome.record.stopped


def test_body_and_head_at_rates_of_their_own(lesson: Lessons) -> None:
    def moved(given: dict[str, Any]) -> dict[str, float]:
        outcome = tuned("finetune", lesson("sentence-transformer"), given)
        return {name: float((outcome.after[name] - value).abs().max()) for name, value in outcome.before.items()}

    still = moved({"head_rate": 0, "rate": 1e-3})
    assert still["head.coef"] == 0 and max(still.values()) > 0
    body = moved({"rate": 0, "head_rate": 1e-3})
    assert body["head.coef"] > 0 and max(v for name, v in body.items() if name.startswith("body.")) == 0
    top = moved({"rate": 1e-3, "depth_decay": 0})
    layers = {name for name, value in top.items() if name.startswith("body.") and value > 0}
    assert layers and all("layer.1." in name for name in layers)


def test_rates_fall_with_depth_and_blocks_are_unfrozen_from_the_top(lesson: Lessons) -> None:
    outcome = tuned("gradual", lesson("sentence-transformer"), {"depth_decay": 0.5, "unfreeze": 0.5, "rate": 1e-3})
    groups = {group.name: group for group in outcome.course.rates(outcome.course.recipe).groups}
    assert list(groups) == ["stem", "block 0", "block 1", "head"]
    assert [groups[name].rate for name in groups] == pytest.approx([2.5e-4, 5e-4, 1e-3, 1e-3])
    assert [groups[name].first_epoch for name in groups] == [1.0, 0.5, 0.0, 0.0]
    assert outcome.record.rates == {name: group.rate for name, group in groups.items()}
    moved = {name: float((outcome.after[name] - value).abs().max()) for name, value in outcome.before.items()}
    assert max(value for name, value in moved.items() if "embeddings" in name) == 0  # its turn never came
    assert max(value for name, value in moved.items() if "layer.0" in name) > 0


def test_classes_that_are_not_there_get_low_logits_and_are_not_told_of(lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    two = np.flatnonzero(taught.y_N != 1)
    third = np.flatnonzero(taught.y_N == 1)
    rung = TRAINED["last-blocks"]
    held = (taught.items[third], taught.y_N[third])
    outcome = tune(rung, taught.items[two], taught.y_N[two], taught.task, job(rung, taught, held=held))
    logits = outcome.head(1.0).logits(taught.items)
    assert logits.shape == (24, 3) and np.isfinite(logits).all()
    assert set(logits.argmax(axis=1)) <= {0, 2}
    assert outcome.record.epochs[0].validation_loss is None  # of an item whose class is not known nothing can be told
    held = (taught.items, taught.y_N)
    told = tune(rung, taught.items[two], taught.y_N[two], taught.task, job(rung, taught, held=held)).record.epochs[0]
    assert told.validation_loss is not None and told.score is not None
    right = outcome.head(1.0).logits(taught.items[two]).argmax(axis=1) == taught.y_N[two]
    assert told.score == pytest.approx(right.mean())


def test_patience_stops_by_items_taken_from_the_training_alone(lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    given = {"patience": 1, "validation": 0.25, "epochs": 3}
    outcome = tuned("last-blocks", taught, given, held=(taught.items, taught.y_N))
    assert len(outcome.items) == 18 and sorted(np.bincount(outcome.y_N)) == [6, 6, 6]
    assert all(epoch.validation_loss is not None for epoch in outcome.record.epochs)
    few = Lesson(taught.items[np.arange(4)], np.array([0, 0, 0, 1]), taught.task)
    assert len(tuned("last-blocks", few, given).items) == 4  # a class of one cannot be divided


@pytest.mark.parametrize("name", ["last-blocks", "contrastive"])
def test_patience_without_items_of_its_own_neither_stops_by_others_nor_wastes_any(name: str, lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    lone = Lesson(taught.items, np.where(np.arange(24) == 0, 2, np.arange(24) % 2), taught.task)
    one = lone if name == "last-blocks" else taught
    worse = (taught.items, (one.y_N + 1) % 2)  # the better it learns, the larger the loss on these
    given = {"epochs": 6, "rate": 1e-2, "head_rate": 1e-1}
    patient, plain = (tuned(name, one, given | {"patience": n}, held=worse) for n in (1, 0))
    assert len(patient.items) == 24 and patient.record.stopped == ""
    assert all(torch.equal(value, patient.after[key]) for key, value in plain.after.items())
    assert any("patience had no part" in note for note in patient.record.notes) and not plain.record.notes


def test_a_range_test_may_move_the_rate_by_a_bounded_factor_and_nothing_else(
    lesson: Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft.strategies.tuning.RANGE_STEPS", 12)
    plain = tuned("finetune", lesson("sentence-transformer"))
    tested = tuned("finetune", lesson("sentence-transformer"), {"range_test": True})
    for key, value in plain.before.items():
        assert torch.equal(value, tested.before[key]), key
    assert tested.record.range_tests and not plain.record.range_tests
    rate = TRAINED["finetune"].recipe("text").rate or 0.0
    assert rate / FREE <= tested.record.rates["block 1"] <= rate * FREE
    whole = next(test for test in tested.record.range_tests if test.group == "all")
    assert whole.suggestion is not None
    assert tested.record.rates["block 1"] == pytest.approx(np.clip(whole.suggestion, rate / FREE, rate * FREE))


@pytest.mark.parametrize(("steps", "apart"), [(10, False), (49, False), (50, True)])
def test_a_range_test_unasked_costs_a_tenth_of_the_training_at_most(
    steps: int, apart: bool, lesson: Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the groups apart only where that, too, costs no more: of four groups there are five tests."""
    asked: list[bool] = []
    monkeypatch.setattr("graft.strategies.tuning.RANGE_STEPS", 1)

    def tested(*_: Any, **options: Any) -> tuple[()]:
        asked.append(options["apart"])
        return ()

    monkeypatch.setattr("graft.trainers.range_test.range_test", tested)
    tuned("finetune", lesson("sentence-transformer"), {"range_test": None, "batch": 24, "epochs": steps})
    assert asked == [apart]


def test_what_holds_the_weights_where_they_were(lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    free = tuned("finetune", taught, {"rate": 1e-3, "epochs": 3})
    held = tuned("finetune", taught, {"rate": 1e-3, "epochs": 3, "l2sp": 1e4})
    assert sum(held.record.epochs[-1].drift.values()) < 0.5 * sum(free.record.epochs[-1].drift.values())
    with pytest.raises(UsageError, match="--retain"):
        tuned("finetune", taught, {"ewc": 1})
    other = (taught.items, taught.y_N)
    tied = tuned("finetune", taught, {"rate": 1e-3, "epochs": 3, "ewc": 1e6}, retained=other)
    assert sum(tied.record.epochs[-1].drift.values()) < sum(free.record.epochs[-1].drift.values())
    (kept,) = tied.record.retained
    assert 0 <= kept.after <= 1 and 0 <= kept.before <= 1


@pytest.mark.parametrize("name", ["lora", "head-only"])
def test_what_holds_no_weight_that_is_trained_is_said(name: str, lesson: Lessons) -> None:
    held = tuned(name, lesson("sentence-transformer"), {"l2sp": 1.0})
    assert any("l2sp and ewc had no part" in note for note in held.record.notes)


@pytest.mark.parametrize("epochs", [1, 2, 2.5, 4])
def test_a_curriculum_ends_with_all_items(epochs: float, lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    recipe = with_settings(TRAINED["finetune"].recipe("text"), {"epochs": epochs, "order": "easy-by-loss"})
    found = order(recipe, taught.items, taught.y_N, 0)
    assert found is not None
    last = math.ceil(epochs) - 1
    assert [len(set(found(epoch).tolist())) == 24 for epoch in range(last + 1)] == [False] * last + [True]


def test_batch_norm_keeps_its_statistics_unless_they_are_to_be_trained(lesson: Lessons) -> None:
    taught = lesson("resnet")
    frozen = tuned("finetune", taught, {"rate": 1e-3})
    for name, buffer in frozen.course.body.named_buffers():  # type: ignore[union-attr]
        assert torch.equal(buffer, frozen.course.original[name]), name
    moved = tuned("finetune", taught, {"rate": 1e-3, "norm": "train"})
    changed = [
        name
        for name, buffer in moved.course.body.named_buffers()  # type: ignore[union-attr]
        if not torch.equal(buffer, moved.course.original[name])
    ]
    assert any("running_mean" in name for name in changed)
    probe = fitted_probe(TRAINED["finetune"].probe, taught.items.x_ND, taught.y_N, taught.task)
    assert close(moved.head(0.0).logits(taught.items), probe.logits(taught.items.x_ND), 1e-3)
    encoder = moved.encoder(1.0)
    assert isinstance(encoder, TunedEncoder)
    assert close(vectors(encoder, list(taught.items.store.contents)), moved.vectors(taught.items, 1.0), 1e-4)


def test_a_soup_is_the_mean_of_the_weights_with_a_head_of_its_own(lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    made = [tuned("last-blocks", taught, {"rate": 1e-3}, seed=seed) for seed in (1, 2)]
    rung = TRAINED["last-blocks"]
    soup = souped(rung, taught.items, taught.y_N, taught.task, job(rung, taught), [m.after for m in made])
    for name, value in soup.after.items():
        if name.startswith("body."):
            assert torch.allclose(value, (made[0].after[name] + made[1].after[name]) / 2, atol=1e-6)
    vectors_ND = soup.vectors(taught.items, 1.0)
    expected = fitted_probe(rung.probe, vectors_ND, taught.y_N, taught.task).logits(vectors_ND)
    np.testing.assert_allclose(soup.head(1.0).logits(taught.items), expected, atol=1e-4)
    assert "2 trainings" in soup.record.notes[0]


def test_a_body_without_layers_that_lora_takes(lesson: Lessons) -> None:
    pictures = lesson("convnext").items
    encoder = new_network("image", {"width": 4, "side": 28})
    x_ND = vectors(encoder, list(pictures.store.contents))
    taught = Lesson(Items.of(encoder, pictures.store.contents, x_ND), np.arange(24) % 3, lesson("convnext").task)
    with pytest.raises(ModelError, match=r"LoRA|lora"):
        tuned("lora", taught)
    assert tuned("finetune", taught).record.stopped == ""


def test_settings_that_these_items_do_not_allow(lesson: Lessons) -> None:
    with pytest.raises(UsageError, match="pictures"):
        tuned("finetune", lesson("sentence-transformer"), {"mixup": 0.2})
    for augment in ("blot", "crop+blot"):
        with pytest.raises(UsageError, match="blot"):
            tuned("finetune", lesson("convnext"), {"augment": augment})
        with pytest.raises(UsageError, match=r"blot|crop"):
            tuned("finetune", lesson("sentence-transformer"), {"augment": augment})


def test_from_scratch_the_head_starts_as_the_probe_of_the_untrained_network(lesson: Lessons) -> None:
    taught = lesson("convnext")
    named = TRAINED["scratch"].with_given({}, ("named-linear-probe", {"c": 10.0, "name_weight": 6.0}))
    assert named.probe == ("linear-probe", {"c": 10.0})  # names lie in the encoder's space
    outcome = tune(named, taught.items, taught.y_N, taught.task, job(named, taught))
    x_ND = outcome.vectors(taught.items, 0.0)
    probe = fitted_probe(named.probe, x_ND, taught.y_N, taught.task)
    assert x_ND.shape[1] != taught.items.x_ND.shape[1]
    assert close(outcome.head(0.0).logits(taught.items), probe.logits(x_ND), 1e-3)
    zero, random = (tuned("scratch", taught, {"start": start}) for start in ("zero", "random"))
    assert not zero.head(0.0).logits(taught.items).any()
    assert not close(random.head(0.0).logits(taught.items), probe.logits(x_ND), 0.1)


@pytest.mark.parametrize("name", ["convnext", "sentence-transformer"])
def test_from_scratch_dropout_hides_a_part_of_the_vectors_while_training(name: str, lesson: Lessons) -> None:
    taught = lesson(name)
    plain, other, again = (tuned("scratch", taught, {"dropout": p}) for p in (0.0, 0.5, 0.5))
    for key, value in other.after.items():
        assert torch.equal(value, again.after[key]), key
    assert torch.equal(plain.before["head.coef"], other.before["head.coef"])
    assert not torch.equal(plain.after["head.coef"], other.after["head.coef"])


def test_typos_are_others_in_each_epoch_and_the_same_by_seed(lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    given = {"augment": "typos+swap", "epochs": 2}
    first, again, plain = (
        tuned("last-blocks", taught, g, seed=4) for g in (given, given, {**given, "augment": "swap"})
    )
    for key, value in first.after.items():
        assert torch.equal(value, again.after[key]), key
    assert any(not torch.equal(value, plain.after[key]) for key, value in first.after.items())
    way = tuned("finetune", taught, {"augment": "typos"}).course

    def tokens(seed: int, epoch: int) -> list[list[int]]:
        """Of each item in its place, without padding."""
        feed = way.feed(taught.items, np.arange(24), seed)
        found = {}
        for batch in feed.epoch(epoch, 6):
            for row, mask, place in zip(batch["input_ids"], batch["attention_mask"], batch["targets"], strict=True):
                found[int(place)] = row[mask.bool()].tolist()
        return [found[place] for place in range(24)]

    usual = [row.tolist() for row in (taught.items.rows().rows[place] for place in range(24))]
    assert tokens(0, 1) == tokens(0, 1)
    for one, other in ((tokens(0, 0), tokens(0, 1)), (tokens(0, 0), tokens(1, 0)), (tokens(0, 0), usual)):
        assert sum(a != b for a, b in zip(one, other, strict=True)) >= 3
    assert any(a == b for a, b in zip(tokens(0, 0), usual, strict=True))


@pytest.mark.parametrize(
    "given",
    [
        {"mixup": 0.4, "cutmix": 1.0, "augment": "auto", "label_smoothing": 0.1},
        {"augment": "crop"},
        {"order": "easy-by-loss"},
        {"order": "hard-by-centre", "ema": 0.9},
        {"start": "zero"},
        {"start": "random", "accumulate": 2},
    ],
    ids=lambda given: "+".join(given),
)
def test_recipes_go_through(given: dict[str, Any], lesson: Lessons) -> None:
    outcome = tuned("last-blocks", lesson("convnext"), given)
    assert outcome.record.stopped == "" and np.isfinite(outcome.record.epochs[0].loss)
    assert all(outcome.record.recipe[name] == value for name, value in given.items())
    assert any("augmented" in note for note in outcome.record.notes) == ("augment" in given)


def test_classes_of_different_size_are_weighed_as_the_probe_weighs_them(lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    y_N = np.array([0] * 18 + [1] * 6)
    rung = replace(TRAINED["last-blocks"], probe=("linear-probe", {"c": 1.0, "balanced": True}))
    even = tune(TRAINED["last-blocks"], taught.items, y_N, taught.task, job(rung, taught, {"head_rate": 0.1}))
    weighed = tune(rung, taught.items, y_N, taught.task, job(rung, taught, {"head_rate": 0.1}))
    guesses = [outcome.head(1.0).logits(taught.items).argmax(axis=1) for outcome in (even, weighed)]
    assert (guesses[1] == 1).sum() > (guesses[0] == 1).sum()


def test_contrastive_tuning_says_that_it_takes_items_as_they_are(lesson: Lessons) -> None:
    asked = tuned("contrastive", lesson("text"), {"augment": "typos"})
    assert any("augment" in note for note in asked.record.notes)
    assert not any("augment" in note for note in tuned("contrastive", lesson("text")).record.notes)


@pytest.mark.parametrize(("epochs", "passes"), [(0.5, 0.5), (1, 1), (3, 3)])
def test_contrastive_tuning_takes_as_many_rounds_as_it_has_epochs(
    epochs: float, passes: float, lesson: Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch whole, with the names of the classes beside the items; and a rehearsal foretells all rounds, not only its own."""
    taught = lesson("sentence-transformer")
    met: list[list[int]] = []
    pieces = Stepper._pieces

    def seen(self: Stepper, batches: Any) -> Iterator[dict[str, torch.Tensor]]:
        for piece in pieces(self, batches):
            met.append(piece["targets"].tolist())
            yield piece

    monkeypatch.setattr(Stepper, "_pieces", seen)
    outcome = tuned("contrastive", taught, {"epochs": epochs})
    steps = math.ceil(60 / (8 * 7 / 2))
    assert len(met) == max(1, round(steps * passes))
    assert all(len(targets) == 8 + 3 and targets[-3:] == [0, 1, 2] for targets in met)
    short = outcome.course
    for long in (1.0, 4.0):
        recipe = replace(short.recipe, epochs=long)
        assert short.passes(recipe, 24) == pytest.approx(long * steps * (8 + 3) / 24)


def test_a_training_passes_its_items_once_an_epoch(lesson: Lessons) -> None:
    rehearsed = tuned("finetune", lesson("sentence-transformer")).course
    assert rehearsed.passes(replace(rehearsed.recipe, epochs=7.0), 100) == 7


@pytest.mark.parametrize("name", ["last-blocks", "contrastive"])
def test_a_bag_of_words_whose_blocks_see_one_vector_a_text(name: str, lesson: Lessons) -> None:
    """What `graft pretrain` makes of texts may be tuned further: there is nothing to keep below its blocks."""
    taught = lesson("sentence-transformer")
    contents = list(taught.items.store.contents)
    bag = new_network("text", {"seed": 0}, [str(content) for content in contents])
    items = Items.of(bag, contents, vectors(bag, contents), taught.items.store.classes, taught.items.store.class_texts)
    outcome = tuned(name, replace(taught, items=items))
    assert [group.name for group in outcome.course.groups] == ["block 0"]
    assert any("lower layers were run in every epoch" in note for note in outcome.record.notes)
    assert np.isfinite(outcome.head(1.0).logits(items)).all()


@pytest.mark.parametrize("name", ["last-blocks", "contrastive"])
def test_a_body_without_a_row_of_blocks_has_no_last_ones(
    name: str, lesson: Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft.trainers.body._row_of_blocks", lambda *_: ())
    with pytest.raises(ModelError, match="no row of blocks"):
        tuned(name, lesson("sentence-transformer"))
    assert tuned("finetune", lesson("sentence-transformer")).record.trained


def test_names_of_many_classes_are_no_items(lesson: Lessons) -> None:
    taught = lesson("sentence-transformer")
    texts = tuple(f"animal {n}" for n in range(9))
    items = Items.of(taught.items.encoder, taught.items.store.contents, taught.items.x_ND, texts, texts)
    for n_classes in (8, 9):
        y_N = np.arange(24) % n_classes
        course = tuned("contrastive", Lesson(items, y_N, Task(n_classes))).course
        assert course.feed(items, y_N, 0).besides == (8 if n_classes == 8 else 0)
        steps = math.ceil(60 / (24 * 23 / 2)) if n_classes == 9 else math.ceil(60 / (8 * 7 / 2))
        rows = steps * ((8 + 8) if n_classes == 8 else 24)
        assert course.passes(course.recipe, 24) == pytest.approx(rows / 24)
