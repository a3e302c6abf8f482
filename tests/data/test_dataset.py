"""The data set value itself: codes, natural order, groups, taking part of it, hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from graft.data.dataset import (
    Dataset,
    ImageSource,
    Items,
    assemble,
    class_text,
    clean_label,
    content_hash,
    file_sha256,
    files_sha256,
    group_codes,
    natural_key,
)


def made(labels: list[str | None], test: list[bool] | None = None, **more: object) -> Dataset:
    items = Items("text")
    for i, label in enumerate(labels):
        items.add(str(i), f"text {i}", label, test=bool(test and test[i]))
    for name, value in more.items():
        setattr(items, name, value)
    return assemble(items, name="n", kind="table", source="s")


def test_codes_follow_natural_order_and_missing_is_minus_one() -> None:
    dataset = made(["10", "9", None, "-1", "9.5"])
    assert dataset.classes == ("-1", "9", "9.5", "10")
    assert dataset.labels.tolist() == [3, 1, -1, 0, 2]
    assert dataset.labels.dtype == np.int64
    assert dataset.test_mask is None


def test_natural_order_of_mixed_words() -> None:
    words = ["c10", "c2", "b", "7", "nan", "C1"]
    assert sorted(words, key=natural_key) == ["7", "C1", "b", "c2", "c10", "nan"]


def test_a_label_only_in_the_test_part_is_a_fault_and_unscored() -> None:
    dataset = made(["a", "b", "a", "z"], [False, False, True, True])
    assert dataset.classes == ("a", "b")
    assert dataset.labels.tolist() == [0, 1, 0, -1]
    assert dataset.test_mask is not None and dataset.test_mask.tolist() == [False, False, True, True]
    assert [(f.where, f.value) for f in dataset.faults] == [("3", "z")]


def test_test_labels_stand_where_nothing_is_trained() -> None:
    dataset = made([None, "z"], [False, True])
    assert dataset.classes == ("z",) and dataset.labels.tolist() == [-1, 0] and not dataset.faults


def test_take_keeps_arrays_parallel() -> None:
    dataset = made(["a", "b", "c"], [False, True, False], groups=["g", None, "g"], times=[1.0, 2.0, 3.0])
    assert dataset.classes == ("a", "c")
    part = dataset.take(np.array([2, 0]))
    assert part.ids == ("2", "0") and part.contents == ("text 2", "text 0") and len(part) == 2
    assert part.labels.tolist() == [1, 0]
    assert part.times is not None and part.times.tolist() == [3.0, 1.0]
    assert part.groups is not None and part.groups.tolist() == [0, 0]
    assert part.test_mask is not None and part.test_mask.tolist() == [False, False]
    assert part.classes == dataset.classes


def test_group_codes_give_the_ungrouped_groups_of_their_own() -> None:
    assert group_codes(["x", None, "y", "x", None]).tolist() == [0, 1, 2, 0, 3]


def test_class_descriptions_fall_back_to_the_label() -> None:
    dataset = made(["rolled-in_scale", "b"])
    assert dataset.class_descriptions() == ("b", "rolled in scale")
    assert class_text("__") == "__" and class_text("card-lost?") == "card lost" and class_text("?") == "?"


def test_labels_are_composed_and_trimmed() -> None:
    assert clean_label(" cafe\u0301 ") == "caf\u00e9"


def test_hashes_are_the_published_functions(tmp_path: Path) -> None:
    assert content_hash(b"") == "cae66941d9efbd404e4d88758ea67670"  # BLAKE2b-128 of nothing
    one, two = tmp_path / "a.bin", tmp_path / "b.bin"
    one.write_bytes(b"abc")
    two.write_bytes(b"")
    assert file_sha256(one) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert files_sha256([one]) == file_sha256(one)
    listing = f"{file_sha256(one)}  a.bin\n{file_sha256(two)}  b.bin\n"
    assert files_sha256([two, one]) == hashlib.sha256(listing.encode()).hexdigest()


def test_image_source_reads_a_file_and_reports_its_absence(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"123")
    assert ImageSource(path).read_bytes() == b"123"
    with pytest.raises(OSError):
        ImageSource(tmp_path / "none.png").read_bytes()
