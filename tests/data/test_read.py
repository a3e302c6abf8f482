"""`read` as the verbs call it: class names, faults all at once, clear errors, nothing heavy or slow."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from graft.data.read import check_trainable, read
from graft.errors import DataError, MissingError, UsageError


def table(path: Path, *rows: str) -> Path:
    path.write_text("text,label\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def names(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_names_give_class_texts(tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "a,rolled-in_scale", "b,crack", "c,scratch")
    dataset = read(data, names=names(tmp_path / "n.tsv", "\ufeffcrack\ta crack in the steel\n\nscratch\t a scratch \n"))
    assert dataset.class_descriptions() == ("a crack in the steel", "rolled in scale", "a scratch")
    assert dataset.class_texts == {
        "crack": "a crack in the steel",
        "rolled-in_scale": "rolled in scale",
        "scratch": "a scratch",
    }


def test_names_alone_make_the_classes_of_unlabelled_data(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text\nsome words\nmore words\n")
    dataset = read(tmp_path / "t.csv", names=names(tmp_path / "n", "b\tbad\na\tgood\n"))
    assert (
        dataset.classes == ("b", "a")
        and dataset.labels.tolist() == [-1, -1]
        and dataset.class_descriptions() == ("bad", "good")
    )


def test_names_that_do_not_fit_are_told_all_at_once(tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "a,crack", "b,scratch")
    with pytest.raises(DataError, match="Did you mean 'scratch'") as caught:
        read(data, names=names(tmp_path / "n", "scrach\tx\ncrack\tx\ncrack\ty\nno tab\nscratch\t \n"))
    assert [fault.where for fault in caught.value.faults] == ["line 1", "line 3", "line 4", "line 5"]
    with pytest.raises(MissingError, match="--names"):
        read(data, names=tmp_path / "none")
    with pytest.raises(DataError, match="--names"):
        read(data, names=tmp_path)


def test_trainable_looks_at_the_training_part_only(tmp_path: Path) -> None:
    train, test = table(tmp_path / "t.csv", "a,x", "b,x"), table(tmp_path / "u.csv", "c,x", "d,y")
    with pytest.raises(DataError, match="one class only"):
        check_trainable(read(train, test=test))
    check_trainable(read(test, test=train))


def test_what_is_not_there_or_not_a_table(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", "a,x")
    with pytest.raises(MissingError, match=r"Did you mean .*train\.csv"):
        read(tmp_path / "trian.csv")
    with pytest.raises(MissingError, match="data:NAME"):
        read(tmp_path / "nowhere" / "x")
    with pytest.raises(MissingError):
        read(tmp_path / "train.csv", test=tmp_path / "none.csv")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"\.xlsx.*Allowed.*\.parquet"):
        read(tmp_path / "t.xlsx")
    with pytest.raises(UsageError, match="same kind"):
        read(tmp_path / "train.csv", test=tmp_path)


def test_the_source_is_kept_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path / "my.set.csv", "a,x", "b,y")
    monkeypatch.chdir(tmp_path)
    dataset = read("my.set.csv")
    assert (dataset.source, dataset.name, dataset.kind) == ("my.set.csv", "my.set", "table") and len(
        dataset.sha256 or ""
    ) == 64
    (tmp_path / "a.b" / "x").mkdir(parents=True)
    (tmp_path / "a.b" / "x" / "1.txt").write_text("words")
    assert read("a.b").name == "a.b" and read("a.b/x/..").name == "a.b"


def test_five_hundred_classes_with_one_item_each(tmp_path: Path) -> None:
    dataset = read(
        table(
            tmp_path / "t.csv", *(f"text number {i},class {chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(500))
        ),
        label="label",
    )
    assert len(dataset.classes) == 500
    check_trainable(dataset)


def test_a_zip_of_twenty_thousand_pictures_is_listed_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for i in range(20_000):
            archive.writestr(f"c{i % 10}/{i}.png", b"not a picture yet")
    dataset = read(tmp_path / "many.zip")
    assert len(dataset) == 20_000 and len(dataset.classes) == 10 and not dataset.faults
