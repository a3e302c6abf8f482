"""What is read of people's tables and folders for an index: ids, contents, typed payload, and every fault."""

from __future__ import annotations

import json
import math
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.small_inputs import pictures, spoil, table
from tests.vector_tables import vectors_table

from graft.data.dataset import ImageSource, source_name, source_of
from graft.errors import DataError, UsageError
from graft.listings.listing import Listing, _typed, read_listing

TEXTS = ("a red house by the sea", "the green hill far away", "blue water under a bridge", "a yellow field of corn")


def rows(*cells: tuple[object, ...], to: Path, header: tuple[str, ...]) -> Listing:
    return read_listing(table(to / "t.csv", cells, header))


def test_a_table_of_texts(tmp_path: Path) -> None:
    cells = [(f"k{i}", text, 10 + i, i % 2 == 0, "") for i, text in enumerate(TEXTS)]
    listing = rows(*cells, to=tmp_path, header=("id", "text", "price", "new", "nothing"))
    assert listing.ids == ("k0", "k1", "k2", "k3") and listing.contents == TEXTS
    assert listing.modality == "text" and listing.columns == {"content": "text", "id": "id"}
    assert listing.payload == {"price": [10, 11, 12, 13], "new": [True, False, True, False], "nothing": [None] * 4}


def test_without_ids_a_row_is_named_by_its_content(tmp_path: Path) -> None:
    forth = rows(*((text, 1) for text in (*TEXTS, TEXTS[0])), to=tmp_path, header=("text", "n"))
    back = rows(*((text, 1) for text in reversed(TEXTS)), to=tmp_path, header=("text", "n"))
    assert (
        dict(zip(back.ids, back.contents, strict=True)).items()
        <= dict(zip(forth.ids, forth.contents, strict=True)).items()
    )
    assert forth.ids[4] == forth.ids[0] + "-2" and len(set(forth.ids)) == 5


@pytest.mark.parametrize(
    "name", ["a/b", "it's", 'say "hi"', "an id", "ключ-鍵-🔑", "k" * 5000, "-1", "a,b", "%_", "x\\y"]
)
def test_any_text_is_an_id(tmp_path: Path, name: str) -> None:
    listing = rows((name, TEXTS[0]), ("other", TEXTS[1]), to=tmp_path, header=("id", "text"))
    assert listing.ids == (name, "other")


def test_faulty_rows_are_listed(tmp_path: Path) -> None:
    cells = [("a", TEXTS[0]), ("", TEXTS[1]), ("a", TEXTS[2]), ("d", " "), ("e", TEXTS[3])]
    path = table(tmp_path / "t.csv", cells, ("key", "text"))
    listing = read_listing(path, key="key")
    assert listing.ids == ("a", "e")
    assert [fault.problem for fault in listing.faults] == [
        "it has no id",
        "an id that came before; the first is kept",
        "empty",
    ]
    with pytest.raises(DataError, match="3 faults") as caught:
        read_listing(path, key="key", strict=True)
    assert len(caught.value.faults) == 3


def test_a_column_of_ids_must_be_named_when_it_is_doubtful(tmp_path: Path) -> None:
    cells = [("1", TEXTS[0]), ("", TEXTS[1]), ("3", TEXTS[2])]
    path = table(tmp_path / "t.csv", cells, ("id", "text"))
    with pytest.raises(DataError, match="--id"):
        read_listing(path)
    assert read_listing(path, key="id").ids == ("1", "3")


@pytest.mark.parametrize("name", ["graft_key", "content", "a.b", "a`b", "_rowid", "_score"])
def test_names_that_an_index_cannot_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="rename"):
        rows((TEXTS[0], 1), (TEXTS[1], 2), to=tmp_path, header=("text", name))


def test_columns_named_that_are_not_there(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [(text, 1) for text in TEXTS], ("text", "price"))
    with pytest.raises(UsageError, match=r"--id.*price"):
        read_listing(path, key="prise")
    with pytest.raises(UsageError, match="--text"):
        read_listing(path, text="caption")
    with pytest.raises(UsageError, match="--id"):
        read_listing(pictures(tmp_path / "p"), key="id")


def test_nothing_to_index(tmp_path: Path) -> None:
    empty = tmp_path / "t.csv"
    empty.write_text("id,text\n")
    with pytest.raises(DataError):
        read_listing(empty)
    blank = table(tmp_path / "u.csv", [("a", ""), ("b", " ")], ("id", "text"))
    with pytest.raises(DataError) as caught:
        read_listing(blank, content="text")
    assert len(caught.value.faults) == 2


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", 2)
    listing = read_listing(folder)
    assert listing.modality == "image" and sorted(listing.ids) == [
        "dark/0.png",
        "dark/1.png",
        "light/0.png",
        "light/1.png",
    ]
    assert sorted(listing.payload["label"]) == ["dark", "dark", "light", "light"]
    spoil(folder)
    assert len(read_listing(folder)) == 4  # what is inside is seen when it is encoded


def test_pictures_with_texts(tmp_path: Path) -> None:
    pictures(tmp_path / "p", 2)
    cells = [("p/dark/0.png", "a dark one", 3), ("p/light/1.png", "", 4), ("p/gone.png", "gone", 5)]
    path = table(tmp_path / "t.csv", cells, ("image", "caption", "n"))
    listing = read_listing(path, text="caption")
    assert listing.texts == ("a dark one", None) and listing.text_column == "caption"
    assert listing.payload == {"caption": ["a dark one", None], "n": [3, 4]}
    assert [fault.problem for fault in listing.faults] == ["no such file"]
    for content in listing.contents:
        assert source_of(source_name(content)).read_bytes() == content.read_bytes()  # type: ignore[union-attr]


def test_a_member_of_an_archive_has_a_name() -> None:
    source = ImageSource(Path("/a/b.zip"), "c/d.png")
    assert source_name(source) == "/a/b.zip::c/d.png" and source_of("/a/b.zip::c/d.png") == source


def test_vectors(tmp_path: Path) -> None:
    x_ND = np.arange(12, dtype=np.float32).reshape(4, 3)
    x_ND[2, 1] = np.nan
    listing = read_listing(vectors_table(tmp_path / "v.parquet", ["a", "b", "c", "a"], x_ND, price=[1, 2, 3, 4]))
    assert listing.modality == "vector" and listing.ids == ("a", "b") and listing.payload == {"price": [1, 2]}
    assert listing.vectors is not None and np.array_equal(listing.vectors, x_ND[:2])
    assert ["NaN" in f.problem for f in listing.faults] == [True, False]
    assert read_listing(vectors_table(tmp_path / "v.parquet", None, x_ND)).ids == ("0", "1", "3")


def test_vectors_of_several_lengths(tmp_path: Path) -> None:
    ragged = pa.array([[1.0, 2.0]] * 120 + [[1.0], [1.0, 2.0, 3.0]])
    pq.write_table(pa.table({"vector": ragged}), tmp_path / "v.parquet")
    with pytest.raises(DataError, match="one length"):
        read_listing(tmp_path / "v.parquet")
    pq.write_table(pa.table({"vector": pa.array([[1.0, 2.0], None])}), tmp_path / "v.parquet")
    with pytest.raises(DataError, match="gaps"):
        read_listing(tmp_path / "v.parquet")


def test_vectors_say_what_made_them(tmp_path: Path) -> None:
    rows = pa.table({"vector": pa.array([[1.0, 2.0]])})
    known = {"reference": "minilm", "fingerprint": "f"}
    pq.write_table(rows.replace_schema_metadata({"graft.encoder": json.dumps(known)}), tmp_path / "v.parquet")
    assert read_listing(tmp_path / "v.parquet").encoder == known


@pytest.mark.parametrize(
    ("cells", "typed"),
    [
        (["1", "2", ""], [1, 2, None]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1", "two"], ["1", "two"]),
        (["yes", "No", "TRUE"], [True, False, True]),
        (["0", "1"], [0, 1]),
        (["007", "12"], ["007", "12"]),
        (["0.5", "0"], [0.5, 0.0]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),
        (["1_000", "2"], ["1_000", "2"]),
        (["1", "nan"], ["1", "nan"]),
        ([1.5, math.nan, math.inf], [1.5, None, math.inf]),
        ([Decimal("9.99"), 1], [9.99, 1.0]),
        ([True, 1], ["True", "1"]),
        ([date(2020, 1, 31)], ["2020-01-31"]),
        ([["a", 1], None], ['["a", 1]', None]),
        ([2**70], [float(2**70)]),
        (["a\ud800b"], ["a\ufffdb"]),
        ([], []),
        ([None, "  "], [None, None]),
    ],
)
def test_a_column_has_one_type(cells: list[Any], typed: list[Any]) -> None:
    assert _typed(cells) == typed
    assert [type(cell) for cell in _typed(cells)] == [type(cell) for cell in typed]


def test_a_known_type_is_kept_and_misfits_are_left(tmp_path: Path) -> None:
    assert _typed(["1", "x", ""], "int64") == [1, "x", None]
    assert _typed(["1", 2], "string") == ["1", "2"]
    assert _typed([1, "2"], "double") == [1.0, 2.0]
    path = table(tmp_path / "t.csv", [(text, "1.50") for text in TEXTS], ("text", "code"))
    assert read_listing(path).payload["code"] == [1.5] * 4
    assert read_listing(path, types={"code": "string"}).payload["code"] == ["1.50"] * 4


@given(
    st.lists(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2)),
        max_size=8,
    )
)
def test_whatever_a_column_holds_arrow_takes_it(cells: list[Any]) -> None:
    typed = _typed(cells)
    assert len(typed) == len(cells)
    assert len({type(cell) for cell in typed if cell is not None}) <= 1
    assert len(pa.array(typed)) == len(cells)
