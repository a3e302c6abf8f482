"""What a listing changes in a collection, and the table that is written for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.data.dataset import Content, ImageSource
from graft.errors import DataError
from graft.listings.listing import Listing
from graft.retrieval.rows import Change, compare, hashes, row_hashes, table
from graft.store.collection import Collection


def listing(contents: Sequence[str], ids: Sequence[str] | None = None, **payload: list[Any]) -> Listing:
    names = tuple(ids or (f"i{n}" for n in range(len(contents))))
    return Listing("test", "text", names, tuple(contents), payload)


def stored(first: Listing, folder: Path) -> Collection:
    digests, _ = hashes(first)
    n = len(first)
    vectors = {"text": np.arange(2 * n, dtype=np.float32).reshape(n, 2)}
    rows = table(first, np.arange(n), digests, row_hashes(first, digests), np.arange(n), vectors, None)
    return Collection.create(folder / "items.lance", rows)


def changed(collection: Collection | None, now: Listing | None, **more: Any) -> Change:
    digests = [] if now is None else hashes(now)[0]
    whole = [] if now is None else row_hashes(now, digests)
    return compare(collection, now, digests, whole, **{"delete": (), "prune": False, **more})


def test_everything_is_new_at_first() -> None:
    change = changed(None, listing(["a", "b"]))
    assert change.fresh.tolist() == change.added.tolist() == [0, 1] and change.unchanged == 0


def test_each_kind_of_change(tmp_path: Path) -> None:
    collection = stored(listing(["a", "b", "c", "d"], price=[1, 2, 3, 4]), tmp_path)
    now = listing(["new", "a", "B", "c"], ["n", "i0", "i1", "i2"], price=[9, 1, 2, 33])
    change = changed(collection, now)
    assert change.added.tolist() == [0] and change.fresh.tolist() == [0, 2]
    assert change.relabelled.tolist() == [3] and change.stored.tolist() == [2]
    assert change.unchanged == 1 and change.deleted == ()
    assert changed(collection, now, prune=True).deleted == ("i3",)
    assert changed(collection, None, delete=["i2", "i0", "i2"]).deleted == ("i2", "i0")
    assert changed(collection, now, prune=True, delete=["i3", "i0"]).deleted == ("i3", "i0")
    same = changed(collection, listing(["a", "b", "c", "d"], price=[1, 2, 3, 4]))
    assert not len(same.fresh) and not len(same.relabelled) and same.deleted == () and same.unchanged == 4


def test_ids_to_delete_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'x'") as caught:
        changed(stored(listing(["a"]), tmp_path), None, delete=["i0", "x", "y"])
    assert [fault.where for fault in caught.value.faults] == ["x", "y"]


def test_an_empty_cell_is_as_no_column_and_order_does_not_count() -> None:
    one = listing(["a"], price=[1], name=["x"])
    digests = hashes(one)[0]
    assert row_hashes(one, digests) == row_hashes(listing(["a"], name=["x"], price=[1], other=[None]), digests)
    assert row_hashes(one, digests) != row_hashes(listing(["a"], price=["x"], name=[1]), digests)
    assert row_hashes(one, digests) != row_hashes(listing(["a"], price=["1"], name=["x"]), digests)


def picture(folder: Path, name: str, content: bytes) -> ImageSource:
    (folder / name).write_bytes(content)
    return ImageSource(folder / name)


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    there: tuple[Content, ...] = (picture(tmp_path, "a", b"1"), ImageSource(tmp_path / "gone"), ImageSource(tmp_path))
    some = Listing("p", "image", ("a", "b", "c"), there, {})
    digests, faults = hashes(some)
    assert digests[0] and digests[1:] == ["", ""] and [fault.where for fault in faults] == ["b", "c"]
    assert changed(None, some).fresh.tolist() == [0]


def test_what_goes_with_a_picture_is_part_of_its_content(tmp_path: Path) -> None:
    """The vectors behind a key are of both."""
    some = Listing("p", "both", ("a",), (picture(tmp_path, "a", b"1"),), {}, texts=("a word",), text_column="t")
    digests = hashes(some)[0]
    assert hashes(replace(some, texts=("another",)))[0] != digests
    assert hashes(replace(some, texts=(None,)))[0] == hashes(replace(some, texts=("",)))[0] != digests


def test_payload_must_fit(tmp_path: Path) -> None:
    first = listing(
        ["a", "b"], price=[1, 2], name=["x", None], new=[True, False], share=[0.5, None], nothing=[None, None]
    )
    schema = stored(first, tmp_path).schema
    vectors = {"text": np.ones((1, 2), np.float32)}

    def fit(**payload: list[Any]) -> dict[str, Any]:
        now = listing(["c"], **payload)
        row: dict[str, Any] = table(now, np.array([0]), ["h"], ["r"], np.array([9]), vectors, schema).to_pylist()[0]
        return {name: row[name] for name in first.payload}

    empty: dict[str, Any] = dict.fromkeys(first.payload)
    assert fit() == empty
    assert fit(price=[3.0], name=[7], share=[2], nothing=["word"]) == empty | {
        "price": 3,
        "name": "7",
        "share": 2.0,
        "nothing": "word",
    }
    for name, wrong in (("price", "cheap"), ("price", 1.5), ("new", 3), ("share", "half"), ("price", 2**70)):
        with pytest.raises(DataError, match="do not fit") as caught:
            fit(**{name: [wrong]})
        (fault,) = caught.value.faults
        assert fault.where == "i0" and name in fault.problem and fault.value == str(wrong)
    with pytest.raises(DataError, match="no column 'colour'"):
        fit(colour=["red"])
