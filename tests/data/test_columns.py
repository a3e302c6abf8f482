"""Columns are guessed as a person would, shown, and can be named; cells become labels, pictures, times and groups."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.data.columns import Wanted, is_missing, looks_like_header, read_label, read_time
from graft.data.dataset import Dataset, ImageSource
from graft.data.read import check_trainable, read
from graft.errors import DataError, UsageError

SENTENCES = [f"sentence number {i} about {'cats and dogs' if i % 3 else 'boats'}" for i in range(12)]


def save(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def labels(dataset: Dataset) -> list[str | None]:
    return [dataset.classes[code] if code >= 0 else None for code in dataset.labels]


@pytest.mark.parametrize(
    ("names", "content", "label"),
    [
        (("text", "label"), "text", "label"),
        (("Label", "Sentence"), "Sentence", "Label"),
        (("id", "title", "description", "category", "year"), "description", "category"),
        (("label", "label_text", "text"), "text", "label_text"),
        (("review", "sentiment", "date"), "review", "sentiment"),
        (("utterance", "intent", "split"), "utterance", "intent"),
        (("words", "mood"), "words", "mood"),
    ],
)
def test_customary_and_other_names(tmp_path: Path, names: tuple[str, ...], content: str, label: str) -> None:
    cells = {content: SENTENCES, label: ["up", "down"] * 6, "id": range(12), "year": range(2000, 2012), "title": [f"T{i}" for i in range(12)],
             "date": ["2024-01-01"] * 12, "split": ["train"] * 12} | ({"label": [1, 0] * 6} if label == "label_text" else {})  # fmt: skip
    dataset = read(save(tmp_path / "t.csv", [names, *zip(*(cells[name] for name in names), strict=True)]))
    assert (dataset.columns["content"], dataset.columns["label"]) == (content, label)
    assert (
        dataset.classes == ("down", "up") and dataset.contents == tuple(SENTENCES) and "header" not in dataset.columns
    )


def test_a_column_called_text_is_the_text_though_it_holds_numbers(tmp_path: Path) -> None:
    """As in the table that labelling writes, where the only other words are ids and who gave the label."""
    rows = [(100 + i, "ab"[i % 2], f"row {i}", "you" if i % 3 else "given") for i in range(12)]
    dataset = read(save(tmp_path / "t.csv", [("text", "label", "id", "by"), *rows]))
    assert dataset.columns["content"] == "text" and dataset.columns["label"] == "label"
    assert dataset.contents[0] == "100"


def test_a_number_of_a_customary_name_gives_way_to_texts(tmp_path: Path) -> None:
    rows = [(100 + i, text, "ab"[i % 2]) for i, text in enumerate(SENTENCES)]
    assert read(save(tmp_path / "t.csv", [("subject", "notes", "label"), *rows])).columns["content"] == "notes"


def test_texts_that_are_all_empty_are_told_and_no_label_is_taken_for_them(tmp_path: Path) -> None:
    table = save(tmp_path / "t.csv", [("text", "label"), *(("", "ab"[i % 2]) for i in range(6))])
    with pytest.raises(DataError, match=r"Nothing in .* can be read: 6 faults") as raised:
        read(table)
    assert [fault.problem for fault in raised.value.faults] == ["empty"] * 6


def test_without_a_header_columns_go_by_number(tmp_path: Path) -> None:
    path = save(tmp_path / "t.csv", [(i, text, "ab"[i % 2]) for i, text in enumerate(SENTENCES)])
    dataset = read(path)
    assert dataset.columns == {"content": "1", "label": "2", "header": "none"} and len(dataset) == 12
    other = read(path, content="2", label="1")
    assert other.contents[0] == "a" and len(other.classes) == 12


def test_a_header_asked_for_is_a_header(tmp_path: Path) -> None:
    dataset = read(
        save(tmp_path / "t.csv", [("Aussage", "Urteil"), ("gut", "ja"), ("schlecht", "nein")]),
        content="Aussage",
        label="urteil",
    )
    assert dataset.contents == ("gut", "schlecht") and dataset.columns == {"content": "Aussage", "label": "Urteil"}


@pytest.mark.parametrize(
    ("first", "others", "expected"),
    [
        (["text", "label"], [["a", "b"]], True),
        (["text", "label"], [], True),
        (["text", "label"], [["text", "a"], ["more", "label"]], True),
        (["text", "greet"], [["text", "part"]], False),
        (["hello there", "greet"], [["bye now", "greet"]], False),
        (["a long sentence indeed, with signs!", "0"], [["another", "1"]], False),
        (["quelle", "zahl"], [["some words here", "1"], ["more", "2"]], True),
        (["aussage", "art"], [["a sentence much longer than its name is, really", "x"]], True),
        (["3", "4"], [["5", "6"]], False),
        (["one", "one"], [["a b c d e f g h i j k l m", "b"]], False),
        (["good film", "pos"], [["bad film", "neg"]], False),
    ],
)
def test_headers(first: list[str], others: list[list[str]], expected: bool) -> None:
    assert looks_like_header(Wanted(), first, others) is expected


def test_a_wrong_column_names_the_nearest_and_all(tmp_path: Path) -> None:
    path = save(tmp_path / "t.csv", [("text", "category", "year"), *((t, "a", 1) for t in SENTENCES)])
    with pytest.raises(UsageError, match=r"--label 'categry'.*Did you mean 'category'.*category, text, year"):
        read(path, label="categry")
    with pytest.raises(UsageError, match="--content"):
        read(path, content="7")
    with pytest.raises(UsageError, match="no header"):
        read(save(tmp_path / "n.csv", [(t, i % 2) for i, t in enumerate(SENTENCES)]), label="5")


def test_no_text_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--content. Columns: a, b"):
        read(save(tmp_path / "t.csv", [("a", "b"), *((i, i % 2) for i in range(9))]))


def test_a_table_to_predict_has_no_label(tmp_path: Path) -> None:
    dataset = read(
        save(tmp_path / "t.csv", [("id", "text", "year"), *((i, t, 2000 + i % 2) for i, t in enumerate(SENTENCES))])
    )
    assert dataset.columns == {"content": "text"} and labels(dataset) == [None] * 12 and not dataset.faults
    with pytest.raises(DataError, match="--label"):
        check_trainable(dataset)


def test_labels_that_are_ids(tmp_path: Path) -> None:
    def table(values: Sequence[object]) -> Dataset:
        return read(save(tmp_path / "t.csv", [("text", "label"), *((f"text {i}", v) for i, v in enumerate(values))]))

    with pytest.raises(DataError, match=r"'label'.*id or a measurement.*40 different values among 40 items"):
        check_trainable(table([f"user-{i}" for i in range(40)]))
    with pytest.raises(DataError, match="id or a measurement"):
        check_trainable(table([f"{i * 1.37:.2f}" for i in range(40)]))
    check_trainable(
        table([f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(40)])
    )  # one item each of forty classes
    check_trainable(table([i % 2 for i in range(40)]))
    with pytest.raises(DataError, match="one class only, '1'"):
        check_trainable(table([1] * 40))


def test_numbers_as_labels(tmp_path: Path) -> None:
    dataset = read(
        save(tmp_path / "t.csv", [("text", "label"), ("a", "10"), ("b", "2.0"), ("c", 2), ("d", ""), ("e", "-1")])
    )
    assert dataset.classes == ("-1", "2", "10") and labels(dataset) == ["10", "2", "2", None, "-1"]


def test_label_cells() -> None:
    assert [read_label(c, typed=True) for c in (1.0, 2, 2.5, True, None, float("nan"), " x ", "1.0")] == [
        "1", "2", "2.5", "true", None, None, "x", "1.0"]  # fmt: skip
    assert [read_label(c, typed=False) for c in ("1.0", "1.50", "NULL", "none", "n/a", "-3.00")] == [
        "1",
        "1.50",
        None,
        "none",
        "n/a",
        "-3",
    ]
    with pytest.raises(ValueError, match="list"):
        read_label(["a"], typed=True)
    assert is_missing("<NA>") and not is_missing(0) and not is_missing(False)


def test_times() -> None:
    assert read_time("1970-01-02") == 86400.0
    assert read_time("1970-01-01T01:00:00+01:00") == 0.0
    assert read_time("1970-01-01 00:00:10Z") == 10.0
    assert read_time("2015.5") == 2015.5 and read_time(7) == 7.0
    assert read_time(date(1970, 1, 3)) == 172800.0
    assert read_time(datetime(1970, 1, 1, 0, 1, tzinfo=UTC)) == 60.0 and read_time(datetime(1970, 1, 1, 0, 1)) == 60.0
    for bad in ("soon", "", "nan", "inf", None, "2024-13-01"):
        with pytest.raises(ValueError):
            read_time(bad)


def test_groups_and_times_of_a_table(tmp_path: Path) -> None:
    rows = [
        ("text", "label", "who", "when"),
        ("a", "x", "ann", "2024-01-01"),
        ("b", "y", "", "2024-01-02"),
        ("c", "x", "ann", "later"),
        ("d", "y", "bob", "2024-01-03"),
    ]
    dataset = read(save(tmp_path / "t.csv", rows), group="who", time="when")
    assert dataset.ids == ("0", "1", "3") and [f.where for f in dataset.faults] == ["row 2 (line 4)"]
    assert dataset.groups is not None and dataset.groups.tolist() == [0, 1, 2]
    assert dataset.times is not None and np.diff(dataset.times).tolist() == [86400.0, 86400.0]
    assert dataset.columns == {"content": "text", "label": "label", "group": "who", "time": "when"}


def test_the_test_part_of_a_table(tmp_path: Path) -> None:
    train = save(tmp_path / "train.csv", [("text", "year", "label"), ("a", 1, "x"), ("b", 2, "y")])
    test = save(
        tmp_path / "test.csv", [("label", "text", "more"), ("y", "c", 0), ("", "d", 0), ("x", "", 0), ("z", "e", 0)]
    )
    dataset = read(train, test=test)
    assert dataset.ids == ("0", "1", "test:0", "test:1", "test:3") and labels(dataset) == ["x", "y", "y", None, None]
    assert dataset.test_mask is not None and dataset.test_mask.tolist() == [False, False, True, True, True]
    assert [f.where for f in dataset.faults] == ["test row 1 (line 3)", "test row 2 (line 4)", "test row 3"]
    with pytest.raises(UsageError, match=r"other\.csv.*--label"):
        read(train, test=save(tmp_path / "other.csv", [("text", "klass"), ("a", "x")]))


def test_a_test_part_without_header(tmp_path: Path) -> None:
    train = save(tmp_path / "train.csv", [(t, "ab"[i % 2]) for i, t in enumerate(SENTENCES)])
    dataset = read(train, test=save(tmp_path / "test.csv", [("text", "a"), ("label", "b")]))
    assert dataset.ids[-2:] == ("test:0", "test:1") and dataset.contents[-2:] == ("text", "label")
    assert labels(dataset)[-2:] == ["a", "b"]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    Image.new("L", (2, 2)).save(stream, format="PNG")
    path.write_bytes(stream.getvalue())
    return path


def test_a_column_of_pictures(tmp_path: Path) -> None:
    home = tmp_path / "home"
    inside, elsewhere, outside = (
        picture(home / "img/1.png"),
        picture(tmp_path / "else/2.png"),
        picture(tmp_path / "3.png"),
    )
    (home / "link.png").symlink_to(outside)
    cells = [
        "img/1.png",
        str(elsewhere),
        "../3.png",
        "link.png",
        "none.png",
        "http://x.org/1.png",
        "img\\1.png",
        "img/../img/1.png",
        "",
        "/etc/passwd",
    ]
    rows = [
        ("caption", "file", "label"),
        *((f"a caption of some length {i}", cell, "ab"[i % 2]) for i, cell in enumerate(cells)),
    ]
    dataset = read(save(home / "t.csv", rows), content="file")
    assert dataset.modality == "image" and dataset.ids == ("0", "1", "6", "7")
    assert [source.read_bytes() for source in dataset.contents if isinstance(source, ImageSource)] == [
        inside.read_bytes()
    ] * 4
    assert [(f.where.split(" (")[0], f.problem.split(":")[0]) for f in dataset.faults] == [
        ("row 2", "refused"), ("row 3", "refused"), ("row 4", "no such file"), ("row 5", "a web address; download the picture and give its path"),
        ("row 8", "empty"), ("row 9", "wrong type")]  # fmt: skip
    assert (
        read(
            save(home / "g.csv", [("caption", "pic", "label"), ("words", "img/1.png", "a"), ("more", "img/1.png", "b")])
        ).columns["content"]
        == "pic"
    )
