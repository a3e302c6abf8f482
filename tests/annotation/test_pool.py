"""What is asked next and why, on pools with planted vectors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.annotation.planted import TEXTS, pool

from graft.annotation.pool import FEW, all_classes, classes_named, next_batch
from graft.errors import UsageError

NAMES = ("cat", "dog", "owl")
TRUE = [NAMES[i // 8] for i in range(24)]


def keyed(of, labels):  # type: ignore[no-untyped-def]
    return dict(zip(of.keys, labels, strict=False))


def test_the_first_questions_are_typical_of_each_kind() -> None:
    batch = next_batch(pool(), {}, NAMES, "auto", 3)
    assert batch.how == "typical" and batch.why.startswith("No label yet")
    assert {int(item.id) // 8 for item in batch.items} == {0, 1, 2}
    assert all(item.text == TEXTS[int(item.id)] and "33.3%" in item.reason for item in batch.items)


def test_with_labels_enough_close_calls_are_asked() -> None:
    of = pool()
    answers = {of.keys[8 * c + i]: NAMES[c] for c in range(3) for i in range(FEW)}
    batch = next_batch(of, answers, NAMES, "auto", 4)
    assert batch.how == "margin"
    assert all(item.reason.startswith("between ") and item.key not in answers for item in batch.items)
    assert [i.score for i in batch.items] == sorted((i.score for i in batch.items), reverse=True)


@pytest.mark.parametrize("how", ["typical", "core-set", "random"])
def test_every_way_asks_only_for_what_has_no_answer(how: str) -> None:
    of = pool(given=["cat"] * 8 + [None] * 16)
    answers = {of.keys[8]: "dog", of.keys[9]: None}
    batch = next_batch(of, answers, NAMES, how, 100)
    assert batch.how == how and batch.items
    assert {int(item.id) for item in batch.items} <= set(range(10, 24))
    assert next_batch(of, answers, NAMES, how, 100) == batch, "the same question has the same answer"


def test_a_model_needs_two_classes() -> None:
    for labels in ({}, {pool().keys[0]: "cat"}):
        with pytest.raises(UsageError, match="labels of two classes"):
            next_batch(pool(), labels, NAMES, "margin", 3)


def test_everything_labelled_and_one_item() -> None:
    of = pool(given=TRUE)
    batch = next_batch(of, {}, NAMES, "auto", 10)
    assert batch.items == () and "nothing to ask" in batch.why
    one = pool(TEXTS[:1])
    assert [item.id for item in next_batch(one, {}, (), "auto", 10).items] == ["0"]


def test_an_answer_counts_for_every_copy() -> None:
    of = pool()
    twins = replace(of, keys=(of.keys[0], *of.keys[:-1]))
    assert twins.labels({of.keys[0]: "cat"})[:3] == ["cat", "cat", None]
    asked = [item.key for item in next_batch(twins, {}, NAMES, "random", 100).items]
    assert len(asked) == len(set(asked))


def test_answers_for_items_that_are_gone_are_counted_and_kept_out() -> None:
    of = pool()
    counts = of.count({"gone": "cat", of.keys[0]: "dog", of.keys[1]: None})
    assert (counts.gone, counts.answered, counts.skipped, counts.unlabelled) == (1, 1, 1, 23)


def test_classes_by_name() -> None:
    assert classes_named("a, b ,c") == ("a", "b", "c")
    assert classes_named(None) == ()
    with pytest.raises(UsageError) as caught:
        classes_named("a,,b,a")
    assert "empty" in caught.value.message and "'a' twice" in caught.value.message
    assert all_classes(("z",), ["b10", None, "b2", "z"]) == ("z", "b2", "b10")
