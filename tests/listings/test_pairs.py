"""Pairs of pictures and texts, from tables as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from graft.errors import DataError, MissingError, UsageError
from graft.listings.pairs import read_pairs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cat.png", "dog.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def table(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_of_one_picture_are_one_group(folder: Path) -> None:
    path = table(folder, "image,caption", "cat.png,a cat sleeps", "dog.png,a dog runs", "./cat.png,nap time")
    pairs = read_pairs(path)
    assert pairs.texts == ("a cat sleeps", "a dog runs", "nap time")
    assert pairs.groups.tolist() == [0, 1, 0]
    assert pairs.pictures == 2
    assert len(pairs) == 3
    assert pairs.ids == ("0", "1", "2")
    assert pairs.columns == {"image": "image", "text": "caption"}
    assert pairs.images[1].path == folder / "dog.png"
    assert not pairs.faults


def test_columns_can_be_named(folder: Path) -> None:
    path = table(folder, "a,b,c", "cat.png,a cat,words", "dog.png,a dog,more words")
    assert read_pairs(path, text="b").texts == ("a cat", "a dog")
    assert read_pairs(path, image="a", text="c").texts == ("words", "more words")
    with pytest.raises(UsageError, match="nose"):
        read_pairs(path, text="nose")
    with pytest.raises(UsageError, match="both 'a'"):
        read_pairs(path, text="a")


def test_all_faults_are_listed_at_once(folder: Path) -> None:
    path = table(folder, "image,caption", "cat.png,a cat", "cow.png,", "dog.png,  ", "http://x.org/a.png,far away")
    pairs = read_pairs(path)
    assert pairs.ids == ("0",)
    assert [(fault.where, fault.problem.partition(":")[0]) for fault in pairs.faults] == [
        ("row 1 (line 3)", "picture"),
        ("row 1 (line 3)", "text"),
        ("row 2 (line 4)", "text"),
        ("row 3 (line 5)", "picture"),
    ]


def test_what_is_no_table_of_pairs_is_refused(folder: Path) -> None:
    with pytest.raises(MissingError, match="no table"):
        read_pairs(folder / "none.csv")
    with pytest.raises(UsageError, match="Allowed"):
        read_pairs(folder)
    with pytest.raises(DataError, match="one column"):
        read_pairs(table(folder, "image", "cat.png", "dog.png"))
    with pytest.raises(DataError, match="no column looks like paths"):
        read_pairs(table(folder, "title,caption", "Cats,a cat", "Dogs,a dog"))
    with pytest.raises(DataError, match="No row") as caught:
        read_pairs(table(folder, "image,caption", "cow.png,a cow", "hen.png,a hen"))
    assert len(caught.value.faults) == 2
    with pytest.raises(UsageError, match="flickr8k_1000"):
        read_pairs("data:flickr")
    with pytest.raises(UsageError, match="knows its columns"):
        read_pairs("data:flickr8k_1000", text="caption")


def test_flickr8k(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (shared_data / "flickr8k_1000").is_dir():
        pytest.skip("flickr8k_1000 is not among the shared data")
    monkeypatch.setenv("GRAFT_DATA", str(shared_data))
    pairs = read_pairs("data:flickr8k_1000")
    assert (len(pairs), pairs.pictures) == (5000, 1000)
    assert pairs.images[0].read_bytes()[:2] == b"\xff\xd8"
