"""Splits: the published draws, shares and groups kept, every item dealt once, and split files read whole or refused whole."""

from __future__ import annotations

import csv
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from graft.data.splits import (
    by_time,
    enough_to_hold_out,
    folds,
    hold_out,
    load_split,
    save_split,
    take_shots,
)
from graft.errors import DataError, MissingError, UsageError

Index = NDArray[np.int64]


@dataclass
class Listed:
    """The least a split file needs of a data set."""

    ids: tuple[str, ...]
    test_mask: NDArray[np.bool_] | None = None


def codes(*values: int) -> Index:
    return np.array(values, np.int64)


# --- shots


def test_shots_follow_the_published_rule() -> None:
    labels = codes(1, 0, 1, 0, 1, 0, -1, 1)
    draw = np.random.RandomState(1000 * 3 + 2)
    expected = [*draw.permutation([1, 3, 5])[:2], *draw.permutation([0, 2, 4, 7])[:2]]
    assert take_shots(labels, 2, 3).tolist() == expected


def test_shots_name_every_class_that_has_too_few() -> None:
    with pytest.raises(UsageError, match=r"cat \(1\), eel \(0\)\. The largest --shots that works is 0\.") as caught:
        take_shots(codes(0, 1, 1), 2, 0, classes=("cat", "dog", "eel"))
    assert "dog" not in str(caught.value)
    with pytest.raises(UsageError, match=r"0 \(1\)"):
        take_shots(codes(0, 1, 1), 2, 0)
    with pytest.raises(UsageError, match="at least 1"):
        take_shots(codes(0), 0, 0)


def text_labels(data: Path, name: str) -> list[int]:
    """Labels of the rows of the training file, read with nothing but the csv module."""
    if name == "banking77":
        known = json.loads((data / name / "categories.json").read_text(encoding="utf-8"))
        with (data / name / "train.csv").open(encoding="utf-8", newline="") as file:
            return [known.index(row[1]) for row in list(csv.reader(file))[1:]]
    file_name = "train.tsv" if name == "sst2" else "subset_train.csv"
    with (data / name / file_name).open(encoding="utf-8", newline="") as file:
        if name == "sst2":
            return [int(line.rstrip("\n").split("\t")[1]) for line in file]
        return [int(row[1]) for row in csv.reader(file)]


@pytest.mark.parametrize("name", ["sst2", "banking77", "ag_news"])
def test_shots_equal_the_published_text_splits(shared_data: Path, name: str) -> None:
    published = sorted((shared_data.parent / "splits").glob(f"text_{name}_K*_seed*.json"))
    if not published:
        pytest.skip("the published splits do not lie beside GRAFT_DATA")
    labels = np.array(text_labels(shared_data, name), np.int64)
    rows = np.arange(len(labels))
    if name == "ag_news":  # rows that open like a test row were dropped first
        dropped = json.loads((shared_data.parent / "splits" / "text_ag_news_dropped_rows.json").read_text())
        rows = np.setdiff1d(rows, dropped)
    for path in published:
        split = json.loads(path.read_text(encoding="utf-8"))
        found = rows[take_shots(labels[rows], split["K"], split["seed"])]
        assert found.tolist() == split["train"], path.name


@pytest.mark.parametrize(("name", "folder"), [("neu", "neu_surface_defect"), ("cifar10", "cifar10")])
def test_shots_equal_the_published_image_splits(shared_data: Path, name: str, folder: str) -> None:
    published = sorted((shared_data.parent / "splits").glob(f"img_{name}_K[0-9]*_seed*.json"))
    if not published:
        pytest.skip("the published splits do not lie beside GRAFT_DATA")
    pool = set(json.loads((shared_data.parent / "splits" / f"img_{name}_Kall_seed0.json").read_text())["train"])
    with zipfile.ZipFile(shared_data / folder / f"{folder}.zip") as archive:
        ids = np.array(sorted(pool & set(archive.namelist())))
    classes = sorted({path.split("/")[2] for path in ids})
    labels = np.array([classes.index(path.split("/")[2]) for path in ids], np.int64)
    for path in published:
        split = json.loads(path.read_text(encoding="utf-8"))
        assert ids[take_shots(labels, split["K"], split["seed"])].tolist() == split["train"], path.name
        train, test = load_split(path, Listed((*ids.tolist(), *split["test"])))
        assert (len(train), len(test)) == (len(split["train"]), len(split["test"]))


# --- holding out


def test_enough_to_hold_out_is_ten_a_class_on_average() -> None:
    assert enough_to_hold_out(np.repeat(codes(0, 1, 2), 10))
    assert not enough_to_hold_out(np.repeat(codes(0, 1, 2), 9))
    assert enough_to_hold_out(np.repeat(codes(0, 1, -1), [18, 2, 50]))
    assert not enough_to_hold_out(codes(-1, -1))


def test_hold_out_takes_a_fifth_of_every_class() -> None:
    labels = np.repeat(np.arange(4), [50, 100, 10, 5])
    train, test = hold_out(labels, None, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[test]).tolist() == [10, 20, 2, 1]
    assert np.array_equal(np.sort(np.r_[train, test]), np.arange(165))
    again = hold_out(labels, None, 0.2, np.random.default_rng(0))
    assert np.array_equal(again[1], test)
    assert not np.array_equal(hold_out(labels, None, 0.2, np.random.default_rng(1))[1], test)


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5, 0.95])
def test_small_classes_keep_an_item_on_either_side(fraction: float) -> None:
    labels = np.repeat(np.arange(30), 2)
    train, test = hold_out(labels, None, fraction, np.random.default_rng(0))
    assert set(labels[train]) == set(labels[test]) == set(range(30))


def test_a_class_of_one_item_is_learned_from() -> None:
    labels = np.repeat(np.arange(3), [10, 10, 1])
    train, test = hold_out(labels, None, 0.2, np.random.default_rng(0))
    assert 20 in train
    assert len(test) == 4


def test_hold_out_keeps_groups_whole_and_the_share_near() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 1000)
    groups = np.where(rng.random(1000) < 0.5, rng.integers(0, 60, 1000), 1000 + np.arange(1000))
    train, test = hold_out(labels, groups, 0.2, np.random.default_rng(1))
    assert not set(groups[train]) & set(groups[test])
    share = np.bincount(labels[test]) / np.bincount(labels)
    assert np.abs(share - 0.2).max() < 0.03


def test_hold_out_refuses_what_cannot_be_parted() -> None:
    with pytest.raises(UsageError, match=r"between 0 and 1, not 1\.5"):
        hold_out(codes(0, 1), None, 1.5, np.random.default_rng(0))
    with pytest.raises(DataError, match="near duplicates of each other"):
        hold_out(codes(0, 1, 1), codes(7, 7, 7), 0.2, np.random.default_rng(0))


def test_by_time_takes_the_latest_and_keeps_a_moment_together() -> None:
    times = np.array([5.0, 1, 2, 3, 4, 6, 7, 8, 10, 9])
    train, test = by_time(times, 0.2)
    assert test.tolist() == [8, 9]
    assert train.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    train, test = by_time(np.array([1.0, 1, 1, 1, 2, 2, 2, 2, 2, 3]), 0.2)
    assert test.tolist() == [9]  # one of ten is nearer to a fifth than six of ten


def test_by_time_refuses_missing_and_equal_times() -> None:
    with pytest.raises(DataError, match="2 items have no time") as caught:
        by_time(np.array([1.0, np.nan, 2, np.inf]), 0.2)
    assert [fault.where for fault in caught.value.faults] == ["item 1", "item 3"]
    with pytest.raises(DataError, match="same time"):
        by_time(np.ones(4), 0.2)
    with pytest.raises(UsageError, match="between 0 and 1"):
        by_time(np.arange(4.0), 0)


# --- folds


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Index, Index]:
    n = draw(st.integers(4, 60))
    labels = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    groups = draw(st.lists(st.integers(0, draw(st.integers(3, 60))), min_size=n, max_size=n))
    return np.array(labels, np.int64), np.array(groups, np.int64)


@settings(deadline=None, max_examples=150)
@given(grouped(), st.integers(2, 5), st.integers(1, 3), st.integers(0, 2**32))
def test_folds_part_the_items_and_never_a_group(
    items: tuple[Index, Index], n_folds: int, repeats: int, seed: int
) -> None:
    labels, groups = items
    distinct = len(set(groups.tolist()))
    if distinct < n_folds:
        with pytest.raises(UsageError, match=f"between 2 and {distinct}"):
            folds(labels, groups, n_folds, repeats, np.random.default_rng(seed))
        return
    made = folds(labels, groups, n_folds, repeats, np.random.default_rng(seed))
    assert len(made) == n_folds * repeats
    for start in range(0, len(made), n_folds):
        validation = np.concatenate([held for _, held in made[start : start + n_folds]])
        assert np.array_equal(np.sort(validation), np.arange(len(labels)))
    for train, held in made:
        assert len(train) and len(held)
        assert np.array_equal(np.sort(np.r_[train, held]), np.arange(len(labels)))
        assert not set(groups[train].tolist()) & set(groups[held].tolist())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=4, max_size=80), st.integers(2, 4), st.integers(0, 2**32))
def test_lone_items_are_spread_as_evenly_as_can_be(drawn: list[int], n_folds: int, seed: int) -> None:
    labels = np.array(drawn, np.int64)
    made = folds(labels, None, n_folds, 1, np.random.default_rng(seed))
    sizes = [len(held) for _, held in made]
    assert max(sizes) - min(sizes) <= 1
    for label in set(drawn):
        spread = [int((labels[held] == label).sum()) for _, held in made]
        assert max(spread) - min(spread) <= 1
        if drawn.count(label) > 1:
            assert all((labels[train] == label).any() for train, _ in made)


def test_folds_repeat_with_the_seed_and_differ_between_repeats() -> None:
    labels = np.arange(60) % 3
    first, again = (folds(labels, None, 5, 2, np.random.default_rng(4)) for _ in range(2))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0][1], first[5][1])


def test_folds_stay_even_with_large_groups() -> None:
    rng = np.random.default_rng(0)
    sizes = np.r_[[60, 40, 40, 30, 30], np.ones(300, int)]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = rng.integers(0, 3, len(sizes))[groups]
    made = folds(labels, groups, 5, 1, np.random.default_rng(0))
    held = np.array([np.bincount(labels[part], minlength=3) for _, part in made])
    assert held.sum(1).min() > 60  # of 500 items in five folds
    assert (held > 0).all()


def test_two_groups_of_a_class_go_to_different_folds() -> None:
    labels = np.r_[np.zeros(6, int), np.ones(40, int)]
    groups = np.r_[[0, 0, 0, 1, 1, 1], 10 + np.arange(40)]
    for train, _ in folds(labels, groups, 5, 4, np.random.default_rng(0)):
        assert set(labels[train]) == {0, 1}


# --- split files


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


IDS = Listed(("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"))


def test_saved_splits_come_back(tmp_path: Path) -> None:
    save_split(tmp_path / "split.json", ["b/3.jpg", "a/1.jpg"], ["a/2.jpg"])
    train, test = load_split(tmp_path / "split.json", IDS)
    assert (train.tolist(), test.tolist()) == ([2, 0], [1])
    save_split(tmp_path / "all.json", ["b/3.jpg"], "all")
    train, test = load_split(tmp_path / "all.json", IDS)
    assert (train.tolist(), test.tolist()) == ([2], [0, 1, 3])


def test_all_means_the_official_part_where_there_is_one(tmp_path: Path) -> None:
    official = Listed(IDS.ids, np.array([False, False, False, True]))
    train, test = load_split(
        written(tmp_path / "s", {"train": ["a/1.jpg"], "test": "all", "K": 1, "seed": 0}), official
    )
    assert (train.tolist(), test.tolist()) == ([0], [3])
    train, test = load_split(written(tmp_path / "s", {"train": "all", "test": "all"}), official)
    assert (train.tolist(), test.tolist()) == ([0, 1, 2], [3])
    with pytest.raises(DataError, match='cannot both be "all"'):
        load_split(tmp_path / "s", IDS)
    train, test = load_split(written(tmp_path / "s", {"train": "all", "test": ["a/1.jpg"]}), official)
    assert (train.tolist(), test.tolist()) == ([1, 2], [0])


def test_whole_numbers_are_rows_and_a_missing_test_part_is_empty(tmp_path: Path) -> None:
    rows = Listed(("0", "1", "3", "test:0"), np.array([False, False, False, True]))
    train, test = load_split(written(tmp_path / "s", {"train": [3, 0]}), rows)
    assert (train.tolist(), test.tolist()) == ([2, 0], [])
    assert load_split(written(tmp_path / "s", {"train": [1], "test": None}), rows)[1].tolist() == []
    with pytest.raises(DataError, match="train id '2': unknown"):
        load_split(written(tmp_path / "s", {"train": [2]}), rows)


def test_every_fault_of_a_split_file_is_listed_at_once(tmp_path: Path) -> None:
    content = {"train": ["a/1.jpg", "x/a/2.jpg", "a/1.jpg"], "test": ["a/1.jpg", "b/5.jpg"]}
    with pytest.raises(DataError) as caught:
        load_split(written(tmp_path / "s", content), IDS)
    assert [(fault.where, fault.problem) for fault in caught.value.faults] == [
        ("train id 'x/a/2.jpg'", "unknown; nearest is 'a/2.jpg'"),
        ("train id 'a/1.jpg'", "listed twice"),
        ("test id 'b/5.jpg'", "unknown; nearest is 'b/4.jpg'"),
        ("a/1.jpg", "in train and in test"),
    ]
    with pytest.raises(DataError, match="and 35 more") as caught:
        load_split(written(tmp_path / "s", {"train": [f"none{i}" for i in range(40)]}), IDS)
    assert len(caught.value.faults) == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"test": "all"}, "is no split file"),
        ([1, 2], "is no split file"),
        ({"train": "some"}, 'must be a list of item ids or "all", not str'),
        ({"train": [True, 1.5, "a/1.jpg"]}, "2 entries are neither, the first is True"),
        ({"train": []}, "training part is empty"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_split(written(tmp_path / "s", content), IDS)


def test_a_missing_file_and_one_that_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no split file"):
        load_split(tmp_path / "nowhere.json", IDS)
    with pytest.raises(MissingError, match="cannot be read"):
        load_split(tmp_path, IDS)
    (tmp_path / "s").write_bytes(b"\xff\xfe train")
    with pytest.raises(DataError, match="is not JSON"):
        load_split(tmp_path / "s", IDS)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["all", *IDS.ids]),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["train", "test", "K"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(anything)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = written(tmp_path_factory.getbasetemp() / "any.json", content)
    try:
        train, test = load_split(path, IDS)
    except DataError:
        return
    assert len(train) and not set(train.tolist()) & set(test.tolist())
    assert set(train.tolist()) | set(test.tolist()) <= {0, 1, 2, 3}


def test_by_time_leaves_out_early_members_of_late_groups() -> None:
    times = np.arange(10, dtype=float)
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 7, 0, 9])
    train, test = by_time(times, 0.2, groups)
    assert test.tolist() == [8, 9] and train.tolist() == [1, 2, 3, 4, 5, 6, 7]
