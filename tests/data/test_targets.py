"""What a column of labels is taken for, and how its cells are read as that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.data.dataset import Dataset, Items
from graft.data.read import read
from graft.data.targets import Asked, asked_of, guess
from graft.errors import DataError, UsageError


def column(tmp_path: Path, labels: Sequence[object]) -> Path:
    path = tmp_path / "data.jsonl"
    rows = (json.dumps({"text": f"words about thing {i}", "label": label}) for i, label in enumerate(labels))
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def taken(tmp_path: Path, labels: Sequence[object], asked: Asked | None = None, **flags: object) -> Dataset:
    return read(column(tmp_path, labels), label="label", asked=asked or Asked(), **flags)  # type: ignore[arg-type]


def guessed(labels: Sequence[object]) -> str:
    return guess(Items("text", labels=[str(label) for label in labels]))[0]


RNG = np.random.default_rng(0)
SCALE = RNG.normal(size=200).round(3)
_SHARE = 1 / np.arange(1, 201)
ZIPF = np.random.default_rng(2).choice(np.random.default_rng(3).permutation(5000)[:200], 2000, p=_SHARE / _SHARE.sum())
OVERSPREAD = RNG.poisson(RNG.gamma(2, 10, size=300))


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["good", "bad"] * 20, "classes"),
        ([0, 1, 2, 3] * 20, "classes"),
        (["0.5", "1.5", "2.5"] * 20, "classes"),  # few different ones
        (list(range(77)) * 5, "classes"),  # class codes have no gaps
        (RNG.choice(RNG.integers(1000, 9000, 60), 400), "classes"),  # codes of a catalogue
        (range(300), "classes"),  # ids: refused as such afterwards
        (["pens; pencils", "paper", "ink"] * 20, "classes"),  # a sign in a class's name
        (SCALE, "number"),
        ([*SCALE, "n/a"], "number"),
        (OVERSPREAD, "count"),
        (OVERSPREAD - 3, "number"),
        (np.random.default_rng(1).poisson(19, 400), "count"),  # words of a text: a hill in the middle
        (np.random.default_rng(1).normal(40, 14, 300).astype(int).clip(0, 90), "count"),  # ages
        (np.random.default_rng(1).integers(0, 77, 300), "classes"),  # codes drawn: some are missing, some met once
        ([sign * k * 1e306 for k in range(1, 170) for sign in (-1, 1)], "number"),  # a range that no float holds
        (ZIPF, "classes"),  # codes of which few have most of the items
        (
            np.repeat(np.arange(60), (50 * 0.95 ** np.arange(60)).astype(int) + 3),
            "classes",
        ),  # sorted by their size: a hill, but no gaps
        (RNG.integers(120_000, 990_000, 60), "number"),  # prices, nearly all different
        ([1.5, 2.25, 3, 4.75, 5, 6.5, 7, 8.25, 9, 10.5], "number"),  # few items, each with its own
        (["red|round", "red", "round", "red|flat"] * 10, "multilabel"),
        (["red; round", "round", "flat;red", "flat"] * 10, "multilabel"),
    ],
)
def test_the_task_is_guessed(labels: Sequence[object], task: str) -> None:
    assert guessed(labels) == task


def test_small_whole_numbers_are_told_both_ways(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = taken(tmp_path, [1, 2, 3, 4, 5] * 8)
    assert dataset.target is None
    assert dataset.columns["task"] == "classes (guessed: 5 different whole numbers)"
    assert "--label label:ordinal or --label label:number" in caplog.text


def test_whole_numbers_that_may_be_either_are_asked_about() -> None:
    with pytest.raises(UsageError, match="label:number, label:count or label:classes"):
        guess(Items("text", labels=[str(v) for v in [*range(100, 500, 10)] * 2], columns={"label": "label"}))


def rows_of(tmp_path: Path, **columns: Sequence[object]) -> Path:
    path = tmp_path / "rows.csv"
    cells = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in cells)]), encoding="utf-8")
    return path


TEXTS = [f"words about thing {i}" for i in range(60)]
PRICES = RNG.normal(100, 20, 60).round(2).tolist()


@pytest.mark.parametrize(
    ("columns", "label", "task"),
    [
        ({"price": PRICES}, "price", "number"),
        ({"sugar": RNG.integers(1000, 90_000, 60)}, "sugar", "number"),
        ({"id": range(7, 67), "minutes": PRICES, "year": RNG.integers(1950, 2020, 60)}, "minutes", "number"),
        ({"movieId": RNG.permutation(900)[:60], "weight": PRICES}, "weight", "number"),
        ({"price": PRICES, "colour": ["red", "blue"] * 30}, "colour", None),
        ({"price": PRICES, "stars": [1, 2, 3, 4, 5] * 12}, "stars", "classes"),  # a customary name
        ({"productId": RNG.permutation(900)[:60]}, None, None),
        ({"row": range(60)}, None, None),
    ],
)
def test_the_one_column_of_numbers_is_the_label(
    tmp_path: Path, columns: dict[str, Sequence[object]], label: str | None, task: str | None
) -> None:
    dataset = read(rows_of(tmp_path, text=TEXTS, **columns), asked=Asked())
    assert dataset.columns.get("label") == label
    assert dataset.columns.get("task", "").partition(" ")[0] == (task or "")
    plain = read(rows_of(tmp_path, text=TEXTS, **columns))
    assert plain.columns.get("label") == (
        label if task != "number" else None
    )  # where classes are wanted numbers are none


@pytest.mark.parametrize("other", [PRICES[::-1], [1, 2, 3, 4] * 15])
def test_two_columns_of_numbers_are_refused_with_the_choices(tmp_path: Path, other: Sequence[object]) -> None:
    table = rows_of(tmp_path, text=TEXTS, price=PRICES, size=other)
    with pytest.raises(UsageError, match=r"price, size may be the label.*--label price, or --label none"):
        read(table, asked=Asked())
    assert read(table, label="size", asked=Asked("number")).target is not None


def test_a_task_without_a_column_looks_among_numbers(tmp_path: Path) -> None:
    table = rows_of(tmp_path, text=TEXTS, colour=["red", "blue"] * 30, price=PRICES)
    assert read(table, asked=Asked("number")).columns["label"] == "price"


def test_labels_are_named_away(tmp_path: Path) -> None:
    table = rows_of(tmp_path, text=TEXTS, colour=["red", "blue"] * 30)
    dataset = read(table, label="none")
    assert (dataset.labels == -1).all()
    assert "label" not in dataset.columns
    assert not dataset.faults
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "note.txt").write_text("words")
    assert (read(tmp_path / "photos", label="none").labels == -1).all()
    assert len(read(rows_of(tmp_path, text=TEXTS, none=["red", "blue"] * 30), label="none").classes) == 2  # a column


def test_other_verbs_say_who_answers_numbers(tmp_path: Path) -> None:
    table = rows_of(tmp_path, text=TEXTS, price=PRICES)
    with pytest.raises(UsageError, match=r"graft fit answers numbers; here labels are classes\. Give --label price"):
        read(table, label="price:number")
    assert len(read(rows_of(tmp_path, text=TEXTS, colour=["red", "blue"] * 30), label="colour:classes").classes) == 2


def test_a_guess_leaves_classes_as_they_were(tmp_path: Path) -> None:
    labels = ["1", "2", "3", "c", None, ["a", "b"]] * 8
    before, after = read(column(tmp_path, labels), label="label"), taken(tmp_path, labels)
    assert after.target is None
    assert (after.labels == before.labels).all()
    assert (after.classes, after.faults, after.columns) == (before.classes, before.faults, before.columns)


@pytest.mark.parametrize(
    ("flag", "wanted"),
    [
        (None, (None, Asked())),
        ("price", ("price", Asked())),
        ("price:number", ("price", Asked("number"))),
        (":count", (None, Asked("count"))),
        ("a:b", ("a:b", Asked())),
        ("x:number:number", ("x:number", Asked("number"))),
        ("size:ordinal=low, mid,high", ("size", Asked("ordinal", ("low", "mid", "high")))),
    ],
)
def test_the_flag(flag: str | None, wanted: tuple[str | None, Asked]) -> None:
    assert asked_of(flag) == wanted


@pytest.mark.parametrize(
    "flag", ["a:count=1,2", "a:ordinal=low", "a:ordinal=low,low", "a:ordinal=low,,high", "a:ordinal="]
)
def test_an_order_that_is_none(flag: str) -> None:
    with pytest.raises(UsageError, match="ordinal"):
        asked_of(flag)


@given(st.text(max_size=30))
def test_any_flag_is_a_column_or_refused(flag: str) -> None:
    try:
        name, asked = asked_of(flag)
    except UsageError:
        return
    assert name == flag if asked == Asked() and not flag.endswith(":auto") else flag.startswith(name or ":")


def test_numbers_with_faults_by_row(tmp_path: Path) -> None:
    labels = [*map(float, range(12)), "many", "NaN", "1e999", "1_0", 0.25]
    dataset = taken(tmp_path, labels, Asked("number"))
    assert dataset.target is not None
    assert dataset.target.values[[1, 16], 0].tolist() == [1.0, 0.25]
    assert np.isnan(dataset.target.values[12:16]).all()
    assert [(f.where, f.problem) for f in dataset.faults] == [
        ("row 13 (line 14)", "unlabelled"),
        ("row 12", "not a number; write 3.5"),
        ("row 14", "not a number; write 3.5"),
        ("row 15", "not a number; write 3.5"),
    ]
    assert (dataset.labels >= 0).tolist() == [True] * 12 + [False] * 4 + [True]
    with pytest.raises(DataError, match="row 12: not a number"):
        taken(tmp_path, labels, Asked("number"), strict=True)


def test_counts_that_are_none(tmp_path: Path) -> None:
    dataset = taken(tmp_path, [*range(12), -2, 1.5, "two"], Asked("count"))
    assert [(f.where, f.problem, f.value) for f in dataset.faults] == [
        ("row 12", "a negative count", "-2"),
        ("row 13", "a count that is not whole", "1.5"),
        ("row 14", "not a number; write 3.5", "two"),
    ]
    with pytest.raises(DataError, match="can be read as a count") as error:
        taken(tmp_path, [-1, -2, -3], Asked("count"))
    assert len(error.value.faults) == 3


def test_numbers_too_large_or_small_to_compute_with(tmp_path: Path) -> None:
    numbers = taken(tmp_path, [*range(12), 1e300, -1e300, 1e-300, 0], Asked("number"))
    assert [f.where for f in numbers.faults] == ["row 12", "row 13", "row 14"]
    assert all("another unit" in f.problem for f in numbers.faults)
    counts = taken(tmp_path, [*range(12), 10**18], Asked("count"))
    assert [f.problem for f in counts.faults] == ["a count above 1,000,000,000,000; take it as a number"]


def test_a_level_without_items_is_listed(tmp_path: Path) -> None:
    dataset = taken(tmp_path, ["low", "high"] * 10, Asked("ordinal", ("low", "mid", "high")))
    assert dataset.target is not None
    assert dataset.target.names == ("low", "high")
    assert [(f.where, f.problem[:24]) for f in dataset.faults] == [("level 'mid'", "no item to learn from ha")]


def test_separators_inside_sets(tmp_path: Path) -> None:
    """Empty parts are none, and only the sign that divides more cells divides: the other belongs to a label's name."""
    dataset = taken(tmp_path, ["a||b", "| |", "b;c|a", "a"] * 5, Asked("multilabel"))
    assert dataset.target is not None
    assert dataset.target.names == ("a", "b", "b;c")
    assert dataset.target.values[:4].tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0]]


def test_ordered_words_and_ratings(tmp_path: Path) -> None:
    words = taken(tmp_path, ["mid", "low", "high"] * 5, Asked("ordinal", ("low", "mid", "high", "top")))
    assert words.target is not None
    assert words.target.names == ("low", "mid", "high")  # no item is top
    assert words.target.values[:3].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    ratings = taken(tmp_path, [10, 2, "2.0", 1] * 5, Asked("ordinal"))
    assert ratings.target is not None
    assert ratings.target.names == ("1", "2", "10")


def test_levels_that_differ_in_a_late_digit_stay_apart(tmp_path: Path) -> None:
    dataset = taken(tmp_path, [1000001, 1000002, 2500000.5] * 5, Asked("ordinal"))
    assert dataset.target is not None
    assert dataset.target.names == ("1000001", "1000002", "2500000.5")
    assert dataset.target.values[:3].tolist() == np.eye(3).tolist()


def test_an_order_that_misses_labels_names_them_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"misses labels .*'mid' \(5\), 'odd' \(5\)"):
        taken(tmp_path, ["mid", "low", "high", "odd"] * 5, Asked("ordinal", ("low", "high")))
    with pytest.raises(UsageError, match="ordinal=high,low,mid"):
        taken(tmp_path, ["mid", "low", "high"] * 5, Asked("ordinal"))


def test_sets_of_labels(tmp_path: Path) -> None:
    lists = taken(tmp_path, [["a", "b"], ["b"], [], ["all", "a"]] * 5)
    assert lists.target is not None
    assert (lists.columns["task"], lists.target.names) == (
        "multilabel (guessed: its cells are lists)",
        ("a", "all", "b"),
    )
    assert lists.target.values[:4].tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]]
    assert not lists.faults
    divided = taken(tmp_path, ["a | every", "b|every", "every"] * 5, Asked("multilabel"))
    assert divided.target is not None
    assert divided.target.names == ("a", "b")
    assert [(f.where, f.problem[:17]) for f in divided.faults] == [("label 'every'", "every item has it")]


@pytest.mark.parametrize(
    ("labels", "task", "said"),
    [
        ([3.0] * 20, "number", "same value, 3:"),
        ([0] * 20, "count", "same value"),
        (["low"] * 20, "ordinal", "same value, low:"),
        (["a|b"] * 20, "multilabel", "same labels"),
        ([1.5, 2.5], "number", "2 items"),
        ([1.5], "count", "can be read as a count"),
        ([1.5], "number", "has 1 item to learn"),
        ([None, None], "number", "can be read as a number"),
    ],
)
def test_nothing_to_learn(tmp_path: Path, labels: list[object], task: str, said: str) -> None:
    asked = Asked(task, ("low", "high") if task == "ordinal" else ())
    with pytest.raises(DataError, match=said):
        taken(tmp_path, labels, asked)


def test_a_second_file_is_read_alike(tmp_path: Path) -> None:
    learn, test = column(tmp_path, ["a|b", "b", "a"] * 5), tmp_path / "test.jsonl"
    test.write_text('{"text": "one more", "label": "a|c"}\n{"text": "and one", "label": "b"}', encoding="utf-8")
    dataset = read(learn, label="label", test=test, asked=Asked())
    assert dataset.target is not None
    assert dataset.target.names == ("a", "b")  # c cannot be learned
    assert dataset.target.values[-2:].tolist() == [[1, 0], [0, 1]]
    assert dataset.test_mask is not None
    assert dataset.test_mask.sum() == 2


def test_labels_only_the_test_part_has_are_listed(tmp_path: Path) -> None:
    learn, test = column(tmp_path, ["a|b", "b", "a"] * 5), tmp_path / "test.jsonl"
    test.write_text('{"text": "new words", "label": "a|strange"}\n{"text": "more words", "label": "b"}')
    dataset = read(learn, label="label", asked=Asked("multilabel"), test=test)
    assert dataset.target is not None
    assert dataset.target.names == ("a", "b")
    assert [(f.where, f.problem[:22]) for f in dataset.faults] == [("label 'strange'", "it occurs only in the ")]


def test_names_are_for_classes(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text("a\tthe letter a", encoding="utf-8")
    with pytest.raises(UsageError, match="--names is for classes"):
        taken(tmp_path, SCALE.tolist(), names=tmp_path / "names.tsv")


def test_a_named_set_has_classes() -> None:
    with pytest.raises(UsageError, match="has classes"):
        read("data:mnist", asked=Asked("number"))
